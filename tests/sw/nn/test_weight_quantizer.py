"""Quantization of weights, a scale for each output channel."""

import copy
import re

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize

from sw.formats import parse
from sw.nn import WeightQuantizer, weight_integers
from sw.quantize import absmax_scale, fake_quantize

INT4 = parse("int4")


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("bits", "most"), [(4, 7), (8, 127), (2, 1)])
@pytest.mark.parametrize("shape", [(6, 1, 3, 3), (5, 64, 1, 1), (4, 10), (3,)])
def test_symmetric_integers_of_each_channel(bits, most, shape):
    weight = normal(*shape, dtype=torch.float64)
    quantizer = WeightQuantizer(parse(f"int{bits}"))
    integers = weight_integers(weight, quantizer)
    rows = weight.reshape(shape[0], -1)
    want = (rows * most / rows.abs().amax(1, keepdim=True)).round().clamp(-most - 1, most).reshape(shape)
    assert integers.dtype == torch.int8
    assert torch.equal(integers.double(), want)
    assert integers.abs().max() == most
    scale = quantizer.scale(weight).reshape(-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(quantizer(weight), want * scale)


def test_percentiles_cut_off_few_weights_and_saturate_them():
    weight = normal(3, 4000)
    weight[0, 7] = 100.0
    weight[1, 9] = -100.0
    quantizer = WeightQuantizer(INT4, percentiles=True)
    low, high = np.percentile(weight.double().numpy(), [0.1, 99.9], axis=1)
    np.testing.assert_allclose(quantizer.scale(weight).numpy(), np.maximum(-low, high) / 7, rtol=1e-5)
    integers = weight_integers(weight, quantizer)
    assert integers[0, 7] == 7
    assert integers[1, 9] == -8
    assert integers.unique().tolist() == list(range(-8, 8))


def test_a_filter_of_few_taps_is_cut_by_a_twentieth():
    few, many = normal(4, 1, 3, 3), normal(4, 10)
    quantizer = WeightQuantizer(INT4, percentiles=True)
    torch.testing.assert_close(quantizer.scale(few), 0.95 * few.flatten(1).abs().amax(1) / 7)
    low, high = np.percentile(many.numpy(), [0.1, 99.9], axis=1)
    np.testing.assert_allclose(quantizer.scale(many).numpy(), np.maximum(-low, high) / 7, rtol=1e-5)


@pytest.mark.parametrize("name", ["float4_e2m1fn", "fixed8_4", "posit8_1", "int8"])
def test_any_format_of_the_library(name):
    fmt, weight = parse(name), normal(5, 3, 3, 3)
    want = fake_quantize(weight, fmt, scale=absmax_scale(weight, fmt, axis=0), axis=0)
    torch.testing.assert_close(WeightQuantizer(fmt)(weight), want)


def test_every_weight_learns_the_largest_included():
    weight = normal(500, 20).requires_grad_()
    WeightQuantizer(INT4)(weight).sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert (weight / absmax_scale(weight, INT4, axis=0)[:, None] > 7).any()  # why it is not simply that scale


def test_clipped_weights_do_not_learn():
    weight = normal(3, 4000).requires_grad_()
    quantizer = WeightQuantizer(INT4, percentiles=True)
    quantizer(weight).sum().backward()
    scaled = weight / quantizer.scale(weight)[:, None]
    assert torch.equal(weight.grad == 1, (scaled >= -8) & (scaled <= 7))
    assert (weight.grad == 0).any()


def test_channels_of_zeros_stay_zero():
    assert not WeightQuantizer(INT4)(torch.zeros(2, 3)).any()
    assert WeightQuantizer(INT4).scale(torch.zeros(2, 3)).tolist() == [1.0, 1.0]


def test_registered_with_a_layer_it_rounds_what_the_layer_learns():
    conv = torch.nn.Conv2d(3, 4, 3)
    plain = copy.deepcopy(conv)
    quantizer = WeightQuantizer(parse("int8"))
    parametrize.register_parametrization(conv, "weight", quantizer)
    x = normal(1, 3, 5, 5)
    plain.weight.data.copy_(quantizer(plain.weight))
    assert torch.equal(conv(x), plain(x))
    conv(x).sum().backward()
    assert conv.parametrizations.weight.original.grad.any()


def test_quantizer_says_what_it_does():
    assert repr(WeightQuantizer(INT4)) == "WeightQuantizer(int4)"
    assert repr(WeightQuantizer(INT4, percentiles=True)) == "WeightQuantizer(int4, percentiles=True)"
    assert WeightQuantizer(INT4).format == INT4


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), [
    (("int4",), {}, TypeError, "not 'int4'"),
    ((INT4,), {"percentiles": 0.1}, TypeError, "Percentile switch must be True or False, not 0.1"),
])
def test_wrong_arguments_are_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=re.escape(message)):
        WeightQuantizer(*arguments, **keywords)


@pytest.mark.parametrize(("weight", "error", "message"), [
    (torch.ones(2, 2, dtype=torch.int32), TypeError, "Weight must be of a floating-point dtype, not torch.int32"),
    (torch.ones(()), ValueError, "Weight must have shape (K, ...), no size being zero, not ()"),
    (torch.ones(2, 0), ValueError, "Weight must have shape (K, ...), no size being zero, not (2, 0)"),
    (torch.tensor([[torch.nan]]), ValueError, "Input must be finite to scale it by its largest magnitude"),
])
def test_wrong_weights_are_refused(weight, error, message):
    with pytest.raises(error, match=re.escape(message)):
        WeightQuantizer(INT4)(weight)


@pytest.mark.parametrize(("quantizer", "error", "message"), [
    (torch.nn.Identity(), TypeError, "Weight quantizer must be a WeightQuantizer, not 'Identity'"),
    (WeightQuantizer(parse("e4m3")), ValueError, "Weight format must be int2 to int8 to have integers, not "
                                                 "float8_e4m3fn"),
    (WeightQuantizer(parse("uint4")), ValueError, "Weight format must be int2 to int8 to have integers, not uint4"),
    (WeightQuantizer(parse("int9")), ValueError, "Weight format must be int2 to int8 to have integers, not int9"),
    (WeightQuantizer(parse("fixed8_4")), ValueError, "Weight format must be int2 to int8 to have integers, not fixed"),
])
def test_formats_without_integers_are_refused(quantizer, error, message):
    with pytest.raises(error, match=re.escape(message)):
        weight_integers(normal(2, 3), quantizer)
