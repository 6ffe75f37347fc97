"""Integer products built by hand, for where a synthesizer maps ``*`` onto more cells than it needs."""

from amaranth.hdl import *

from hw.arith.gated_rows import gates_sums, multiply_gated_rows, sum_gated_rows
from hw.arith.gated_tree import multiply_gated_tree, suits_tree
from hw.arith.truth_table import truth_table
from hw.convert.number import named

__all__ = ["DIGIT_BITS", "MAX_LOOKED_UP", "multiply_booth", "multiply_columns", "multiply_digit", "multiply_digits",
           "multiply_integers", "multiply_looked_up", "multiply_pair", "multiply_rows", "suits_block"]


def multiply_integers(m, a, b, *, hard_multiplier=False, platform=None, balanced=False, name="product"):
    """Return ``a * b`` in the smallest form measured for their widths.

    (Of exact products, :mod:`hw.arith.exact_structure` tells which take :func:`multiply_digits` or
    :func:`multiply_looked_up` instead.)

    On iCE40, ECP5 and Gowin: :func:`hw.arith.gated_rows.multiply_gated_rows`. Elsewhere, unsigned, the narrower of at
    most 3 bits: :func:`multiply_rows`; of 4: :func:`multiply_columns`; all others: :func:`multiply_booth`. What those
    would take, in LUTs with yosys 0.70, no hard multipliers, on iCE40 / ECP5 without wide LUTs / Xilinx 7, of a product
    alone (int8) and of whole multipliers:

    =============  =======================  ===============  ===============  ===============  ===============
    circuit        width of the magnitudes  ``*``            rows             columns          Booth
    =============  =======================  ===============  ===============  ===============  ===============
    int8           signed                   177 / 184 / 134                                    100 / 107 / 39
    float16        11                       572 / 603 / 444                   564 / 585 / 416  466 / 496 / 296
    float8_e3m4    5                        148 / 160 / 111                   142 / 153 / 108  140 / 153 / 96
    float8_e4m3fn  4                        107 / 118 / 84   109 / 118 / 76   107 / 112 / 77   109 / 119 / 84
    float6_e3m2fn  3                        59 / 71 / 45     60 / 64 / 44     60 / 69 / 48     65 / 74 / 48
    =============  =======================  ===============  ===============  ===============  ===============

    Parameters
    ----------
    m : Module
    a, b : Value
        Signed or unsigned, each on its own.
    hard_multiplier : bool
        Leave the product to ``*``, which synthesizers know how to put into a DSP block.
    platform : object, optional
        For the form that suits its family. A product that is too narrow for a block of it is built from gates all the
        same: see :func:`suits_block`.
    balanced : bool
        Whether gated rows come as a tree wherever that has fewer adders on the way, for more LUTs: the product of two
        int8 then takes 100 LUTs on iCE40, at 126 MHz, rather than 72 at 80. On ECP5 there is a tree in any case.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Value
        All ``len(a) + len(b)`` bits, signed if an operand is.
    """
    is_signed = a.shape().signed or b.shape().signed
    if hard_multiplier and suits_block(a, b, platform):
        return named(m, a * b, name)
    if len(a) < len(b):
        a, b = b, a
    if suits_tree(platform):
        return multiply_gated_tree(m, a, b, name, platform=platform)
    if gates_sums(platform) and (is_signed or len(b) > LOOKED_THROUGH):
        return multiply_gated_rows(m, a, b, name, platform=platform, balanced=balanced)
    if not is_signed and len(b) <= ROW_LIMIT:
        return multiply_rows(m, a, b, name)
    if not is_signed and len(b) <= COLUMN_LIMIT:
        return multiply_columns(m, a, b, len(a) + len(b), name)
    return multiply_booth(m, a, b, name)


def suits_block(a, b, platform):
    """Whether synthesis puts ``a * b`` into a DSP block, where it may.

    A platform that knows says so by ``platform.takes_product(a_width, b_width)``; for any other one, it does.
    """
    takes_product = getattr(platform, "takes_product", None)
    return takes_product is None or takes_product(len(a), len(b))


# Widest narrower operand, in bits, for which one adder a bit beats compressed columns, and these Booth recoding: the
# measurements are in the docstring above.
ROW_LIMIT = 3
COLUMN_LIMIT = 4

LOOKED_THROUGH = 2
"""Most bits of the narrower operand with which an unsigned product is a few gates, which merge with those around."""


