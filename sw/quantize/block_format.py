"""Quantization to block formats: to values (fake quantization), to codes, and back."""

from typing import NamedTuple

import torch
from torch import Tensor

from sw.formats import BlockFormat, OverflowPolicy, RoundingMode, parse
from sw.quantize import exact
from sw.quantize.block_plan import BlockPlan, block_plan_of
from sw.quantize.block_scale import factor_of, pieces, scale_codes, tensor_scale_of
from sw.quantize.blocks import each_block
from sw.quantize.checks import check_input, check_random, is_readable, settings_of
from sw.quantize.nearest import Road, quantize, road
from sw.quantize.plan import DTYPE_NAMES, FLOAT_DTYPES, Settings, code_dtype

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_NARROW = {torch.float16: "float16", torch.bfloat16: "bfloat16"}


class BlockCodes(NamedTuple):
    """A tensor as codes of a block format."""

    elements: Tensor
    """Codes of the elements, of the tensor's shape."""
    scales: Tensor
    """Codes of the scales: of that shape, with the length along the blocks' dimension divided by the block size and
    rounded up."""
    tensor_scale: Tensor
    """float32, of shape ``()``; 1 for a format without tensor scale."""


def fake_quantize_blocks(x: Tensor, fmt: BlockFormat, *, dim: int = -1, tensor_scale: Tensor | float | None = None,
                         rounding: RoundingMode = RoundingMode.NEAREST_EVEN, random: Tensor | None = None,
                         random_bits: int | None = None, generator: torch.Generator | None = None,
                         clip_gradient: bool = False, dtype: torch.dtype | None = None) -> Tensor:
    """Round every element to a value of ``fmt`` under the scale of its block: bit for bit what ``fmt.encode`` of the
    block and ``fmt.decode_block`` give, rounded to ``dtype``.

    Parameters
    ----------
    x : float16, bfloat16, float32 or float64 tensor, of any shape but ``()``
    fmt : BlockFormat
        Its scale and its elements are of at most 32 bits.
    dim : int
        Dimension along which ``fmt.block_size`` neighbours make a block. The last block is shorter where the size
        does not divide the length: nothing is added to it.
    tensor_scale : float or tensor of shape (), optional
        Positive and finite, rounded to float32; by default :func:`block_tensor_scale` of ``x``. Only for a format
        with tensor scale.
    rounding : RoundingMode
        Of the elements; a scale follows its rule.
    random, random_bits, generator
        For stochastic rounding, as in :func:`sw.quantize.fake_quantize`.
    clip_gradient : bool
        Whether the gradient is zero where an element saturates.
    dtype : torch.dtype, optional
        Type of the result, by default that of ``x``: values beyond it become infinite, those between its numbers are
        rounded to the nearest, ties to even.

    Returns
    -------
    Tensor
        Of the shape of ``x``. A block with an infinity or a NaN is all NaN, if the scale has a NaN.

    An element is divided by the product of both scales and rounded once; that quotient is rounded to float64 before,
    where the product is no power of two. This changes nothing for inputs of up to float32, but for stochastic
    rounding by more than about 20 random bits.

    Gradient: straight through, unchanged, scales counting as constants (as in microxcaling): since they follow the
    data, what saturates is cut by less than a factor of two, and the largest element of a block is often among it.
    With ``clip_gradient`` it passes only where the quotient lies within the range of the elements, as with
    :func:`sw.quantize.fake_quantize`: for tensor scales that do not follow the data.

    Works under ``torch.compile`` and ``torch.func.vmap`` (each sample having its own tensor scale).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range, or does not suit the others.
    """
    check_input(x)
    plan = block_plan_of(fmt, rounding, random_bits)
    check_options(dim, clip_gradient, dtype)
    dim, dtype = _checked_dim(x, dim), x.dtype if dtype is None else dtype
    random = check_random(x, plan.element, random, random_bits, generator)
    scale = _checked_tensor_scale(x, plan, tensor_scale).reshape((1,) * x.ndim)
    return _StraightThrough.apply(x, random, scale, plan, dim, clip_gradient, dtype)


