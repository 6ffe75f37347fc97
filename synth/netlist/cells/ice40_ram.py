"""The iCE40 block RAM SB_RAM40_4K, with its variants for falling clock edges.

Source: module SB_RAM40_4K of ``ice40/cells_sim.v`` of Yosys; Lattice TN1250 (memory usage guide).
"""

from __future__ import annotations

from collections.abc import Mapping

from synth.netlist.cells.memory import BlockPort, block_ram, initial_words
from synth.netlist.cells.model import CellModel, CellView
from synth.netlist.network import FALSE, TRUE, Signal

_INITIAL = tuple(f"INIT_{index:X}" for index in range(16))
_FIRST_PIN = (0, 0, 1, 3)
"""The lowest data pin in use, by mode; a word of mode *m* is at every ``2**m``-th pin from there."""


def _address(view: CellView, port: str, mode: int) -> list[Signal]:
    """Return the address with the bits in front that choose a word of a row; they are the port's highest."""
    pins = view.bus(port, 8 + mode)
    return [*pins[8:], *pins[:8]]


def _layout(mode: int) -> list[list[int]]:
    return [list(range(value, 16, 1 << mode)) for value in range(1 << mode)]


def _model(read_clock: str, write_clock: str) -> CellModel:
    def expand(view: CellView) -> None:
        view.choice("INIT_FILE", "", ("",))
        read_mode, write_mode = view.integer("READ_MODE", 0, 2), view.integer("WRITE_MODE", 0, 2)
        write_pins = range(_FIRST_PIN[write_mode], 16, 1 << write_mode)
        masks = view.bus("MASK", 16, FALSE) if write_mode == 0 else [FALSE] * len(write_pins)
        read = BlockPort(
            clock=view.input(read_clock), rising=read_clock == "RCLK", address=_address(view, "RADDR", read_mode),
            layout=_layout(read_mode), enable=view.and_(view.input("RE", default=FALSE),
                                                        view.input("RCLKE", default=TRUE)))
        write = BlockPort(
            clock=view.input(write_clock), rising=write_clock == "WCLK", address=_address(view, "WADDR", write_mode),
            layout=_layout(write_mode), reads=False, write=[view.not_(mask) for mask in masks],
            data=[view.input("WDATA", pin) for pin in write_pins],
            enable=view.and_(view.input("WE", default=FALSE), view.input("WCLKE", default=TRUE)))
        word, _ = block_ram(view, initial_words(view, _INITIAL, 256).reshape(256, 16), (read, write))
        output = [FALSE] * 16
        output[_FIRST_PIN[read_mode]::1 << read_mode] = word
        view.output("RDATA", output)

    return CellModel({
        "RDATA": 16, read_clock: 1, "RCLKE": 1, "RE": 1, "RADDR": 11, write_clock: 1, "WCLKE": 1, "WE": 1, "WADDR": 11,
        "MASK": 16, "WDATA": 16}, expand, ("READ_MODE", "WRITE_MODE", "INIT_FILE", *_INITIAL))


ICE40_RAM_CELLS: Mapping[str, CellModel] = {
    "SB_RAM40_4K": _model("RCLK", "WCLK"),
    "SB_RAM40_4KNR": _model("RCLKN", "WCLK"),
    "SB_RAM40_4KNW": _model("RCLK", "WCLKN"),
    "SB_RAM40_4KNRNW": _model("RCLKN", "WCLKN"),
}
