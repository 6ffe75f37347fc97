"""What the parts of the bench of native code share: what they are asked, and how a target is reported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from synth.bench.native_timing import Effort
from synth.netlist.instruction_set import InstructionSet

Document: TypeAlias = dict[str, Any]

Progress: TypeAlias = Callable[[str], None]
"""Told what is being measured."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    Parameters
    ----------
    isa : InstructionSet
        That this machine has.
    threads : int
        Of the figures for all threads.
    seed : int
        Of operands.
    quick : bool
        Whether to measure for a tenth of the time, and part of what is complete otherwise.
    formats : tuple of str, optional
        Formats of the series; all of it if left out.
    """

    isa: InstructionSet
    threads: int
    seed: int = 1
    quick: bool = False
    formats: tuple[str, ...] | None = None

    @property
    def effort(self) -> Effort:
        """How long each rate is measured."""
        return Effort(rounds=2, seconds=0.001, slot=0.002) if self.quick else Effort()


def target(name: str, wanted: float, found: float | None, *, applies: bool = True) -> Document:
    """Return a target beside what was found: ``met`` is null where nothing was, or where it does not apply."""
    return {"name": name, "target": wanted, "found": found,
            "met": None if found is None or not applies else found >= wanted}


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Return how many times faster ours is, from rates; null where one has none."""
    return None if ours is None or not theirs else ours / theirs
