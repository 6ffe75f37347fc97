"""How large the parts of a datapath are, counted from its formats: the quantities that a circuit's cost grows with.

The functions follow the generators in ``hw`` block by block (each names its own), with widths and ranges in place of
signals, so that a count takes microseconds and needs no hardware description language. They count bits of adders and
of multiplexers, not lookup tables: how many of these a bit takes is what a model learns from measurements.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, ScalarFormat, Specials, Subnormals
from synth.cost.fabric import Fabric
from synth.cost.terms import Terms

ROW_LIMIT = 3
COLUMN_LIMIT = 4
"""Keep in step with ``hw.arith.integer_product``, which names them alike."""


@dataclass(frozen=True, kw_only=True)
class Operand:
    """A decoded number: widths and ranges of ``hw.convert.number.Number``.

    Parameters
    ----------
    magnitude_bits : int
    min_magnitude, max_magnitude : int
        Zero aside.
    exponent_bits : int
        Of the exponent's signal; 0 where it is constant.
    exponent_signed : bool
    min_exponent, max_exponent : int
    scale : int
        What is added to the exponent.
    unpack_bits : int
        Inputs of the gates that tell subnormal numbers and zeros from others.
    special_bits : int
        Inputs of the gates that recognise values that are no numbers.
    regime_muxes : int
        Multiplexer bits that cut off a posit's regime.
    negated_bits : int
        Bits of a two's complement code that is turned into a magnitude.
    zero_masks : int
        Bits of a magnitude that a flag has to clear.
    """

    magnitude_bits: int
    min_magnitude: int
    max_magnitude: int
    exponent_bits: int
    exponent_signed: bool
    min_exponent: int
    max_exponent: int
    scale: int
    unpack_bits: int = 0
    special_bits: int = 0
    regime_muxes: int = 0
    negated_bits: int = 0
    zero_masks: int = 0

    @property
    def leading_zeros(self) -> int:
        """How many leading zeros the smallest magnitude has."""
        return self.magnitude_bits - self.min_magnitude.bit_length()


def decoded(fmt: ScalarFormat) -> Operand:
    """Return what ``hw.convert.decode.decode`` makes of a code, without normalising it."""
    match fmt:
        case FixedPointFormat():
            return Operand(
                magnitude_bits=fmt.width, min_magnitude=1,
                max_magnitude=1 << (fmt.width - 1) if fmt.signed else (1 << fmt.width) - 1,
                exponent_bits=0, exponent_signed=False, min_exponent=0, max_exponent=0, scale=-fmt.fraction_bits,
                negated_bits=fmt.width * fmt.signed)
        case PositFormat():
            return _decoded_posit(fmt)
        case FloatingPointFormat():
            return _decoded_float(fmt)


def _decoded_float(fmt: FloatingPointFormat) -> Operand:
    step, bits = fmt.radix // 2, fmt.fraction_bits + 1
    supported = fmt.subnormals is Subnormals.SUPPORTED and fmt.fraction_bits > 0
    special = {Specials.IEEE: fmt.exponent_bits + fmt.fraction_bits, Specials.NONE: 0}.get(
        fmt.specials, fmt.exponent_bits + fmt.fraction_bits + 1)
    return Operand(
        magnitude_bits=bits, min_magnitude=1 if supported else 1 << fmt.fraction_bits, max_magnitude=(1 << bits) - 1,
        exponent_bits=fmt.exponent_bits + step - 1, exponent_signed=False,
        min_exponent=0 if fmt.subnormals is Subnormals.ABSENT else 1,
        max_exponent=(fmt.max_code >> fmt.fraction_bits) * step, scale=-int(fmt.bias * step) - fmt.fraction_bits,
        unpack_bits=fmt.exponent_bits, special_bits=special, zero_masks=0 if supported else bits)


def _decoded_posit(fmt: PositFormat) -> Operand:
    bits = fmt.significand_bits
    body = fmt.width - 1
    levels = (body - 1).bit_length()
    return Operand(
        magnitude_bits=bits, min_magnitude=1 << (bits - 1), max_magnitude=(1 << bits) - 1,
        exponent_bits=fmt.exponent_size + levels + 1, exponent_signed=True, min_exponent=-fmt.max_exponent,
        max_exponent=fmt.max_exponent, scale=1 - bits, unpack_bits=body, special_bits=body,
        regime_muxes=levels * (body - 1), negated_bits=body, zero_masks=bits)


def unpacking(fmt: ScalarFormat, *, fabric: Fabric, masks: bool = False) -> Terms:
    """Return the work of unpacking a code.

    Parameters
    ----------
    fmt : ScalarFormat
    fabric : Fabric
        A posit of few bits is unpacked by as many tables as there are bits to find, whatever the structure.
    masks : bool
        Whether a zero has to have a magnitude of zero.
    """
    operand = decoded(fmt)
    terms: Terms = {"mask": operand.zero_masks} if masks else {}
    if isinstance(fmt, PositFormat):
        structural = operand.unpack_bits + operand.negated_bits + operand.regime_muxes
        outputs = operand.exponent_bits + operand.magnitude_bits  # the top bit is set; zero and NaR are a flag
        return terms | {"regime": min(structural, outputs << max(0, fmt.width - fabric.lut_inputs))}
    if isinstance(fmt, FixedPointFormat):
        return terms | {"negate": operand.negated_bits}
    return terms | {"unpack": operand.unpack_bits, "special": operand.special_bits}


@dataclass(frozen=True, kw_only=True)
class Product:
    """The exact product of two codes: ``hw.arith.exact_product``.

    Parameters
    ----------
    magnitude_bits : int
        Of the unsigned product of the magnitudes; of the signed one of two fixed-point codes.
    exponent_bits : int
        Of the exponents' sum.
    exponent_signed : bool
    min_exponent, max_exponent : int
    scale : int
    is_integer : bool
        Whether it is a two's complement integer, without an exponent.
    """

    magnitude_bits: int
    exponent_bits: int
    exponent_signed: bool
    min_exponent: int
    max_exponent: int
    scale: int
    is_integer: bool = False

    @property
    def register_bits(self) -> int:
        """Bits of a register behind the product, flags aside."""
        return self.magnitude_bits + (0 if self.is_integer else 1 + self.exponent_bits)


def product_terms(a_bits: int, b_bits: int, *, fabric: Fabric | None, a_signed: bool = False, b_signed: bool = False,
                  normalised: bool = False) -> Terms:
    """Return the work of ``hw.arith.integer_product.multiply_integers``, by the form that it takes.

    Parameters
    ----------
    a_bits, b_bits : int
    fabric : Fabric or None
        Of the target; None for the forms that suit any.
    a_signed, b_signed : bool
        Whether they are two's complement.
    normalised : bool
        Whether the top bits of both are known to be set, so that their partial products need no gates.
    """
    if a_bits < b_bits:
        a_bits, b_bits, a_signed, b_signed = b_bits, a_bits, b_signed, a_signed
    cells = (a_bits - 1) * (b_bits - 1) if normalised else a_bits * (b_bits - 1)
    gated_from = None if fabric is None else fabric.gated_from
    if gated_from is not None and b_bits > 1 and (a_signed or b_signed or b_bits >= gated_from):
        return {"gated": cells}
    if not a_signed and not b_signed:
        if b_bits == 1:
            return {"and": 0 if normalised else a_bits}
        if b_bits <= ROW_LIMIT:
            return {"rows": cells}
        if b_bits <= COLUMN_LIMIT:
            return {"columns": cells}
    digits = (b_bits + (not b_signed) + 1) // 2
    return {"booth": digits * (a_bits + (not a_signed) + 2)}


def exact_product(a: ScalarFormat, b: ScalarFormat) -> Product:
    """Return the product that ``hw.arith.exact_product.multiply_codes`` makes of two codes."""
    if isinstance(a, FixedPointFormat) and isinstance(b, FixedPointFormat):
        return Product(
            magnitude_bits=a.width + b.width, exponent_bits=0, exponent_signed=True, min_exponent=0, max_exponent=0,
            scale=-a.fraction_bits - b.fraction_bits, is_integer=True)
    x, y = decoded(a), decoded(b)
    lowest, highest = x.min_exponent + y.min_exponent, x.max_exponent + y.max_exponent
    return Product(
        magnitude_bits=(x.max_magnitude * y.max_magnitude).bit_length(),
        exponent_bits=range_bits(lowest, highest) if lowest < highest else 0, exponent_signed=lowest < 0,
        min_exponent=lowest,
        max_exponent=highest, scale=x.scale + y.scale)


def exact_product_terms(a: ScalarFormat, b: ScalarFormat, *, fabric: Fabric) -> Terms:
    """Return the work of multiplying the magnitudes of two codes, or the codes where both are fixed point."""
    if isinstance(a, FixedPointFormat) and isinstance(b, FixedPointFormat):
        return product_terms(a.width, b.width, fabric=fabric, a_signed=a.signed, b_signed=b.signed)
    x, y = decoded(a), decoded(b)
    return product_terms(x.magnitude_bits, y.magnitude_bits, fabric=fabric, normalised=not (
        x.leading_zeros or y.leading_zeros or x.zero_masks or y.zero_masks))


def range_bits(lowest: int, highest: int) -> int:
    """Bits of a signal that takes every value between two bounds; 0 where both are 0."""
    if lowest < 0:
        return 1 + max((~lowest).bit_length(), max(highest, 0).bit_length())
    return highest.bit_length()


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A shifter by powers of two: how much is left of each level.

    Parameters
    ----------
    muxes : tuple of int
        Bits of each level that choose between two signals.
    gates : tuple of int
        Bits of each level of which one side is a constant.
    """

    muxes: tuple[int, ...]
    gates: tuple[int, ...]

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return len(self.muxes)


