"""The grid of a weight matrix against fake quantization, and against all values of the format."""

import pytest
import torch

from sw.formats import parse, parse_block
from sw.ptq.grid import Grid
from sw.quantize import fake_quantize, from_codes
from tests.sw.ptq.rounding_problems import FORMATS, grid_of, random


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_nearest_is_fake_quantization_bit_for_bit(name, dtype):
    weights = random(7, 30).to(dtype)
    scale = grid_of(weights.double(), name).scale[:, 0].to(torch.float32)
    got = Grid(format=parse(name), scale=scale.unsqueeze(-1).expand(weights.shape)).nearest(weights)
    want = fake_quantize(weights, parse(name), scale=scale, axis=0)
    assert got.dtype == dtype
    assert torch.equal(got, want), (weights[got != want], got[got != want], want[got != want])


@pytest.mark.parametrize("name", FORMATS)
def test_neighbours_are_those_among_all_values_of_the_format(name):
    fmt = parse(name)
    codes = torch.arange(1 << fmt.width)
    codes = codes[codes != 1 << fmt.width - 1] if "posit" in name or "narrow" in name else codes
    values = from_codes(codes, fmt, torch.float64).unique()
    x = torch.cat([random(300) * 4, values, (values[1:] + values[:-1]) / 2, values[[0, -1]] * 1.5])
    x = x[(x == 0) | (x.abs() >= values[values > 0][0])]  # a posit rounds nothing but zero to zero
    down, up = Grid(format=fmt, scale=torch.full_like(x, 0.5)).neighbours(x * 0.5)
    inside = x.clamp(values[0], values[-1])
    want_down = torch.stack([values[values <= each].max() for each in inside]) * 0.5
    want_up = torch.stack([values[values >= each].min() for each in inside]) * 0.5
    assert torch.equal(down, want_down), (x[down != want_down], down[down != want_down], want_down[down != want_down])
    assert torch.equal(up, want_up), (x[up != want_up], up[up != want_up], want_up[up != want_up])


def test_scales_in_float64_count_as_such():
    """Those of a block format with two levels: quotients of float32 weights are rounded in float64."""
    weights, scale = torch.tensor([0.3], dtype=torch.float32), torch.tensor([0.1 * 1.5], dtype=torch.float64)
    grid = Grid(format=parse("int4"), scale=scale)
    assert grid.scale_for(torch.float32).dtype == torch.float64
    assert grid.nearest(weights).item() == torch.tensor(2 * scale.item(), dtype=torch.float32).item()


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"format": "int4"}, TypeError, "Grid format must be a FloatingPointFormat, a FixedPointFormat or a PositFormat, "
     "not 'int4'; of a block format, give the element"),
    ({"format": parse_block("mxfp4")}, TypeError, "Grid format must be a FloatingPointFormat, .* of a block format"),
    ({"scale": 1.0}, TypeError, "Grid scale must be a floating-point tensor, not 1.0"),
    ({"scale": torch.ones(3, dtype=torch.int32)}, TypeError, "Grid scale must be a floating-point tensor, "
     "not torch.int32"),
    ({"scale": torch.tensor([1.0, 0.0])}, ValueError, "Grid scale must be positive and finite, not 0.0"),
    ({"scale": torch.tensor([1.0, torch.nan])}, ValueError, "Grid scale must be positive and finite, not nan"),
])
def test_wrong_fields(fields, error, message):
    with pytest.raises(error, match=message):
        Grid(**({"format": parse("int4"), "scale": torch.ones(2)} | fields))
