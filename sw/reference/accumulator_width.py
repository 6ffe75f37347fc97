"""How wide a register must be to hold sums of products exactly, by the formats' ranges and by the published rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from sw.formats import FixedPointFormat, FloatingPointFormat, ScalarFormat, Subnormals
from sw.formats.check import check_integer

MAX_WIDTH = 4096
"""Most bits of an exact sum: enough for the quire of every posit and for products of any 16-bit floats in use."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Whole multiples of ``2**exponent`` between two bounds.

    Parameters
    ----------
    exponent : int
    min_integer, max_integer : int
        The bounds in units of ``2**exponent``; zero lies between them.
    """

    exponent: int
    min_integer: int
    max_integer: int

    def refined(self, exponent: int) -> "Grid":
        """Return the same range on a grid at least as fine as ``2**exponent``."""
        places = max(0, self.exponent - exponent)
        return Grid(exponent=self.exponent - places, min_integer=self.min_integer << places,
                    max_integer=self.max_integer << places)

    def times(self, terms: int) -> "Grid":
        """Return the grid of sums of up to ``terms`` numbers of this one."""
        return Grid(exponent=self.exponent, min_integer=terms * self.min_integer, max_integer=terms * self.max_integer)

    def plus(self, other: "Grid") -> "Grid":
        """Return the grid of sums of a number of this grid and one of another."""
        x, y = self.refined(other.exponent), other.refined(self.exponent)
        return Grid(exponent=x.exponent, min_integer=x.min_integer + y.min_integer,
                    max_integer=x.max_integer + y.max_integer)

    def by(self, other: "Grid") -> "Grid":
        """Return the grid of products of a number of this grid and one of another."""
        corners = [p * q for p in (self.min_integer, self.max_integer) for q in (other.min_integer, other.max_integer)]
        return Grid(exponent=self.exponent + other.exponent, min_integer=min(corners), max_integer=max(corners))

    @property
    def width(self) -> int:
        """Bits of the narrowest two's complement register that holds every number of the grid."""
        return 1 + max(self.max_integer.bit_length(), (-1 - self.min_integer).bit_length() if self.min_integer else 0)


def quantum_exponent(fmt: ScalarFormat) -> int:
    """Return the exponent of the largest power of two of which every finite value of ``fmt`` is a whole multiple."""
    if isinstance(fmt, FixedPointFormat):
        return -fmt.fraction_bits
    lowest = fmt.smallest_positive  # a power of two, but for a format whose zero takes the place of one
    exponent = lowest.numerator.bit_length() - lowest.denominator.bit_length()
    if isinstance(fmt, FloatingPointFormat) and fmt.subnormals is not Subnormals.SUPPORTED:
        return exponent - fmt.fraction_bits
    return exponent


def format_grid(fmt: ScalarFormat, *, every_code: bool = False) -> Grid:
    """Return the grid of a format's finite values, zero included.

    Parameters
    ----------
    fmt : ScalarFormat
    every_code : bool
        Count the code that a narrow range leaves out, too: no rounding produces it, but it may come from outside.
    """
    if every_code and isinstance(fmt, FixedPointFormat):
        fmt = replace(fmt, narrow_range=False)
    exponent = quantum_exponent(fmt)
    low, high = (int(value / Fraction(2) ** exponent) for value in (fmt.min_finite, fmt.max_finite))
    return Grid(exponent=exponent, min_integer=min(0, low), max_integer=max(0, high))


def product_grid(a: ScalarFormat, b: ScalarFormat, *, every_code: bool = False) -> Grid:
    """Return the grid of all products of a finite value of ``a`` and one of ``b``, as :func:`format_grid` has them."""
    return format_grid(a, every_code=every_code).by(format_grid(b, every_code=every_code))


