# amaranth: UnusedElaboratable=no
"""Pointwise convolution with stalls and resets, as gates and on DSP blocks, for cells of every kind."""

import re
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.accumulate.packed import PackedSums
from hw.conv.depthwise_conv import DepthwiseConv
from hw.conv.pointwise_conv import PointwiseConv
from sw.formats import RoundingMode, Special, parse, parse_block
from sw.reference.accumulation import FLAG
from sw.reference.block_accumulate import BlockMultiplyAccumulate
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.model import Port
from sw.reference.multiply import Multiplication
from sw.reference.packing import Packing
from sw.reference.pointwise_conv import PointwiseConvolution
from sw.reference.sparse_chain import SparseDspChain
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right
from tests.support.mapped import assert_stream_right, map_component
from tests.support.sampling import sampled

INT2, INT4, INT8, E2M1 = (parse(name) for name in ("int2", "int4", "int8", "e2m1"))
STOCHASTIC = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 3}
W4A8 = ExactMultiplyAccumulate(a=INT8, b=INT4, result=None, terms=1024, lanes=2, accumulator_width=24)
NARROW = ExactMultiplyAccumulate(a=INT4, b=INT2, result=None, terms=16, lanes=3)
ONE_LANE = ExactMultiplyAccumulate(a=INT4, b=INT2, result=parse("int5"), terms=3, accumulator_width=8, **STOCHASTIC)


def check(components, folder, **rates):
    for seed, (component, circuit) in enumerate(zip(components, gates.build(components, folder), strict=True)):
        print(component.model, component.pipeline, component.packed)  # pytest shows it beside a failure
        compared = assert_streams_right(component, circuit, lanes=96, cycles=30, seed=seed, reset_rate=0.01, **rates)
        assert compared > 100


def test_cells_of_every_kind(tmp_path):
    check([
        PointwiseConv(NARROW, 2), PointwiseConv(ONE_LANE, 3, pipeline=3),
        PointwiseConv(ExactMultiplyAccumulate(a=INT4, b=INT2, result=None, c=INT4, terms=4), 2, hard_multiplier=True),
        PointwiseConv(MultiplyAccumulate(a=INT4, b=INT2, result=INT4, accumulator=parse("int7")), 3, pipeline=2),
        PointwiseConv(MultiplyAccumulate(a=INT4, b=parse("uint2"), result=parse("fixed<5,-2>"), c=parse("int6"),
                                         terms=8, **STOCHASTIC), 2, hard_multiplier=True),
        PointwiseConv(ChunkedMultiplyAccumulate(a=E2M1, b=E2M1, accumulator=parse("e4m2"), chunk=2,
                                                result=parse("e3m2")), 1, pipeline=2),
    ], tmp_path)


def test_float8_by_float4_in_exact_sums(tmp_path):
    check([PointwiseConv(ExactMultiplyAccumulate(a=parse("float8_e4m3fn"), b=E2M1, result=None, terms=16, lanes=2), 1,
                         pipeline=1, hard_multiplier=True)], tmp_path)


@pytest.mark.slow
def test_blocks_share_their_scale(tmp_path):
    mxfp4, nvfp4 = parse_block("mxfp4:block_size=2,scale=e4m0"), parse_block("nvfp4:block_size=2")
    cells = [BlockMultiplyAccumulate(a=mxfp4, b=nvfp4, result=parse("bfloat16"), terms=4),
             BlockMultiplyAccumulate(a=nvfp4, b=mxfp4, result=None, terms=4)]
    components = [PointwiseConv(cells[0], 2), PointwiseConv(cells[1], 3, pipeline=3, hard_multiplier=True)]
    ports = components[1].model.inputs
    assert {name: port.lanes for name, port in ports.items()} == {
        "a": 2, "b": 6, "a_scale": None, "b_scale": 3, "first": None, "last": None}
    assert [component.latency for component in components] == [2, 5]
    check(components, tmp_path)


