"""Several products with one shared operand on one hard multiplier, taken apart without adders of their own."""

from dataclasses import replace

from amaranth.hdl import *
from amaranth.lib import wiring

from hw.convert.grid import Addend
from hw.convert.number import named
from hw.dot.packed_lanes import borrow_lanes, join_lanes
from hw.function import function_members
from hw.pipeline import delay, distribute, require_pipeline
from sw.reference.packed_product import PackedMultiplication
from sw.reference.packing import Packing

__all__ = ["PackedProduct", "find_packing", "multiply_packed"]

OPERAND_WIDTH = 18
"""Bits of the wider operand of a hard multiplier, signed, in most families: see :class:`PackedProduct`."""


def find_packing(packed_width, shared_width, *, lanes=2, operand_width=OPERAND_WIDTH):
    """Return the packing of single products that costs least to take apart, or None if the operand holds none.

    That is the least spacing in which the highest bit of each lane is its sign, also after the lane below it has
    borrowed; where the operand is too narrow for that, the least spacing at all.

    Parameters
    ----------
    packed_width, shared_width : int, bits
        Of the signed operands.
    lanes : int
        Packed operands.
    operand_width : int, bits
        Of the multiplier's wider operand, signed.

    Returns
    -------
    Packing or None
    """
    least = Packing(packed_width=packed_width, shared_width=shared_width, lanes=lanes)
    packings = [least, replace(least, spacing=least.spacing + 1)]
    packings = [packing for packing in packings if packing.operand_width <= operand_width]
    return next((packing for packing in packings if _has_sign(packing)), packings[0] if packings else None)


def _has_sign(packing):
    """Whether the highest bit of a lane, less the one that the lane below it may borrow, is its sign."""
    low, high = packing.product_range
    return low - 1 >= -(1 << packing.spacing - 1) and high < 1 << packing.spacing - 1


def multiply_packed(m, packing, operands, shared, *, operand_cycles=0, product_cycles=0, name="packed"):
    """Return the products of some integers with one that they share, from one multiplication.

    Of the product, each lane is a field of ``packing.spacing`` bits that lacks the one which a negative lane below has
    borrowed. That one is left to be the carry of the adder that comes next. Where the spacing has a bit to spare, the
    highest bit of a field is its sign; where it has not, a field is negative if it is greater than any product.

    Parameters
    ----------
    m : Module
    packing : Packing
        Of single products (``terms`` of 1).
    operands : list of Value, signed, ``packing.packed_width`` bits
    shared : Value, signed, ``packing.shared_width`` bits
    operand_cycles, product_cycles : int
        Registers in front of the multiplication, and behind it.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    list of Addend
        One a lane, as wide as a product.
    """
    factor = join_lanes(packing, borrow_lanes(m, operands, name=f"{name}_lane"))
    factor = delay(m, factor, operand_cycles, name=f"{name}_factor")
    shared = delay(m, shared, operand_cycles, name=f"{name}_shared")
    product = delay(m, named(m, factor * shared, f"{name}_product"), product_cycles, name=f"{name}_product")
    return _lanes(m, packing, product, name)


def _lanes(m, packing, product, name):
    """The lanes of a packed product, which carry what the lanes below have borrowed."""
    spacing, width = packing.spacing, packing.packed_width + packing.shared_width
    greatest, lanes, borrow = packing.product_range[1], [], C(0, 1)
    for lane in range(packing.lanes - 1):
        field = product[lane * spacing:(lane + 1) * spacing]
        negative = field[-1] if _has_sign(packing) else named(m, field > greatest, f"{name}_negative_{lane}")
        lanes.append(Addend(value=Cat(field, negative)[:width].as_signed(), carry=borrow))
        borrow = negative
    top = product[(packing.lanes - 1) * spacing:]
    lanes.append(Addend(value=top[:width].as_signed(), carry=borrow))
    return lanes


