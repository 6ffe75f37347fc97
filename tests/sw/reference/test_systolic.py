"""The systolic array against each cell's definition, and against numpy's matrix product."""

import re

import numpy as np
import pytest

from sw.formats import RoundingMode, parse
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.multiply import Multiplication
from sw.reference.systolic import SystolicArray

INT4, INT8 = parse("int4"), parse("int8")
MAC = MultiplyAccumulate(a=INT8, b=INT8, result=parse("int20"), terms=12)
CELLS = {
    "fixed point": MultiplyAccumulate(a=INT4, b=parse("uint3"), result=parse("fixed<6,-2>"), terms=8),
    "preload and random bits": MultiplyAccumulate(a=INT4, b=INT4, result=parse("fixed<6,-2>"), c=parse("int5"),
                                                  terms=8, rounding=RoundingMode.STOCHASTIC, random_bits=4),
    "exact floats": ExactMultiplyAccumulate(a=parse("e4m3"), b=parse("e5m2"), result=parse("float16"), terms=8),
    "chunks": ChunkedMultiplyAccumulate(a=parse("e5m2"), b=parse("e5m2"), accumulator=parse("e6m9"), chunk=3,
                                        rounding=RoundingMode.STOCHASTIC, random_bits=4),
}


STOCHASTIC = CELLS["preload and random bits"]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("name", "registers"), [
    *((name, {}) for name in CELLS), ("preload and random bits", {"lfsr_bits": 11})])
def test_many_sequences_at_once_give_what_the_definition_gives(name, registers, size):
    model, rng, sequences = SystolicArray(cell=CELLS[name], size=size, **registers), np.random.default_rng(7), 5
    run = model.start(sequences)
    rows, transfers = [[] for _ in range(sequences)], [[] for _ in range(sequences)]
    for step in range(40):
        inputs = {field: rng.integers(0, port.codes, (sequences,) if port.lanes is None else (sequences, port.lanes))
                  .astype(np.uint64) for field, port in model.inputs.items()}
        accepted = rng.random(sequences) < 0.8
        for index in np.flatnonzero(accepted):
            transfers[index].append({field: codes[index].tolist() for field, codes in inputs.items()})
        for produced, outputs in run.accept(inputs, accepted):
            for index in np.flatnonzero(produced):
                rows[index].append(outputs["o"][index].tolist())
        if step == 20:
            assert rows == [model.results(taken) for taken in transfers]
            run.reset(np.arange(sequences) == 2)
            rows[2], transfers[2] = [], []
    assert rows == [model.results(taken) for taken in transfers]
    assert min(len(taken) for taken in rows) >= 4 * size


@pytest.mark.parametrize(("size", "depth"), [(1, 1), (1, 12), (4, 1), (4, 3), (4, 12), (8, 12)])
def test_integers_give_numpy_s_matrix_product(size, depth):
    rng = np.random.default_rng([size, depth])
    a, b = rng.integers(-128, 128, (size, depth)), rng.integers(-128, 128, (depth, size))
    a[0], b[:, 0] = -128, -128
    codes = SystolicArray(cell=MAC, size=size).multiply(a % 256, b % 256).astype(np.int64)
    np.testing.assert_array_equal(codes - (codes >> 19 << 20), a @ b)


def test_floats_give_the_matrix_product_rounded_once():
    e4m3, float16 = parse("e4m3"), parse("float16")
    cell = ExactMultiplyAccumulate(a=e4m3, b=e4m3, result=float16, terms=6)
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 120, (3, 6)), rng.integers(0, 120, (6, 3))
    decode = np.vectorize(lambda code: float(e4m3.decode(code)))
    exact = decode(a) @ decode(b)  # float64 holds every partial sum of six such products
    got = SystolicArray(cell=cell, size=3).multiply(a, b)
    want = [[float16.encode(value) for value in row] for row in exact.tolist()]
    assert got.tolist() == want


@pytest.mark.parametrize("residue", range(16))
def test_of_all_states_of_a_rounding_unit_s_register_as_many_round_up_as_the_residue_says(residue):
    """P(up) = r / (2**n - 1), exactly, over one period (Gupta et al. 2015)."""
    cell = MultiplyAccumulate(a=parse("int6"), b=parse("uint1"), result=parse("fixed<6,-4>"), terms=1,
                              rounding=RoundingMode.STOCHASTIC, random_bits=4)
    model = SystolicArray(cell=cell, size=3, lfsr_bits=4, seeds=(1, 7, 12))
    transfer = {"a": [residue] * 3, "b": [1] * 3, "first": 1, "last": 1}
    rows = np.array(model.results([transfer] * 5))  # 15 rows of results
    assert rows.sum(axis=0).tolist() == [residue] * 3
    assert residue in (0, 15) or (rows[:, 0] != rows[:, 1]).any(), "the columns draw the same bits"


