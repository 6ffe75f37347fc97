"""Block quantization in torch, code by code against ``BlockFormat.encode``; shapes, types, gradients, refusals."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from sw.formats import (
    BLOCK_CATALOG,
    BlockFormat,
    FloatingPointFormat,
    OverflowPolicy,
    RandomBits,
    RoundingMode,
    ScaleRule,
    Specials,
    as_float,
    parse,
    parse_block,
)
from sw.quantize import block_tensor_scale, fake_quantize_blocks, from_block_codes, to_block_codes
from tests.sw.quantize.oracle import deterministic_modes, same_values

NAMES = [entry.name for entry in BLOCK_CATALOG]
VARIANTS = [
    *(f"mxfp4:scale_rule={rule.value}" for rule in ScaleRule if rule is not ScaleRule.FLOOR),
    *(f"mxfp8_e4m3:scale_rule={rule}" for rule in ("even", "round-up")),
    "mxint8:scale_rule=even", "mxint8:element=fixed<8,6>", "nvfp4:scale_rule=round-up", "nvfp4:scale_rule=floor",
    "nvfp4:tensor_scale=false", "mxfp4:tensor_scale=true", "mls<3,2>", "mls<1,5>:scale_rule=absmax",
    "mxfp8_e4m3:element=radix4_fp4_even", "mxfp8_e4m3:element=radix4_fp4_odd", "mxint8:element=uint4",
    "mxfp8_e4m3:element=posit<8,1>", "mxfp4:scale=(e4m3:specials=none,signed=false)",
    "mxfp4:scale=dlfloat8,scale_rule=round-up", "mxfp4:scale=p3109_k8p1uf",
]


def _values(dtype, size, seed=1):
    """Return rows of many magnitudes, each one block; maxima at and beside the powers of two, and special values."""
    rng = np.random.default_rng(seed)
    info = torch.finfo(dtype)
    low, high = (-24, 15) if dtype == torch.float16 else (-140, 127)
    rows = rng.normal(size=(40, size)) * np.exp2(rng.integers(low, high, (40, 1)).astype(float))
    rows[:10] *= np.exp2(rng.integers(-10, 1, (10, size)).astype(float))
    for row in range(0, 40, 3):
        power = 2.0 ** rng.integers(low + 12, high - 1)
        rows[row] = np.clip(rows[row], -power, power)
        rows[row, rng.integers(size)] = power * rng.choice(
            [1, 1 + info.eps, 1 - info.eps / 2, 1.75, 1.875, 1.9375, 1.5, 1.75 - info.eps])
    x = torch.from_numpy(rows).clamp(info.min, info.max).to(dtype)
    x[1] = 0
    x[2], x[2, 0] = 0, -0.0
    x[4, 0], x[5, 1], x[7, 0] = torch.inf, -torch.inf, torch.nan
    x[8] = info.smallest_normal * info.eps
    x[10] = info.max
    return x


def _encoded(x, fmt, tensor_scale, **modes):
    """Return the codes that the definition gives for rows of one block each."""
    random = modes.pop("random", None)
    scales, elements = [], []
    for index, row in enumerate(x.tolist()):
        bits = None if random is None else [RandomBits(value=value, count=8) for value in random[index].tolist()]
        scale, codes = fmt.encode(row, tensor_scale=tensor_scale, random=bits, **modes)
        scales.append(scale)
        elements.append(codes)
    return scales, elements


def _assert_codes(x, fmt, tensor_scale=None, **modes):
    random = modes.get("random")
    extra = {} if random is None else {"random_bits": 8}
    got = to_block_codes(x, fmt, tensor_scale=tensor_scale, **modes, **extra)
    scale = Fraction(got.tensor_scale.item())
    scales, elements = _encoded(x, fmt, scale, **modes)
    for row in range(len(x)):
        assert got.scales[row].tolist() == [scales[row]], (x[row].tolist(), scale)
        assert got.elements[row].tolist() == elements[row], (x[row].tolist(), scale, scales[row])
    want = torch.tensor([[as_float(value) if not isinstance(value, Fraction) or abs(value) < 2**1000 else torch.nan
                          for value in fmt.decode_block(code, row, scale)]
                         for code, row in zip(scales, elements, strict=True)], dtype=torch.float64)
    given = {"tensor_scale": float(scale)} if fmt.tensor_scale else {}
    back = from_block_codes(got.elements, got.scales, fmt, dtype=torch.float64, **given)
    fake = fake_quantize_blocks(x, fmt, dtype=torch.float64, **given, **modes, **extra)
    for result in (back, fake):
        assert same_values(result, want).all()
    narrow = fake_quantize_blocks(x, fmt, **given, **modes, **extra)
    assert narrow.dtype == x.dtype
    info = torch.finfo(x.dtype)
    for value, exact in zip(narrow.flatten().tolist(), want.flatten().tolist(), strict=True):
        assert value == pytest.approx(_rounded(exact, info), rel=0, abs=0, nan_ok=True), exact


def _rounded(value, info):
    """Round a float64 to the type of ``info``, once, by the formats of this project."""
    if value != value or value in (float("inf"), float("-inf")):
        return value
    name = {16: "float16", 32: "float32_e8m23", 64: "float64_e11m52"}[info.bits]
    name = "bfloat16" if info.dtype == "bfloat16" else name
    fmt = parse(name)
    return as_float(fmt.decode(fmt.encode(value, overflow=OverflowPolicy.INFINITY)))


@pytest.mark.parametrize("name", [*NAMES, *VARIANTS])
def test_codes_and_values_are_those_of_the_definition(name):
    fmt = parse_block(name)
    _assert_codes(_values(torch.float32, 6), fmt)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["mxfp8_e5m2", "mxfp4", "mxint8", "nvfp4:tensor_scale=false", "mxfp4:scale_rule=even"])
def test_every_dtype_is_taken_exactly(name, dtype):
    _assert_codes(_values(dtype, 5), parse_block(name))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["nvfp4", "mls<2,4>"])
def test_results_of_16_bits_are_rounded_once(name, dtype):
    """The product of an element and both scales has up to 32 bits, and torch would round it to float32 before."""
    _assert_codes(_values(dtype, 5, seed=3), parse_block(name))


@pytest.mark.parametrize("rounding", deterministic_modes(), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["mxfp4", "mxint8", "nvfp4", "mls<2,1>", "mxfp8_e4m3:element=radix4_fp4_odd"])
def test_every_rounding_mode_is_that_of_the_definition(name, rounding):
    _assert_codes(_values(torch.float32, 4, seed=4), parse_block(name), rounding=rounding)


@pytest.mark.parametrize("name", ["mxfp4", "mxint8", "nvfp4", "mls<2,1>"])
def test_stochastic_rounding_takes_the_bits_it_is_given(name):
    x = _values(torch.float32, 4, seed=5)
    random = torch.randint(256, x.shape, generator=torch.Generator().manual_seed(1))
    _assert_codes(x, parse_block(name), rounding=RoundingMode.STOCHASTIC, random=random)


@pytest.mark.parametrize("tensor_scale", [1.0, 0.0078125, 3.3e-5, 1e30])
@pytest.mark.parametrize("name", ["nvfp4", "mls<2,4>", "nvfp4:scale_rule=round-up"])
def test_a_given_tensor_scale_is_used(name, tensor_scale):
    x = _values(torch.float32, 4, seed=6)
    _assert_codes(x, parse_block(name), tensor_scale=tensor_scale)
    assert to_block_codes(x, parse_block(name), tensor_scale=torch.tensor(tensor_scale)).tensor_scale == np.float32(
        tensor_scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["nvfp4", "mls<2,4>", "mxfp4"])
def test_the_tensor_scale_is_that_of_the_definition(name, dtype):
    fmt = parse_block(name)
    for seed in range(30):
        x = _values(dtype, 3, seed=seed)[seed % 40]
        got = block_tensor_scale(x, fmt)
        assert got.shape == ()
        assert got.dtype == torch.float32
        assert Fraction(got.item()) == fmt.tensor_scale_for(x.tolist()), x.tolist()


# Shapes

def _reference(x, fmt, dim, **given):
    """Quantize by moving, padding and cutting with numpy."""
    moved = np.moveaxis(x.double().numpy(), dim, -1)
    rows = moved.reshape(-1, moved.shape[-1])
    scale = Fraction(block_tensor_scale(x, fmt).item())
    result = [[as_float(value) for start in range(0, rows.shape[1], fmt.block_size)
               for value in fmt.decode_block(*fmt.encode(row[start:start + fmt.block_size].tolist(),
                                                         tensor_scale=scale), scale)] for row in rows]
    back = np.array(result).reshape(moved.shape)
    return torch.from_numpy(np.moveaxis(back, -1, dim).copy()).to(x.dtype)


@pytest.mark.parametrize(("shape", "dim", "block_size"), [
    ((10,), 0, 4), ((3, 8), -1, 4), ((3, 8), 1, 3), ((9, 5), 0, 4), ((2, 7, 3), 1, 2), ((2, 7, 3), -3, 32),
    ((4, 1), -1, 32), ((1, 1, 5), -1, 5), ((6, 4, 2), 0, 1), ((2, 3, 17), 2, 1 << 16),
])
@pytest.mark.parametrize("name", ["mxfp4", "nvfp4"])
def test_blocks_lie_along_any_dimension_and_the_last_may_be_short(name, shape, dim, block_size):
    fmt = parse_block(f"{name}:block_size={block_size}")
    x = torch.randn(shape, generator=torch.Generator().manual_seed(8))
    want = _reference(x, fmt, dim)
    for given in (x, x.flip(0).flip(0), x.permute(*reversed(range(x.ndim))).contiguous().permute(
            *reversed(range(x.ndim)))):
        got = fake_quantize_blocks(given, fmt, dim=dim)
        assert got.shape == x.shape
        assert torch.equal(got, want)
        codes = to_block_codes(given, fmt, dim=dim)
        expected = list(shape)
        expected[dim] = -(-shape[dim] // block_size)
        assert codes.elements.shape == shape
        assert list(codes.scales.shape) == expected
        back = from_block_codes(*codes[:2], fmt, dim=dim, tensor_scale=codes.tensor_scale if fmt.tensor_scale else None)
        assert torch.equal(back, want)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5), (2, 0, 3)])
def test_empty_tensors_stay_empty(shape):
    for name in ("mxfp4", "nvfp4"):
        fmt, x = parse_block(name), torch.zeros(shape)
        assert fake_quantize_blocks(x, fmt).shape == shape
        codes = to_block_codes(x, fmt)
        assert codes.elements.shape == shape
        assert codes.scales.shape == (*shape[:-1], -(-shape[-1] // fmt.block_size))
        assert codes.tensor_scale == 1
        assert from_block_codes(codes.elements, codes.scales, fmt).shape == shape


def test_large_tensors_are_worked_on_in_pieces_with_the_same_result():
    fmt = parse_block("nvfp4")
    x = torch.randn(300, 1000, generator=torch.Generator().manual_seed(9))
    scale = block_tensor_scale(x, fmt)
    for dim in (0, 1):
        whole = fake_quantize_blocks(x, fmt, dim=dim)
        step = 16 * 5
        parts = torch.cat([fake_quantize_blocks(part, fmt, dim=dim, tensor_scale=scale)
                           for part in x.split(step, dim)], dim)
        assert torch.equal(whole, parts)
        codes = to_block_codes(x, fmt, dim=dim)
        assert torch.equal(from_block_codes(*codes[:2], fmt, dim=dim, tensor_scale=scale), whole)


def test_codes_have_the_smallest_integer_type():
    codes = to_block_codes(torch.ones(4), parse_block("mls<2,4>"))
    assert (codes.elements.dtype, codes.scales.dtype) == (torch.uint8, torch.int16)


def test_quantizing_twice_changes_nothing():
    """By the power-of-two rules a block's values are their own best block, but where a maximum rounds up a binade."""
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(10))
    for name in ("mxfp8_e4m3", "mxfp6_e2m3", "mxfp4:scale_rule=ceil", "mxint8"):
        once = fake_quantize_blocks(x, parse_block(name))
        assert torch.equal(fake_quantize_blocks(once, parse_block(name)), once)


