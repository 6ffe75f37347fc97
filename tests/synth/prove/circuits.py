"""Programs to prove: truth tables as gates, in ports and registers as a netlist has them, and mapped components."""

import numpy as np

from synth import flow
from synth.netlist import compile_netlist, read_netlist
from synth.netlist.gates import GateGraph
from synth.netlist.lower import Lowering
from synth.netlist.program import Clock, PortRegisters, Program, StateBit
from synth.store import Store
from synth.targets import TARGETS


def tabulated(inputs, outputs, rows, *, stages=0):
    """Return a program that looks its outputs up.

    Parameters
    ----------
    inputs, outputs : mapping of port name to width
        At most six input bits together make one table a bit.
    rows : sequence of int
        All outputs side by side, the first one lowest, for each combination of inputs, the first one lowest.
    stages : int
        Registers behind the outputs.
    """
    graph = GateGraph()
    code = Lowering(graph)
    ports, literals = [], []
    for name, width in inputs.items():
        sources = [graph.source() for _ in range(width)]
        ports.append(PortRegisters(name, tuple(code.new_register(source) for source in sources)))
        literals += sources
    places = sum(outputs.values())
    wanted = [_lookup(graph, sum((row >> place & 1) << index for index, row in enumerate(rows)), literals)
              for place in range(places)]
    held = [[graph.source() for _ in range(places)] for _ in range(stages)]
    stored = [[code.new_register(source) for source in stage] for stage in held]
    code.lower_nodes(range(1, len(graph.gates)))
    registers = list(code.registers(wanted))
    state, clock = [], Clock("clk", -1, True)
    for number, stage in enumerate(stored):
        state += [StateBit(cell=f"stage {number} bit {place}", stored=register, settled=register,
                           next=registers[place], initial=False, clock=clock) for place, register in enumerate(stage)]
        registers = stage
    result, place = [], 0
    for name, width in outputs.items():
        result.append(PortRegisters(name, tuple(registers[place:place + width])))
        place += width
    if stages:
        ports.append(PortRegisters("clk", (code.new_register(None),)))
    return Program(name="table", inputs=tuple(ports), outputs=tuple(result), state=tuple(state),
                   instructions=tuple(code.instructions), register_count=code.register_count)


def _lookup(graph, table, literals):
    """Return a table's literal: by multiplexers where there are more than six inputs."""
    if len(literals) <= 6:
        return graph.lut(table, literals)
    half = 1 << (len(literals) - 1)
    low, high = (_lookup(graph, part, literals[:-1]) for part in (table & ((1 << half) - 1), table >> half))
    return graph.xor(low, graph.and_(literals[-1], graph.xor(low, high)))


def tabulated_model(model, *, stages=0, change=None):
    """Return a program of a reference without memory; ``change`` makes another code of an index and a code."""
    bits = {name: port.bits for name, port in model.inputs.items()}
    index = np.arange(1 << sum(bits.values()), dtype=np.uint64)
    codes, place = {}, 0
    for name, port in model.inputs.items():
        lanes = [index >> np.uint64(place + lane * port.width) & np.uint64((1 << port.width) - 1)
                 for lane in range(port.lanes or 1)]
        codes[name] = lanes[0] if port.lanes is None else np.stack(lanes, axis=1)
        place += port.bits
    rows = [int(code) for code in model.evaluate(codes)["o"]]
    if change is not None:
        rows = [change(number, code) for number, code in enumerate(rows)]
    return tabulated(bits, {"o": model.outputs["o"].width}, rows, stages=stages)


def map_program(component, folder, target="ecp5"):
    """Return the program of a component's mapped netlist, and its latency."""
    design = flow.elaborate(component)
    store = Store(folder / "cache", warn=print)
    (folder / "work").mkdir()
    mapped = flow.synthesize(design, TARGETS[target], store=store, folder=folder / "work", dsp=False, timeout=300)
    store.close()
    return compile_netlist(read_netlist(mapped.document())), design.latency
