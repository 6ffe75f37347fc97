"""MULTALU18X18, MULT18X18 and MULT9X9 of Gowin's LittleBee and Arora.

An accumulator, and a product with a constant added to it, is MULTALU18X18 alone, in its mode 0: ACCLOAD chooses between
the own sum and nothing, and C holds what a sum begins with. What another slice has summed cannot be left out of the
block's adder for a first product, and MULTALU18X18 takes the place of two MULT18X18 or four MULT9X9; so the slices of
a chain are a multiplier with its registers, and carry cells, whose LUTs choose the beginning as well.
Source: Gowin UG287 (DSP user guide), UG288 (CFU user guide); ``gowin/cells_sim.v`` of Yosys for the ALU's modes.
"""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal

from synth.primitives.family import FamilyPlatform, GatedSums, MultiplyAddSlice, delayed, sign_extend

_BLOCK_WIDTH = 54
"""Bits of the block's adder and output."""

_ALU_MULT = 9
"""ALU_MODE in which SUM is ``(I0 and I1) + I3 + CIN``."""


def _block(m: Any, cell: str, slice_: MultiplyAddSlice, width: int, output: Any, **details: Any) -> None:
    """Add a block with registers at its operands, of ``width`` bits each, and at its output."""
    parameters = {f"p_{name}": Const(int(name in ("AREG", "BREG", "OUT_REG")), 1)
                  for name in ("AREG", "BREG", "OUT_REG", "PIPE_REG", "ASIGN_REG", "BSIGN_REG")}
    m.submodules.dsp = Instance(
        cell, **(parameters | details), p_MULT_RESET_MODE="SYNC", i_A=sign_extend(slice_.a, width),
        i_B=sign_extend(slice_.b, width), i_ASIGN=Const(1, 1), i_BSIGN=Const(1, 1), i_CLK=ClockSignal(),
        i_CE=slice_.enable, i_RESET=Const(0, 1), o_DOUT=output)


def _product(m: Any, slice_: MultiplyAddSlice, *, stages: int) -> Any:
    """Return the signed product, ``stages`` registers after the operands: 2, or 3 with the one inside."""
    width = 9 if max(slice_.a_width, slice_.b_width) <= 9 else 18
    product = Signal(2 * width, name="product")
    _block(m, f"MULT{width}X{width}", slice_, width, product, p_PIPE_REG=Const(int(stages == 3), 1),
           p_SOA_REG=Const(0, 1), i_ASEL=Const(0, 1), i_BSEL=Const(0, 1), i_SIA=Const(0, width), i_SIB=Const(0, width))
    return product


def _block_sum(m: Any, slice_: MultiplyAddSlice) -> Any:
    """Return the sum of a slice that takes over none, made in the block."""
    total = Signal(_BLOCK_WIDTH, name="total")
    load, addend = Const(0, 1), Const(slice_.start, _BLOCK_WIDTH)
    if slice_.accumulate:
        load = ~slice_.begin
        if slice_.start:  # C has no register level with the product's
            begin = delayed(m, slice_, slice_.begin, 2, "begin")
            addend = Const(slice_.start, _BLOCK_WIDTH) & begin.replicate(_BLOCK_WIDTH)
    zeros = {f"p_{name}": Const(0, 1) for name in ("CREG", "DREG", "DSIGN_REG", "B_ADD_SUB", "C_ADD_SUB")}
    _block(m, "MULTALU18X18", slice_, 18, total, **zeros, p_PIPE_REG=Const(1, 1), p_ACCLOAD_REG0=Const(1, 1),
           p_ACCLOAD_REG1=Const(1, 1), p_MULTALU18X18_MODE=0, i_ACCLOAD=load, i_DSIGN=Const(0, 1), i_C=addend,
           i_D=Const(0, _BLOCK_WIDTH), i_CASI=Const(0, 55))
    return total


def _carry_chain(m: Any, width: int, pins_of: Callable[[int], tuple[Any, Any, Any]], name: str) -> Any:
    """Return a sum of carry cells: of I0 & I1 and I3, which ``pins_of`` gives for a bit's index, a LUT a bit."""
    total, carry = Signal(width, name=name), Const(0, 1)
    for index in range(width):
        next_carry = Signal(name=f"{name}_carry_{index + 1}")
        first, mask, second = pins_of(index)
        m.submodules += Instance(
            "ALU", p_ALU_MODE=_ALU_MULT, i_I0=first, i_I1=mask, i_I3=second, i_CIN=carry, o_SUM=total[index],
            o_COUT=next_carry)
        carry = next_carry
    return total


def _add_gated(m: Any, x: Any, a: Any, gate: Any, *, x_gate: Any, subtract: bool, name: str) -> Any:
    """Return ``x + (a if gate else 0)`` in carry cells."""
    assert not subtract
    return _carry_chain(m, len(x), lambda index: (a[index], gate, x[index]), name)


def _chosen_sum(m: Any, slice_: MultiplyAddSlice, product: Any) -> Any:
    """Return ``product + (begin ? start : cascade)`` in carry cells: a LUT a bit, one more for each 1 of ``start``."""
    keep = delayed(m, slice_, ~slice_.begin, 2, "keep")

    def pins(index: int) -> tuple[Any, Any, Any]:
        before, mask = slice_.cascade[index], keep
        if slice_.start >> index & 1:
            before, mask = before | ~keep, Const(1, 1)
        return before, mask, product[index]

    return _carry_chain(m, slice_.width, pins, "next_total")


def _multiply_add(slice_: MultiplyAddSlice) -> Module:
    m = Module()
    width = slice_.width
    if slice_.cascaded:
        product = _product(m, slice_, stages=2)
        extended = product if width <= len(product) else sign_extend(product, width)
        total = Signal(width, name="total", reset_less=True)
        following = _chosen_sum(m, slice_, extended)
        with m.If(slice_.enable):
            m.d.sync += total.eq(following)
    elif slice_.accumulate or slice_.start:
        total = _block_sum(m, slice_)
    else:
        total = _product(m, slice_, stages=3)
        total = total if width <= len(total) else sign_extend(total, width)
    m.d.comb += [slice_.o.eq(total), slice_.cascade_out.eq(Cat(total)[:width])]
    return m


GOWIN = FamilyPlatform(family="gowin", factor_widths=(18, 18), smallest_factors=(4, 8), sum_width=_BLOCK_WIDTH,
                       multiply_add=_multiply_add,
                       gated_sums=GatedSums(add=_add_gated, gates_both=False, subtracts=False))
