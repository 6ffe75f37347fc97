"""Group quantization against torch's own, against sw.quantize, and against every range there is to try."""

import pytest
import torch
from torch.ao.quantization import PerChannelMinMaxObserver

from sw.formats import parse
from sw.ptq import GroupQuantized, quantize_groups
from sw.quantize import absmax_scale, fake_quantize

WIDTHS = (2, 3, 4, 8)


def weights_of(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator) + 0.3 * torch.randn(shape[0], 1, generator=generator)).to(dtype)


@pytest.mark.parametrize("width", WIDTHS)
def test_asymmetric_ranges_are_those_of_torchs_observer(width):
    weights = weights_of(24, 32)
    got = quantize_groups(weights, width=width, group_size=8)
    observer = PerChannelMinMaxObserver(ch_axis=0, dtype=torch.quint8, qscheme=torch.per_channel_affine,
                                        quant_min=0, quant_max=2**width - 1)
    observer(weights.reshape(-1, 8))
    scales, points = observer.calculate_qparams()
    # The observer divides the range, we each end of it: they differ by the rounding of float32.
    torch.testing.assert_close(got.scales.flatten(), scales, rtol=3e-7, atol=0)
    assert torch.equal(got.zero_points.flatten().to(torch.int32), points.to(torch.int32))


