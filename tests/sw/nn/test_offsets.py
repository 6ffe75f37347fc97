"""What offsets may be, and how they are predicted."""

import math
import re

import pytest
import torch
from torch.nn import functional

from sw.nn import (
    ABLATION_OFFSETS,
    FREE_OFFSETS,
    RELEASED_OFFSETS,
    WHOLE_OFFSETS,
    OffsetPredictor,
    OffsetRule,
    SquareScalar,
)

ANCHORS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1)]  # of both released variants


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def predictor_of(channels, rule, *, seed=1, spread=2.0, **keywords):
    """A predictor that has learned something."""
    predictor = OffsetPredictor(channels, rule, **keywords)
    with torch.no_grad():
        predictor.predict.weight.copy_(normal(*predictor.predict.weight.shape, seed=seed) * spread / channels ** 0.5)
    return predictor


def test_released_conventions():
    s = normal(2, 1, 4, 5) * 6
    for rule, number, shift in ((RELEASED_OFFSETS, functional.hardtanh(s + 1, -7, 8), 1),
                                (ABLATION_OFFSETS, s.clamp(0, 8), 0)):
        predictor = OffsetPredictor(1, rule)
        with torch.no_grad():
            predictor.predict.weight.fill_(1)
        offset = predictor(s)
        assert offset.shape == (2, 18, 4, 5)
        for tap, (dy, dx) in enumerate(ANCHORS):
            torch.testing.assert_close(offset[:, 2 * tap], dy * (number[:, 0] - shift))
            torch.testing.assert_close(offset[:, 2 * tap + 1], dx * (number[:, 0] - shift))


@pytest.mark.parametrize("rule", [FREE_OFFSETS, RELEASED_OFFSETS, ABLATION_OFFSETS, WHOLE_OFFSETS,
                                  OffsetRule(square=False, bounds=(-3, 3), rounded=True)], ids=str)
def test_untrained_predictor_moves_nothing(rule):
    predictor = OffsetPredictor(3, rule, groups=2)
    assert not predictor(normal(2, 3, 4, 5)).any()
    assert predictor(normal(2, 3, 4, 5)).shape == (2, 36, 4, 5)


def test_released_start_is_weights_zero_and_bias_one():
    predictor = OffsetPredictor(3, RELEASED_OFFSETS)
    assert predictor.predict.weight.shape == (1, 3, 1, 1)
    assert not predictor.predict.weight.any()
    assert predictor.predict.bias.tolist() == [1.0]
    assert OffsetPredictor(3, ABLATION_OFFSETS).predict.bias.tolist() == [0.0]


def test_bounds_that_leave_out_the_ordinary_window_start_at_their_nearer_end():
    assert OffsetRule(bounds=(2, 5)).neutral == 2
    assert OffsetRule(square=False, bounds=(-5, -1)).neutral == -1
    assert OffsetRule(bounds=None).neutral == 1


@pytest.mark.parametrize("bounds", [(-2, 2), (0, 7)])
def test_bounded_offsets_are_clipped_each(bounds):
    free, bounded = (predictor_of(4, OffsetRule(square=False, bounds=limit), spread=6) for limit in (None, bounds))
    x = normal(1, 4, 6, 6)
    assert torch.equal(bounded(x), free(x).clamp(*bounds))
    assert (bounded(x) != free(x)).any()
    assert bounded(x).shape == (1, 18, 6, 6)


def test_rounded_offsets_are_integers_and_ties_go_up():
    rule = OffsetRule(bounds=(-7, 8), rounded=True)
    numbers = torch.tensor([-9.0, -1.5, -0.5, 0.49, 0.5, 1.5, 2.5, 9.0])
    assert rule.apply(numbers).tolist() == [-7, -1, 0, 0, 1, 2, 3, 8]


@pytest.mark.parametrize(("rule", "passes"), [
    (RELEASED_OFFSETS, [False, True, True, True, False]), (ABLATION_OFFSETS, [False, False, True, True, False]),
    (OffsetRule(bounds=(-7, 8), rounded=True), [False, True, True, True, False]),
    (FREE_OFFSETS, [True] * 5),
])
def test_gradient_is_that_of_a_clamp_and_straight_through_rounding(rule, passes):
    numbers = torch.tensor([-7.5, -7.0, 0.3, 8.0, 8.5], requires_grad=True)
    rule.apply(numbers).sum().backward()
    assert numbers.grad.tolist() == [float(inside) for inside in passes]


def test_inside_the_bounds_the_gradient_is_that_of_hardtanh():
    first, second = (normal(200, seed=3).mul(6).requires_grad_() for _ in range(2))
    RELEASED_OFFSETS.apply(first).square().sum().backward()
    functional.hardtanh(second, -7, 8).square().sum().backward()
    assert torch.equal(first.grad, second.grad)


def test_predictor_learns_through_rounding():
    predictor = predictor_of(2, WHOLE_OFFSETS, spread=0.5)
    predictor(normal(1, 2, 5, 5)).square().sum().backward()
    assert predictor.predict.weight.grad.any()
    assert predictor.predict.bias.grad.any()


