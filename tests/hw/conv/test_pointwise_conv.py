# amaranth: UnusedElaboratable=no
"""Pointwise convolution with stalls and resets, as gates and on DSP blocks, for cells of every kind."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.accumulate.packed import PackedSums
from hw.conv.depthwise_conv import DepthwiseConv
from hw.conv.pointwise_conv import PointwiseConv
from sw.formats import RoundingMode, parse
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.multiply import Multiplication
from sw.reference.packing import Packing
from sw.reference.pointwise_conv import PointwiseConvolution
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right
from tests.support.mapped import assert_stream_right, map_component

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
     "Cell must be a MultiplyAccumulate, an ExactMultiplyAccumulate or a ChunkedMultiplyAccumulate to be built, not "),
    ({"output_lanes": 0}, ValueError, "Output count must be between 1 and 32768 for 2 input lanes, not 0"),
    ({"packed": 4}, ValueError, "Packed products must be between 1 and 3 on a multiplier, not 4"),
    ({"packed": True}, TypeError, "Packed products must be an integer, not True"),
    ({"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ({"hard_multiplier": 2}, TypeError, "Hard multiplier must be True or False, not 2"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        PointwiseConv(**{"cell": W4A8, "output_lanes": 2, **parameters})
