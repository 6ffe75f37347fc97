"""The quantizer of imported graphs."""

import numpy as np
import pytest
import torch
from qonnx.custom_op.general.floatquant import float_quant
from qonnx.custom_op.general.intquant import int_quant

from sw.export import ScaledQuantizer
from sw.formats import OverflowPolicy, RoundingMode, parse

X = torch.randn(4, 3, 500, generator=torch.Generator().manual_seed(0)) * 4


@pytest.mark.parametrize("scale", [torch.tensor(0.037), torch.tensor([[0.1], [0.033], [0.21]])],
                         ids=["tensor", "channel"])
@pytest.mark.parametrize(("rounding", "name"), [
    (RoundingMode.NEAREST_EVEN, "ROUND"), (RoundingMode.UP, "CEIL"), (RoundingMode.DOWN, "FLOOR"),
    (RoundingMode.TOWARD_ZERO, "DOWN"), (RoundingMode.NEAREST_AWAY, "HALF_UP"),
    (RoundingMode.NEAREST_ZERO, "HALF_DOWN")], ids=str)
@pytest.mark.parametrize("name_of_format", ["int4", "int5:narrow_range=true", "uint6", "int8"])
@pytest.mark.parametrize("point", [0.0, 5.0])
def test_integers_are_those_of_qonnx(name_of_format, rounding, name, scale, point):
    fmt = parse(name_of_format)
    got = ScaledQuantizer(fmt, scale, torch.tensor(point), rounding=rounding)(X).numpy()
    want = int_quant(X.numpy(), scale.numpy(), np.float32(point), np.float32(fmt.width), int(fmt.signed),
                     int(fmt.narrow_range), name)
    assert np.array_equal(got, want), (got[got != want], want[got != want])


@pytest.mark.parametrize("name_of_format", ["e2m1", "e3m2", "e4m3", "float8_e4m3fnuz", "float8_e5m2", "minifloat_e2m4"])
@pytest.mark.parametrize("saturating", [True, False])
def test_minifloats_are_those_of_qonnx(name_of_format, saturating):
    fmt = parse(name_of_format)
    if not saturating and fmt.nan_code is None:
        return  # qonnx raises
    scale = torch.tensor([[0.1], [0.033], [1 / float(fmt.max_finite)]])
    overflow = OverflowPolicy.SATURATE if saturating else OverflowPolicy.INFINITY
    got = ScaledQuantizer(fmt, scale, overflow=overflow)(X).numpy()
    want = float_quant(X.numpy(), scale.numpy(), *(np.float32(part) for part in (
        fmt.exponent_bits, fmt.fraction_bits, fmt.bias)), True, np.float32(fmt.max_finite), fmt.has_infinity,
        fmt.nan_code is not None, True, "ROUND", saturating).astype(np.float32)  # as its node does
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    assert same.all(), (got[~same], want[~same])
    assert saturating == bool(np.isfinite(want).all())


def test_a_scale_may_come_with_the_input():
    scale = torch.tensor([[0.1], [0.033], [0.21]])
    fmt = parse("int4")
    assert torch.equal(ScaledQuantizer(fmt, None)(X, scale), ScaledQuantizer(fmt, scale)(X))


def test_it_is_plain_where_the_layers_of_ptq_do_the_same():
    one, fmt = torch.tensor(1.0), parse("int4")
    assert ScaledQuantizer(fmt, one, torch.tensor(0.0)).is_plain
    assert not ScaledQuantizer(fmt, one, torch.tensor(1.0)).is_plain
    assert not ScaledQuantizer(fmt, None).is_plain
    assert not ScaledQuantizer(fmt, one, rounding=RoundingMode.UP).is_plain
    assert not ScaledQuantizer(parse("e4m3"), one, overflow=OverflowPolicy.INFINITY).is_plain


def test_its_text_says_what_it_does():
    assert repr(ScaledQuantizer(parse("uint4"), torch.ones(2, 1), torch.tensor(3.0))) == (
        "ScaledQuantizer(uint4, scale of shape (2, 1), zero point)")
    assert repr(ScaledQuantizer(parse("int4"), None)) == "ScaledQuantizer(int4, scale of the graph)"


def test_scales_and_zero_points_are_checked():
    with pytest.raises(ValueError, match=r"Scale must be positive and finite, not \[0.0, 1.0\]"):
        ScaledQuantizer(parse("int4"), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"Zero point must be 0 for float8_e4m3fn, not \[1.0\]"):
        ScaledQuantizer(parse("e4m3"), torch.tensor(1.0), torch.tensor(1.0))
    with pytest.raises(ValueError, match="Rounding of the quotient must be nearest-even, not up"):
        ScaledQuantizer(parse("int4"), torch.tensor(1.0), rounding=RoundingMode.UP, quotient_first=True)
