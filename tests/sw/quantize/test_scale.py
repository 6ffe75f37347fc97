"""Scales from the largest magnitude, and the shapes that go with each granularity."""

import pytest
import torch

from sw.formats import FixedPointFormat, parse
from sw.quantize import absmax_scale, fake_quantize, scale_shape

E4M3 = parse("float8_e4m3fn")


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("axis", "group_size", "shape"), [
    (None, None, ()), (0, None, (6,)), (-1, None, (8,)), (None, 4, (6, 4, 2)), (0, 3, (2, 4, 8)), (-2, 4, (6, 1, 8)),
])
def test_shape_of_the_scales(axis, group_size, shape):
    x = normal(6, 4, 8)
    assert scale_shape(x, axis=axis, group_size=group_size) == shape
    scale = absmax_scale(x, E4M3, axis=axis, group_size=group_size)
    assert scale.shape == shape
    assert fake_quantize(x, E4M3, scale=scale, axis=axis, group_size=group_size).shape == x.shape


@pytest.mark.parametrize("name", ["e4m3", "e2m1", "int8", "fixed<8,4>"])
def test_largest_magnitude_becomes_the_largest_value(name):
    fmt, x = parse(name), normal(4, 16)
    largest = float(fmt.max_finite)
    assert absmax_scale(x, fmt).item() == (x.abs().max() / largest).item()
    assert torch.equal(absmax_scale(x, fmt, axis=0), x.abs().amax(1) / largest)
    assert torch.equal(absmax_scale(x, fmt, axis=1), x.abs().amax(0) / largest)
    assert torch.equal(absmax_scale(x, fmt, group_size=8), x.abs().view(4, 2, 8).amax(2) / largest)
    assert torch.equal(absmax_scale(x, fmt, axis=0, group_size=2), x.abs().view(2, 2, 16).amax(1) / largest)
    quantized = fake_quantize(x, fmt, scale=absmax_scale(x, fmt, axis=0), axis=0)
    torch.testing.assert_close(quantized.abs().amax(1), x.abs().amax(1), rtol=1e-6, atol=0)


def test_power_of_two_is_the_smallest_that_saturates_nothing():
    x = torch.tensor([[448.0], [448.5], [447.0], [224.0], [225.0], [3e-30], [1e30]])
    scale = absmax_scale(x, E4M3, axis=0, power_of_two=True)
    assert scale[:5].tolist() == [1, 2, 1, 0.5, 1]
    mantissa, _ = torch.frexp(scale)
    assert mantissa.tolist() == [0.5] * 7
    assert bool((x.flatten() / scale <= 448).all())
    assert bool((x.flatten() / (scale / 2) > 448).all())


@pytest.mark.parametrize(("dtype", "wanted"), [
    (torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float32, torch.float32),
    (torch.float64, torch.float64)], ids=str)
def test_type_of_the_scales(dtype, wanted):
    assert absmax_scale(normal(8).to(dtype), E4M3).dtype == wanted


@pytest.mark.parametrize("power_of_two", [False, True])
def test_zero_and_tiny_tensors_have_usable_scales(power_of_two):
    x = torch.tensor([[0.0, -0.0], [1e-45, 0.0], [1.0, 448.0]])
    scale = absmax_scale(x, E4M3, axis=0, power_of_two=power_of_two)
    assert scale[0] == 1
    assert scale[2] == 1
    assert scale[1] > 0
    assert bool(torch.isfinite(fake_quantize(x, E4M3, scale=scale, axis=0)).all())


def test_a_format_without_positive_values_gets_scale_one():
    assert absmax_scale(normal(4), FixedPointFormat(width=1)).item() == 1


def test_scales_have_no_gradient():
    x = normal(4).requires_grad_()
    assert not absmax_scale(x, E4M3).requires_grad


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"axis": 2}, ValueError, r"Axis must be between -2 and 1 for an input of shape \(4, 6\), not 2"),
    ({"axis": True}, TypeError, "Axis must be an integer, not True"),
    ({"group_size": 4}, ValueError, "Group size must divide the 6 elements along axis 1, not 4; pad the input"),
    ({"group_size": 0}, ValueError, "Group size must divide the 6 elements along axis 1, not 0"),
    ({"group_size": 2.0}, TypeError, r"Group size must be an integer, not 2\.0"),
])
def test_granularity_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        scale_shape(normal(4, 6), **arguments)
    with pytest.raises(error, match=message):
        absmax_scale(normal(4, 6), E4M3, **arguments)
    with pytest.raises(error, match=message):
        fake_quantize(normal(4, 6), E4M3, scale=1.0, **arguments)


def test_maximum_of_nothing_wrong():
    with pytest.raises(ValueError, match=r"Input must have elements to take a maximum of, not shape \(0, 3\)"):
        absmax_scale(torch.empty(0, 3), E4M3)


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_maximum_of_special_values_wrong(bad):
    with pytest.raises(ValueError, match="Input must be finite to scale it by its largest magnitude, not with an"):
        absmax_scale(torch.tensor([1.0, bad]), E4M3)
