"""Quantization of activations, with a range that follows the data."""

import math
import re

import pytest
import torch

from sw.nn import ActivationQuantizer


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 5.0), (-3.0, 0.0), (-2.5, 2.5)])
def test_asymmetric_codes_are_those_of_torch(low, high):
    quantizer = ActivationQuantizer(low=low, high=high).eval()
    x = normal(2000) * 4
    step, zero_point = quantizer.step, quantizer.zero_point
    assert step == pytest.approx((high - low) / 255)
    assert zero_point == -128 - math.floor(low / step + 0.5)
    want = torch.fake_quantize_per_tensor_affine(x, step, zero_point, -128, 127)
    torch.testing.assert_close(quantizer(x), want)
    codes = quantizer.codes(x)
    assert codes.dtype == torch.int8
    assert torch.equal(codes, ((want / step).round() + zero_point).to(torch.int8))
    assert torch.equal(quantizer.values(codes), quantizer(x))


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-8.0, 5.0)])
def test_symmetric_codes_have_their_zero_at_zero(low, high):
    quantizer = ActivationQuantizer(symmetric=True, low=low, high=high).eval()
    assert quantizer.zero_point == 0
    assert quantizer.step == pytest.approx(max(-low, high) / 127)
    x = normal(2000) * 4
    want = torch.fake_quantize_per_tensor_affine(x, quantizer.step, 0, -128, 127)
    torch.testing.assert_close(quantizer(x), want)


