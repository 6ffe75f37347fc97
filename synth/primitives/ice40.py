"""SB_MAC16 of the iCE40 UltraPlus: product and a sum of 32 bits in one block.

Its adder takes what was summed before from the fabric, at C and D: a LUT a bit chooses between that and a sum's
beginning. It has no cascade of whole sums, and its own feedback none that a first product could leave out. A wider sum
is left to the generic form, of which Yosys infers the multiplier with its registers.
Source: Lattice FPGA-TN-02007 (formerly TN1295, DSP function usage guide for iCE40 devices).
"""

from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal

from synth.primitives.family import FamilyPlatform, MultiplyAddSlice, masked_before, sign_extend

_BLOCK_WIDTH = 32
"""Bits of the block's adder and output."""

_FLAGS = {"NEG_TRIGGER": 0, "A_REG": 1, "B_REG": 1, "C_REG": 0, "D_REG": 0, "TOP_8x8_MULT_REG": 0,
          "BOT_8x8_MULT_REG": 0, "PIPELINE_16x16_MULT_REG1": 0, "PIPELINE_16x16_MULT_REG2": 1, "MODE_8x8": 0,
          "TOPADDSUB_UPPERINPUT": 1, "BOTADDSUB_UPPERINPUT": 1, "A_SIGNED": 1, "B_SIGNED": 1}

# Output: the sum's register. Adder: C and D above, the product below, the carry from the bottom half to the top one.
_SELECTS = {"TOPOUTPUT_SELECT": 1, "TOPADDSUB_LOWERINPUT": 2, "TOPADDSUB_CARRYSELECT": 2,
            "BOTOUTPUT_SELECT": 1, "BOTADDSUB_LOWERINPUT": 2, "BOTADDSUB_CARRYSELECT": 0}

_ZEROS = ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT",
          "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN")


def _multiply_add(slice_: MultiplyAddSlice) -> Module:
    m = Module()
    addend = masked_before(m, slice_, _BLOCK_WIDTH)
    total = Signal(_BLOCK_WIDTH, name="total")
    parameters = {f"p_{name}": Const(value, 1) for name, value in _FLAGS.items()}
    parameters |= {f"p_{name}": Const(value, 2) for name, value in _SELECTS.items()}
    zeros: dict[str, Any] = {f"i_{name}": Const(0, 1) for name in _ZEROS}
    m.submodules.dsp = Instance(
        "SB_MAC16", **parameters, **zeros, i_CLK=ClockSignal(), i_CE=slice_.enable, i_A=sign_extend(slice_.a, 16),
        i_B=sign_extend(slice_.b, 16), i_C=addend[16:], i_D=addend[:16], o_O=total)
    m.d.comb += [slice_.o.eq(total), slice_.cascade_out.eq(total[:slice_.width])]
    return m


ICE40 = FamilyPlatform(family="ice40", factor_widths=(16, 16), smallest_factors=(2, 11), sum_width=_BLOCK_WIDTH,
                       multiply_add=_multiply_add)
