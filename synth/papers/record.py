"""What a reproduction says: the paper's figure, ours, how far apart they are, and where each comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the list of papers needs nothing that measures
    from synth.papers.laboratory import Laboratory

Json = dict[str, Any]


class Provenance(Enum):
    """Where a paper's figure comes from."""

    PUBLISHED = "published"
    SECOND_HAND = "second-hand"
    DERIVED = "derived"
    """Not printed there: from what the paper says, or a pilot measurement of ours, as the row's source states."""
    UNPUBLISHED = "unpublished"
    """The paper has no such figure, as far as its text is known."""


class Demand(Enum):
    """What makes a reproduction of a figure a success."""

    EQUAL = "equal"
    CLOSE = "close"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    COMPARED = "compared"
    """Shown side by side: different things are measured, which the row's note names."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure, theirs and ours.

    Parameters
    ----------
    quantity, unit : str
    ours : float
        Measured, simulated or counted by this run.
    paper : float or None
        What the paper or its artifact says; None where it says nothing, and then ours is shown alone.
    provenance : Provenance
    source : str
        Table, section or repository.
    demand : Demand
    tolerance : float
        Largest relative difference, for ``CLOSE``.
    note : str
        What has to be known to read the two figures side by side.

    Raises
    ------
    ValueError
        If there is no figure of the paper's, but a demand or a provenance of one; or the other way round.
    """

    quantity: str
    unit: str
    ours: float
    paper: float | None
    provenance: Provenance
    source: str
    demand: Demand
    tolerance: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        missing, unpublished = self.paper is None, self.provenance is Provenance.UNPUBLISHED
        if missing != unpublished or (missing and self.demand is not Demand.COMPARED):
            raise ValueError("Paper's figure must be None where it is unpublished, and there alone, and then only "
                             f"compared, not {self.paper!r}, {self.provenance.value} and {self.demand.value}")

    @property
    def ratio(self) -> float | None:
        """Ours divided by the paper's; None where that is zero, or there is none."""
        return self.ours / self.paper if self.paper else None

    @property
    def holds(self) -> bool:
        """Whether the figure is reproduced as demanded."""
        ours, paper = self.ours, self.paper
        if paper is None:
            return True
        return {Demand.EQUAL: ours == paper, Demand.AT_MOST: ours <= paper, Demand.AT_LEAST: ours >= paper,
                Demand.CLOSE: abs(ours - paper) <= self.tolerance * abs(paper), Demand.COMPARED: True}[self.demand]

    def to_json(self) -> Json:
        """Return the row, ready for JSON."""
        return {"quantity": self.quantity, "unit": self.unit, "ours": self.ours, "paper": self.paper,
                "ratio": self.ratio, "provenance": self.provenance.value, "source": self.source,
                "demand": self.demand.value, "tolerance": self.tolerance, "holds": self.holds, "note": self.note}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a paper that can be reproduced by itself.

    Parameters
    ----------
    name, summary : str
    steps : int
        How many steps its progress counts.
    run : callable
        From a laboratory to the rows.
    """

    name: str
    summary: str
    steps: int
    run: Callable[[Laboratory], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A published system.

    Parameters
    ----------
    name, title, citation : str
    parts : mapping of name to Part
    """

    name: str
    title: str
    citation: str
    parts: Mapping[str, Part]
