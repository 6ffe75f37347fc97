"""The iCE40 UltraPlus multiply-accumulate block SB_MAC16, in all its modes.

Source: module SB_MAC16 of ``ice40/cells_sim.v`` of Yosys, whose signal names are kept; Lattice TN1295.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth.netlist.cells.common import add, extend, multiply
from synth.netlist.cells.model import CellModel, CellView, Controls
from synth.netlist.network import FALSE, TRUE, Signal

Bus = list[Signal]

_PORTS = {
    "CLK": 1, "CE": 1, "C": 16, "A": 16, "B": 16, "D": 16, "AHOLD": 1, "BHOLD": 1, "CHOLD": 1, "DHOLD": 1,
    "IRSTTOP": 1, "IRSTBOT": 1, "ORSTTOP": 1, "ORSTBOT": 1, "OLOADTOP": 1, "OLOADBOT": 1, "ADDSUBTOP": 1,
    "ADDSUBBOT": 1, "OHOLDTOP": 1, "OHOLDBOT": 1, "CI": 1, "ACCUMCI": 1, "SIGNEXTIN": 1, "O": 32, "CO": 1,
    "ACCUMCO": 1, "SIGNEXTOUT": 1}
_FLAGS = ("NEG_TRIGGER", "C_REG", "A_REG", "B_REG", "D_REG", "TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG",
          "PIPELINE_16x16_MULT_REG1", "PIPELINE_16x16_MULT_REG2", "TOPADDSUB_UPPERINPUT", "BOTADDSUB_UPPERINPUT",
          "MODE_8x8", "A_SIGNED", "B_SIGNED")
_SELECTS = ("TOPOUTPUT_SELECT", "TOPADDSUB_LOWERINPUT", "TOPADDSUB_CARRYSELECT", "BOTOUTPUT_SELECT",
            "BOTADDSUB_LOWERINPUT", "BOTADDSUB_CARRYSELECT")


@dataclass(frozen=True)
class _Half:
    """One output half (top or bottom) once its inputs are known."""

    out: Bus
    carry: Signal
    """Carry of its adder."""
    lower: Bus
    """Its adder's lower input."""


def _register(view: CellView, data: Sequence[Signal], reset: str, hold: Signal = FALSE) -> Bus:
    """Return a bus through flip-flops with the block's clock, enable, and asynchronous reset."""
    clock = view.input("CLK")
    enable = view.and_(view.input("CE"), view.not_(hold))
    rising = not view.flag("NEG_TRIGGER")
    controls = Controls(async_reset=view.input(reset))
    return [view.flip_flop(bit, clock, enable=enable, rising=rising, controls=controls) for bit in data]


def _operand(view: CellView, name: str, reset: str) -> Bus:
    bus = view.bus(name, 16)
    return _register(view, bus, reset, view.input(f"{name}HOLD")) if view.flag(f"{name}_REG") else bus


def _partial_products(view: CellView, a: Bus, b: Bus) -> tuple[Bus, Bus, Bus, Bus]:
    """Return F, J, K, G: high*high, low*high, high*low, low*low, each behind its optional register."""
    split = view.flag("MODE_8x8")
    a_sign = TRUE if view.flag("A_SIGNED") else FALSE
    b_sign = TRUE if view.flag("B_SIGNED") else FALSE
    low_a_sign, low_b_sign = (a_sign, b_sign) if split else (FALSE, FALSE)
    f = multiply(view, a[8:], b[8:], a_sign, b_sign, 16)
    j = multiply(view, a[:8], b[8:], FALSE, b_sign, 16)
    k = multiply(view, a[8:], b[:8], a_sign, FALSE, 16)
    g = multiply(view, a[:8], b[:8], low_a_sign, low_b_sign, 16)
    if view.flag("TOP_8x8_MULT_REG"):
        f = _register(view, f, "IRSTTOP")
    if view.flag("BOT_8x8_MULT_REG"):
        g = _register(view, g, "IRSTBOT")
    if view.flag("PIPELINE_16x16_MULT_REG1"):            # held, not loaded, while the block is split
        hold = TRUE if split else FALSE
        j = _register(view, j, "IRSTTOP", hold)
        k = _register(view, k, "IRSTBOT", hold)
    return f, j, k, g


