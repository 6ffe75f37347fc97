import numpy as np
import pytest
import torch

from synth.netlist import Family, NumpyEngine, compile_netlist, read_netlist
from synth.netlist.engine import BLOCK_VECTORS
from synth.netlist.torch_engine import TorchEngine
from synth.netlist.torch_packing import pack_tensor, unpack_tensor
from tests.support import ptx
from tests.synth.netlist.builders import design, ripple_adder
from tests.synth.netlist.test_memories import INPUTS, OUT, WORDS, lut_ram, one_memory

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


def adder(width):
    """The engine that needs numpy alone."""
    return NumpyEngine(compile_netlist(read_netlist(ripple_adder(width)), Family.ICE40))


def adder_of(width, **options):
    return TorchEngine(adder(width).program, **options)


def delay_line():
    """Two flip-flops in a row."""
    return compile_netlist(read_netlist(design({"clk": ("input", [2]), "d": ("input", [3]), "q": ("output", [5])}, {
        "a": ("SB_DFF", {}, {"C": 2, "D": 3, "Q": 4}), "b": ("SB_DFF", {}, {"C": 2, "D": 4, "Q": 5})})), Family.ICE40)


def counter():
    """Two bits that count, cleared asynchronously."""
    return compile_netlist(read_netlist(design(
        {"clk": ("input", [2]), "clear": ("input", [3]), "q": ("output", [4, 5])}, {
            "low": ("$_DFF_PP0_", {}, {"C": 2, "D": 6, "R": 3, "Q": 4}),
            "high": ("$_DFF_PP0_", {}, {"C": 2, "D": 7, "R": 3, "Q": 5}),
            "not": ("$_NOT_", {}, {"A": 4, "Y": 6}), "xor": ("$_XOR_", {}, {"A": 4, "B": 5, "Y": 7})})))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("vectors", [0, 1, 64, 65, 1000, BLOCK_VECTORS, BLOCK_VECTORS + 1, 2 * BLOCK_VECTORS + 77])
def test_any_number_of_vectors(vectors, device):
    a, b = torch.from_numpy(np.random.default_rng(vectors).integers(0, 1 << 12, (2, vectors))).to(device)
    result = adder_of(12, device=device).run_tensors({"a": a, "b": b})["y"]
    assert result.dtype == torch.int16
    assert result.device == a.device
    assert torch.equal(result, (a + b).to(torch.int16))


@pytest.mark.parametrize(("width", "dtype"), [(3, torch.uint8), (7, torch.uint8), (8, torch.int16), (15, torch.int32),
                                              (31, torch.int64), (63, torch.int64)])
def test_results_are_unsigned_codes_in_the_smallest_type(width, dtype):
    largest = (1 << width) - 1
    result = adder_of(width).run_tensors({"a": largest, "b": torch.tensor([largest, 0])})["y"]
    assert result.dtype == dtype
    pattern = 2 * largest if width < 63 else 2 * largest - (1 << 64)      # 64 bits are a pattern
    assert result.tolist() == [pattern, largest]


def test_shapes_are_kept():
    a = torch.arange(24, dtype=torch.int32).reshape(2, 3, 4).transpose(0, 2)
    result = adder_of(8).run_tensors({"a": a, "b": 3})["y"]
    assert torch.equal(result, (a + 3).to(result.dtype))
    assert adder_of(8).run_tensors({"a": torch.zeros((3, 0, 2), dtype=torch.int8), "b": 0})["y"].shape == (3, 0, 2)
    assert adder_of(8).run_tensors({"a": torch.tensor(7), "b": 0})["y"].tolist() == 7
    assert adder_of(8).run_tensors({"a": 9, "b": 200})["y"].tolist() == [209]


def test_planes_stay_tensors():
    unit = adder_of(70)
    a, b = (torch.from_numpy(np.random.default_rng(seed).integers(-1 << 63, 1 << 63, (70, 3))) for seed in (1, 2))
    got = unit.run_planes({"a": a, "b": b})["y"]
    want = adder(70).run_packed({"a": a.numpy().view(np.uint64), "b": b.numpy().view(np.uint64)})["y"]
    assert (got.numpy().view(np.uint64) == want).all()
    assert unit.run_planes({"a": a[:, :0], "b": b[:, :0]})["y"].shape == (71, 0)