class ChainThenSums:
    """What vectors' sums over the dense results of a chain are, in rationals, rounded once: a model between streams."""

    def __init__(self, weight, activation, result, lanes, vectors):
        self.chain = SparseDspChain(a=activation, b=weight, length=lanes, block=lanes, smallest=lanes, vectors=vectors)
        self.result = result
        self.inputs = {"a": Port.of(weight, lanes), "b": Port.of(activation, lanes * vectors), "first": FLAG,
                       "last": FLAG}
        self.outputs = {"o": Port.of(result, vectors)}

    def start(self, sequences):
        self.sums = np.full((sequences, self.chain.vectors), Fraction(0))
        self.nan = np.zeros((sequences, self.chain.vectors), dtype=bool)
        return self

    def reset(self, which):
        self.sums[which], self.nan[which] = Fraction(0), False

    def accept(self, inputs, accepted):
        dense = self.chain.evaluate({"activations": inputs["b"], "weights": inputs["a"]})["o"]
        width, unit = self.chain.outputs["o"].width, Fraction(2) ** self.chain.dot.sum_exponent
        codes = np.zeros((len(accepted), self.chain.vectors), dtype=np.uint64)
        for row in np.flatnonzero(accepted):
            if inputs["first"][row]:
                self.reset([row])
            for vector, code in enumerate(dense[row].tolist()):
                self.sums[row, vector] += (code - (code >> width - 1 << width)) * unit
                self.nan[row, vector] |= code == 1 << width - 1
                codes[row, vector] = self.result.encode(
                    Special.NAN if self.nan[row, vector] else self.sums[row, vector])
        produced = accepted & (inputs["last"] != 0)
        return [(produced, {"o": codes})] if produced.any() else []


@sampled(("weight", "activation", "result"), [
    ("float8_e4m3fn", "e2m1", "bfloat16"), ("e2m1", "float8_e4m3fn", "float8_e4m3fn"), ("e2m1", "e2m1", "float32")], 1)
def test_minifloats_make_the_dense_chain_with_exact_accumulators(weight, activation, result, tmp_path):
    """The weights are shared and each output is a vector; its sums are those of the chain's dense results."""
    weight, activation, result = parse(weight), parse(activation), parse(result)
    cell = ExactMultiplyAccumulate(a=weight, b=activation, result=result, terms=256, lanes=4)
    component = PointwiseConv(cell, 2, pipeline=1)
    circuit, = gates.build([component], tmp_path)
    sums = ChainThenSums(weight, activation, result, lanes=4, vectors=2)
    assert component.model.inputs == sums.inputs
    assert component.model.outputs == sums.outputs
    compared = assert_streams_right(SimpleNamespace(model=sums), circuit, lanes=48, cycles=30, seed=1, reset_rate=0.01,
                                    flag_rate=0.25)
    assert compared > 100


def test_packed_products(tmp_path):
    check([PointwiseConv(cell, outputs, packed=packed, pipeline=pipeline, hard_multiplier=True)
           for cell, outputs, packed, pipeline in (
               (W4A8, 2, 2, 0), (NARROW, 4, 3, 2), (NARROW, 3, 2, 4), (ONE_LANE, 5, 3, 1))], tmp_path)


def test_extreme_operands_in_long_sums(tmp_path):
    """Most negative activations and weights, whose packed products borrow or not, in sums that wrap."""
    def codes(port, count, rng):
        shape = (count,) if port.lanes is None else (count, port.lanes)
        half = 1 << port.width - 1
        return rng.choice([half, half - 1, 0, 2 * half - 1], shape).astype(np.uint64)

    cell = ExactMultiplyAccumulate(a=INT8, b=INT4, result=None, terms=2, lanes=2, accumulator_width=13)
    check([PointwiseConv(cell, 2, hard_multiplier=True)], tmp_path, codes=codes, flag_rate=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["ecp5", *(pytest.param(name, marks=pytest.mark.slow) for name in (
    "ice40", "nexus", "gowin", "xc7", "xcup"))])
def test_two_products_on_each_dsp_block(target, tmp_path):
    component = PointwiseConv(W4A8, 4, pipeline=1, hard_multiplier=True)
    netlist, cells = map_component(component, target, tmp_path)
    assert cells["dsp"] == 4
    assert_stream_right(component, netlist)


