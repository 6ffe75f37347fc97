"""What every engine does, on numpy, on torch and on native code of every instruction set of this machine."""

from functools import partial
from threading import Thread

import numpy as np
import pytest

from synth.netlist import Family, LlvmEngine, NumpyEngine, compile_netlist, read_netlist
from synth.netlist.engine import BLOCK_VECTORS
from synth.netlist.instruction_set import host_instruction_sets
from synth.netlist.torch_engine import TorchEngine
from tests.synth.netlist.builders import design, ripple_adder

MAKERS = {"numpy": NumpyEngine, "torch cpu": TorchEngine} | {
    f"llvm {isa.value}": partial(LlvmEngine, isa=isa) for isa in host_instruction_sets()}
made = {}


@pytest.fixture(params=MAKERS, autouse=True)
def maker(request, monkeypatch):
    """Every test runs on every engine; the name of the one it runs on."""
    monkeypatch.setitem(made, "by", MAKERS[request.param])
    return request.param


def engine(ports, cells, family=Family.ICE40):
    return made["by"](compile_netlist(read_netlist(design(ports, cells)), family))


def adder(width):
    """An adder on the engine of the test."""
    return made["by"](compile_netlist(read_netlist(ripple_adder(width)), Family.ICE40))


@pytest.mark.parametrize("vectors", [
    0, 1, 64, 65, 8191, 8193, BLOCK_VECTORS, BLOCK_VECTORS + 1, 2 * BLOCK_VECTORS + 77])
def test_any_number_of_vectors(vectors):
    rng = np.random.default_rng(vectors)
    a, b = rng.integers(0, 1 << 12, (2, vectors))
    result = adder(12).run({"a": a, "b": b})
    assert result["y"].dtype == np.uint16
    assert (result["y"] == a + b).all()


def test_wide_ports_are_python_integers():
    rng = np.random.default_rng(4)
    a = np.array([int.from_bytes(rng.bytes(10), "little") for _ in range(100)], object)
    b = np.array([int.from_bytes(rng.bytes(10), "little") for _ in range(100)], object)
    result = adder(80).run({"a": a, "b": b})["y"]
    assert result.dtype == object
    assert (result == a + b).all()


def test_one_value_serves_all_vectors():
    assert adder(4).run({"a": np.arange(16), "b": 3})["y"].tolist() == [code + 3 for code in range(16)]
    assert adder(4).run({"a": 9, "b": 8})["y"].tolist() == [17]


def test_exhaustive_is_a_table_of_the_ports():
    table = adder(8).run_exhaustive(["b", "a"])["y"].reshape(256, 256)
    codes = np.arange(256)
    assert (table == codes[:, None] + codes).all()
    b_major = adder(5).run_exhaustive(["a"], constants={"b": 7})["y"]
    assert b_major.tolist() == [code + 7 for code in range(32)]
    assert (adder(3).run_exhaustive()["y"].reshape(8, 8) == np.arange(8)[:, None] + np.arange(8)).all()


def test_exhaustive_blocks_join_to_the_whole():
    unit = adder(9)
    parts = [block["y"] for block in unit.exhaustive_blocks(["a", "b"])]
    assert len(parts) == (1 << 18) // BLOCK_VECTORS
    assert (np.concatenate(parts) == unit.run_exhaustive(["a", "b"])["y"]).all()


def test_an_engine_says_what_it_is(maker):
    assert adder(2).name == maker


@pytest.mark.parametrize(("start", "vectors"), [(0, 1), (64, 64), (448, 1024), (512, 512), (1984, 700), (1 << 17, 5)])
def test_ranges_are_parts_of_the_whole(start, vectors):
    unit = adder(9)
    index = np.arange(start, start + vectors)
    want = (index >> 9) + index % 512
    assert (unit.run_range(start, vectors)["y"] == want).all()
    out = {"y": np.zeros(vectors, np.uint16)}
    assert unit.run_range(start, vectors, ["b", "a"], out=out)["y"] is out["y"]
    assert (out["y"] == want).all()
    assert (unit.run_range(0, 512, ["b"], constants={"a": 300})["y"] == np.arange(512) + 300).all()


