"""The work in a multiplier that rounds its product: ``hw.arith.multiply``, counted from its formats."""

from functools import lru_cache
from typing import Any

import numpy as np

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, ScalarFormat, Subnormals
from synth.cost.fabric import Fabric
from synth.cost.structure import Operand, decoded, exact_product_terms, product_terms, range_bits, unpacking
from synth.cost.terms import Terms, total

NARROW_SIGNIFICAND = 4
"""Keep in step with ``hw.arith.multiply``, which names it alike."""

LATE = ("normalise-product", "count-in-operands", "mark-product")
"""Structures that remove leading zeros behind the product; where they are counted changes little."""

TABLES = ("significand-tables", "select-exponent")
"""Structures that look fractions up, where they have to be rounded."""


def multiplier_terms(model: Any, *, fabric: Fabric, structure: str) -> Terms:
    """Return the work of a multiplier.

    Parameters
    ----------
    model : sw.reference.Multiplication
    fabric : Fabric
        Of the target.
    structure : str
        Value of a :class:`hw.arith.multiply.Structure`.
    """
    a, b, result = model.a, model.b, model.result
    if structure == "truth-table":
        return {"table": truth_tables(model, fabric.lut_inputs)}
    if all(isinstance(fmt, FixedPointFormat) for fmt in (a, b, result)):
        return _fixed(a, b, result, fabric=fabric)
    if structure in TABLES:
        return _tables(a, b, result, fabric=fabric)
    number, terms = _product(a, b, late=structure in LATE, fabric=fabric)
    terms = total(terms, unpacking(a, fabric=fabric), unpacking(b, fabric=fabric))
    match result:
        case PositFormat():
            return total(terms, _posit(number, result))
        case FixedPointFormat():
            return total(terms, _to_fixed(number, result))
        case _:
            return total(terms, _to_float(number, result))


def product_bits(model: Any, structure: str) -> int:
    """Return the bits behind a multiplier's product: of the integer, or of sign, zero flag, exponent and magnitude."""
    if all(isinstance(fmt, FixedPointFormat) for fmt in (model.a, model.b, model.result)):
        return int(model.a.width + model.b.width)
    number, terms = _product(model.a, model.b, late=structure in LATE, fabric=None)
    return 2 + int(terms["exponent"]) + number.magnitude_bits


@lru_cache(maxsize=256)
def truth_tables(model: Any, lut_inputs: int) -> int:
    """Return how many lookup tables hold a product's truth table, each distinct part of it once.

    The table is split at its topmost input until what is left has as many inputs as a lookup table; inputs that a bit
    is the exclusive or of stay outside (``hw.arith.truth_table``).
    """
    a_bits, inputs = model.a.width, model.a.width + model.b.width
    index = np.arange(1 << inputs, dtype=np.uint64)
    codes = model.evaluate({"a": index & np.uint64((1 << a_bits) - 1), "b": index >> np.uint64(a_bits)})["o"]
    seen: set[bytes] = set()
    gates = 0
    for position in range(model.result.width):
        column = (codes >> np.uint64(position) & np.uint64(1)).astype(np.int8)
        outside = 0
        for variable in range(inputs):
            low, high = _halves(column, variable)
            if (low != high).all():
                column, outside = _both(low), outside + 1
        _split(column, lut_inputs, seen)
        gates += outside > 0 and not 0 < len(_support(column)) <= lut_inputs - outside
    return gates + len(seen)


