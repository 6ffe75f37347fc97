"""Where a circuit stands among others: what decides which measured circuits are like it."""

import math
from dataclasses import dataclass
from typing import Any

from sw.formats import FixedPointFormat, PositFormat
from synth.cost.features import special_flags
from synth.cost.structure import decoded
from synth.operations import Operation


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """One respect in which circuits are like each other or not.

    Parameters
    ----------
    text : str
        What it is.
    scale : float
        How far apart circuits are that differ by 1 in the coordinate's own unit.
    is_logarithm : bool
        Whether it is the binary logarithm of what the text says.
    """

    text: str
    scale: float
    is_logarithm: bool = False

    def plain(self, place: float) -> str:
        """Return a place on the scaled axis as a reader knows it."""
        value = place * self.scale
        return f"{2 ** value if self.is_logarithm else value:.4g}"


COORDINATES = {
    "narrow_significand": Coordinate(text="significand bits of the narrower operand", scale=1.0),
    "wide_significand": Coordinate(text="significand bits of the wider operand", scale=1.0),
    "exponent_bits": Coordinate(text="exponent bits of both operands", scale=2.0),
    "register": Coordinate(text="bits of the sum", scale=0.25, is_logarithm=True),
    "integers": Coordinate(text="fixed-point operands", scale=0.5),
    "posits": Coordinate(text="posit operands", scale=0.5),
    "specials": Coordinate(text="flags of values that are no finite numbers", scale=1.0),
    "masks": Coordinate(text="operands without subnormal numbers", scale=1.0),
    "result_bits": Coordinate(text="bits of a rounded result", scale=4.0),
    "result_posit": Coordinate(text="posit results", scale=0.5),
    "result_fixed": Coordinate(text="fixed-point results", scale=0.5),
    "lanes": Coordinate(text="lanes", scale=1.0, is_logarithm=True),
    "pipeline": Coordinate(text="pipeline stages", scale=1.0),
    "hard": Coordinate(text="hard multipliers", scale=0.5),
}
"""Every coordinate, by name."""


def register_bits(operation: Operation) -> int:
    """Return the bits of the widest sum in a circuit; of a multiplier, those of its result."""
    model: Any = operation.model
    match operation.name:
        case "mac":
            return int(model.accumulator.width)
        case "emac":
            return int(model.width)
        case "dot":
            return int(model.sum_grid.width)
        case _:
            return int(model.result.width)


def coordinates(operation: Operation) -> dict[str, float]:
    """Return where a circuit stands, as :data:`COORDINATES` lists it."""
    model: Any = operation.model
    formats = (model.a, model.b)
    x, y = (decoded(fmt) for fmt in formats)
    result = model.result
    return {
        "narrow_significand": min(x.magnitude_bits, y.magnitude_bits),
        "wide_significand": max(x.magnitude_bits, y.magnitude_bits),
        "exponent_bits": x.exponent_bits + y.exponent_bits,
        "register": math.log2(register_bits(operation)),
        "integers": sum(isinstance(fmt, FixedPointFormat) for fmt in formats),
        "posits": sum(isinstance(fmt, PositFormat) for fmt in formats),
        "specials": special_flags(*formats),
        "masks": sum(part.zero_masks > 0 for part in (x, y)),
        "result_bits": 0 if result is None else result.width,
        "result_posit": isinstance(result, PositFormat),
        "result_fixed": isinstance(result, FixedPointFormat),
        "lanes": math.log2(getattr(model, "lanes", None) or 1),
        "pipeline": operation.pipeline,
        "hard": operation.dsp,
    }
