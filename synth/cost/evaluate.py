"""How far off the model is: every format, and every family of formats, predicted from all the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from synth.console import Progress, SilentProgress
from synth.cost.fabric import FABRICS
from synth.cost.features import MODELLED
from synth.cost.finn import finn_lut
from synth.cost.model import COVERAGE, MIN_ROWS, CostModel, Section, fit_section
from synth.cost.regression import Array, conformal_quantile
from synth.cost.samples import Quantity, Sample, samples_of
from synth.cost.table import Table
from synth.errors import UsageError

Json = dict[str, Any]


class LeftOut(Enum):
    """What is left out of a fit, to be predicted by it."""

    FORMAT = "format"
    """Every circuit that holds a format, as an operand or as the result."""
    FAMILY = "family"
    """Every circuit that holds a format of a family: what remains knows none of its kind."""

    def groups(self, sample: Sample) -> frozenset[str]:
        """Return the groups that a circuit is in."""
        return sample.formats if self is LeftOut.FORMAT else frozenset(family.value for family in sample.families)


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A prediction of a circuit that was left out, beside what was measured.

    Parameters
    ----------
    sample : Sample
    group : str
        What was left out.
    predicted, measured : float
    score : float
        The error as a logarithm, in standard deviations of the prediction.
    """

    sample: Sample
    group: str
    predicted: float
    measured: float
    score: float

    @property
    def error(self) -> float:
        """The relative error."""
        return self.predicted / self.measured - 1


def leave_out(samples: Sequence[Sample], quantity: Quantity, by: LeftOut) -> list[Residual]:
    """Predict each group of circuits from all the others; a circuit of two formats is predicted twice.

    Groups without which too few circuits are left to fit anything are passed over, as are values of zero, of which
    there is no relative error.
    """
    residuals = []
    for group in sorted(frozenset[str]().union(*map(by.groups, samples))):
        left = [item for item in samples if group in by.groups(item)]
        rest = [item for item in samples if group not in by.groups(item)]
        if len(rest) < MIN_ROWS:
            continue
        section = fit_section(rest, [quantity])
        if quantity not in section.fits:
            continue
        residuals += [found for item in left if (found := _residual(section, item, quantity, group)) is not None]
    return residuals


def _residual(section: Section, item: Sample, quantity: Quantity, group: str) -> Residual | None:
    value, offset = quantity.of(item.row), quantity.offset
    if not value:
        return None
    place = item.place[None, :]
    spread = float(section.neighbourhood.spread(place)[0])
    found = section.fits[quantity].predict(quantity, item.vectors[quantity],
                                           section.neighbourhood.likeness(place)[0], spread)
    ratio = (found.value + offset) / (value + offset)
    score = abs(float(np.log(ratio))) / spread if ratio > 0 else np.inf
    return Residual(sample=item, group=group, predicted=found.value, measured=value, score=score)


def quantile_of(residuals: Sequence[Residual]) -> float:
    """Return how many standard deviations an interval has to reach."""
    return conformal_quantile(np.array([item.score for item in residuals]), COVERAGE)


def coverage_of(residuals: Sequence[Residual]) -> float:
    """Return the part of the circuits that intervals hold whose reach was found without their own group."""
    held = 0
    for group in {item.group for item in residuals}:
        inside = [item.score for item in residuals if item.group == group]
        outside = [item for item in residuals if item.group != group]
        if outside:
            reach = quantile_of(outside)
            held += sum(score <= reach for score in inside)
    return held / len(residuals)


def _summary(errors: Array) -> Json:
    relative = np.abs(errors)
    return {"median": round(float(np.median(relative)), 4), "p95": round(float(np.percentile(relative, 95)), 4),
            "predictions": len(relative)}