def test_ties_go_up():
    quantizer = ActivationQuantizer(low=-128.0, high=127.0).eval()
    assert (quantizer.step, quantizer.zero_point) == (1.0, 0)
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert quantizer(x).tolist() == [-2, -1, 0, 1, 2, 3]
    assert quantizer.codes(x).tolist() == [-2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_zero_is_exact_and_codes_fit(bits, symmetric):
    quantizer = ActivationQuantizer(bits=bits, symmetric=symmetric)
    quantizer(normal(500) + 0.7)
    quantizer.eval()
    least, greatest = quantizer.code_range
    assert (least, greatest) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert quantizer.codes(torch.zeros(1)).item() == quantizer.zero_point
    assert quantizer(torch.zeros(1)).item() == 0
    codes = quantizer.codes(normal(500) * 100)
    assert (codes.min(), codes.max()) == (least, greatest)
    every = torch.arange(least, greatest + 1)
    assert torch.equal(quantizer.codes(quantizer.values(every)).long(), every)


def test_range_is_a_moving_average_that_holds_zero():
    quantizer = ActivationQuantizer(momentum=0.75)
    assert not quantizer.is_calibrated
    quantizer(torch.tensor([1.0, 4.0]))
    assert (quantizer.low.item(), quantizer.high.item()) == (0, 4)
    quantizer(torch.tensor([-2.0, 8.0]))
    assert (quantizer.low.item(), quantizer.high.item()) == (-0.5, 5)
    quantizer(torch.tensor([-3.0, -1.0]))
    assert (quantizer.low.item(), quantizer.high.item()) == (-1.125, 3.75)
    quantizer.eval()(torch.tensor([100.0]))
    assert quantizer.high.item() == 3.75
    assert ActivationQuantizer(momentum=0.0, low=-9.0, high=9.0)(torch.tensor([2.0])).item() == 2


def test_default_momentum_is_the_published_one():
    quantizer = ActivationQuantizer(low=0.0, high=1.0)
    quantizer(torch.tensor([0.0, 2.0]))
    assert quantizer.high.item() == pytest.approx(0.99 * 1 + 0.01 * 2)


def test_gradient_passes_within_the_range_alone():
    quantizer = ActivationQuantizer(low=-1.0, high=3.0).eval()
    x = torch.tensor([-1.5, -1.0, 0.01, 2.9, 3.2], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_a_range_of_zero_gives_zero():
    quantizer = ActivationQuantizer()
    assert not quantizer(torch.zeros(5)).any()
    assert quantizer.step > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_result_has_the_type_of_the_input(dtype):
    quantizer = ActivationQuantizer(low=-2.0, high=2.0).eval()
    x = normal(50).to(dtype)
    assert quantizer(x).dtype == dtype
    torch.testing.assert_close(quantizer(x), quantizer(x.float()).to(dtype))


def test_state_holds_the_range():
    first, second = ActivationQuantizer(), ActivationQuantizer()
    first(normal(100))
    assert list(first.state_dict()) == ["low", "high"]
    second.load_state_dict(first.state_dict())
    x = normal(30, seed=1)
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_quantizer_says_what_it_does():
    quantizer = ActivationQuantizer(symmetric=True)
    assert (quantizer.bits, quantizer.symmetric) == (8, True)
    assert repr(quantizer) == "ActivationQuantizer(bits=8, symmetric=True, momentum=0.99)"
    assert "range=-1 to 2.5" in repr(ActivationQuantizer(low=-1, high=2.5))
    assert "range" not in repr(ActivationQuantizer(low=-1, high=2.5).to("meta"))


@pytest.mark.parametrize(("keywords", "error", "message"), [
    ({"bits": 9}, ValueError, "Activation bits must be between 2 and 8, not 9"),
    ({"bits": 8.0}, TypeError, "Activation bits must be an integer, not 8.0"),
    ({"symmetric": 0}, TypeError, "Symmetry switch must be True or False, not 0"),
    ({"momentum": 1}, ValueError, "Momentum must be at least 0 and less than 1, not 1"),
    ({"momentum": "0.9"}, TypeError, "Momentum must be a number, not '0.9'"),
    ({"low": 0.0}, ValueError, "Range must have both ends or neither, not low=0.0, high=None"),
    ({"low": True, "high": 1.0}, TypeError, "Range must be a number, not True"),
    ({"low": 1.0, "high": 2.0}, ValueError, "Range must be finite and hold zero, not low=1.0, high=2.0"),
    ({"low": -math.inf, "high": 2.0}, ValueError, "Range must be finite and hold zero, not low=-inf, high=2.0"),
    ({"low": math.nan, "high": 2.0}, ValueError, "Range must be finite and hold zero, not low=nan, high=2.0"),
])
def test_wrong_arguments_are_refused(keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        ActivationQuantizer(**keywords)


def test_wrong_activations_are_refused():
    quantizer = ActivationQuantizer()
    for x, error, message in [
        (torch.ones(2, dtype=torch.int8), TypeError, "Activations must be of a floating-point dtype, not torch.int8"),
        (torch.ones(0), ValueError, "Activations must have elements to take a range of, not shape (0,)"),
        (torch.tensor([torch.inf, -1.0]), ValueError, "Activations must be finite to take a range of, not -1.0 to inf"),
        (torch.tensor([torch.nan]), ValueError, "Activations must be finite to take a range of, not nan to nan"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            quantizer(x)
    assert not quantizer.is_calibrated


def test_an_unknown_range_is_refused():
    quantizer = ActivationQuantizer().eval()
    message = ("Range must be known before activations are quantized, not NaN; give low= and high=, or run a batch in "
               "training mode")
    for use in (lambda: quantizer(torch.ones(1)), lambda: quantizer.codes(torch.ones(1)), lambda: quantizer.step,
                lambda: quantizer.zero_point, lambda: quantizer.values(torch.ones(1, dtype=torch.int8))):
        with pytest.raises(ValueError, match=message):
            use()


def test_wrong_codes_are_refused():
    quantizer = ActivationQuantizer(bits=4, low=0.0, high=1.0)
    with pytest.raises(ValueError, match="Codes must be between -8 and 7, not 8 to 8"):
        quantizer.values(torch.tensor([8]))
    with pytest.raises(TypeError, match=re.escape("Codes must be of an integer dtype, not torch.float32")):
        quantizer.values(torch.ones(1))
    with pytest.raises(ValueError, match=re.escape(
            "Activations must be numbers to have codes, not NaN; see torch.nan_to_num")):
        quantizer.codes(torch.tensor([torch.nan]))
