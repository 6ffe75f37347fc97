"""Post-training quantization of a ResNet-18, end to end, beside Brevitas doing the same steps."""

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sw.formats import FixedPointFormat, FloatingPointFormat, ScalarFormat, parse
from synth.bench.child import run_child
from synth.bench.ptq_sides import SIDES, STEPS
from synth.console import Progress

FORMATS = ("int8", "minifloat_e4m3")
"""What is measured unless something else is asked for."""

BATCH_SIZE = 64
SMALLEST_SIZE = 32

_EDGES = ("int8", "minifloat_e3m4")
_LARGEST_WIDTH = 8

Figures = dict[str, Any]
"""What one child said: ``steps`` (seconds and CPU seconds of each), memory, version; or ``not_measured``."""


def run(*, formats: Sequence[str] = FORMATS, images: int = 256, size: int = 64, repeats: int = 3, seed: int,
        timeout: float, progress: Progress) -> list[dict[str, Any]]:
    """Quantize the network to each format with both sides, and return one row a format.

    Each repetition is a process of its own, on all cores; the two sides take turns, and who begins alternates. Loading
    the libraries and making the network are not counted. See :mod:`synth.bench.ptq_sides` for the steps.

    Parameters
    ----------
    formats : sequence of str
        Names of signed integer formats or all-finite minifloats of 2 to 8 bits.
    images : int
        Calibration images, in batches of 64.
    size : int, pixels
        Height and width of an image, at least 32.
    repeats : int
        How often each side quantizes the network; the figures are medians.
    seed : int
        Of the network and the images.
    timeout : float, seconds
        Limit for each repetition.
    progress : Progress
        Told of each step as it begins, and of each of the :func:`runs` as it ends.

    Returns
    -------
    list of dict
        ``format``, ``first_last_format``, ``images``, ``size``, ``batch_size``, ``repeats``, ``threads``;
        ``steps``: for each step and the ``total`` an object of ``ours_s`` and ``brevitas_s`` (wall clock), ``ratio``
        (theirs to ours), ``ours_cpu_s`` and ``brevitas_cpu_s`` (time on all cores together);
        ``memory``: for each side ``start_mib`` (before the first step) and ``peak_mib``, or null where the system
        does not tell; ``sqnr_db``: the float network's output power to that of each side's difference from it
        (``ours``, ``brevitas``), and ours to that of our difference from theirs (``between``), on 64 other images;
        ``versions``; ``reason``: why there are no figures of Brevitas, or null.

    Raises
    ------
    TypeError, ValueError
        If a name is no such format, or a number is out of range.
    ToolError, ToolTimeout
        If a child fails, or takes longer than it may.
    """
    check_size(size)
    chosen = [check_format(name) for name in formats]
    return [_row(fmt, images=images, size=size, repeats=repeats, seed=seed, timeout=timeout, progress=progress)
            for fmt in chosen]


def runs(formats: int, repeats: int) -> int:
    """Return how often a network is quantized in all."""
    return formats * repeats * len(SIDES)


def check_size(size: int) -> None:
    """Raise ValueError unless the network takes images of this height and width."""
    if size < SMALLEST_SIZE:
        raise ValueError(f"Image size must be at least {SMALLEST_SIZE}, not {size!r}")


def check_format(name: str) -> ScalarFormat:
    """Return the format of a name, with a narrow range if it is an integer, as the script has it.

    Raises
    ------
    ValueError
        If it is no format that both sides know.
    """
    fmt = parse(name)
    if isinstance(fmt, FixedPointFormat) and fmt.signed and not fmt.fraction_bits and 2 <= fmt.width <= _LARGEST_WIDTH:
        return replace(fmt, narrow_range=True)
    if (isinstance(fmt, FloatingPointFormat) and fmt.width <= _LARGEST_WIDTH
            and fmt == parse(f"minifloat_e{fmt.exponent_bits}m{fmt.fraction_bits}")):
        return fmt
    raise ValueError("Format must be a signed integer or an all-finite minifloat of at most 8 bits, which Brevitas "
                     f"has too, not {name!r}; such as int4 or minifloat_e4m3")


