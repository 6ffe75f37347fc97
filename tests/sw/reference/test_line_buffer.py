"""The square buffer of lines against its definition, and against windows that torch and numpy cut from whole maps."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.line_buffer import DeformableLineBuffer
from sw.reference.multiply import Multiplication
from tests.support.map_windows import assert_sequences_right, feed_map, random_map

INT8, E4M3 = parse("int8"), parse("e4m3")
SHAPES = [(1, 1), (1, 7), (6, 1), (5, 4), (7, 9)]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_many_sequences_at_once_give_what_the_definition_gives(height, width, stride):
    for groups, fields in ((1, {"max_offset": 2}), (2, {"max_offset": 8}), (3, {"deformable": False}),
                           (1, {"max_offset": 0}), (2, {"max_offset": 1})):
        model = DeformableLineBuffer(element=INT8, lanes=2, height=height, width=width, channel_groups=groups,
                                     stride=stride, padding=128, **fields)
        assert_sequences_right(model, transfers=3 * height * width * groups, seed=height * 10 + width)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("offset", range(9))
def test_one_offset_everywhere_is_a_dilated_convolution_s_window(offset, stride):
    torch = pytest.importorskip("torch")
    height, width, groups, lanes = 9, 11, 2, 3
    model = DeformableLineBuffer(element=INT8, lanes=lanes, height=height, width=width, channel_groups=groups,
                                 stride=stride, max_offset=8, padding=7)
    pixels, _ = random_map(model, seed=offset)
    windows = feed_map(model, pixels, np.full((height, width, groups), offset))
    if not offset:  # unfold knows no dilation of zero, where all nine are the centre
        want = np.tile(pixels[::stride, ::stride].reshape(-1, lanes), 9)
        np.testing.assert_array_equal(windows, want)
        return
    shifted = torch.from_numpy(pixels.astype(np.float32)).reshape(1, height, width, -1).permute(0, 3, 1, 2) - 7
    cut = torch.nn.functional.unfold(shifted, 3, dilation=offset, padding=offset, stride=stride) + 7
    want = cut.reshape(groups, lanes, 9, -1).permute(3, 0, 2, 1).reshape(len(windows), -1).numpy()
    np.testing.assert_array_equal(windows, want)


def test_every_position_has_the_offset_that_came_with_it():
    model = DeformableLineBuffer(element=INT8, lanes=1, height=8, width=6, channel_groups=2, max_offset=7, padding=255)
    pixels, offsets = random_map(model, seed=3)
    padded = np.pad(pixels[..., 0], ((7, 7), (7, 7), (0, 0)), constant_values=255)
    want = [[padded[7 + y + ky * d, 7 + x + kx * d, group] for ky in (-1, 0, 1) for kx in (-1, 0, 1)]
            for (y, x, group), d in np.ndenumerate(offsets.astype(int))]
    np.testing.assert_array_equal(feed_map(model, pixels, offsets), want)


@pytest.mark.parametrize(("position", "cause"), [
    ((0, 0), (2, 2)), ((0, 4), (2, 6)), ((0, 5), (2, 6)), ((2, 1), (4, 3)), ((2, 6), (4, 6)),
    ((3, 0), (4, 6)), ((4, 6), (4, 6))])  # from row 3 on, everything is there before the row above is done
def test_a_window_is_caused_by_the_last_pixel_that_an_offset_could_ask_for(position, cause):
    model = DeformableLineBuffer(element=INT8, lanes=1, height=5, width=7, channel_groups=3, max_offset=2)
    transfers = [{"pixel": [0], "offset": 0}] * (5 * 7 * 3)
    result, transfer = ((y * 7 + x) * 3 for y, x in (position, cause))
    assert len(model.results(transfers[:transfer + 2])) <= result
    assert len(model.results(transfers[:transfer + 3])) >= result + 3


def test_a_map_with_a_reset_in_it_is_dropped():
    model = DeformableLineBuffer(element=INT8, lanes=1, height=3, width=3, max_offset=1)
    run, whole = model.start(1), np.ones(1, dtype=bool)
    zeros = {"pixel": np.full((1, 1), 9, dtype=np.uint64), "offset": np.ones(1, dtype=np.uint64)}
    for _ in range(6):
        run.accept(zeros, whole)
    run.reset(whole)
    pixels, offsets = random_map(model, seed=1)
    results = []
    for pixel, offset in zip(pixels.reshape(9, 1), offsets.reshape(9), strict=True):
        results += [outputs["window"][0].tolist() for _, outputs in run.accept(
            {"pixel": pixel[None], "offset": offset[None]}, whole)]
    assert results == feed_map(model, pixels, offsets).tolist()


def test_properties():
    model = DeformableLineBuffer(element=INT8, lanes=4, height=5, width=6, max_offset=7)
    assert (model.inputs["pixel"].lanes, model.inputs["pixel"].format) == (4, INT8)
    assert (model.inputs["offset"].width, model.inputs["offset"].codes) == (3, 8)
    assert (model.outputs["window"].lanes, model.reach, model.back) == (36, 7, 7)
    plain = DeformableLineBuffer(element=E4M3, lanes=4, height=5, width=6, deformable=False)
    assert (list(plain.inputs), plain.reach) == (["pixel"], 1)
    centre = DeformableLineBuffer(element=E4M3, lanes=4, height=5, width=6, max_offset=0)
    assert (list(centre.inputs), centre.reach, centre.has_offsets) == (["pixel"], 0, False)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"element": "int8"}, TypeError, "Element must be a scalar format, not 'int8'; write sw.formats.parse('int8')"),
    ({"element": Multiplication(a=INT8, b=INT8, result=INT8)}, TypeError, "Element must be a scalar format, not Mult"),
    ({"lanes": 0}, ValueError, "Lanes must be between 1 and 64, not 0"),
    ({"lanes": 65}, ValueError, "Lanes must be between 1 and 64, not 65"),
    ({"lanes": 2.0}, TypeError, "Lanes must be an integer, not 2.0"),
    ({"height": 0}, ValueError, "Height must be between 1 and 4096, not 0"),
    ({"width": 4097}, ValueError, "Width must be between 1 and 4096, not 4097"),
    ({"channel_groups": 0}, ValueError, "Channel groups must be between 1 and 4096, not 0"),
    ({"stride": 0}, ValueError, "Stride must be between 1 and 8, not 0"),
    ({"stride": True}, TypeError, "Stride must be an integer, not True"),
    ({"max_offset": -1}, ValueError, "Max offset must be between 0 and 15, not -1"),
    ({"max_offset": 16}, ValueError, "Max offset must be between 0 and 15, not 16"),
    ({"max_offset": "7"}, TypeError, "Max offset must be an integer, not '7'"),
    ({"padding": -128}, ValueError, "Padding must be a code of int8, between 0 and 255, not -128"),
    ({"padding": 256}, ValueError, "Padding must be a code of int8, between 0 and 255, not 256"),
    ({"padding": None}, TypeError, "Padding must be an integer, not None"),
    ({"deformable": 1}, TypeError, "Deformable must be True or False, not 1"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        DeformableLineBuffer(**{"element": INT8, "lanes": 2, "height": 4, "width": 4, **fields})
