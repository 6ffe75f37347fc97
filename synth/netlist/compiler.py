"""From a netlist to a :class:`Program`: gates with constants folded, and only what an output depends on."""

from __future__ import annotations

from collections.abc import Sequence

from synth.netlist.cells import Family
from synth.netlist.errors import NetlistError
from synth.netlist.expand import expand
from synth.netlist.gates import GateGraph, Literal
from synth.netlist.levelize import CombinationalLoop, levelize
from synth.netlist.live import Live, find_live
from synth.netlist.lower import Lowering
from synth.netlist.memory_blocks import Blocks, group_memories
from synth.netlist.network import FALSE, TRUE, Network, Signal
from synth.netlist.program import (
    Clock,
    MemoryBlock,
    PortRegisters,
    Program,
    Read,
    StateBit,
    Write,
)
from synth.netlist.read import Direction, Netlist


def compile_netlist(netlist: Netlist, family: Family | None = None) -> Program:
    """Compile a technology-mapped netlist.

    Parameters
    ----------
    family : Family, optional
        Whose cells the netlist has; by default the first family that has all of them.

    Raises
    ------
    NetlistError
        For an unknown cell, an unsupported parameter or configuration, several drivers of a net, a combinational
        loop, a clock that is not an input, and for an output or a live flip-flop that depends on a constant ``x`` or
        ``z``, on an undriven net or on an unconnected pin. Such a bit is fine where it provably does not matter: at
        an unused input of a look-up table, at a multiplexer input that is never chosen.
    """
    network = expand(netlist, family)
    return _Compiler(network).program()


