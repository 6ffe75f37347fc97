"""What the multi-level scaling format does to tensors (Zhong et al. 2022): the groupings, and integer arithmetic."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from sw.formats import parse, parse_block
from sw.quantize import fake_quantize_blocks, to_block_codes
from sw.reference.block import BlockDot

GROUPINGS = {
    "none": lambda x: x.flatten().unsqueeze(0), "c": lambda x: x.transpose(0, 1).flatten(1),
    "n": lambda x: x.flatten(1), "nc": lambda x: x.flatten(2),
}


def _tensor(seed):
    """A synthetic 32x16x8x8 tensor, normal with a log-normal spread over samples, channels and elements."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(size=(32, 1, 1, 1)) + rng.normal(size=(1, 16, 1, 1)) + 0.5 * rng.normal(
        size=(32, 16, 8, 8)))
    return torch.from_numpy(rng.normal(size=spread.shape) * spread).float()


def _error(x, name, grouping):
    grouped = GROUPINGS[grouping](x)
    fmt = dataclasses.replace(parse_block(name), block_size=grouped.shape[-1])
    return (((fake_quantize_blocks(grouped, fmt) - grouped) ** 2).sum() / (grouped ** 2).sum()).item()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "finest"), [("mls<2,4>", 2.5e-4), ("mls<2,1>", 0.017), ("mls<1,3>", 0.0059),
                                              ("mls<1,2>", 0.025)])
def test_finer_groups_err_less(name, finest, seed):
    """``finest`` is what a pilot measured with a scale for each sample and channel, on a tensor of such statistics."""
    x = _tensor(seed)
    none, c, n, nc = (_error(x, name, grouping) for grouping in ("none", "c", "n", "nc"))
    assert none > max(c, n)
    assert min(c, n) > nc
    assert none > 5 * nc
    assert finest / 1.5 < nc < finest * 1.5


@pytest.mark.parametrize("seed", range(3))
def test_two_exponent_bits_beat_fixed_point_of_the_same_four_bits(seed):
    """<2,1> against <0,3>, which is <1,2>: a sign and three bits both."""
    x = _tensor(seed)
    assert parse_block("mls<2,1>").element_bits == parse_block("mls<1,2>").element_bits == 4
    assert _error(x, "mls<2,1>", "nc") < _error(x, "mls<1,2>", "nc")


def _integers(codes, fmt):
    """Elements as integers in units of the smallest, and scales as (2 or 3, exponent): what the hardware holds."""
    values = {code: fmt.element.decode(code) for code in range(1 << fmt.element_bits)}
    table = torch.tensor([int(value / fmt.element.smallest_positive) if isinstance(value, Fraction) else 0
                          for value in values.values()])
    scales = codes.scales.to(torch.int64)
    return table[codes.elements.to(torch.int64)], 2 + (scales & 1), (scales >> 1) - 256


@pytest.mark.parametrize("name", ["mls<2,4>", "mls<2,1>", "mls<3,2>"])
def test_the_integer_path_equals_the_float64_path_bit_for_bit(name):
    """Integer MAC in one 3x3 window, times 4, 6 or 9 and a shift, and an adder tree over 16 channels."""
    fmt = parse_block(name)
    generator = torch.Generator().manual_seed(4)
    x, w = (torch.randn((20, 16, 9), generator=generator) * torch.exp2(torch.randint(-3, 3, (20, 16, 1),
                                                                                     generator=generator).float())
            for _ in range(2))
    codes_x, codes_w = to_block_codes(x, fmt), to_block_codes(w, fmt)
    (ix, mx, ex), (iw, mw, ew) = _integers(codes_x, fmt), _integers(codes_w, fmt)
    window = (ix * iw).sum(-1)
    factor, exponent = (mx * mw).squeeze(-1), (ex + ew).squeeze(-1)
    assert set(factor.flatten().tolist()) == {4, 6, 9}
    lowest = int(exponent.min())
    total = ((window * factor) << (exponent - lowest)).sum(-1)
    unit = fmt.element.smallest_positive ** 2 * Fraction(2) ** lowest
    integer_path = torch.tensor([float(value * unit) for value in total.tolist()], dtype=torch.float64)

    values = [fake_quantize_blocks(tensor.double(), fmt, tensor_scale=codes.tensor_scale)
              / codes.tensor_scale.double() for tensor, codes in ((x, codes_x), (w, codes_w))]
    assert torch.equal(integer_path, (values[0] * values[1]).sum((-1, -2)))
    bits = fmt.element.fraction_bits + 2 ** fmt.element.exponent_bits - 1
    assert int(window.abs().max()).bit_length() <= 2 * bits + 4  # ceil(log2(9)) more than a product

    dot = BlockDot(a=fmt, b=fmt, result=parse("float64_e11m52"))
    arrays = {"a": codes_x.elements.flatten(0, 1), "b": codes_w.elements.flatten(0, 1),
              "a_scale": codes_x.scales.flatten(), "b_scale": codes_w.scales.flatten()}
    results = dot.evaluate({key: tensor.numpy().astype(np.uint64) for key, tensor in arrays.items()})["o"]
    assert np.array_equal(results.view(np.float64).reshape(20, 16).sum(1), integer_path.numpy())
