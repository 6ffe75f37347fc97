"""Multiplication and multiply-accumulate as others do them: a scalar library in C, numpy, ml_dtypes and torch."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sw.formats import ScalarFormat
from synth.bench.native_timing import Action, Side
from synth.bench.quantize import NotMeasured
from synth.bench.softfloat16 import ScalarHalf

OTHERS = {
    "scalar": "binary16, one number at a time, compiled C",
    "numpy": "float16",
    "torch float16": "float16",
    "ml_dtypes": "the same format",
    "torch": "the same format; its float8 types through float32",
}
"""What is measured beside ours, and in which format."""

TERMS, LANES = 8, 512
"""Of the scalar dot products, whose operands stay in the first-level cache."""

ELEMENTS = 1 << 16
"""Of an array of numpy, ml_dtypes and torch: the second-level cache holds them."""

Multiply = Callable[[], object]


def scalar_sides(library: ScalarHalf, values: npt.NDArray[np.float32], threads: int) -> dict[str, Side]:
    """Return the scalar library's sides; ``values`` are two rows of operands."""
    a, b = (np.ascontiguousarray(row[:TERMS * LANES].astype(np.float16)).view(np.uint16).reshape(TERMS, LANES)
            for row in values)
    results = [np.empty((TERMS, LANES), np.uint16) for _ in range(threads)]

    def multiplying(products: npt.NDArray[np.uint16]) -> Action:
        return lambda repeats: library.multiply(a, b, products, repeats)

    def accumulating(sums: npt.NDArray[np.uint16]) -> Action:
        return lambda repeats: library.accumulate(a, b, sums, repeats)

    return {"multiply scalar": Side(operations=a.size, workers=[multiplying(each) for each in results]),
            "mac scalar": Side(operations=a.size, workers=[accumulating(each[0]) for each in results])}


def array_sides(fmt: ScalarFormat, values: npt.NDArray[np.float32], threads: int
                ) -> tuple[dict[str, Side], dict[str, str]]:
    """Return the sides of the array libraries, and why one has none.

    numpy and ml_dtypes run on one thread for each worker, torch has threads of its own.
    """
    sides: dict[str, Side] = {}
    reasons: dict[str, str] = {}
    for name, prepare in (("numpy", _numpy), ("torch float16", _torch_half), ("ml_dtypes", _ml_dtypes),
                          ("torch", _torch)):
        workers = 1 if name.startswith("torch") else threads
        try:
            made = [prepare(fmt, values[:, :ELEMENTS]) for _ in range(workers)]
        except NotMeasured as error:
            reasons[name] = str(error)
            continue
        for place, kind in enumerate(("multiply", "mac")):
            sides[f"{kind} {name}"] = Side(operations=values[0, :ELEMENTS].size,
                                           workers=[repeated(each[place]) for each in made])
    return sides, reasons


def repeated(action: Multiply) -> Action:
    """Return what does an action so many times."""
    def run(repeats: int) -> None:
        for _ in range(repeats):
            action()
    return run


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads meanwhile, if it is installed."""
    try:
        torch = _module("torch")
    except NotMeasured:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _numpy(_: ScalarFormat, values: npt.NDArray[np.float32]) -> tuple[Multiply, Multiply]:
    return _by_numpy(np.dtype(np.float16), values)


def _ml_dtypes(fmt: ScalarFormat, values: npt.NDArray[np.float32]) -> tuple[Multiply, Multiply]:
    dtype = getattr(_module("ml_dtypes"), fmt.name, None)
    if dtype is None:
        raise NotMeasured(f"ml_dtypes has no type {fmt.name}")
    return _by_numpy(np.dtype(dtype), values)


def _by_numpy(dtype: np.dtype[Any], values: npt.NDArray[np.float32]) -> tuple[Multiply, Multiply]:
    a, b = (row.astype(dtype) for row in values)
    c, products, sums = a[::-1].copy(), np.empty_like(a), np.empty_like(a)

    def accumulate() -> object:
        np.multiply(a, b, out=sums)
        return np.add(sums, c, out=sums)

    return lambda: np.multiply(a, b, out=products), accumulate


def _torch_half(_: ScalarFormat, values: npt.NDArray[np.float32]) -> tuple[Multiply, Multiply]:
    torch = _module("torch")
    a, b = (torch.tensor(row).to(torch.float16) for row in values)
    c, products, sums = a.flip(0), torch.empty_like(a), torch.empty_like(a)
    return lambda: torch.mul(a, b, out=products), lambda: torch.addcmul(c, a, b, out=sums)


def _torch(fmt: ScalarFormat, values: npt.NDArray[np.float32]) -> tuple[Multiply, Multiply]:
    torch = _module("torch")
    dtype = getattr(torch, fmt.name, None)
    if not isinstance(dtype, torch.dtype):
        raise NotMeasured(f"torch has no type {fmt.name}")
    if dtype is torch.float16:
        return _torch_half(fmt, values)
    a, b = (torch.tensor(row).to(dtype) for row in values)
    c = a.view(torch.uint8).flip(0).view(dtype)

    def multiply() -> object:
        return (a.to(torch.float32) * b.to(torch.float32)).to(dtype)

    def accumulate() -> object:
        return torch.addcmul(c.to(torch.float32), a.to(torch.float32), b.to(torch.float32)).to(dtype)

    return multiply, accumulate


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise NotMeasured(f"{name} is not installed: pip install {name}") from None