# Gradients

def test_the_gradient_passes_unchanged_even_where_elements_saturate():
    x = torch.tensor([7.9, 1.0, -0.1, 0.0], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (fake_quantize_blocks(x, parse_block("mxfp4")) * weights).sum().backward()
    assert torch.equal(x.grad, weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_a_clipped_gradient_is_zero_where_elements_saturate(dtype):
    x = torch.tensor([[7.9, 6.0, -6.01, -0.1], [torch.nan, 1.0, 1.0, 1.0]], dtype=dtype, requires_grad=True)
    y = fake_quantize_blocks(x, parse_block("mxfp4"), clip_gradient=True)
    y[0].sum().backward()
    assert x.grad.tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]
    assert x.grad.dtype == dtype


def test_a_clipped_gradient_follows_the_given_tensor_scale():
    x = torch.tensor([[100.0, 2687.0], [2689.0, -5000.0]], requires_grad=True)
    fake_quantize_blocks(x, parse_block("nvfp4"), tensor_scale=1.0, clip_gradient=True, dim=0).sum().backward()
    # One scale a column: 448 each. 6 * 448 = 2688 is the largest magnitude.
    assert x.grad.tolist() == [[1, 1], [0, 0]]


def test_the_gradient_has_the_type_of_the_input():
    x = torch.ones(4, dtype=torch.bfloat16, requires_grad=True)
    fake_quantize_blocks(x, parse_block("mxfp8_e4m3"), dtype=torch.float32).sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_no_gradient_reaches_the_scales():
    x = torch.tensor([3.0, 1.0], requires_grad=True)
    fake_quantize_blocks(x, parse_block("nvfp4"))[1].backward()
    assert x.grad.tolist() == [0, 1]
    assert not block_tensor_scale(x, parse_block("nvfp4")).requires_grad
    assert not to_block_codes(x, parse_block("nvfp4")).tensor_scale.requires_grad


# Wrong arguments

MXFP4, NVFP4 = parse_block("mxfp4"), parse_block("nvfp4")
X = torch.ones(2, 4)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda f: f([1.0], MXFP4), TypeError, "Input must be a torch.Tensor, not 'list'"),
    (lambda f: f(torch.ones(3, dtype=torch.int32), MXFP4), TypeError, "Input dtype must be torch.float16"),
    (lambda f: f(X, parse("e4m3")), TypeError, "Block format must be a BlockFormat, as sw.formats.parse_block("
                                               "'mxfp8_e4m3') gives, not FloatingPointFormat"),
    (lambda f: f(X, "mxfp4"), TypeError, "Block format must be a BlockFormat"),
    (lambda f: f(X, MXFP4, dim=2), ValueError, "Dimension must be between -2 and 1 for a shape of (2, 4), not 2"),
    (lambda f: f(X, MXFP4, dim=1.0), TypeError, "Dimension must be an integer, not 1.0"),
    (lambda f: f(X, MXFP4, dim=True), TypeError, "Dimension must be an integer, not True"),
    (lambda f: f(torch.tensor(1.0), MXFP4), ValueError, "Input must have a dimension along which blocks lie, not shape "
                                                        "(); see torch.unsqueeze"),
    (lambda f: f(X, MXFP4, tensor_scale=1.0), ValueError, "Tensor scale must be None for mxfp4, which has none, not "
                                                          "1.0"),
    (lambda f: f(X, NVFP4, tensor_scale="1"), TypeError, "Tensor scale must be a number or a tensor, not '1'"),
    (lambda f: f(X, NVFP4, tensor_scale=True), TypeError, "Tensor scale must be a number or a tensor, not True"),
    (lambda f: f(X, NVFP4, tensor_scale=torch.ones(2)), ValueError, "Tensor scale must be one floating-point number of "
                                                                    "shape (), not of shape (2,) and torch.float32"),
    (lambda f: f(X, NVFP4, tensor_scale=torch.tensor(1)), ValueError, "Tensor scale must be one floating-point number"),
    (lambda f: f(X, NVFP4, tensor_scale=torch.tensor(1.0, device="meta")), ValueError,
     "Tensor scale must be on the input's device cpu, not on meta; move it with .to()"),
    *((lambda f, value=value: f(X, NVFP4, tensor_scale=value), ValueError,
       "Tensor scale must be positive and finite in torch.float32, not")
      for value in (0, -1, 1e39, 1e-50, float("nan"))),
    (lambda f: f(X, MXFP4, rounding="nearest"), TypeError, "Rounding must be a RoundingMode, not 'nearest'"),
    (lambda f: f(X, MXFP4, random_bits=4), ValueError, "Random bit count must be 0 for nearest-even rounding, not 4"),
    (lambda f: f(X, MXFP4, rounding=RoundingMode.STOCHASTIC), ValueError, "Random bits must be given for stochastic"),
    (lambda f: f(X, BlockFormat(element=parse("e2m1"), scale=FloatingPointFormat(
        exponent_bits=10, fraction_bits=4, bias=0, specials=Specials.FN))), ValueError,
     "Block format must have its scales and values between 2**-896 and 2**896 to be quantized to, not"),
    (lambda f: f(X, BlockFormat(element=parse("int33"), scale=parse("e8m0"))), ValueError,
     "Format must have at most 32 bits to be quantized to, not 'int33'"),
])
@pytest.mark.parametrize("function", [fake_quantize_blocks, to_block_codes])
def test_wrong_arguments(function, call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call(function)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: fake_quantize_blocks(X, MXFP4, dtype=torch.int8), TypeError, "Result dtype must be torch.float16"),
    (lambda: fake_quantize_blocks(X, MXFP4, clip_gradient=1), TypeError, "Gradient clipping must be True or False, not "
                                                                         "1"),
    (lambda: block_tensor_scale([1.0], NVFP4), TypeError, "Input must be a torch.Tensor, not 'list'"),
    (lambda: block_tensor_scale(X, parse("e4m3")), TypeError, "Block format must be a BlockFormat"),
])
def test_wrong_arguments_of_one_function(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


CODES, SCALES = torch.zeros(2, 40, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(("arguments", "fields", "error", "message"), [
    (([0], SCALES, MXFP4), {}, TypeError, "Element codes must be a torch.Tensor of integers, not 'list'"),
    ((CODES, None, MXFP4), {}, TypeError, "Scale codes must be a torch.Tensor of integers, not 'NoneType'"),
    ((CODES.float(), SCALES, MXFP4), {}, TypeError, "Element codes must be of an integer dtype, not torch.float32"),
    ((CODES + 16, SCALES, MXFP4), {}, ValueError, "Element codes must be between 0 and 15 for float4_e2m1fn, not 16 to "
                                                  "16"),
    ((CODES, SCALES.int() - 1, MXFP4), {}, ValueError, "Scale codes must be between 0 and 255 for float8_e8m0fnu, not "
                                                       "-1 to -1"),
    ((CODES, SCALES[:, :1], MXFP4), {}, ValueError, "Scale codes must be of shape (2, 2) for elements of shape (2, "
                                                    "40), not (2, 1)"),
    ((CODES, SCALES, MXFP4), {"dim": 0}, ValueError, "Scale codes must be of shape (1, 40)"),
    ((CODES, SCALES, MXFP4), {"dim": 5}, ValueError, "Dimension must be between -2 and 1"),
    ((CODES, SCALES, MXFP4), {"dtype": torch.uint8}, TypeError, "Result dtype must be torch.float16"),
    ((CODES, SCALES, MXFP4), {"tensor_scale": 2.0}, ValueError, "Tensor scale must be None for mxfp4"),
    ((CODES, SCALES, parse("e4m3")), {}, TypeError, "Block format must be a BlockFormat"),
])
def test_codes_wrong(arguments, fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        from_block_codes(*arguments, **fields)


def test_every_pair_of_codes_has_its_value():
    for name in ("mxfp4", "mxfp8_e5m2", "nvfp4", "mls<2,1>"):
        fmt = parse_block(f"{name}:block_size={1 << parse_block(name).element_bits}")
        elements = torch.arange(fmt.block_size).expand(1 << fmt.scale_bits, -1)
        scales = torch.arange(1 << fmt.scale_bits).unsqueeze(1)
        got = from_block_codes(elements, scales, fmt, dtype=torch.float64)
        for scale in range(0, 1 << fmt.scale_bits, 7):
            want = torch.tensor([as_float(value) for value in fmt.decode_block(scale, range(fmt.block_size))],
                                dtype=torch.float64)
            assert same_values(got[scale], want).all(), (name, scale)
