"""Depthwise convolution against its definition, numpy, and a direct convolution of a feature map."""

import re

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference.depthwise_conv import DepthwiseConvolution
from sw.reference.dot import Dot
from sw.reference.model import Function, Port
from tests.support.lanes import assert_definition_agrees, random_inputs

E4M3, E2M1, INT4, INT8, INT24 = (parse(name) for name in ("e4m3", "e2m1", "int4", "int8", "int24"))


@pytest.mark.parametrize("model", [
    DepthwiseConvolution(lanes=3), DepthwiseConvolution(lanes=2, result=INT24),
    DepthwiseConvolution(lanes=2, a=E4M3, b=E2M1, taps=4, result=parse("bfloat16")),
    DepthwiseConvolution(lanes=3, a=parse("fixed<6,3>"), b=INT4, taps=5, result=parse("fixed<7,1>"),
                         rounding=RoundingMode.STOCHASTIC, random_bits=3, overflow=OverflowPolicy.WRAP),
    DepthwiseConvolution(lanes=1, a=parse("float8_e5m2"), taps=1),
], ids=lambda model: f"{model.a.name}-{model.b.name}-{model.taps}")
def test_arrays_agree_with_the_definition(model):
    assert isinstance(model, Function)
    assert_definition_agrees(model, random_inputs(model, 150, seed=1))


def test_a_feature_map_is_convolved_channel_by_channel():
    rng = np.random.default_rng(2)
    image, filters = rng.integers(-128, 128, (6, 5, 4)), rng.integers(-8, 8, (3, 3, 4))
    image[0], filters[..., 0] = -128, -8
    want = sum(image[ky:ky + 4, kx:kx + 3] * filters[ky, kx] for ky in range(3) for kx in range(3))
    windows = np.stack([image[ky:ky + 4, kx:kx + 3] for ky in range(3) for kx in range(3)], axis=2)
    model = DepthwiseConvolution(lanes=4, result=INT24)
    weights = np.broadcast_to(filters.reshape(1, -1), (12, 36))
    codes = model.evaluate({"window": (windows.reshape(12, 36) % 256).astype(np.uint64),
                            "weights": (weights % 16).astype(np.uint64)})["o"].astype(np.int64)
    np.testing.assert_array_equal(codes - (codes >> 23 << 24), want.reshape(12, 4))


def test_the_exact_sum_of_the_published_kernel_takes_fifteen_bits():
    model = DepthwiseConvolution(lanes=1)
    assert model.outputs == {"o": Port(width=15, lanes=1)}
    assert model([0x80] * 9, [8] * 9) == [9 * 128 * 8]


def test_ports():
    model = DepthwiseConvolution(lanes=2, a=E4M3, taps=3, result=E2M1, rounding=RoundingMode.STOCHASTIC, random_bits=5)
    assert model.inputs == {"window": Port.of(E4M3, 6), "weights": Port.of(INT4, 6), "random": Port(width=5, lanes=2)}
    assert model.outputs == {"o": Port.of(E2M1, 2)}
    assert model.dot == Dot(a=E4M3, b=INT4, result=E2M1, lanes=3, rounding=RoundingMode.STOCHASTIC, random_bits=5)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and 65536, not 0"),
    ({"lanes": "2"}, TypeError, "Lane count must be an integer, not '2'"),
    ({"taps": 0}, ValueError, "Tap count must be between 1 and 65536, not 0"),
    ({"lanes": 7282}, ValueError, "Lane count must be at most 7281 for 9 taps, not 7282"),
    ({"a": "int8"}, TypeError, "Format a must be a scalar format, as sw.formats.parse('e4m3') gives, not 'int8'"),
    ({"random_bits": 1}, ValueError, "Rounding mode must not be stochastic without a result format"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        DepthwiseConvolution(**{"lanes": 1, **fields})


def test_wrong_codes():
    model = DepthwiseConvolution(lanes=2, taps=2)
    with pytest.raises(ValueError, match="Vector window must have 4 codes, not 3"):
        model([1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="Vector weights must have 4 codes, not 5"):
        model([1, 2, 3, 4], [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="Vector random must have 2 codes, not 1"):
        model([1, 2, 3, 4], [1, 2, 3, 4], [0])
    with pytest.raises(ValueError, match="Code must be between 0 and 15 for int4, not 16"):
        model([1, 2, 3, 4], [1, 2, 3, 16])
    with pytest.raises(ValueError, match=r"Input weights must be of shape \(1, 4\), not \(1, 2\)"):
        model.evaluate({"window": np.zeros((1, 4), int), "weights": np.zeros((1, 2), int)})
