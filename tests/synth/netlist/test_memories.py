"""Memories of a netlist as parts of a program: how they are grouped, read, written, reset, and what is refused."""

import random
from collections import deque

import numpy as np
import pytest
from amaranth.hdl import *
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from synth.flow import elaborate
from synth.netlist import Family, LlvmEngine, NetlistError, NumpyEngine, Read, Simulation, compile_netlist, read_netlist
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.kernel import MAXIMUM_INTEGER_VECTORS
from synth.targets import TARGETS
from tests.synth.netlist.builders import design
from tests.synth.netlist.oracle import needs_yosys, run_yosys


@pytest.fixture(params=["numpy", *(isa.value for isa in host_instruction_sets())], autouse=True)
def _machine(request, monkeypatch):
    """Every simulation here runs on every machine."""
    if request.param != "numpy":
        isa = InstructionSet(request.param)
        monkeypatch.setattr("synth.netlist.simulation._numpy_machine",
                            lambda program, words: LlvmEngine(program, isa=isa, threads=2).make_machine(words))


CLOCK, WRITE_ENABLE = 2, 3
WRITE_ADDRESS, READ_ADDRESS, SECOND_ADDRESS = [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]
DATA, OUT, SECOND_OUT = [16, 17, 18, 19], [20, 21, 22, 23], [24, 25, 26, 27]
WORDS = [random.Random(4).getrandbits(4) for _ in range(16)]
INITIAL = "".join(format(word, "04b") for word in reversed(WORDS))
INPUTS = {"clk": ("input", [CLOCK]), "en": ("input", [WRITE_ENABLE]), "wa": ("input", WRITE_ADDRESS),
          "ra": ("input", READ_ADDRESS), "d": ("input", DATA)}


def lut_ram(read=READ_ADDRESS, out=OUT, *, write=WRITE_ADDRESS, data=DATA, enable=WRITE_ENABLE, clock=CLOCK,
            initial=INITIAL, **parameters):
    """Return a 16x4 memory."""
    return ("TRELLIS_DPR16X4", {"INITVAL": initial, **parameters}, {
        "RAD": read, "DO": out, "WAD": write, "DI": data, "WRE": enable, "WCK": clock})


def compiled(ports, cells):
    return compile_netlist(read_netlist(design(ports, cells)), Family.ECP5)


def one_memory():
    return compiled({**INPUTS, "o": ("output", OUT)}, {"u": lut_ram()})


def test_copies_for_several_read_ports_are_one_block():
    program = compiled({**INPUTS, "rb": ("input", SECOND_ADDRESS), "o": ("output", OUT), "p": ("output", SECOND_OUT)},
                       {"u": lut_ram(), "v": lut_ram(SECOND_ADDRESS, SECOND_OUT)})
    [block] = program.memories
    assert (block.words, block.width, len(block.writes)) == (16, 4, 1)
    assert block.cells == ("cell 'u' (TRELLIS_DPR16X4)", "cell 'v' (TRELLIS_DPR16X4)")
    assert block.initial == bytes(WORDS)
    assert sum(isinstance(step, Read) for step in program.instructions) == 2


def test_cells_that_are_written_together_are_one_wide_block():
    wide = list(range(30, 34))
    program = compiled({**INPUTS, "e": ("input", wide), "o": ("output", OUT), "p": ("output", SECOND_OUT)},
                       {"u": lut_ram(), "v": lut_ram(out=SECOND_OUT, data=wide, initial="0" * 64)})
    [block] = program.memories
    assert (block.words, block.width) == (16, 8)
    [read] = [step for step in program.instructions if isinstance(step, Read)]
    assert len(read.targets) == 8


def test_different_initial_contents_are_kept_apart():
    program = compiled({**INPUTS, "o": ("output", OUT), "p": ("output", SECOND_OUT)},
                       {"u": lut_ram(), "v": lut_ram(out=SECOND_OUT, initial=INITIAL[4:] + "0000")})
    simulation = Simulation(program)
    simulation.set("ra", 3)
    assert (simulation.get("o")[0], simulation.get("p")[0]) == (WORDS[3], WORDS[2])


def test_only_bits_that_are_read_and_words_that_are_reached_are_kept():
    program = compiled({**INPUTS, "o": ("output", OUT[:3])}, {
        "u": lut_ram(read=[*READ_ADDRESS[:2], "1", READ_ADDRESS[3]],
                     write=[*WRITE_ADDRESS[:2], "1", WRITE_ADDRESS[3]])})
    [block] = program.memories
    assert (block.words, block.width) == (8, 3)
    assert block.initial == bytes(WORDS[k] & 7 for k in (4, 5, 6, 7, 12, 13, 14, 15))


