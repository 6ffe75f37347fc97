"""MULTADDSUB18X18 of Lattice Nexus: product and a sum of 54 bits in one block.

An accumulator is the block alone: LOADC chooses between its own sum and the constant at C. What another slice has
summed comes through the fabric to C, behind a LUT a bit; C then must not wait for a register, and since the register
between multiplier and adder and that of C are one setting, the operands have theirs in the fabric instead.
The dedicated cascade of the ACC54 behind a Nexus multiplier has no form in Yosys or nextpnr.
Source: ``lattice/cells_sim_nexus.v`` of Yosys; Lattice FPGA-TN-02096 (sysDSP usage guide for Nexus platform).
"""

from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal

from synth.primitives.family import FamilyPlatform, MultiplyAddSlice, delayed, masked_before, sign_extend

_BLOCK_WIDTH = 54
"""Bits of the block's adder and output."""


def _multiply_add(slice_: MultiplyAddSlice) -> Module:
    m = Module()
    total = Signal(_BLOCK_WIDTH, name="total")
    a, b, addend, load = slice_.a, slice_.b, Const(slice_.start, _BLOCK_WIDTH), Const(1, 1)
    pipeline = not slice_.cascaded
    if slice_.cascaded:
        a, b = delayed(m, slice_, a, 1, "a"), delayed(m, slice_, b, 1, "b")
        addend = masked_before(m, slice_, _BLOCK_WIDTH)
    if slice_.accumulate:
        load = slice_.begin
    names = {True: "REGISTER", False: "BYPASS"}
    used: dict[str, Any] = {
        "INPUTA": True, "INPUTB": True, "INPUTC": False, "ADDSUB": False, "LOADC": pipeline, "LOADC2": pipeline,
        "CIN": False, "PIPELINE": pipeline, "OUTPUT": True}
    enables = {f"i_CE{name}": slice_.enable for name in ("A", "B", "C", "PIPE", "CTRL", "CIN", "OUT")}
    resets = {f"i_RST{name}": Const(0, 1) for name in ("A", "B", "C", "PIPE", "CTRL", "CIN", "OUT")}
    m.submodules.dsp = Instance(
        "MULTADDSUB18X18", **{f"p_REG{name}": names[value] for name, value in used.items()}, p_RESETMODE="SYNC",
        p_GSR="DISABLED", **enables, **resets, i_CLK=ClockSignal(), i_A=sign_extend(a, 18), i_B=sign_extend(b, 18),
        i_C=addend, i_SIGNED=Const(1, 1), i_ADDSUB=Const(0, 1), i_CIN=Const(0, 1), i_LOADC=load, o_Z=total)
    m.d.comb += [slice_.o.eq(total), slice_.cascade_out.eq(total[:slice_.width])]
    return m


NEXUS = FamilyPlatform(family="nexus", factor_widths=(18, 18), smallest_factors=(4, 8), sum_width=_BLOCK_WIDTH,
                       multiply_add=_multiply_add)
