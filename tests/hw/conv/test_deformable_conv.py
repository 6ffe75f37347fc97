# amaranth: UnusedElaboratable=no
"""The chain from pixels to pixels: whole maps on mapped netlists with stalls and resets, and its cycles, counted."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.conv.deformable_conv import DeformableConv
from sw.reference.deformable_convolution import DeformableConvolution
from sw.reference.map_layout import feature_map, parameter_transfers, pixel_transfers
from synth.targets import TARGETS
from synth.verify import Stimulus, check_stream, stream_transfers
from tests.support.feature_maps import joined, random_layer, random_map, run_in_order, session
from tests.support.mapped import map_component
from tests.support.stream_simulation import run_netlist
from tests.support.streams import simulate_stream

SMALL = {"lanes": 2, "height": 5, "width": 4, "channels": 4, "output_channels": 4, "max_offset": 2}
TINY = {"lanes": 1, "height": 3, "width": 3, "channels": 2, "output_channels": 2, "max_offset": 1}
CASES = {"stride 2": {"height": 5, "width": 4, "stride": 2, "relu_pointwise": True, "pipeline": 1}}
SLOW_CASES = {
    "odd sizes": {"height": 5, "width": 7, "max_offset": 3, "relu_depthwise": True},
    "one row": {"height": 1, "width": 7, "max_offset": 7},
    "one column": {"height": 7, "width": 1, "max_offset": 2, "pipeline": 1},
    "one pixel": {"height": 1, "width": 1, "max_offset": 8, "channels": 1, "output_channels": 3},
    "largest offsets": {"height": 9, "width": 8, "max_offset": 8},
    "an ordinary convolution": {"deformable": False, "width": 5, "requantized": False},
    "no offset": {"max_offset": 0, "zero_point": 3},
    "one read port": {**SMALL, "read_ports": 1, "hard_multiplier": True, "pipeline": 3},
    "four lanes": {**SMALL, "lanes": 4, "output_channels": 8, "hard_multiplier": True, "packed": 2},
}


def whole_maps(model, rng, sequences):
    """Return sequences that load layers and send maps, and the maps that plain numpy makes of them."""
    sessions = [session(model, rng, maps=1, loads=2) for _ in range(sequences)]
    return ({name: np.stack([transfers[name] for transfers, _ in sessions], axis=1) for name in model.inputs},
            [maps for _, maps in sessions])


def loaded_maps(model):
    """Return the stimulus of sequences with loads, maps and resets."""
    count = model.parameter_words + 3 * model.map_transfers
    return Stimulus(transfers=count, make=lambda rng, resets: model.stimulus(rng, len(resets), resets))


def assert_netlist_right(component, document, *, sequences=6, samples=1024):
    """Compare a netlist with plain numpy on whole maps, and with the reference on what resets cut off as well."""
    model, rng = component.model, np.random.default_rng(11)
    transfers, wanted = whole_maps(model, rng, sequences)
    codes = run_netlist(document, model, transfers, len(wanted[0]) * model.map_results, seed=12)["o"]
    for sequence, maps in enumerate(wanted):
        for got, want in zip(np.split(codes[:, sequence], len(maps)), maps, strict=True):
            np.testing.assert_array_equal(feature_map(model, got), want)
    drawn = stream_transfers(model, seed=13, samples=samples, stimulus=loaded_maps(model))
    report = check_stream(document, drawn, latency=component.latency, interval=None, seed=14)
    assert report["mismatches"] == 0, report["first_mismatch"] | report["violations"]
    assert min(report[name] for name in ("resets", "stalls", "latency_checked")) > 0
    assert report["vectors"] > samples // 16


@pytest.mark.parametrize("name", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CASES)])
@pytest.mark.slow
def test_whole_maps_on_a_netlist(name, tmp_path):
    component = DeformableConv(**{**TINY, **(CASES | SLOW_CASES)[name]})
    document, _ = map_component(component, "ecp5", tmp_path, dsp=component.hard_multiplier)
    assert_netlist_right(component, document)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("hard_multiplier", [False, True])
def test_every_family(target, hard_multiplier, tmp_path):
    component = DeformableConv(**SMALL, hard_multiplier=hard_multiplier)
    document, counts = map_component(component, target, tmp_path, dsp=hard_multiplier)
    assert bool(counts["dsp"]) is hard_multiplier
    assert_netlist_right(component, document)


def simulate(component, transfers, **rates):
    model = component.model
    want = run_in_order(model, transfers)
    listed = [{name: codes[index].tolist() for name, codes in transfers.items()}
              for index in range(len(transfers["load"]))]
    run = simulate_stream(component, listed, results=len(want), **rates)
    np.testing.assert_array_equal([result["o"] for result in run.results], want)
    return run


def test_a_position_takes_as_long_as_its_slowest_stage():
    """Two groups in and three out are six products a pixel; with one group out, transfers or windows are the slowest.

    With stride 2, each of the four positions has three of the twelve pixels, two transfers each.
    """
    for output_channels, read_ports, stride, cycles in ((3, 3, 1, 6), (1, 3, 1, 2), (1, 1, 1, 6), (2, 3, 2, 6)):
        component = DeformableConv(1, height=3, width=4, channels=2, output_channels=output_channels, max_offset=2,
                                   stride=stride, read_ports=read_ports)
        model, rng = component.model, np.random.default_rng(1)
        feeds = [pixel_transfers(model, *random_map(model, rng)) for _ in range(3)]
        run = simulate(component, joined(*feeds))
        positions = model.output_height * model.output_width
        steady = [run.left[(index + 1) * model.map_results] - run.left[index * model.map_results] for index in (0, 1)]
        assert steady == [positions * cycles] * 2


def test_the_latency_is_the_least_and_occurs():
    for parameters in ({"pipeline": 2}, {"read_ports": 1, "requantized": False}):
        component = DeformableConv(**{**TINY, **parameters})
        model, rng = component.model, np.random.default_rng(2)
        transfers = pixel_transfers(model, *random_map(model, rng))
        run = simulate(component, transfers, offers=0.1)
        causes, answers = [], model.start(1)
        for index in range(model.map_transfers):
            made = answers.accept({name: codes[index:index + 1] for name, codes in transfers.items()}, np.ones(1, bool))
            causes += [run.accepted[index]] * len(made)
        waits = np.array(run.left) - causes
        assert waits.min() == component.latency


def test_a_load_waits_for_the_last_result():
    component = DeformableConv(**TINY)
    model, rng = component.model, np.random.default_rng(3)
    transfers, _ = session(model, rng, maps=1, loads=2)
    run = simulate(component, transfers, takes=0.4)
    second_load = model.parameter_words + model.map_transfers
    assert run.accepted[second_load] == run.left[model.map_results - 1] + 1
    assert np.diff(run.accepted[second_load:second_load + model.parameter_words]).tolist() == [1] * (
        model.parameter_words - 1)


def test_maps_of_one_pixel_do_not_outnumber_the_counter():
    component = DeformableConv(1, height=1, width=1, channels=1, output_channels=1, max_offset=0)
    model, rng = component.model, np.random.default_rng(4)
    layer = parameter_transfers(model, random_layer(model, rng).fields(model))
    maps = [pixel_transfers(model, *random_map(model, rng)) for _ in range(70)]
    run = simulate(component, joined(layer, *maps, layer, *maps), takes=0.3)
    assert len(run.results) == 140


def test_elaborating_twice_gives_the_same():
    component = DeformableConv(**TINY, hard_multiplier=True, pipeline=2)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = DeformableConv(**SMALL, pipeline=2, hard_multiplier=True, read_ports=1, packed=3, stride=2)
    assert component.model == DeformableConvolution(**SMALL, stride=2)
    assert (component.pipeline, component.hard_multiplier, component.read_ports, component.packed) == (2, True, 1, 3)
    assert not component.constant_latency


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"channels": 3}, ValueError, "Channels must be a multiple of the 2 lanes, not 3"),
    ({"pipeline": 63}, ValueError, "Pipeline must be between 0 and 62 register stages, not 63"),
    ({"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ({"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
    ({"read_ports": 2}, ValueError, "Read ports must be 1 or 3, not 2"),
    ({"packed": 4}, ValueError, "Packed products must be between 1 and 3 on a multiplier, not 4"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        DeformableConv(**{**SMALL, **parameters})
