"""Lattice iCE40 (``synth_ice40``).

Source: ``ice40/cells_sim.v`` of Yosys; Lattice iCE Technology Library 3.0 for the I/O modes.
"""

from __future__ import annotations

from collections.abc import Mapping

from synth.netlist.cells.common import IGNORED_PAD_PARAMETERS, buffer_model, full_adder, lut_model
from synth.netlist.cells.ice40_mac16 import MAC16_MODEL
from synth.netlist.cells.ice40_ram import ICE40_RAM_CELLS
from synth.netlist.cells.model import NO_CONTROLS, CellModel, CellView, Controls
from synth.netlist.network import FALSE, TRUE


def _expand_carry(view: CellView) -> None:
    _, carry = full_adder(view, view.input("I0"), view.input("I1"), view.input("CI"))
    view.output("CO", carry)


def _flip_flop_models() -> dict[str, CellModel]:
    """Return SB_DFF and its variants: N falling edge, E enable, R/S asynchronous, SR/SS synchronous (after enable).

    They start at 0; the flow rejects any other initial value or complements the flip-flop.
    """
    models = {}
    for edge in ("", "N"):
        for enable in ("", "E"):
            for control in ("", "R", "S", "SR", "SS"):
                models[f"SB_DFF{edge}{enable}{control}"] = _flip_flop_model(edge == "", enable == "E", control)
    return models


def _flip_flop_model(rising: bool, enabled: bool, control: str) -> CellModel:
    pin = control[-1:]                                   # R or S
    argument = {"R": "async_reset", "S": "async_set", "SR": "sync_reset", "SS": "sync_set"}

    def expand(view: CellView) -> None:
        controls = Controls(**{argument[control]: view.input(pin)}) if control else NO_CONTROLS
        view.output("Q", view.flip_flop(
            view.input("D"), view.input("C"), rising=rising, enable=view.input("E", default=TRUE) if enabled else TRUE,
            enable_over_sync=True, controls=controls))

    ports = ["C", "D", "Q", *(["E"] if enabled else []), *([pin] if pin else [])]
    return CellModel(dict.fromkeys(ports, 1), expand)


_IO_PORTS = ("PACKAGE_PIN", "LATCH_INPUT_VALUE", "CLOCK_ENABLE", "INPUT_CLK", "OUTPUT_CLK", "OUTPUT_ENABLE",
             "D_OUT_0", "D_OUT_1", "D_IN_0", "D_IN_1")


def _expand_io(view: CellView) -> None:
    """Expand SB_IO: direct and registered input and output at a single data rate.

    PIN_TYPE bits: 0 input is direct (else registered), 1 input latch, 3..2 output data (10 direct, 01 registered),
    5..4 output driver (00 off, 01 on, 10 while OUTPUT_ENABLE, 11 while OUTPUT_ENABLE registered).
    """
    pin_type = view.integer("PIN_TYPE", 0, 6)
    rising = not view.flag("NEG_TRIGGER")
    enable = view.input("CLOCK_ENABLE", default=TRUE)
    if pin_type & 0b10 and view.connected("LATCH_INPUT_VALUE"):
        raise view.error("PIN_TYPE must not ask for the input latch", format(pin_type, "06b"))
    if pin_type & 0b110000:
        data, driver = pin_type >> 2 & 0b11, pin_type >> 4
        if data == 0b10:
            out = view.input("D_OUT_0")
        elif data == 0b01:
            out = view.flip_flop(view.input("D_OUT_0"), view.input("OUTPUT_CLK"), enable=enable, rising=rising)
        else:
            raise view.error("PIN_TYPE must ask for a direct (10) or registered (01) output in bits 3..2",
                             format(pin_type, "06b"))
        drive = TRUE
        if driver == 0b10:
            drive = view.input("OUTPUT_ENABLE", default=TRUE)
        elif driver == 0b11:
            drive = view.flip_flop(view.input("OUTPUT_ENABLE"), view.input("OUTPUT_CLK"), enable=enable,
                                   rising=rising)
        view.drive_pad("PACKAGE_PIN", out, drive)
    if view.connected("D_IN_0"):
        value = view.input("PACKAGE_PIN")
        if not pin_type & 0b01:
            value = view.flip_flop(value, view.input("INPUT_CLK"), enable=enable, rising=rising)
        view.output("D_IN_0", value)
    view.unsupported_output("D_IN_1")
    if view.connected("GLOBAL_BUFFER_OUTPUT"):
        view.output("GLOBAL_BUFFER_OUTPUT", view.input("PACKAGE_PIN"))


_IO_PARAMETERS = ("PIN_TYPE", "NEG_TRIGGER")

ICE40_CELLS: Mapping[str, CellModel] = {
    "SB_LUT4": lut_model(("I0", "I1", "I2", "I3"), "O", "LUT_INIT", default=FALSE),
    "SB_CARRY": CellModel(dict.fromkeys(("CO", "I0", "I1", "CI"), 1), _expand_carry),
    **_flip_flop_models(),
    "SB_GB": buffer_model("USER_SIGNAL_TO_GLOBAL_BUFFER", "GLOBAL_BUFFER_OUTPUT"),
    "SB_IO": CellModel(dict.fromkeys(_IO_PORTS, 1), _expand_io, _IO_PARAMETERS, IGNORED_PAD_PARAMETERS),
    "SB_GB_IO": CellModel(dict.fromkeys((*_IO_PORTS, "GLOBAL_BUFFER_OUTPUT"), 1), _expand_io, _IO_PARAMETERS,
                          IGNORED_PAD_PARAMETERS),
    "SB_MAC16": MAC16_MODEL,
    **ICE40_RAM_CELLS,
}