def sum_grid(a: ScalarFormat, b: ScalarFormat, *, terms: int, c: ScalarFormat | None = None) -> Grid:
    """Return the grid of all sums of up to ``terms`` products, onto a value of ``c`` where that is given.

    Its ``width`` is that of the narrowest register in which no such sum wraps.

    Raises
    ------
    TypeError
        If ``terms`` is not an integer.
    ValueError
        If ``terms`` is less than 1, or the width more than ``MAX_WIDTH``.
    """
    check_terms(terms)
    products = product_grid(a, b).times(terms)
    sums = products if c is None else products.plus(format_grid(c))
    check_sum_width(sums.width)
    return sums


def check_sum_width(width: int) -> None:
    """Refuse a register wider than ``MAX_WIDTH``.

    Raises
    ------
    ValueError
        If it is.
    """
    if width > MAX_WIDTH:
        raise ValueError(f"Exact sum must take at most {MAX_WIDTH} bits, not {width!r}; take formats of fewer exponent "
                         "bits")


def check_terms(terms: int) -> None:
    """Refuse a count of products that is none.

    Raises
    ------
    TypeError, ValueError
        If ``terms`` is not an integer, or less than 1.
    """
    check_integer("Term count", terms)
    if terms < 1:
        raise ValueError(f"Term count must be at least 1 product, not {terms!r}")


# The published rules. Each says by how many bits it may exceed the width of `sum_grid`, which its tests measure.

def deep_positron_width(largest: Fraction, smallest: Fraction, terms: int) -> int:
    """Return ``ceil(log2 k) + 2 * ceil(log2(max / min)) + 2``: any format with these two positive values.

    Exact or up to 3 bits more than needed. Source: Carmichael et al. 2019, "Deep Positron" (arXiv 1812.01762), general
    rule of the EMAC.

    Raises
    ------
    ValueError
        If the values are not positive, or in the wrong order.
    """
    if not 0 < smallest <= largest:
        raise ValueError(f"Largest value must be at least the smallest, both positive, not {largest!r} and "
                         f"{smallest!r}")
    ratio = largest / smallest
    return _ceil_log2(terms) + 2 * _ceil_log2(-(-ratio.numerator // ratio.denominator)) + 2


def posit_quire_width(width: int, exponent_size: int, terms: int) -> int:
    """Return ``2**(es + 2) * (n - 2) + 2 + ceil(log2 k)``: products of two values of ``posit<n, es>``.

    Exact for a power of two, otherwise at most 1 bit more than needed. Source: as :func:`deep_positron_width`.
    """
    return (width - 2 << exponent_size + 2) + 2 + _ceil_log2(terms)


def fixed_point_width(width: int, terms: int) -> int:
    """Return ``2 * n + ceil(log2 k)``: products of two signed numbers of ``n`` bits.

    Exact for a power of two, otherwise at most 1 bit more than needed; 1 bit more for a narrow range. Source: the
    RTL of Deep Positron's authors (Low-Precision-EMACs), fixed EMAC.
    """
    return 2 * width + _ceil_log2(terms)


def minifloat_width(exponent_bits: Sequence[int], fraction_bits: Sequence[int], terms: int) -> int:
    """Return ``2**ea + ma + 2**eb + mb + ceil(log2 n) - 1``: products of two all-finite minifloats with subnormals.

    Parameters
    ----------
    exponent_bits, fraction_bits : pair of int
        Of the two formats.
    terms : int

    Exact for a power of two, otherwise at most 1 bit more than needed. Source: arXiv 2311.12359, accumulator width,
    after Uguen and de Dinechin's report on Kulisch accumulators.
    """
    return sum(1 << bits for bits in exponent_bits) + sum(fraction_bits) + _ceil_log2(terms) - 1


def integer_width(a_width: int, b_width: int, terms: int) -> int:
    """Return ``ra + rb + ceil(log2 n) + 1``: products of two integers, signed or not.

    Between 1 and 3 bits more than needed for signed ones. Source: arXiv 2311.12359, accumulator width, after A2Q.
    """
    return a_width + b_width + _ceil_log2(terms) + 1


def _ceil_log2(count: int) -> int:
    check_terms(count)
    return (count - 1).bit_length()
