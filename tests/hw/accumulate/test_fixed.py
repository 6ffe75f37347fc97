# amaranth: UnusedElaboratable=no
"""The fixed-point multiply-accumulator as gates, in Amaranth's simulator, and as netlists with DSP blocks."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.accumulate.fixed import FixedSum, MultiplyAccumulator
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.mac import MultiplyAccumulate
from synth.flow import elaborate, synthesize
from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.store import Store
from synth.targets import TARGETS
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right
from tests.support.multipliers import policies
from tests.support.sampling import sampled

INT4, INT8, UINT4 = parse("int4"), parse("int8"), parse("uint4")


def describe(component):
    return f"{component.model}, pipeline {component.pipeline}, hard_multiplier {component.hard_multiplier}"


def assert_all_right(components, folder, rates=({},), platform=None):
    circuits = gates.build(components, folder, platform=platform)
    for seed, (component, circuit) in enumerate(zip(components, circuits, strict=True)):
        print(describe(component))  # pytest shows it beside a failure
        for chosen in rates:
            compared = assert_streams_right(component, circuit, lanes=128, cycles=48, seed=seed, reset_rate=0.02,
                                            **chosen)
            assert compared > 100


def cast_to(result, mode, policy):
    return MultiplyAccumulator(parse("fixed<4,2>"), parse("fixed<3,1>"), result, terms=3, rounding=mode,
                               overflow=policy, random_bits=2 if mode is RoundingMode.STOCHASTIC else 0)


def test_each_rounding_mode_and_each_overflow_policy(tmp_path):
    """All pairs of them are tried on :func:`hw.convert.integer.encode_integer` itself, and by the slow test."""
    result = parse("fixed<5,1>")
    some = policies(result)
    assert_all_right([cast_to(result, mode, some[index % len(some)]) for index, mode in enumerate(RoundingMode)],
                     tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("result", ["fixed<5,1>", "ufixed<4,0>", "fixed<6,4>:narrow_range=true", "fixed<12,5>"])
def test_every_pair_of_a_rounding_mode_and_an_overflow_policy(result, tmp_path):
    result = parse(result)
    assert_all_right([cast_to(result, mode, policy) for mode in RoundingMode for policy in policies(result)], tmp_path)


@pytest.mark.parametrize("hard_multiplier", [False, True])
@pytest.mark.slow
def test_operands_preloads_registers_and_pipelines(hard_multiplier, tmp_path):
    random = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 3}
    cases = [
        ((INT8,), {"terms": 8}), ((UINT4,), {"terms": 100}), ((INT4, UINT4, parse("int6")), {"terms": 4, **random}),
        ((UINT4, INT4, parse("fixed<5,-3>")), {"accumulator": parse("int6")}),
        ((INT4,), {"terms": 4, "c": parse("int6")}), ((UINT4,), {"terms": 4, "c": parse("int7")}),
        ((parse("fixed<4,2>"), INT4, parse("fixed<9,3>")), {"terms": 9, "c": parse("fixed<5,-1>"), **random}),
        ((parse("int1"), parse("uint1"), parse("int3")), {"terms": 3}),
        ((INT8, INT8, parse("int4")), {"accumulator": parse("int3"), "overflow": OverflowPolicy.SATURATE_ZERO}),
    ]
    assert_all_right([MultiplyAccumulator(*formats, **parameters, pipeline=pipeline, hard_multiplier=hard_multiplier)
                      for formats, parameters in cases
                      for pipeline in ((0, 3) if hard_multiplier else (0, 1, 5))], tmp_path)


class Board:
    """A platform that names its family alone."""

    def __init__(self, family):
        self.narrowgauge_family = family


@sampled("family", ["ice40", "ecp5", "xc7"], 1)
def test_what_a_sum_starts_from_in_the_forms_of_families(family, tmp_path):
    components = [MultiplyAccumulator(*formats, terms=9, pipeline=pipeline)
                  for formats in ((INT4,), (UINT4,), (INT4, UINT4, parse("int6"))) for pipeline in (0, 1)]
    components += [MultiplyAccumulator(INT4, terms=9, c=parse(c), pipeline=pipeline)
                   for c in ("int6", "fixed<5,-1>") for pipeline in (0, 1, 3)]
    assert_all_right(components, tmp_path, platform=Board(family))


def test_running_sums_and_dropped_sums(tmp_path):
    """``last`` on nearly every pair, and ``first`` on nearly every one."""
    components = [MultiplyAccumulator(INT4, result=parse("int6"), terms=50, pipeline=pipeline) for pipeline in (0, 2)]
    assert_all_right(components, tmp_path, rates=({"flag_rate": 0.9},
                                                  {"flag_rate": 0.9, "valid_rate": 1.0, "ready_rate": 1.0}))


def drive(component, transfers, *, stall=0.0, seed=0):
    """Feed transfers to a component in Amaranth's simulator; return its results and the cycles in which they came."""
    rng, results, cycles = np.random.default_rng(seed), [], []
    wanted = sum(transfer["last"] for transfer in transfers)

    async def source(ctx):
        for transfer in transfers:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(component.i.payload, transfer)
            ctx.set(component.i.valid, 1)
            await ctx.tick().until(component.i.ready)
            ctx.set(component.i.valid, 0)

    async def sink(ctx):
        cycle, held = 0, None
        while len(results) < wanted:
            ready = rng.random() >= stall
            ctx.set(component.o.ready, ready)
            *_, valid, payload = await ctx.tick().sample(component.o.valid, component.o.payload.o)
            cycle += 1
            if held is not None:
                assert (valid, payload) == (1, held), "a result changed while it waited"
            held = payload if valid and not ready else None
            if valid and ready:
                results.append(payload)
                cycles.append(cycle)

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run_until(1e-6 * 200 * (len(transfers) + 10))
    assert len(results) == wanted
    return results, cycles


