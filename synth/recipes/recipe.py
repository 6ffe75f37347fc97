"""A recipe: how Yosys is told to map a circuit onto a family's cells, and why so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_ORDER = ("begin", "flatten", "coarse", "map_ram", "map_ffs", "map_luts")
"""Steps of a family's synthesis at which something may be put in, in the order in which they run."""


class Step(NamedTuple):
    """Commands of our own between those of a family's synthesis.

    Parameters
    ----------
    before : str
        The step before which they run.
    command : str
        Yosys commands.
    resume : str
        The step with which synthesis goes on, if not with the same one: what lies between is left out.
    """

    before: str
    command: str
    resume: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to map circuits onto a family's cells.

    Parameters
    ----------
    name : str
        Unique in its family.
    synth : str
        Yosys' command for the family, with its flags.
    reason : str
        Why one would take it.
    steps : tuple of Step
        What it does beside that command, or in place of parts of it.
    """

    name: str
    synth: str
    reason: str
    steps: tuple[Step, ...] = ()


def script(recipe: Recipe, *, flag: str, steps: Sequence[Step]) -> str:
    """Return the Yosys script of a recipe: reads ``design.il``, writes ``mapped.json``.

    Parameters
    ----------
    flag : str
        Of the family's command, behind those of the recipe; may be empty.
    steps : sequence of Step
        What is put in beside the recipe's own; it runs before those where both stand before the same step.
    """
    synth = f"{recipe.synth} {flag}".strip() + " -top top"
    lines, start = [], _ORDER[0]
    for step in sorted((*steps, *recipe.steps), key=lambda step: _ORDER.index(step.before)):
        if step.before != start:
            lines.append(f"{synth} -run {start}:{step.before}")
        lines.append(step.command)
        start = step.resume or step.before
    lines.append(f"{synth} -run {start}:" if lines else synth)
    return "\n".join(("read_rtlil design.il", *lines, "clean", "check -assert", "write_json mapped.json", ""))