def to_block_codes(x: Tensor, fmt: BlockFormat, *, dim: int = -1, tensor_scale: Tensor | float | None = None,
                   rounding: RoundingMode = RoundingMode.NEAREST_EVEN, random: Tensor | None = None,
                   random_bits: int | None = None, generator: torch.Generator | None = None) -> BlockCodes:
    """Round every block to the codes of its elements and of its scale: exactly ``fmt.encode`` of the block.

    The parameters, and what is exact, are those of :func:`fake_quantize_blocks`. There is no gradient.

    Returns
    -------
    BlockCodes
        Elements, scales and tensor scale. Codes are nonnegative: uint8 for formats of up to 8 bits, int16 up to 15,
        int32 up to 31, int64 for 32.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range, or does not suit the others.
    """
    check_input(x)
    plan = block_plan_of(fmt, rounding, random_bits)
    check_options(dim, False, None)
    dim = _checked_dim(x, dim)
    random = check_random(x, plan.element, random, random_bits, generator)
    scale = _checked_tensor_scale(x, plan, tensor_scale)
    x = x.detach()
    codes = torch.empty(x.shape, dtype=code_dtype(fmt.element), device=x.device) if is_readable(x) else None
    elements, scales = [], []
    for piece, bits, target in zip(pieces(x, dim, plan.block_size), pieces(random, dim, plan.block_size),
                                   pieces(codes, dim, plan.block_size), strict=True):
        scales.append(scale_codes(piece, scale.to(torch.float64), plan))
        factor = (exact.decode(scales[-1], plan.scale) * scale.to(torch.float64)).unsqueeze(-1).expand(piece.shape)
        if target is None:
            elements.append(_element_codes(piece, factor, bits, plan).flatten(-2))
        elif piece.numel():
            each_block(lambda x, out, random, factor: out.copy_(_element_codes(x, factor, random, plan)),
                       [piece, target, bits, factor])
    if codes is None:
        codes = torch.cat(elements, -1).movedim(-1, dim).to(code_dtype(fmt.element))
    shared = torch.cat(scales, -1).movedim(-1, dim).to(code_dtype(fmt.scale))
    return BlockCodes(elements=codes, scales=shared.contiguous(), tensor_scale=scale)


