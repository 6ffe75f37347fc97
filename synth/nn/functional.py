"""Matrix products and convolutions of codes through a circuit, exact in every bit.

Every output is one sum, as the circuit computes it: its products come one after another, that of k = 0 first. In a
matrix product k runs over the shared dimension; in a convolution over (input channel of the group, row, column), the
order of ``weight.flatten(1)``. Padding takes part: a window that reaches beyond the border multiplies zeros.

Codes are integers, nonnegative also for signed formats, of any integer type: as :func:`sw.quantize.to_codes` gives
them. Sums come as the smallest type that it would give for their format: uint8 up to 8 bits, int16 up to 15, int32 up
to 31, int64 up to 63.

The circuits run on the CPU; codes on another device are copied there, and their sums back (a GPU has not been tried).
Under ``torch.compile`` they are breaks in the graph. There are no gradients here: see :mod:`synth.nn.modules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sw.formats import ScalarFormat, is_zero
from sw.nn.checks import check_count, check_divides, check_integers
from sw.ptq.layers import windows
from sw.quantize.plan import code_dtype
from synth.nn.unit import Unit, check_unit

SLICE_CODES = 1 << 24
"""Codes of windows, and of sums, that a convolution holds at once, unless one line of its output has more."""

MAX_RESULT_BITS = 63
"""Widest sums, in bits: those whose codes are nonnegative numbers of int64."""

_UNSIGNED = {torch.uint8: np.uint8, torch.int16: np.uint16, torch.int32: np.uint32, torch.int64: np.uint64}

Pair: TypeAlias = int | tuple[int, int]
"""One number for rows and columns, or one each."""


def matmul(a: Tensor, b: Tensor, unit: Unit) -> Tensor:
    """Return the matrix products of codes, as ``torch.matmul`` does of numbers.

    Parameters
    ----------
    a : integer tensor, (..., M, K)
        Codes of ``unit.a``.
    b : integer tensor, (..., K, N)
        Codes of ``unit.b``. The dimensions before the matrices broadcast.
    unit : Unit

    Returns
    -------
    Tensor
        Codes of ``unit.result``, (..., M, N), on the device of ``a``. With K = 0, codes of zero.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, codes do not fit their format, or K is more than the circuit can
        sum.
    """
    check_unit(unit)
    a, b = _codes("Operand a", a, unit.a), _codes("Operand b", b, unit.b)
    dtype = result_dtype(unit)
    _check_device("Operand b", b, a)
    if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError("Operands must be matrices of shapes (..., M, K) and (..., K, N), not "
                         f"{tuple(a.shape)} and {tuple(b.shape)}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError as error:
        raise ValueError("Operands must have dimensions that broadcast before their matrices, not shapes "
                         f"{tuple(a.shape)} and {tuple(b.shape)}") from error
    rows, terms, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    shape = (*batch, rows, columns)
    # One large product fills the circuit's lanes better than many small ones.
    count = math.prod(batch)
    if b.shape[:-2].numel() == 1 and batch == tuple(a.shape[:-2]):
        return _product(a.reshape(count * rows, terms), b.reshape(terms, columns), unit, dtype).reshape(shape)
    if a.shape[:-2].numel() == 1 and batch == tuple(b.shape[:-2]):
        side_by_side = b.movedim(-2, 0).reshape(terms, count * columns)
        products = _product(a.reshape(rows, terms), side_by_side, unit, dtype)
        return products.reshape(rows, *batch, columns).movedim(0, -2)
    left, right = (x.expand(*batch, *x.shape[-2:]) for x in (a, b))
    out = torch.empty(shape, dtype=dtype, device=a.device)
    for index in np.ndindex(*batch):
        out[index] = _product(left[index], right[index], unit, dtype)
    return out


def linear(x: Tensor, weight: Tensor, unit: Unit) -> Tensor:
    """Return ``x @ weight.mT`` of codes, as ``torch.nn.functional.linear`` does of numbers.

    Parameters
    ----------
    x : integer tensor, (..., inputs)
        Codes of ``unit.a``.
    weight : integer tensor, (outputs, inputs)
        Codes of ``unit.b``.
    unit : Unit

    Returns
    -------
    Tensor
        Codes of ``unit.result``, (..., outputs), on the device of ``x``.

    Raises
    ------
    TypeError, ValueError
        As :func:`matmul`.
    """
    _check_tensors(x, weight)
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError("Input and weight must be of shapes (..., inputs) and (outputs, inputs), not "
                         f"{tuple(x.shape)} and {tuple(weight.shape)}")
    check_unit(unit)
    x, weight = _codes("Input", x, unit.a), _codes("Weight", weight, unit.b)
    _check_device("Weight", weight, x)
    rows = x.shape[:-1]
    sums = _product(x.reshape(rows.numel(), x.shape[-1]), weight.mT, unit, result_dtype(unit))
    return sums.reshape(*rows, weight.shape[0])


def conv2d(x: Tensor, weight: Tensor, unit: Unit, *, stride: Pair = 1, padding: Pair | str = 0, dilation: Pair = 1,
           groups: int = 1) -> Tensor:
    """Return the convolution of codes, as ``torch.nn.functional.conv2d`` does of numbers.

    Windows are laid out as matrices, a part of the output after another: beside input, output, and a copy of the input
    with its padding, memory is that of at most ``SLICE_CODES`` codes (16 MiB of 8-bit ones) and as many sums twice, or
    of one line of one output image where that has more.

    Parameters
    ----------
    x : integer tensor, (N, C, H, W) or (C, H, W)
        Codes of ``unit.a``.
    weight : integer tensor, (outputs, C / groups, rows, columns)
        Codes of ``unit.b``.
    unit : Unit
    stride, dilation : int or pair of int
        At least 1.
    padding : int, pair of int, "same" or "valid"
        Zeros on both sides of rows and columns. ``"same"``, for a stride of 1, keeps the size; the odd one of an odd
        number of zeros comes last.
    groups : int
        It divides C and the outputs.

    Returns
    -------
    Tensor
        Codes of ``unit.result``, (N, outputs, H', W') or (outputs, H', W'), on the device of ``x``.

    Raises
    ------
    TypeError, ValueError
        As :func:`matmul`, and if an option is of the wrong type or out of range, the kernel is larger than the padded
        input, or padding is wanted and ``unit.a`` has no zero.
    """
    _check_tensors(x, weight)
    if x.ndim not in (3, 4) or weight.ndim != 4:
        raise ValueError("Input and weight must be of shapes (N, C, H, W) or (C, H, W), and (outputs, C / groups, "
                         f"rows, columns), not {tuple(x.shape)} and {tuple(weight.shape)}")
    check_unit(unit)
    x, weight = _codes("Input", x, unit.a), _codes("Weight", weight, unit.b)
    _check_device("Weight", weight, x)
    batched = x.ndim == 4
    if not batched:
        x = x.unsqueeze(0)
    steps, gaps = _pair("Stride", stride, 1), _pair("Dilation", dilation, 1)
    check_count("Groups", groups)
    check_divides("Groups", groups, "input channels", x.shape[1])
    check_divides("Groups", groups, "output channels", weight.shape[0])
    if weight.shape[1] * groups != x.shape[1] or not weight.shape[1:].numel():
        raise ValueError(f"Weight must have {x.shape[1] // groups} input channels for {x.shape[1]} in {groups} groups, "
                         f"and a row and a column, not shape {tuple(weight.shape)}")
    size = tuple(weight.shape[2:])
    x = _padded(x, padding, size, steps, gaps, unit.a)
    out = _convolution(x, weight, unit, steps, gaps, groups)
    return out if batched else out.squeeze(0)


def zero_code(fmt: ScalarFormat) -> int:
    """Return the code of zero.

    Raises
    ------
    ValueError
        If the format has none.
    """
    code = fmt.encode(0)
    if not is_zero(fmt.decode(code)):
        raise ValueError(f"Format of padded inputs must have a zero, not {fmt.name!r}; leave the padding out")
    return code


def result_dtype(unit: Unit) -> torch.dtype:
    """Return the integer type of a unit's sums.

    Raises
    ------
    ValueError
        If they are wider than 63 bits, or an exact register, which has no format.
    """
    fmt = unit.result
    if fmt is None or fmt.width > MAX_RESULT_BITS:
        raise ValueError(f"Result must have a format of at most {MAX_RESULT_BITS} bits, not "
                         f"{'be an exact register' if fmt is None else repr(fmt.name)}; give the operation another "
                         "one, or use the unit's own matmul, on arrays")
    dtype: torch.dtype = code_dtype(fmt)
    return dtype


def _convolution(x: Tensor, weight: Tensor, unit: Unit, stride: tuple[int, int], dilation: tuple[int, int],
                 groups: int) -> Tensor:
    """Return the convolution of a padded input, (N, C, H, W)."""
    dtype = result_dtype(unit)
    size = weight.shape[2:]
    spans = [gap * (length - 1) + 1 for length, gap in zip(size, dilation, strict=True)]
    height, width = ((length - span) // step + 1
                     for length, span, step in zip(x.shape[2:], spans, stride, strict=True))
    if height < 1 or width < 1:
        raise ValueError(f"Input must be at least as large as the kernel, {spans[0]} × {spans[1]} with its dilation, "
                         f"not {x.shape[2]} × {x.shape[3]} with its padding")
    channels = weight.shape[0] // groups
    matrices = weight.reshape(groups, channels, weight.shape[1:].numel()).mT
    out = torch.empty(x.shape[0], groups, channels, height, width, dtype=dtype, device=x.device)
    for images, lines in _slices(x.shape[0], height, width * max(x.shape[1] * size.numel(), weight.shape[0])):
        part = x[images, :, lines.start * stride[0]:(lines.stop - 1) * stride[0] + spans[0]]
        _convolve_part(part, matrices, unit, tuple(size), stride, dilation, out[images, :, :, lines])
    return out.flatten(1, 2)


# A function of its own, so that the windows of one part are gone when those of the next are laid out.
def _convolve_part(x: Tensor, matrices: Tensor, unit: Unit, size: tuple[int, ...], stride: tuple[int, int],
                   dilation: tuple[int, int], out: Tensor) -> None:
    """Convolve a padded input, (N, C, H, W), with matrices (groups, K, outputs) into (N, groups, outputs, H', W')."""
    by_channel = out.movedim(2, -1)
    for group, laid_out in enumerate(windows(x, size, stride, dilation, len(matrices))):
        by_channel[:, group] = _product(laid_out, matrices[group], unit, out.dtype).reshape(by_channel[:, group].shape)


def _slices(images: int, lines: int, line_codes: int) -> Iterator[tuple[slice, slice]]:
    """Yield parts of an output that have few enough codes, of so many a line: several images, or lines of one."""
    count = max(1, SLICE_CODES // line_codes)
    step = max(1, count // lines)
    for image in range(0, images, step):
        for line in range(0, lines, min(count, lines)):
            yield slice(image, min(image + step, images)), slice(line, min(line + count, lines))


def _padded(x: Tensor, padding: Pair | str, size: tuple[int, ...], stride: tuple[int, int], dilation: tuple[int, int],
            fmt: ScalarFormat) -> Tensor:
    if padding == "valid":
        return x
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f'Stride must be 1 for padding="same", not {stride!r}')
        totals = [gap * (length - 1) for length, gap in zip(size, dilation, strict=True)]
        (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    elif isinstance(padding, str):
        raise ValueError(f'Padding must be numbers, "same" or "valid", not {padding!r}')
    else:
        top, left = bottom, right = _pair("Padding", padding, 0)
    if not any((top, bottom, left, right)):
        return x
    return functional.pad(x, (left, right, top, bottom), value=zero_code(fmt))


def _pair(noun: str, value: Pair, least: int) -> tuple[int, int]:
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{noun} must be one number or a pair of them, not {value!r}")
    for number in pair:
        check_count(noun, number, least=least)
    return pair[0], pair[1]


def _check_tensors(x: object, weight: object) -> None:
    check_integers("Input", x)
    check_integers("Weight", weight)


def _codes(noun: str, x: Tensor, fmt: ScalarFormat) -> Tensor:
    """Return codes in the smallest type that holds those of their format."""
    try:
        check_integers(noun, x, 0, (1 << fmt.width) - 1)
    except ValueError as error:
        raise ValueError(f"{error}: the codes of {fmt.name}; sw.quantize.to_codes gives such") from error
    return x.detach().to(code_dtype(fmt))


def _check_device(noun: str, x: Tensor, other: Tensor) -> None:
    if x.device != other.device:
        raise ValueError(f"{noun} must be on the device of the other operand, {other.device}, not on {x.device}; "
                         "move it with .to()")


def _product(a: Tensor, b: Tensor, unit: Unit, dtype: torch.dtype) -> Tensor:
    """Return the product of two matrices of codes, on the device of the first."""
    product: Callable[..., Tensor] = _circuit_product
    if torch.compiler.is_compiling():  # torch would follow the arrays into the machine code
        product = torch.compiler.disable(product)  # type: ignore[no-untyped-call]  # of torch
    return product(a, b, unit, dtype)


def _circuit_product(a: Tensor, b: Tensor, unit: Unit, dtype: torch.dtype) -> Tensor:
    left, right = (x.cpu().contiguous().numpy().view(_UNSIGNED[x.dtype]) for x in (a, b))
    sums = unit.matmul(left, right)
    held = np.ascontiguousarray(sums).astype(torch.empty(0, dtype=dtype).numpy().dtype, copy=False)
    return torch.from_numpy(held).to(a.device)