def grid_shift(product: Product, *, exponent: int, width: int, is_filled: bool = False) -> Shift:
    """Return the shifter of ``hw.convert.grid`` that places a product on a grid.

    Parameters
    ----------
    product : Product
    exponent : int
        Of the grid's lowest place.
    width : int, bits
        Of the grid.
    is_filled : bool
        Whether the places above hold a sign, rather than zeros.
    """
    if product.is_integer or not product.exponent_bits:
        return Shift(muxes=(), gates=())
    base = product.scale - (1 << (product.exponent_bits - 1) if product.exponent_signed else 0)
    highest, lowest = product.max_exponent + product.scale - base, exponent - base
    bits = [True] * product.magnitude_bits
    muxes, gates = [], []
    for level in range(highest.bit_length()):
        step, later = 1 << level, highest >> level + 1 << level + 1
        moved, kept = [False] * step + bits, bits + [is_filled] * step
        places = range(min(len(moved), lowest + width))
        used = [place + later >= lowest for place in places]
        bits = [use and (moved[place] or kept[place]) for use, place in zip(used, places, strict=True)]
        both = sum(use and moved[place] and kept[place] for use, place in zip(used, places, strict=True))
        muxes.append(both)
        gates.append(sum(bits) - both)
    return Shift(muxes=tuple(muxes), gates=tuple(gates))


def normalising_shift(bits: int, levels: int) -> int:
    """Return the multiplexer bits of a shift by leading zeros, down from ``bits``, the longest step first."""
    total = 0
    for level in reversed(range(levels)):
        bits = max(1, bits - (1 << level))
        total += bits
    return total


def tree_bits(widths: Sequence[int]) -> int:
    """Return the adder bits of a tree that sums integers of these widths two by two (``hw.arith.integer_sum``)."""
    level, total = list(widths), 0
    while len(level) > 1:
        sums = [max(x, y) + 1 for x, y in zip(level[::2], level[1::2], strict=False)]
        total += sum(sums)
        level = sums + level[2 * len(sums):]
    return total
