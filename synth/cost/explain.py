"""Why an estimate is what it is: the circuits that were measured nearby, and what the model counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from synth.cost.model import CostModel, Section
from synth.cost.point import Point
from synth.cost.samples import Quantity, place_of, sample
from synth.cost.table import Measured, Table
from synth.cost.terms import TERMS

NEIGHBOURS = 5

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A measured circuit near another one.

    Parameters
    ----------
    row : Measured
    distance : float
        In units of the coordinates' scales: at 0 the model can tell no difference, from about 4 on it says nothing of
        the other.
    """

    row: Measured
    distance: float


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one term contributes to a prediction of lookup tables.

    Parameters
    ----------
    name, text : str
    amount : float
        How much of it the circuit has.
    each : float
        Lookup tables for one.
    """

    name: str
    text: str
    amount: float
    each: float

    @property
    def lut(self) -> float:
        """Lookup tables for all."""
        return self.amount * self.each


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What stands behind an estimate of lookup tables.

    Parameters
    ----------
    neighbours : tuple of Neighbour
        The nearest first; the circuit itself is left out.
    shares : tuple of Share
        The largest first.
    correction : float
        Factor on the sum of the shares that the circuits nearby suggest.
    predicted : float
        The prediction, whether or not the circuit was measured.
    """

    neighbours: tuple[Neighbour, ...]
    shares: tuple[Share, ...]
    correction: float
    predicted: float

    def to_json(self) -> Json:
        """Return everything, ready for JSON."""
        return {
            "neighbours": [{"point": item.row.point.to_json(), "distance": round(item.distance, 3), "lut": item.row.lut,
                            "ff": item.row.ff, "carry": item.row.carry, "dsp": item.row.dsp,
                            "fmax_mhz": item.row.fmax_mhz, "provenance": "measured"} for item in self.neighbours],
            "terms": [{"name": share.name, "text": share.text, "amount": share.amount, "each": round(share.each, 3),
                       "lut": round(share.lut, 2)} for share in self.shares],
            "correction": round(self.correction, 4), "predicted_lut": round(self.predicted, 2)}


def explain(point: Point, target: str, *, table: Table, model: CostModel) -> Explanation:
    """Return what stands behind an estimate.

    Raises
    ------
    UsageError
        If the model has nothing on such operators on the target.
    """
    section, operation = model.section(point.op, target), point.operation()
    terms = section.terms(operation, Quantity.LUT)
    each = dict(zip(Quantity.LUT.names, section.fits[Quantity.LUT].coefficients, strict=True))
    shares = [Share(name=name, text=TERMS[name].text, amount=float(amount), each=float(each[name]))
              for name, amount in terms.items()]
    shares = sorted((share for share in shares if share.lut), key=lambda share: -share.lut)
    predicted = section.predict(operation)[Quantity.LUT].value
    offset = Quantity.LUT.offset
    base = sum(share.lut for share in shares)
    return Explanation(neighbours=_neighbours(point, section, table), shares=tuple(shares), predicted=predicted,
                       correction=(predicted + offset) / (base + offset))


def _neighbours(point: Point, section: Section, table: Table) -> tuple[Neighbour, ...]:
    rows = [row for row in table.rows if row.point.op == point.op and row.target == section.target
            and row.point != point]
    place = place_of(point.operation())
    found = [Neighbour(row=row, distance=float(np.linalg.norm(sample(row).place - place))) for row in rows]
    return tuple(sorted(found, key=lambda item: item.distance)[:NEIGHBOURS])
