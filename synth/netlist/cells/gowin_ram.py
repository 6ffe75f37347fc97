"""Memories of Gowin: 18 kbit block RAM in its port arrangements, and the LUT RAMs of 16 words.

Source: ``gowin/brams.txt``, ``brams_map.v`` and ``cells_sim.v`` of Yosys; Gowin UG285 (BSRAM and SSRAM user guide).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synth.netlist.cells.memory import (
    BlockPort,
    DuringWrite,
    block_ram,
    byte_layout,
    initial_words,
    padded,
    write_all,
)
from synth.netlist.cells.model import CellModel, CellView
from synth.netlist.network import FALSE, TRUE, Contents, Signal

_INITIAL = tuple(f"INIT_RAM_{index:02X}" for index in range(64))
_OWN = (DuringWrite.HOLD, DuringWrite.NEW, DuringWrite.OLD)
_SHIFT = {1: 0, 2: 1, 4: 2, 8: 3, 9: 3, 16: 4, 18: 4, 32: 5, 36: 5}
"""Address pins that a width leaves out, which are byte enables where a word has several bytes."""


def _width(view: CellView, parameter: str, byte: int, default: int, largest: int) -> int:
    allowed = [width for width in ((1, 2, 4, 8, 16, 32) if byte == 8 else (9, 18, 36)) if width <= largest]
    width = view.integer(parameter, default, 32)
    if width not in allowed:
        raise view.error(f"Parameter {parameter} must be one of {', '.join(map(str, allowed))}", width)
    return width


def _port(view: CellView, byte: int, *, width: int, pins: Sequence[Signal], clock: str, enable: Signal,
          write: Signal = FALSE, data: Sequence[Signal] = (), reset: str, own: DuringWrite = DuringWrite.OLD,
          reads: bool = True) -> BlockPort:
    enables = [view.and_(write, pins[bit // byte] if width > byte else TRUE) for bit in range(width)]
    return BlockPort(
        clock=view.input(clock), address=pins[_SHIFT[width]:], layout=byte_layout(width, 4 * byte, parity=False),
        enable=enable, write=enables if data else (), data=data[:width], writing=write, reads=reads, own=own,
        reset=view.input(reset) if reads else FALSE,
        reset_asynchronous=view.choice("RESET_MODE", "SYNC", ("SYNC", "ASYNC")) == "ASYNC")


def _selected(view: CellView, pins: str, parameter: str) -> None:
    """Refuse a block that is not always selected."""
    code = view.integer(parameter, 0, 3)
    if view.bus(pins, 3, FALSE) != [TRUE if code >> index & 1 else FALSE for index in range(3)]:
        raise view.error(f"Pins {pins} must be the constants of {parameter}", format(code, "03b"))


def _bypassed(view: CellView, parameter: str) -> None:
    if view.flag(parameter):
        raise view.error(f"Parameter {parameter} must be 0: an output without a register", 1)


def _own(view: CellView, parameter: str) -> DuringWrite:
    mode = view.integer(parameter, 0, 32)
    if mode >= len(_OWN):
        raise view.error(f"Parameter {parameter} must be 0 to {len(_OWN) - 1}", mode)
    return _OWN[mode]


def _rows(view: CellView, byte: int) -> Contents:
    return initial_words(view, _INITIAL, 32 * byte).reshape(-1, 4 * byte)


def _single_port(byte: int) -> CellModel:
    row = 4 * byte

    def expand(view: CellView) -> None:
        _bypassed(view, "READ_MODE")
        _selected(view, "BLKSEL", "BLK_SEL")
        port = _port(view, byte, width=_width(view, "BIT_WIDTH", byte, row, row), pins=view.bus("AD", 14), clock="CLK",
                     enable=view.input("CE"), write=view.input("WRE"), data=view.bus("DI", row), reset="RESET",
                     own=_own(view, "WRITE_MODE"))
        [word] = block_ram(view, _rows(view, byte), [port])
        view.output("DO", padded(view, word, row))

    ports = {"DO": row, "DI": row, "BLKSEL": 3, "AD": 14, **dict.fromkeys(("WRE", "CLK", "CE", "OCE", "RESET"), 1)}
    return CellModel(ports, expand, ("READ_MODE", "WRITE_MODE", "BIT_WIDTH", "BLK_SEL", "RESET_MODE", *_INITIAL))


def _simple_dual_port(byte: int) -> CellModel:
    """Return the block whose port A writes and whose port B reads."""
    row = 4 * byte

    def expand(view: CellView) -> None:
        _bypassed(view, "READ_MODE")
        for index, side in enumerate("AB"):
            _selected(view, f"BLKSEL{side}", f"BLK_SEL_{index}")
        write = _port(view, byte, width=_width(view, "BIT_WIDTH_0", byte, row, row), pins=view.bus("ADA", 14),
                      clock="CLKA", enable=view.input("CEA"), write=TRUE, data=view.bus("DI", row), reset="RESETA",
                      reads=False)
        read = _port(view, byte, width=_width(view, "BIT_WIDTH_1", byte, row, row), pins=view.bus("ADB", 14),
                     clock="CLKB", enable=view.input("CEB"), reset="RESETB")
        _, word = block_ram(view, _rows(view, byte), (write, read))
        view.output("DO", padded(view, word, row))

    ports = {"DO": row, "DI": row, "OCE": 1, **{f"{name}{side}": width for side in "AB" for name, width in (
        ("BLKSEL", 3), ("AD", 14), ("CLK", 1), ("CE", 1), ("RESET", 1))}}
    return CellModel(ports, expand, ("READ_MODE", "BIT_WIDTH_0", "BIT_WIDTH_1", "BLK_SEL_0", "BLK_SEL_1",
                                     "RESET_MODE", *_INITIAL))


def _dual_port(byte: int) -> CellModel:
    half = 2 * byte

    def expand(view: CellView) -> None:
        ports = []
        for index, side in enumerate("AB"):
            _bypassed(view, f"READ_MODE{index}")
            _selected(view, f"BLKSEL{side}", f"BLK_SEL_{index}")
            ports.append(_port(
                view, byte, width=_width(view, f"BIT_WIDTH_{index}", byte, half, half), pins=view.bus(f"AD{side}", 14),
                clock=f"CLK{side}", enable=view.input(f"CE{side}"), write=view.input(f"WRE{side}"),
                data=view.bus(f"DI{side}", half), reset=f"RESET{side}", own=_own(view, f"WRITE_MODE{index}")))
        for side, word in zip("AB", block_ram(view, _rows(view, byte), ports), strict=True):
            view.output(f"DO{side}", padded(view, word, half))

    names = {f"{name}{side}": width for side in "AB" for name, width in (
        ("DO", half), ("DI", half), ("BLKSEL", 3), ("AD", 14), ("WRE", 1), ("CLK", 1), ("CE", 1), ("OCE", 1),
        ("RESET", 1))}
    settings = (f"{name}{index}" for index in range(2) for name in ("READ_MODE", "WRITE_MODE", "BIT_WIDTH_",
                                                                    "BLK_SEL_"))
    return CellModel(names, expand, (*settings, "RESET_MODE", *_INITIAL))


def _lut_ram(width: int, *, dual: bool) -> CellModel:
    """Return RAM16S (one address) or RAM16SDP (one to write, one to read); a parameter a bit of the word."""
    initial = tuple(f"INIT_{index}" for index in range(width))

    def expand(view: CellView) -> None:
        address = view.bus("WAD" if dual else "AD", 4)
        write = write_all(view.input("CLK"), address, view.input("WRE"), view.bus("DI", width))
        [word] = view.memory(initial_words(view, initial, 16).T, [write], [view.bus("RAD", 4) if dual else address])
        view.output("DO", word)

    ports = {"DO": width, "DI": width, "CLK": 1, "WRE": 1, **dict.fromkeys(("WAD", "RAD") if dual else ("AD",), 4)}
    return CellModel(ports, expand, initial)


GOWIN_RAM_CELLS: Mapping[str, CellModel] = {
    "SP": _single_port(8),
    "SPX9": _single_port(9),
    "SDPB": _simple_dual_port(8),
    "SDPX9B": _simple_dual_port(9),
    "DPB": _dual_port(8),
    "DPX9B": _dual_port(9),
    **{f"RAM16S{width}": _lut_ram(width, dual=False) for width in (1, 2, 4)},
    **{f"RAM16SDP{width}": _lut_ram(width, dual=True) for width in (1, 2, 4)},
}
