"""The measured circuits as a model sees them: features instead of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import lru_cache

import numpy as np

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, ScalarFormat
from synth.cost.coordinates import COORDINATES, coordinates, register_bits
from synth.cost.delays import DELAY_TERMS, delay_terms
from synth.cost.fabric import FABRICS, Fabric
from synth.cost.features import lookup_terms, operand_bits, structure_of
from synth.cost.point import Point
from synth.cost.registers import REGISTER_TERMS, register_terms
from synth.cost.regression import Array
from synth.cost.table import Measured, Table
from synth.cost.terms import TERMS, Terms
from synth.operations import Operation


class Quantity(Enum):
    """What a model predicts of a circuit."""

    LUT = "lut"
    FF = "ff"
    CARRY = "carry"
    PERIOD = "period"
    """Nanoseconds between clock edges, 1000 / Fmax in MHz."""

    @property
    def offset(self) -> float:
        """Added to a value before its logarithm is taken: counts may be zero, a period is not."""
        return 0.0 if self is Quantity.PERIOD else 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms that make it up."""
        return tuple({Quantity.FF: REGISTER_TERMS, Quantity.PERIOD: DELAY_TERMS}.get(self, TERMS))

    def expected(self, lut_inputs: int) -> Array:
        """Return the coefficients of the terms that one expects beforehand."""
        match self:
            case Quantity.LUT:
                return np.array([term.expected(lut_inputs) for term in TERMS.values()])
            case Quantity.FF:  # a flip-flop for every bit, and a few of the handshake
                return np.array([_FF_EXPECTED.get(name, 1.0) for name in REGISTER_TERMS])
            case _:
                return np.zeros(len(self.names))

    def terms(self, operation: Operation, *, fabric: Fabric, hard: int, structure: str | None) -> Terms:
        """Return what a circuit has of each term."""
        match self:
            case Quantity.FF:
                return register_terms(operation, structure, sum_in_block=hard > 0 and fabric.sum_in_block)
            case Quantity.PERIOD:
                work = sum(lookup_terms(operation, fabric=fabric, hard=hard, structure=structure).values())
                return delay_terms(operation, carry=register_bits(operation), work=work)
            case _:
                return lookup_terms(operation, fabric=fabric, hard=hard, structure=structure)

    def vector(self, terms: Terms) -> Array:
        """Return terms in the order of the names."""
        return np.array([float(terms.get(name, 0)) for name in self.names])

    def of(self, row: Measured) -> float | None:
        """Return the measured value; None where it is unknown."""
        match self:
            case Quantity.PERIOD:
                return None if row.fmax_mhz is None else 1000 / row.fmax_mhz
            case _:
                return float(getattr(row, self.value))


_FF_EXPECTED = {"control": 4.0, "stage": 2.0}


class Family(Enum):
    """The families of formats, as :mod:`sw.formats` has them."""

    FLOATING_POINT = "floating point"
    FIXED_POINT = "fixed point"
    POSIT = "posit"

    @classmethod
    def of(cls, fmt: ScalarFormat) -> Family:
        """Return the family of a format."""
        return {FloatingPointFormat: cls.FLOATING_POINT, FixedPointFormat: cls.FIXED_POINT,
                PositFormat: cls.POSIT}[type(fmt)]


@lru_cache(maxsize=4096)
def circuit_name(fmt: ScalarFormat) -> str:
    """Return a name that formats share whose exact circuits are the same: the binary point makes none."""
    return replace(fmt, fraction_bits=0).name if isinstance(fmt, FixedPointFormat) else fmt.name


@dataclass(frozen=True)
class Circuit:
    """A circuit's features.

    Parameters
    ----------
    operation : Operation
    place : array
        Coordinates in units of their scales.
    vectors : mapping of Quantity to array
        Terms of each quantity.
    formats : frozenset of str
        Of operands and result, by :func:`circuit_name`.
    families : frozenset of Family
    """

    operation: Operation
    place: Array
    vectors: Mapping[Quantity, Array]
    formats: frozenset[str]
    families: frozenset[Family]


@dataclass(frozen=True)
class Sample(Circuit):
    """A measured circuit.

    Parameters
    ----------
    row : Measured
        What it costs.
    """

    row: Measured


def place_of(operation: Operation) -> Array:
    """Return the coordinates of a circuit in units of their scales."""
    found = coordinates(operation)
    return np.array([float(found[name]) / coordinate.scale for name, coordinate in COORDINATES.items()])


def circuit_of(point: Point, *, target: str, hard: int) -> Circuit:
    """Return a point's features; targets of like lookup tables and structures share them."""
    return _circuit_of(point, fabric=FABRICS[target], hard=hard,
                       structure=structure_of(point.operation(), target))


@lru_cache(maxsize=1 << 14)
def _circuit_of(point: Point, *, fabric: Fabric, hard: int, structure: str | None) -> Circuit:
    operation = point.operation()
    vectors = {quantity: quantity.vector(quantity.terms(operation, fabric=fabric, hard=hard,
                                                        structure=structure)) for quantity in Quantity}
    model = operation.model
    formats = [fmt for fmt in (model.a, model.b, model.result) if fmt is not None]
    return Circuit(operation, place_of(operation), vectors, frozenset(map(circuit_name, formats)),
                   frozenset(map(Family.of, formats)))


def sample(row: Measured) -> Sample:
    """Return a measured circuit with its features."""
    circuit = circuit_of(row.point, target=row.target, hard=row.dsp)
    return Sample(row=row, **{field.name: getattr(circuit, field.name) for field in fields(circuit)})


def samples_of(table: Table, *, op: str, target: str) -> list[Sample]:
    """Return the measured circuits of an operation on a target, all counted by the same tool: the usual one there."""
    rows = [row for row in table.rows if row.point.op == op and row.target == target]
    counters = [row.counted_by for row in rows]
    usual = max(sorted(set(counters)), key=counters.count, default=None)
    return [sample(row) for row in rows if row.counted_by == usual]


def hard_threshold(samples: Sequence[Sample]) -> int | None:
    """Return the product bits from which a multiplication goes into a hard multiplier; None if none was measured.

    Synthesizers leave narrow products in lookup tables: the threshold is the one that contradicts the fewest circuits.
    """
    seen = [(operand_bits(item.operation), item.row.dsp > 0) for item in samples if item.operation.dsp]
    if not any(hard for _, hard in seen):
        return None
    choices = sorted({bits for bits, _ in seen})
    return min(choices, key=lambda limit: sum((bits >= limit) != hard for bits, hard in seen))


def matrices(samples: Iterable[Sample], quantity: Quantity) -> tuple[Array, Array]:
    """Return the terms and the values of the samples of which a quantity is known."""
    known = [(item.vectors[quantity], quantity.of(item.row)) for item in samples]
    pairs = [(vector, value) for vector, value in known if value is not None]
    if not pairs:
        return np.zeros((0, len(quantity.names))), np.zeros(0)
    vectors, values = zip(*pairs, strict=True)
    return np.array(vectors), np.array(values, dtype=float)
