"""Quantization of tensors: to values (fake quantization), to codes, and back."""

import torch
from torch import Tensor

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat
from sw.quantize import exact, nearest
from sw.quantize.blocks import Workspace, each_block
from sw.quantize.checks import (
    check_input,
    check_random,
    check_result_dtype,
    is_readable,
    settings_of,
    work_dtype,
)
from sw.quantize.nearest import Road, road
from sw.quantize.plan import FixedPlan, Settings, code_dtype, fits
from sw.quantize.scale import apply_shape, check_scale


def fake_quantize(x: Tensor, fmt: ScalarFormat, *, scale: Tensor | float | None = None, axis: int | None = None,
                  group_size: int | None = None, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
                  overflow: OverflowPolicy = OverflowPolicy.SATURATE, random: Tensor | None = None,
                  random_bits: int | None = None, generator: torch.Generator | None = None,
                  propagate_nan: bool = False, dtype: torch.dtype | None = None, out: Tensor | None = None) -> Tensor:
    """Round every element to a value of ``fmt``: bit for bit ``fmt.decode(fmt.encode(element, ...))``.

    Parameters
    ----------
    x : float16, bfloat16, float32 or float64 tensor, of any shape
        Each element is rounded once, from its exact value.
    fmt : ScalarFormat
        A format of at most 32 bits.
    scale : float or tensor, optional
        The result is ``quantize(x / scale) * scale``. Quotient and product are rounded to float64 for a float64
        input (the product also for ``dtype=torch.float64``), otherwise to float32; powers of two round nothing.
        One number, or a tensor of shape ``()``; with ``axis``, one number for each index along that axis, shape
        ``(C,)``; with ``group_size``, one for each run of so many elements along ``axis`` (default: the last), in
        the shape of ``x`` with that axis divided by ``group_size``. Positive and finite: checked in eager mode,
        which makes the CPU wait for a GPU.
    rounding : RoundingMode
    overflow : OverflowPolicy
        Which of them apply is up to the format: see its ``check_overflow``.
    random : integer tensor that broadcasts to the shape of ``x``, optional
        For stochastic rounding: R of ``random_bits`` bits for each element, as in ``sw.formats.RandomBits``.
    random_bits : int, bits
        1 to 62. Required with ``random``; 32 by default with ``generator``.
    generator : torch.Generator, optional
        Draws the random integers instead.
    propagate_nan : bool
        Keep NaN a NaN where the format has none; otherwise it becomes what ``encode`` says, zero in most formats.
    dtype : torch.dtype, optional
        Type of the result; by default that of ``x``. It must hold every value of the format.
    out : tensor, optional
        Where to write the result: of the shape of ``x``; either ``x`` itself or memory that it does not share.
        Spares the page faults of a fresh tensor. Not differentiable.

    Returns
    -------
    Tensor
        Of the shape of ``x``.

    Gradient: straight through. It passes unchanged where ``x / scale`` lies within the finite range of the format,
    ends included, and is zero outside and at NaN, as for a clamp (Bengio et al. 2013; with the scale's gradient,
    which follows from the definition, Esser et al. 2020, LSQ, equation 3).

    Works under ``torch.compile`` (with fused kernels) and ``torch.func.vmap``. Subnormal results need
    ``torch.set_flush_denormal(False)``, which is torch's default.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range, or does not suit the others.
    """
    check_input(x)
    if out is not None and not isinstance(out, Tensor):
        raise TypeError(f"Output must be a torch.Tensor, not {type(out).__name__!r}")
    if dtype is None:
        dtype = x.dtype if out is None else out.dtype
    settings = settings_of(fmt, rounding, overflow, random_bits, propagate_nan, dtype)
    random = check_random(x, settings, random, random_bits, generator)
    scale = _checked_scale(x, scale, axis, group_size)
    _check_out(x, scale, dtype, out)
    if out is None and not _plain(x, scale, random):
        return _differentiable(x, scale, random, settings, dtype, axis, group_size)
    if out is None:
        out = torch.empty_like(x, dtype=dtype)
    if scale is None:
        _quantize_blocks(x, random, settings, dtype, out)
        return out
    shape, _ = apply_shape(x, axis=axis, group_size=group_size)
    inner = _inner_dtype(x, dtype)

    way = road(settings, scale.dtype, casts=True)

    def step(x: Tensor, out: Tensor, random: Tensor | None, scale: Tensor) -> None:
        y = _values(x.to(scale.dtype) / scale, random, settings, way, inner, None, None)
        torch.mul(y, scale.to(inner), out=out)

    # Splitting an axis never copies, so that writing to the reshaped result writes to the result.
    each_block(step, [x.reshape(shape), out.view(shape), None if random is None else random.reshape(shape),
                       scale.expand(shape)])
    return out