def from_block_codes(elements: Tensor, scales: Tensor, fmt: BlockFormat, *, dim: int = -1,
                     tensor_scale: Tensor | float | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the values of codes: exactly ``fmt.decode``, rounded to ``dtype``.

    Parameters
    ----------
    elements, scales : integer tensors, of the shapes that :class:`BlockCodes` says
        Codes, nonnegative and within the width (checked in eager mode).
    fmt : BlockFormat
    dim : int
        Dimension of the blocks.
    tensor_scale : float or tensor of shape (), optional
        1 by default.
    dtype : torch.dtype
        Type of the result.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, the shapes do not match, or a code is out of range.
    """
    plan = block_plan_of(fmt, RoundingMode.NEAREST_EVEN, None)
    for noun, codes, scalar in (("Element codes", elements, fmt.element), ("Scale codes", scales, fmt.scale)):
        if not isinstance(codes, Tensor):
            raise TypeError(f"{noun} must be a torch.Tensor of integers, not {type(codes).__name__!r}")
        if codes.dtype not in _INTEGERS:
            raise TypeError(f"{noun} must be of an integer dtype, not {codes.dtype}")
        if codes.numel() and is_readable(codes):
            low, high = (int(extreme) for extreme in torch.aminmax(codes))
            if low < 0 or high >> scalar.width:
                raise ValueError(f"{noun} must be between 0 and {(1 << scalar.width) - 1} for {scalar.name}, "
                                 f"not {low} to {high}")
    check_options(dim, False, dtype)
    dim = _checked_dim(elements, dim)
    shape = list(elements.shape)
    shape[dim] = -(-shape[dim] // plan.block_size)
    if list(scales.shape) != shape:
        raise ValueError(f"Scale codes must be of shape {tuple(shape)} for elements of shape {tuple(elements.shape)}, "
                         f"not {tuple(scales.shape)}")
    scale = _checked_tensor_scale(elements, plan, 1.0 if plan.has_tensor_scale and tensor_scale is None
                                  else tensor_scale)
    factors = (exact.decode(scales.to(torch.int64), plan.scale) * scale.to(torch.float64)).movedim(dim, -1)
    parts = pieces(exact.decode(elements.to(torch.int64), plan.element.plan), dim, plan.block_size)
    values, start = [], 0
    for piece in parts:
        factor = factors[..., start:start + piece.shape[-2]].unsqueeze(-1)
        values.append(_narrowed(piece * factor, dtype).flatten(-2))
        start += piece.shape[-2]
    return torch.cat(values, -1).movedim(-1, dim).contiguous()


# Checks

def check_options(dim: int, clip_gradient: bool, dtype: torch.dtype | None) -> None:
    """Raise TypeError unless these are of the right types, whatever the input."""
    if not isinstance(dim, int) or isinstance(dim, bool):
        raise TypeError(f"Dimension must be an integer, not {dim!r}")
    if not isinstance(clip_gradient, bool):
        raise TypeError(f"Gradient clipping must be True or False, not {clip_gradient!r}")
    if dtype is not None and dtype not in FLOAT_DTYPES:
        raise TypeError(f"Result dtype must be {DTYPE_NAMES}, not {dtype}")


def _checked_dim(x: Tensor, dim: int) -> int:
    """Return the dimension counted from the end: vmap puts its own in front."""
    if x.ndim == 0:
        raise ValueError("Input must have a dimension along which blocks lie, not shape (); see torch.unsqueeze")
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"Dimension must be between {-x.ndim} and {x.ndim - 1} for a shape of {tuple(x.shape)}, "
                         f"not {dim!r}")
    return dim % x.ndim - x.ndim


def _checked_tensor_scale(x: Tensor, plan: BlockPlan, tensor_scale: Tensor | float | None) -> Tensor:
    if tensor_scale is None:
        return tensor_scale_of(x, plan)
    if not plan.has_tensor_scale:
        raise ValueError(f"Tensor scale must be None for {plan.name}, which has none, not {tensor_scale!r}")
    if isinstance(tensor_scale, bool) or not isinstance(tensor_scale, (int, float, Tensor)):
        raise TypeError(f"Tensor scale must be a number or a tensor, not {tensor_scale!r}")
    if not isinstance(tensor_scale, Tensor):
        tensor_scale = torch.tensor(float(tensor_scale), dtype=torch.float64, device=x.device)
    if tensor_scale.ndim or not tensor_scale.dtype.is_floating_point:
        raise ValueError("Tensor scale must be one floating-point number of shape (), not of shape "
                         f"{tuple(tensor_scale.shape)} and {tensor_scale.dtype}")
    if tensor_scale.device != x.device:
        raise ValueError(f"Tensor scale must be on the input's device {x.device}, not on {tensor_scale.device}; "
                         "move it with .to()")
    scale = tensor_scale.detach().to(torch.float32)
    if is_readable(scale) and not 0 < scale.item() < torch.inf:
        raise ValueError(f"Tensor scale must be positive and finite in torch.float32, not {tensor_scale.item()!r}")
    return scale


# Elements

def _quotient(x: Tensor, factor: Tensor, plan: BlockPlan) -> Tensor:
    """Divide by the scales; by a scale of zero, to a zero of the sign."""
    quotient = x / factor
    if not plan.scale.has_zero:
        return quotient
    return torch.where((factor == 0) & ~x.isnan(), torch.copysign(torch.zeros_like(x), x), quotient)


def _element_codes(x: Tensor, factor: Tensor, random: Tensor | None, plan: BlockPlan) -> Tensor:
    """Return the codes, int64, of elements under their scales, which are float64."""
    quotient = torch.where(factor.isnan(), 0.0, _quotient(x.to(torch.float64), factor, plan))
    return exact.encode(quotient, plan.element, random)


def _values(x: Tensor, factor: Tensor, random: Tensor | None, plan: BlockPlan, dtype: torch.dtype, *,
            casts: bool) -> Tensor:
    """Quantize elements under their scales, to ``dtype``; ``factor`` is of the type to work in, and broadcasts."""
    quotient = _quotient(x.to(factor.dtype), factor, plan)
    way = road(plan.element, factor.dtype, casts=casts)
    if way is Road.EXACT:
        values = exact.decode(exact.encode(quotient.to(torch.float64), plan.element, random), plan.element.plan)
        values = values.to(factor.dtype)
    else:
        values = quantize(quotient, plan.element, way)
    return _narrowed(values * factor, dtype)


def _narrowed(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Round to ``dtype`` once: torch goes from float64 to the 16-bit types by way of float32, which rounds twice."""
    if values.dtype == torch.float64 and dtype in _NARROW:
        settings = _narrow_settings(dtype)
        values = quantize(values, settings, road(settings, torch.float64, casts=False))
    return values.to(dtype)


@torch.compiler.assume_constant_result
def _narrow_settings(dtype: torch.dtype) -> Settings:
    return settings_of(parse(_NARROW[dtype]), RoundingMode.NEAREST_EVEN, OverflowPolicy.INFINITY, None, False, None)


def _is_single(x: Tensor, plan: BlockPlan, dtype: torch.dtype) -> bool:
    # Compiled GPU code divides float32 to within two units in the last place.
    rough = x.is_cuda and torch.compiler.is_compiling()
    return plan.single and torch.float64 not in (x.dtype, dtype) and not rough


def _inside(x: Tensor, tensor_scale: Tensor, plan: BlockPlan, dim: int) -> Tensor:
    """Whether elements lie within the range of their format under their scales; false at NaN and in blocks of NaN."""
    inside = []
    for piece in pieces(x, dim, plan.block_size):
        factor = factor_of(piece, tensor_scale, plan, dim, single=False)
        quotient = _quotient(piece.to(torch.float64), factor, plan)
        passes = (quotient >= plan.element.plan.minimum) & (quotient <= plan.element.plan.maximum)
        inside.append(passes.flatten(-2))
    return torch.cat(inside, -1).movedim(-1, dim)


class _StraightThrough(torch.autograd.Function):
    """Quantization to blocks, with the gradient of the identity or of a clamp."""

    @staticmethod
    def forward(x: Tensor, random: Tensor | None, tensor_scale: Tensor, plan: BlockPlan, dim: int,
                clip_gradient: bool, dtype: torch.dtype) -> Tensor:
        single = _is_single(x, plan, dtype)
        parts, bits = pieces(x, dim, plan.block_size), pieces(random, dim, plan.block_size)
        factors = [factor_of(piece, tensor_scale, plan, dim, single=single) for piece in parts]
        if torch.compiler.is_compiling():
            values = [_values(piece, factor, random, plan, dtype, casts=False).flatten(-2)
                      for piece, factor, random in zip(parts, factors, bits, strict=True)]
            return torch.cat(values, -1).movedim(-1, dim).contiguous()
        out = torch.empty_like(x, dtype=dtype)
        for piece, factor, random, target in zip(parts, factors, bits, pieces(out, dim, plan.block_size),
                                                 strict=True):
            if piece.numel():
                each_block(lambda x, out, random, factor: out.copy_(_values(x, factor, random, plan, dtype,
                                                                            casts=True)),
                           [piece, target, random, factor.expand(piece.shape)])
        return out

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, _, tensor_scale, plan, dim, clip_gradient, _ = inputs
        ctx.dtype, ctx.plan, ctx.dim, ctx.clip_gradient = x.dtype, plan, dim, clip_gradient
        if clip_gradient:
            ctx.save_for_backward(x, tensor_scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None, None]:
        if ctx.clip_gradient:
            x, tensor_scale = ctx.saved_tensors
            gradient = torch.where(_inside(x, tensor_scale, ctx.plan, ctx.dim), gradient, 0.0)
        return gradient.to(ctx.dtype), None, None, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, x, random, tensor_scale, plan, dim, clip_gradient, dtype):
        tensors = [tensor if tensor is None else
                   tensor.movedim(axis, 0) if axis is not None else
                   tensor.expand(info.batch_size, *tensor.shape)
                   for tensor, axis in zip((x, random, tensor_scale), in_dims, strict=False)]
        return _StraightThrough.apply(*tensors, plan, dim, clip_gradient, dtype), 0
