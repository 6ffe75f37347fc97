"""What can be wrong in a cell of each family: its look-up tables, pins that can be mixed up, and what a flip-flop has.

Cells are as Yosys' JSON has them: ``type``, ``parameters``, ``connections`` (least significant bit first) and
``port_directions``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

Pin = tuple[str, int]
"""A port of a cell, and the index of one of its bits."""


@dataclass(frozen=True, slots=True)
class Table:
    """A look-up table of a cell: bit *k* of ``parameter`` where pin *i* has bit *i* of *k*.

    Where there is a ``corner``, the cell has a second use for the lowest ``2**corner`` bits, as a table of that many
    pins: the carry that a stage generates, the second output of a LUT6_2.
    """

    parameter: str
    pins: tuple[Pin, ...]
    corner: int = 0

    @property
    def size(self) -> int:
        """Number of bits."""
        return 1 << len(self.pins)


@dataclass(frozen=True, slots=True)
class FlipFlopPins:
    """The pins and settings of a flip-flop.

    ``data`` and ``output`` are its pins. ``enable`` and ``reset`` are pins, or None where it has none, with the level
    at which they act. ``other_start`` is what it becomes that starts at the other value.
    """

    data: str
    output: str
    other_start: OtherStart
    enable: str | None = None
    enable_level: int = 1
    reset: str | None = None
    reset_level: int = 1


@dataclass(frozen=True, slots=True)
class OtherStart:
    """Another cell type, with pins to rename or tie, or other parameters; and whether it stands between inverters."""

    type: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    tied: tuple[tuple[str, str], ...] = ()
    inverters: bool = False


_STAGED_TABLES = {"CCU2C": 2, "CCU2": 3, "WIDEFN9": 0}
"""Cells of two tables of four inputs, with the inputs of the corners."""

_MULTIPLEXERS: Mapping[str, tuple[str, ...]] = {
    "PFUMX": ("BLUT", "ALUT", "C0"), "L6MUX21": ("D0", "D1", "SD"),
    **{f"MUXF{level}": ("I0", "I1", "S") for level in range(5, 10)}, "MUXCY": ("DI", "CI", "S"),
    **dict.fromkeys(("MUX2", "MUX2_LUT5", "MUX2_LUT6", "MUX2_LUT7", "MUX2_LUT8"), ("I0", "I1", "S0"))}

CARRIES: Mapping[str, tuple[str, ...]] = {
    "SB_CARRY": ("CI",), "CCU2C": ("CIN",), "CCU2": ("CIN",), "ALU": ("CIN",), "CARRY4": ("CI", "CYINIT"),
    "CARRY8": ("CI",), "MUXCY": ("CI",), "XORCY": ("CI",)}
"""Carry cells, with the pins that a carry comes in by."""

TIE_CELLS: Mapping[str, str] = {"VLO": "0", "VHI": "1", "GND": "0", "VCC": "1"}
"""Cells that drive a constant."""

_ICE40 = re.compile(r"SB_DFF(N?)(E?)(SR|SS|R|S|)")
_GOWIN = re.compile(r"DFF(N?)([SRPC]?)(E?)")
_LATTICE = re.compile(r"FD1([PS])3([ABDIJ])([XY])")
_XILINX = re.compile(r"FD([RSCP])E(_1)?")


def tables_of(cell: Json) -> tuple[Table, ...]:
    """Return the look-up tables of a cell; none where it has none."""
    kind, ports = cell["type"], cell["connections"]
    if kind in _STAGED_TABLES:
        return tuple(Table(f"INIT{stage}", tuple((f"{letter}{stage}", 0) for letter in "ABCD"), _STAGED_TABLES[kind])
                     for stage in range(2))
    if kind == "SB_LUT4":
        return (Table("LUT_INIT", tuple((f"I{index}", 0) for index in range(4))),)
    if kind == "$lut":
        return (Table("LUT", tuple(("A", index) for index in range(len(ports["A"])))),)
    match = re.fullmatch(r"LUT([1-6])(_2)?", kind)
    if match is None:
        return ()
    letters = "Z" in cell["port_directions"]             # Lattice's; otherwise Xilinx' or Gowin's
    return (Table("INIT", tuple(("ABCD"[index] if letters else f"I{index}", 0) for index in range(int(match[1]))),
                  5 if match[2] else 0),)


def interchanged(cell: Json) -> tuple[tuple[Pin, ...], ...]:
    """Return groups of pins of which any two can be mixed up without a path from input to output that was not there.

    Those of a multiplexer, and of one stage of a carry cell. The ones of look-up tables are not among them, nor those
    of an iCE40 carry cell, which treats its three inputs alike.
    """
    kind, ports = cell["type"], cell["connections"]
    if kind in _MULTIPLEXERS:
        return (tuple((port, 0) for port in _MULTIPLEXERS[kind]),)
    if kind in ("CARRY4", "CARRY8"):
        return tuple((("S", index), ("DI", index)) for index in range(len(ports["S"])))
    if kind == "ALU":
        return (tuple((port, 0) for port in ("I0", "I1", "I3") if port in ports),)
    return ()


def flip_flop_of(cell: Json) -> FlipFlopPins | None:
    """Return a flip-flop's pins; None for any other cell."""
    kind, parameters = cell["type"], cell.get("parameters", {})
    if kind in ("TRELLIS_FF", "OXIDE_FF"):
        return _configurable(parameters)
    if match := _ICE40.fullmatch(kind):
        edge, enabled, control = match.groups()
        return FlipFlopPins("D", "Q", enable="E" if enabled else None, reset=control[-1:] or None,
                            other_start=_ice40_other_start(edge, enabled, control))
    if match := _GOWIN.fullmatch(kind):
        edge, control, enabled = match.groups()
        pin = {"S": "SET", "R": "RESET", "P": "PRESET", "C": "CLEAR"}.get(control)
        return FlipFlopPins("D", "Q", enable="CE" if enabled else None, reset=pin,
                            other_start=_gowin_other_start(edge, control, enabled, pin, parameters))
    if match := _LATTICE.fullmatch(kind):
        enabled, letter, value = match.groups()
        pin = {"B": "PD", "J": "PD", "D": "CD", "I": "CD"}.get(letter)
        return FlipFlopPins("D", "Q", enable="SP" if enabled == "P" else None, reset=pin,
                            other_start=_lattice_other_start(enabled, letter, value, pin))
    if match := _XILINX.fullmatch(kind):
        pin = {"R": "R", "S": "S", "C": "CLR", "P": "PRE"}[match[1]]
        inverted = parameter_bits(parameters.get(f"IS_{pin}_INVERTED", "0"), 1)
        return FlipFlopPins("D", "Q", enable="CE", reset=pin, reset_level=1 - inverted,
                            other_start=_xilinx_other_start(match[1], str(parameters.get("INIT", "x"))))
    return None


