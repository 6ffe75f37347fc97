# amaranth: UnusedElaboratable=no
import random
import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.sim import Simulator

from hw.dot.int4_fp4_dot import Int4Fp4DotProduct
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.int4_fp4 import Int4Fp4Dot
from tests.support.lanes import all_inputs, assert_delayed, assert_right, random_inputs
from tests.support.sampling import sampled

DLFLOAT16, E6M9 = parse("dlfloat16"), parse("float16_e6m9")
KINDS = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "fixed<9,2>", "ufixed<8,4>", "posit<8,1>", "radix4_fp4_odd",
         "float6_e5m0fn:signed=false", "float8_e7m0fn", "float8_e8m0fnu"]


def in_every_mode(lanes, result):
    return [Int4Fp4DotProduct(lanes, result, rounding=mode, random_bits=2 if mode is RoundingMode.STOCHASTIC else 0)
            for mode in RoundingMode]


@pytest.mark.parametrize("result", [DLFLOAT16, pytest.param(E6M9, marks=pytest.mark.slow)])
def test_every_input_of_one_lane_in_every_mode(result, tmp_path):
    assert_right(in_every_mode(1, result), tmp_path, all_inputs)


@sampled("result", KINDS, 4)
def test_every_kind_of_result(result, tmp_path):
    """Those without room in the exponent, too, where the odd phase is halved before the rounding."""
    assert_right([Int4Fp4DotProduct(1, parse(result)), Int4Fp4DotProduct(1, parse(result), rounding=RoundingMode.DOWN),
                  Int4Fp4DotProduct(1, parse(result), rounding=RoundingMode.STOCHASTIC, random_bits=2)], tmp_path,
                 all_inputs)


@pytest.mark.slow
@pytest.mark.parametrize("result", KINDS)
def test_every_kind_of_result_in_every_mode(result, tmp_path):
    assert_right(in_every_mode(1, parse(result)), tmp_path, all_inputs)
    assert_right(in_every_mode(4, parse(result)), tmp_path, lambda model: random_inputs(model, 5_000, seed=1))


def test_every_input_of_two_lanes(tmp_path):
    assert_right([Int4Fp4DotProduct(2, DLFLOAT16), Int4Fp4DotProduct(2, E6M9)], tmp_path, all_inputs)


def test_four_lanes_on_random_vectors(tmp_path):
    assert_right([Int4Fp4DotProduct(4, result) for result in (DLFLOAT16, E6M9)], tmp_path,
                 lambda model: random_inputs(model, 20_000, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("result", [DLFLOAT16, E6M9])
def test_four_lanes_in_every_mode(result, tmp_path):
    assert_right(in_every_mode(4, result), tmp_path, lambda model: random_inputs(model, 100_000, seed=3))


def test_other_numbers_of_lanes(tmp_path):
    assert_right([Int4Fp4DotProduct(3, parse("int12")), Int4Fp4DotProduct(5, DLFLOAT16)], tmp_path,
                 lambda model: random_inputs(model, 5_000, seed=2))


def test_pipeline_delays_every_result_by_its_latency(tmp_path):
    results = (DLFLOAT16, E6M9, parse("e4m3"), parse("fixed<9,2>"))
    assert_delayed([Int4Fp4DotProduct(2, result, pipeline=pipeline, rounding=RoundingMode.STOCHASTIC, random_bits=4)
                    for result, pipeline in zip(results, (1, 3, 2, 5), strict=True)]
                   + [Int4Fp4DotProduct(2, E6M9, pipeline=4, rounding=RoundingMode.UP),
                      Int4Fp4DotProduct(2, pipeline=4)], tmp_path)


@pytest.mark.parametrize("pipeline", [0, 2])
def test_amaranth_simulator_agrees(pipeline):
    dot, rng = Int4Fp4DotProduct(pipeline=pipeline), random.Random(pipeline)
    calls = [([rng.randrange(16) for _ in range(4)], [rng.randrange(16) for _ in range(4)], rng.randrange(2))
             for _ in range(100)]

    async def testbench(ctx):
        for cycle, (a, b, odd) in enumerate(calls):
            for lane in range(4):
                ctx.set(dot.a[lane], a[lane])
                ctx.set(dot.b[lane], b[lane])
            ctx.set(dot.odd, odd)
            if cycle >= pipeline:
                given = calls[cycle - pipeline]
                assert ctx.get(dot.o) == dot.model(*given), (cycle, given)
            await (ctx.tick() if pipeline else ctx.delay(1e-6))

    simulator = Simulator(dot)
    if pipeline:
        simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_elaborating_twice_gives_the_same():
    dot = Int4Fp4DotProduct(pipeline=4)
    first, second = (rtlil.convert(dot, emit_src=False) for _ in range(2))
    assert first == second
    assert not re.search(r"(connect|switch|assign).*\\rst", first)  # registers have no reset


def test_properties():
    dot = Int4Fp4DotProduct(3, E6M9, rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.INFINITY, random_bits=6,
                            pipeline=1)
    assert dot.model == Int4Fp4Dot(lanes=3, result=E6M9, rounding=RoundingMode.STOCHASTIC,
                                   overflow=OverflowPolicy.INFINITY, random_bits=6)
    assert (dot.pipeline, dot.latency, len(dot.random), len(dot.o)) == (1, 1, 6, 16)
    assert (len(Value.cast(dot.a)), len(Value.cast(dot.b)), len(dot.odd)) == (12, 12, 1)
    assert Int4Fp4DotProduct().model == Int4Fp4Dot(lanes=4, result=DLFLOAT16)


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    ((0,), {}, ValueError, "Lanes must be between 1 and 4096, not 0"),
    ((4, "e6m9"), {}, TypeError, "Result format must be a .* not 'e6m9'; write sw.formats.parse"),
    ((4,), {"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ((4,), {"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for dlfloat16"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=message):
        Int4Fp4DotProduct(*arguments, **parameters)
