"""Memory cells regrouped for simulation: what is written together is one block, and equal copies are one.

A memory of a design is spread over many cells, as wide and deep as the family makes them, and a memory with several
read ports over copies of each. Here every bit of the words of every cell is looked at alone: bits that the same ports
write at the same address form one block, whatever cells they are in; bits that also hold the same are one bit. Address
bits that are the same constant at all ports are left out, and with them the words that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from synth.netlist.gates import TRUE_LITERAL, Literal
from synth.netlist.live import Live, writes_of
from synth.netlist.network import Contents, Memory, Network, Signal, WritePort

Node = int


@dataclass(frozen=True)
class BlockWrite:
    """A write port of a block."""

    clock: Signal
    rising: bool
    address: tuple[Literal, ...]
    enable: Literal
    data: tuple[Literal, ...]


@dataclass(frozen=True)
class Block:
    """Bits of memory cells that are written together; see ``program.MemoryBlock``."""

    cells: tuple[str, ...]
    words: int
    width: int
    initial: bytes
    writes: tuple[BlockWrite, ...]


@dataclass(frozen=True)
class Blocks:
    """The blocks, and who reads them.

    ``reads`` gives, for each address, the nodes that are data at it, each with its block and bit; ``addresses`` the
    address of each such node.
    """

    blocks: tuple[Block, ...]
    reads: Mapping[tuple[Literal, ...], list[tuple[Node, int, int]]]
    addresses: Mapping[Node, tuple[Literal, ...]]


_Address = tuple[Literal, ...]
_PortKey = tuple[Signal, bool, _Address, Literal]
_BlockKey = tuple[int, tuple[_PortKey, ...]]


@dataclass
class _Growing:
    """A block being filled: its distinct bits by the data that they take and what they start with."""

    bits: dict[tuple[tuple[Literal, ...], bytes], int] = field(default_factory=dict)
    cells: dict[str, None] = field(default_factory=dict)


def group_memories(network: Network, literals: Mapping[Signal, Literal], live: Live) -> Blocks:
    """Return the live bits of all memories as blocks."""
    growing: dict[_BlockKey, _Growing] = {}
    order: dict[_BlockKey, int] = {}
    reads: dict[_Address, list[tuple[Node, int, int]]] = {}
    for index, memory in enumerate(network.memories):
        bits = live.memory_bits[index]
        if not bits:
            continue
        writes = {bit: list(writes_of(memory, bit, literals)) for bit in bits}
        ports = [write for write in memory.writes if any(write in used for used in writes.values())]
        kept, initial = _reachable(memory, ports, [read.address for read, _ in live.reads[index]], literals)

        def address(signals: Sequence[Signal], kept: Sequence[int] = kept) -> _Address:
            return tuple(literals[signals[position]] for position in kept)

        places = {}
        for bit in bits:
            key: _BlockKey = (len(kept), tuple(
                (write.clock, write.rising, address(write.address), literals[write.enable[bit]])
                for write in writes[bit]))
            block = growing.setdefault(key, _Growing())
            block.cells[memory.cell] = None
            column = (tuple(literals[write.data[bit]] for write in writes[bit]), initial[:, bit].tobytes())
            places[bit] = order.setdefault(key, len(order)), block.bits.setdefault(column, len(block.bits))
        for read, nodes in live.reads[index]:
            reads.setdefault(address(read.address), []).extend((node, *places[bit]) for bit, node in nodes)
    return Blocks(
        blocks=tuple(_finished(key, growing[key]) for key in order), reads=reads,
        addresses={node: address for address, targets in reads.items() for node, _, _ in targets})


def _reachable(memory: Memory, writes: Sequence[WritePort], reads: Sequence[Sequence[Signal]],
               literals: Mapping[Signal, Literal]) -> tuple[list[int], Contents]:
    """Return the positions of the address that vary, and the contents at the addresses that can be."""
    addresses = [*(write.address for write in writes), *reads]
    kept, chosen = [], []
    for position in range(len(addresses[0])):
        values = {literals[address[position]] for address in addresses}
        if len(values) == 1 and min(values) >= 0 and max(values) <= TRUE_LITERAL:
            chosen.append(min(values))
        else:
            kept.append(position)
            chosen.append(slice(None))                   # type: ignore[arg-type]
    cube = memory.initial.reshape(*[2] * len(chosen), memory.initial.shape[1])
    return kept, cube[tuple(reversed(chosen))].reshape(1 << len(kept), -1)


def _finished(key: _BlockKey, block: _Growing) -> Block:
    bits, ports = key
    words = 1 << bits
    columns = np.stack([np.frombuffer(initial, np.bool_) for _, initial in block.bits], axis=1)
    return Block(
        cells=tuple(block.cells), words=words, width=len(block.bits),
        initial=np.packbits(columns, axis=1, bitorder="little").tobytes(),
        writes=tuple(BlockWrite(clock, rising, address, enable, tuple(data[index] for data, _ in block.bits))
                     for index, (clock, rising, address, enable) in enumerate(ports)))
