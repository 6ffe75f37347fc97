# amaranth: UnusedElaboratable=no
"""The systolic array as gates, with stalls and resets; and its cycles, counted."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.dot import systolic_array
from hw.dot.systolic_array import SystolicArray
from sw.formats import RoundingMode, parse
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.multiply import Multiplication
from sw.reference.systolic import SystolicArray as SystolicArrayModel
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right
from tests.support.sampling import sampled

INT4, INT8, UINT3, FP4, FP6 = (parse(name) for name in ("int4", "int8", "uint3", "e2m1", "e3m2"))
STOCHASTIC = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 3}
PLAIN = MultiplyAccumulate(a=INT4, b=INT4, result=parse("int6"), terms=4)
RANDOM = MultiplyAccumulate(a=INT4, b=UINT3, result=parse("fixed<5,-3>"), terms=8, **STOCHASTIC)
PRELOAD = MultiplyAccumulate(a=INT4, b=UINT3, result=parse("fixed<5,-2>"), c=parse("int6"), terms=8, **STOCHASTIC)
EXACT = ExactMultiplyAccumulate(a=FP4, b=FP6, result=parse("e4m3"), terms=4)
CHUNKED = ChunkedMultiplyAccumulate(a=FP4, b=FP4, accumulator=parse("e4m2"), chunk=2, result=FP6)
CHUNKED_STOCHASTIC = ChunkedMultiplyAccumulate(a=FP4, b=FP4, accumulator=parse("e4m2"), chunk=3, **STOCHASTIC)


def assert_all_right(components, folder, cycles=48, rates=({},)):
    for seed, (component, circuit) in enumerate(zip(components, gates.build(components, folder), strict=True)):
        print(component.model, component.pipeline, component.hard_multiplier)  # pytest shows it beside a failure
        for chosen in rates:
            compared = assert_streams_right(component, circuit, lanes=96, cycles=cycles, seed=seed, reset_rate=0.01,
                                            **chosen)
            assert compared > 100


def test_fixed_point_cells(tmp_path):
    assert_all_right([SystolicArray(PLAIN, 1), SystolicArray(PLAIN, 2, pipeline=1), SystolicArray(PLAIN, 3, pipeline=2),
                      SystolicArray(PLAIN, 2, pipeline=5, hard_multiplier=True), SystolicArray(PRELOAD, 2, pipeline=2),
                      SystolicArray(RANDOM, 2)], tmp_path)


def test_exact_cells(tmp_path):
    with_infinities = ExactMultiplyAccumulate(a=parse("e5m2"), b=FP4, result=parse("e5m2"), terms=4, **STOCHASTIC)
    posits = ExactMultiplyAccumulate(a=parse("posit<5,1>"), b=parse("posit<5,1>"), result=parse("posit<6,1>"), terms=4)
    assert_all_right([SystolicArray(EXACT, 2, pipeline=2), SystolicArray(posits, 1, pipeline=1),
                      SystolicArray(with_infinities, 1, pipeline=4, lfsr_bits=7)], tmp_path, cycles=40)


@pytest.mark.slow
def test_chunked_cells(tmp_path):
    assert_all_right([SystolicArray(CHUNKED, 1, pipeline=2), SystolicArray(CHUNKED_STOCHASTIC, 2)], tmp_path)


def test_every_rounding_unit_draws_from_its_own_register(tmp_path):
    components = [SystolicArray(RANDOM, size, lfsr_bits=width, seeds=seeds, pipeline=pipeline)
                  for size, width, seeds, pipeline in ((2, 3, (1, 6), 0), (3, 9, None, 1), (2, 16, (5, 40000), 3))]
    assert_all_right(components, tmp_path)


@pytest.mark.slow
def test_shallow_products_one_after_the_other(tmp_path):
    """``last`` more often than every ``size`` cycles: transfers have to wait, and nothing is lost."""
    assert_all_right([SystolicArray(PLAIN, 3), SystolicArray(RANDOM, 3, pipeline=2, lfsr_bits=5)], tmp_path, cycles=64,
                     rates=({"flag_rate": 0.8}, {"flag_rate": 0.8, "valid_rate": 1.0, "ready_rate": 1.0}))


@pytest.mark.slow
def test_a_large_array(tmp_path):
    cell = MultiplyAccumulate(a=INT8, b=INT8, result=INT8, accumulator=parse("int24"))
    assert_all_right([SystolicArray(cell, 6, pipeline=2)], tmp_path, cycles=200, rates=({"flag_rate": 0.1},))


def simulate(component, a, b, *, products=1, stall=0.0, seed=0):
    """Multiply matrices of codes in Amaranth's simulator.

    Returns
    -------
    tuple of (array, list of int, list of int)
        The rows of results; the cycles in which they came, and those in which the transfers were taken. Cycle 1 is the
        one in which the first transfer was.
    """
    rng, size, depth = np.random.default_rng(seed), component.size, a.shape[1]
    rows, cycles, taken = [], [], []

    async def source(ctx):
        for k in range(depth * products):
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(component.i.payload, {"a": a[:, k % depth].tolist(), "b": b[k % depth].tolist(),
                                          "first": k % depth == 0, "last": k % depth == depth - 1})
            ctx.set(component.i.valid, 1)
            await ctx.tick().until(component.i.ready)
            ctx.set(component.i.valid, 0)

    async def sink(ctx):
        cycle = 0
        while len(rows) < size * products:
            ctx.set(component.o.ready, rng.random() >= stall)
            *_, took, came, payload = await ctx.tick().sample(
                component.i.valid & component.i.ready, component.o.valid & component.o.ready, component.o.payload.o)
            cycle += 1
            taken.extend([cycle] * took)
            if came:
                rows.append(list(payload))
                cycles.append(cycle)

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run_until(1e-6 * 40 * (size + depth) * products)
    assert len(rows) == size * products
    return np.array(rows), [cycle - taken[0] + 1 for cycle in cycles], [cycle - taken[0] + 1 for cycle in taken]


def matrices(size, depth, seed):
    rng = np.random.default_rng([size, depth, seed])
    return rng.integers(0, 16, (size, depth)), rng.integers(0, 16, (depth, size))


@pytest.mark.parametrize("pipeline", [0, 1, 3])
@pytest.mark.parametrize(("size", "depth"), [(1, 1), (1, 5), (2, 1), (2, 7), (3, 2), (3, 3), (4, 9), (5, 4)])
def test_the_last_row_comes_in_the_cycle_after_the_last_accumulation(size, depth, pipeline):
    """``K + 2n - 2`` cycles to the last accumulation, one more, and the registers asked for."""
    cell = MultiplyAccumulate(a=INT4, b=INT4, result=parse("int12"), terms=9)
    component = SystolicArray(cell, size, pipeline=pipeline)
    a, b = matrices(size, depth, pipeline)
    rows, cycles, taken = simulate(component, a, b)
    last_accumulation = depth + 2 * size - 2
    assert taken == list(range(1, depth + 1)), "a transfer had to wait"
    assert cycles[-1] == last_accumulation + 1 + pipeline
    assert cycles == list(range(cycles[-1] - size + 1, cycles[-1] + 1)), "the drain takes one cycle a row"
    assert cycles[0] == taken[-1] + component.latency
    np.testing.assert_array_equal(rows, component.model.multiply(a, b))


@pytest.mark.parametrize(("size", "depth"), [(2, 2), (2, 3), (3, 8), (4, 4)])
def test_products_follow_each_other_without_a_gap(size, depth):
    component = SystolicArray(MultiplyAccumulate(a=INT4, b=INT4, result=parse("int12"), terms=9), size)
    a, b = matrices(size, depth, 2)
    rows, cycles, taken = simulate(component, a, b, products=4)
    assert taken == list(range(1, 4 * depth + 1))
    assert cycles[::size] == [(index + 1) * depth + component.latency for index in range(4)]
    np.testing.assert_array_equal(rows, np.tile(component.model.multiply(a, b), (4, 1)))


def test_the_last_cell_adds_its_last_product_in_cycle_k_plus_2n_minus_2(monkeypatch):
    size, depth, cells = 3, 4, []
    make = systolic_array._Array._cell
    monkeypatch.setattr(systolic_array._Array, "_cell", lambda self: cells.append(make(self)) or cells[-1])
    component = SystolicArray(MultiplyAccumulate(a=INT4, b=INT4, result=parse("int12"), terms=9), size)
    simulator, sums = Simulator(component), []
    assert len(cells) == size**2
    _, last_sum = cells[-1]

    async def bench(ctx):
        ctx.set(component.o.ready, 1)
        for cycle in range(1, depth + 2 * size):
            ctx.set(component.i.valid, cycle <= depth)
            ctx.set(component.i.payload, {"a": [1] * size, "b": [1] * size, "first": cycle == 1,
                                          "last": cycle == depth})
            await ctx.tick()
            sums.append(ctx.get(last_sum))

    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    # Every product is 1, so that the sum changes with each of them.
    changed = [cycle for cycle, (before, now) in enumerate(zip([0, *sums], sums, strict=False), start=1)
               if before != now]
    assert changed == list(range(2 * size - 1, depth + 2 * size - 1))
    assert changed[-1] == depth + 2 * size - 2


@sampled("cell", [PLAIN, EXACT, CHUNKED], 1)
def test_stalls_change_no_result(cell):
    component = SystolicArray(cell, 3, pipeline=1)
    a, b = matrices(3, 4, 9)
    want = np.tile(component.model.multiply(a, b), (3, 1))
    for stall in (0.0, 0.3, 0.7):
        rows, _, _ = simulate(component, a, b, products=3, stall=stall, seed=4)
        np.testing.assert_array_equal(rows, want)


def test_elaborating_twice_gives_the_same():
    for component in (SystolicArray(PRELOAD, 2, pipeline=2), SystolicArray(RANDOM, 2, lfsr_bits=5),
                      SystolicArray(EXACT, 2)):
        assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = SystolicArray(RANDOM, 3, lfsr_bits=9, pipeline=4, hard_multiplier=True)
    assert component.model == SystolicArrayModel(cell=RANDOM, size=3, lfsr_bits=9)
    assert (component.size, component.pipeline, component.hard_multiplier, component.latency) == (3, 4, True, 7)
    assert (SystolicArray(EXACT, 1).latency, SystolicArray(CHUNKED, 2).latency) == (2, 4)


@pytest.mark.parametrize(("arguments", "parameters", "error", "message"), [
    ((Multiplication(a=INT4, b=INT4, result=INT4), 2), {}, TypeError,
     "ChunkedMultiplyAccumulate to be built, not Multiplication("),
    ((PLAIN, 0), {}, ValueError, "Array size must be between 1 and 64 rows, not 0"),
    ((PLAIN, 2), {"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ((PLAIN, 2), {"hard_multiplier": "yes"}, TypeError, "Hard multiplier must be True or False, not 'yes'"),
    ((PLAIN, 2), {"lfsr_bits": 4}, ValueError, "LFSR bits must be left out unless the cell rounds stochastically"),
])
def test_wrong_parameters(arguments, parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SystolicArray(*arguments, **parameters)