def _row(fmt: ScalarFormat, *, images: int, size: int, repeats: int, seed: int, timeout: float,
         progress: Progress) -> dict[str, Any]:
    edge = check_format(_EDGES[isinstance(fmt, FloatingPointFormat)])
    found: dict[str, list[Figures]] = {side: [] for side in SIDES}
    outputs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
        for repetition in range(repeats):
            for side in (list(SIDES) if repetition % 2 == 0 else list(SIDES)[::-1]):
                if found[side] and "not_measured" in found[side][0]:
                    progress.advance()
                    continue
                file = Path(folder) / f"{side}.npz"
                request = {"side": side, "format": fmt.name, "edge": edge.name, "images": images, "size": size,
                           "batch_size": BATCH_SIZE, "seed": seed, "outputs": str(file)}
                label = f"{fmt.name}, {repetition + 1} of {repeats}, {side}"
                progress.start(label)
                found[side].append(_child(request, timeout, label, progress))
                progress.advance()
                if file.exists() and side not in outputs:
                    outputs[side] = _loaded(file)
    return {"format": fmt.name, "first_last_format": edge.name, "images": images, "size": size,
            "batch_size": BATCH_SIZE, "repeats": repeats, "threads": found["ours"][0]["threads"],
            **_summary(found, outputs)}


def _summary(runs: dict[str, list[Figures]], outputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    measured = {side: found for side, found in runs.items() if "not_measured" not in found[0]}
    return {
        "steps": {step: _compared(measured, step) for step in (*STEPS, "total")},
        "memory": {side: {f"{name}_mib": _mebibytes(found, f"{name}_bytes") for name in ("start", "peak")}
                   for side, found in measured.items()},
        "sqnr_db": {**{side: _sqnr(found["float"], found["quantized"]) for side, found in outputs.items()},
                    "between": _sqnr(outputs["ours"]["quantized"], outputs["brevitas"]["quantized"])
                    if "brevitas" in outputs else None},
        "versions": {side: found[0]["version"] for side, found in measured.items()},
        "reason": runs["brevitas"][0].get("not_measured"),
    }


def _compared(measured: dict[str, list[Figures]], step: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {"ratio": None}
    for side in SIDES:
        for key, suffix in (("seconds", "s"), ("cpu_seconds", "cpu_s")):
            found[f"{side}_{suffix}"] = statistics.median(
                sum(figures["steps"][name][key] for name in (STEPS if step == "total" else (step,)))
                for figures in measured[side]) if side in measured else None
    ours, theirs = found["ours_s"], found["brevitas_s"]
    if ours and theirs is not None:
        found["ratio"] = theirs / ours
    return found


def _mebibytes(found: list[Figures], key: str) -> float | None:
    values = [figures[key] for figures in found]
    return None if None in values else statistics.median(values) / 2**20


def _sqnr(want: Any, got: Any) -> float:
    """Return the power of ``want`` to that of the difference, in decibels."""
    import numpy as np

    noise = float(np.square(got.astype(np.float64) - want).sum())
    return 10 * math.log10(float(np.square(want.astype(np.float64)).sum()) / noise) if noise else math.inf


def _loaded(file: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _child(request: dict[str, Any], timeout: float, label: str, progress: Progress) -> Figures:
    """Run one repetition, and return what it said."""
    figures: Figures = {"steps": {}}

    def note(message: dict[str, Any]) -> None:
        if "begins" in message:
            progress.start(f"{label}: {message['begins']}")
        elif "step" in message:
            figures["steps"][message["step"]] = message
        else:
            figures.update(message)

    run_child("synth.bench.ptq_child", request, tool="bench ptq", what=f"{request['side']} on {request['format']}",
              mend="fewer --images take less", timeout=timeout, message=note)
    return figures