def to_codes(x: Tensor, fmt: ScalarFormat, *, scale: Tensor | float | None = None, axis: int | None = None,
             group_size: int | None = None, rounding: RoundingMode = RoundingMode.NEAREST_EVEN,
             overflow: OverflowPolicy = OverflowPolicy.SATURATE, random: Tensor | None = None,
             random_bits: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Round every element of ``x / scale`` to a code of ``fmt``: exactly ``fmt.encode(element, ...)``.

    The parameters are those of :func:`fake_quantize`. There is no gradient.

    Returns
    -------
    Tensor
        Codes, of the shape of ``x``, nonnegative also for signed formats: uint8 for formats of up to 8 bits, int16
        up to 15, int32 up to 31, int64 for 32.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range, or does not suit the others.
    """
    check_input(x)
    settings = settings_of(fmt, rounding, overflow, random_bits, False, None)
    random = check_random(x, settings, random, random_bits, generator)
    scale = _checked_scale(x, scale, axis, group_size)
    x = x.detach()
    shape = tuple(x.shape)
    if scale is not None:
        x = x.to(scale.dtype)
        x = _quotient(x.reshape(apply_shape(x, axis=axis, group_size=group_size)[0]), scale.detach()).reshape(shape)
    if not _plain(x, random):
        return exact.encode(x.to(torch.float64), settings, random).to(code_dtype(fmt))
    codes = torch.empty_like(x, dtype=code_dtype(fmt))
    each_block(lambda x, out, random: out.copy_(exact.encode(x.to(torch.float64), settings, random)),
                [x, codes, random])
    return codes


def from_codes(codes: Tensor, fmt: ScalarFormat, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the values of codes: exactly ``fmt.decode(code)``.

    Parameters
    ----------
    codes : integer tensor, of any shape
        ``0 <= code < 2**fmt.width`` (checked in eager mode).
    fmt : ScalarFormat
    dtype : torch.dtype
        Type of the result, which must hold every value of the format.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, a code out of range, or ``dtype`` too small.
    """
    if not isinstance(codes, Tensor):
        raise TypeError(f"Codes must be a torch.Tensor of integers, not {type(codes).__name__!r}")
    if codes.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"Codes must be of an integer dtype, not {codes.dtype}")
    plan = settings_of(fmt, RoundingMode.NEAREST_EVEN, OverflowPolicy.SATURATE, None, False, None).plan
    check_result_dtype(plan, dtype)
    if codes.numel() and is_readable(codes):
        low, high = (int(extreme) for extreme in torch.aminmax(codes))
        if low < 0 or high >> fmt.width:
            raise ValueError(f"Codes must be between 0 and {(1 << fmt.width) - 1} for {plan.name}, not {low} to {high}")
    if not _plain(codes):
        return exact.decode(codes.to(torch.int64), plan).to(dtype)
    values = torch.empty_like(codes, dtype=dtype)
    each_block(lambda codes, out: out.copy_(exact.decode(codes.to(torch.int64), plan)), [codes, values])
    return values


def _checked_scale(x: Tensor, scale: Tensor | float | None, axis: int | None,
                   group_size: int | None) -> Tensor | None:
    if scale is not None:
        return check_scale(x, scale, axis=axis, group_size=group_size)
    if axis is not None or group_size is not None:
        raise ValueError(f"Scale must be given with axis={axis!r} or group_size={group_size!r}, not None; "
                         "sw.quantize.absmax_scale computes one")
    return None


def _check_out(x: Tensor, scale: Tensor | None, dtype: torch.dtype, out: Tensor | None) -> None:
    if out is None:
        return
    if out.shape != x.shape or out.dtype != dtype or out.device != x.device:
        raise ValueError(f"Output must have shape {tuple(x.shape)}, dtype {dtype} and device {x.device}, not "
                         f"{tuple(out.shape)}, {out.dtype} and {out.device}")
    if _wants_gradient(x, scale) or _wants_gradient(out):
        raise ValueError("Output must be None where a gradient is wanted; call under torch.no_grad() otherwise")
    if not _plain(x, scale, out):
        raise ValueError("Output must be None under torch.compile and torch.func transforms, which place results "
                         "themselves")