@pytest.mark.parametrize("pipeline", [0, 1, 2, 3, 4])
def test_amaranth_s_simulator_agrees_and_the_latency_is_what_it_says(pipeline):
    component = MultiplyAccumulator(INT8, terms=16, c=INT8, pipeline=pipeline)
    rng = np.random.default_rng(pipeline)
    transfers = [{"a": int(rng.integers(256)), "b": int(rng.integers(256)), "c": int(rng.integers(256)),
                  "first": int(k % 5 == 0), "last": int(k % 5 == 4 or k % 7 == 0)} for k in range(60)]
    want = component.model.results(transfers)
    assert drive(component, transfers, stall=0.4)[0] == want
    results, cycles = drive(component, transfers)
    assert results == want
    taken = [k for k, transfer in enumerate(transfers) if transfer["last"]]
    assert [cycle - 1 for cycle in cycles] == [k + component.latency for k in taken]
    assert component.latency == 1 + pipeline


# What one product and its sum take of each family: DSP blocks, and whether the register is in there too.
@pytest.mark.slow
@sampled(("target", "width", "inside"), [
    ("ice40", 32, True), ("xc7", 48, True),
    *(pytest.param(*row, marks=pytest.mark.slow)
      for row in (("ecp5", 32, False), ("gowin", 32, False), ("nexus", 48, False), ("xcup", 48, False)))], 1)
def test_one_dsp_block_holds_a_16_bit_product_and_computes_what_the_reference_does(target, width, inside, tmp_path):
    int16 = parse("int16")
    model = MultiplyAccumulate(a=int16, b=int16, result=int16, accumulator=parse(f"int{width}"))
    mapped = synthesize(elaborate(FixedSum(model, hard_multiplier=True)), TARGETS[target], dsp=True, timeout=300,
                        store=Store(tmp_path / "store", warn=pytest.fail), folder=tmp_path)
    blocks = {kind: count for kind, count in mapped.cells.items() if kind in TARGETS[target].dsps}
    assert sum(blocks.values()) == 1, blocks
    registers = sum(count for kind, count in mapped.cells.items() if kind.startswith(TARGETS[target].flip_flops))
    assert registers == (0 if inside else width)
    assert_sum_right(mapped.document(), model)


class Family:
    """A platform whose blocks take products of at least 9 bits."""

    @staticmethod
    def takes_product(a_width, b_width):
        return a_width + b_width >= 9


@pytest.mark.parametrize(("fmt", "in_block"), [(INT4, False), (INT8, True)])
def test_a_product_too_narrow_for_a_block_is_summed_as_one_of_gates(fmt, in_block):
    model = MultiplyAccumulate(a=fmt, b=fmt, result=fmt, terms=9)
    hard, soft = (elaborate(FixedSum(model, product_registers=1, hard_multiplier=hard), Family()).rtlil
                  for hard in (True, False))
    assert (hard != soft) == in_block


def assert_sum_right(netlist, model):
    lanes, rng = 64, np.random.default_rng(5)
    simulation = NumpyEngine(compile_netlist(read_netlist(netlist))).simulation(lanes)
    totals = np.zeros(lanes, dtype=object)
    for _ in range(60):
        a, b = (np.where(rng.random(lanes) < 0.3, 0x8000, rng.integers(0, 1 << 16, lanes)) for _ in range(2))
        first, last, valid = (rng.random(lanes) < rate for rate in (0.2, 0.5, 0.8))
        simulation.set("valid", valid.astype(np.uint64))
        simulation.set("i", a | b << 16 | first.astype(np.int64) << 32 | last.astype(np.int64) << 33)
        simulation.step("clk")
        products = [(int(x) - (x >> 15 << 16)) * (int(y) - (y >> 15 << 16)) for x, y in zip(a, b, strict=True)]
        totals = np.where(valid, np.where(first, 0, totals) + np.array(products, dtype=object), totals)
        assert simulation.get("state").tolist() == (totals % (1 << model.accumulator.width)).tolist()


def test_elaborating_twice_gives_the_same():
    for parameters in ({}, {"pipeline": 3}, {"hard_multiplier": True, "c": INT4}):
        component = MultiplyAccumulator(INT8, terms=9, **parameters)
        assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = MultiplyAccumulator(INT8, INT4, INT8, terms=9, pipeline=2, hard_multiplier=True)
    assert component.model == MultiplyAccumulate(a=INT8, b=INT4, result=INT8, terms=9)
    assert (component.pipeline, component.hard_multiplier, component.latency) == (2, True, 3)
    core = FixedSum(component.model, product_registers=2, operand_registers=1)
    assert (core.latency, core.model, len(core.state)) == (4, component.model, 15)
    assert MultiplyAccumulator(INT8, terms=1).model.result == INT8


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    ((INT8, INT4), {"terms": 4}, ValueError,
     "Result format must be given for operands of two formats, int8 and int4, not None"),
    (("int8",), {"terms": 4}, TypeError, "not 'int8'; write sw.formats.parse('int8')"),
    ((INT8, "int4"), {"terms": 4}, TypeError, "not 'int4'; write sw.formats.parse('int4')"),
    ((INT8, INT8, parse("e4m3")), {"terms": 4}, TypeError, "Result format must be a FixedPointFormat, not Floating"),
    ((INT8,), {}, ValueError, "Term count must be given where there is no accumulator, not None"),
    ((INT8,), {"terms": 4, "pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ((INT8,), {"terms": 4, "hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        MultiplyAccumulator(*arguments, **parameters)
