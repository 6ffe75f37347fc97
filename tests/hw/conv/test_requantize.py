# amaranth: UnusedElaboratable=no
"""Requantization as gates, over whole ranges of sums where they are few."""

import itertools

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.conv.requantize import Requantize
from sw.formats import parse
from sw.reference.requantize import Requantization
from synth.netlist import Simulation, compile_netlist, read_netlist
from tests.support import gates
from tests.support.clocked_gates import assert_function_right
from tests.support.lanes import joined
from tests.support.mapped import map_component
from tests.support.requantization import telling_inputs

UINT8 = parse("uint8")

SMALL = [{"accumulator": parse("int6"), "scale_bits": 3, "bias_bits": 3, "shift": shift, "result": parse(result),
          "offset": offset, "relu": relu}
         for shift, (result, offset), relu in itertools.product(
             (0, 1, 4), (("int4", -8), ("int4", 0), ("int4", 3), ("uint3", 0), ("uint3", 5)), (False, True))]


def test_every_sum_scale_and_bias_of_few_bits(tmp_path):
    narrow = {"accumulator": parse("int5"), "scale_bits": 4, "shift": 2, "bias_bits": 3,
              "result": parse("int4:narrow_range=true"), "offset": -7}
    components = [Requantize(1, **fields) for fields in (*SMALL, narrow, {**narrow, "relu": True})]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        axes = [np.arange(port.codes, dtype=np.uint64) for port in component.model.inputs.values()]
        grid = np.meshgrid(*axes, indexing="ij")
        inputs = {name: codes.reshape(-1, 1) for name, codes in zip(component.model.inputs, grid, strict=True)}
        assert_function_right(component, circuit, inputs, str(component.model))


def test_the_published_widths(tmp_path):
    components = [Requantize(1), Requantize(2, relu=True, offset=0, hard_multiplier=True),
                  Requantize(1, result=UINT8, offset=7, relu=True),
                  Requantize(1, accumulator=parse("int32"), shift=20, offset=3, hard_multiplier=True)]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        assert_function_right(component, circuit, telling_inputs(component.model, 600, seed=1), str(component.model))


# Blocks for a product of 24 by 17 bits: two in families of 18 bits and less, one of 36 by 18 on Nexus; Gowin's two
# small ones are halves of a large one.
@pytest.mark.parametrize(("target", "blocks"), [
    ("ice40", 2), pytest.param("ecp5", 2, marks=pytest.mark.slow), pytest.param("nexus", 1, marks=pytest.mark.slow),
    pytest.param("gowin", 3, marks=pytest.mark.slow), pytest.param("xc7", 1, marks=pytest.mark.slow),
    pytest.param("xcup", 1, marks=pytest.mark.slow)])
def test_mapped_to_the_dsp_blocks_of_a_family(target, blocks, tmp_path):
    component, vectors = Requantize(1, pipeline=2, hard_multiplier=True), 500
    netlist, cells = map_component(component, target, tmp_path)
    assert cells["dsp"] == blocks
    inputs = telling_inputs(component.model, vectors, seed=4)
    simulation = Simulation(compile_netlist(read_netlist(netlist)), 2 * vectors)
    for name, codes in inputs.items():
        simulation.set(name, codes[:, 0])
    for _ in range(component.latency):
        simulation.step()
    got, want = np.asarray(simulation.get("o")), component.model.evaluate(inputs)["o"][:, 0]
    wrong = np.flatnonzero(got != want)
    assert not len(wrong), [({name: hex(codes[i, 0]) for name, codes in inputs.items()}, got[i], want[i])
                            for i in wrong[:3]]


def test_pipeline_delays_every_result_by_its_latency(tmp_path):
    components, cycles = [Requantize(1, scale_bits=6, shift=6, accumulator=parse("int12"), pipeline=pipeline)
                          for pipeline in (1, 2, 3, 5)], 50
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        latency = component.pipeline
        assert component.latency == latency
        inputs = telling_inputs(component.model, cycles, seed=latency)
        got = circuit.run(cycles, **joined(component.model, inputs))[latency:]
        assert got.tolist() == component.model.evaluate(inputs)["o"][:cycles - latency, 0].tolist()


def test_amaranth_simulator_agrees():
    component = Requantize(1)
    inputs = telling_inputs(component.model, 200, seed=3)

    async def testbench(ctx):
        for codes in zip(*(inputs[name].tolist() for name in ("acc", "scale", "bias")), strict=True):
            for member, value in zip((component.acc, component.scale, component.bias), codes, strict=True):
                ctx.set(member, value)
            await ctx.delay(1e-6)
            assert [ctx.get(component.o[0])] == component.model(*codes), codes

    simulator = Simulator(component)
    simulator.add_testbench(testbench)
    simulator.run()


def test_elaborating_twice_gives_the_same():
    component = Requantize(2, pipeline=4, hard_multiplier=True)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = Requantize(3, scale_bits=12, shift=9, result=UINT8, offset=128, relu=True, pipeline=2,
                           hard_multiplier=True)
    assert component.model == Requantization(lanes=3, scale_bits=12, shift=9, result=UINT8, offset=128, relu=True)
    assert (component.lanes, component.pipeline, component.latency, component.hard_multiplier) == (3, 2, 2, True)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and 65536, not 0"),
    ({"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ({"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        Requantize(**{"lanes": 1, **parameters})
