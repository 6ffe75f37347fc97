"""The timed loops compute what they should: products, accumulators that are fed back, and state from tile to tile."""

import numpy as np
import pytest

from synth.native.throughput import BoundLoop, TileLoop
from synth.netlist import compile_netlist, read_netlist
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.llvm_compile import assembly_of
from tests.support.macs import mac, mac_program
from tests.synth.netlist.builders import design, lut4

SETS = host_instruction_sets()
XOR = 0b0110


def program(ports, cells):
    return compile_netlist(read_netlist(design(ports, cells)))


def parity(flip_flop="SB_DFF", **pins):
    """Return a program whose output is the parity of all earlier inputs."""
    return program({"clk": ("input", [2]), "d": ("input", [3]), "q": ("output", [4])},
                   {"next": lut4(XOR, [3, 4], 5),
                    "kept": (flip_flop, {}, {"C": 2, "D": 5, "Q": 4, **pins})})


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_a_fed_back_accumulator_is_that_of_the_reference(isa, tiles):
    operation = mac("mac-float")
    loop = TileLoop(mac_program("mac-float"), isa, feedback={"o": "c"})
    assert loop.instructions == len(loop.logic.lookups)
    rng = np.random.default_rng(tiles)
    a, b = (rng.integers(0, 1 << operation.model.a.width, (tiles, isa.lanes)) for _ in range(2))
    prepared = loop.prepared({"a": a.reshape(-1), "b": b.reshape(-1)})
    assert prepared.vectors == tiles * isa.lanes
    want = np.zeros(isa.lanes, np.uint64)
    for repeats in (1, 2):                               # the second run goes on where the first one stopped
        prepared.run(repeats)
        for _ in range(repeats):
            for row in range(tiles):
                want = operation.model.codes(a[row], b[row], want)
        assert prepared.output("o").tolist() == want.tolist(), f"{isa.value}, {tiles} tiles, {repeats} repeats"


@pytest.mark.parametrize("isa", SETS)
def test_every_vector_has_its_result(isa):
    operation = mac("mac-float")
    rng = np.random.default_rng(3)
    codes = {name: rng.integers(0, 1 << port.width, 3 * isa.lanes) for name, port in operation.model.inputs.items()}
    prepared = TileLoop(mac_program("mac-float"), isa).prepared(codes)
    prepared.run(2)
    assert prepared.output("o").tolist() == operation.model.codes(*codes.values()).tolist()


@pytest.mark.parametrize("isa", SETS)
def test_state_goes_from_tile_to_tile(isa):
    loop = TileLoop(parity(), isa)
    inputs = np.random.default_rng(1).integers(0, 2, (4, isa.lanes))
    prepared = loop.prepared({"d": inputs.reshape(-1)})
    prepared.run()
    before = np.cumsum(inputs, axis=0) - inputs
    assert prepared.output("q").reshape(4, -1).tolist() == (before % 2).tolist()
    prepared.run()
    assert prepared.output("q").reshape(4, -1).tolist() == ((before + inputs.sum(axis=0)) % 2).tolist()


def test_a_design_without_inputs_is_one_tile():
    inverter = program({"clk": ("input", [2]), "q": ("output", [4])},
                       {"next": lut4(1, [4], 5), "kept": ("SB_DFF", {}, {"C": 2, "D": 5, "Q": 4})})
    prepared = TileLoop(inverter, SETS[-1]).prepared({})
    for want in (0, 1, 0):
        prepared.run()
        assert set(prepared.output("q").tolist()) == {want}


@pytest.mark.parametrize("isa", SETS)
def test_the_bound_is_vector_instructions_alone(isa):
    loop = BoundLoop(isa)
    loop.run(3)
    text = assembly_of(loop._text(), isa)
    body = [line for line in text.splitlines() if line.startswith("\t") and not line.startswith("\t.")]
    names = {InstructionSet.AVX512: ("vpternlog",), InstructionSet.WORD64: ("and", "xor", "or"),
             InstructionSet.AVX2: ("vand", "vpand", "vxor", "vpxor", "vor", "vpor"),
             InstructionSet.NEON: ("and", "eor", "orr")}[isa]
    counted = sum(line.strip().startswith(names) for line in body)
    assert loop.instructions <= counted <= loop.instructions + 2, text


def test_wrong_programs_are_refused():
    with pytest.raises(ValueError, match="Feedback must be from an output to an input of its width, not from o, 10 "
                                         "bits, to a, 6 bits"):
        TileLoop(mac_program("mac-float"), SETS[-1], feedback={"o": "a"})
    with pytest.raises(ValueError, match="Feedback must be from an output to an input of the program, not with the "
                                         "output 'p'; it has o"):
        TileLoop(mac_program("mac-float"), SETS[-1], feedback={"p": "c"})
    with pytest.raises(ValueError, match="not with the input 'd'; it has a, b, c"):
        TileLoop(mac_program("mac-float"), SETS[-1], feedback={"o": "d"})
    changes = "Program must change its state at rising edges alone, not by an asynchronous reset or at a falling edge"
    with pytest.raises(ValueError, match=changes):
        TileLoop(parity("SB_DFFN"), SETS[-1])
    with pytest.raises(ValueError, match=changes):
        TileLoop(parity("SB_DFFR", R=3), SETS[-1])


def test_a_program_with_a_memory_is_refused():
    from dataclasses import replace

    from synth.netlist.program import MemoryBlock

    memory = MemoryBlock(cells=("m",), words=2, width=8, initial=bytes(2), writes=())
    with pytest.raises(ValueError, match="Program must have no memory, not 1: a tile holds none"):
        TileLoop(replace(parity(), memories=(memory,)), SETS[-1])


def test_wrong_inputs_are_refused():
    loop, lanes = TileLoop(parity(), SETS[-1]), SETS[-1].lanes
    with pytest.raises(ValueError, match="Inputs must be d, not e"):
        loop.prepared({"e": np.zeros(lanes, int)})
    for count in (0, lanes - 1):
        with pytest.raises(ValueError, match=f"Inputs must have one length, a multiple of {lanes} vectors, not d: "
                                             f"{count}"):
            loop.prepared({"d": np.zeros(count, int)})
