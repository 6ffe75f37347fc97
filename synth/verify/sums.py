"""Sums that are steered to where a circuit turns: each product is the one nearest to what is missing still."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat, as_float
from sw.reference.accumulator_width import Grid, format_grid, product_grid, quantum_exponent, sum_grid
from sw.reference.block import BlockDot
from sw.reference.dot import Dot
from sw.reference.model import Codes, Function, Port
from sw.reference.value_array import ValueArray, decode_array, multiply_arrays, to_integers
from synth.verify.codes import Inputs, corner_codes, random_codes, special_codes

_WORD_BITS = 60
"""Bits of sums that are machine integers, with room for one more product."""

WIDEST_SUM = 960
"""Bits of the widest sum that is steered: one that has a float near it."""

_MOST_CODES = 512
"""Codes of a format of which products are made, at most."""

_MOST_FLIPPED = 4
"""Bits in which a sum differs from one that is its sign all over, at most: as many as a look-up table may look at."""

_WINDOW = 8
"""Digits next to each other in which any combination is tried, the others being all sign or all but the sign."""

_STEERED_LANES = 32
"""Lanes of which a sum is made, at most; the others are left to chance, or zero."""

_MOST_PLACES, _SMALL, _SPECIAL_SCALE = 32, 0.75, 1 / 16
"""Places above a result's lowest one up to which scales bring a sum; how many of the sums that they move are brought
there, not to its largest; and how many of the scales stand for no number."""


class Products:
    """The products of two formats' codes, by value.

    Parameters
    ----------
    a, b : ScalarFormat
        Of up to 8 bits, with every code; of more, with its corners.

    Attributes
    ----------
    exponent : int
        Every product is a whole multiple of two to this power.
    """

    def __init__(self, a: ScalarFormat, b: ScalarFormat) -> None:
        self.exponent = product_grid(a, b, every_code=True).exponent
        one, other = (_thinned(corner_codes(fmt)) for fmt in (a, b))
        first, second = np.repeat(one, len(other)), np.tile(other, len(one))
        values = multiply_arrays(decode_array(a, first), decode_array(b, second))
        finite = np.flatnonzero(~(values.nan | values.infinite))
        integers = to_integers(values[finite], self.exponent).astype(object)
        order = np.argsort(integers.astype(np.float64), kind="stable")
        self._a, self._b = first[finite][order], second[finite][order]
        self._integers = machine_integers(integers[order], product_grid(a, b, every_code=True).width)
        self._values, self._starts, self._counts = np.unique(
            integers[order].astype(np.float64), return_index=True, return_counts=True)

    def nearest(self, wanted: NDArray[Any], generator: np.random.Generator) -> tuple[Codes, Codes, NDArray[Any]]:
        """Return codes of which the product is the nearest to each number, and the product.

        Where several pairs have it, any of them is as likely.

        Parameters
        ----------
        wanted : integer array
            In units of ``2**exponent``; Python integers if they are wide.

        Returns
        -------
        (codes, codes, integer array)
            Of ``a``, of ``b``, and their products in the same units.
        """
        goal = wanted.astype(np.float64)
        above = np.clip(np.searchsorted(self._values, goal), 1, max(len(self._values) - 1, 1))
        above = np.minimum(above, len(self._values) - 1)
        below = np.maximum(above - 1, 0)
        pick = np.where(goal - self._values[below] <= self._values[above] - goal, below, above)
        place = self._starts[pick] + (generator.random(len(pick)) * self._counts[pick]).astype(np.int64)
        return self._a[place], self._b[place], self._integers[place]


def _thinned(codes: Codes) -> Codes:
    """Return at most so many of the codes, the ends among them."""
    return codes if len(codes) <= _MOST_CODES else codes[np.linspace(0, len(codes) - 1, _MOST_CODES).astype(np.int64)]


def turning_sums(width: int, exponent: int, result: ScalarFormat | None, generator: np.random.Generator, count: int
                 ) -> NDArray[Any]:
    """Return sums at which what follows a register of them turns.

    Half of them, above a place of which what is below is left to chance, are all sign but for up to four bits anywhere
    or any of some next to each other, or of all bits but the sign: what a detector of overflow, of a leading or of any
    digit, and what shifts these, has to tell apart. The other half
    are values of the result's format, those halfway between two of them, and those one unit beside these; without a
    result's format, all are of the first kind.

    Parameters
    ----------
    width : int, bits
        Of the register, two's complement.
    exponent : int
        Its units are two to this power.
    result : ScalarFormat, optional

    Returns
    -------
    object array
        Python integers in these units, in no order.
    """
    sums = _sparse_sums(width, generator, count)
    if result is None:
        return sums
    rounded = _rounding_turns(result, exponent, generator, count)
    highest = (1 << (width - 1)) - 1
    inside = np.array([-highest - 1 <= total <= highest for total in rounded.tolist()], dtype=bool)
    return np.where(inside & (generator.random(count) < 0.5), rounded, sums)


def _sparse_sums(width: int, generator: np.random.Generator, count: int) -> NDArray[Any]:
    one, digits = np.full(count, 1, dtype=object), max(width - 1, 1)
    negative, complemented = generator.integers(0, 2, (2, count)).astype(bool)
    bits = complemented.astype(object) * ((1 << digits) - 1)
    flips = generator.integers(0, digits, (_MOST_FLIPPED, count)).astype(object)
    used = generator.integers(1, _MOST_FLIPPED + 1, count)
    close = generator.integers(0, 2, count).astype(bool)
    places = generator.integers(0, digits, count).astype(object)
    window = generator.integers(0, 1 << _WINDOW, count).astype(object) << places & (one << digits) - 1
    for number, place in enumerate(flips):
        bits = np.where(~close & (used > number), bits ^ (one << place), bits)
    bits = np.where(close, bits ^ window, bits)
    below = np.where(close, places, generator.integers(0, width, count))
    loose = (one << (below * generator.integers(0, 2, count)).astype(object)) - 1
    bits = bits & ~loose | random_codes(Port(width=digits), generator, count).astype(object) & loose
    sums: NDArray[Any] = np.where(negative, ~bits, bits)
    return sums


def _rounding_turns(result: ScalarFormat, exponent: int, generator: np.random.Generator, count: int) -> NDArray[Any]:
    """Return values of a format, or what lies halfway between neighbours, or one unit beside, in units given."""
    codes = generator.integers(0, 1 << min(result.width, 63), count, dtype=np.uint64)
    following = (codes + generator.integers(0, 2, count, dtype=np.uint64)) & np.uint64((1 << result.width) - 1)
    unit = min(exponent, quantum_exponent(result) - 1)
    one, other = (decode_array(result, part) for part in (codes, following))
    finite = ~(one.nan | one.infinite | other.nan | other.infinite)
    twice = finite_integers(one, unit) + finite_integers(other, unit)
    sums: NDArray[Any] = (np.where(finite, twice, 0) >> (exponent - unit + 1)) \
        + generator.integers(-1, 2, count).astype(object)
    return sums


@dataclass(frozen=True)
class _Lanes:
    """What is summed: so many products of two formats, on which grid, and the format of a sum that is rounded alone."""

    a: ScalarFormat
    b: ScalarFormat
    count: int
    grid: Grid
    result: ScalarFormat | None


def _lanes(model: Function) -> _Lanes | None:
    if isinstance(model, Dot):
        return _Lanes(model.a, model.b, model.lanes, model.sum_grid, model.result)
    if isinstance(model, BlockDot):
        a, b, count = model.a.element, model.b.element, model.a.block_size
        return _Lanes(a, b, count, sum_grid(a, b, terms=count), None)
    return None


def steered_lanes(model: Function, generator: np.random.Generator, count: int) -> Inputs | None:
    """Return operands of a dot product of which the exact sum is one at which the rounding turns.

    Some lanes, none in many of the vectors, hold any codes, and the others bring the sum to where it is wanted: so it
    is reached by one lane as well as by all, and by large terms that cancel. The scales of blocks bring half of the
    sums to where the result's numbers end. None for any other operation.
    """
    summed = _lanes(model)
    if summed is None or summed.grid.width > WIDEST_SUM:
        return None
    lanes, grid = summed.count, summed.grid
    products = Products(summed.a, summed.b)
    places = products.exponent - grid.exponent
    goals = turning_sums(grid.width, grid.exponent, summed.result, generator, count) >> places
    wanted = machine_integers(goals, grid.width)
    free = np.minimum(generator.integers(0, 2 * lanes, count), lanes - 1) * (generator.random(count) < 0.5)
    steered = np.minimum(lanes - free, _STEERED_LANES)
    columns: list[tuple[Codes, Codes]] = []
    for lane in range(lanes):
        a, b, value = products.nearest(wanted * (lane >= lanes - steered), generator)
        any_a, any_b = (random_codes(Port.of(fmt), generator, count) for fmt in (summed.a, summed.b))
        loose = lane < free
        a, b = np.where(loose, any_a, a), np.where(loose, any_b, b)
        added = np.where(loose, product_integers(summed.a, summed.b, a, b, products.exponent), value) \
            if loose.any() else value
        wanted = wanted - added.astype(wanted.dtype)
        columns.append((a, b))
    order = np.argsort(generator.random((count, lanes)), axis=1)
    operands = {name: np.take_along_axis(np.stack(codes, axis=1), order, axis=1)
                for name, codes in zip(("a", "b"), zip(*columns, strict=True), strict=True)}
    if isinstance(model, BlockDot):
        leading = np.frexp(np.abs(goals.astype(np.float64)))[1] + products.exponent
        operands |= _steered_scales(model, leading, generator)
    return operands | {name: random_codes(port, generator, count) for name, port in model.inputs.items()
                       if name not in operands}


def _steered_scales(model: BlockDot, leading: NDArray[Any], generator: np.random.Generator) -> Inputs:
    """Return scales, half of which bring sums of these leading digits to where the result's numbers end.

    That is from below its smallest to above where it has all its digits, or about its largest. Now and then one of the
    scales, or both, stand for no number.
    """
    count = len(leading)
    grid = format_grid(model.result)
    small = grid.exponent + generator.integers(-4, _MOST_PLACES, count)
    large = grid.exponent + grid.width + generator.integers(-4, 3, count)
    wanted = np.where(generator.random(count) < _SMALL, small, large) - leading
    scales: Inputs = {}
    taken = np.zeros(count, dtype=np.int64)
    for name, fmt in (("a_scale", model.a.scale), ("b_scale", model.b.scale)):
        special, powers = special_codes(fmt), _powers(fmt)
        codes = random_codes(Port.of(fmt), generator, count)
        if scales:
            order = np.argsort(powers, kind="stable")
            near = order[np.minimum(np.searchsorted(powers[order], wanted - taken), len(order) - 1)]
            codes = np.where(generator.random(count) < 0.5, near.astype(codes.dtype), codes)
        if special.any():
            odd = np.flatnonzero(special)[generator.integers(0, int(special.sum()), count)].astype(codes.dtype)
            codes = np.where(generator.random(count) < _SPECIAL_SCALE, odd, codes)
        taken = powers[codes.astype(np.int64)]
        scales[name] = codes
    return scales


def _powers(fmt: ScalarFormat) -> NDArray[np.int64]:
    """Return the exponent of each code's leading digit; 0 for one that has none."""
    values = (fmt.decode(code) for code in range(1 << fmt.width))
    return np.array([math.frexp(abs(as_float(value)))[1] - 1 if isinstance(value, Fraction) and value else 0
                     for value in values], dtype=np.int64)


def machine_integers(integers: NDArray[Any], width: int) -> NDArray[Any]:
    """Return Python integers of so many bits as machine integers, if they and the next product fit those."""
    return integers.astype(np.int64) if width <= _WORD_BITS else integers


def product_integers(a: ScalarFormat, b: ScalarFormat, first: Codes, second: Codes, exponent: int) -> NDArray[Any]:
    """Return products as Python integers in units of ``2**exponent``; 0 for one that is no finite number."""
    values = multiply_arrays(decode_array(a, first), decode_array(b, second))
    return finite_integers(values, exponent)


def finite_integers(values: ValueArray, exponent: int) -> NDArray[Any]:
    """Return values as Python integers in units of ``2**exponent``; 0 for one that is no finite number."""
    integers = np.zeros(len(values), dtype=object)
    finite = np.flatnonzero(~(values.nan | values.infinite))
    integers[finite] = to_integers(values[finite], exponent).astype(object)
    return integers
