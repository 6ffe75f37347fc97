"""What the functions refuse, and what they say."""

import re

import numpy as np
import pytest
import torch

from sw.formats import FixedPointFormat, FloatingPointFormat, OverflowPolicy, RoundingMode, Specials, Subnormals, parse
from sw.quantize import absmax_scale, fake_quantize, from_codes, to_codes

E4M3 = parse("float8_e4m3fn")
X = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
STOCHASTIC = {"rounding": RoundingMode.STOCHASTIC}


def refuses(error, message, function, *arguments, **named):
    with pytest.raises(error, match=re.escape(message)):
        function(*arguments, **named)


@pytest.mark.parametrize("function", [fake_quantize, to_codes, absmax_scale])
def test_input_wrong(function):
    refuses(TypeError, "Input must be a torch.Tensor, not 'ndarray'; convert it with torch.as_tensor", function,
            np.ones(3), E4M3)
    for dtype in (torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn):
        refuses(TypeError, "Input dtype must be torch.float16, torch.bfloat16, torch.float32 or torch.float64, not "
                           f"{dtype}; convert it with .to(torch.float32)", function, torch.ones(3).to(dtype), E4M3)
    refuses(TypeError, "Input layout must be torch.strided, not torch.sparse_coo; convert it with .to_dense()",
            function, X.to_sparse(), E4M3)


@pytest.mark.parametrize("function", [fake_quantize, to_codes, absmax_scale, from_codes])
def test_format_wrong(function):
    x = torch.tensor([1], dtype=torch.int64) if function is from_codes else X
    refuses(TypeError, "Format must be a FloatingPointFormat, a FixedPointFormat or a PositFormat, as "
                       "sw.formats.parse('e4m3') gives, not 'e4m3'", function, x, "e4m3")
    refuses(ValueError, "Format must have at most 32 bits to be quantized to, not 'int33' (33 bits)", function, x,
            FixedPointFormat(width=33))
    far = FloatingPointFormat(exponent_bits=4, fraction_bits=3, bias=1100)
    refuses(ValueError, "Format must have its normal numbers between 2**-1022 and 2**1024 to be quantized to, not ",
            function, x, far)
    absent = FloatingPointFormat(exponent_bits=11, fraction_bits=3, bias=1023, subnormals=Subnormals.ABSENT,
                                 specials=Specials.FN)
    refuses(ValueError, "Format must have its normal numbers between 2**-1018 and 2**1020 to be quantized to, not ",
            function, x, absent)


@pytest.mark.parametrize("function", [fake_quantize, to_codes])
def test_modes_wrong(function):
    refuses(TypeError, "Rounding must be a RoundingMode, not 'nearest-even'", function, X, E4M3,
            rounding="nearest-even")
    refuses(TypeError, "Overflow must be an OverflowPolicy, not 'saturate'", function, X, E4M3, overflow="saturate")
    refuses(ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn, a floating-point format, not "
                        "'wrap'", function, X, E4M3, overflow=OverflowPolicy.WRAP)
    refuses(ValueError, "Overflow policy must be saturate, saturate-symmetric, saturate-zero or wrap for int8",
            function, X, parse("int8"), overflow=OverflowPolicy.INFINITY)


