"""Fake quantization beside the memory copy and the quantizers of torch, ml_dtypes, gfloat and Brevitas."""

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat, ScalarFormat, parse

FORMATS = ("float8_e4m3fn", "float8_e5m2", "float6_e3m2fn", "float4_e2m1fn", "int8", "int4", "float16", "bfloat16",
           "fixed<8,4>")
"""What is measured unless something else is asked for."""

COMPETITORS = ("torch", "ml_dtypes", "gfloat", "brevitas")

_REPETITIONS = 7

# gfloat rounds in float64 with many temporary arrays: a part of the tensor says as much.
_GFLOAT_SHARE = 16

Action: TypeAlias = Callable[[], object]


class NotMeasured(Exception):
    """Why a competitor has no figure."""


def run(*, elements: int = 1 << 24, seed: int, formats: Sequence[str] | None,
        progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure each format, and return one row each.

    All candidates quantize the same float32 tensor of standard normal numbers to a fresh tensor, one after the other
    in each of seven rounds; the figures are medians. A first round is not counted.

    Parameters
    ----------
    elements : int
        Size of the tensor.
    seed : int
        Seed of its numbers.
    formats : sequence of str, optional
        Names of formats; :data:`FORMATS` if None.
    progress : callable
        Told what is being measured.

    Returns
    -------
    list of dict
        ``format`` (canonical name), ``elements``, ``threads`` (of torch);
        ``ours_ms``: ``fake_quantize(x, format)``;
        ``ours_out_ms``: the same into an existing tensor, without the page faults of a new one;
        ``copy_ms``: copying the tensor to an existing one, the limit of ``ours_out_ms``;
        ``clone_ms``: copying it to a new one, the limit of ``ours_ms``;
        ``competitors``: for each of :data:`COMPETITORS` an object of ``ms`` (number, or null with a ``reason``),
        ``ratio`` (``ms / ours_ms``, or null), ``reason`` (text, or null) and ``elements`` (how many it was measured
        on; ``ms`` is scaled to all);
        ``fastest``: the name of the fastest competitor, or null; ``ratio``: its ratio, or null.

    Raises
    ------
    ValueError
        If a name is no format, or a number is not positive.
    """
    if elements < 1:
        raise ValueError(f"Element count must be at least 1, not {elements!r}")
    import torch

    parsed = [(name, parse(name)) for name in (FORMATS if formats is None else formats)]
    x = torch.randn(elements, generator=torch.Generator().manual_seed(seed))
    rows = []
    for name, fmt in parsed:
        progress(f"{name}: {elements} elements")
        rows.append(_row(fmt, x))
    return rows


def _row(fmt: ScalarFormat, x: Any) -> dict[str, Any]:
    import torch

    from sw.quantize import fake_quantize

    y = torch.empty_like(x)
    actions: dict[str, Action] = {
        "ours": lambda: fake_quantize(x, fmt), "ours_out": lambda: fake_quantize(x, fmt, out=y),
        "copy": lambda: y.copy_(x), "clone": lambda: x.clone(),
    }
    reasons: dict[str, str] = {}
    shares = {name: x.numel() for name in COMPETITORS}
    shares["gfloat"] = max(1, x.numel() // _GFLOAT_SHARE)
    for name, prepare in zip(COMPETITORS, (_torch, _ml_dtypes, _gfloat, _brevitas), strict=True):
        try:
            actions[name] = prepare(fmt, x[:shares[name]])
        except NotMeasured as reason:
            reasons[name] = str(reason)
    milliseconds = _medians(actions)
    competitors: dict[str, dict[str, Any]] = {}
    for name in COMPETITORS:
        ms = milliseconds[name] * x.numel() / shares[name] if name in milliseconds else None
        competitors[name] = {"ms": ms, "ratio": None if ms is None else ms / milliseconds["ours"],
                             "reason": reasons.get(name), "elements": shares[name]}
    ratios = {name: entry["ratio"] for name, entry in competitors.items() if entry["ratio"] is not None}
    fastest = min(ratios, key=lambda name: ratios[name], default=None)
    return {"format": fmt.name, "elements": x.numel(), "threads": torch.get_num_threads(),
            **{f"{name}_ms": milliseconds[name] for name in ("ours", "ours_out", "copy", "clone")},
            "competitors": competitors, "fastest": fastest, "ratio": None if fastest is None else ratios[fastest]}


def _medians(actions: dict[str, Action]) -> dict[str, float]:
    """Return the median milliseconds of each action, interleaved so that a slow moment slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for repetition in range(_REPETITIONS + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            result = action()
            seconds = time.perf_counter() - start
            del result  # freeing is not measured
            if repetition:
                times[name].append(seconds)
    return {name: statistics.median(seconds) * 1e3 for name, seconds in times.items()}


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise NotMeasured(f"{package} is not installed: pip install {package}") from None


def _torch(fmt: ScalarFormat, x: Any) -> Action:
    """Prepare the cast to torch's own type and back; without the clamp that would make it saturate."""
    import torch

    dtype = getattr(torch, fmt.name, None)
    if not isinstance(fmt, FloatingPointFormat) or not isinstance(dtype, torch.dtype):
        raise NotMeasured(f"torch rounds to no type of the format {fmt.name}")
    return lambda: x.to(dtype).to(torch.float32)


def _ml_dtypes(fmt: ScalarFormat, x: Any) -> Action:
    """Prepare numpy's cast to the type of ml_dtypes (for float16, its own) and back."""
    ml_dtypes = _module("ml_dtypes", "ml_dtypes")
    import numpy as np

    dtype = np.float16 if fmt.name == "float16" else getattr(ml_dtypes, fmt.name, None)
    if not isinstance(fmt, FloatingPointFormat) or dtype is None:
        raise NotMeasured(f"ml_dtypes rounds to no type of the format {fmt.name} (its integers truncate)")
    values = x.numpy()
    return lambda: values.astype(dtype).astype(np.float32)


def _gfloat(fmt: ScalarFormat, x: Any) -> Action:
    """Prepare ``round_ndarray``."""
    gfloat = _module("gfloat", "gfloat")
    formats = _module("gfloat.formats", "gfloat")
    names = {"float8_e4m3fn": "ocp_e4m3", "float8_e5m2": "ocp_e5m2", "float6_e3m2fn": "ocp_e3m2",
             "float6_e2m3fn": "ocp_e2m3", "float4_e2m1fn": "ocp_e2m1", "float16": "binary16",
             "bfloat16": "bfloat16"}
    if fmt.name not in names:
        raise NotMeasured(f"gfloat has no format {fmt.name} by that definition")
    info = getattr(formats, f"format_info_{names[fmt.name]}")
    values = x.numpy()
    return lambda: gfloat.round_ndarray(info, values, gfloat.RoundMode.TiesToEven, sat=True)


def _brevitas(fmt: ScalarFormat, x: Any) -> Action:
    """Prepare the float or integer quantizer on a scale set beforehand, without gradient."""
    import torch

    if isinstance(fmt, PositFormat):
        raise NotMeasured(f"brevitas has no format {fmt.name}")
    module = _brevitas_fixed(fmt) if isinstance(fmt, FixedPointFormat) else _brevitas_float(fmt)

    def action() -> object:
        with torch.no_grad():
            return module(x)

    return action


def _brevitas_fixed(fmt: FixedPointFormat) -> Callable[[Any], object]:
    import torch

    quant = _module("brevitas.core.quant.int_base", "brevitas")
    wrapper = _module("brevitas.core.function_wrapper", "brevitas")
    module = quant.IntQuant(narrow_range=fmt.narrow_range, signed=fmt.signed, input_view_impl=wrapper.Identity())
    scale, zero_point, width = (torch.tensor(float(value)) for value in (fmt.quantum, 0, fmt.width))
    return lambda x: module(scale, zero_point, width, x)


def _brevitas_float(fmt: FloatingPointFormat) -> Callable[[Any], object]:
    import torch

    if fmt.radix != 2 or not fmt.has_zero or not fmt.signed:
        raise NotMeasured(f"brevitas has no format {fmt.name}")
    quant = _module("brevitas.core.quant.float", "brevitas")
    wrapper = _module("brevitas.core.function_wrapper", "brevitas")
    width = _module("brevitas.core.bit_width", "brevitas")
    float_width = _module("brevitas.core.bit_width.float", "brevitas")
    buffer = _module("brevitas.core.utils", "brevitas").StatelessBuffer
    clamp = wrapper.FloatClamp(wrapper.TensorClamp(), signed=True, max_available_float=float(fmt.max_finite))
    module = quant.FloatQuant(
        signed=True, exponent_bit_width_impl=width.BitWidthConst(fmt.exponent_bits),
        mantissa_bit_width_impl=width.BitWidthConst(fmt.fraction_bits),
        exponent_bias_impl=buffer(torch.tensor(float(fmt.bias))), float_clamp_impl=clamp,
        input_view_impl=wrapper.Identity(), compute_max_mantissa=float_width.ComputeMaxMantissa())
    return lambda x: module(x)[0]
