"""Arithmetic on codes of floating-point formats in SMT-LIB's floating point: one operation of its, one rounding.

Where the operands' numbers are all in the sort that the result is rounded in, the operation is that sort's own, such as
``fp.mul``. Otherwise it is done in a sort that is wide enough to be exact, and ``fp.to_fp`` rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from sw.formats import FloatingPointFormat, OverflowPolicy, RoundingMode
from synth.errors import UsageError
from synth.prove.floating import (
    Place,
    float_is,
    highest_bit,
    lowest_bit,
    minimal_place,
    natural_place,
    require_float,
    rounding_term,
    sort_holds,
)
from synth.prove.specification import Specification
from synth.prove.terms import (
    Sort,
    Term,
    any_of,
    bits,
    concat,
    constant,
    equal,
    floating,
    from_bits,
    operation,
    variable,
)

__all__ = ["FloatOperation", "float_specification", "result_specification"]

MAX_SIGNIFICAND_BITS = 160
"""Widest significand of a sort in which an operation is exact."""

_MORE_EXPONENT_BITS = 6
"""How many further exponent bits are tried for the sort that a result is rounded in."""

_EXACT = RoundingMode.NEAREST_EVEN

_SUMS = ("fp.add", "fp.sub")


@dataclass(frozen=True)
class FloatOperation:
    """An operation of SMT-LIB's floating point on operands of some formats.

    Parameters
    ----------
    name : str
        ``fp.mul``, ``fp.add``, ``fp.sub`` or ``fp.fma``; None for a conversion.
    operands : mapping of name to FloatingPointFormat
    result : FloatingPointFormat
    rounding : RoundingMode
    overflow : OverflowPolicy
    """

    name: str | None
    operands: tuple[tuple[str, FloatingPointFormat], ...]
    result: FloatingPointFormat
    rounding: RoundingMode
    overflow: OverflowPolicy

    @property
    def formats(self) -> list[FloatingPointFormat]:
        """Formats of the operands, in order."""
        return [fmt for _, fmt in self.operands]


def float_specification(wanted: FloatOperation) -> Specification:
    """Return the terms of an operation.

    Raises
    ------
    UsageError
        If a format or the rounding mode has no counterpart in SMT-LIB, or the exact result is too wide.
    """
    rounding_term(wanted.rounding)
    for fmt in (*wanted.formats, wanted.result):
        require_float(fmt)
    _check_sign(wanted)
    inputs = {name: variable(f"in_{name}", bits(fmt.width)) for name, fmt in wanted.operands}
    place, value, how = _direct(wanted, list(inputs.values())) or _exact(wanted, list(inputs.values()))
    return result_specification(place, value, wanted.rounding, wanted.overflow, inputs=inputs, theory=how,
                                operands=wanted.formats)


def result_specification(place: Place, value: Term, rounding: RoundingMode, overflow: OverflowPolicy, *,
                         inputs: Mapping[str, Term], theory: str, operands: Sequence[FloatingPointFormat]
                         ) -> Specification:
    """Return the specification of an operation whose rounded result is ``value``, a number of the place's sort."""
    encoding = variable("encoding", bits(place.sort.exponent_bits + place.sort.significand_bits))
    defined = any_of(float_is("NaN", value), equal(from_bits(encoding, place.sort), value))
    output = place.code(encoding, value, rounding, overflow)
    return Specification(inputs=inputs, outputs={"o": output}, definitions=(defined,), theory=theory,
                         assumptions=_assumptions(place, overflow, operands))


def _check_sign(wanted: FloatOperation) -> None:
    """Refuse a result whose negative side cannot be told from zero once it is rounded."""
    if not wanted.result.signed and wanted.overflow is OverflowPolicy.INFINITY and (
            wanted.name == "fp.sub" or any(fmt.signed for fmt in wanted.formats)):
        raise UsageError(f"Overflow policy must be saturate for an unsigned result of signed operands to be proved, "
                         f"not {wanted.overflow.value!r}")


def _assumptions(place: Place, overflow: OverflowPolicy, operands: Sequence[FloatingPointFormat]) -> tuple[str, ...]:
    result, found = place.format, []
    if result.nan_code is not None:
        found.append(f"SMT-LIB's NaN is the code 0x{result.nan_code:x}")
    elif any(fmt.nan_code is not None or fmt.has_infinity for fmt in operands):
        found.append(f"{result.name} has no NaN, and takes the code 0 for it")
    if not result.has_negative_zero:
        found.append(f"{result.name} has no negative zero, and takes the code 0 for it")
    if overflow is not OverflowPolicy.INFINITY:
        found.append(f"what is beyond the range, infinities too, is the largest finite number, "
                     f"{float(result.max_finite):g}")
    elif result.infinity_code is None:
        found.append("what is beyond the range is NaN")
    if place.scale or place.offset:
        found.append(f"numbers are those of {result.name} times 2^{place.scale}, which is exact, so that both have "
                     "their smallest numbers at the same codes")
    return tuple(found)


# Directly in the sort of the result

def _direct(wanted: FloatOperation, codes: Sequence[Term]) -> tuple[Place, Term, str] | None:
    """Return the operation in the sort that rounds as the result's format does, if its operands are all there."""
    if wanted.name is None:
        return None
    for place in _places(wanted.result):
        if wanted.name in _SUMS and place.exponent_bits > place.sort.significand_bits:
            continue  # z3 5.4 has no sums in such sorts
        for scales in _scales(wanted, place.scale):
            moved = [_moved(code, fmt, place.sort, scale)
                     for code, fmt, scale in zip(codes, wanted.formats, scales, strict=True)]
            operands = [term for term in moved if term is not None]
            if len(operands) == len(moved):
                value = operation(wanted.name, place.sort, rounding_term(wanted.rounding), *operands)
                return place, value, f"{wanted.name} in {place.sort.text}"
    return None