@pytest.mark.slow
def test_the_published_engine_on_fewer_dsp_blocks(tmp_path):
    """16 by 16 products on 128 blocks and 9 by 16 on 144, where CoDeNet has 360 for them: 272."""
    cell = ExactMultiplyAccumulate(a=INT8, b=INT4, result=None, terms=1024, lanes=16, accumulator_width=24)
    component, blocks = PointwiseConv(cell, 16, pipeline=1, hard_multiplier=True), {}
    for name, part in (("pointwise", component), ("depthwise", DepthwiseConv(16, pipeline=2, hard_multiplier=True))):
        (tmp_path / name).mkdir()
        netlist, cells = map_component(part, "xcup", tmp_path / name)
        blocks[name] = cells["dsp"]
        if part is component:
            assert_stream_right(component, netlist)
    assert blocks == {"pointwise": 128, "depthwise": 144}


@pytest.mark.slow
def test_three_products_on_each_wide_dsp_block(tmp_path):
    component = PointwiseConv(W4A8, 4, packed=3, pipeline=2, hard_multiplier=True)
    netlist, cells = map_component(component, "xcup", tmp_path)
    assert cells["dsp"] == 4  # three outputs on two blocks, the fourth one on two of its own
    assert_stream_right(component, netlist)


@pytest.mark.parametrize(("cell", "packed", "multiplications"), [
    (W4A8, 2, 4), (W4A8, 1, 8), (ExactMultiplyAccumulate(a=INT8, b=INT8, result=None, terms=4, lanes=2), 2, 8),
    (ExactMultiplyAccumulate(a=parse("uint8"), b=INT4, result=None, terms=4, lanes=2), 2, 8),
    (ExactMultiplyAccumulate(a=INT8, b=INT4, c=INT8, result=None, terms=4, lanes=2), 2, 8),
    (ExactMultiplyAccumulate(a=E2M1, b=INT4, result=None, terms=4, lanes=2), 2, 8),
    (MultiplyAccumulate(a=INT8, b=INT4, result=INT8, terms=4), 2, 4), (NARROW, 2, 6), (NARROW, 3, 6)])
def test_products_are_packed_where_that_is_exact(cell, packed, multiplications):
    text = rtlil.convert(PointwiseConv(cell, 4, packed=packed, hard_multiplier=True), emit_src=False)
    assert text.count("cell $mul ") == multiplications


def test_elaborating_twice_gives_the_same():
    for component in (PointwiseConv(W4A8, 3, pipeline=3, hard_multiplier=True), PointwiseConv(ONE_LANE, 2, pipeline=2)):
        assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = PointwiseConv(W4A8, 3, packed=1, pipeline=4, hard_multiplier=True)
    assert component.model == PointwiseConvolution(cell=W4A8, output_lanes=3)
    assert (component.packed, component.pipeline, component.latency, component.hard_multiplier) == (1, 4, 6, True)
    mac = MultiplyAccumulate(a=INT4, b=INT4, result=INT8, terms=2)
    chunks = ChunkedMultiplyAccumulate(a=E2M1, b=E2M1, accumulator=parse("e4m2"), chunk=2)
    assert [PointwiseConv(cell, 1).latency for cell in (mac, W4A8, chunks)] == [1, 2, 3]
    assert PackedSums(W4A8, Packing(packed_width=4, shared_width=8), sum_registers=3).latency == 5


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"cell": Multiplication(a=INT4, b=INT4, result=INT4)}, TypeError,
     "Cell must be a MultiplyAccumulate, an ExactMultiplyAccumulate, a BlockMultiplyAccumulate or a "
     "ChunkedMultiplyAccumulate to be built, not "),
    ({"output_lanes": 0}, ValueError, "Output count must be between 1 and 32768 for 2 input lanes, not 0"),
    ({"packed": 4}, ValueError, "Packed products must be between 1 and 3 on a multiplier, not 4"),
    ({"packed": True}, TypeError, "Packed products must be an integer, not True"),
    ({"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ({"hard_multiplier": 2}, TypeError, "Hard multiplier must be True or False, not 2"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        PointwiseConv(**{"cell": W4A8, "output_lanes": 2, **parameters})
