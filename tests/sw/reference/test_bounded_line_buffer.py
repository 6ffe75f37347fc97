"""The buffer of lines with nine offsets against its definition, and the cycles that its banks take."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.bounded_line_buffer import BoundedLineBuffer, bank_cycles
from sw.reference.line_buffer import DeformableLineBuffer
from tests.support.map_windows import assert_sequences_right, feed_map, random_map

INT8 = parse("int8")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (6, 1), (5, 4), (6, 7)])
def test_many_sequences_at_once_give_what_the_definition_gives(height, width, stride):
    for groups, lowest, highest in ((1, 0, 7), (2, -2, 2), (1, -3, 0)):
        model = BoundedLineBuffer(element=INT8, lanes=2, height=height, width=width, channel_groups=groups,
                                  stride=stride, min_offset=lowest, max_offset=highest, padding=128)
        assert_sequences_right(model, transfers=3 * height * width * groups, seed=height * 10 + width)


def test_every_sample_has_the_offset_that_came_with_it():
    model = BoundedLineBuffer(element=INT8, lanes=1, height=5, width=6, channel_groups=2, min_offset=-3, max_offset=4,
                              padding=255)
    pixels, codes = random_map(model, seed=3)
    padded = np.pad(pixels[..., 0], ((5, 5), (5, 5), (0, 0)), constant_values=255)
    want = [[padded[5 + y + k // 3 - 1 + int(codes[y, x, group, 2 * k]) - 3,
                    5 + x + k % 3 - 1 + int(codes[y, x, group, 2 * k + 1]) - 3, group] for k in range(9)]
            for y, x, group in np.ndindex(5, 6, 2)]
    np.testing.assert_array_equal(feed_map(model, pixels, codes), want)


@pytest.mark.parametrize("offset", range(9))
def test_square_offsets_give_the_square_buffer_s_windows(offset):
    """The offset of a sample from its place in the kernel is the place times d - 1: the paper's definition."""
    shape = {"element": INT8, "lanes": 2, "height": 6, "width": 7, "padding": 128}
    general = BoundedLineBuffer(**shape, min_offset=-7, max_offset=7)
    square = DeformableLineBuffer(**shape, max_offset=8)
    pixels, codes = random_map(general, seed=offset)
    codes[...] = [place * (offset - 1) + 7 for ky in (-1, 0, 1) for kx in (-1, 0, 1) for place in (ky, kx)]
    np.testing.assert_array_equal(feed_map(general, pixels, codes),
                                  feed_map(square, pixels, np.full((6, 7, 1), offset)))


def test_bank_cycles_of_known_windows():
    rows = np.array([[0, 0, 0, 5, 5, 5, 9, 9, 9], [0, 0, 0, 16, 16, 16, 1, 1, 1], [3] * 9, [3] * 9, [3] * 9])
    inside = np.ones_like(rows, dtype=bool)
    inside[3, 4:], inside[4] = False, False
    assert bank_cycles(rows, inside, banks=16, read_ports=3).tolist() == [1, 2, 3, 2, 1]
    assert bank_cycles(rows, inside, banks=16, read_ports=1).tolist() == [3, 6, 9, 4, 1]


@pytest.mark.parametrize(("lowest", "highest", "one_port", "three_ports"), [
    (0, 7, 2.6785, 1.1151), (-7, 7, 2.2028, 1.0251)])  # exact, from counting the ways in which nine rows can coincide
def test_cycles_of_random_offsets_against_square_ones(lowest, highest, one_port, three_ports):
    """What the square saves in cycles: 2.5 to 11.5 % with three read ports, and nothing with a single one.

    Nine independent rows spread over more banks than three samples of each of three rows do, so that a single read
    port even serves them faster. The square's gain is the circuit: three banks and columns instead of nine.
    """
    rng, windows = np.random.default_rng(0), 100_000
    places, everywhere = np.repeat([-1, 0, 1], 3), np.ones((windows, 9), dtype=bool)
    square = places * rng.integers(1, 8, (windows, 1))
    bounded = places + rng.integers(lowest, highest + 1, (windows, 9))

    def mean(rows, ports):
        return bank_cycles(rows, everywhere, banks=18, read_ports=ports).mean()

    assert (mean(square, 1), mean(square, 3)) == (3, 1)
    assert mean(bounded, 1) == pytest.approx(one_port, abs=0.008)
    assert mean(bounded, 3) == pytest.approx(three_ports, abs=0.004)


def test_properties():
    model = BoundedLineBuffer(element=INT8, lanes=2, height=4, width=4, min_offset=-3, max_offset=7)
    assert (model.back, model.reach) == (4, 8)
    assert (model.inputs["offset"].lanes, model.inputs["offset"].width, model.inputs["offset"].codes) == (18, 4, 11)
    assert model.outputs["window"].lanes == 18


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"lanes": 0}, ValueError, "Lanes must be between 1 and 64, not 0"),
    ({"min_offset": 1}, ValueError, "Min offset must be between -15 and 0, not 1"),
    ({"min_offset": -16}, ValueError, "Min offset must be between -15 and 0, not -16"),
    ({"max_offset": -1}, ValueError, "Max offset must be between 0 and 15, not -1"),
    ({"max_offset": 16}, ValueError, "Max offset must be between 0 and 15, not 16"),
    ({"max_offset": 7.0}, TypeError, "Max offset must be an integer, not 7.0"),
    ({"max_offset": 0}, ValueError, "Max offset must be above the min offset, not 0 as well; DeformableLineBuffer"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        BoundedLineBuffer(**{"element": INT8, "lanes": 2, "height": 4, "width": 4, **fields})