def _halves(column: np.ndarray, variable: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = column.reshape(-1, 2, 1 << variable)
    return pairs[:, 0], pairs[:, 1]


def _both(half: np.ndarray) -> np.ndarray:
    return np.stack((half, half), axis=1).reshape(-1)


def _support(column: np.ndarray) -> list[int]:
    """Inputs that a function depends on."""
    return [variable for variable in range(len(column).bit_length() - 1)
            if np.not_equal(*_halves(column, variable)).any()]


def _split(column: np.ndarray, lut_inputs: int, seen: set[bytes]) -> None:
    """Collect the distinct parts of a function that depend on anything."""
    key, support = column.tobytes(), _support(column)
    if not support or key in seen:
        return
    seen.add(key)
    if len(support) > lut_inputs:
        for half in _halves(column, support[-1]):
            _split(_both(half), lut_inputs, seen)


def _fixed(a: FixedPointFormat, b: FixedPointFormat, result: FixedPointFormat, *, fabric: Fabric) -> Terms:
    """All three formats are fixed point: the exact product, cut and saturated."""
    width, places = a.width + b.width, a.fraction_bits + b.fraction_bits - result.fraction_bits
    return total(exact_product_terms(a, b, fabric=fabric), {
        "round": width - places if places > 0 else 0,
        "saturate": result.width + max(0, width - max(0, places) - result.width)})


def _tables(a: FloatingPointFormat, b: FloatingPointFormat, result: FloatingPointFormat, *, fabric: Fabric) -> Terms:
    """``hw.arith.rounded_product``: fractions from tables, which two further inputs or so tell of subnormal results."""
    x, y = decoded(a), decoded(b)
    inputs, bits = a.fraction_bits + b.fraction_bits, result.fraction_bits
    terms: Terms = {"exponent": 2 * range_bits(x.min_exponent + y.min_exponent - x.leading_zeros - y.leading_zeros,
                                               x.max_exponent + y.max_exponent),
                    # Two fraction bits are normalised by a gate each.
                    "normalise": sum(_normalising(operand) for operand in (x, y) if operand.leading_zeros > 2)}
    if bits > inputs:  # nothing is rounded
        terms = total(terms, {"top": bits}, product_terms(
            x.magnitude_bits, y.magnitude_bits, fabric=fabric, normalised=True))
    else:
        terms["significand_table"] = (bits + 1) << max(0, inputs - fabric.lut_inputs)
    if result.subnormals is Subnormals.SUPPORTED:
        terms["subnormal_table"] = bits << max(0, inputs + bits.bit_length() - fabric.lut_inputs)
    return total(terms, unpacking(a, fabric=fabric), unpacking(b, fabric=fabric),
                 {"encode": result.width - 1})


def _normalising(operand: Operand) -> int:
    """Multiplexer bits that shift a magnitude until its top bit is set."""
    places = operand.leading_zeros
    return places + sum(min(place, places) for place in range(operand.magnitude_bits - 1))


def _product(a: ScalarFormat, b: ScalarFormat, *, late: bool, fabric: Fabric | None) -> tuple[Operand, Terms]:
    """Return the product before rounding, and the work of multiplying."""
    x, y = decoded(a), decoded(b)
    lowest, highest = x.min_exponent + y.min_exponent, x.max_exponent + y.max_exponent
    terms: Terms = {}
    if late:
        smallest, largest = x.min_magnitude * y.min_magnitude, x.max_magnitude * y.max_magnitude
    else:
        lowest -= x.leading_zeros + y.leading_zeros
        smallest = 1 << x.magnitude_bits + y.magnitude_bits - 2
        largest = ((1 << x.magnitude_bits) - 1) * ((1 << y.magnitude_bits) - 1)
        terms["normalise"] = _normalising(x) + _normalising(y)
    normalised = not late or not x.leading_zeros + y.leading_zeros
    terms["exponent"] = range_bits(lowest, highest) if lowest < highest else 0
    plain = not late and max(x.magnitude_bits, y.magnitude_bits) <= NARROW_SIGNIFICAND
    terms |= product_terms(x.magnitude_bits, y.magnitude_bits, fabric=None if plain else fabric, normalised=normalised)
    number = Operand(
        magnitude_bits=largest.bit_length(), min_magnitude=smallest, max_magnitude=largest, exponent_bits=0,
        exponent_signed=lowest < 0, min_exponent=lowest, max_exponent=highest, scale=x.scale + y.scale)
    return number, terms


def _posit(number: Operand, result: PositFormat) -> Terms:
    """``hw.convert.posit.align_posit`` and what rounds and encodes its string."""
    bits, offset = number.magnitude_bits, number.scale + number.magnitude_bits - 1
    lowest, highest = number.min_exponent + offset - number.leading_zeros, number.max_exponent + offset
    kept = result.significand_bits + 1
    length = max(bits, kept) - 1 - max(0, bits - kept) + result.exponent_size + 2
    farthest = max(highest >> result.exponent_size, ~(lowest >> result.exponent_size))
    levels = min(farthest, result.width - 2).bit_length()
    control = range_bits(lowest, highest)
    normalising = number.leading_zeros > 0  # the leading zero goes into the exponent, too
    return {"top": bits * normalising, "exponent": control * normalising, "string": levels * length,
            "string_control": control, "round": result.width - 1, "encode": result.width}


def _to_fixed(number: Operand, result: FixedPointFormat) -> Terms:
    """``hw.convert.align`` onto a grid that is the same for every result."""
    bits, offset = number.magnitude_bits, number.scale + result.fraction_bits
    highest = max(min(number.max_exponent + offset, result.width), -bits - 1)
    lowest = max(min(number.min_exponent + offset, highest), -bits - 1)
    return {"align": (highest - lowest).bit_length() * (bits + max(0, highest + 1)),
            "align_control": range_bits(number.min_exponent, number.max_exponent), "round": result.width,
            "saturate": 2 * result.width}


def _to_float(number: Operand, result: FloatingPointFormat) -> Terms:
    """``hw.convert.align`` onto a grid that doubles its step with every binade, rounding and encoding."""
    fraction, supported = result.fraction_bits, result.subnormals is Subnormals.SUPPORTED
    terms: Terms = {"round": fraction + result.exponent_bits, "encode": result.width - 1}
    bits, zeros = number.magnitude_bits, number.leading_zeros
    bias = int(result.bias * (result.radix // 2))
    if zeros <= 1:
        offset = number.scale + bits + bias - 3
        lowest, highest = number.min_exponent + offset, number.max_exponent + offset
        terms["top"] = (fraction + 2) * zeros
        if supported and lowest < 0:
            kept = fraction + 2
            levels = min(kept - 1, -lowest - 1).bit_length()
            terms |= {"align": levels * kept + kept, "align_control": range_bits(lowest, highest)}
        return terms
    offset = number.scale + bits + bias - 2
    lowest, highest = number.min_exponent + offset - zeros, number.max_exponent + offset
    moves = number.min_exponent < number.max_exponent
    largest, control = zeros, 0
    if supported and lowest < 0:
        largest = max(zeros, min(zeros + fraction + 2, zeros - number.min_exponent - offset))
        control = 2 * range_bits(lowest, highest)
    # Of each level, what reaches the result and the bit behind it counts; all below only has to be seen to be zero.
    if not moves:  # one exponent for all numbers: what is left of the shift is one level
        return terms | {"normalise": zeros, "late_align": fraction + 2, "align_control": 2}
    return terms | {"normalise": zeros, "exponent": range_bits(lowest, highest), "align_control": control,
                    "late_align": largest.bit_length() * (fraction + 2)}