def multiply_booth(m, a, b, name="product"):
    """Return ``a * b`` by radix-4 Booth recoding of ``b`` (MacSorley 1961), one carry chain a digit.

    Two bits of ``b`` at a time choose one of -2, -1, 0, 1, 2 times ``a``. The choice fits the lookup tables in front
    of a carry chain, so that each digit costs little more than the one adder that accumulates it. A negative
    multiple is the inverted positive one and a carry into its lowest place.

    Parameters
    ----------
    m : Module
    a, b : Value
        Signed or unsigned, each on its own. Every two bits of ``b`` cost a row as wide as ``a``: the narrower
        operand belongs there.

    Returns
    -------
    Value
        All ``len(a) + len(b)`` bits of the product, signed if an operand is.
    """
    is_signed, width = a.shape().signed or b.shape().signed, len(a) + len(b)
    multiplicand = a if a.shape().signed else Cat(a, C(0, 1))
    size = len(multiplicand)
    extension = b[-1] if b.shape().signed else C(0, 1)
    digits = (len(b) + (not b.shape().signed) + 1) // 2
    bits = [C(0, 1), *b, *(extension for _ in range(2 * digits - len(b)))]
    total, low = None, []
    for digit in range(digits):
        below, once, negative = bits[2 * digit:2 * digit + 3]
        one = named(m, once ^ below, f"{name}_one_{digit}")
        two = named(m, (negative & ~once & ~below) | (~negative & once & below), f"{name}_two_{digit}")
        multiple = (Cat(multiplicand, multiplicand[-1]) & one.replicate(size + 1)
                    | Cat(C(0, 1), multiplicand) & two.replicate(size + 1)) ^ negative.replicate(size + 1)
        row = Signal(signed(size + 1), name=f"{name}_multiple_{digit}")
        m.d.comb += row.eq(multiple)
        sum_ = Signal(signed(size + 2), name=f"{name}_sum_{digit}")
        if total is None:
            m.d.comb += sum_.eq(row + negative)
        else:
            low += [total[0], total[1]]
            # The place below the lowest one turns `negative` into the chain's carry in.
            m.d.comb += sum_.eq((Cat(C(1, 1), total[2:]).as_signed() + Cat(negative, row).as_signed()) >> 1)
        total = sum_
    product = named(m, Cat(*low, total)[:width], name)
    return product.as_signed() if is_signed else product


def multiply_rows(m, a, b, name="product"):
    """Return all bits of the product of two unsigned values, one adder as wide as ``a`` for every bit of ``b``."""
    total, low = Cat(a & b[0].replicate(len(a)), C(0, 1)), []
    for row in range(1, len(b)):
        low.append(total[0])
        sum_ = Signal(len(a) + 1, name=f"{name}_row_{row}")
        m.d.comb += sum_.eq((a & b[row].replicate(len(a))) + total[1:])
        total = sum_
    return named(m, Cat(*low, total), name)


def multiply_pair(m, a, b, *, platform=None, name="product"):
    """Return ``a[0] * b[0] + a[1] * b[1]``, one adder for every bit of both ``b``.

    A bit of each multiplier chooses nothing, either multiplicand, or their sum, which is made once. Lookup tables of 6
    inputs choose and add in one. Where :func:`hw.arith.gated_rows.gates_sums`, there are two
    gated rows in place of each, and a tree of adders behind.

    Parameters
    ----------
    m : Module
    a, b : sequence of 2 Value
        Signed or unsigned, the two of a pair alike. Every bit of ``b`` costs a row as wide as ``a``.
    platform : object, optional
        For the form that suits its family.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Value
        All ``len(a[0]) + len(b[0]) + 1`` bits of the sum, signed if an operand is.
    """
    assert a[0].shape() == a[1].shape()
    assert b[0].shape() == b[1].shape()
    if gates_sums(platform):
        return sum_gated_rows(m, a, b, name, platform=platform, balanced=True)
    a_signed, b_signed, size, low = a[0].shape().signed, b[0].shape().signed, len(a[0]) + 1, []
    both, total = named(m, a[0] + a[1], f"{name}_both"), None
    for row, (first, second) in enumerate(zip(*b, strict=True)):
        chosen = Signal(both.shape(), name=f"{name}_multiple_{row}")
        m.d.comb += chosen.eq(Mux(first, Mux(second, both, a[0]), Mux(second, a[1], 0)))
        negative = b_signed and row == len(b[0]) - 1
        sum_ = Signal(Shape(size + 1, a_signed or negative), name=f"{name}_row_{row}")
        before = C(0, 1)
        if total is not None:
            low.append(total[0])
            before = total[1:].as_signed() if a_signed else total[1:]
        m.d.comb += sum_.eq(before - chosen if negative else before + chosen)
        total = sum_
    product = named(m, Cat(*low, total), name)
    return product.as_signed() if a_signed or b_signed else product