@pytest.mark.parametrize("width", WIDTHS)
def test_asymmetric_values_are_those_of_torchs_fake_quantization(width):
    """With powers of two as scales, by whose inverses torch multiplies, and without ties, which it rounds otherwise."""
    weights = weights_of(24, 32)
    groups = weights.reshape(-1, 8)
    ends = torch.tensor([0.0, 2**width - 1])
    scales = torch.logspace(-6, -2, 96, base=2).log2().floor().exp2()
    points = torch.arange(96) % 2**width
    # The extremes of a group set its scale: two of its weights are made to be them.
    groups[:, :2] = (ends - points[:, None]) * scales[:, None]
    inside = torch.rand(96, 6, generator=torch.Generator().manual_seed(1)) * (2**width - 1)
    groups[:, 2:] = (inside - points[:, None]) * scales[:, None]
    got = quantize_groups(weights, width=width, group_size=8)
    assert torch.equal(got.scales.flatten(), scales)
    assert torch.equal(got.zero_points.flatten().to(torch.int64), points)
    want = torch.fake_quantize_per_channel_affine(groups, scales, points.to(torch.int32), 0, 0, 2**width - 1)
    assert torch.equal(got.dequantize().reshape(-1, 8), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("width", WIDTHS)
def test_symmetric_is_fake_quantization_to_twos_complement(width, dtype):
    weights, fmt = weights_of(16, 48, dtype=dtype), parse(f"int{width}")
    got = quantize_groups(weights, width=width, group_size=16, symmetric=True)
    scale = absmax_scale(weights, fmt, group_size=16).to(torch.float32)
    assert torch.equal(got.scales, scale)
    assert got.symmetric
    assert bool((got.zero_points == 2 ** (width - 1)).all())
    want = fake_quantize(weights.to(torch.float64), fmt, scale=scale.to(torch.float64), group_size=16)
    if dtype == torch.float64:
        assert torch.equal(got.dequantize(torch.float64), want)
    assert torch.equal(got.dequantize(), fake_quantize(weights, fmt, scale=scale, group_size=16, dtype=torch.float32))
    assert int(got.codes.min()) >= 1  # the lowest code lies beyond the largest magnitude


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_weight_is_off_by_more_than_half_a_step(width, symmetric):
    weights = weights_of(12, 40)
    got = quantize_groups(weights, width=width, group_size=10, symmetric=symmetric)
    error = (got.dequantize(torch.float64) - weights).abs()
    # The zero point is rounded too, so that one end may be half a step beyond the codes.
    steps = got.scales.to(torch.float64).repeat_interleave(10, 1)
    assert bool((error <= steps * (0.5 if symmetric else 1.0) * (1 + 1e-5)).all())
    assert bool((error <= 0.5 * steps * (1 + 1e-5)).float().mean() > 0.9)


@pytest.mark.parametrize("symmetric", [False, True])
def test_zero_stays_zero(symmetric):
    weights = weights_of(8, 32)
    weights[:, ::3] = 0
    weights[2] = 0
    weights[3] = weights[3].abs() + 1
    weights[4] = -weights[4].abs() - 1
    for width in WIDTHS:
        got = quantize_groups(weights, width=width, group_size=16, symmetric=symmetric)
        assert not bool(got.dequantize()[weights == 0].any())
        assert not bool(got.integers()[weights == 0].any())
    assert got.scales[2].tolist() == [1, 1]


@pytest.mark.parametrize("scale_dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("symmetric", [False, True])
def test_codes_are_chosen_for_the_rounded_scale(scale_dtype, symmetric):
    weights = weights_of(8, 32)
    got = quantize_groups(weights, width=8, group_size=16, symmetric=symmetric, scale_dtype=scale_dtype)
    assert got.scales.dtype == scale_dtype
    groups, scales = weights.unflatten(1, (2, 16)), got.scales.float().unsqueeze(-1)
    points = got.zero_points.unsqueeze(-1).float()
    nearest = ((groups / scales).round() + points).clamp(0, 255)
    assert torch.equal(got.codes.float(), nearest.flatten(1))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_clip_search_takes_the_best_range_of_each_group(width, symmetric):
    weights = weights_of(10, 128, dtype=torch.float64)
    steps = 6
    got = quantize_groups(weights, width=width, group_size=64, symmetric=symmetric, clip_steps=steps,
                          smallest_clip=0.4)
    errors, groups = [], weights.unflatten(1, (2, 64))
    low, high = groups.amin(-1, keepdim=True).clamp(max=0), groups.amax(-1, keepdim=True).clamp(min=0)
    for step in range(steps + 1):
        clip = 1 - step * 0.6 / steps
        if symmetric:
            scale = (groups.abs().amax(-1, keepdim=True) * clip / (2 ** (width - 1) - 1)).float().double()
            values = (groups / scale).round().clamp(-(2 ** (width - 1)), 2 ** (width - 1) - 1) * scale
        else:
            scale = ((high - low) * clip / (2**width - 1)).float().double()
            point = (-low * clip / scale).round()
            values = (((groups / scale).round() + point).clamp(0, 2**width - 1) - point) * scale
        errors.append((values - groups).square().sum(-1))
    error = (got.dequantize(torch.float64) - weights).unflatten(1, (2, 64)).square().sum(-1)
    torch.testing.assert_close(error, torch.stack(errors).amin(0), rtol=1e-12, atol=0)
    if width < 8:
        assert bool((error < errors[0] * 0.95).any())


def test_clip_search_keeps_the_whole_range_where_nothing_is_better():
    weights = torch.tensor([[0.0, 1, 2, 3, 0, 1, 2, 3]])
    plain = quantize_groups(weights, width=2, group_size=4)
    searched = quantize_groups(weights, width=2, group_size=4, clip_steps=20)
    assert torch.equal(plain.dequantize(), weights)
    assert torch.equal(searched.scales, plain.scales)
    assert torch.equal(searched.codes, plain.codes)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e30, 1e38])
def test_extreme_sizes(size, symmetric):
    weights = torch.tensor([[-1.0, 0.5, 1, 0.25]]) * size
    got = quantize_groups(weights, width=8, group_size=4, symmetric=symmetric)
    assert bool(got.dequantize().isfinite().all())
    if size > 1e-40:
        torch.testing.assert_close(got.dequantize(), weights, rtol=0, atol=size / 100)


def test_small_scales_do_not_vanish_in_float16():
    got = quantize_groups(torch.full((1, 4), 1e-12), width=4, group_size=4, scale_dtype=torch.float16)
    assert float(got.scales) > 0
    assert not bool(got.dequantize().any())


def test_properties():
    got = quantize_groups(weights_of(4, 24), width=3, group_size=8)
    assert (got.group_size, got.format) == (8, parse("uint3"))
    assert (got.codes.dtype, got.zero_points.dtype, got.integers().dtype) == (torch.uint8, torch.uint8, torch.int16)
    assert got.scales.shape == got.zero_points.shape == (4, 3)
    want = got.codes.double().unflatten(1, (3, 8)) - got.zero_points.double().unsqueeze(-1)
    assert torch.equal(got.dequantize(torch.float64), (want * got.scales.double().unsqueeze(-1)).flatten(1))


