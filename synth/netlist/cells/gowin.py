"""Gowin LittleBee and Arora (``synth_gowin``).

Source: ``gowin/cells_sim.v`` and ``cells_map.v`` of Yosys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from synth.netlist.cells.common import (
    IGNORED_PAD_PARAMETERS,
    buffer_model,
    constant_model,
    lut_model,
    mux_model,
    tristate_model,
)
from synth.netlist.cells.gowin_dsp import GOWIN_DSP_CELLS
from synth.netlist.cells.gowin_ram import GOWIN_RAM_CELLS
from synth.netlist.cells.model import NO_CONTROLS, CellModel, CellView, Controls
from synth.netlist.network import FALSE, TABLE_MUX, TRUE, Signal


def _flip_flop_models() -> dict[str, CellModel]:
    """Return DFF and its variants: N falling edge; S, R synchronous, P, C asynchronous set and reset; E enable."""
    models = {}
    for edge in ("", "N"):
        for control in ("", "S", "R", "P", "C"):
            for enable in ("", "E"):
                models[f"DFF{edge}{control}{enable}"] = _flip_flop_model(edge == "", control, enable == "E")
    return models


def _flip_flop_model(rising: bool, control: str, enabled: bool) -> CellModel:
    pin = {"": "", "S": "SET", "R": "RESET", "P": "PRESET", "C": "CLEAR"}[control]
    argument = {"S": "sync_set", "R": "sync_reset", "P": "async_set", "C": "async_reset"}
    initial = control in ("S", "P")

    def expand(view: CellView) -> None:
        # The device starts every flip-flop at its set or reset value and has no other choice (cells_map.v).
        if view.flag("INIT", initial) != initial:
            raise view.error(f"Parameter INIT must be {int(initial)}, the value the device starts at",
                             int(not initial))
        controls = Controls(**{argument[control]: view.input(pin)}) if control else NO_CONTROLS
        view.output("Q", view.flip_flop(view.input("D"), view.input("CLK"), rising=rising, initial=initial,
                                        enable=view.input("CE") if enabled else TRUE, controls=controls))

    ports = ("D", "CLK", "Q", *((pin,) if pin else ()), *(("CE",) if enabled else ()))
    return CellModel(dict.fromkeys(ports, 1), expand, ("INIT",))


_AluMode = Callable[[CellView, Signal, Signal, Signal], tuple[Signal, Signal]]

# Mode number to (propagate, generate) of I0, I1, I3; SUM is propagate ^ CIN, COUT is propagate ? CIN : generate.
_ALU_MODES: tuple[_AluMode, ...] = (
    lambda view, a, b, c: (view.xor(a, b), a),                                          # ADD
    lambda view, a, b, c: (view.not_(view.xor(a, b)), a),                               # SUB
    lambda view, a, b, c: (view.not_(view.xor(view.xor(a, b), c)), a),                  # ADDSUB: I3 ? add : subtract
    lambda view, a, b, c: (view.not_(view.xor(a, b)), TRUE),                            # NE
    lambda view, a, b, c: (view.not_(view.xor(a, b)), a),                               # GE
    lambda view, a, b, c: (view.not_(view.xor(a, b)), b),                               # LE
    lambda view, a, b, c: (a, FALSE),                                                   # CUP
    lambda view, a, b, c: (view.not_(a), TRUE),                                         # CDN
    lambda view, a, b, c: (view.not_(view.xor(a, c)), a),                               # CUPCDN
    lambda view, a, b, c: (view.xor(view.and_(a, b), c), view.and_(a, b)),              # MULT
)


def _expand_alu(view: CellView) -> None:
    mode = view.integer("ALU_MODE", 0, 32)
    if mode >= len(_ALU_MODES):
        raise view.error(f"Parameter ALU_MODE must be 0 to {len(_ALU_MODES) - 1}", mode)
    propagate, generate = _ALU_MODES[mode](view, view.input("I0"), view.input("I1"), view.input("I3"))
    carry = view.input("CIN")
    view.output("SUM", view.xor(propagate, carry))
    view.output("COUT", view.lut(TABLE_MUX, [generate, carry, propagate]))


GOWIN_CELLS: Mapping[str, CellModel] = {
    **{f"LUT{size}": lut_model([f"I{index}" for index in range(size)], "F", "INIT") for size in range(1, 5)},
    **{name: mux_model("I0", "I1", "S0", "O")
       for name in ("MUX2", "MUX2_LUT5", "MUX2_LUT6", "MUX2_LUT7", "MUX2_LUT8")},
    "ALU": CellModel(dict.fromkeys(("SUM", "COUT", "I0", "I1", "I3", "CIN"), 1), _expand_alu, ("ALU_MODE",)),
    **_flip_flop_models(),
    **GOWIN_DSP_CELLS,
    **GOWIN_RAM_CELLS,
    "INV": buffer_model("I", "O", inverted=True),
    "GND": constant_model("G", value=False),
    "VCC": constant_model("V", value=True),
    "IBUF": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OBUF": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "TBUF": tristate_model("I", "OEN", "O", active_low=True),
    "IOBUF": tristate_model("I", "OEN", "IO", active_low=True, output="O"),
    "BUFG": buffer_model("I", "O"),
    "BUFS": buffer_model("I", "O"),
}
