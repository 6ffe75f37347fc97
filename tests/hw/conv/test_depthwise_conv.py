# amaranth: UnusedElaboratable=no
"""Depthwise convolution as gates and on DSP blocks, for any formats that a dot product takes."""

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.conv.depthwise_conv import DepthwiseConv
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.depthwise_conv import DepthwiseConvolution
from synth.netlist import Simulation, compile_netlist, read_netlist
from tests.support import gates
from tests.support.clocked_gates import assert_function_right, pack_payload
from tests.support.lanes import joined, random_inputs
from tests.support.mapped import map_component

E4M3, E2M1, INT4, INT24 = (parse(name) for name in ("e4m3", "e2m1", "int4", "int24"))
STOCHASTIC = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 3}


def extremes(model, vectors, seed):
    """Random codes, and as many where all samples and all weights are one code each, such as the most negative ones."""
    inputs = random_inputs(model, 2 * vectors, seed)
    for name in ("window", "weights"):
        inputs[name][vectors:] = inputs[name][vectors:, :1]
        inputs[name][-8:] = 1 << model.inputs[name].width - 1
    return inputs


def test_any_formats(tmp_path):
    components = [
        DepthwiseConv(1), DepthwiseConv(2, taps=4, result=INT24, hard_multiplier=True), DepthwiseConv(4, taps=1),
        DepthwiseConv(2, E2M1, INT4, taps=3, result=parse("e3m2")), DepthwiseConv(1, parse("posit<5,1>"), INT4, taps=2),
        DepthwiseConv(2, parse("fixed<5,3>"), INT4, taps=3, result=parse("fixed<6,1>"), overflow=OverflowPolicy.WRAP,
                      **STOCHASTIC)]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        assert_function_right(component, circuit, extremes(component.model, 100, seed=3), str(component.model))


def test_pipeline_delays_every_result_by_its_latency(tmp_path):
    components = [DepthwiseConv(2, taps=3, pipeline=1), DepthwiseConv(2, taps=3, pipeline=4),
                  DepthwiseConv(1, E2M1, INT4, taps=2, result=INT4, pipeline=3, **STOCHASTIC)]
    cycles = 40
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        model, latency = component.model, component.pipeline
        assert component.latency == latency
        inputs = random_inputs(model, cycles, seed=latency)
        got = circuit.run(cycles, **joined(model, inputs))[latency:]
        want = model.evaluate(inputs)["o"][:cycles - latency]
        places = np.arange(0, model.outputs["o"].bits, model.outputs["o"].width, dtype=np.uint64)
        assert got.tolist() == (want << places).sum(axis=1).tolist()


@pytest.mark.parametrize("target", ["ice40", *(pytest.param(name, marks=pytest.mark.slow) for name in (
    "ecp5", "nexus", "gowin", "xc7", "xcup"))])
def test_a_dsp_block_for_each_product(target, tmp_path):
    component, vectors = DepthwiseConv(1, result=INT24, pipeline=2, hard_multiplier=True), 200
    netlist, cells = map_component(component, target, tmp_path)
    assert cells["dsp"] == 9
    inputs = extremes(component.model, vectors, seed=5)
    simulation = Simulation(compile_netlist(read_netlist(netlist)), 2 * vectors)
    for name, port in component.model.inputs.items():
        simulation.set_planes(name, np.array(pack_payload({name: port}, inputs)))
    for _ in range(component.latency):
        simulation.step()
    got, want = np.asarray(simulation.get("o")), component.model.evaluate(inputs)["o"][:, 0]
    wrong = np.flatnonzero(got != want)
    assert not len(wrong), [({name: codes[i].tolist() for name, codes in inputs.items()}, got[i], want[i])
                            for i in wrong[:3]]


def test_elaborating_twice_gives_the_same():
    component = DepthwiseConv(2, E4M3, INT4, taps=3, result=E4M3, pipeline=3, hard_multiplier=True, **STOCHASTIC)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = DepthwiseConv(2, E4M3, taps=3, result=E2M1, pipeline=4, hard_multiplier=True, **STOCHASTIC)
    assert component.model == DepthwiseConvolution(lanes=2, a=E4M3, b=INT4, taps=3, result=E2M1, **STOCHASTIC)
    assert (component.lanes, component.pipeline, component.latency, component.hard_multiplier) == (2, 4, 4, True)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and 65536, not 0"),
    ({"a": "int8"}, TypeError, "Format a must be a FloatingPointFormat, .* not 'int8'"),
    ({"b": None}, TypeError, "Format b must be a FloatingPointFormat, .* not None"),
    ({"result": 24}, TypeError, "Result format must be a FloatingPointFormat, .* not 24"),
    ({"taps": 0}, ValueError, "Tap count must be between 1 and 65536, not 0"),
    ({"pipeline": 65}, ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    ({"hard_multiplier": None}, TypeError, "Hard multiplier must be True or False, not None"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        DepthwiseConv(**{"lanes": 1, **parameters})
