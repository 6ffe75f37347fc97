# amaranth: UnusedElaboratable=no
import random

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.accumulate.exact import ExactMultiplyAccumulator, ExactSum
from hw.arith.exact_structure import ExactStructure
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.emac import ExactMultiplyAccumulate
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right, random_codes

E4M3, E2M1, INT4 = parse("float8_e4m3fn"), parse("float4_e2m1fn"), parse("int4")


def make(a, b=None, result=None, **parameters):
    """Return an accumulator of formats by their names."""
    a, b, result, c = (None if name is None else parse(name) for name in (a, b, result, parameters.pop("c", None)))
    return ExactMultiplyAccumulator(a, b, result, c=c, **{"terms": 16, **parameters})


def describe(component):
    model = component.model
    return (f"{model.a.name} x {model.b.name} -> {model.result.name if model.result else 'register'} "
            f"from {model.c.name if model.c else 0}, lanes {model.lanes}, {model.rounding.name} {model.overflow.name}, "
            f"width {model.width}, pipeline {component.pipeline}")


def check(components, folder, *, lanes=64, cycles=50, seed=1, codes=random_codes, minimum=300):
    """Run each component with stalls and resets on its gates."""
    for component, circuit in zip(components, gates.build(components, folder), strict=True):
        try:
            compared = assert_streams_right(component, circuit, lanes=lanes, cycles=cycles, seed=seed, codes=codes,
                                            reset_rate=0.01)
        except AssertionError as error:
            raise AssertionError(f"{describe(component)}: {error}") from None
        assert compared >= minimum, (describe(component), compared)


@pytest.mark.slow
def test_every_family_of_operands_and_results(tmp_path):
    check([
        make("float8_e4m3fn"), make("float8_e5m2", result="float8_e5m2", overflow=OverflowPolicy.INFINITY),
        make("int8", result="int8"), make("uint4", "int8"), make("uint4", result="uint6", rounding=RoundingMode.UP),
        make("posit<6,1>", result="posit<6,1>"), make("posit<6,0>", "int4"),
        make("float6_e2m3fn", "posit<6,0>", "fixed<8,2>", overflow=OverflowPolicy.WRAP),
        make("dlfloat8", "int3", "dlfloat8"), make("float8_e4m3fnuz", "float4_e2m1fn", "float8_e4m3fnuz"),
        make("radix4_fp4_odd", "int4", "radix4_fp4_even"),
        make("float6_e3m2fn:subnormals=flushed", result="float8_e5m2:subnormals=flushed"),
    ], tmp_path)


@pytest.mark.slow
def test_preload_of_every_family(tmp_path):
    check([
        make("float8_e4m3fn", result="float8_e4m3fn", c="float8_e5m2", overflow=OverflowPolicy.INFINITY),
        make("float6_e2m3fn", c="float8_e4m3fn", pipeline=2), make("int4", result="int8", c="fixed<9,2>", pipeline=1),
        make("int4", "uint4", c="uint4"), make("posit<6,1>", result="posit<6,1>", c="posit<6,1>", pipeline=3),
        make("float4_e2m1fn", result="float8_e4m3fn", c="posit<8,0>"),
        make("float4_e2m1fn", c="dlfloat8"), make("int4", "float4_e2m1fn", "float16", c="float8_e4m3fn", lanes=3),
    ], tmp_path)


@pytest.mark.slow
def test_every_mode_and_random_bits(tmp_path):
    check([
        *(make("float4_e2m1fn", "float6_e3m2fn", "float8_e4m3", overflow=OverflowPolicy.INFINITY, rounding=mode,
               random_bits=3 if mode is RoundingMode.STOCHASTIC else 0, pipeline=index % 4)
          for index, mode in enumerate(RoundingMode)),
        make("int4", result="fixed<6,-3>", rounding=RoundingMode.STOCHASTIC, random_bits=2, pipeline=2),
        make("posit<6,1>", result="posit<6,1>", rounding=RoundingMode.STOCHASTIC, random_bits=4, pipeline=5),
    ], tmp_path, cycles=30, minimum=150)


