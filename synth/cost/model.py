"""A model of costs: one regression an operation and target, fitted on the fields of what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from synth.cost.coordinates import COORDINATES
from synth.cost.fabric import FABRICS
from synth.cost.features import MODELLED, operand_bits, structure_of
from synth.cost.regression import Array, Neighbourhood, fit_coefficients
from synth.cost.samples import Quantity, Sample, hard_threshold, matrices, place_of
from synth.cost.terms import Terms
from synth.errors import StorageError, UsageError
from synth.folder import save_whole
from synth.operations import Operation
from synth.store import digest_of

SCHEMA = 1
"""Version of the file's form; one of another version is refused rather than misread."""

SHIPPED = Path(__file__).with_name("data") / "model.json"
"""The model of the shipped table."""

COVERAGE = 0.9
"""Part of the circuits that intervals are to hold."""

MIN_ROWS = 6
"""Circuits below which nothing is fitted."""

DIGITS = 7
"""Significant digits that a model's file keeps."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A predicted value and the interval that holds the measured one with a probability of :data:`COVERAGE`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """What one quantity of a section was found to be.

    Parameters
    ----------
    coefficients : array, (terms,)
    weights : array, (circuits,)
        What the residual of each measured circuit contributes to the correction of one like it.
    quantile : float
        How many standard deviations an interval reaches to either side, as a logarithm.
    """

    coefficients: Array
    weights: Array
    quantile: float

    def base(self, quantity: Quantity, vector: Array) -> float:
        """Return what the terms alone say."""
        return max(float(vector @ self.coefficients), 0.0)

    def predict(self, quantity: Quantity, vector: Array, likeness: Array, spread: float) -> Prediction:
        """Return a prediction, given how much a circuit is like each measured one, and what is not known of it."""
        base = self.base(quantity, vector)
        if not base:
            return Prediction(value=0.0, low=0.0, high=0.0)
        offset, reach = quantity.offset, np.exp(self.quantile * spread)
        value = (base + offset) * float(np.exp(likeness @ self.weights))
        low, high = (max(0.0, bound - offset) for bound in (value / reach, value * reach))
        return Prediction(value=max(0.0, value - offset), low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True)
class Section:
    """The model of one operation on one target.

    Parameters
    ----------
    op, target : str
    counted_by : str
        Who counted the circuits that it was fitted on.
    places : array, (circuits, coordinates)
        Where they stand, in units of the coordinates' scales.
    fits : dict of Quantity to Fit
    hard_from : int or None
        Product bits from which a multiplication takes a hard multiplier, where it may; None if none was measured.
    """

    op: str
    target: str
    counted_by: str
    places: Array
    fits: Mapping[Quantity, Fit]
    hard_from: int | None

    @cached_property
    def neighbourhood(self) -> Neighbourhood:
        """What the measured circuits say of others."""
        return Neighbourhood(self.places)

    def hard(self, operation: Operation) -> int:
        """Return how many hard multipliers a circuit takes."""
        if not operation.dsp or self.hard_from is None or operand_bits(operation) < self.hard_from:
            return 0
        return getattr(operation.model, "lanes", None) or 1

    def terms(self, operation: Operation, quantity: Quantity) -> Terms:
        """Return what a circuit has of each term of a quantity."""
        return quantity.terms(operation, fabric=FABRICS[self.target], hard=self.hard(operation),
                              structure=structure_of(operation, self.target))

    def predict(self, operation: Operation) -> dict[Quantity, Prediction]:
        """Return the predicted quantities of a circuit; Fmax is left out where it is not known of the target."""
        place = place_of(operation)[None, :]
        likeness = self.neighbourhood.likeness(place)[0]
        spread = float(self.neighbourhood.spread(place)[0])
        return {quantity: fit.predict(quantity, quantity.vector(self.terms(operation, quantity)), likeness, spread)
                for quantity, fit in self.fits.items()}

    def beyond(self, operation: Operation) -> list[str]:
        """Say in which respects a circuit lies outside what was measured; empty if it lies within."""
        place = place_of(operation)
        lowest, highest = self.places.min(axis=0), self.places.max(axis=0)
        said = []
        for index, (name, coordinate) in enumerate(COORDINATES.items()):
            # A register a little wider than every measured one is no leap: each bit of a sum costs the same.
            room = 1.0 if name == "register" else 1e-9
            if not lowest[index] - room <= place[index] <= highest[index] + room:
                value, least, most = map(coordinate.plain, (place[index], lowest[index], highest[index]))
                said.append(f"{coordinate.text}: {value}, not {least if least == most else f'{least} to {most}'}")
        return said


def fit_section(samples: Sequence[Sample], quantities: Sequence[Quantity] = tuple(Quantity),
                quantiles: Mapping[Quantity, float] | None = None) -> Section:
    """Fit the model of an operation on a target.

    Parameters
    ----------
    samples : sequence of Sample
        All of one operation and target; at least one.
    quantities : sequence of Quantity
    quantiles : mapping of Quantity to float, optional
        Reach of the intervals: see :func:`synth.cost.evaluate.leave_out`. 1 where it is left out.
    """
    first = samples[0].row
    places = np.array([item.place for item in samples])
    neighbourhood, fits = Neighbourhood(places), {}
    for quantity in quantities:
        matrix, values = matrices(samples, quantity)
        if len(values) < len(samples):
            continue  # a target without credible delays has no Fmax at all
        expected = quantity.expected(FABRICS[first.target].lut_inputs)
        coefficients = fit_coefficients(matrix, values, expected, offset=quantity.offset or 1e-9)
        base = np.maximum(matrix @ coefficients, 0)
        offset = quantity.offset
        residuals = np.where(base > 0, np.log((values + offset) / np.maximum(base + offset, 1e-9)), 0)
        fits[quantity] = Fit(coefficients, neighbourhood.weights(residuals), (quantiles or {}).get(quantity, 1.0))
    return Section(op=first.point.op, target=first.target, counted_by=first.counted_by, places=places, fits=fits,
                   hard_from=hard_threshold(samples))


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Models of operations on targets, and how far off they are.

    Parameters
    ----------
    sections : mapping of (operation, target) to Section
    table_digest : str
        SHA-256 of the table that they were fitted on.
    errors : list
        Errors of predictions of what was left out: see :mod:`synth.cost.evaluate`.
    """

    sections: Mapping[tuple[str, str], Section]
    table_digest: str
    errors: list[Json] = field(default_factory=list)

    def section(self, op: str, target: str) -> Section:
        """Return the model of an operation on a target.

        Raises
        ------
        UsageError
            If there is none.
        """
        if op not in MODELLED:
            raise UsageError(f"Operation must be one of {', '.join(MODELLED)} to be predicted, not {op!r}")
        if (op, target) not in self.sections:
            known = ", ".join(sorted({name for name, _ in self.sections if _ == target})) or "no operation"
            raise UsageError(f"Target must be one with enough measured circuits of {op} to predict others, not "
                             f"{target!r}, which has them of {known}; 'python -m synth sweep' measures more, "
                             "'python -m synth cost --fit' then fits a model to them")
        return self.sections[op, target]

    def to_bytes(self) -> bytes:
        """Return the model's file: JSON, a section a line; the same bytes for the same model."""
        sections = [json.dumps(_section_json(section)) for _, section in sorted(self.sections.items())]
        lines = [f'"schema": {SCHEMA}', f'"table": {json.dumps(self.table_digest)}',
                 f'"coordinates": {json.dumps(list(COORDINATES))}',
                 f'"terms": {json.dumps({quantity.value: quantity.names for quantity in Quantity})}',
                 '"errors": [\n' + ",\n".join(json.dumps(error) for error in self.errors) + "]",
                 '"sections": [\n' + ",\n".join(sections) + "]"]
        return ("{" + ",\n".join(lines) + "}\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "given") -> CostModel:
        """Return the model that a file holds.

        Raises
        ------
        StorageError
            If it is no such file, or one whose form or features are others than this version's.
        """
        try:
            document = json.loads(data)
            version = document.get("schema") if isinstance(document, dict) else None
            terms = {quantity.value: list(quantity.names) for quantity in Quantity}
            if version != SCHEMA or document["terms"] != terms or document["coordinates"] != list(COORDINATES):
                raise StorageError(f"Model must have schema {SCHEMA} and the features of this version, not those of "
                                   f"{name}; 'python -m synth cost --fit' fits it anew")
            sections = [_section_of(item) for item in document["sections"]]
            return cls(sections={(section.op, section.target): section for section in sections},
                       table_digest=document["table"], errors=document["errors"])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StorageError(f"Model must be a file that 'python -m synth cost --fit' wrote, not {name} "
                               f"({error})") from error

    def save(self, path: Path) -> None:
        """Write the model's file, whole or not at all.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        save_whole(path, self.to_bytes())


def _rounded(values: Array) -> list[Any]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _section_json(section: Section) -> Json:
    return {"op": section.op, "target": section.target, "counted_by": section.counted_by,
            "hard_from": section.hard_from, "places": [_rounded(place) for place in section.places],
            "fits": {quantity.value: {"coefficients": _rounded(fit.coefficients), "weights": _rounded(fit.weights),
                                      "quantile": float(f"{fit.quantile:.{DIGITS}g}")}
                     for quantity, fit in section.fits.items()}}


def _section_of(document: Json) -> Section:
    fits = {Quantity(name): Fit(np.array(fit["coefficients"]), np.array(fit["weights"]), fit["quantile"])
            for name, fit in document["fits"].items()}
    return Section(op=document["op"], target=document["target"], counted_by=document["counted_by"],
                   places=np.array(document["places"]), fits=fits, hard_from=document["hard_from"])


def read_model(path: Path) -> CostModel:
    """Read a model's file.

    Raises
    ------
    StorageError
        If it cannot be read, or is no model.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"Model must be readable, not {str(path)!r} ({error.strerror}); 'python -m synth cost "
                           "--fit' fits it to the table") from error
    return CostModel.from_bytes(data, name=repr(str(path)))


def is_stale(model: CostModel) -> bool:
    """Whether a model was fitted to another table than the shipped one.

    Raises
    ------
    StorageError
        If that cannot be read.
    """
    from synth.cost.table import SHIPPED as TABLE

    try:
        data = TABLE.read_bytes()
    except OSError as error:
        raise StorageError(f"Table must be readable, not {str(TABLE)!r} ({error.strerror})") from error
    return model.table_digest != digest_of(data)  # as Table.digest has it, without reading the rows


def load_model(path: Path | None = None) -> CostModel:
    """Return a file's model, by default the shipped one.

    Raises
    ------
    StorageError
        If it cannot be read, or is no model.
    """
    return read_model(SHIPPED if path is None else path)