W = torch.ones(4, 8)
GOOD = {"codes": torch.zeros(2, 8, dtype=torch.uint8), "scales": torch.ones(2, 2),
        "zero_points": torch.full((2, 2), 8, dtype=torch.uint8), "width": 4, "symmetric": True}


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"width": 9}, ValueError, "Width must be between 2 and 8 bits, not 9"),
    ({"width": 1}, ValueError, "Width must be between 2 and 8 bits, not 1"),
    ({"width": 4.0}, TypeError, "Width must be an integer, not 4.0"),
    ({"group_size": 3}, ValueError, "Group size must divide the 8 inputs, not 3; pad the weights with zeros"),
    ({"group_size": 0}, ValueError, "Group size must be at least 1, not 0"),
    ({"weights": torch.tensor([[1.0, torch.inf]])}, ValueError, "Weights must be finite, not inf in row 0, column 1"),
    ({"weights": torch.ones(8)}, ValueError, r"Weights must be of shape \(outputs, inputs\)"),
    ({"symmetric": 1}, TypeError, "Symmetric must be True or False, not 1"),
    ({"clip_steps": -1}, ValueError, "Clip steps must be at least 0, not -1"),
    ({"smallest_clip": 1}, ValueError, "Smallest clip must be between 0 and 1, both excluded, not 1"),
    ({"smallest_clip": None}, TypeError, "Smallest clip must be a number, not None"),
    ({"scale_dtype": torch.float64}, TypeError,
     "Scale dtype must be torch.float16, torch.bfloat16 or torch.float32, not torch.float64"),
    ({"weights": torch.full((1, 4), 1e9), "scale_dtype": torch.float16}, ValueError,
     r"Scales must be within the range of torch.float16, not 6.66667e\+07; give scale_dtype=torch.float32"),
])
def test_wrong_arguments(parameters, error, message):
    with pytest.raises(error, match=message):
        quantize_groups(**{"weights": W, "width": 4, "group_size": 4} | parameters)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"codes": torch.zeros(2, 8)}, TypeError, "Codes must be a tensor of torch.uint8, not torch.float32"),
    ({"scales": torch.ones(2, 2, dtype=torch.float64)}, TypeError,
     "Scales must be a tensor of torch.float16 or torch.bfloat16 or torch.float32, not torch.float64"),
    ({"zero_points": [8]}, TypeError, r"Zero points must be a tensor of torch.uint8, not \[8\]"),
    ({"codes": torch.zeros(0, 8, dtype=torch.uint8)}, ValueError,
     r"Codes must be a matrix with elements, not of shape \(0, 8\)"),
    ({"scales": torch.ones(2, 3)}, ValueError,
     r"Scales and zero points must be of one shape, .* for codes of shape \(2, 8\), not \(2, 3\) and \(2, 2\)"),
    ({"codes": torch.full((2, 8), 16, dtype=torch.uint8)}, ValueError,
     "Codes must be between 0 and 15 for 4 bits, not 16"),
    ({"zero_points": torch.full((2, 2), 20, dtype=torch.uint8)}, ValueError,
     "Zero points must be between 0 and 15 for 4 bits, not 20"),
    ({"zero_points": torch.full((2, 2), 7, dtype=torch.uint8)}, ValueError,
     "Zero points must be 8, the middle code, of symmetric codes of 4 bits, not others"),
    ({"scales": torch.zeros(2, 2)}, ValueError, "Scales must be positive and finite"),
    ({"scales": torch.full((2, 2), torch.nan)}, ValueError, "Scales must be positive and finite"),
    ({"width": 16}, ValueError, "Width must be between 2 and 8 bits, not 16"),
    ({"symmetric": None}, TypeError, "Symmetric must be True or False, not None"),
])
def test_wrong_fields(fields, error, message):
    with pytest.raises(error, match=message):
        GroupQuantized(**GOOD | fields)


def test_wrong_result_type():
    with pytest.raises(TypeError, match="Result dtype must be torch.float32 or torch.float64, not torch.float16"):
        GroupQuantized(**GOOD).dequantize(torch.float16)
