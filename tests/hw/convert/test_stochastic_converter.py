# amaranth: UnusedElaboratable=no
"""The stochastic converter: the law of Gupta et al. 2015 on the circuit, and its streams under stalls."""

import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.sim import Simulator

from hw.convert.converter import ConverterStructure
from hw.convert.stochastic_converter import StochasticConverter
from sw.formats import FixedPointFormat, OverflowPolicy, parse
from sw.reference.stochastic_convert import StochasticConversion


def transfers(component, codes, *, seed=0, stalls=0.4, reset_at=None):
    """Send codes with random stalls on both sides; return what comes out, and check the rules of streams."""
    rng, got, reset = random.Random(seed), [], Signal()

    async def send(ctx):
        for index, code in enumerate(codes):
            if index == reset_at:
                while len(got) < index:
                    await ctx.tick()
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
            while rng.random() < stalls:
                await ctx.tick()
            ctx.set(component.i.payload.a, code)
            ctx.set(component.i.valid, 1)
            await ctx.tick().until(component.i.ready)
            ctx.set(component.i.valid, 0)
            ctx.set(component.i.payload.a, rng.randrange(1 << component.model.a.width))

    async def receive(ctx):
        waiting = None
        while len(got) < len(codes):
            ready = rng.random() >= stalls
            ctx.set(component.o.ready, ready)
            _, _, valid, code = await ctx.tick().sample(component.o.valid, component.o.payload.o)
            assert waiting is None or (valid and code == waiting), "a result left before it was taken"
            waiting = code if valid and not ready else None
            if valid and ready:
                got.append(code)

    simulator = Simulator(ResetInserter(reset)(component))
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    return got


def expected(model, codes):
    """Return the definition's results."""
    return [transfer["o"] for transfer in model.results({"a": code} for code in codes)]


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_exactly_r_states_of_the_period_round_a_residue_of_r_up(bits):
    """Whole periods of one residue after the other, on the circuit: P(up) = r / (2**n - 1)."""
    component = StochasticConverter(FixedPointFormat(width=bits + 2, fraction_bits=bits, signed=False),
                                    FixedPointFormat(width=2, signed=False), random_bits=bits)
    period = (1 << bits) - 1
    codes = [(1 << bits) + residue for residue in range(1 << bits) for _ in range(period)]
    got = transfers(component, codes, stalls=0)
    assert set(got) <= {1, 2}
    for residue in range(1 << bits):
        assert got[residue * period:(residue + 1) * period].count(2) == residue


@pytest.mark.parametrize("pipeline", [0, 1, 2, 3, 5])
@pytest.mark.parametrize(("a", "result", "parameters"), [
    ("float8_e5m2", "fixed<6,2>", {"random_bits": 4, "seed": 9}),
    ("fixed<8,4>", "int3", {"random_bits": 1, "overflow": OverflowPolicy.WRAP}),
    ("float8_e4m3fn", "float4_e2m1fn", {"random_bits": 6, "lfsr_bits": 16, "seed": 0xACE1}),
])
def test_streams_keep_order_under_stalls(a, result, parameters, pipeline):
    component = StochasticConverter(parse(a), parse(result), pipeline=pipeline, **parameters)
    assert component.latency == component.pipeline == pipeline
    codes = [random.Random(pipeline).randrange(256) for _ in range(60)]
    codes = codes[:20] + list(range(40, 80))
    assert transfers(component, codes, seed=pipeline) == expected(component.model, codes)


@pytest.mark.parametrize("pipeline", [0, 2])
def test_reset_restores_the_seed(pipeline):
    component = StochasticConverter(parse("ufixed<6,4>"), parse("uint2"), random_bits=4, seed=11, pipeline=pipeline)
    codes = [24] * 40
    got = transfers(component, codes, reset_at=17)
    assert got == expected(component.model, codes[:17]) + expected(component.model, codes[17:])


def test_a_code_takes_the_latency_where_nothing_stalls():
    component = StochasticConverter(parse("float8_e5m2"), parse("float8_e4m3fn"), random_bits=3, pipeline=3)

    async def testbench(ctx):
        ctx.set(component.o.ready, 1)
        ctx.set(component.i.valid, 1)
        for cycle in range(10):
            assert ctx.get(component.o.valid) == (cycle >= 3)
            assert ctx.get(component.i.ready)
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("pipeline", [0, 3])
def test_elaborating_twice_gives_the_same(pipeline):
    component = StochasticConverter(parse("float16"), parse("float8_e4m3fn"), random_bits=8, pipeline=pipeline)
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second


def test_properties():
    e5m2, e4m3 = parse("float8_e5m2"), parse("float8_e4m3fn")
    component = StochasticConverter(e5m2, e4m3, random_bits=4, lfsr_bits=9, seed=3, pipeline=1,
                                    overflow=OverflowPolicy.INFINITY, structure=ConverterStructure.NORMALISE_RESULT)
    assert component.structure is ConverterStructure.NORMALISE_RESULT
    assert component.model == StochasticConversion(a=e5m2, result=e4m3, random_bits=4, lfsr_bits=9, seed=3,
                                                   overflow=OverflowPolicy.INFINITY)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"a": "e4m3"}, TypeError, r"Format a must be a .* not 'e4m3'; write sw\.formats\.parse\("),
    ({"result": 8}, TypeError, r"Result format must be a .* not 8$"),
    ({"random_bits": 0}, ValueError, "Random bit count must be between 1 and 64 for stochastic rounding, not 0"),
    ({"lfsr_bits": 3}, ValueError, "LFSR bits must be between 4 and 64 for 4 random bits, not 3"),
    ({"seed": 0}, ValueError, "LFSR seed must be above 0, the state that it never leaves, not 0"),
    ({"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ({"structure": "rom"}, TypeError, "Structure must be a ConverterStructure, not 'rom'"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        StochasticConverter(**{"a": parse("float8_e5m2"), "result": parse("float8_e4m3fn"), "random_bits": 4,
                               **parameters})