@pytest.mark.slow
def test_lanes_widths_and_pipelines(tmp_path):
    check([
        *(make("float6_e2m3fn", result="float8_e4m3fn", pipeline=pipeline) for pipeline in (1, 3, 5)),
        *(make("float4_e2m1fn", lanes=lanes, terms=2 * lanes, pipeline=lanes % 3) for lanes in (1, 2, 5)),
        make("float6_e3m2fn", lanes=3, pipeline=1), make("int4", lanes=4, accumulator_width=20),
        make("float6_e3m2fn", accumulator_width=71), make("float8_e4m3fn", hard_multiplier=True),
    ], tmp_path, cycles=30, minimum=150)


@pytest.mark.slow
def test_every_structure(tmp_path):
    check([make(*names, structure=structure, pipeline=pipeline, lanes=lanes)
           for names, pipeline, lanes in ((("float6_e3m2fn",), 0, None), (("float4_e2m1fn", "float8_e5m2"), 1, 2),
                                          (("posit<6,1>", "int4", "posit<8,0>"), 2, None), (("uint3", "int4"), 0, 3))
           for structure in ExactMultiplyAccumulator.structures(make(*names, lanes=lanes).model)],
          tmp_path, cycles=30, minimum=150)


def extremes(port, count, rng):
    """The largest magnitudes of a format, so that sums of too many terms wrap."""
    low, high = port.format.encode(port.format.min_finite), port.format.encode(port.format.max_finite)
    return np.where(rng.random(count) < 0.95, high, low).astype(np.uint64)


def test_sums_of_too_many_terms_wrap_as_the_reference_does(tmp_path):
    check([make("int4", terms=2), make("float4_e2m1fn", terms=3), make("posit<6,0>", terms=1),
           make("float4_e2m1fn", result="float8_e4m3fn", terms=2)], tmp_path, codes=extremes)


def test_the_code_that_a_narrow_range_leaves_out(tmp_path):
    """Times the largest power of two, it is one beyond what the other codes need."""
    check([make("int4:narrow_range=true", "minifloat_e3m0"), make("int4:narrow_range=true", result="float16", lanes=2),
           make("int4:narrow_range=true", "float4_e2m1fn", "int6", c="int4:narrow_range=true")], tmp_path,
          codes=lambda port, count, rng: np.where(
              (rng.random((count, port.lanes or 1)) < 0.8).reshape(count, *(() if port.lanes is None else (-1,))),
              port.format.encode(port.format.min_finite) - (hasattr(port.format, "narrow_range")),
              random_codes(port, count, rng)).astype(np.uint64))


def test_every_pair_of_small_operands(tmp_path):
    components = [make("float4_e2m1fn", terms=1), make("int4", terms=1), make("float4_e2m1fn", result="float4_e2m1fn"),
                  make("posit<4,1>", result="posit<4,1>"), make("int4", "float4_e2m1fn", terms=1)]
    counter = {"a": 0, "b": 0}

    def every_pair(port, count, rng):
        # Ports are asked for in order: a, then b. Lane k holds pair k, throughout.
        lane = np.arange(count, dtype=np.uint64)
        counter["a"] ^= 1
        return lane & np.uint64(15) if counter["a"] else lane >> np.uint64(4)

    check(components, tmp_path, lanes=256, cycles=12, codes=every_pair, minimum=256)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "dlfloat8",
                                  "posit<8,0>", "posit<8,1>", "posit<8,2>", "int8", "uint8", "p3109_k8p3se"])
def test_eight_bit_formats_in_every_mode(name, tmp_path):
    check([make(name, result=name, rounding=mode, random_bits=3 if mode is RoundingMode.STOCHASTIC else 0, c=name)
           for mode in RoundingMode], tmp_path, lanes=256, cycles=150, minimum=6_000)


@pytest.mark.parametrize("pipeline", [0, 1, 4])
def test_amaranth_simulator_agrees_and_latency_is_as_stated(pipeline):
    component = ExactMultiplyAccumulator(E2M1, None, E4M3, terms=8, pipeline=pipeline)
    rng = random.Random(pipeline)
    transfers = [{"a": rng.randrange(16), "b": rng.randrange(16), "first": rng.random() < 0.3,
                  "last": rng.random() < 0.4} for _ in range(150)]
    want, got, asked, given = component.model.results(transfers), [], [], []

    async def put(ctx):
        for index, transfer in enumerate(transfers):
            while index >= 75 and rng.random() < 0.3:  # the first half flows freely, to count cycles
                await ctx.tick()
            ctx.set(component.i.payload, transfer)
            ctx.set(component.i.valid, 1)
            cycle, *_ = await ctx.tick().sample(cycles).until(component.i.ready)
            if transfer["last"] and index < 60:
                asked.append(cycle)
            ctx.set(component.i.valid, 0)

    async def take(ctx):
        while len(got) < len(want):
            ctx.set(component.o.ready, len(got) < len(asked) or rng.random() < 0.6)
            _, _, cycle, ready, valid, payload = await ctx.tick().sample(
                cycles, component.o.ready, component.o.valid, component.o.payload)
            if ready and valid:
                given.append(cycle)
                got.append(payload.o)

    from amaranth.hdl import Module, Signal
    m, cycles = Module(), Signal(16)
    m.submodules.component = component
    m.d.sync += cycles.eq(cycles + 1)
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(put)
    simulator.add_testbench(take)
    simulator.run()
    assert got == want
    assert component.latency == 2 + pipeline
    assert given[:len(asked)] == [cycle + component.latency for cycle in asked]


