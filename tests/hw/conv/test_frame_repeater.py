# amaranth: UnusedElaboratable=no
"""Frames given out several times: order, flags, stalls, and cycles counted."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.conv.frame_repeater import FrameRepeater
from tests.support.stream_simulation import simulate

SHAPES = [(1, 1), (1, 4), (2, 1), (3, 2), (5, 3)]


def wanted(words, length, repeats):
    """Return what comes out, as the bits of a payload of 6-bit words."""
    return [word | (place == 0) << 6 | (place == length - 1) << 7
            for start in range(0, len(words), length) for _ in range(repeats)
            for place, word in enumerate(words[start:start + length])]


@pytest.mark.parametrize(("length", "repeats"), SHAPES)
@pytest.mark.parametrize(("offer", "take"), [(1.0, 1.0), (0.4, 0.8), (0.9, 0.3)])
def test_every_frame_comes_so_often(length, repeats, offer, take):
    words = np.random.default_rng(length).integers(0, 64, 6 * length).tolist()
    want = wanted(words, length, repeats)
    results, _, _ = simulate(FrameRepeater(width=6, length=length, repeats=repeats), words, len(want), offer=offer,
                             take=take, seed=repeats)
    assert results == want


@pytest.mark.parametrize(("length", "repeats"), SHAPES)
def test_frames_follow_each_other_without_a_gap(length, repeats):
    component, count = FrameRepeater(width=6, length=length, repeats=repeats), 5 * length * repeats
    _, accepted, taken = simulate(component, [0] * (5 * length), count)
    assert accepted[:2 * length] == list(range(2 * length))
    assert taken == list(range(taken[0], taken[0] + count))
    assert taken[0] == accepted[length - 1] + component.latency


def test_elaborating_twice_gives_the_same():
    component = FrameRepeater(width=6, length=3, repeats=2)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"width": 0}, ValueError, "Word width must be at least 1, not 0"),
    ({"length": 0}, ValueError, "Frame length must be at least 1, not 0"),
    ({"repeats": -1}, ValueError, "Repeats must be at least 1, not -1"),
    ({"repeats": 1.5}, TypeError, "Repeats must be an integer, not 1.5"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        FrameRepeater(**{"width": 4, "length": 2, "repeats": 2, **parameters})