def test_address_bits_that_are_constant_at_one_port_only_are_kept():
    program = compiled({**INPUTS, "o": ("output", OUT)}, {"u": lut_ram(read=[*READ_ADDRESS[:3], "0"])})
    assert program.memories[0].words == 16
    simulation = Simulation(program)
    for word in range(8):
        simulation.set("ra", word)
        assert simulation.get("o")[0] == WORDS[word]


def test_unused_memory_is_left_out():
    program = compiled({**INPUTS, "o": ("output", OUT), "p": ("output", DATA[:1])}, {
        "u": lut_ram(), "v": lut_ram(SECOND_ADDRESS, SECOND_OUT, write=SECOND_ADDRESS)})
    assert [block.cells for block in program.memories] == [("cell 'u' (TRELLIS_DPR16X4)",)]


@pytest.mark.parametrize("lanes", [1, 100, MAXIMUM_INTEGER_VECTORS + 100])
def test_lanes_hold_contents_of_their_own(lanes):
    """Both kernels; a write shows at once, and in the lanes that it enables alone."""
    rng = np.random.default_rng(lanes)
    simulation = Simulation(one_memory(), lanes)
    words = np.tile(np.array(WORDS), (lanes, 1))
    every = np.arange(lanes)
    for _ in range(20):
        write, read, data, enable = (rng.integers(0, limit, lanes) for limit in (16, 16, 16, 2))
        for port, codes in (("wa", write), ("ra", read), ("d", data), ("en", enable)):
            simulation.set(port, codes)
        assert (simulation.get("o") == words[every, read]).all()
        simulation.step()
        words[every, write] = np.where(enable, data, words[every, write])
        assert (simulation.get("o") == words[every, read]).all()
    simulation.reset()
    assert (simulation.get("o") == np.array(WORDS)[read]).all()


def test_contents_take_no_more_than_their_bytes():
    simulation = Simulation(one_memory(), 1000)
    assert simulation.memory_bytes == 16 * 1024          # a byte a word, lanes in words of 64
    constant = compiled({"ra": ("input", READ_ADDRESS), "o": ("output", OUT)}, {"u": lut_ram(
        write=["0"] * 4, data=["0"] * 4, enable="0", clock="0")})
    assert Simulation(constant, 1000).memory_bytes == 16                 # read only: one copy for all


def test_constant_memory_is_combinational():
    program = compiled({"ra": ("input", READ_ADDRESS), "o": ("output", OUT)},
                       {"u": lut_ram(write=["x"] * 4, data=["x"] * 4, enable="0", clock="x")})
    assert program.clocks == ()
    engine = NumpyEngine(program)
    assert engine.run_exhaustive()["o"].tolist() == WORDS
    addresses = np.arange(20000) % 16
    assert (engine.run({"ra": addresses})["o"] == np.array(WORDS)[addresses]).all()


def test_memory_alone_makes_a_design_clocked():
    program = one_memory()
    assert program.clocks == ("clk",)
    assert [port.name for port in program.data_inputs] == ["en", "wa", "ra", "d"]
    outputs = NumpyEngine(program).run({"en": 1, "wa": 5, "ra": [4, 5, 6], "d": WORDS[5] ^ 15}, latency=1)
    assert outputs["o"].tolist() == [WORDS[4], WORDS[5] ^ 15, WORDS[6]]
    with pytest.raises(ValueError, match="must not be the clock 'clk'"):
        Simulation(program).set("clk", 1)


def test_passes_are_as_large_as_their_memories_allow(monkeypatch):
    """The results are those of one pass."""
    monkeypatch.setattr("synth.netlist.engine.BLOCK_MEMORY", 16 * 192)
    engine, addresses = NumpyEngine(one_memory()), np.arange(1000) % 16
    outputs = engine.run({"en": 1, "wa": addresses, "ra": addresses, "d": addresses}, latency=1)
    assert (outputs["o"] == addresses).all()
    assert next(engine.exhaustive_blocks(["ra", "wa"], constants={"en": 0, "d": 0}, latency=1))["o"].size == 192


def test_falling_edge_writes_what_the_rising_edge_made():
    """A flip-flop of the rising edge feeds a memory of the falling edge: a cycle has both."""
    program = compiled({**INPUTS, "o": ("output", OUT)}, {
        "f": ("TRELLIS_FF", {"GSR": "DISABLED", "CEMUX": "1"}, {"CLK": CLOCK, "DI": DATA[0], "Q": 40}),
        "u": lut_ram(data=[40, "0", "0", "0"], WCKMUX="INV", initial="0" * 64)})
    simulation = Simulation(program)
    simulation.set("en", 1)
    simulation.set("d", 1)
    simulation.step()
    assert simulation.get("o")[0] == 1


