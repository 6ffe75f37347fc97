"""How exact products are made and brought onto the grid of a sum: what is smallest depends on a family's LUTs."""

from enum import Enum

from hw.arith.digit_product import suits_shifted_digits
from hw.arith.integer_product import DIGIT_BITS, MAX_LOOKED_UP
from sw.formats import FixedPointFormat, FloatingPointFormat

__all__ = ["MAX_PAIRED", "ExactStructure", "exact_structures", "require_exact_structure"]

MAX_PAIRED = 4
"""Most bits of the narrower operand with which pairs of products of fixed point are the faster ones on every family,
and nowhere more than a few LUTs larger."""


LUT6_FAMILIES = ("xc7", "xcup")
"""Whose lookup tables have 6 inputs."""


class ExactStructure(Enum):
    """How an exact product is made, and where it becomes negative.

    LUTs with yosys 0.70 and no hard multipliers on iCE40 / ECP5 without wide LUTs / Xilinx 7: of a product alone as a
    two's complement integer (a dot product of one lane), and of the register of a sum of 256 products without a
    handshake. The smallest of all structures, and in brackets what there was when ``invert-late`` was the only one,
    which negated a lone product while it was narrow, by a carry chain:

    ==============  =================================  ===============================
    both operands   product                            register
    ==============  =================================  ===============================
    float4_e2m1fn   33 / 30 / 19 (42 / 41 / 24)        47 / 49 / 32 (52 / 51 / 38)
    float6_e2m3fn   72 / 74 / 42 (88 / 87 / 52)        81 / 78 / 59 (95 / 94 / 58)
    float6_e3m2fn   73 / 76 / 45 (85 / 88 / 56)        96 / 93 / 61 (101 / 99 / 62)
    minifloat_e4m3  134 / 137 / 87 (153 / 154 / 103)   157 / 159 / 102 (187 / 193 / 98)
    minifloat_e5m2  155 / 155 / 123 (178 / 175 / 160)  218 / 221 / 131 (231 / 231 / 142)
    ==============  =================================  ===============================

    Of those that invert early, no one is smaller than the others throughout: for minifloat_e5m2 on ECP5 they take 174
    and, with exponents in gates, 155; for minifloat_e4m3, 137 and 144.
    """

    INVERT_EARLY = "invert-early"
    """In front of the last shift, where lookup tables of 4 inputs have one to spare. A product that stands alone is
    negated while it is narrow, without a carry chain, and its last shifts are one selection where that is smaller."""
    GATE_EXPONENTS = "gate-exponents"
    """As early, and the sum of the exponents has no carry chain, so that its gates merge with those around them."""
    SELECT_BLOCKS = "select-blocks"
    """As early, and the selection that ends the shift is made of multiplexers: for a product that stands alone."""
    DIGITS = "digits"
    """As early, and the product of the magnitudes, of 2 bits both, has no carry chain. The exact dot product of eight
    lanes of float4_e2m1fn takes 301 LUTs on ECP5 and reaches 85 MHz, against 306 and 78."""
    SHIFTED_DIGITS = "shifted-digits"
    """No carry chain at all, for a product that stands alone: :mod:`hw.arith.digit_product`."""
    INVERT_LATE = "invert-late"
    """With the last shift, or in the lookup tables of the carry chain that comes next. A product that stands alone is
    negated on the grid, by such a chain."""
    TABLES = "tables"
    """As late, and the product of the magnitudes is looked up, two bits of one of them at a time: for lookup tables of
    6 inputs, and magnitudes of at most 4 bits."""
    PAIRS = "pairs"
    """Products of fixed point two by two: :func:`hw.arith.integer_product.multiply_pair`. LUTs of exact dot products of
    four lanes on iCE40 / ECP5 / Xilinx 7, and in brackets with each product alone: uint4, 115 / 98 / 62
    (112 / 113 / 121), with one register at 99 MHz on iCE40 and 112 MHz on ECP5 (83 and 110); int8, 440 / 334 / 185
    (369 / 370 / 193)."""

    @property
    def early(self):
        """Whether the inversion comes early."""
        return self not in (ExactStructure.INVERT_LATE, ExactStructure.TABLES, ExactStructure.PAIRS)

    @staticmethod
    def ordered(suitable, family):
        """Return suitable structures, the one first that is taken on a family where nothing is recorded.

        With lookup tables of 6 inputs that is ``TABLES``, or else ``INVERT_LATE``, the smallest of 20 of
        the 24 that are recorded for Xilinx 7.
        """
        late = (ExactStructure.TABLES, ExactStructure.INVERT_LATE) if family in LUT6_FAMILIES else ()
        first = [structure for structure in late if structure in suitable][:1]
        return (*first, *(structure for structure in suitable if structure not in first))


def exact_structures(a, b, *, alone, lanes=1):
    """Return the structures of products of two formats, the one taken where none is recorded first.

    Parameters
    ----------
    a, b : FloatingPointFormat, FixedPointFormat or PositFormat
    alone : bool
        Whether a product is all there is, rather than one of a sum.
    lanes : int
        How many products are there at a time.

    Returns
    -------
    tuple of ExactStructure
        For fixed point, whose products are signed from the start, ``INVERT_LATE``, and ``PAIRS`` where there are
        products to pair, alone if an operand has at most ``MAX_PAIRED`` bits. Of significands of one bit, which have
        no product to wait for, ``INVERT_LATE`` comes first: LUTs of eight lanes of e5m0 on iCE40 / ECP5 / Xilinx 7,
        1274 / 1205 / 909 against 1575 / 1593 / 1068 inverted early.
    """
    if all(isinstance(fmt, FixedPointFormat) for fmt in (a, b)):
        if lanes < 2:
            return (ExactStructure.INVERT_LATE,)
        if min(a.width, b.width) <= MAX_PAIRED:
            return (ExactStructure.PAIRS,)
        return ExactStructure.INVERT_LATE, ExactStructure.PAIRS
    left_out = {ExactStructure.PAIRS}
    if not alone:
        left_out |= {ExactStructure.SELECT_BLOCKS, ExactStructure.SHIFTED_DIGITS}
    if any(_magnitude_bits(fmt) != DIGIT_BITS for fmt in (a, b)):
        left_out.add(ExactStructure.DIGITS)
    if not all(suits_shifted_digits(fmt) for fmt in (a, b)):
        left_out.add(ExactStructure.SHIFTED_DIGITS)
    if max(map(_magnitude_bits, (a, b))) > MAX_LOOKED_UP:
        left_out.add(ExactStructure.TABLES)
    found = [structure for structure in ExactStructure if structure not in left_out]
    if max(map(_magnitude_bits, (a, b))) == 1:
        found.sort(key=lambda structure: structure is not ExactStructure.INVERT_LATE)
    return tuple(found)


def require_exact_structure(structure, suitable):
    """Return ``structure`` if it is None, for the best one, or one of those that suit.

    Raises
    ------
    TypeError, ValueError
        If it is no ExactStructure, or does not suit.
    """
    if structure is not None and not isinstance(structure, ExactStructure):
        raise TypeError(f"Structure must be an ExactStructure, not {structure!r}")
    if structure is not None and structure not in suitable:
        raise ValueError(f"Structure must be one that suits the operands, {', '.join(map(str, suitable))}, "
                         f"not {structure}")
    return structure


def _magnitude_bits(fmt):
    if isinstance(fmt, FixedPointFormat):
        return fmt.width
    return fmt.fraction_bits + 1 if isinstance(fmt, FloatingPointFormat) else fmt.significand_bits
