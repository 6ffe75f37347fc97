"""DSP48E2 (UltraScale+) and DSP48E1 (7 series): product, sum and cascade in one block, no LUT beside it.

What a sum begins with is chosen by OPMODE, whose own register stands level with the product's: the cascade, the own
sum, zero or a constant. That constant comes from RND through the W multiplexer of DSP48E2 (AMD UG579, chapter 2);
DSP48E1 has neither, so that its C input holds it (AMD UG479, chapter 2).
"""

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal

from synth.primitives.family import FamilyPlatform, MultiplyAddSlice, delayed, sign_extend, wide_first

_PRODUCT = 0b0101
"""OPMODE[3:0]: the two partial products at X and Y."""

_ZERO, _CASCADE, _OWN, _C = 0b000, 0b001, 0b010, 0b011
"""OPMODE[6:4]: what the Z multiplexer passes."""

_RND = 0b10
"""OPMODE[8:7] of DSP48E2: the W multiplexer passes the constant RND."""


_REGISTERS = ("ACASCREG", "ADREG", "ALUMODEREG", "AREG", "BCASCREG", "BREG", "CARRYINREG", "CARRYINSELREG", "CREG",
              "DREG", "INMODEREG", "MREG", "PREG")
_USED_REGISTERS = ("ACASCREG", "AREG", "BCASCREG", "BREG", "MREG", "PREG")
_ENABLES = ("A1", "A2", "AD", "ALUMODE", "B1", "B2", "C", "CARRYIN", "CTRL", "D", "INMODE", "M", "P")
_ENABLED = ("A2", "B2", "CTRL", "M", "P")
_RESETS = ("A", "ALLCARRYIN", "ALUMODE", "B", "C", "CTRL", "D", "INMODE", "M", "P")
_ZEROS = {"ACIN": 30, "BCIN": 18, "ALUMODE": 4, "INMODE": 5, "CARRYINSEL": 3, "CARRYIN": 1}


def _choose(m: Any, slice_: MultiplyAddSlice, beginning: int, otherwise: int, width: int) -> Any:
    """Return ``begin ? beginning : otherwise`` of a cycle ago, bit by bit: a constant, ``begin`` or its complement."""
    choices = {(0, 0): Const(0, 1), (1, 1): Const(1, 1)}
    if beginning & ~otherwise:
        choices[1, 0] = delayed(m, slice_, slice_.begin, 1, "begin")
    if otherwise & ~beginning:
        choices[0, 1] = delayed(m, slice_, ~slice_.begin, 1, "continued")
    return Cat(choices[beginning >> bit & 1, otherwise >> bit & 1] for bit in range(width))


def _form(slice_: MultiplyAddSlice, cell: str, beginning: int, otherwise: int, opmode_width: int,
          **details: Any) -> Module:
    """Return a slice; ``beginning`` and ``otherwise`` are OPMODE for a sum's first product and for the others."""
    m = Module()
    a, b = wide_first(slice_)
    total, wires = Signal(48, name="p"), Signal(48, name="pcout")
    chosen = slice_.cascaded or slice_.accumulate
    # Of the two registers that ``begin`` goes through beside the product, the second one is OPMODE's own.
    opmode = _choose(m, slice_, beginning, otherwise, opmode_width) if chosen else Const(beginning, opmode_width)
    registers = {f"p_{name}": int(name in _USED_REGISTERS) for name in _REGISTERS}
    enables = {f"i_CE{name}": slice_.enable if name in _ENABLED else Const(0, 1) for name in _ENABLES}
    resets = {f"i_RST{name}": Const(0, 1) for name in _RESETS}
    zeros = {f"i_{name}": Const(0, width) for name, width in _ZEROS.items()}
    m.submodules.dsp = Instance(
        cell, **registers, **enables, **resets, **zeros, p_OPMODEREG=int(chosen), i_CLK=ClockSignal(),
        i_A=sign_extend(a, 30), i_B=sign_extend(b, 18), i_OPMODE=opmode,
        i_PCIN=slice_.cascade if slice_.cascaded else Const(0, 48), o_P=total, o_PCOUT=wires, **details)
    m.d.comb += [slice_.o.eq(total), slice_.cascade_out.eq(wires)]
    return m


def _before(slice_: MultiplyAddSlice) -> int:
    return _OWN if slice_.accumulate else _CASCADE


def _dsp48e1(slice_: MultiplyAddSlice) -> Module:
    start = _C if slice_.start else _ZERO
    return _form(slice_, "DSP48E1", start << 4 | _PRODUCT, _before(slice_) << 4 | _PRODUCT, 7,
                 i_C=Const(slice_.start, 48), i_D=Const(0, 25))


def _dsp48e2(slice_: MultiplyAddSlice) -> Module:
    start = _RND if slice_.start else _ZERO
    return _form(slice_, "DSP48E2", start << 7 | _PRODUCT, _before(slice_) << 4 | _PRODUCT, 9,
                 p_RND=Const(slice_.start, 48), i_C=Const(0, 48), i_D=Const(0, 27))


XILINX_7 = FamilyPlatform(family="xc7", factor_widths=(25, 18), smallest_factors=(2, 9), sum_width=48,
                          multiply_add=_dsp48e1)
ULTRASCALE_PLUS = FamilyPlatform(family="xcup", factor_widths=(27, 18), smallest_factors=(2, 9), sum_width=48,
                                 multiply_add=_dsp48e2)