@pytest.mark.parametrize("parameters", [{}, {"result": "float8_e4m3fn", "c": "int8", "lanes": 2, "pipeline": 4}])
def test_elaborating_twice_gives_the_same(parameters):
    component = make("float8_e5m2", **parameters)
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second


def test_sum_alone_has_flags_where_the_formats_need_them():
    layouts = {name: list(ExactSum(ExactMultiplyAccumulate(a=parse(name), b=INT4, result=INT4, terms=4)).state.shape()
                          .members) for name in ("int8", "float8_e4m3fn", "float8_e5m2", "posit<8,0>")}
    assert layouts == {"int8": ["sum"], "float8_e4m3fn": ["sum", "nan"], "posit<8,0>": ["sum", "nan"],
                       "float8_e5m2": ["sum", "nan", "above", "below"]}


def test_properties():
    component = make("float8_e4m3fn", "int4", "int8", c="int8", lanes=2, terms=10, accumulator_width=60, random_bits=3,
                     rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.WRAP, pipeline=2, hard_multiplier=True)
    assert (component.model.a, component.model.b, component.model.result) == (E4M3, INT4, parse("int8"))
    assert (component.model.rounding, component.model.overflow) == (RoundingMode.STOCHASTIC, OverflowPolicy.WRAP)
    assert (component.model.random_bits, component.pipeline, component.latency) == (3, 2, 4)
    assert component.hard_multiplier is True
    assert component.structure is ExactStructure.INVERT_EARLY
    assert make("int8").structure is ExactStructure.INVERT_LATE
    assert make("int4", lanes=2).structure is ExactStructure.PAIRS
    assert make("float8_e4m3fn", structure=ExactStructure.TABLES).structure is ExactStructure.TABLES
    assert component.model == ExactMultiplyAccumulate(
        a=E4M3, b=INT4, result=parse("int8"), c=parse("int8"), lanes=2, terms=10, rounding=RoundingMode.STOCHASTIC,
        overflow=OverflowPolicy.WRAP, random_bits=3, accumulator_width=60)
    assert list(component.i.payload.shape().members) == ["a", "b", "c", "first", "last", "random"]
    assert make("int8").model.b == parse("int8")
    assert make("int8").model.result is None


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    (("float8_e4m3fn",), {}, TypeError, r"Format a must be a .* not 'float8_e4m3fn'; write sw\.formats\.parse\("),
    ((E4M3, 8), {}, TypeError, r"Format b must be a .* not 8$"),
    ((E4M3, E4M3, "e4m3"), {}, TypeError, r"Result format must be a .* not 'e4m3'"),
    ((E4M3,), {"c": 1}, TypeError, r"Preload format must be a .* not 1$"),
    ((E4M3,), {"terms": 0}, ValueError, "Term count must be at least 1 product, not 0"),
    ((E4M3,), {"accumulator_width": 40}, ValueError, "Accumulator width must be at least 41 bits for 16 products"),
    ((E4M3,), {"lanes": 20}, ValueError, "Lane count must be between 1 and the 16 terms of a sum, not 20"),
    ((E4M3, E4M3, E4M3), {"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity"),
    ((E4M3,), {"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ((E4M3,), {"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
    ((E4M3,), {"structure": "tables"}, TypeError, "Structure must be an ExactStructure, not 'tables'"),
    ((INT4,), {"structure": ExactStructure.TABLES}, ValueError,
     "Structure must be one that suits the operands, .*, not ExactStructure.TABLES"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=message):
        ExactMultiplyAccumulator(*arguments, **{"terms": 16, **parameters})
