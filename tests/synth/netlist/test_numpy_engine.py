import numpy as np
import pytest

from synth.netlist import Family, NumpyEngine, compile_netlist, read_netlist
from synth.netlist.engine import BLOCK_VECTORS
from tests.synth.netlist.builders import design, lut4


def engine(ports, cells, family=Family.ICE40):
    return NumpyEngine(compile_netlist(read_netlist(design(ports, cells)), family))


def adder(width):
    """A ripple-carry adder of iCE40 cells."""
    cells, carry = {}, "0"
    for bit in range(width):
        a, b = 100 + bit, 200 + bit
        cells[f"sum{bit}"] = lut4(0b10010110, [a, b, carry], 300 + bit)
        cells[f"carry{bit}"] = ("SB_CARRY", {}, {"I0": a, "I1": b, "CI": carry, "CO": 400 + bit})
        carry = 400 + bit
    return engine({"a": ("input", [100 + bit for bit in range(width)]),
                   "b": ("input", [200 + bit for bit in range(width)]),
                   "y": ("output", [*(300 + bit for bit in range(width)), carry])}, cells)


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
    with pytest.raises(ValueError, match="Exhaustive ports must have at most 24 bits together, not 26"):
        adder(13).run_exhaustive()


def test_latency_wrong():
    with pytest.raises(ValueError, match="Latency must be 0 for a design without a clock, not 2"):
        adder(2).run({"a": [1], "b": [1]}, latency=2)
    clocked = engine({"clk": ("input", [2]), "d": ("input", [3]), "q": ("output", [4])},
                     {"u": ("SB_DFF", {}, {"C": 2, "D": 3, "Q": 4})})
    with pytest.raises(ValueError, match="Latency must be at least 0 cycles, not -1"):
        clocked.run({"d": [1]}, latency=-1)
