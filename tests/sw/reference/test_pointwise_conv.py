"""Pointwise convolution against each cell's definition, and against numpy's matrix product."""

import re

import numpy as np
import pytest

from sw.formats import RoundingMode, parse
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.model import Port, Stream
from sw.reference.multiply import Multiplication
from sw.reference.pointwise_conv import PointwiseConvolution

INT4, INT8 = parse("int4"), parse("int8")
W4A8 = ExactMultiplyAccumulate(a=INT8, b=INT4, result=None, terms=1024, lanes=4, accumulator_width=24)
STOCHASTIC = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 4}
CELLS = {
    "int8 by int4": W4A8,
    "floats": ExactMultiplyAccumulate(a=parse("e4m3"), b=parse("e2m1"), result=parse("bfloat16"), terms=8, lanes=2),
    "wrapping register": MultiplyAccumulate(a=INT4, b=INT4, result=parse("int6"), accumulator=parse("int8")),
    "preload and random bits": MultiplyAccumulate(a=INT4, b=INT4, result=parse("fixed<6,-2>"), c=parse("int5"),
                                                  terms=8, **STOCHASTIC),
    "chunks": ChunkedMultiplyAccumulate(a=parse("e5m2"), b=parse("e5m2"), accumulator=parse("e6m9"), chunk=3,
                                        **STOCHASTIC),
}


@pytest.mark.parametrize("output_lanes", [1, 3])
@pytest.mark.parametrize("name", CELLS)
def test_many_sequences_at_once_give_what_the_definition_gives(name, output_lanes):
    model = PointwiseConvolution(cell=CELLS[name], output_lanes=output_lanes)
    rng, sequences = np.random.default_rng(7), 5
    assert isinstance(model, Stream)
    run = model.start(sequences)
    groups, transfers = [[] for _ in range(sequences)], [[] for _ in range(sequences)]
    for step in range(30):
        inputs = {field: rng.integers(0, port.codes, (sequences,) if port.lanes is None else (sequences, port.lanes))
                  .astype(np.uint64) for field, port in model.inputs.items()}
        accepted = rng.random(sequences) < 0.8
        for index in np.flatnonzero(accepted):
            transfers[index].append({field: codes[index].tolist() for field, codes in inputs.items()})
        for produced, outputs in run.accept(inputs, accepted):
            for index in np.flatnonzero(produced):
                groups[index].append(outputs["o"][index].tolist())
        if step == 15:
            assert groups == [model.results(taken) for taken in transfers]
            run.reset(np.arange(sequences) == 2)
            groups[2], transfers[2] = [], []
    assert groups == [model.results(taken) for taken in transfers]
    assert min(len(taken) for taken in groups) >= 2


def test_groups_of_channels_make_the_matrix_product_of_a_pixel():
    rng, lanes = np.random.default_rng(3), 4
    pixel, matrix = rng.integers(-128, 128, 3 * lanes), rng.integers(-8, 8, (3 * lanes, 2 * lanes))
    pixel[:], matrix[:, 0] = -128, -8
    run, got = PointwiseConvolution(cell=W4A8, output_lanes=lanes).start(1), []
    for outputs in np.split(matrix, 2, axis=1):
        for group, (part, weights) in enumerate(zip(np.split(pixel, 3), np.split(outputs, 3), strict=True)):
            flags = {"first": np.array([group == 0], np.uint64), "last": np.array([group == 2], np.uint64)}
            for _, results in run.accept({"a": (part % 256).astype(np.uint64)[None], **flags,
                                          "b": (weights.T.reshape(1, -1) % 16).astype(np.uint64)}, np.array([True])):
                got += results["o"][0].tolist()
    codes = np.array(got, dtype=np.int64)
    np.testing.assert_array_equal(codes - (codes >> 23 << 24), pixel @ matrix)


def test_ports():
    model = PointwiseConvolution(cell=W4A8, output_lanes=3)
    flags = {"first": Port(width=1), "last": Port(width=1)}
    assert model.inputs == {"a": Port.of(INT8, 4), "b": Port.of(INT4, 12), **flags}
    assert model.outputs == {"o": Port(width=24, lanes=3)}
    one = PointwiseConvolution(cell=CELLS["preload and random bits"], output_lanes=3)
    assert {name: port.lanes for name, port in one.inputs.items()} == {
        "a": None, "b": 3, "c": 3, "first": None, "last": None, "random": 3}
    assert (model.input_lanes, one.input_lanes) == (4, 1)
    assert model.results([]) == []


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"cell": Multiplication(a=INT4, b=INT4, result=INT4)}, TypeError,
     "Cell must be the reference of an accumulator, such as an ExactMultiplyAccumulate, not Multiplication("),
    ({"cell": ChunkedMultiplyAccumulate(a=INT4, b=INT4, accumulator=INT8, chunk=2, lfsr_bits=8, **STOCHASTIC)},
     ValueError, "Cell must take its random bits from the transfers, not from a register of its own"),
    ({"output_lanes": 0}, ValueError, "Output count must be between 1 and 16384 for 4 input lanes, not 0"),
    ({"output_lanes": 16385}, ValueError, "Output count must be between 1 and 16384 for 4 input lanes, not 16385"),
    ({"output_lanes": 2.0}, TypeError, "Output count must be an integer, not 2.0"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        PointwiseConvolution(**{"cell": W4A8, "output_lanes": 2, **fields})
