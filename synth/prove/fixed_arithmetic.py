"""Arithmetic on codes of fixed-point formats in bit-vectors: exact integers on a common grid, rounded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode
from sw.reference.cast import Cast
from synth.prove.specification import Specification
from synth.prove.terms import (
    FALSE,
    TRUE,
    Term,
    add,
    all_of,
    any_of,
    bit,
    choose,
    constant,
    equal,
    extract,
    invert,
    invert_bits,
    less,
    multiply,
    not_equal,
    resized,
    shift_left,
)

__all__ = ["Integer", "cast_code", "fixed_specification", "fixed_value", "product_of", "rounded_value", "sum_of"]


@dataclass(frozen=True)
class Integer:
    """An exact value: a two's complement integer times two to a power.

    Parameters
    ----------
    term : Term
        The integer, wide enough never to wrap.
    exponent : int
    """

    term: Term
    exponent: int

    @property
    def width(self) -> int:
        """Bits of the integer, its sign included."""
        return self.term.sort.width


def fixed_value(fmt: FixedPointFormat, code: Term) -> Integer:
    """Return the value of a code."""
    return Integer(code if fmt.signed else resized(code, fmt.width + 1, signed=False), -fmt.fraction_bits)


def product_of(a: Integer, b: Integer) -> Integer:
    """Return the exact product."""
    width = a.width + b.width
    return Integer(multiply(resized(a.term, width, signed=True), resized(b.term, width, signed=True)),
                   a.exponent + b.exponent)


def sum_of(values: Sequence[Integer]) -> Integer:
    """Return the exact sum."""
    exponent = min(value.exponent for value in values)
    shifted = [shift_left(value.term, value.exponent - exponent) for value in values]
    width = max(term.sort.width for term in shifted) + (len(values) - 1).bit_length()
    total = resized(shifted[0], width, signed=True)
    for term in shifted[1:]:
        total = add(total, resized(term, width, signed=True))
    return Integer(total, exponent)


def cast_code(value: Integer, cast: Cast, random: Term | None = None) -> Term:
    """Return the code that a fixed-point cast gives an exact value.

    Parameters
    ----------
    random : Term, optional
        The random bits of a stochastic rounding.
    """
    fmt = cast.result
    assert isinstance(fmt, FixedPointFormat)
    return _into_range(rounded_value(value, -fmt.fraction_bits, cast.rounding, random), fmt, cast.overflow)


def rounded_value(value: Integer, exponent: int, mode: RoundingMode, random: Term | None) -> Term:
    """Return the value in units of two to ``exponent``, a bit wider than it needs."""
    places = exponent - value.exponent
    if places <= 0:
        exact = shift_left(value.term, -places)
        return resized(exact, exact.sort.width + 1, signed=True)
    whole = resized(value.term, max(value.width, places + 1) + 1, signed=True)
    lower, rest = extract(whole, whole.sort.width - 1, places), extract(whole, places - 1, 0)
    up = _rounds_up(rest, mode, odd=bit(lower, 0), negative=bit(lower, lower.sort.width - 1), random=random)
    lower = resized(lower, lower.sort.width + 1, signed=True)
    return add(lower, choose(up, constant(1, lower.sort.width), constant(0, lower.sort.width)))


def _rounds_up(rest: Term, mode: RoundingMode, *, odd: Term, negative: Term, random: Term | None) -> Term:
    """Return whether the upper neighbour is taken, ``rest`` being the bits below the last place."""
    width = rest.sort.width
    inexact, half = not_equal(rest, constant(0, width)), bit(rest, width - 1)
    tie = equal(rest, constant(1 << (width - 1), width))
    match mode:
        case RoundingMode.STOCHASTIC:
            assert random is not None
            count = random.sort.width
            top = extract(rest, width - 1, width - count) if width >= count else shift_left(rest, count - width)
            carried = add(resized(top, count + 1, signed=False), resized(random, count + 1, signed=False))
            return bit(carried, count)
        case RoundingMode.TOWARD_ZERO:
            return all_of(inexact, negative)
        case RoundingMode.UP:
            return inexact
        case RoundingMode.DOWN:
            return FALSE
        case RoundingMode.TO_ODD:
            return all_of(inexact, invert(odd))
    at_tie = {RoundingMode.NEAREST_EVEN: odd, RoundingMode.NEAREST_AWAY: invert(negative),
              RoundingMode.NEAREST_ZERO: negative, RoundingMode.NEAREST_UP: TRUE}.get(mode, FALSE)
    return any_of(all_of(tie, at_tie), all_of(half, invert(tie)))


def _into_range(integer: Term, fmt: FixedPointFormat, overflow: OverflowPolicy) -> Term:
    """Return the code of a rounded value, given in units of the last place."""
    width = max(integer.sort.width, fmt.width + 2)
    integer = resized(integer, width, signed=True)
    code = extract(integer, fmt.width - 1, 0)
    if overflow is OverflowPolicy.WRAP:
        return code
    if overflow is OverflowPolicy.WRAP_SIGN_MAGNITUDE:
        turned = not_equal(extract(integer, fmt.width, fmt.width), extract(integer, fmt.width - 1, fmt.width - 1))
        return choose(turned, invert_bits(code), code)
    symmetric = overflow is OverflowPolicy.SATURATE_SYMMETRIC and fmt.signed
    lowest, highest = -fmt.max_integer if symmetric else fmt.min_integer, fmt.max_integer
    zero = overflow is OverflowPolicy.SATURATE_ZERO
    above = less(constant(highest, width), integer, signed=True)
    below = less(integer, constant(lowest, width), signed=True)
    code = choose(below, constant(0 if zero else lowest, fmt.width), code)
    return choose(above, constant(0 if zero else highest, fmt.width), code)


def fixed_specification(value: Integer, inputs: Mapping[str, Term], cast: Cast) -> Specification:
    """Return the specification of an operation whose exact result is ``value``.

    Parameters
    ----------
    inputs : mapping of port name to Term
        Variables, ``random`` among them where the rounding is stochastic.
    """
    return Specification(inputs=inputs, outputs={"o": cast_code(value, cast, inputs.get("random"))}, definitions=(),
                         theory="bit-vector arithmetic, exact and rounded once", assumptions=())