def test_ranges_beyond_what_a_table_holds():
    """2^40 combinations, of which the last 3,000: the carry goes through all bits of the vector's number."""
    unit, start = adder(20), (1 << 40) - 3008
    index = np.arange(start, start + 3008, dtype=np.uint64)
    assert (unit.run_range(start, 3008)["y"] == (index >> np.uint64(20)) + index % np.uint64(1 << 20)).all()


@pytest.mark.parametrize("start", [0, 64 * 1001, (1 << 47) - 640, (1 << 63) - 6400])
def test_ranges_of_more_combinations_than_a_word_counts(start):
    """2^80 combinations: the upper operand is 0 but for a carry out of 40 bits, whatever the lower one is."""
    index = np.arange(start, start + 6400, dtype=np.uint64)
    want = (index >> np.uint64(40)) + index % np.uint64(1 << 40)
    assert (adder(40).run_range(start, 6400)["y"] == want).all()
    assert (adder(63).run_range(start, 6400)["y"] == index).all()


def test_blocks_may_have_any_length():
    blocks = [block["y"] for block in adder(5).exhaustive_blocks(vectors=320)]
    assert [block.size for block in blocks] == [320, 320, 320, 64]
    assert (np.concatenate(blocks) == adder(5).run_exhaustive()["y"]).all()


def test_ranges_wrong():
    unit = adder(4)
    with pytest.raises(ValueError, match="Start of a range must be a multiple of 64, not 32"):
        unit.run_range(32, 64)
    with pytest.raises(ValueError, match="Range must be within the 256 combinations, not 128 from 192 on"):
        unit.run_range(192, 128)
    with pytest.raises(ValueError, match="Range must be within the 256 combinations, not 0 from 64 on"):
        unit.run_range(64, 0)
    with pytest.raises(ValueError, match=r"Range must end within the first 2\^63 combinations, not after 92233720368547"
                                         "75872; constants leave fewer"):
        adder(40).run_range(1 << 63, 64)
    message = "Output array of y must be contiguous, of 64 codes of uint8"
    for array in (np.zeros(64, np.uint16), np.zeros(63, np.uint8), np.zeros(128, np.uint8)[::2], [0] * 64):
        with pytest.raises(ValueError, match=message):
            unit.run_range(0, 64, out={"y": array})
    with pytest.raises(ValueError, match=message):
        unit.run_range(0, 64, out={})


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int64, np.uint64, ">u4", object])
def test_codes_of_any_type(dtype):
    codes = np.arange(1000) % 2
    assert (adder(3).run({"a": codes.astype(dtype), "b": 5})["y"] == codes + 5).all()


def test_codes_that_are_not_contiguous():
    codes = np.arange(6000, dtype=np.uint8).reshape(3000, 2) % 16
    unaligned = np.frombuffer(bytes(1) + codes[:, 1].astype("<u2").tobytes(), "<u2", offset=1)
    want = codes[:, 0].astype(int) + codes[:, 1]
    assert (adder(4).run({"a": codes[:, 0], "b": codes[:, 1]})["y"] == want).all()
    assert (adder(4).run({"a": codes[::-1, 0], "b": unaligned[::-1]})["y"] == want[::-1]).all()
    assert (adder(9).run({"a": codes[:, 0], "b": unaligned})["y"] == want).all()


def test_results_go_where_they_are_wanted():
    a, out = np.arange(70000) % 16, {"y": np.zeros(70000, np.uint8)}
    assert adder(4).run({"a": a, "b": 3}, out=out)["y"] is out["y"]
    assert (out["y"] == a + 3).all()
    with pytest.raises(ValueError, match="Output array of y must be contiguous, of 3 codes of uint8"):
        adder(4).run({"a": [1, 2, 3], "b": 1}, out=out)


