"""Every fault that can be planted in a mapped netlist: the population that a run draws from."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from synth.mutate.cells import (
    CARRIES,
    TIE_CELLS,
    FlipFlopPins,
    Json,
    Pin,
    Table,
    bit_at,
    flip_flop_of,
    interchanged,
    parameter_bits,
    pins_of,
    tables_of,
)


class FaultKind(enum.Enum):
    """What is wrong with a cell."""

    TABLE_BIT = "inverted table bit"
    """A bit of a look-up table, one that the nets at its inputs can address."""
    SWAPPED_INPUTS = "swapped inputs"
    """Two inputs on different nets change places, of a look-up table, a multiplexer or a stage of a carry cell; for a
    look-up table, where that changes its function."""
    INVERTED_INPUT = "inverted input"
    """An inverter in front of an input on a net, other than a clock."""
    STUCK_AT_0 = "output stuck at 0"
    STUCK_AT_1 = "output stuck at 1"
    CARRY_AT_0 = "carry input stuck at 0"
    CARRY_AT_1 = "carry input stuck at 1"
    ENABLE_DROPPED = "enable dropped"
    """A flip-flop with an enable on a net takes its data at every edge."""
    RESET_DROPPED = "reset dropped"
    """A flip-flop with a set or reset on a net has none."""
    INITIAL_VALUE = "initial value inverted"
    """A flip-flop starts at the other value; and is set or reset to it, in the families where one setting (REGSET, the
    cell's type) says both: ECP5, Nexus, Gowin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault.

    Parameters
    ----------
    cell, type : str
        The instance, and its cell type.
    kind : FaultKind
    pins : tuple of Pin
        The pins that it is at.
    parameter : str
        The table's, for a table bit.
    bits : int
        Mask of the table's bits that are inverted: several where an input is connected to nothing.
    """

    cell: str
    type: str
    kind: FaultKind
    pins: tuple[Pin, ...] = ()
    parameter: str = ""
    bits: int = 0

    @property
    def what(self) -> str:
        """Where in the cell it is: ``bit 5 of INIT``, ``A and C``, ``O``."""
        if self.kind is FaultKind.TABLE_BIT:
            return f"bit {(self.bits & -self.bits).bit_length() - 1} of {self.parameter}"
        return " and ".join(port if index == 0 else f"{port}[{index}]" for port, index in self.pins)


class Surroundings:
    """What the nets of a module are: which carry a clock, and which a constant.

    Parameters
    ----------
    module : mapping
        Yosys' JSON of the module.
    clocks : sequence of (port, index)
        Bits of input ports that are clocks.
    """

    def __init__(self, module: Mapping[str, Any], clocks: Sequence[tuple[str, int]]) -> None:
        self._clocks = {module["ports"][port]["bits"][index] for port, index in clocks}
        self._constants: dict[int, str] = {}
        for cell in module["cells"].values():
            if cell["type"] in TIE_CELLS:
                self._constants.update((bits[0], TIE_CELLS[cell["type"]]) for bits in cell["connections"].values())

    def source(self, cell: Json, pin: Pin) -> int | str:
        """Return a pin's net, or the constant there: ``0``, ``1``, or ``x`` where it is connected to nothing."""
        bit = bit_at(cell, pin)
        if isinstance(bit, int):
            return self._constants.get(bit, bit)
        return bit if bit in ("0", "1") else "x"

    def is_signal(self, cell: Json, pin: Pin) -> bool:
        """Whether a pin is on a net that is neither constant nor a clock."""
        source = self.source(cell, pin)
        return isinstance(source, int) and source not in self._clocks


def population(module: Mapping[str, Any], clocks: Sequence[tuple[str, int]]) -> list[Fault]:
    """Return every fault of a module, in the order of its cells.

    Cells that drive a constant have none; neither has a clock, nor an input that is tied.
    """
    around = Surroundings(module, clocks)
    return [fault for name, cell in module["cells"].items()
            if cell["type"] not in TIE_CELLS and cell["type"] != "$scopeinfo"
            for fault in _faults_of(name, cell, around)]


def drawn(faults: Sequence[Fault], count: int, seed: int) -> list[Fault]:
    """Return ``count`` of the faults, each at most once and all as likely as each other; all where there are fewer."""
    if count >= len(faults):
        return list(faults)
    chosen = np.random.default_rng(seed).choice(len(faults), count, replace=False)
    return [faults[index] for index in sorted(chosen.tolist())]


def _faults_of(name: str, cell: Json, around: Surroundings) -> Iterator[Fault]:
    kind = cell["type"]
    for table in tables_of(cell):
        for bits in _addressed(cell, table, around):
            yield Fault(cell=name, type=kind, kind=FaultKind.TABLE_BIT, parameter=table.parameter, bits=bits)
        for pair in _pairs(cell, table.pins, around):
            if _matters(cell, table, pair, around):
                yield Fault(cell=name, type=kind, kind=FaultKind.SWAPPED_INPUTS, pins=pair)
    for group in interchanged(cell):
        for pair in _pairs(cell, group, around):
            yield Fault(cell=name, type=kind, kind=FaultKind.SWAPPED_INPUTS, pins=pair)
    for pin in pins_of(cell, "input"):
        if around.is_signal(cell, pin):
            yield Fault(cell=name, type=kind, kind=FaultKind.INVERTED_INPUT, pins=(pin,))
    for pin in pins_of(cell, "output"):
        if isinstance(bit_at(cell, pin), int):
            for stuck in (FaultKind.STUCK_AT_0, FaultKind.STUCK_AT_1):
                yield Fault(cell=name, type=kind, kind=stuck, pins=(pin,))
    for port in CARRIES.get(kind, ()):
        source = around.source(cell, (port, 0))
        for value, stuck in (("0", FaultKind.CARRY_AT_0), ("1", FaultKind.CARRY_AT_1)):
            if source not in (value, "x"):
                yield Fault(cell=name, type=kind, kind=stuck, pins=((port, 0),))
    flip_flop = flip_flop_of(cell)
    if flip_flop is not None:
        yield from _flip_flop_faults(name, cell, flip_flop, around)


def _flip_flop_faults(name: str, cell: Json, flip_flop: FlipFlopPins, around: Surroundings) -> Iterator[Fault]:
    for port, kind in ((flip_flop.enable, FaultKind.ENABLE_DROPPED), (flip_flop.reset, FaultKind.RESET_DROPPED)):
        if port is not None and around.is_signal(cell, (port, 0)):
            yield Fault(cell=name, type=cell["type"], kind=kind, pins=((port, 0),))
    yield Fault(cell=name, type=cell["type"], kind=FaultKind.INITIAL_VALUE, pins=((flip_flop.output, 0),))


def _pairs(cell: Json, pins: Sequence[Pin], around: Surroundings) -> Iterator[tuple[Pin, Pin]]:
    """Return the pairs of pins on two different nets."""
    signals = [pin for pin in pins if around.is_signal(cell, pin)]
    return ((one, other) for one, other in combinations(signals, 2) if bit_at(cell, one) != bit_at(cell, other))


def _addresses(cell: Json, pins: Sequence[Pin], around: Surroundings) -> Iterator[tuple[int, ...]]:
    """Return, for each combination of values of the nets at a table's pins, the bits that it may address: several
    where a pin is connected to nothing."""
    sources = [around.source(cell, pin) for pin in pins]
    nets = list(dict.fromkeys(source for source in sources if isinstance(source, int)))
    for values in product((0, 1), repeat=len(nets)):
        known: dict[int | str, tuple[int, ...]] = {"0": (0,), "1": (1,), "x": (0, 1)}
        known.update((net, (value,)) for net, value in zip(nets, values, strict=True))
        yield tuple(sum(bit << place for place, bit in enumerate(choice))
                    for choice in product(*(known[source] for source in sources)))


def _addressed(cell: Json, table: Table, around: Surroundings) -> list[int]:
    """Return masks of the table's bits that the nets at its pins can address, and its corner by those of the corner."""
    masks: dict[int, None] = {}
    for pins in (table.pins, table.pins[:table.corner]):
        if pins:
            masks.update((sum(1 << address for address in addresses), None)
                         for addresses in _addresses(cell, pins, around))
    return list(masks)


def _matters(cell: Json, table: Table, pair: tuple[Pin, Pin], around: Surroundings) -> bool:
    """Whether exchanging two pins changes what a table gives, for any values of the nets at its pins."""
    bits = parameter_bits(cell["parameters"][table.parameter], table.size)

    def exchanged(address: int, pins: Sequence[Pin]) -> int:
        one, other = (pins.index(pin) for pin in pair)
        differ = (address >> one ^ address >> other) & 1
        return address ^ (differ << one | differ << other)

    corner = table.pins[:table.corner]
    return any((bits >> address ^ bits >> exchanged(address, pins)) & 1
               for pins in (table.pins, corner if set(pair) <= set(corner) else ()) if pins
               for addresses in _addresses(cell, pins, around) for address in addresses)