@pytest.mark.parametrize(("size", "width"), [(1, 2), (3, 2), (7, 3), (15, 4), (64, 7), (28, 16), (64, 64)])
def test_default_seeds_differ_and_are_no_zero(size, width):
    cell = MultiplyAccumulate(a=INT8, b=INT8, result=INT8, terms=1, rounding=RoundingMode.STOCHASTIC, random_bits=1)
    seeds = SystolicArray(cell=cell, size=size, lfsr_bits=width).seeds
    assert len(set(seeds)) == size
    assert all(0 < seed < 1 << width for seed in seeds)


def test_properties():
    model = SystolicArray(cell=CELLS["preload and random bits"], size=3)
    lanes = {name: port.lanes for name, port in model.inputs.items()}
    assert lanes == {"a": 3, "b": 3, "c": 9, "first": None, "last": None, "random": 9}
    assert (model.outputs["o"].lanes, model.outputs["o"].format) == (3, parse("fixed<6,-2>"))
    assert model.results([]) == []


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"cell": Multiplication(a=INT4, b=INT4, result=INT4)}, TypeError,
     "Cell must be the reference of an accumulator, such as a MultiplyAccumulate, not Multiplication("),
    ({"cell": ExactMultiplyAccumulate(a=INT4, b=INT4, result=INT8, terms=8, lanes=2)}, ValueError,
     "Cell must take one pair a transfer, not several lanes"),
    ({"cell": ChunkedMultiplyAccumulate(a=INT4, b=INT4, accumulator=INT8, chunk=2, lfsr_bits=8, random_bits=4,
                                        rounding=RoundingMode.STOCHASTIC)}, ValueError,
     "Cell must take its random bits from the transfers, not from a register of its own"),
    ({"cell": CELLS["chunks"], "lfsr_bits": 8}, ValueError, "and that at the end of a sum alone, not 8"),
    ({"size": 0}, ValueError, "Array size must be between 1 and 64 rows, not 0"),
    ({"size": 65}, ValueError, "Array size must be between 1 and 64 rows, not 65"),
    ({"size": 2.0}, TypeError, "Array size must be an integer, not 2.0"),
    ({"lfsr_bits": 8}, ValueError, "LFSR bits must be left out unless the cell rounds stochastically, and that at the "
                                   "end of a sum alone, not 8"),
    ({"cell": STOCHASTIC, "lfsr_bits": 3}, ValueError,
     "LFSR bits must be between 4 and 64 for 4 random bits and 2 columns, not 3"),
    ({"cell": STOCHASTIC, "size": 33, "lfsr_bits": 5}, ValueError,
     "LFSR bits must be between 6 and 64 for 4 random bits and 33 columns, not 5"),
    ({"cell": STOCHASTIC, "lfsr_bits": "8"}, TypeError, "LFSR bits must be an integer, not '8'"),
    ({"cell": STOCHASTIC, "seeds": (1, 2)}, ValueError,
     "Seeds must be left out where there are no LFSR bits, not (1, 2)"),
    ({"cell": STOCHASTIC, "lfsr_bits": 8, "seeds": (5, 5)}, ValueError,
     "Seeds must be a tuple of 2 different integers, one for each column, not (5, 5)"),
    ({"cell": STOCHASTIC, "lfsr_bits": 8, "seeds": (5, 6, 7)}, ValueError, "Seeds must be a tuple of 2 different"),
    ({"cell": STOCHASTIC, "lfsr_bits": 8, "seeds": [5, 6]}, ValueError, "Seeds must be a tuple of 2 different"),
    ({"cell": STOCHASTIC, "lfsr_bits": 8, "seeds": (5, 0)}, ValueError, "LFSR seed must be above 0"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SystolicArray(**{"cell": MAC, "size": 2, **fields})


@pytest.mark.parametrize(("cell", "a", "b", "message"), [
    (CELLS["preload and random bits"], (2, 3), (3, 2), "Cell must take nothing but pairs here, not c, random; "
                                                        "use start()"),
    (MAC, (3, 3), (3, 2), "Matrices must be of shapes (2, K) and (K, 2), not (3, 3) and (3, 2)"),
    (MAC, (2, 3), (4, 2), "not (2, 3) and (4, 2)"), (MAC, (2, 0), (0, 2), "not (2, 0) and (0, 2)"),
    (MAC, (2,), (2,), "not (2,) and (2,)"),
])
def test_multiply_wrong(cell, a, b, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SystolicArray(cell=cell, size=2).multiply(np.zeros(a, int), np.zeros(b, int))


def test_multiply_wrong_codes():
    with pytest.raises(ValueError, match="Input b must be between 0 and 255, not 0 to 256"):
        SystolicArray(cell=MAC, size=1).multiply(np.zeros((1, 2), int), np.array([[0], [256]]))