def _left_out(residuals: Sequence[Residual], coverage: float) -> Json | None:
    if not residuals:
        return None
    worst = max(residuals, key=lambda item: abs(item.error))
    return {**_summary(np.array([item.error for item in residuals])), "coverage": round(coverage, 4),
            "worst": {"point": worst.sample.row.point.key(), "left_out": worst.group,
                      "predicted": round(worst.predicted, 1), "measured": round(worst.measured, 2)}}


def _finn(samples: Sequence[Sample]) -> Json:
    """The formula's errors as it stands, and with the one factor that suits these circuits best."""
    measured = np.array([item.row.lut for item in samples], dtype=float)
    known = measured > 0
    ratios = np.array([finn_lut(item.operation) for item in samples])[known] / measured[known]
    scale = float(np.median(ratios))
    return {**_summary(ratios - 1), "scaled": {**_summary(ratios / scale - 1), "factor": round(1 / scale, 4)}}


def errors_of(samples: Sequence[Sample], quantity: Quantity) -> tuple[Json, float]:
    """Return the published errors of a quantity, and the reach of its intervals.

    Returns
    -------
    tuple of dict, float
        Relative errors ``median`` and ``p95`` by what was left out, ``coverage`` of the intervals (whose reach comes
        from the other formats that were left out) and, for lookup tables, the errors of FINN's formula on the same
        circuits.
    """
    by_format = leave_out(samples, quantity, LeftOut.FORMAT)
    by_family = leave_out(samples, quantity, LeftOut.FAMILY)
    first, reach = samples[0].row, quantile_of(by_format) if by_format else 1.0
    held = sum(item.score <= reach for item in by_family)
    document: Json = {
        "op": first.point.op, "target": first.target, "quantity": quantity.value, "counted_by": first.counted_by,
        "rows": len(samples), "formats": len(frozenset[str]().union(*(item.formats for item in samples))),
        "left_out": {LeftOut.FORMAT.value: _left_out(by_format, coverage_of(by_format) if by_format else 0),
                     LeftOut.FAMILY.value: _left_out(by_family, held / max(1, len(by_family)))},
    }
    if quantity is Quantity.LUT:
        document["finn"] = _finn(samples)
    return document, reach


def fit_model(table: Table, *, progress: Progress | None = None,
              wanted: Callable[[str, str], bool] = lambda op, target: True) -> CostModel:
    """Fit every section that a table has enough circuits for, and measure how far off each is.

    Parameters
    ----------
    table : Table
    progress : Progress, optional
        Told of each section.
    wanted : callable
        Whether to fit an operation on a target.

    Raises
    ------
    UsageError
        If the table has too few circuits for any.
    """
    progress = progress or SilentProgress()
    sections, errors = {}, []
    for op, target in _places(table):
        if not wanted(op, target):
            continue
        progress.start(f"{op} on {target}")
        samples = samples_of(table, op=op, target=target)
        if len(samples) >= MIN_ROWS:
            section, found = _fitted(samples)
            sections[op, target] = section
            errors += found
        progress.advance()
    if not sections:
        raise UsageError(f"Table must have at least {MIN_ROWS} measured circuits of an operation on a target to fit a "
                         f"model to, not {len(table.rows)} in all; 'python -m synth sweep' measures them")
    return CostModel(sections=sections, table_digest=table.digest, errors=errors)


def _places(table: Table) -> list[tuple[str, str]]:
    """Operations and targets of a table that may have a model, in a fixed order."""
    found = {(row.point.op, row.target) for row in table.rows}
    return sorted(place for place in found if place[0] in MODELLED and place[1] in FABRICS)


def sections_of(table: Table) -> int:
    """Return how many sections a model of a table has at most."""
    return len(_places(table))


def _fitted(samples: Sequence[Sample]) -> tuple[Section, list[Json]]:
    quantiles: dict[Quantity, float] = {}
    errors = []
    known = fit_section(samples).fits
    for quantity in known:
        if any(quantity.of(item.row) for item in samples):
            document, quantiles[quantity] = errors_of(samples, quantity)
            errors.append(document)
    return fit_section(samples, quantiles=quantiles), errors
