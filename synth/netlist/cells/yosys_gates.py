"""Yosys' own gates, look-up tables and flip-flops, of which a netlist is after ``abc -g gates`` or ``synth -lut n``.

Source: ``simcells.v`` and ``simlib.v`` of Yosys. Names of flip-flops: polarity of clock (P, N), of reset and its
value, of enable.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from synth.netlist.cells.common import function_model
from synth.netlist.cells.model import NO_CONTROLS, CellModel, CellView, Controls
from synth.netlist.network import MAXIMUM_LUT_INPUTS, TRUE


def _expand_tristate(view: CellView) -> None:
    view.drive_pad("Y", view.input("A"), view.input("E"))


def _expand_lut(view: CellView) -> None:
    width = view.integer("WIDTH", 0, 32)
    if width > MAXIMUM_LUT_INPUTS:
        raise view.error(f"Parameter WIDTH must be at most {MAXIMUM_LUT_INPUTS}", width)
    view.output("Y", view.lut(view.integer("LUT", 0, 1 << width), view.bus("A", width)))


def _flip_flop(clock: str, *, reset: str = "", enable: str = "", synchronous: bool = False,
               enable_over_sync: bool = False) -> CellModel:
    """Return a flip-flop; ``reset`` is its polarity and value (``P0``), ``enable`` its polarity."""
    def expand(view: CellView) -> None:
        controls = NO_CONTROLS
        if reset:
            kind = f"{'sync' if synchronous else 'async'}_{'set' if reset[1] == '1' else 'reset'}"
            controls = Controls(**{kind: view.invert_if(reset[0] == "N", view.input("R"))})
        enabled = view.invert_if(enable == "N", view.input("E")) if enable else TRUE
        view.output("Q", view.flip_flop(view.input("D"), view.input("C"), rising=clock == "P", enable=enabled,
                                        initial=view.net_initial("Q"), controls=controls,
                                        enable_over_sync=enable_over_sync))

    ports = ("C", "D", "Q", *(("R",) if reset else ()), *(("E",) if enable else ()))
    return CellModel(dict.fromkeys(ports, 1), expand)


def _flip_flop_models() -> dict[str, CellModel]:
    """Return the flip-flops; they start at the ``init`` attribute of their output net, at 0 where it has none."""
    models = {}
    for clock in "PN":
        models[f"$_DFF_{clock}_"] = _flip_flop(clock)
        for enable in "PN":
            models[f"$_DFFE_{clock}{enable}_"] = _flip_flop(clock, enable=enable)
        for polarity, value in product("PN", "01"):
            reset = polarity + value
            models[f"$_DFF_{clock}{reset}_"] = _flip_flop(clock, reset=reset)
            models[f"$_SDFF_{clock}{reset}_"] = _flip_flop(clock, reset=reset, synchronous=True)
            for enable in "PN":
                models[f"$_DFFE_{clock}{reset}{enable}_"] = _flip_flop(clock, reset=reset, enable=enable)
                models[f"$_SDFFE_{clock}{reset}{enable}_"] = _flip_flop(
                    clock, reset=reset, enable=enable, synchronous=True)
                models[f"$_SDFFCE_{clock}{reset}{enable}_"] = _flip_flop(
                    clock, reset=reset, enable=enable, synchronous=True, enable_over_sync=True)
    return models


_TWO, _THREE, _FOUR = ("A", "B"), ("A", "B", "C"), ("A", "B", "C", "D")

GATE_CELLS: Mapping[str, CellModel] = {
    "$_BUF_": function_model(("A",), "Y", 0b10),
    "$_NOT_": function_model(("A",), "Y", 0b01),
    "$_AND_": function_model(_TWO, "Y", 0b1000),
    "$_NAND_": function_model(_TWO, "Y", 0b0111),
    "$_OR_": function_model(_TWO, "Y", 0b1110),
    "$_NOR_": function_model(_TWO, "Y", 0b0001),
    "$_XOR_": function_model(_TWO, "Y", 0b0110),
    "$_XNOR_": function_model(_TWO, "Y", 0b1001),
    "$_ANDNOT_": function_model(_TWO, "Y", 0b0010),
    "$_ORNOT_": function_model(_TWO, "Y", 0b1011),
    "$_MUX_": function_model(("A", "B", "S"), "Y", 0b11001010),
    "$_NMUX_": function_model(("A", "B", "S"), "Y", 0b00110101),
    "$_AOI3_": function_model(_THREE, "Y", 0b00000111),
    "$_OAI3_": function_model(_THREE, "Y", 0b00011111),
    "$_AOI4_": function_model(_FOUR, "Y", 0b0000011101110111),
    "$_OAI4_": function_model(_FOUR, "Y", 0b0001000100011111),
    "$lut": CellModel({"A": None, "Y": 1}, _expand_lut, ("WIDTH", "LUT")),
    "$_TBUF_": CellModel(dict.fromkeys(("A", "E", "Y"), 1), _expand_tristate),
    **_flip_flop_models(),
}