def test_pipelines_hold_their_inputs():
    unit = TorchEngine(delay_line())
    d = torch.tensor([0, 1])
    assert [unit.run_tensors({"d": d}, latency=latency)["q"].tolist() for latency in (0, 1, 2, 3)] == [
        [0, 0], [0, 0], [0, 1], [0, 1]]
    assert unit.run({"d": [1, 0]}, latency=2)["q"].tolist() == [1, 0]


def test_design_without_inputs():
    unit = TorchEngine(compile_netlist(read_netlist(design({"y": ("output", ["1", "0", "1"])}, {})), Family.ICE40))
    assert unit.run_tensors({})["y"].tolist() == [0b101]
    assert unit.run_planes({}, words=2)["y"].tolist() == [[-1, -1], [0, 0], [-1, -1]]


def test_exhaustive_runs_are_those_of_every_engine():
    assert (TorchEngine(adder(5).program).run_exhaustive()["y"] == adder(5).run_exhaustive()["y"]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_simulations_of_tensors(device):
    simulation = TorchEngine(counter(), device=device).tensor_simulation(64)
    for cycle in range(6):
        low, high = simulation.get_planes("q")[:, 0].tolist()
        assert (low, high) == (-(cycle & 1), -(cycle >> 1 & 1))
        simulation.step()
    simulation.set_planes("clear", torch.full((1, 1), 1, device=device))      # the first lane alone, and at once
    assert unpack_tensor(simulation.get_planes("q"), 64).tolist() == [0] + [2] * 63
    simulation.set("clear", 1)
    assert simulation.get_planes("q").tolist() == [[0], [0]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("on_device", [False, True])
def test_memories_hold_a_copy_a_lane(on_device, device):
    engine, rng = TorchEngine(one_memory(), device=device), np.random.default_rng(7)
    simulation = engine.tensor_simulation(128) if on_device else engine.simulation(128)
    assert simulation.memory_bytes == 128 * 16
    words = np.tile(np.array(WORDS), (128, 1))

    def put(port, codes, width):
        tensor = torch.from_numpy(np.array(codes, np.int64)).to(device)
        simulation.set_planes(port, pack_tensor(tensor, width)) if on_device else simulation.set(port, codes)

    def read():
        return unpack_tensor(simulation.get_planes("o"), 128).cpu().numpy() if on_device else simulation.get("o")

    for _ in range(40):
        enable, address, data, place = rng.integers(0, (2, 16, 16, 16), (128, 4)).T
        for port, codes, width in (("en", enable, 1), ("wa", address, 4), ("d", data, 4), ("ra", place, 4)):
            put(port, codes, width)
        assert (read() == words[np.arange(128), place]).all()
        simulation.step()
        words[enable == 1, address[enable == 1]] = data[enable == 1]
        assert (read() == words[np.arange(128), place]).all()
    simulation.reset()
    assert (read() == np.array(WORDS)[place]).all()


def test_memories_that_nobody_writes_are_held_once():
    memory = lut_ram(write=["0"] * 4, data=["0"] * 4, enable="0", clock="0")
    program = compile_netlist(read_netlist(design({"ra": INPUTS["ra"], "o": ("output", OUT)}, {"u": memory})))
    engine = TorchEngine(program)
    assert engine.simulation(640).memory_bytes == 16
    assert engine.run_tensors({"ra": torch.arange(16)})["o"].tolist() == WORDS


def test_the_name_says_the_device():
    unit = adder_of(3)
    assert (unit.name, unit.device, unit.fused) == ("torch cpu", torch.device("cpu"), False)


def test_generated_kernels_take_codes_of_every_width(monkeypatch):
    ptx.install(monkeypatch)
    rng = np.random.default_rng(11)
    for width in (1, 7, 8, 12, 15, 16, 20, 31, 32):                           # 32: the sum is too wide, so planes
        unit, most = adder_of(width, fused=True), (1 << width) - 1
        a, b = torch.from_numpy(rng.integers(0, 1 << width, (2, 5000)))
        a[:2], b[:2] = most, torch.tensor([most, 0])
        got = unit.run_tensors({"a": a, "b": b})["y"]
        assert got.dtype == adder_of(width).run_tensors({"a": 0, "b": 0})["y"].dtype
        assert torch.equal(got.to(torch.int64), a + b)
        assert unit.run_tensors({"a": torch.zeros((2, 0), dtype=torch.int8), "b": 1})["y"].shape == (2, 0)
        assert unit.fused


def test_a_generated_kernel_that_differs_is_refused(monkeypatch):
    ptx.install(monkeypatch)
    monkeypatch.setattr("synth.netlist.torch_fused.module", lambda kernels: _broken(kernels))
    message = "Generated kernels must agree with torch's own operations, not differ in 1 of 1 results; pass fused=False"
    with pytest.raises(RuntimeError, match=message):
        adder_of(4, fused=True).run_tensors({"a": 1, "b": 2})
    with pytest.raises(RuntimeError, match=r"Generated kernels must agree .* not differ in \d of 5 results"):
        adder_of(4, fused=True).run({"a": [1], "b": [2]})


def _broken(kernels):
    """Return a module whose first look-up of a design's register computes something else."""
    from synth.netlist.ptx import module

    head, found, rest = module(kernels).partition("lop3.b32 %v")
    line, end, rest = rest.partition(";")
    changed = line.rsplit(", ", 1)[0] + f", {int(line.rsplit(', ', 1)[1], 0) ^ 0xff:#04x}"
    return head + found + changed + end + rest


def test_devices_wrong():
    with pytest.raises(ValueError, match="Device must be an NVIDIA GPU, and torch at least 2.8, for generated kernels, "
                                         "not cpu with torch .*; leave fused out"):
        adder_of(3, fused=True)
    unit, elsewhere = adder_of(3), torch.zeros(64, dtype=torch.int64, device="meta")
    with pytest.raises(ValueError, match="Codes of a must be on cpu, not on meta"):
        unit.run_tensors({"a": elsewhere, "b": 0})
    with pytest.raises(ValueError, match="Planes of a must be on cpu, not on meta"):
        unit.run_planes({"a": elsewhere.expand(3, 64), "b": torch.zeros((3, 64), dtype=torch.int64)})


def test_inputs_wrong():
    unit = adder_of(4)
    with pytest.raises(ValueError, match="Input must be one of a, b, not 'c'"):
        unit.run_tensors({"a": 1, "b": 1, "c": 1})
    with pytest.raises(ValueError, match="Inputs must include every port of the design, not lack b"):
        unit.run_tensors({"a": 1})
    with pytest.raises(ValueError, match=r"Inputs must have one shape, not {'a': \(1,\), 'b': \(2,\)}"):
        unit.run_tensors({"a": torch.ones(1, dtype=torch.int64), "b": torch.ones(2, dtype=torch.int64)})
    with pytest.raises(ValueError, match="Codes of a 4-bit port must be 0 to 15, not 16"):
        unit.run_tensors({"a": 16, "b": 1})
    with pytest.raises(ValueError, match="Codes of a 4-bit port must be 0 to 15, not -1"):
        unit.run_tensors({"a": torch.tensor([-1]), "b": 1})
    with pytest.raises(TypeError, match="Codes must be of dtype uint8, int8, int16, int32 or int64, not torch.float32"):
        unit.run_tensors({"a": torch.ones(1), "b": 1})
    with pytest.raises(ValueError, match="Port must be at most 64 bits wide for a tensor of codes, not 65"):
        adder_of(64).run_tensors({"a": 1, "b": 1})
    with pytest.raises(TypeError, match="Planes of a must be of dtype int64, not torch.int32"):
        unit.run_planes({"a": torch.zeros((4, 1), dtype=torch.int32), "b": torch.zeros((4, 1), dtype=torch.int64)})
    with pytest.raises(ValueError, match=r"Planes of b must be of shape \(4, 1\), not \(4, 2\)|torch.Size"):
        unit.run_planes({"a": torch.zeros((4, 1), dtype=torch.int64), "b": torch.zeros((4, 2), dtype=torch.int64)})
    with pytest.raises(ValueError, match="Latency must be 0 for a design without a clock, not 2"):
        unit.run_tensors({"a": 1, "b": 1}, latency=2)