def _wants_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _plain(*tensors: Tensor | None) -> bool:
    """Whether nothing watches these tensors, so that they can be worked on in blocks."""
    if torch.compiler.is_compiling() or _wants_gradient(*tensors):
        return False
    return not any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors
                   if tensor is not None)


def _inner_dtype(x: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Type of the values before they are multiplied by their scale."""
    return torch.float64 if torch.float64 in (x.dtype, dtype) else torch.float32


def _quotient(x: Tensor, scale: Tensor) -> Tensor:
    if x.dtype == torch.float32 and x.is_cuda and torch.compiler.is_compiling():
        # Compiled GPU code divides float32 to within two units in the last place. float64 has more than twice its
        # precision, so that rounding its quotient again gives the correctly rounded one.
        return (x.to(torch.float64) / scale.to(torch.float64)).to(torch.float32)
    return x / scale


def _differentiable(x: Tensor, scale: Tensor | None, random: Tensor | None, settings: Settings, dtype: torch.dtype,
                    axis: int | None, group_size: int | None) -> Tensor:
    if scale is None:
        return _StraightThrough.apply(x, random, settings, dtype)
    shape, _ = apply_shape(x, axis=axis, group_size=group_size)
    random = None if random is None else random.reshape(shape)
    inner = _inner_dtype(x, dtype)
    quotient = _quotient(x.to(scale.dtype).reshape(shape), scale)
    y = _StraightThrough.apply(quotient, random, settings, inner) * scale.to(inner)
    return y.reshape(x.shape).to(dtype)


class _StraightThrough(torch.autograd.Function):
    """Quantization without scale, with the gradient of a clamp to the format's range."""

    @staticmethod
    def forward(x: Tensor, random: Tensor | None, settings: Settings, dtype: torch.dtype) -> Tensor:
        if torch.compiler.is_compiling():
            # A compiler may drop a cast to a smaller type and back.
            return _values(x, random, settings, road(settings, work_dtype(x), casts=False), dtype, None, None)
        out = torch.empty_like(x, dtype=dtype)
        _quantize_blocks(x, random, settings, dtype, out)
        return out

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, _, settings, _ = inputs
        ctx.save_for_backward(x)
        ctx.settings = settings

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        x, = ctx.saved_tensors
        plan = ctx.settings.plan
        symmetric = ctx.settings.overflow is OverflowPolicy.SATURATE_SYMMETRIC and isinstance(plan, FixedPlan)
        minimum = max(plan.minimum, -plan.maximum) if symmetric else plan.minimum
        value = x if fits(plan, x.dtype) else x.to(torch.float64)
        inside = (value >= minimum) & (value <= plan.maximum)
        return torch.where(inside, gradient, 0.0).to(x.dtype), None, None, None

    @staticmethod
    def vmap(info, in_dims, x, random, settings, dtype):
        tensors = [tensor if tensor is None else
                   tensor.movedim(dim, 0) if dim is not None else
                   tensor.expand(info.batch_size, *tensor.shape)
                   for tensor, dim in zip((x, random), in_dims, strict=False)]
        return _StraightThrough.apply(*tensors, settings, dtype), 0


def _quantize_blocks(x: Tensor, random: Tensor | None, settings: Settings, dtype: torch.dtype, out: Tensor) -> None:
    """Quantize a tensor without scale into ``out``."""
    way = road(settings, work_dtype(x), casts=True)
    with torch.no_grad():
        if way is Road.CAST and nearest.cast_whole(x, settings, out):
            return
    space = Workspace() if x.device.type == "cpu" else None
    each_block(lambda x, out, random: _values(x, random, settings, way, dtype, out, space), [x, out, random])


def _values(x: Tensor, random: Tensor | None, settings: Settings, way: Road, dtype: torch.dtype, out: Tensor | None,
            space: Workspace | None) -> Tensor:
    """Quantize a tensor, all at once, to one of ``dtype``, or into ``out`` of that type."""
    if way is not Road.EXACT:
        y = nearest.quantize(x.to(work_dtype(x)), settings, way, out, space)
        return y if out is not None else y.to(dtype)
    y = exact.decode(exact.encode(x.to(torch.float64), settings, random), settings.plan)
    if settings.propagate_nan:
        y = torch.where(torch.isnan(x), torch.nan, y)
    return y.to(dtype) if out is None else out.copy_(y)