def test_clocks_are_independent():
    program = compiled({**INPUTS, "clk2": ("input", [50]), "o": ("output", OUT), "p": ("output", SECOND_OUT)},
                       {"u": lut_ram(), "v": lut_ram(out=SECOND_OUT, clock=50)})
    simulation = Simulation(program)
    simulation.set("en", 1)
    simulation.set("d", WORDS[0] ^ 15)
    simulation.step("clk2")
    assert (simulation.get("o")[0], simulation.get("p")[0]) == (WORDS[0], WORDS[0] ^ 15)


def test_undefined_operands_are_refused_where_they_matter():
    ports = {**INPUTS, "o": ("output", OUT)}
    for wrong, reason in (({"data": [*DATA[:3], "x"]}, r"pin DI\[3\] of cell 'u'"),
                          ({"enable": "x"}, r"pin WRE\[0\] of cell 'u'"),
                          ({"write": [*WRITE_ADDRESS[:3], "x"]}, r"pin WAD\[3\] of cell 'u'"),
                          ({"read": [*READ_ADDRESS[:3], "x"]}, r"pin RAD\[3\] of cell 'u'")):
        with pytest.raises(NetlistError, match=r"Memory cell 'u' \(TRELLIS_DPR16X4\) must not depend on an undefined "
                                               rf"value: {reason}"):
            compiled(ports, {"u": lut_ram(**wrong)})
    assert compiled({**INPUTS, "o": ("output", OUT[:3])}, {"u": lut_ram(data=[*DATA[:3], "x"])}).memories[0].width == 3


def test_clock_of_a_memory_must_be_an_input():
    with pytest.raises(NetlistError, match=r"Clock of cell 'u' \(TRELLIS_DPR16X4\) must be an input port of the "
                                           r"design"):
        compiled({**INPUTS, "o": ("output", OUT)}, {
            "g": ("LUT4", {"INIT": "1000100010001000"}, {"A": CLOCK, "B": WRITE_ENABLE, "C": "0", "D": "0", "Z": 60}),
            "u": lut_ram(clock=60)})


def test_loop_through_an_asynchronous_read_is_refused():
    with pytest.raises(NetlistError, match=r"no combinational loop, not the one through cell 'u' \(TRELLIS_DPR16X4\)"):
        compiled({**INPUTS, "o": ("output", OUT)}, {"u": lut_ram(read=[OUT[0], *READ_ADDRESS[1:]])})
    # Written from its own data, it is none.
    assert compiled({**INPUTS, "o": ("output", OUT)}, {"u": lut_ram(data=OUT)}).memories


class Queue(wiring.Component):
    """A FIFO, as a design would use it."""

    latency = 1

    def __init__(self, width, depth):
        self._fifo = fifo.SyncFIFOBuffered(width=width, depth=depth)
        super().__init__({"w_data": In(width), "w_en": In(1), "w_rdy": Out(1), "r_data": Out(width), "r_en": In(1),
                          "r_rdy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = queue = self._fifo
        m.d.comb += [queue.w_data.eq(self.w_data), queue.w_en.eq(self.w_en), self.w_rdy.eq(queue.w_rdy),
                     self.r_data.eq(queue.r_data), queue.r_en.eq(self.r_en), self.r_rdy.eq(queue.r_rdy)]
        return m


@pytest.fixture(scope="module", params=[("ice40", Family.ICE40), ("ecp5", Family.ECP5)], ids=lambda each: each[0])
def mapped_queue(request, tmp_path_factory):
    """A queue as a family's netlist, made once for all machines."""
    (target, family), folder = request.param, tmp_path_factory.mktemp("queue")
    (folder / "design.il").write_text(elaborate(Queue(12, 40)).rtlil)
    run_yosys(folder, TARGETS[target].script(dsp=False))
    return compile_netlist(read_netlist(folder / "mapped.json"), family)


@needs_yosys
def test_mapped_fifo_is_a_queue(mapped_queue):
    program = mapped_queue
    assert program.memories
    lanes, rng = 70, np.random.default_rng(7)
    simulation, queues, taken = Simulation(program, lanes), [deque() for _ in range(lanes)], 0
    for cycle in range(300):
        pressure = 0.8 if cycle // 60 % 2 else 0.3       # it fills, and it empties
        data, push, pull = rng.integers(0, 4096, lanes), rng.random(lanes) < 1 - pressure, rng.random(lanes) < pressure
        for port, codes in (("w_data", data), ("w_en", push.astype(int)), ("r_en", pull.astype(int))):
            simulation.set(port, codes)
        ready, room, shown = (simulation.get(port) for port in ("r_rdy", "w_rdy", "r_data"))
        for lane, queue in enumerate(queues):
            if ready[lane]:
                assert shown[lane] == queue[0], (cycle, lane, int(shown[lane]), list(queue)[:3])
            assert room[lane] == (len(queue) < 40), (cycle, lane, len(queue))
            if pull[lane] and ready[lane]:
                queue.popleft()
                taken += 1
            if push[lane] and room[lane]:
                queue.append(data[lane])
        simulation.step("clk")
    assert taken > 50 * lanes
