"""Memories of Xilinx 7 series and UltraScale+: 18 and 36 kbit block RAM, and the LUT RAMs.

Source: ``xilinx/brams_xc4v.txt``, ``brams_xc6v_map.v``, ``brams_xcu_map.v`` and ``cells_sim.v`` of Yosys; Xilinx UG473
(7 series memory resources) and UG573 (UltraScale memory resources).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
from synth.netlist.network import FALSE, Contents, Signal

_OWN = {"READ_FIRST": DuringWrite.OLD, "WRITE_FIRST": DuringWrite.NEW, "NO_CHANGE": DuringWrite.HOLD}
_SHIFT = {1: 0, 2: 1, 4: 2, 9: 3, 18: 4, 36: 5, 72: 6}
"""Address pins that a width leaves out: they count bits."""


@dataclass(frozen=True)
class _Block:
    """A block RAM: data bits of one port's widest word (18 or 36, the row is twice that) and the generation's names."""

    half: int
    ultrascale: bool

    @property
    def pins(self) -> dict[str, str]:
        """Names of the data pins, by what they are of side A or B."""
        if self.ultrascale:
            return {"data": "DIN{0}DIN", "parity": "DINP{0}DINP", "out": "DOUT{0}DOUT", "out_parity": "DOUTP{0}DOUTP"}
        return {"data": "DI{0}DI", "parity": "DIP{0}DIP", "out": "DO{0}DO", "out_parity": "DOP{0}DOP"}

    @property
    def address_pins(self) -> int:
        """Pins of an address; the 36 kbit block of 7 series has one more, for a cascade."""
        return 14 if self.half == 18 else 15 if self.ultrascale else 16

    @property
    def data_parameters(self) -> tuple[str, ...]:
        return tuple(f"INIT_{index:02X}" for index in range(64 * self.half // 18))

    @property
    def parity_parameters(self) -> tuple[str, ...]:
        return tuple(f"INITP_{index:02X}" for index in range(8 * self.half // 18))


_ADDRESS = {"A": "ADDRARDADDR", "B": "ADDRBWRADDR"}
_CLOCK = {"A": "CLKARDCLK", "B": "CLKBWRCLK"}
_ENABLE = {"A": "ENARDEN", "B": "ENBWREN"}
_RESET = {"A": "RSTRAMARSTRAM", "B": "RSTRAMB"}
_WRITE = {"A": "WEA", "B": "WEBWE"}


def _pin(view: CellView, name: str, default: Signal | None = None) -> Signal:
    return view.invert_if(view.flag(f"IS_{name}_INVERTED"), view.input(name, default=default))


def _with_parity(data: Sequence[Signal], parity: Sequence[Signal]) -> list[Signal]:
    """Return nine-bit bytes of data bits and the parity bits behind each eight of them."""
    return [bit for index, ninth in enumerate(parity) for bit in (*data[8 * index:8 * index + 8], ninth)]


def _output_value(view: CellView, parameter: str, bits: int, width: int) -> int:
    """Return an output's value, which parameters give as all data bits, then all parity bits."""
    value = view.integer(parameter, 0, 72, undefined=False)
    data_bits = width // 9 * 8 if width >= 9 else width
    if value >> bits:
        raise view.error(f"Parameter {parameter} must have at most {bits} bits", bin(value))
    word = [value >> index & 1 for index in range(data_bits)]
    if width >= 9:
        word = _with_parity(word, [value >> data_bits + index & 1 for index in range(width // 9)])
    return sum(bit << index for index, bit in enumerate(word))


def _rows(view: CellView, block: _Block) -> Contents:
    data = initial_words(view, block.data_parameters, 256).reshape(-1, 8)
    parity = initial_words(view, block.parity_parameters, 256).reshape(-1, 1)
    return np.concatenate([data, parity], axis=1).reshape(-1, 2 * block.half)


def _width(view: CellView, parameter: str, largest: int) -> int:
    width = view.integer(parameter, 0, 32)
    allowed = [0, *(width for width in _SHIFT if width <= largest)]
    if width not in allowed:
        raise view.error(f"Parameter {parameter} must be one of {', '.join(map(str, allowed))}", width)
    return width


def _port(view: CellView, block: _Block, side: str, width: int, *, reads: bool, data: Sequence[Signal]) -> BlockPort:
    """Return a port; ``data`` is empty where it does not write, and its outputs' values are those of its own side."""
    row, bytes_ = 2 * block.half, max(width // 9, 1)
    enables = view.bus(_WRITE[side], bytes_, FALSE) if data else []
    mode = _OWN[view.choice(f"WRITE_MODE_{side}", "NO_CHANGE" if block.ultrascale else "WRITE_FIRST", _OWN)]
    writing = FALSE
    for enable in enables:
        writing = view.or_(writing, enable)
    values = [0, 0]
    if reads:
        halves = ("A", "B") if width == row else (side,)
        for index, half in enumerate(halves):
            for kind, name in enumerate((f"INIT_{half}", f"SRVAL_{half}")):
                part = _output_value(view, name, block.half, min(width, block.half))
                values[kind] |= part << block.half * index
    return BlockPort(
        clock=view.input(_CLOCK[side]), rising=not view.flag(f"IS_{_CLOCK[side]}_INVERTED"),
        address=view.bus(_ADDRESS[side], block.address_pins)[_SHIFT[width]:14 if block.half == 18 else 15],
        layout=byte_layout(width, row, parity=True), enable=_pin(view, _ENABLE[side]),
        write=[enables[bit // 9] for bit in range(width)] if data else (), data=data, writing=writing, reads=reads,
        own=mode, others=DuringWrite.OLD if mode is DuringWrite.OLD else DuringWrite.UNDEFINED,
        reset=_pin(view, _RESET[side], FALSE) if reads else FALSE, reset_value=values[1], reset_gated=True,
        initial=values[0])


def _check_settings(view: CellView, block: _Block) -> None:
    """Refuse output registers, cascades, error correction and sleep."""
    for side in "AB":
        if view.integer(f"DO{side}_REG", int(block.ultrascale), 32):
            raise view.error(f"Parameter DO{side}_REG must be 0: an output without a register", 1)
        view.choice(f"RAM_EXTENSION_{side}", "NONE", ("NONE",))
        view.choice(f"CASCADE_ORDER_{side}", "NONE", ("NONE",))
        view.choice(f"ENADDREN{side}", "FALSE", ("FALSE",))
        view.choice(f"RDADDRCHANGE{side}", "FALSE", ("FALSE",))
    for parameter in ("EN_ECC_READ", "EN_ECC_WRITE", "EN_ECC_PIPE"):
        view.choice(parameter, "FALSE", ("FALSE",))
    if view.constant("SLEEP", default=FALSE):
        raise view.error("Pin SLEEP must be 0", 1)


def _block_model(block: _Block) -> CellModel:
    row = 2 * block.half

    def expand(view: CellView) -> None:
        _check_settings(view, block)
        words = {side: _with_parity(view.bus(block.pins["data"].format(side), block.half // 9 * 8),
                                    view.bus(block.pins["parity"].format(side), block.half // 9)) for side in "AB"}
        widths = {f"{kind}{side}": _width(view, f"{name}_WIDTH_{side}", row)
                  for kind, name in (("R", "READ"), ("W", "WRITE")) for side in "AB"}
        simple = view.choice("RAM_MODE", "TDP", ("TDP", "SDP")) == "SDP" or row in (widths["RA"], widths["WB"])
        ports: dict[str, BlockPort] = {}
        for side, read_only, write_only in (("A", simple, False), ("B", False, simple)):
            read, write = widths[f"R{side}"], widths[f"W{side}"]
            if row in (write if side == "A" else read, 0) or (read_only and write) or (write_only and read):
                raise view.error(f"Widths of port {side} must be those of a port that "
                                 f"{'reads' if side == 'A' else 'writes'} in a simple dual port", (read, write))
            if read and write and read != write:
                raise view.error(f"Parameter WRITE_WIDTH_{side} must be 0 or READ_WIDTH_{side}", write)
            if read or write:
                data = [*words["A"], *words["B"]] if write == row else words[side][:write]
                ports[side] = _port(view, block, side, read or write, reads=bool(read), data=data if write else ())
        outputs = dict(zip(ports, block_ram(view, _rows(view, block), list(ports.values())), strict=True))
        word_a, word_b = outputs.get("A", []), outputs.get("B", [])
        if len(word_a) == row:
            word_a, word_b = word_a[:block.half], word_a[block.half:]
        for side, word in (("A", word_a), ("B", word_b)):
            bits = padded(view, word, block.half)
            view.output(block.pins["out"].format(side), [bit for index, bit in enumerate(bits) if index % 9 != 8])
            view.output(block.pins["out_parity"].format(side), bits[8::9])

    byte_count = block.half // 9
    ports = {name.format(side): byte_count * (1 if "parity" in kind else 8)
             for kind, name in block.pins.items() for side in "AB"}
    ports |= {**dict.fromkeys(_ADDRESS.values(), block.address_pins), "WEA": byte_count, "WEBWE": 2 * byte_count,
              **dict.fromkeys((*_CLOCK.values(), *_ENABLE.values(), *_RESET.values(), "REGCEAREGCE", "REGCEB",
                               "RSTREGARSTREG", "RSTREGB", "ADDRENA", "ADDRENB", "SLEEP"), 1)}
    inverted = [f"IS_{name}_INVERTED" for name in (*_CLOCK.values(), *_ENABLE.values(), *_RESET.values())]
    return CellModel(
        ports, expand,
        (*block.data_parameters, *block.parity_parameters, *inverted, "RAM_MODE", "EN_ECC_READ", "EN_ECC_WRITE",
         "EN_ECC_PIPE", *(f"{name}_{side}" for side in "AB" for name in (
             "INIT", "SRVAL", "READ_WIDTH", "WRITE_WIDTH", "WRITE_MODE", "RAM_EXTENSION", "CASCADE_ORDER")),
         *(f"{name}{side}{tail}" for side in "AB" for name, tail in (
             ("DO", "_REG"), ("ENADDREN", ""), ("RDADDRCHANGE", "")))),
        # About output registers, which are refused, and about simulation.
        ignored=("IS_RSTREGARSTREG_INVERTED", "IS_RSTREGB_INVERTED", "RSTREG_PRIORITY_A", "RSTREG_PRIORITY_B",
                 "SIM_COLLISION_CHECK", "RDADDR_COLLISION_HWCONFIG", "CLOCK_DOMAINS", "SLEEP_ASYNC", "SIM_DEVICE"))


def _write_clock(view: CellView) -> tuple[Signal, bool]:
    return view.input("WCLK"), not view.flag("IS_WCLK_INVERTED")


def _address(view: CellView, name: str, bits: int, scalar: bool) -> list[Signal]:
    return [view.input(f"{name}{index}") for index in range(bits)] if scalar else view.bus(name, bits)


def _single_bit(bits: int, *, dual: bool) -> CellModel:
    """Return RAM32X1S, RAM64X1D, …: 2**bits words of one bit; the dual ones read at a second address too."""
    scalar = bits < 8 if not dual else bits < 7          # pins A0, A1, … or a bus A

    def expand(view: CellView) -> None:
        address = _address(view, "A", bits, scalar)
        clock, rising = _write_clock(view)
        write = write_all(clock, address, view.input("WE"), [view.input("D")], rising=rising)
        second = [_address(view, "DPRA", bits, scalar)] if dual else []
        words = view.memory(initial_words(view, ["INIT"], 1 << bits).reshape(-1, 1), [write], [address, *second])
        for port, word in zip(("SPO", "DPO") if dual else ("O",), words, strict=True):
            view.output(port, word)

    names = ("A", "DPRA") if dual else ("A",)
    addresses = {f"{name}{index}": 1 for name in names for index in range(bits)} if scalar else dict.fromkeys(
        names, bits)
    outputs = ("SPO", "DPO") if dual else ("O",)
    return CellModel({**addresses, **dict.fromkeys((*outputs, "D", "WE", "WCLK"), 1)}, expand,
                     ("INIT", "IS_WCLK_INVERTED"))


def _many_ports(letters: str, bits: int, width: int) -> CellModel:
    """Return RAM32M, RAM64M8, …: a memory a letter, each with its own address to read; all write at the last one."""
    def expand(view: CellView) -> None:
        clock, rising = _write_clock(view)
        written = view.bus(f"ADDR{letters[-1]}", bits)
        for letter in letters:
            write = write_all(clock, written, view.input("WE"), view.bus(f"DI{letter}", width), rising=rising)
            initial = initial_words(view, [f"INIT_{letter}"], 64).reshape(-1, width)
            [word] = view.memory(initial, [write], [view.bus(f"ADDR{letter}", bits)])
            view.output(f"DO{letter}", word)

    ports = {f"{name}{letter}": size for letter in letters for name, size in (
        ("ADDR", bits), ("DI", width), ("DO", width))}
    return CellModel({**ports, "WE": 1, "WCLK": 1}, expand, ("IS_WCLK_INVERTED", *(f"INIT_{x}" for x in letters)))


XILINX_RAM_CELLS: Mapping[str, CellModel] = {
    "RAMB18E1": _block_model(_Block(18, ultrascale=False)),
    "RAMB36E1": _block_model(_Block(36, ultrascale=False)),
    "RAMB18E2": _block_model(_Block(18, ultrascale=True)),
    "RAMB36E2": _block_model(_Block(36, ultrascale=True)),
    **{f"RAM{1 << bits}X1S": _single_bit(bits, dual=False) for bits in range(4, 10)},
    **{f"RAM{1 << bits}X1D": _single_bit(bits, dual=True) for bits in range(4, 9)},
    "RAM32M": _many_ports("ABCD", 5, 2),
    "RAM64M": _many_ports("ABCD", 6, 1),
    "RAM32M16": _many_ports("ABCDEFGH", 5, 2),
    "RAM64M8": _many_ports("ABCDEFGH", 6, 1),
}
