# amaranth: UnusedElaboratable=no
import random
import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.arith.khot_multiply import KHotMultiplier, KHotStructure
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.khot import KHotMultiplication
from sw.reference.khot_weights import KHotWeights
from tests.support import gates
from tests.support.lanes import all_inputs, assert_delayed, assert_right, random_inputs
from tests.support.sampling import sampled

INT8, INT12 = parse("int8"), parse("int12")


def in_both_structures(x, **parameters):
    return [KHotMultiplier(parse(x), structure=structure, **parameters) for structure in KHotStructure]


def test_every_product_of_small_operands(tmp_path):
    cases = [("int4", 1, 0), ("int4", 1, 1), ("int4", 1, 2), ("int4", 1, 7), ("uint4", 2, 2), ("int3", 2, 3),
             ("int5", 2, 1), ("int1", 2, 3), ("uint1", 2, 3), ("uint2", 3, 2), ("int6", 1, 12)]
    assert_right([multiplier for x, hot, max_shift in cases
                  for multiplier in in_both_structures(x, hot=hot, max_shift=max_shift)], tmp_path, all_inputs)


@sampled("result", ["int5", "fixed<6,2>", "uint6", "float6_e3m2fn", "posit<6,1>", "dlfloat8",
                    "radix4_fp4_even", "float8_e8m0fnu"], 3)
def test_every_kind_of_result_in_every_rounding_mode(result, tmp_path):
    assert_right([KHotMultiplier(parse("fixed<4,1>"), hot=1, max_shift=3, weight_fraction_bits=1, result=parse(result),
                                 rounding=mode, random_bits=2 if mode is RoundingMode.STOCHASTIC else 0)
                  for mode in RoundingMode], tmp_path, all_inputs)


@pytest.mark.parametrize("overflow", [OverflowPolicy.WRAP, OverflowPolicy.SATURATE_SYMMETRIC, OverflowPolicy.SATURATE])
def test_overflow_policies(overflow, tmp_path):
    assert_right(in_both_structures("int4", hot=2, max_shift=3, result=parse("int5"), overflow=overflow), tmp_path,
                 all_inputs)


def test_wide_operands_on_random_products(tmp_path):
    multipliers = [multiplier for hot in (1, 3) for multiplier in in_both_structures("int12", hot=hot, max_shift=11)]
    multipliers.append(KHotMultiplier(parse("fixed<20,9>"), hot=2, max_shift=20, result=parse("bfloat16")))
    assert_right(multipliers, tmp_path, lambda model: random_inputs(model, 20_000, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("hot", [1, 2, 3, 4, 5, 6, 7, 8, 16])
def test_many_random_products(hot, tmp_path):
    assert_right(in_both_structures("int16", hot=hot, max_shift=15), tmp_path,
                 lambda model: random_inputs(model, 500_000, seed=hot))


@pytest.mark.parametrize("result", [None, "fixed<9,4>", "e4m3"])
def test_pipeline_delays_every_result_by_its_latency(result, tmp_path):
    result = None if result is None else parse(result)
    assert_delayed([KHotMultiplier(INT8, hot=2, max_shift=7, result=result, pipeline=pipeline, random_bits=4,
                                   rounding=RoundingMode.STOCHASTIC) for pipeline in (1, 2, 4)], tmp_path)


class ByConstant(wiring.Component):
    """A product with a weight that is tied to constants."""

    def __init__(self, weights, integer):
        self._weights, self._integer = weights, integer
        self.multiplier = KHotMultiplier(INT12, hot=weights.hot, max_shift=weights.max_shift)
        super().__init__({"x": In(12), "o": Out(self.multiplier.model.exact.width)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self.multiplier
        for name, codes in self._weights.ports([self._integer]).items():
            for digit, code in enumerate(codes[0].tolist()):
                m.d.comb += getattr(multiplier, name)[digit].eq(code)
        m.d.comb += [multiplier.x.eq(self.x), self.o.eq(multiplier.o)]
        return m


def test_shifters_of_a_constant_weight_are_wires(tmp_path):
    weights = KHotWeights(format=INT12, hot=2)
    power, sum_, free = gates.build([ByConstant(weights, 64), ByConstant(weights, 65),
                                     KHotMultiplier(INT12, hot=2, max_shift=11)], tmp_path)
    # A full adder of generic gates is five: those of the sum's places, and its carry.
    assert len(sum_) < 26 * 10 < len(free)
    codes = np.arange(1 << 12)
    signed = codes - (codes >> 11 << 12)
    for circuit, weight in ((power, 64), (sum_, 65)):
        got = circuit.run(x=codes).astype(np.int64)
        width = KHotMultiplication(x=INT12, hot=2, max_shift=11).exact.width
        assert (got - (got >> (width - 1) << width) == signed * weight).all()


@pytest.mark.parametrize("pipeline", [0, 2])
def test_amaranth_simulator_agrees(pipeline):
    multiplier, rng = KHotMultiplier(INT8, hot=2, max_shift=6, pipeline=pipeline), random.Random(pipeline)
    calls = [(rng.randrange(256), *([rng.randrange(limit) for _ in range(2)] for limit in (7, 2, 2)))
             for _ in range(100)]

    async def testbench(ctx):
        for cycle, (x, shift, negative, enable) in enumerate(calls):
            ctx.set(multiplier.x, x)
            for name, codes in (("shift", shift), ("negative", negative), ("enable", enable)):
                for digit, code in enumerate(codes):
                    ctx.set(getattr(multiplier, name)[digit], code)
            if cycle >= pipeline:
                given = calls[cycle - pipeline]
                assert ctx.get(multiplier.o) == multiplier.model(*given), (cycle, given)
            await (ctx.tick() if pipeline else ctx.delay(1e-6))

    simulator = Simulator(multiplier)
    if pipeline:
        simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("structure", KHotStructure)
def test_elaborating_twice_gives_the_same(structure):
    multiplier = KHotMultiplier(INT8, hot=2, max_shift=7, pipeline=3, structure=structure)
    first, second = (rtlil.convert(multiplier, emit_src=False) for _ in range(2))
    assert first == second
    assert not re.search(r"(connect|switch|assign).*\\rst", first)  # registers have no reset


def test_properties():
    multiplier = KHotMultiplier(INT8, hot=2, max_shift=5, weight_fraction_bits=5, result=INT8, pipeline=2,
                                rounding=RoundingMode.STOCHASTIC, overflow=OverflowPolicy.WRAP, random_bits=3)
    assert multiplier.model == KHotMultiplication(
        x=INT8, hot=2, max_shift=5, weight_fraction_bits=5, result=INT8, rounding=RoundingMode.STOCHASTIC,
        overflow=OverflowPolicy.WRAP, random_bits=3)
    assert (multiplier.pipeline, multiplier.latency, multiplier.structure) == (2, 2, KHotStructure.SHIFT_AND_ADD)
    assert (len(multiplier.x), len(multiplier.random), len(multiplier.o)) == (8, 3, 8)
    assert [len(Value.cast(getattr(multiplier, name))) for name in ("shift", "negative", "enable")] == [6, 2, 2]
    assert KHotMultiplier(INT8, hot=4, max_shift=7).structure is KHotStructure.RECODE


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"hot": 0}, ValueError, "Hot digit count K must be between 1 and 4, the digits of a weight, not 0"),
    ({"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ({"pipeline": "2"}, TypeError, "Pipeline must be an integer, not '2'"),
    ({"structure": "recode"}, TypeError, "Structure must be a KHotStructure, not 'recode'"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        KHotMultiplier(INT8, **{"hot": 2, "max_shift": 3} | parameters)