@pytest.mark.parametrize("function", [fake_quantize, to_codes])
def test_random_bits_wrong(function):
    random = torch.zeros(2, 4, dtype=torch.int64)
    generator = torch.Generator()
    for error, message, named in [
        (ValueError, "Random bits must be given for stochastic rounding, not None: random= (integers) with "
                     "random_bits=, or generator= (a torch.Generator)", {}),
        (ValueError, "Random bit count must be given with random=, not None", {"random": random}),
        (ValueError, "Random bits must come from random= or from generator=, not from both",
         {"random": random, "random_bits": 4, "generator": generator}),
        (TypeError, "Generator must be a torch.Generator, not 7", {"generator": 7}),
        (TypeError, "Random bits must be a torch.Tensor of integers, not 'int'", {"random": 3, "random_bits": 4}),
        (TypeError, "Random bits must be of an integer dtype, not torch.float32",
         {"random": random.float(), "random_bits": 4}),
        (TypeError, "Random bits must be of an integer dtype, not torch.bool",
         {"random": random.bool(), "random_bits": 4}),
        (ValueError, "Random bits must broadcast to the input's shape (2, 4), not have shape (3,)",
         {"random": random[0, :3], "random_bits": 4}),
        (ValueError, "Random bits must be between 0 and 15, not 0 to 16",
         {"random": torch.tensor([0, 1, 2, 16]), "random_bits": 4}),
        (ValueError, "Random bits must be between 0 and 15, not -1 to 0",
         {"random": torch.tensor([0, 0, 0, -1]), "random_bits": 4}),
        (ValueError, "Random bits must be on the input's device cpu, not on meta",
         {"random": random.to("meta"), "random_bits": 4}),
        (ValueError, "Random bit count must be between 1 and 62 for stochastic rounding, not 0",
         {"random": random, "random_bits": 0}),
        (ValueError, "Random bit count must be between 1 and 62 for stochastic rounding, not 63",
         {"generator": generator, "random_bits": 63}),
        (TypeError, "Random bit count must be an integer, not 4.0", {"generator": generator, "random_bits": 4.0}),
    ]:
        refuses(error, message, function, X, E4M3, **STOCHASTIC, **named)
    refuses(ValueError, "Random bit count must be 0 for nearest-even rounding, not 4", function, X, E4M3,
            random_bits=4)
    for named in ({"random": random}, {"generator": generator}):
        refuses(ValueError, "Random bits must be left out for nearest-even rounding; they are for stochastic rounding",
                function, X, E4M3, **named)


@pytest.mark.parametrize("function", [fake_quantize, to_codes])
def test_scale_wrong(function):
    for bad in (0.0, -1.0, float("nan"), float("inf"), 1e-60):
        refuses(ValueError, "Scale must be positive and finite in torch.float32, not ", function, X, E4M3, scale=bad)
        refuses(ValueError, "Scale must be positive and finite in torch.float32, not ", function, X, E4M3,
                scale=torch.tensor([1.0, bad]), axis=0)
    refuses(ValueError, "Scale must be positive and finite in torch.float32, not -2.0", function, X, E4M3,
            scale=torch.tensor([1.0, -2.0]), axis=0)
    refuses(TypeError, "Scale must be a number or a tensor, not '1'", function, X, E4M3, scale="1")
    refuses(TypeError, "Scale must be a number or a tensor, not True", function, X, E4M3, scale=True)
    refuses(TypeError, "Scale dtype must be a floating-point one, not torch.int64", function, X, E4M3,
            scale=torch.tensor(2))
    refuses(ValueError, "Scale must be on the input's device cpu, not on meta; move it with .to()", function, X, E4M3,
            scale=torch.tensor(2.0, device="meta"))
    for named in ({"axis": 0}, {"group_size": 2}):
        refuses(ValueError, "not None; sw.quantize.absmax_scale computes one", function, X, E4M3, **named)


@pytest.mark.parametrize("function", [fake_quantize, to_codes])
@pytest.mark.parametrize(("shape", "named", "wanted"), [
    ((4,), {}, "()"), ((2, 4), {}, "()"), ((4,), {"axis": 0}, "(2,)"), ((2, 1), {"axis": 0}, "(2,)"),
    ((2, 4), {"group_size": 2}, "(2, 2)"), ((1, 2), {"group_size": 2}, "(2, 2)"),
])
def test_scale_shape_wrong(function, shape, named, wanted):
    axis, group_size = named.get("axis"), named.get("group_size")
    refuses(ValueError, f"Scale shape must be {wanted} for an input of shape (2, 4), axis {axis} and group size "
                        f"{group_size}, not {shape}", function, X, E4M3, scale=torch.ones(shape), **named)


def test_several_scales_without_axis_wrong():
    refuses(ValueError, "; give axis= or group_size= for several scales", fake_quantize, X, E4M3, scale=torch.ones(4))


