"""MULT18X18D of the ECP5: the product with its registers in the block, the sum in the fabric.

The block's own adder, ALU54B, takes the outputs of both multipliers of its half of a block: a slice that used it would
cost two multipliers and save 10 carry cells of a 20 bit sum. So sums are made of carry cells here, whose LUTs choose
the beginning of a sum as well: Yosys 0.70, which infers the multiplier alone, takes another LUT a bit for that.
Source: Lattice FPGA-TN-02205 (ECP5 and ECP5-5G sysDSP usage guide); ``lattice/ccu2c_sim.vh`` of Yosys.
"""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal

from synth.primitives.family import FamilyPlatform, GatedSums, MultiplyAddSlice, delayed, sign_extend, summed_before

_REGISTERS = ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")


def _product(m: Any, slice_: MultiplyAddSlice, *, stages: int) -> Any:
    """Return the signed product in 36 bits, ``stages`` registers after the operands: 2, or 3 with the pipeline's."""
    product = Signal(36, name="product")
    clocked = {"INPUTA", "INPUTB", "OUTPUT", *(["PIPELINE"] if stages == 3 else [])}
    parameters = {f"p_REG_{name}_CLK": "CLK0" if name in clocked else "NONE" for name in _REGISTERS}
    operands = {f"i_{name}{index}": bit for name, value in (("A", slice_.a), ("B", slice_.b))
                for index, bit in enumerate(sign_extend(value, 18))}
    m.submodules.dsp = Instance(
        "MULT18X18D", **parameters, p_GSR="DISABLED", **operands, i_SIGNEDA=Const(1, 1), i_SIGNEDB=Const(1, 1),
        i_SOURCEA=Const(0, 1), i_SOURCEB=Const(0, 1), i_CLK0=ClockSignal(), i_CE0=slice_.enable, i_RST0=Const(0, 1),
        **{f"i_C{index}": Const(0, 1) for index in range(18)}, **{f"o_P{index}": product[index] for index in range(36)})
    return product


def _carry_chain(m: Any, width: int, pins_of: Callable[[int], dict[str, Any]], *, carry: int = 0,
                 name: str) -> Any:
    """Return a sum made of carry cells, two bits each.

    Parameters
    ----------
    m : Module
    width : int, bits
    pins_of : callable
        From a bit's index to its ``INIT``, and its inputs A to D.
    carry : int
        Into the lowest bit.
    name : str
    """
    total, carried = Signal(width, name=name), Const(carry, 1)
    for low in range(0, width, 2):
        next_carry = Signal(name=f"{name}_carry_{low + 2}")
        pins: dict[str, Any] = {}
        for half in range(2):
            bit = pins_of(low + half) if low + half < width else _NO_BIT
            pins[f"p_INIT{half}"], pins[f"p_INJECT1_{half}"] = Const(bit["INIT"], 16), "NO"
            pins |= {f"i_{pin}{half}": bit[pin] for pin in "ABCD"}
            if low + half < width:
                pins[f"o_S{half}"] = total[low + half]
        m.submodules += Instance("CCU2C", i_CIN=carried, o_COUT=next_carry, **pins)
        carried = next_carry
    return total


_NO_BIT = {"INIT": 0, **{pin: Const(0, 1) for pin in "ABCD"}}


def _chosen_sum(m: Any, product: Any, before: Any, begin: Any, start: int) -> Any:
    """Return ``product + (begin ? start : before)`` in carry cells, a LUT a bit.

    A is the product's bit, B the one summed before, C ``begin``, D 1. The LUT says whether the carry passes; where it
    does not, both bits added are the same, so that the product's bit is the carry, the function of INIT[3:0].
    """
    def pins(index: int) -> dict[str, Any]:
        # D, C from the highest: D = 1, C = 1: A ^ start; D = 1, C = 0: A ^ B; INIT[3:0]: A.
        return {"INIT": ((0x5 if start >> index & 1 else 0xA) << 12) | 0x060A, "A": product[index], "B": before[index],
                "C": begin, "D": Const(1, 1)}

    return _carry_chain(m, len(before), pins, name="next_total")


def _add_gated(m: Any, x: Any, a: Any, gate: Any, *, x_gate: Any, subtract: bool, name: str) -> Any:
    """Return a sum, or difference, of gated addends in carry cells, a LUT a bit.

    The LUT of a sum is (A & B) ^ (C & D); with C and D zero that is A & B, and so is the carry where the bits are the
    same. That of a difference, with D = 1, is ~(A ^ (B & C)), and the carry is A. That of a difference of which both
    are gated is (A & B) ^ (~C & D), and one more bit below makes the gate the carry into the lowest one.
    """
    def pins(index: int) -> dict[str, Any]:
        if subtract:
            return {"INIT": 0x950A, "A": x[index], "B": a[index], "C": gate, "D": Const(1, 1)}
        return {"INIT": 0x7888, "A": x[index], "B": x_gate, "C": a[index], "D": gate}

    def inverted_pins(index: int) -> dict[str, Any]:
        if not index:
            return {"INIT": 0x8788, "A": gate, "B": Const(1, 1), "C": Const(0, 1), "D": Const(0, 1)}
        return {"INIT": 0x8788, "A": x[index - 1], "B": x_gate, "C": a[index - 1], "D": gate}

    if subtract and not isinstance(x_gate, Const):
        return _carry_chain(m, len(x) + 1, inverted_pins, carry=1, name=name)[1:]
    return _carry_chain(m, len(x), pins, carry=subtract, name=name)


def _multiply_add(slice_: MultiplyAddSlice) -> Module:
    m = Module()
    width, before = slice_.width, summed_before(slice_)
    if before is None and not slice_.start:
        product = _product(m, slice_, stages=3)
        total = product if width <= 36 else sign_extend(product, width)
    else:
        product = _product(m, slice_, stages=2)
        extended = product if width <= 36 else sign_extend(product, width)
        total = Signal(width, name="total", reset_less=True)
        if before is None:
            following = extended + slice_.start
        else:
            begin = delayed(m, slice_, slice_.begin, 2, "begin")
            following = _chosen_sum(m, extended, before, begin, slice_.start)
        with m.If(slice_.enable):
            m.d.sync += total.eq(following)
    m.d.comb += [slice_.o.eq(total), slice_.cascade_out.eq(Cat(total)[:width])]
    return m


ECP5 = FamilyPlatform(family="ecp5", factor_widths=(18, 18), smallest_factors=(2, 4), sum_width=128,
                      multiply_add=_multiply_add,
                      gated_sums=GatedSums(add=_add_gated, gates_both=True, subtracts=True))
