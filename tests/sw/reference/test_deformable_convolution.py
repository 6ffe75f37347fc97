"""The deformable convolution on whole maps, against plain numpy; many sequences at once, against the definition."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.deformable_convolution import DeformableConvolution
from sw.reference.map_layout import feature_map, parameter_transfers, pixel_transfers
from sw.reference.model import Stream
from tests.support.feature_maps import convolve, joined, random_layer, random_map, run_in_order, session
from tests.support.sampling import sampled

SMALL = {"lanes": 2, "height": 5, "width": 4, "channels": 4, "output_channels": 4, "max_offset": 2}
CASES = {
    "small": {},
    "odd sizes": {"height": 7, "width": 5, "channels": 2, "max_offset": 7},
    "one row": {"height": 1, "width": 7, "relu_pointwise": True},
    "one column": {"height": 6, "width": 1, "relu_depthwise": True},
    "one pixel": {"height": 1, "width": 1, "max_offset": 8, "channels": 2},
    "one lane": {"lanes": 1, "channels": 3, "output_channels": 2},
    "stride 2": {"stride": 2, "height": 5, "width": 6, "output_channels": 8},
    "stride 3": {"stride": 3, "height": 7, "width": 8, "requantized": False},
    "ordinary": {"deformable": False, "lanes": 4},
    "zero in the middle": {"zero_point": 5, "relu_depthwise": True, "relu_pointwise": True},
    "no offset": {"max_offset": 0, "output_channels": 2},
}


def model_of(name):
    return DeformableConvolution(**{**SMALL, **CASES[name]})


@pytest.mark.parametrize("name", CASES)
def test_whole_maps(name):
    model, rng = model_of(name), np.random.default_rng(4)
    transfers, maps = session(model, rng, maps=2, loads=2)
    codes = run_in_order(model, transfers)
    assert len(codes) == len(maps) * model.map_results
    for got, want in zip(np.split(codes, len(maps)), maps, strict=True):
        np.testing.assert_array_equal(feature_map(model, got), want)
    definition = model.results([{field: values[index].tolist() for field, values in transfers.items()}
                                for index in range(len(transfers["load"]))])
    assert definition == codes.tolist()


@pytest.mark.parametrize("name", ["small", "one row", "stride 2", "ordinary"])
def test_offsets_at_their_limits(name):
    model, rng = model_of(name), np.random.default_rng(5)
    layer = random_layer(model, rng)
    pixels, offsets = random_map(model, rng)
    for limit in (0, model.max_offset) if offsets is not None else (1,):
        chosen = None if offsets is None else np.full_like(offsets, limit)
        codes = run_in_order(model, joined(parameter_transfers(model, layer.fields(model)),
                                           pixel_transfers(model, pixels, chosen)))
        np.testing.assert_array_equal(feature_map(model, codes), convolve(model, layer, pixels, chosen))


@sampled("name", CASES, 5)
def test_many_sequences_at_once_give_what_the_definition_gives(name):
    model, rng, count, sequences = model_of(name), np.random.default_rng(6), 130, 12
    resets = rng.random((count, sequences)) < 0.02
    resets[0] = resets[:, 6:] = False
    inputs = model.stimulus(rng, count, resets)
    for field, port in model.inputs.items():
        port.check(field, inputs[field].reshape(count * sequences, *inputs[field].shape[2:]))
    run, results = model.start(sequences), [[] for _ in range(sequences)]
    taken, after = [[] for _ in range(sequences)], [[] for _ in range(sequences)]
    place = np.zeros(sequences, dtype=int)
    while (place < count).any():
        number = np.minimum(place, count - 1)
        accepted = (rng.random(sequences) < 0.8) & (place < count)
        due = accepted & resets[number, np.arange(sequences)]
        if due.any():
            run.reset(due)
        fields = {field: codes[number, np.arange(sequences)] for field, codes in inputs.items()}
        for produced, outputs in run.accept(fields, accepted):
            for sequence in np.flatnonzero(produced):
                results[sequence].append(outputs["o"][sequence].tolist())
        for sequence in np.flatnonzero(accepted):
            if due[sequence]:
                after[sequence].append(len(taken[sequence]))
            taken[sequence].append({field: codes[sequence].tolist() for field, codes in fields.items()})
        place += accepted
    assert sum(map(len, after)) > 0
    for sequence in range(6, sequences):  # which have no resets
        assert results[sequence] == model.results(taken[sequence])
    assert sum(map(len, results)) > 20 * (name != "one pixel")


def test_a_reset_drops_the_map_and_keeps_the_parameters():
    model, rng = model_of("small"), np.random.default_rng(7)
    layer, (pixels, offsets) = random_layer(model, rng), random_map(model, rng)
    load, feed = parameter_transfers(model, layer.fields(model)), pixel_transfers(model, pixels, offsets)
    run, codes, every = model.start(1), [], np.ones(1, bool)

    def send(transfers, count):
        for index in range(count):
            for _, outputs in run.accept({name: values[index:index + 1] for name, values in transfers.items()}, every):
                codes.append(outputs["o"][0])

    send(load, model.parameter_words)
    send(feed, model.map_transfers - 1)
    run.reset(every)
    send(load, 3)  # the first words again, whose number a reset forgets
    run.reset(every)
    codes.clear()
    send(feed, model.map_transfers)
    np.testing.assert_array_equal(feature_map(model, np.array(codes)), convolve(model, layer, pixels, offsets))


def test_parameters_are_zero_before_the_first_load():
    model, rng = model_of("small"), np.random.default_rng(8)
    codes = run_in_order(model, pixel_transfers(model, *random_map(model, rng)))
    assert (feature_map(model, codes) == -128).all()


def test_a_load_within_a_map_is_refused():
    model, rng = model_of("small"), np.random.default_rng(9)
    feed = pixel_transfers(model, *random_map(model, rng))
    mixed = joined({name: codes[:3] for name, codes in feed.items()},
                   {name: codes[:1] for name, codes in parameter_transfers(
                       model, random_layer(model, rng).fields(model)).items()})
    message = "Load must be between two maps, not after 3 of the 40 transfers of one"
    with pytest.raises(ValueError, match=message):
        run_in_order(model, mixed)
    with pytest.raises(ValueError, match=message):
        model.results([{name: codes[index].tolist() for name, codes in mixed.items()} for index in range(4)])


def test_the_stimulus_shows_loads_maps_and_results_within_range():
    model, rng = model_of("small"), np.random.default_rng(10)
    resets = np.zeros((256, 64), dtype=bool)
    inputs = model.stimulus(rng, 256, resets)
    loads = inputs["load"].astype(int)
    assert 0.1 < loads.mean() < 0.5
    assert (np.diff(loads, axis=0) == 1).any(axis=0).mean() > 0.5, "some sequences load again between maps"
    run, codes = model.start(64), []
    for index in range(256):
        for produced, outputs in run.accept({name: values[index] for name, values in inputs.items()},
                                            np.ones(64, bool)):
            codes.append(outputs["o"][produced])
    codes = np.concatenate(codes)
    assert ((codes != 127) & (codes != 128)).mean() > 0.3
    assert inputs["offset"].max() == 2


def test_a_stream_of_its_ports():
    model = model_of("small")
    assert isinstance(model, Stream)
    assert list(model.inputs) == ["load", "data", "offset"]
    assert list(model_of("ordinary").inputs) == list(model_of("no offset").inputs) == ["load", "data"]
    assert model.outputs["o"].format == parse("int8")
    assert model_of("stride 3").outputs["o"].format == parse("int24")
    assert (model.map_transfers, model.map_results, model.parameter_words) == (40, 40, 30)
    assert hash(model) == hash(model_of("small"))


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"lanes": 0}, ValueError, "Lanes must be between 1 and 64, not 0"),
    ({"lanes": "2"}, TypeError, "Lanes must be an integer, not '2'"),
    ({"channels": 0}, ValueError, "Channels must be between 1 and 4096, not 0"),
    ({"channels": 5}, ValueError, "Channels must be a multiple of the 2 lanes, not 5; add some with weights of zero"),
    ({"output_channels": 3}, ValueError, "Output channels must be a multiple of the 2 lanes, not 3"),
    ({"height": 0}, ValueError, "Height must be between 1 and 4096, not 0"),
    ({"stride": 0}, ValueError, "Stride must be between 1 and 8, not 0"),
    ({"max_offset": -1}, ValueError, "Max offset must be between 0 and 15, not -1"),
    ({"deformable": 1}, TypeError, "Deformable must be True or False, not 1"),
    ({"activation": 8}, TypeError, "Activation must be a FixedPointFormat, not 8"),
    ({"activation": parse("uint8")}, ValueError, "Activation must be of signed integers of full range, not uint8"),
    ({"weight": parse("fixed<4,2>")}, ValueError, "Weight must be of signed integers of full range, not fixed<4,2>"),
    ({"accumulator": parse("int14")}, ValueError,
     "Accumulator must have at least 15 bits for sums of 9 products of int8 and int4, not 14"),
    ({"zero_point": 128}, ValueError, "Zero point must be between -128 and 127, not 128"),
    ({"zero_point": 0.0}, TypeError, "Zero point must be an integer, not 0.0"),
    ({"relu_depthwise": 0}, TypeError, "Depthwise ReLU must be True or False, not 0"),
    ({"relu_pointwise": 0}, TypeError, "Pointwise ReLU must be True or False, not 0"),
    ({"requantized": 0}, TypeError, "Requantized must be True or False, not 0"),
    ({"requantized": False, "relu_pointwise": True}, ValueError,
     "Pointwise ReLU must be False where the sums are not requantized, not True"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        DeformableConvolution(**{**SMALL, **parameters})


def test_resets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=re.escape("Resets must be of shape (4, sequences), not (5, 2)")):
        model_of("small").stimulus(np.random.default_rng(0), 4, np.zeros((5, 2), dtype=bool))
