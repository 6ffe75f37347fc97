"""The ECP5 multiplier MULT18X18D, with its optional registers.

Source: the ports and parameters as Yosys and nextpnr have them; neither has a model of it. Lattice describes it in
FPGA-TN-02205 (ECP5 and ECP5-5G sysDSP usage guide).
"""

from __future__ import annotations

from collections.abc import Sequence

from synth.netlist.cells.common import multiply
from synth.netlist.cells.model import CellModel, CellView, Controls
from synth.netlist.network import FALSE, Signal

_SETTINGS = {                                            # the only value that the model stands for
    "REG_INPUTC_CLK": "NONE", "MULT_BYPASS": "DISABLED", "CAS_MATCH_REG": "FALSE", "HIGHSPEED_CLK": "NONE"}
_STAGES = ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")
_REGISTERS = tuple(f"REG_{stage}_{pin}" for stage in _STAGES for pin in ("CLK", "CE", "RST"))
_IGNORED = ("REG_INPUTC_CE", "REG_INPUTC_RST", *(f"CLK{index}_DIV" for index in range(4)), "GSR", "SOURCEB_MODE")


def _bit_ports(*names: tuple[str, int]) -> dict[str, int]:
    return {f"{name}{index}": 1 for name, width in names for index in range(width)}


def _register(view: CellView, stage: str, data: Sequence[Signal]) -> list[Signal]:
    """Return a bus behind the registers of a stage, or as it is where they have no clock."""
    clock = view.choice(f"REG_{stage}_CLK", "NONE", ("NONE", *(f"CLK{index}" for index in range(4))))
    if clock == "NONE":
        return list(data)
    enable = view.choice(f"REG_{stage}_CE", "CE0", [f"CE{index}" for index in range(4)])
    reset = view.input(view.choice(f"REG_{stage}_RST", "RST0", [f"RST{index}" for index in range(4)]), default=FALSE)
    asynchronous = view.choice("RESETMODE", "SYNC", ("SYNC", "ASYNC")) == "ASYNC"
    controls = Controls(async_reset=reset) if asynchronous else Controls(sync_reset=reset)
    return [view.flip_flop(bit, view.input(clock), enable=view.input(enable), controls=controls) for bit in data]


def _expand(view: CellView) -> None:
    for name, value in _SETTINGS.items():
        view.choice(name, value, (value,))
    for pin in ("SOURCEA", "SOURCEB"):
        if view.constant(pin, default=FALSE):
            raise view.error(f"Pin {pin} must be 0: the operand from the pins, without a cascade", 1)
    operands = []
    for name in "AB":                                    # the sign has a register beside its operand's
        *bits, sign = _register(view, f"INPUT{name}", [
            *(view.input(f"{name}{index}") for index in range(18)), view.input(f"SIGNED{name}")])
        operands.append((bits, sign))
    (a, a_signed), (b, b_signed) = operands
    product = [*multiply(view, a, b, a_signed, b_signed, 36), view.or_(a_signed, b_signed)]
    *product, sign = _register(view, "OUTPUT", _register(view, "PIPELINE", product))
    for index, signal in enumerate(product):
        view.output(f"P{index}", signal)
    view.output("SIGNEDP", sign)
    for name in ("SROA", "SROB", "ROA", "ROB", "ROC"):
        for index in range(18):
            view.unsupported_output(f"{name}{index}")


MULT18X18D_MODEL = CellModel(
    {**_bit_ports(("A", 18), ("B", 18), ("C", 18), ("P", 36), ("SRIA", 18), ("SRIB", 18), ("SROA", 18), ("SROB", 18),
                  ("ROA", 18), ("ROB", 18), ("ROC", 18), ("CLK", 4), ("CE", 4), ("RST", 4)),
     **dict.fromkeys(("SIGNEDA", "SIGNEDB", "SIGNEDP", "SOURCEA", "SOURCEB"), 1)},
    _expand, (*_SETTINGS, *_REGISTERS, "RESETMODE"), _IGNORED)
