"""Products and convolutions of codes beside sums made pair by pair, and beside torch's own integers."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as torch_functional

from sw.formats import FixedPointFormat, parse
from synth.native.operator import operator
from synth.nn import conv2d, linear, matmul
from synth.nn import functional as ours
from tests.synth.nn.reference_units import (
    OPERATIONS,
    ReferenceUnit,
    convolution,
    matrix_product,
    random_codes,
    random_convolution,
)

WIDE, FLOAT = OPERATIONS["mac-wide"], OPERATIONS["fma-e5m10"]

PRODUCTS = {
    "plain": ((3, 5), (5, 4)),
    "one row": ((1, 7), (7, 3)),
    "one column": ((4, 7), (7, 1)),
    "one element": ((1, 1), (1, 1)),
    "one term": ((3, 1), (1, 5)),
    "no rows": ((0, 3), (3, 2)),
    "no columns": ((2, 3), (3, 0)),
    "no terms": ((2, 0), (0, 3)),
    "batch on the left": ((2, 3, 2, 5), (5, 4)),
    "batch of one on the right": ((3, 2, 5), (1, 5, 4)),
    "batch on the right": ((2, 5), (3, 2, 5, 4)),
    "both batched": ((2, 3, 2, 5), (2, 3, 5, 4)),
    "batches that broadcast": ((2, 1, 2, 5), (3, 5, 4)),
    "empty batch": ((0, 2, 5), (0, 5, 4)),
    "empty batch on one side": ((0, 2, 5), (5, 4)),
}

CONVOLUTIONS = {
    "3x3": ((2, 3, 5, 4), (4, 3, 3, 3), {}, {}),
    "1x1": ((2, 3, 3, 2), (5, 3, 1, 1), {}, {}),
    "padding": ((2, 2, 4, 5), (3, 2, 3, 3), {"padding": 1}, {"before": (1, 1), "after": (1, 1)}),
    "padding of two kinds": ((1, 2, 4, 5), (3, 2, 3, 2), {"padding": (2, 0)}, {"before": (2, 0), "after": (2, 0)}),
    "padding beyond the kernel": ((1, 1, 2, 2), (2, 1, 2, 2), {"padding": 3}, {"before": (3, 3), "after": (3, 3)}),
    "same, even kernel": ((1, 2, 5, 4), (3, 2, 2, 4), {"padding": "same"}, {"before": (0, 1), "after": (1, 2)}),
    "same, dilated": ((1, 2, 5, 4), (3, 2, 2, 3), {"padding": "same", "dilation": (3, 1)},
                      {"before": (1, 1), "after": (2, 1), "dilation": (3, 1)}),
    "valid": ((1, 2, 5, 4), (3, 2, 2, 3), {"padding": "valid"}, {}),
    "stride": ((2, 2, 7, 6), (3, 2, 3, 2), {"stride": (2, 3)}, {"stride": (2, 3)}),
    "dilation": ((1, 2, 7, 6), (3, 2, 3, 2), {"dilation": (2, 3)}, {"dilation": (2, 3)}),
    "groups": ((2, 4, 4, 4), (6, 2, 3, 3), {"groups": 2}, {"groups": 2}),
    "depthwise": ((1, 3, 5, 5), (6, 1, 3, 3), {"groups": 3, "padding": 1},
                  {"groups": 3, "before": (1, 1), "after": (1, 1)}),
    "all": ((2, 4, 7, 6), (4, 2, 3, 2), {"groups": 2, "padding": (0, 1), "stride": (2, 1), "dilation": (1, 2)},
            {"groups": 2, "before": (0, 1), "after": (0, 1), "stride": (2, 1), "dilation": (1, 2)}),
    "one pixel": ((1, 1, 1, 1), (1, 1, 1, 1), {}, {}),
    "whole input": ((2, 3, 4, 3), (5, 3, 4, 3), {}, {}),
    "empty batch": ((0, 3, 4, 3), (5, 3, 2, 2), {"padding": 1}, {"before": (1, 1), "after": (1, 1)}),
}


def operands(operation, left, right):
    return (random_codes(operation.model.inputs["a"].format, left, 1),
            random_codes(operation.model.inputs["b"].format, right, 2))


def assert_same(got, want):
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    different = (got != want).nonzero()
    assert not len(different), (f"{len(different)} of {want.numel()} differ, first at {different[0].tolist()}: "
                                f"got {got[tuple(different[0])]}, want {want[tuple(different[0])]}")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shapes", PRODUCTS.values(), ids=PRODUCTS)
def test_products_are_sums_pair_by_pair(name, shapes):
    operation = OPERATIONS[name]
    a, b = operands(operation, *shapes)
    assert_same(matmul(a, b, ReferenceUnit(operation)), matrix_product(operation, a, b))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 7), (7,), (0, 7), (2, 0, 7), (3, 0)], ids=str)
def test_linear_multiplies_with_rows_of_the_weight(name, shape):
    operation = OPERATIONS[name]
    x, weight = operands(operation, shape, (4, shape[-1]))
    want = matrix_product(operation, x.reshape(math.prod(shape[:-1]), shape[-1]), weight.mT)
    assert_same(linear(x, weight, ReferenceUnit(operation)), want.reshape(*shape[:-1], 4))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions_are_sums_pair_by_pair(name, case):
    operation, (x_shape, weight_shape, options, spelled_out) = OPERATIONS[name], case
    x, weight = operands(operation, x_shape, weight_shape)
    unit = ReferenceUnit(operation)
    want = convolution(operation, x, weight, **spelled_out)
    assert_same(conv2d(x, weight, unit, **options), want)
    if len(x):
        assert_same(conv2d(x[0], weight, unit, **options), want[0])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # torch, of a copy that it makes
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_integers_that_fit_are_torchs(case):
    x_shape, weight_shape, options, _ = case
    x, weight = operands(WIDE, x_shape, weight_shape)
    got = conv2d(x, weight, ReferenceUnit(WIDE), **options)
    want = torch_functional.conv2d(*(codes.view(torch.int8).double() for codes in (x, weight)), **options)
    assert_same(got, want.long() & 0xFFFFFFFF)


@pytest.mark.parametrize("seed", range(60))
def test_integers_of_random_convolutions_are_torchs(seed):
    x_shape, weight_shape, options = random_convolution(seed)
    x, weight = operands(WIDE, x_shape, weight_shape)
    want = torch_functional.conv2d(*(codes.view(torch.int8).double() for codes in (x, weight)), **options)
    assert_same(conv2d(x, weight, ReferenceUnit(WIDE), **options), want.long() & 0xFFFFFFFF)


def test_the_order_is_that_of_the_flattened_weight():
    # In float16, 2048 + 1 + 1 - 2048 is 0, and every other order of the four but those that begin with 1 + 1 gives
    # something else where the large ones stand apart.
    fmt = parse("float16")
    values = torch.tensor([1.0, 2048.0, -2048.0, 1.0])
    weight = values.half().view(torch.int16).to(torch.int32).reshape(1, 2, 1, 2) & 0xFFFF
    ones = torch.full((1, 2, 1, 2), fmt.encode(1), dtype=torch.int32)
    got = conv2d(ones, weight, ReferenceUnit(FLOAT))
    assert fmt.decode(int(got)) == 1  # ((1 + 2048) - 2048) + 1, with 2049 rounded to 2048
    reversed_channels = conv2d(ones, weight.flip(1), ReferenceUnit(FLOAT))
    assert fmt.decode(int(reversed_channels)) == 2  # ((-2048 + 1) + 1) + 2048


@pytest.mark.parametrize("limit", [1, 30, 150, 10_000])
@pytest.mark.parametrize("name", ["all", "padding", "depthwise", "stride"])
def test_slices_make_no_difference(monkeypatch, limit, name):
    x_shape, weight_shape, options, _ = CONVOLUTIONS[name]
    x, weight = operands(WIDE, (5, *x_shape[1:]), weight_shape)
    whole, sliced = ReferenceUnit(WIDE), ReferenceUnit(WIDE)
    want = conv2d(x, weight, whole, **options)
    monkeypatch.setattr(ours, "SLICE_CODES", limit)
    assert_same(conv2d(x, weight, sliced, **options), want)
    assert len(whole.shapes) == options.get("groups", 1)
    line = want.shape[-1] * max(x.shape[1] * weight.shape[2] * weight.shape[3], weight.shape[0])
    for rows, terms, columns in sliced.shapes:
        assert rows * max(terms, columns) * options.get("groups", 1) <= max(limit, line)


def test_batches_become_one_product_where_a_side_is_shared():
    a, b = operands(WIDE, (4, 3, 2, 5), (5, 6))
    unit = ReferenceUnit(WIDE)
    matmul(a, b, unit)
    matmul(b.mT, a.mT, unit)
    assert unit.shapes == [(24, 5, 6), (6, 5, 24)]


def test_codes_of_any_integer_type_are_taken():
    a, b = operands(WIDE, (3, 5), (5, 4))
    want = matmul(a, b, ReferenceUnit(WIDE))
    assert want.dtype is torch.int64
    for dtype in (torch.int16, torch.int32, torch.int64):
        assert_same(matmul(a.to(dtype), b.to(dtype), ReferenceUnit(WIDE)), want)


@pytest.mark.parametrize(("result", "dtype"), [
    ("int8", torch.uint8), ("int9", torch.int16), ("int15", torch.int16), ("int16", torch.int32),
    ("int31", torch.int32), ("int32", torch.int64), ("int63", torch.int64)])
def test_sums_come_as_the_type_that_to_codes_gives(result, dtype):
    operation = operator("mac", fmt="int8", out_fmt=result)
    a, b = operands(operation, (2, 3), (3, 2))
    got = matmul(a, b, ReferenceUnit(operation))
    assert_same(got, matrix_product(operation, a, b))
    assert got.dtype is dtype


def test_views_that_are_not_contiguous_are_taken():
    a, b = operands(WIDE, (7, 3, 2), (2, 5, 7))
    unit = ReferenceUnit(WIDE)
    assert_same(matmul(a.permute(1, 2, 0)[:, ::2], b.permute(0, 2, 1)[:1], unit),
                matmul(a.permute(1, 2, 0)[:, ::2].contiguous(), b.permute(0, 2, 1)[:1].contiguous(), unit))
    x, weight = operands(WIDE, (2, 6, 5, 3), (4, 2, 2, 3))
    assert_same(conv2d(x.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), unit),
                conv2d(x.permute(0, 3, 1, 2).contiguous(), weight.permute(0, 3, 1, 2).contiguous(), unit))


def unit_with(**formats):
    unit = ReferenceUnit(WIDE)
    for name, fmt in formats.items():
        setattr(unit, name, fmt)
    return unit


CODES, WEIGHT = torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(4, 3, dtype=torch.uint8)
IMAGE, KERNEL = torch.zeros(1, 4, 5, 5, dtype=torch.uint8), torch.zeros(4, 2, 3, 3, dtype=torch.uint8)
WITHOUT_ZERO = parse("float8_e8m0fnu")


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda unit: matmul([1], CODES, unit), TypeError, "Operand a must be a torch.Tensor of integers, not 'list'"),
    (lambda unit: matmul(CODES, CODES.float(), unit), TypeError,
     "Operand b must be of an integer dtype, not torch.float32"),
    (lambda unit: matmul(CODES, CODES.to_sparse(), unit), TypeError, "must be a dense tensor"),
    (lambda unit: matmul(CODES.to(torch.int16) - 3, WEIGHT.mT, unit), ValueError,
     "Operand a must be between 0 and 255, not -3 to -3: the codes of int8; sw.quantize.to_codes gives such"),
    (lambda unit: matmul(CODES, WEIGHT.mT.to(torch.int32) + 256, unit), ValueError,
     "Operand b must be between 0 and 255, not 256 to 256"),
    (lambda unit: matmul(CODES[0], WEIGHT.mT, unit), ValueError,
     r"Operands must be matrices of shapes \(..., M, K\) and \(..., K, N\), not \(3,\) and \(3, 4\)"),
    (lambda unit: matmul(CODES, WEIGHT, unit), ValueError, r"not \(2, 3\) and \(4, 3\)"),
    (lambda unit: matmul(CODES.expand(2, 2, 3), WEIGHT.mT.expand(3, 3, 4), unit), ValueError,
     r"Operands must have dimensions that broadcast before their matrices, not shapes \(2, 2, 3\) and \(3, 3, 4\)"),
    (lambda unit: matmul(CODES, WEIGHT.mT, "unit"), TypeError,
     r"Unit must be a matrix unit, as synth.native.matrix.MatrixUnit\(operation\) gives, not 'unit'"),
    (lambda unit: matmul(CODES, WEIGHT.mT.to("meta"), unit), ValueError,
     "Operand b must be on the device of the other operand, cpu, not on meta; move it with .to()"),
    (lambda unit: linear(CODES, WEIGHT.mT, unit), ValueError,
     r"Input and weight must be of shapes \(..., inputs\) and \(outputs, inputs\), not \(2, 3\) and \(3, 4\)"),
    (lambda unit: linear(CODES.float(), WEIGHT, unit), TypeError, "Input must be of an integer dtype"),
    (lambda unit: linear(CODES, WEIGHT.float(), unit), TypeError, "Weight must be of an integer dtype"),
    (lambda unit: linear(CODES, WEIGHT.to("meta"), unit), ValueError, "Weight must be on the device"),
    (lambda unit: linear(CODES, WEIGHT, None), TypeError, "Unit must be a matrix unit"),
    (lambda unit: conv2d(IMAGE[0, 0], KERNEL, unit), ValueError,
     r"Input and weight must be of shapes \(N, C, H, W\) or \(C, H, W\), and \(outputs, C / groups, rows, columns\), "
     r"not \(5, 5\) and \(4, 2, 3, 3\)"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=3), ValueError, "Groups must divide the 4 input channels, not 3"),
    (lambda unit: conv2d(IMAGE, KERNEL[:3], unit, groups=2), ValueError, "Groups must divide the 3 output channels"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit), ValueError,
     r"Weight must have 4 input channels for 4 in 1 groups, and a row and a column, not shape \(4, 2, 3, 3\)"),
    (lambda unit: conv2d(IMAGE, KERNEL[..., :0], unit, groups=2), ValueError, "and a row and a column"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=0), ValueError, "Groups must be at least 1, not 0"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=2, stride=0), ValueError, "Stride must be at least 1, not 0"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=2, stride=1.5), TypeError, "Stride must be an integer, not 1.5"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=2, dilation=(1, 1, 1)), ValueError,
     r"Dilation must be one number or a pair of them, not \(1, 1, 1\)"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=2, padding=-1), ValueError, "Padding must be at least 0, not -1"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=2, padding="full"), ValueError,
     "Padding must be numbers, \"same\" or \"valid\", not 'full'"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=2, padding="same", stride=2), ValueError,
     r'Stride must be 1 for padding="same", not \(2, 2\)'),
    (lambda unit: conv2d(IMAGE, KERNEL, unit, groups=2, dilation=(1, 3)), ValueError,
     "Input must be at least as large as the kernel, 3 × 7 with its dilation, not 5 × 5 with its padding"),
    (lambda unit: conv2d(IMAGE, KERNEL, unit_with(a=WITHOUT_ZERO), groups=2, padding=1), ValueError,
     "Format of padded inputs must have a zero, not .*; leave the padding out"),
    (lambda unit: matmul(CODES, WEIGHT.mT, unit_with(result=FixedPointFormat(width=64))), ValueError,
     "Result must have a format of at most 63 bits, not 'int64'; give the operation another one, or use the unit's"),
    (lambda unit: matmul(CODES, WEIGHT.mT, unit_with(result=None)), ValueError, "not be an exact register; give"),
])
def test_what_cannot_be_computed_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(ReferenceUnit(WIDE))


def test_a_format_without_zero_is_convolved_without_padding():
    unit = unit_with(a=WITHOUT_ZERO)
    unit.matmul = lambda a, b: np.zeros((len(a), b.shape[1]), np.uint32)
    assert conv2d(IMAGE, KERNEL, unit, groups=2).shape == (1, 4, 3, 3)