def test_result_type_wrong():
    for dtype in (torch.int32, torch.float8_e4m3fn, "float32", torch.complex64):
        refuses(TypeError, "Result dtype must be torch.float16, torch.bfloat16, torch.float32 or torch.float64, not "
                           f"{dtype}", fake_quantize, X, E4M3, dtype=dtype)
        refuses(TypeError, f"or torch.float64, not {dtype}", from_codes, torch.tensor([1]), E4M3, dtype)


@pytest.mark.parametrize(("name", "dtype", "mend"), [
    ("uint16", torch.float16, torch.float32), ("int16", torch.bfloat16, torch.float32),
    ("float16", torch.bfloat16, torch.float32), ("bfloat16", torch.float16, torch.float32),
    ("tf32", torch.bfloat16, torch.float32), ("e8m0", torch.float16, torch.float32),
    ("float8_e5m2:bias=30", torch.float16, torch.float32), ("fixed<8,150>", torch.float32, torch.float64),
    ("fixed<8,4>", torch.float8_e5m2, None),
])
def test_result_type_that_does_not_hold_the_format_wrong(name, dtype, mend):
    if mend is None:
        refuses(TypeError, "Result dtype must be", fake_quantize, X, parse(name), dtype=dtype)
        return
    fmt = parse(name)
    message = f"Result dtype must hold every value of {fmt.name}, not {dtype}; give dtype={mend}"
    refuses(ValueError, message, fake_quantize, X.to(dtype), fmt)
    refuses(ValueError, message, fake_quantize, X, fmt, dtype=dtype)
    refuses(ValueError, message, from_codes, torch.tensor([1]), fmt, dtype)
    assert fake_quantize(X.to(dtype), fmt, dtype=mend).dtype == mend


def test_codes_wrong():
    refuses(TypeError, "Codes must be a torch.Tensor of integers, not 'list'", from_codes, [1], E4M3)
    refuses(TypeError, "Codes must be of an integer dtype, not torch.float32", from_codes, X, E4M3)
    refuses(ValueError, "Codes must be between 0 and 255 for float8_e4m3fn, not 0 to 256", from_codes,
            torch.tensor([0, 256]), E4M3)
    refuses(ValueError, "Codes must be between 0 and 15 for int4, not -1 to 3", from_codes, torch.tensor([3, -1]),
            parse("int4"))


def test_output_wrong():
    refuses(TypeError, "Output must be a torch.Tensor, not 'list'", fake_quantize, X, E4M3, dtype=torch.float32,
            out=[1.0])
    refuses(TypeError, "Output must be a torch.Tensor, not 'list'", fake_quantize, X, E4M3, out=[1.0])
    for out, dtype in ((torch.empty(4, 2), None), (torch.empty(2, 4), torch.float64),
                       (torch.empty(2, 4, device="meta"), None)):
        refuses(ValueError, "Output must have shape (2, 4), dtype ", fake_quantize, X, E4M3, out=out, dtype=dtype)
    refuses(TypeError, "Result dtype must be", fake_quantize, X, E4M3, out=torch.empty(2, 4, dtype=torch.int32))
    message = "Output must be None where a gradient is wanted; call under torch.no_grad() otherwise"
    trained = X.clone().requires_grad_()
    refuses(ValueError, message, fake_quantize, trained, E4M3, out=torch.empty_like(X))
    refuses(ValueError, message, fake_quantize, X, E4M3, scale=torch.tensor(1.0, requires_grad=True),
            out=torch.empty_like(X))
    refuses(ValueError, message, fake_quantize, X, E4M3, out=torch.empty_like(X).requires_grad_())
    with torch.no_grad():
        fake_quantize(trained, E4M3, out=torch.empty_like(X))
    with pytest.raises(ValueError, match=r"Output must be None under torch\.compile and torch\.func transforms"):
        torch.func.vmap(lambda x: fake_quantize(x, E4M3, out=torch.empty(4)))(X)
