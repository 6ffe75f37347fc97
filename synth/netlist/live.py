"""What of a network matters: the flip-flops and the bits of memories that an output depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from synth.netlist.gates import FALSE_LITERAL, GateGraph, Literal
from synth.netlist.network import FlipFlop, Memory, Network, ReadPort, Signal, WritePort


@dataclass(frozen=True)
class Live:
    """The live part of a network.

    ``flip_flops`` are in netlist order. ``memory_bits`` gives, for each memory (an index of ``Network.memories``), the
    bits of its words that are read, and ``reads`` the read ports with the nodes of those bits. ``memory_operands`` are
    the literals that memories depend on, each with the cell.
    """

    flip_flops: list[FlipFlop]
    memory_bits: Mapping[int, list[int]]
    reads: Mapping[int, list[tuple[ReadPort, list[tuple[int, int]]]]]
    """Read ports of a memory, with the ``(bit, node)`` that are live."""
    memory_operands: list[tuple[str, Literal]]


def writes_of(memory: Memory, bit: int, literals: Mapping[Signal, Literal]) -> Iterator[WritePort]:
    """Yield the write ports that can change a bit of a memory's words."""
    return (write for write in memory.writes if literals[write.enable[bit]] != FALSE_LITERAL)


def find_live(network: Network, graph: GateGraph, literals: Mapping[Signal, Literal], roots: Iterable[Literal]) -> Live:
    """Return what the ``roots`` depend on."""
    flip_flops = {literals[flip_flop.stored] >> 1: flip_flop for flip_flop in network.flip_flops}
    places = {literals[signal] >> 1: (index, read, bit) for index, memory in enumerate(network.memories)
              for read in memory.reads for bit, signal in enumerate(read.data)}
    seen: set[int] = set()
    bits_seen: set[tuple[int, int]] = set()
    operands: dict[tuple[str, Literal], None] = {}
    pending = [literal >> 1 for literal in roots if literal >= 0]
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        gate = graph.gates[node]
        if gate is not None:
            pending += [gate[1] >> 1, gate[2] >> 1]
        elif node in flip_flops:
            flip_flop = flip_flops[node]
            pending += [literals[signal] >> 1 for signal in (flip_flop.data, flip_flop.settled)
                        if literals[signal] >= 0]
        elif node in places:
            index, read, bit = places[node]
            memory = network.memories[index]
            read_signals = list(read.address)
            if (index, bit) not in bits_seen:
                bits_seen.add((index, bit))
                for write in writes_of(memory, bit, literals):
                    read_signals += [*write.address, write.enable[bit], write.data[bit]]
            for signal in read_signals:
                operands[memory.cell, literals[signal]] = None
            pending += [literals[signal] >> 1 for signal in read_signals if literals[signal] >= 0]
    reads = {index: [(read, [(bit, node) for bit, signal in enumerate(read.data)
                             if (node := literals[signal] >> 1) in seen]) for read in memory.reads]
             for index, memory in enumerate(network.memories)}
    return Live(
        flip_flops=[flip_flop for node, flip_flop in flip_flops.items() if node in seen],
        memory_bits={index: sorted({bit for _, bits in ports for bit, _ in bits}) for index, ports in reads.items()},
        reads={index: [(read, bits) for read, bits in ports if bits] for index, ports in reads.items()},
        memory_operands=list(operands))