def _sum(view: CellView, f: Bus, j: Bus, k: Bus, g: Bus) -> Bus:
    """Return H: the partial products added up to 32 bits, behind its optional register."""
    k_sign = TRUE if view.flag("A_SIGNED") else FALSE
    j_sign = TRUE if view.flag("B_SIGNED") else FALSE
    middle = add(view, extend(view, k, 24, k_sign), extend(view, j, 24, j_sign))[:24]
    high = add(view, [*g[8:], *f], middle)[:24]
    total = [*g[:8], *high]
    if view.flag("PIPELINE_16x16_MULT_REG2"):
        total = _register(view, total, "IRSTBOT", TRUE if view.flag("MODE_8x8") else FALSE)
    return total


def _half(view: CellView, side: str, direct: Bus, load: Bus, product: Bus, total: Bus, cascade: Signal,
          carry: Signal) -> _Half:
    """Return the adder/accumulator and output of side TOP or BOT.

    ``direct`` is the operand (A or B), ``load`` the preload (C or D), ``cascade`` the sign that extends from below.
    """
    lower = (direct, product, total, [cascade] * 16)[view.integer(f"{side}ADDSUB_LOWERINPUT", 0, 2)]
    subtract = view.input(f"ADDSUB{side}")
    hold = view.input(f"OHOLD{side}")
    loading = view.input(f"OLOAD{side}")
    clock, reset = view.input("CLK"), view.input(f"ORST{side}")
    select = view.integer(f"{side}OUTPUT_SELECT", 0, 2)
    from_load = view.flag(f"{side}ADDSUB_UPPERINPUT")
    accumulator = [view.new_signal() for _ in range(16)]
    upper = load if from_load else accumulator
    *sums, carry_out = add(view, lower, [view.xor(bit, subtract) for bit in upper], carry)
    results = [view.mux(loading, view.xor(bit, subtract), load_bit)
               for bit, load_bit in zip(sums, load, strict=True)]
    enable = view.and_(view.input("CE"), view.not_(hold))
    for target, result in zip(accumulator, results, strict=True):
        view.define(target, view.flip_flop(result, clock, enable=enable, rising=not view.flag("NEG_TRIGGER"),
                                           controls=Controls(async_reset=reset)))
    return _Half((results, accumulator, product, total)[select], carry_out, lower)


def _carry_in(view: CellView, side: str, choices: Sequence[Signal]) -> Signal:
    return (FALSE, TRUE, *choices)[view.integer(f"{side}ADDSUB_CARRYSELECT", 0, 2)]


def _expand(view: CellView) -> None:
    a, c = _operand(view, "A", "IRSTTOP"), _operand(view, "C", "IRSTTOP")
    b, d = _operand(view, "B", "IRSTBOT"), _operand(view, "D", "IRSTBOT")
    f, j, k, g = _partial_products(view, a, b)
    total = _sum(view, f, j, k, g)
    low_carry = _carry_in(view, "BOT", (view.input("ACCUMCI"), view.input("CI")))
    low = _half(view, "BOT", b, d, g, total[:16], view.input("SIGNEXTIN"), low_carry)
    high_carry = _carry_in(view, "TOP", (low.carry, view.xor(low.carry, view.input("ADDSUBBOT"))))
    high = _half(view, "TOP", a, c, f, total[16:], low.lower[15], high_carry)
    view.output("O", [*low.out, *high.out])
    view.output("ACCUMCO", high.carry)
    view.output("CO", view.xor(high.carry, view.input("ADDSUBTOP")))
    view.output("SIGNEXTOUT", high.lower[15])


MAC16_MODEL = CellModel(_PORTS, _expand, (*_FLAGS, *_SELECTS))