def test_results_may_replace_an_input():
    codes = np.arange(70001, dtype=np.uint8) % 64
    want = codes + 3
    adder(7).run({"a": codes, "b": 3}, out={"y": codes})
    assert (codes == want).all()


def test_where_results_go_wrong():
    codes = np.zeros(5121, np.uint8)
    with pytest.raises(ValueError, match="Output array of y must be apart from the codes of b, or be the same array, "
                                         "not overlap it"):
        adder(7).run({"a": 1, "b": codes[:-1]}, out={"y": codes[1:]})
    codes.flags.writeable = False
    with pytest.raises(ValueError, match="Output array of y must be writable, not read-only"):
        adder(7).run({"a": 1, "b": 2}, out={"y": codes[:1]})
    with pytest.raises(ValueError, match="Output array of y must be writable, not read-only"):
        adder(7).run_range(0, 5120, out={"y": codes[:5120]})
    assert not codes.any()


@pytest.mark.parametrize("codes", [[], np.zeros(0, np.uint8), np.zeros(0, object)])
def test_no_vectors(codes):
    result = adder(9).run({"a": codes, "b": 5})["y"]
    assert (result.shape, result.dtype) == ((0,), np.uint16)
    assert adder(70).run({"a": codes, "b": codes})["y"].shape == (0,)


def test_codes_that_are_no_integers_wrong():
    for codes, what in [([1.5], "float64"), (np.array([1, 2.5], object), "2.5"), (np.array([1, None]), "None")]:
        with pytest.raises(TypeError, match=f"Codes must be integers, not {what}"):
            adder(4).run({"a": codes, "b": 1})


def test_exhaustive_ports_wrong():
    for ports, constants in [(["a", "a", "b"], {}), (["a", "b"], {"b": 1})]:
        with pytest.raises(ValueError, match="Exhaustive ports and constants must name a port once, not a, "):
            adder(4).run_exhaustive(ports, constants=constants)


def test_inputs_stay_as_they_are():
    codes = np.arange(100, dtype=np.uint8) % 16
    codes.flags.writeable = False
    before = codes.copy()
    adder(4).run({"a": codes, "b": codes})
    assert (codes == before).all()


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64])
def test_ports_of_every_width(width):
    """The sum is one bit wider than its terms, so that types differ where it crosses to the next one."""
    rng = np.random.default_rng(width)
    a, b = (rng.integers(0, 1 << width, 1500, dtype=np.uint64) for _ in range(2))
    a[:4], b[:4] = (1 << width) - 1, [0, 1, (1 << width) - 1, 1 << width - 1]
    got = adder(width).run({"a": a, "b": b})["y"]
    assert got.tolist() == [int(x) + int(y) for x, y in zip(a, b, strict=True)]


def test_ports_of_different_widths_in_one_design():
    ports = {"a": ("input", list(range(2, 10))), "b": ("input", list(range(10, 43))), "c": ("input", [43]),
             "low": ("output", [10, 43, 2]), "wide": ("output", list(range(2, 44))), "one": ("output", ["1", 9])}
    rng = np.random.default_rng(3)
    a, b, c = (rng.integers(0, 1 << width, 1100, dtype=np.uint64) for width in (8, 33, 1))
    got = engine(ports, {}).run({"a": a, "b": b, "c": c})
    assert (got["low"] == (b & 1 | c << np.uint64(1) | (a & 1) << np.uint64(2))).all()
    assert (got["wide"] == (a | b << np.uint64(8) | c << np.uint64(41))).all()
    assert (got["one"] == (1 | (a >> np.uint64(7)) << np.uint64(1))).all()


