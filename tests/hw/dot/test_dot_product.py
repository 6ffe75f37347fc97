# amaranth: UnusedElaboratable=no
import random

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.arith.exact_structure import ExactStructure
from hw.dot.dot_product import DotAccumulator, DotProduct
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.dot import Dot, DotAccumulate
from tests.support import gates
from tests.support.clocked_gates import assert_function_right, assert_streams_right, random_codes
from tests.support.sampling import sampled

E4M3, E2M1, INT4 = parse("float8_e4m3fn"), parse("float4_e2m1fn"), parse("int4")


def make(a, b=None, result=None, lanes=3, **parameters):
    """Return a dot product of formats by their names."""
    a, b, result = (None if name is None else parse(name) for name in (a, b, result))
    return DotProduct(a, b, result, lanes=lanes, **parameters)


def accumulate(a, accumulator, lanes=2, **parameters):
    """Return a rounded accumulator of formats by their names."""
    return DotAccumulator(parse(a), accumulator=parse(accumulator), lanes=lanes, **parameters)


def random_inputs(model, vectors, seed):
    """Random codes, and as many where all lanes are alike, so that sums reach their ends and cancel."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, port in model.inputs.items():
        codes = random_codes(port, 2 * vectors, rng)
        if port.lanes:
            codes[vectors:] = codes[vectors:, :1]
            sign = rng.random((vectors, port.lanes)) < 0.5
            codes[vectors:] = codes[vectors:] ^ (sign.astype(np.uint64) << np.uint64(port.width - 1))
        inputs[name] = codes
    return inputs


def check(components, folder):
    for component, circuit in zip(components, gates.build(components, folder), strict=True):
        inputs = random_inputs(component.model, 300, seed=6)
        assert_function_right(component, circuit, inputs, str(component.model))


def test_random_vectors_of_every_family(tmp_path):
    check([
        make("float6_e3m2fn", lanes=4), make("float8_e4m3fn", result="bfloat16", lanes=2),
        make("float8_e5m2", result="float8_e5m2", lanes=2, overflow=OverflowPolicy.INFINITY), make("int5", lanes=8),
        make("int5", "uint4", "fixed<8,-4>", lanes=3, rounding=RoundingMode.STOCHASTIC, random_bits=4),
        make("posit<6,1>", result="posit<6,2>"),
        make("float4_e2m1fn", "posit<5,1>", "float6_e3m2fn:subnormals=flushed"),
        make("float6_e2m3fn", lanes=1), make("radix4_fp4_odd", "int4", "radix4_fp4_even", lanes=2, random_bits=3,
                                             rounding=RoundingMode.STOCHASTIC),
        make("p3109_k6p3se", "int1", "int4", lanes=2, overflow=OverflowPolicy.WRAP),
        make("float6_e3m2fn", lanes=2, hard_multiplier=True), make("uint5", lanes=3),
    ], tmp_path)


@pytest.mark.slow
def test_random_vectors_of_wide_formats_and_more_lanes(tmp_path):
    check([
        make("float8_e4m3fn", lanes=8), make("float8_e5m2", lanes=4), make("int8", lanes=16),
        make("posit<8,1>", result="posit<8,2>", lanes=4), make("float8_e4m3fnuz", result="float8_e4m3fnuz"),
        make("float8_e5m2:subnormals=flushed", "dlfloat8", "dlfloat16"),
        make("float4_e2m1fn", "float8_e8m0fnu", "float16", lanes=2), make("float16", result="bfloat16", lanes=3),
        make("p3109_k8p3se", "int1", "int4", lanes=2, overflow=OverflowPolicy.WRAP),
    ], tmp_path)


def test_every_pair_of_vectors_of_two_small_codes(tmp_path):
    components = [make("float4_e2m1fn", lanes=2), make("int4", "float4_e2m1fn", "float4_e2m1fn", lanes=2),
                  make("posit<4,0>", result="posit<4,0>", lanes=2)]
    index = np.arange(1 << 16, dtype=np.uint64)
    columns = [index >> np.uint64(place) & np.uint64(15) for place in (0, 4, 8, 12)]
    inputs = {"a": np.stack(columns[:2], axis=1), "b": np.stack(columns[2:], axis=1)}
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        assert_function_right(component, circuit, inputs, str(component.model))


@sampled("names", [
    ("float4_e2m1fn",), ("float6_e2m3fn",), ("float6_e3m2fn",), ("minifloat_e5m2",), ("posit<6,1>",),
    ("int4", "float6_e3m2fn"), ("uint4", "float4_e3m0fn"),
    *(pytest.param(names, marks=pytest.mark.slow) for names in (
        ("float8_e4m3fn",), ("minifloat_e4m3",), ("float8_e5m2",), ("float8_e4m3fnuz", "posit<5,1>"),
        ("float6_e3m2fn:subnormals=flushed", "float8_e3m4"), ("dlfloat8", "int3"),
        ("float8_e8m0fnu", "float4_e2m1fn"))),
], 3, ids="-".join)
def test_every_pair_of_codes_in_every_structure(names, tmp_path):
    model = make(*names, lanes=1).model
    components = [make(*names, lanes=1, structure=structure) for structure in DotProduct.structures(model)]
    assert len(components) >= 4
    index = np.arange(1 << model.a.width + model.b.width, dtype=np.uint64)
    inputs = {"a": index[:, None] & np.uint64((1 << model.a.width) - 1),
              "b": index[:, None] >> np.uint64(model.a.width)}
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        assert_function_right(component, circuit, inputs, f"{model}, {component.structure}")


@pytest.mark.slow
def test_several_lanes_in_every_structure(tmp_path):
    check([make(name, result=result, lanes=lanes, structure=structure)
           for name, result, lanes in (("float6_e2m3fn", None, 3), ("float6_e3m2fn", "float8_e5m2", 4),
                                       ("float8_e5m2", None, 2), ("int3", None, 5), ("uint4", "int4", 2),
                                       ("fixed<4,1>", "float8_e4m3", 4))
           for structure in DotProduct.structures(make(name, lanes=lanes).model)], tmp_path)


@pytest.mark.parametrize("pipeline", [2, 5])
def test_pipeline_delays_every_result_by_its_latency(pipeline, tmp_path):
    components = [make("float6_e2m3fn", result="float8_e4m3fn", lanes=2, pipeline=pipeline),
                  make("float6_e3m2fn", lanes=2, pipeline=pipeline),
                  make("float4_e2m1fn", result="int4", lanes=3, pipeline=pipeline, rounding=RoundingMode.STOCHASTIC,
                       random_bits=3)]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        assert component.latency == pipeline
        rng, cycles = np.random.default_rng(pipeline), 80
        inputs = {name: random_codes(port, cycles, rng) for name, port in component.model.inputs.items()}
        packed = {name: codes if codes.ndim == 1 else (codes << np.arange(codes.shape[1], dtype=np.uint64) * np.uint64(
            component.model.inputs[name].width)).sum(axis=1) for name, codes in inputs.items()}
        got = circuit.run(cycles, **packed)[pipeline:]
        want = component.model.evaluate(inputs)["o"][:cycles - pipeline]
        assert got.tolist() == want.tolist()


def test_rounded_accumulators_with_stalls_and_resets(tmp_path):
    components = [
        accumulate("float6_e3m2fn", "float8_e4m3"),
        accumulate("float8_e5m2", "float8_e5m2", lanes=1, preload=True, overflow=OverflowPolicy.INFINITY, pipeline=1),
        accumulate("float4_e2m1fn", "float8_e4m3fn", lanes=4, preload=True, rounding=RoundingMode.STOCHASTIC,
                   random_bits=3, pipeline=3),
        accumulate("int4", "fixed<8,-2>", lanes=4, preload=True, overflow=OverflowPolicy.WRAP),
        accumulate("posit<6,1>", "posit<6,1>", lanes=1, pipeline=2), accumulate("float6_e3m2fn", "uint8"),
        accumulate("float4_e2m1fn", "dlfloat8"),
    ]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        compared = assert_streams_right(component, circuit, lanes=64, cycles=30, seed=1, reset_rate=0.01)
        assert compared >= 150, component.model


def test_amaranth_simulator_agrees():
    component = DotProduct(E2M1, INT4, E4M3, lanes=3)
    rng = random.Random(7)

    async def testbench(ctx):
        for _ in range(300):
            a, b = ([rng.randrange(16) for _ in range(3)] for _ in "ab")
            ctx.set(component.a, a)
            ctx.set(component.b, b)
            await ctx.delay(1e-6)
            assert ctx.get(component.o) == component.model(a, b), (a, b)

    simulator = Simulator(component)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("component", [make("float8_e5m2", result="float16", pipeline=4), make("int4"),
                                       accumulate("float8_e5m2", "float16", preload=True, pipeline=2)])
def test_elaborating_twice_gives_the_same(component):
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second


def test_properties():
    component = make("float8_e4m3fn", "int4", "int8", lanes=2, rounding=RoundingMode.STOCHASTIC, random_bits=3,
                     pipeline=2, overflow=OverflowPolicy.WRAP, hard_multiplier=True)
    assert (component.model.a, component.model.b, component.model.result) == (E4M3, INT4, parse("int8"))
    assert (component.model.rounding, component.model.overflow) == (RoundingMode.STOCHASTIC, OverflowPolicy.WRAP)
    assert (component.model.random_bits, component.pipeline, component.latency, component.lanes) == (3, 2, 2, 2)
    assert component.hard_multiplier is True
    assert component.structure is ExactStructure.INVERT_EARLY
    assert [make(fmt, lanes=lanes).structure for fmt, lanes in (("int4", 1), ("int4", 2), ("int9", 2))] == [
        ExactStructure.INVERT_LATE, ExactStructure.PAIRS, ExactStructure.INVERT_LATE]
    assert make("int4", "float4_e2m1fn", structure=ExactStructure.TABLES).structure is ExactStructure.TABLES
    assert component.model == Dot(a=E4M3, b=INT4, result=parse("int8"), lanes=2, rounding=RoundingMode.STOCHASTIC,
                                  overflow=OverflowPolicy.WRAP, random_bits=3)
    assert make("int8", lanes=8).model.b == parse("int8")
    accumulator = accumulate("int4", "int8", preload=True, pipeline=3, hard_multiplier=True)
    assert (accumulator.pipeline, accumulator.latency, accumulator.hard_multiplier) == (3, 5, True)
    assert accumulator.model == DotAccumulate(a=INT4, b=INT4, accumulator=parse("int8"), lanes=2, preload=True)


@pytest.mark.parametrize(("build", "error", "message"), [
    (lambda: DotProduct("e4m3", lanes=2), TypeError, r"Format a must be a .* not 'e4m3'; write"),
    (lambda: DotProduct(E4M3, 1, lanes=2), TypeError, r"Format b must be a .* not 1$"),
    (lambda: DotProduct(E4M3, E4M3, 1, lanes=2), TypeError, r"Result format must be a .* not 1$"),
    (lambda: DotProduct(E4M3, lanes=0), ValueError, "Lane count must be between 1 and 65536, not 0"),
    (lambda: DotProduct(E4M3, lanes=2, pipeline=65), ValueError, "Pipeline must be between 0 and 64 .* not 65"),
    (lambda: DotProduct(E4M3, lanes=2, hard_multiplier=0), TypeError, "Hard multiplier must be True or False, not 0"),
    (lambda: DotProduct(E4M3, lanes=1, structure="tables"), TypeError, "Structure must be an ExactStructure, not 'tab"),
    (lambda: DotProduct(E4M3, lanes=2, structure=ExactStructure.SELECT_BLOCKS), ValueError,
     "Structure must be one that suits the operands, .*, not ExactStructure.SELECT_BLOCKS"),
    (lambda: DotAccumulator(E4M3, accumulator=None, lanes=2), TypeError, "Accumulator format must be a .* not None"),
    (lambda: DotAccumulator(E4M3, accumulator=E4M3, lanes=2, preload=2), TypeError, "Preload must be True or False, "),
])
def test_wrong_parameters(build, error, message):
    with pytest.raises(error, match=message):
        build()
