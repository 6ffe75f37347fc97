"""The targets and recipes of the recorded circuits: what a count of ours has to be made with to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from synth.bench.peers import measured
from synth.errors import UsageError
from synth.recipes.recipe import Recipe, script
from synth.targets import HIDE_NAMES, TARGETS, Target

__all__ = ["COLUMNS", "DEFAULT_COLUMNS", "FMAX_COLUMNS", "Column", "find_column"]

_ADDED = {"ecp5": "-noiopad", "ecp5-wide": "-noiopad"}
"""What the recorded command leaves unsaid: an operator has no I/O buffers, which change no LUT."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A target with the recipe that the recorded circuits were measured with, whatever the target's default is now.

    Parameters
    ----------
    name : str
        Column of the recorded figures.
    title : str
    target : Target
        How its cells count, and how it is placed.
    recipe : Recipe
    """

    name: str
    title: str
    target: Target
    recipe: Recipe

    def script(self, *, hide_names: bool = False) -> str:
        """Return the Yosys script: reads ``design.il``, writes ``mapped.json``.

        Parameters
        ----------
        hide_names : bool
            Whether LUTs are mapped without the design's own names: see :data:`synth.targets.NAME_CLASH`.
        """
        return script(self.recipe, flag="", steps=(HIDE_NAMES,) if hide_names else ())


def _column(name: str, title: str, target: str) -> Column:
    command = " ".join(part for part in (measured()["recipes"][name], _ADDED.get(name)) if part)
    recipe = Recipe(name=name, synth=command, reason="that of the recorded circuits")
    return Column(name=name, title=title, target=TARGETS[target], recipe=recipe)


COLUMNS: Mapping[str, Column] = {column.name: column for column in (
    _column("ice40", "iCE40", "ice40"),
    _column("ecp5", "ECP5", "ecp5"),
    _column("xc7", "Xilinx 7", "xc7"),
    _column("ecp5-wide", "ECP5, wide multiplexers", "ecp5"),
    _column("gowin", "Gowin", "gowin"),
    _column("gowin-wide", "Gowin, wide multiplexers", "gowin"),
)}

DEFAULT_COLUMNS = ("ice40", "ecp5", "xc7")
"""Those that a comparison is judged by unless asked otherwise."""

FMAX_COLUMNS = ("ice40", "ecp5")
"""Those with a recorded Fmax: their default devices are the recorded ones, HX8K and ECP5-25 of speed grade 6."""


def find_column(name: str) -> Column:
    """Return the column with this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in COLUMNS:
        raise UsageError(f"Target must be one of {', '.join(COLUMNS)} for bench area, not {name!r}")
    return COLUMNS[name]
