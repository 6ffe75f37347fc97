"""Layers and maps as transfers: places by number, and what is refused."""

import re

import numpy as np
import pytest

from sw.reference.deformable_convolution import DeformableConvolution
from sw.reference.map_layout import feature_map, parameter_transfers, pixel_transfers
from tests.support.feature_maps import random_layer, random_map

MODEL = DeformableConvolution(lanes=2, height=3, width=5, channels=4, output_channels=6, max_offset=3)
PLAIN = DeformableConvolution(lanes=2, height=3, width=5, channels=4, output_channels=6, deformable=False,
                              requantized=False)


def test_every_weight_lies_where_the_stages_look_for_it():
    layer = random_layer(MODEL, np.random.default_rng(0))
    words = parameter_transfers(MODEL, layer.fields(MODEL))
    assert words["load"].tolist() == [1] * MODEL.parameter_words
    rows, start = {}, 0
    for name, memory in MODEL.memories.items():
        rows[name] = memory.unpack(words["data"][start:start + memory.words])
        start += memory.words
    for group in range(2):
        for lane in range(2):
            channel = 2 * group + lane
            for tap in range(9):
                assert rows["depthwise"]["weights"][group, 2 * tap + lane] == layer.depthwise[channel, tap] % 16
            assert rows["depthwise_requantization"]["scale"][group, lane] == layer.scale[0][channel]
            assert rows["depthwise_requantization"]["bias"][group, lane] == layer.bias[0][channel] % 2**16
    for output in range(6):
        for channel in range(4):
            row, lane = output // 2 * 2 + channel // 2, output % 2 * 2 + channel % 2
            assert rows["pointwise"]["b"][row, lane] == layer.pointwise[output, channel] % 16
        assert rows["pointwise_requantization"]["scale"][output // 2, output % 2] == layer.scale[1][output]


def test_pixels_and_offsets_in_raster_order():
    pixels, offsets = random_map(MODEL, np.random.default_rng(1))
    transfers = pixel_transfers(MODEL, pixels, offsets)
    assert transfers["load"].tolist() == [0] * 30
    for place in range(30):
        y, x, group = place // 10, place // 2 % 5, place % 2
        assert transfers["data"][place].tolist() == (pixels[2 * group:2 * group + 2, y, x] % 256).tolist()
        assert transfers["offset"][place] == offsets[group, y, x]


def test_results_become_a_map():
    codes = np.random.default_rng(2).integers(0, 256, (45, 2))
    integers = feature_map(MODEL, codes)
    assert integers.shape == (6, 3, 5)
    for output in range(6):
        for y in range(3):
            for x in range(5):
                assert integers[output, y, x] % 256 == codes[(y * 5 + x) * 3 + output // 2, output % 2]
    assert feature_map(PLAIN, np.full((45, 2), (1 << 24) - 3)).tolist() == np.full((6, 3, 5), -3).tolist()


def changed(**parameters):
    fields = random_layer(MODEL, np.random.default_rng(3)).fields(MODEL)
    return {**fields, **{name: {**fields[name], **values} for name, values in parameters.items()}}


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({}, ValueError, "Parameters must be depthwise, depthwise_requantization, pointwise, pointwise_requantization, "
                     "not none"),
    (changed(depthwise={"b": np.zeros(4, int)}), ValueError, "Parameters depthwise must be weights, not weights, b"),
    (changed(depthwise={"weights": np.zeros((4, 3, 3), int)}), ValueError,
     "Parameters depthwise weights must be of shape (4, 9), not (4, 3, 3)"),
    (changed(pointwise={"b": np.full((6, 4), 8)}), ValueError,
     "Parameters pointwise b must be between -8 and 7, not 8 to 8"),
    (changed(pointwise_requantization={"scale": np.zeros(6)}), TypeError,
     "Parameters pointwise_requantization scale must be an array of integers, not of float64"),
    (changed(depthwise_requantization={"scale": np.full(4, -1)}), ValueError,
     "Parameters depthwise_requantization scale must be between 0 and 65535, not -1 to -1"),
    (changed(depthwise_requantization={"bias": np.zeros(5, int)}), ValueError,
     "Parameters depthwise_requantization bias must be of shape (4,), not (5,)"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        parameter_transfers(MODEL, parameters)


def test_wrong_maps():
    pixels, offsets = random_map(MODEL, np.random.default_rng(4))
    with pytest.raises(ValueError, match="Offsets must be given where transfers have them, and nowhere else, not left"):
        pixel_transfers(MODEL, pixels)
    with pytest.raises(ValueError, match="Offsets must be given .* and nowhere else, not given"):
        pixel_transfers(PLAIN, pixels, offsets)
    with pytest.raises(ValueError, match=re.escape("Pixels must be of shape (4, 3, 5), not (4, 15)")):
        pixel_transfers(MODEL, pixels.reshape(4, 15), offsets)
    with pytest.raises(ValueError, match=re.escape("Offsets must be between 0 and 3, not 4 to 4")):
        pixel_transfers(MODEL, pixels, np.full_like(offsets, 4))
    with pytest.raises(ValueError, match=re.escape("Results must be the 45 of a map, not 44")):
        feature_map(MODEL, np.zeros((44, 2), int))
    with pytest.raises(ValueError, match=re.escape("Results must be of shape (45, 2), not (45, 3)")):
        feature_map(MODEL, np.zeros((45, 3), int))