def multiply_columns(m, a, b, width, name="product"):
    """Return the low ``width`` bits of the product of two unsigned values.

    Full adders reduce the partial products of every weight to two (Wallace 1964), a carry chain adds the two rows
    that are left. Better than chains alone where constant ones among the bits take adders away, as the hidden
    bits of two significands do.
    """
    columns, count = [[] for _ in range(width)], 0
    for i in range(len(a)):
        for j in range(min(len(b), width - i)):
            columns[i + j].append(a[i] & b[j])
    while any(len(column) > 2 for column in columns):
        reduced = [[] for _ in range(len(columns) + 1)]
        for weight, column in enumerate(columns):
            full = len(column) - len(column) % 3
            for start in range(0, full, 3):
                x, y, z = column[start:start + 3]
                reduced[weight].append(named(m, x ^ y ^ z, f"{name}_sum_{count}"))
                reduced[weight + 1].append(named(m, (x & y) | (z & (x | y)), f"{name}_carry_{count}"))
                count += 1
            reduced[weight] += column[full:]
        columns = reduced[:len(columns)]
    rows = [named(m, Cat(*(column[row] if len(column) > row else C(0, 1) for column in columns)), f"{name}_row_{row}")
            for row in range(2)]
    return named(m, (rows[0] + rows[1])[:len(columns)], name)


def multiply_digits(m, a, b, name="product"):
    """Return all bits of the product of two unsigned values of 4 bits, from those of their digits of 2 bits.

    Each bit of a product of two digits is a function of 4 bits; one carry chain adds the two in the middle, another
    one that sum to the outer two. LUTs of the product alone, as above: 27 / 29 / 25, against 30 / 32 / 18 of
    :func:`multiply_columns` and 28 / 34 / 16 of :func:`multiply_rows`.
    """
    assert (a.shape(), b.shape()) == (unsigned(4), unsigned(4))
    low, first, second, high = (multiply_digit(m, x, y, f"{name}_{place}") for x, y, place in (
        (a[:2], b[:2], "low"), (a[:2], b[2:], "first"), (a[2:], b[:2], "second"), (a[2:], b[2:], "high")))
    middle = named(m, first + second, f"{name}_middle")
    return named(m, Cat(low[:2], (Cat(low[2:], high) + middle)[:6]), name)


DIGIT_BITS = 2
"""Bits of the factors of :func:`multiply_digit`, of whose product every bit is a function of 4 bits."""


def multiply_digit(m, a, b, name="product"):
    """Return all bits of the product of two unsigned values of ``DIGIT_BITS``, in gates."""
    carry = a.all() & b.all()
    return named(m, Cat(a[0] & b[0], (a[1] & b[0]) ^ (a[0] & b[1]), a[1] & b[1] & ~carry, carry), name)


MAX_LOOKED_UP = 4
"""Most bits of the wider factor of :func:`multiply_looked_up`: with two of the other one, they fill 6 inputs."""


def multiply_looked_up(m, a, b, name="product"):
    """Return all bits of the product of two unsigned values, two bits of the narrower one at a time by a table.

    For tables of 6 inputs, which hold the whole product of 3 bits by 3: 6 LUTs on Xilinx 7, against 10 of
    :func:`multiply_rows`.

    Parameters
    ----------
    m : Module
    a, b : Value
        Unsigned; of at most ``MAX_LOOKED_UP`` bits.
    """
    if len(a) < len(b):
        a, b = b, a
    assert (a.shape(), b.shape()) == (unsigned(len(a)), unsigned(len(b)))
    assert len(a) <= MAX_LOOKED_UP
    if len(a) + len(b) <= MAX_LOOKED_UP + 2:
        return named(m, _look_up(m, a, b, name), name)
    low, high = _look_up(m, a, b[:2], f"{name}_low"), _look_up(m, a, b[2:], f"{name}_high")
    return named(m, Cat(low[:2], (low[2:] + high)[:len(a) + len(b) - 2]), name)


def _look_up(m, a, b, name):
    values = [(index & (1 << len(a)) - 1) * (index >> len(a)) for index in range(1 << len(a) + len(b))]
    return truth_table(m, Cat(a, b), values, len(a) + len(b), name)