def _places(fmt: FloatingPointFormat) -> Iterator[Place]:
    natural = natural_place(fmt)
    if natural is not None:
        yield natural
    for wider in range(_MORE_EXPONENT_BITS):
        yield minimal_place(fmt, wider=wider)


def _scales(wanted: FloatOperation, result: int) -> list[tuple[int, ...]]:
    """Return the powers of two by which the operands may be scaled for the result to be scaled by ``result``."""
    if wanted.name in _SUMS:
        return [(result, result)]
    halves = [(0, result), (result, 0), (result // 2, result - result // 2)]
    return [(*pair, *(result for _ in wanted.formats[2:])) for pair in halves]


def _moved(code: Term, fmt: FloatingPointFormat, sort: Sort, scale: int) -> Term | None:
    """Return a code's number times 2 to ``scale`` as an exact number of a sort; None if it is not there for all."""
    place = _start(fmt, sort)
    further = scale - place.scale
    bias = (1 << (sort.exponent_bits - 1)) - 1
    if not _holds(sort, fmt, place.scale) or not _holds(sort, fmt, scale) or not 1 - bias <= further <= bias:
        return None
    number = place.value(code)
    if place.sort != sort:
        number = _converted(number, sort, _EXACT)
    if further:
        power = constant((further + bias) << (sort.significand_bits - 1),
                         sort.exponent_bits + sort.significand_bits - 1)
        factor = from_bits(concat(constant(0, 1), power), sort)
        number = operation("fp.mul", sort, rounding_term(_EXACT), number, factor)
    return number


def _start(fmt: FloatingPointFormat, sort: Sort) -> Place:
    """Return where a format's codes are read: in the sort itself, if they are a stretch of its codes."""
    natural = natural_place(fmt)
    if natural is not None and natural.sort == sort:
        return natural
    place = minimal_place(fmt)
    if fmt.fraction_bits + 1 == sort.significand_bits and place.exponent_bits <= sort.exponent_bits:
        return Place(fmt, sort.exponent_bits, place.offset)
    return place if natural is None else natural


def _holds(sort: Sort, fmt: FloatingPointFormat, scale: int) -> bool:
    return sort_holds(sort, fmt.fraction_bits + 1, lowest_bit(fmt) + scale, highest_bit(fmt) + scale)


def _converted(number: Term, sort: Sort, mode: RoundingMode) -> Term:
    return operation(f"(_ to_fp {sort.exponent_bits} {sort.significand_bits})", sort, rounding_term(mode), number)


# Exactly in a wider sort, and then rounded

def _exact(wanted: FloatOperation, codes: Sequence[Term]) -> tuple[Place, Term, str]:
    """Return the operation in a sort wide enough for every result, rounded in the sort of the result."""
    place = next(_places(wanted.result))
    lowest, highest, precision = _span(wanted)
    if precision > MAX_SIGNIFICAND_BITS:
        raise UsageError(f"Exact result must have at most {MAX_SIGNIFICAND_BITS} bits to be rounded in a proof, not "
                         f"the {precision} of {', '.join(fmt.name for fmt in wanted.formats)}; formats of fewer "
                         "exponent bits have fewer")
    scales = (place.scale, *(0 if wanted.name in ("fp.mul", "fp.fma") and index == 0 else place.scale
                             for index in range(len(wanted.operands) - 1)))
    for exponent_bits in count(2):
        sort = floating(exponent_bits, precision)
        if lowest + place.scale < 2 - (1 << (exponent_bits - 1)):
            continue  # z3 5.4 translates sorts wrongly in which most numbers are subnormal
        moved = [_moved(code, fmt, sort, scale)
                 for code, fmt, scale in zip(codes, wanted.formats, scales, strict=True)]
        operands = [term for term in moved if term is not None]
        if len(operands) == len(moved) and sort_holds(sort, precision, lowest + place.scale, highest + place.scale):
            break
    if wanted.name is None:
        number, = operands
    else:
        # The mode matters for the sign of a sum that is zero alone.
        number = operation(wanted.name, sort, rounding_term(wanted.rounding), *operands)
    how = f"{wanted.name or 'the number'} in {sort.text}, where it is exact, rounded to {place.sort.text}"
    if sort == place.sort:
        return place, number, f"{wanted.name or 'the number'} in {sort.text}, where it is exact"
    return place, _converted(number, place.sort, wanted.rounding), how


def _span(wanted: FloatOperation) -> tuple[int, int, int]:
    """Return the weights of the lowest and highest bit that an exact result can have, and its precision at most."""
    lows, highs = ([edge(fmt) for fmt in wanted.formats] for edge in (lowest_bit, highest_bit))
    precisions = [fmt.fraction_bits + 1 for fmt in wanted.formats]
    if wanted.name is None:
        return lows[0], highs[0], precisions[0]
    if wanted.name in ("fp.mul", "fp.fma"):
        lows[:2], highs[:2], precisions[:2] = [sum(lows[:2])], [sum(highs[:2]) + 1], [sum(precisions[:2])]
    if len(lows) == 1:
        return lows[0], highs[0], precisions[0]
    return min(lows), max(highs) + 1, max(highs) + 2 - min(lows)