def test_threads_may_share_an_engine():
    """A combinational one, and one with state, whose arrays are kept from run to run."""
    pipeline = engine({"clk": ("input", [2]), "d": ("input", [3, 4, 5, 6]), "q": ("output", [13, 14, 15, 16])}, {
        f"u{bit}": ("SB_DFF", {}, {"C": 2, "D": 3 + bit, "Q": 13 + bit}) for bit in range(4)})
    unit, failures = adder(8), []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(10):
            a, b = rng.integers(0, 256, (2, 3000))
            if not (unit.run({"a": a, "b": b})["y"] == a + b).all():
                failures.append(("sum", seed))
            if not (pipeline.run({"d": a % 16}, latency=1)["q"] == a % 16).all():
                failures.append(("state", seed))

    threads = [Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_few_sizes_are_kept():
    unit = adder(3)
    for words in (1, 5, 1, 2, 9, 1):
        planes = np.zeros((3, words), np.uint64)
        assert unit.run_packed({"a": planes, "b": ~planes})["y"].tolist() == [[(1 << 64) - 1] * words] * 3 + [
            [0] * words]
    assert len(unit._simulations) == 2


def test_packed_planes_go_straight_through():
    unit = adder(2)
    planes = unit.run_packed({"a": np.array([[0b0101], [0b0011]], np.uint64), "b": np.array([[1], [0]], np.uint64)})
    assert [int(row[0]) & 0b1111 for row in planes["y"]] == [0b0100, 0b0010, 0b0001]


def test_pipeline_holds_its_inputs():
    unit = engine({"clk": ("input", [2]), "d": ("input", [3]), "q": ("output", [5])}, {
        "a": ("SB_DFF", {}, {"C": 2, "D": 3, "Q": 4}), "b": ("SB_DFF", {}, {"C": 2, "D": 4, "Q": 5})})
    assert [unit.run({"d": [0, 1]}, latency=latency)["q"].tolist() for latency in (0, 1, 2, 3)] == [
        [0, 0], [0, 0], [0, 1], [0, 1]]
    assert unit.run_exhaustive(latency=2)["q"].tolist() == [0, 1]
    assert unit.run({"d": [1, 0]}, latency=1)["q"].tolist() == [0, 0]     # every run starts afresh


def test_design_without_inputs():
    unit = engine({"y": ("output", ["1", "0", "1"])}, {})
    assert unit.run({})["y"].tolist() == [0b101]
    assert int(unit.run_packed({}, words=1)["y"][2, 0]) == (1 << 64) - 1
    with pytest.raises(ValueError, match="Number of words must be given for a design without inputs"):
        unit.run_packed({})


def test_inputs_wrong():
    unit = adder(4)
    with pytest.raises(ValueError, match="Input must be one of a, b, not 'c'"):
        unit.run({"a": [1], "b": [1], "c": [1]})
    with pytest.raises(ValueError, match="Inputs must include every port of the design, not lack b"):
        unit.run({"a": [1]})
    with pytest.raises(ValueError, match="Inputs must have one length, not {'a': 1, 'b': 2}"):
        unit.run({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="Codes of a 4-bit port must be 0 to 15, not 16"):
        unit.run({"a": [16], "b": [1]})
    with pytest.raises(TypeError, match="Codes must be integers, not float64"):
        unit.run({"a": [0.5], "b": [1]})
    with pytest.raises(ValueError, match=r"Planes of b must be of shape \(4, 1\), not \(4, 2\)"):
        unit.run_packed({"a": np.zeros((4, 1), np.uint64), "b": np.zeros((4, 2), np.uint64)})
    with pytest.raises(ValueError, match="Exhaustive ports must have at most 32 bits together, not 34"):
        adder(17).run_exhaustive()


def test_latency_wrong():
    with pytest.raises(ValueError, match="Latency must be 0 for a design without a clock, not 2"):
        adder(2).run({"a": [1], "b": [1]}, latency=2)
    clocked = engine({"clk": ("input", [2]), "d": ("input", [3]), "q": ("output", [4])},
                     {"u": ("SB_DFF", {}, {"C": 2, "D": 3, "Q": 4})})
    with pytest.raises(ValueError, match="Latency must be at least 0 cycles, not -1"):
        clocked.run({"d": [1]}, latency=-1)