def parameter_bits(value: str | int, size: int) -> int:
    """Return a parameter as a number: a bit string, or a string such as ``0x96AA``; undefined bits are 0."""
    if isinstance(value, int):
        return value & (1 << size) - 1
    if re.fullmatch("[01xz]+", value):
        return int(re.sub("[xz]", "0", value), 2) & (1 << size) - 1
    return int(value, 0) & (1 << size) - 1


def with_bits(value: str | int, number: int, size: int) -> str:
    """Return a number written as ``value`` is."""
    if isinstance(value, str) and not re.fullmatch("[01xz]+", value) and value.strip()[:2] in ("0x", "0X"):
        text = f"0x{number:0{-(-size // 4)}X}"
        # Yosys marks a string that could be bits by a space behind it.
        return f"{text} " if re.fullmatch("[01xz]+", text) else text
    return format(number, f"0{size}b")


def _configurable(parameters: Mapping[str, str]) -> FlipFlopPins:
    """Return the pins of a TRELLIS_FF or OXIDE_FF, whose parameters say which of them act."""
    mode = str(parameters.get("CEMUX", "1 ")).strip()
    to_one = parameters.get("REGSET", "RESET") == "SET"
    return FlipFlopPins(
        "DI", "Q", enable="CE" if mode in ("CE", "INV") else None, enable_level=int(mode != "INV"), reset="LSR",
        reset_level=int(parameters.get("LSRMUX", "LSR") != "INV"),
        other_start=OtherStart(parameters=(("REGSET", "RESET" if to_one else "SET"),)))


def _xilinx_other_start(letter: str, initial: str) -> OtherStart:
    """Xilinx' flip-flops have a setting of its own for it, which by default is the value of their set or reset."""
    starts_at = initial[-1] if initial[-1] in "01" else str(int(letter in "SP"))
    return OtherStart(parameters=(("INIT", str(1 - int(starts_at))),))


def _ice40_other_start(edge: str, enabled: str, control: str) -> OtherStart:
    """iCE40's start at 0; Yosys makes one that starts at 1 of the one that is set where it was reset, and inverters."""
    if not control:
        return OtherStart(inverters=True)
    other = control[:-1] + ("S" if control[-1] == "R" else "R")
    return OtherStart(type=f"SB_DFF{edge}{enabled}{other}", renamed=((control[-1], other[-1]),), inverters=True)


def _gowin_other_start(edge: str, control: str, enabled: str, pin: str | None, parameters: Mapping[str, str]
                      ) -> OtherStart:
    """Gowin's start at the value of their set or reset; one without has one for the purpose, which never acts."""
    other = {"": "S", "S": "R", "R": "S", "P": "C", "C": "P"}[control]
    pins = {"S": "SET", "R": "RESET", "P": "PRESET", "C": "CLEAR"}
    changed = (("INIT", "1" if other in "SP" else "0"),) if "INIT" in parameters else ()
    return OtherStart(type=f"DFF{edge}{other}{enabled}", parameters=changed,
                      renamed=() if pin is None else ((pin, pins[other]),),
                      tied=((pins[other], "0"),) if pin is None else ())


def _lattice_other_start(enabled: str, letter: str, value: str, pin: str | None) -> OtherStart:
    if pin is None:
        return OtherStart(type=f"FD1{enabled}3A{'X' if value == 'Y' else 'Y'}")
    other = {"B": "D", "D": "B", "I": "J", "J": "I"}[letter]
    return OtherStart(type=f"FD1{enabled}3{other}X", renamed=((pin, "PD" if pin == "CD" else "CD"),))


def pins_of(cell: Json, direction: str) -> list[Pin]:
    """Return the pins of a direction, ``input`` or ``output``, that are connected to anything."""
    return [(port, index) for port, bits in cell["connections"].items()
            if cell["port_directions"].get(port) == direction for index in range(len(bits))]


def bit_at(cell: Json, pin: Pin) -> int | str:
    """Return what a pin is connected to: a net, or a constant; ``x`` where it is nothing."""
    bits = cell["connections"].get(pin[0], ())
    return bits[pin[1]] if pin[1] < len(bits) else "x"