class _Compiler:
    """Network to gates (with folding), gates to instructions (only those that matter)."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._netlist = network.netlist
        self._graph = GateGraph()
        self._literals: dict[Signal, Literal] = {FALSE: 0, TRUE: 1}
        self._code = Lowering(self._graph)

    def program(self) -> Program:
        self._build_gates()
        outputs = self._output_literals()
        live = find_live(self._network, self._graph, self._literals,
                         (literal for _, literals in outputs for literal in literals))
        self._check_defined(outputs, live)
        input_literals = {self._literals[signal]: place for signal, place in self._network.inputs.items()}
        clocks = {flip_flop: self._clock(flip_flop.cell, flip_flop.clock, flip_flop.rising, input_literals)
                  for flip_flop in live.flip_flops}
        blocks = group_memories(self._network, self._literals, live)
        writes = [[(self._clock(block.cells[0], write.clock, write.rising, input_literals), write)
                   for write in block.writes] for block in blocks.blocks]
        inputs = self._input_registers()
        stored = {flip_flop: self._code.new_register(self._literals[flip_flop.stored]) for flip_flop in live.flip_flops}
        wanted = [literal for _, literals in outputs for literal in literals]
        for flip_flop in live.flip_flops:
            wanted += [self._literals[flip_flop.data], self._literals[flip_flop.settled]]
        for block in blocks.blocks:
            for write in block.writes:
                wanted += [*write.address, write.enable, *write.data]
        self._lower(wanted, blocks)
        return Program(
            name=self._netlist.name,
            inputs=inputs,
            outputs=tuple(PortRegisters(name, self._code.registers(literals)) for name, literals in outputs),
            state=tuple(StateBit(cell=flip_flop.cell, stored=stored[flip_flop],
                                 settled=self._code.register(self._literals[flip_flop.settled]),
                                 next=self._code.register(self._literals[flip_flop.data]),
                                 initial=flip_flop.initial, clock=clocks[flip_flop]) for flip_flop in live.flip_flops),
            instructions=tuple(self._code.instructions),
            register_count=self._code.register_count,
            memories=tuple(MemoryBlock(
                cells=block.cells, words=block.words, width=block.width, initial=block.initial,
                writes=tuple(Write(clock=clock, address=self._code.registers(write.address),
                                   enable=self._code.register(write.enable), data=self._code.registers(write.data))
                             for clock, write in ports))
                for block, ports in zip(blocks.blocks, writes, strict=True)))

    # Network to gates

    def _build_gates(self) -> None:
        network, graph, literals = self._network, self._graph, self._literals
        for signal in network.inputs:
            literals[signal] = graph.source()
        for flip_flop in network.flip_flops:
            literals[flip_flop.stored] = graph.source()
        data_of = {signal: read.data for memory in network.memories for read in memory.reads for signal in read.data}
        for signal, reason in network.undefined.items():
            literals[signal] = graph.undefined(reason)
        luts = network.luts
        try:
            order = levelize({**{signal: lut.operands for signal, lut in luts.items()}, **network.read_addresses})
        except CombinationalLoop as error:
            cells = network.cells_of(error.loop)
            raise NetlistError(f"Netlist must have no combinational loop, not the one through "
                               f"{', '.join(cells[:8])}{' and others' if len(cells) > 8 else ''}") from error
        for signal in order:
            if signal in luts:
                lut = luts[signal]
                literals[signal] = graph.lut(lut.table, [literals[operand] for operand in lut.operands])
            elif signal not in literals:                 # the first of a read port's data: the others follow at once
                literals.update((bit, graph.source()) for bit in data_of[signal])

    def _output_literals(self) -> list[tuple[str, list[Literal]]]:
        """Return every output with its literals: output ports, driven inout ports, and their output enables."""
        network, outputs = self._network, []
        for port in self._netlist.ports:
            if port.direction is Direction.INPUT:
                continue
            drivers = [network.pad_driver(port.name, bit) for bit in port.bits]
            signals = [network.net(bit, f"output port {port.name}[{index}]") for index, bit in enumerate(port.bits)]
            if port.direction is Direction.INOUT and all(signal in network.inputs for signal in signals):
                continue
            outputs.append((port.name, [self._literal(signal) for signal in signals]))
            enables = [None if driver is None else driver.enable for driver in drivers]
            if any(enable not in (None, TRUE) for enable in enables):
                outputs.append((f"{port.name}.oe", [
                    self._literals[TRUE if enable is None else enable] for enable in enables]))
        return outputs

    def _literal(self, signal: Signal) -> Literal:
        """Return a literal, also of an undefined signal that came up after the gates were built."""
        if signal not in self._literals:
            self._literals[signal] = self._graph.undefined(self._network.undefined[signal])
        return self._literals[signal]

    def _check_defined(self, outputs: Sequence[tuple[str, Sequence[Literal]]], live: Live) -> None:
        for name, literals in outputs:
            for index, literal in enumerate(literals):
                if literal < 0:
                    raise NetlistError(f"Output {name}[{index}] must not depend on an undefined value: "
                                       f"{self._graph.reason(literal)}")
        for flip_flop in live.flip_flops:
            for signal in (flip_flop.data, flip_flop.settled):
                if self._literals[signal] < 0:
                    raise NetlistError(f"Flip-flop {flip_flop.cell} must not depend on an undefined value: "
                                       f"{self._graph.reason(self._literals[signal])}")
        for cell, literal in live.memory_operands:
            if literal < 0:
                raise NetlistError(f"Memory {cell} must not depend on an undefined value: "
                                   f"{self._graph.reason(literal)}")

    def _clock(self, cell: str, clock: Signal, rising: bool, inputs: dict[Literal, tuple[str, int]]) -> Clock:
        literal = self._literals[clock]
        place = inputs.get(literal & ~1) if literal > 1 else None
        if place is None:
            raise NetlistError(f"Clock of {cell} must be an input port of the design, through buffers and "
                               f"inverters alone, not a signal made by logic or a constant")
        port, index = place
        width = next(len(port_.bits) for port_ in self._netlist.ports if port_.name == port)
        return Clock(port, index if width > 1 else -1, rising ^ bool(literal & 1))

    # Gates to instructions

    def _input_registers(self) -> tuple[PortRegisters, ...]:
        places = {place: signal for signal, place in self._network.inputs.items()}
        ports = []
        for port in self._netlist.ports:
            signals = [places.get((port.name, index)) for index in range(len(port.bits))]
            if any(signal is not None for signal in signals):
                ports.append(PortRegisters(port.name, tuple(
                    self._code.new_register(None if signal is None else self._literals[signal]) for signal in signals)))
        return tuple(ports)

    def _lower(self, wanted: Sequence[Literal], blocks: Blocks) -> None:
        """Emit instructions for every gate and read below ``wanted``, then the complements that are still missing."""
        gates, needed = self._graph.gates, set()
        pending = [literal >> 1 for literal in wanted]
        while pending:
            node = pending.pop()
            if node in needed:
                continue
            gate = gates[node]
            if gate is not None:
                needed.add(node)
                pending += [gate[1] >> 1, gate[2] >> 1]
            elif node in blocks.addresses:
                needed.add(node)
                pending += [literal >> 1 for literal in blocks.addresses[node]]
        self._code.lower_nodes(sorted(needed),       # nodes are numbered in topological order
                                   lambda node: self._lower_read(blocks.addresses[node], blocks, needed))
        self._code.registers(wanted)

    def _lower_read(self, address: tuple[Literal, ...], blocks: Blocks, needed: set[int]) -> None:
        """Emit one read of all that is wanted at an address, whose first user has come."""
        registers = self._code.registers(address)
        self._code.instructions.append(Read(registers, tuple(
            (block, bit, self._code.new_register(2 * node)) for node, block, bit in blocks.reads[address]
            if node in needed)))