@pytest.mark.parametrize(("rule", "least"), [
    (WHOLE_OFFSETS, 0), (OffsetRule(scalar=SquareScalar.INCREMENT, bounds=(0, 6), rounded=True), 1),
])
@pytest.mark.parametrize("stride", [1, 2])
def test_dilations_are_those_of_the_offsets(rule, least, stride):
    predictor = predictor_of(3, rule, groups=2, stride=stride, spread=4)
    x = normal(2, 3, 7, 6)
    dilations = predictor.dilations(x)
    assert dilations.dtype == torch.int64
    assert dilations.shape == (2, 2, 7, 6)
    assert rule.dilations == (least, 7)
    assert dilations.min() == least
    assert dilations.max() > 3
    offset = predictor(x).reshape(2, 2, 9, 2, -(-7 // stride), -(-6 // stride))
    for tap, (dy, dx) in enumerate(ANCHORS):
        for axis, anchor in enumerate((dy, dx)):
            assert torch.equal(offset[:, :, tap, axis], anchor * (dilations[:, :, ::stride, ::stride] - 1).float())


@pytest.mark.parametrize(("window", "stride", "padding", "dilation"), [
    (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 0, 1), (3, 2, 0, 2), (5, 1, 2, 1), (3, 1, 3, 1), (1, 2, 0, 1),
])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_predictions_are_made_at_the_centre_of_their_windows(window, stride, padding, dilation, kernel_size):
    predictor = OffsetPredictor(1, OffsetRule(bounds=None), kernel_size=kernel_size, window=window, stride=stride,
                                padding=padding, dilation=dilation)
    with torch.no_grad():
        predictor.predict.weight[:, :, kernel_size // 2, kernel_size // 2] = 1
    x = normal(1, 1, 11, 9)
    centre = torch.zeros(1, 1, window, window)
    centre[:, :, window // 2, window // 2] = 1
    want = functional.conv2d(x, centre, stride=stride, padding=padding, dilation=dilation) + 1
    torch.testing.assert_close(predictor.numbers(x), want)


def test_another_weight_may_stand_in():
    predictor = OffsetPredictor(2, RELEASED_OFFSETS)
    weight = torch.tensor([0.5, 0.25]).reshape(1, 2, 1, 1)
    x = normal(1, 2, 3, 3)
    want = (x[:, 0] * 0.5 + x[:, 1] * 0.25 + 1)[:, None]
    torch.testing.assert_close(predictor.numbers(x, weight=weight), want)
    torch.testing.assert_close(predictor(x, weight=weight)[:, :1], -(want - 1))


def test_predictor_says_its_rule():
    predictor = OffsetPredictor(2, ABLATION_OFFSETS, groups=3)
    assert predictor.rule is ABLATION_OFFSETS
    assert predictor.groups == 3
    assert "bounds=(0, 8), rounded=False), groups=3" in repr(predictor)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"square": 1}, TypeError, "Square switch must be True or False, not 1"),
    ({"rounded": None}, TypeError, "Rounding switch must be True or False, not None"),
    ({"scalar": "dilation"}, TypeError, "Square scalar must be a SquareScalar, not 'dilation'"),
    ({"square": False, "scalar": SquareScalar.INCREMENT}, ValueError,
     "Square scalar must be left out where offsets are not square, not 'increment'"),
    ({"bounds": 7}, TypeError, "Offset bounds must be two numbers (low, high), not 7"),
    ({"bounds": (0, 7, 8)}, TypeError, "Offset bounds must be two numbers (low, high), not (0, 7, 8)"),
    ({"bounds": (0, True)}, TypeError, "Offset bounds must be two numbers (low, high), not (0, True)"),
    ({"bounds": (0, -1)}, ValueError, "Offset bounds must be finite, the lower first, not (0, -1)"),
    ({"bounds": (0, math.inf)}, ValueError, "Offset bounds must be finite, the lower first, not (0, inf)"),
    ({"bounds": (math.nan, 1)}, ValueError, "Offset bounds must be finite, the lower first, not (nan, 1)"),
    ({"bounds": (0, 6.5), "rounded": True}, ValueError,
     "Offset bounds must be integers where offsets are rounded, not (0, 6.5)"),
])
def test_wrong_rules_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        OffsetRule(**fields)


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), [
    ((0, FREE_OFFSETS), {}, ValueError, "Channels must be at least 1, not 0"),
    ((1, "free"), {}, TypeError, "Offset rule must be an OffsetRule, not 'free'"),
    ((1, FREE_OFFSETS), {"groups": 0}, ValueError, "Offset groups must be at least 1, not 0"),
    ((1, FREE_OFFSETS), {"kernel_size": 2}, ValueError, "Offset kernel size must be odd, to have a centre, not 2"),
    ((1, FREE_OFFSETS), {"window": 4}, ValueError, "Window must be odd, to have a centre, not 4"),
    ((1, FREE_OFFSETS), {"window": 0}, ValueError, "Window must be at least 1, not 0"),
    ((1, FREE_OFFSETS), {"stride": 0}, ValueError, "Stride must be at least 1, not 0"),
    ((1, FREE_OFFSETS), {"padding": -1}, ValueError, "Padding must be at least 0, not -1"),
    ((1, FREE_OFFSETS), {"dilation": 1.0}, TypeError, "Dilation must be an integer, not 1.0"),
])
def test_wrong_predictors_are_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        OffsetPredictor(*arguments, **keywords)


@pytest.mark.parametrize("rule", [RELEASED_OFFSETS, OffsetRule(square=False, bounds=(0, 7), rounded=True),
                                  OffsetRule(bounds=None, rounded=True)], ids=str)
def test_dilations_need_whole_square_bounded_offsets(rule):
    with pytest.raises(ValueError, match="Offset rule must be square, rounded and bounded to have whole dilations, "
                                         "not OffsetRule"):
        OffsetPredictor(1, rule).dilations(normal(1, 1, 3, 3))
