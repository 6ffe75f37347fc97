"""What an operator costs: measured if it was, otherwise predicted with an interval."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from synth.cost.model import CostModel, Prediction, load_model
from synth.cost.point import Point
from synth.cost.present import is_present
from synth.cost.samples import Quantity
from synth.cost.table import Failed, Measured, Table, load_table
from synth.errors import UsageError
from synth.targets import find_target


class Provenance(Enum):
    """Where an estimate comes from."""

    MEASURED = "measured"
    """Synthesized, placed where there is a placer, and verified."""
    EARLIER = "measured earlier"
    """Measured so, of a circuit that this version builds in another way; a sweep measures it anew."""
    PREDICTED = "predicted"
    """Computed by a model from what was measured of other circuits."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an operator costs on a target.

    Parameters
    ----------
    point : Point
    target : str
    lut, ff, carry, dsp, bram : int
    fmax_mhz : float or None
        None where it is not known of any circuit on the target.
    provenance : Provenance
        A prediction is one as a whole: no field of it was measured.
    low, high : int
        Lookup tables that the circuit has with a probability of 90 %; both are ``lut`` where that was measured.
    fmax_low_mhz, fmax_high_mhz : float or None
        As much for Fmax.
    counted_by : str
        Who counted, ``nextpnr`` or ``yosys``: this circuit, or those of which the prediction was made.
    extrapolates : tuple of str
        In which respects a predicted circuit lies outside what was measured; its interval then is a guess, too.
    failure : str
        Why measuring the circuit failed, where it was tried; empty otherwise.
    """

    point: Point
    target: str
    lut: int
    ff: int
    carry: int
    dsp: int
    bram: int
    fmax_mhz: float | None
    provenance: Provenance
    low: int
    high: int
    fmax_low_mhz: float | None = None
    fmax_high_mhz: float | None = None
    counted_by: str
    extrapolates: tuple[str, ...] = ()
    failure: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether the circuit itself was measured, be it as an earlier version built it."""
        return self.provenance is not Provenance.PREDICTED

    def to_json(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return {**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
                "point": self.point.to_json(), "provenance": self.provenance.value,
                "extrapolates": list(self.extrapolates)}


@lru_cache(maxsize=1)
def default_table() -> Table:
    """Return the shipped table under the user's own rows, read once."""
    return load_table()


@lru_cache(maxsize=1)
def default_model() -> CostModel:
    """Return the shipped model, read once."""
    return load_model()


def estimate(point: Point, target: str, *, table: Table | None = None, model: CostModel | None = None) -> Estimate:
    """Return what an operator costs on a target.

    Parameters
    ----------
    point : Point
    target : str
        Name of the device family.
    table : Table, optional
        Of measured costs; by default the shipped one under the user's own rows.
    model : CostModel, optional
        For what is not in the table; by default the shipped one.

    Raises
    ------
    UsageError
        If there is no such target, or the circuit was not measured and cannot be predicted.
    StorageError
        If the table or the model cannot be read.
    """
    find_target(target)
    table = default_table() if table is None else table
    row = table.find(point, target)
    if row is not None:
        return measured(row, earlier=not is_present(row, table.conditions(row)))
    known = table.get(point, target)
    found = predict(point, target, model=default_model() if model is None else model)
    return dataclasses.replace(found, failure=known.message) if isinstance(known, Failed) else found


def measured(row: Measured, *, earlier: bool = False) -> Estimate:
    """Return the estimate that a row of a table is, one of an ``earlier`` version's circuit or of the present one."""
    return Estimate(point=row.point, target=row.target, lut=row.lut, ff=row.ff, carry=row.carry, dsp=row.dsp,
                    bram=row.bram, fmax_mhz=row.fmax_mhz, low=row.lut, high=row.lut,
                    provenance=Provenance.EARLIER if earlier else Provenance.MEASURED,
                    fmax_low_mhz=row.fmax_mhz, fmax_high_mhz=row.fmax_mhz, counted_by=row.counted_by)


def predict(point: Point, target: str, *, model: CostModel) -> Estimate:
    """Return a prediction of what an operator costs, whether or not it was measured.

    Raises
    ------
    UsageError
        If the model has nothing on such operators on the target, or hard multipliers are asked for of which none was
        measured.
    """
    section, operation = model.section(point.op, target), point.operation()
    if point.dsp and section.hard_from is None:
        raise UsageError(f"Option --dsp must be left out for {point.op} on {target}, of whose circuits none with hard "
                         "multipliers was measured; 'python -m synth build --dsp' measures this one")
    found = section.predict(operation)
    lut, period = found[Quantity.LUT], found.get(Quantity.PERIOD)
    return Estimate(
        point=point, target=target, lut=round(lut.value), ff=_count(found[Quantity.FF]),
        carry=_count(found[Quantity.CARRY]), dsp=section.hard(operation), bram=0,
        provenance=Provenance.PREDICTED, low=math.floor(lut.low), high=math.ceil(lut.high),
        fmax_mhz=None if period is None else round(1000 / period.value, 2),
        fmax_low_mhz=None if period is None else round(1000 / period.high, 2),
        fmax_high_mhz=None if period is None else round(1000 / period.low, 2),
        counted_by=section.counted_by, extrapolates=tuple(section.beyond(operation)))


def _count(prediction: Prediction) -> int:
    return round(prediction.value)