class PackedProduct(wiring.Component):
    """Products of ``lanes`` integers with one that they share, on one hard multiplier.

    Latency is ``pipeline`` cycles of domain ``sync``; throughput is one vector per cycle. The output is what
    ``sw.reference.packed_product.PackedMultiplication`` computes. Registers have no reset: the first ``latency``
    outputs after power-up mean nothing.

    Cells of products of int4 by int8 with yosys 0.70, DSP blocks / LUTs, every combination of operands proven right on
    the mapped netlists. "Carries left" are what :func:`multiply_packed` gives, for the next adder to take along:

    ===================  ======  ======  ======  ======  ========  ===========
    circuit              iCE40   ECP5    Nexus   Gowin   Xilinx 7  UltraScale+
    ===================  ======  ======  ======  ======  ========  ===========
    one product          1 / 0   1 / 0   1 / 0   1 / 0   1 / 0     1 / 0
    two, carries left    1 / 10  1 / 6   1 / 6   1 / 5   1 / 2     1 / 2
    two                  1 / 22  1 / 18  1 / 21  1 / 17  1 / 3     1 / 3
    three, carries left                                            1 / 10
    three                                                          1 / 12
    ===================  ======  ======  ======  ======  ========  ===========

    The operand is of 18 bits and the spacing 12; on iCE40 of 16 bits and 11, where the sign of a lane has to be worked
    out; of three products of 27 bits and 11. Written as ``(a1 << 13) + a0``, the factor goes into the pre-adders of
    Xilinx 7 and Nexus, for 0 LUTs with the carries left, but takes twice as many as here where there is none (4, and
    23 of three products, on UltraScale+).

    Parameters
    ----------
    a, b : FixedPointFormat
        Of the packed integers and of the shared one; signed.
    lanes : int
        Packed integers: 1 to 8.
    operand_width : int, bits
        Of the multiplier's wider operand, signed.
    pipeline : int
        Number of register stages, 0 to 64; 0 is combinational. The first two go behind the multiplication and in front
        of it, where blocks have registers; any further ones stand at the output.

    Members
    -------
    a : In(ArrayLayout)
        ``lanes`` codes.
    b : In(b.width)
    o : Out(ArrayLayout)
        ``lanes`` products, two's complement.

    Raises
    ------
    TypeError, ValueError
        As the reference does; if ``operand_width`` does not hold so many lanes, or ``pipeline`` is no number of
        register stages.

    Source: Xilinx WP486, for two products of int8; CoDeNet has the operands of int4 by int8.
    """

    def __init__(self, a, b, *, lanes=2, operand_width=OPERAND_WIDTH, pipeline=0):
        self._model = PackedMultiplication(a=a, b=b, lanes=lanes)
        self._packing = find_packing(a.width, b.width, lanes=lanes, operand_width=operand_width)
        if self._packing is None:
            needed = Packing(packed_width=a.width, shared_width=b.width, lanes=lanes).operand_width
            raise ValueError(f"Operand width must be at least {needed} bits for {lanes} lanes of {a.name} times "
                             f"{b.name}, not {operand_width!r}")
        self._pipeline = require_pipeline(pipeline)
        super().__init__(function_members(self._model))

    @property
    def packing(self):
        """Where the lanes stand."""
        return self._packing

    @property
    def pipeline(self):
        """Number of register stages."""
        return self._pipeline

    @property
    def latency(self):
        """Cycles from a vector to its products."""
        return self._pipeline

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        cycles = distribute(self._pipeline, ("product", "operands"))
        lanes = multiply_packed(m, self._packing, [code.as_signed() for code in self.a], self.b.as_signed(),
                                operand_cycles=cycles["operands"], product_cycles=cycles["product"])
        for code, lane in zip(self.o, lanes, strict=True):
            m.d.comb += code.eq(delay(m, (lane.value + lane.carry)[:len(code)], cycles["output"], name="product"))
        return m
