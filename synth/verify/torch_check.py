"""The torch quantizer, asked for every rounding that a reference makes."""

import importlib.util

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat, FloatingPointFormat
from sw.reference.cast import Cast
from sw.reference.model import Codes
from sw.reference.value_array import ValueArray

TORCH_MISSING = "torch is not installed: pip install 'narrowgauge[torch]'"

INEXACT = "none of its exact results is a float64"
UNROUNDED = "it rounds to no format"

MAX_QUANTIZED_BITS = 32
"""Widest results for which the quantizer gives codes."""


class TorchCheck:
    """Compares the torch quantizer with the exact reference; an observer of ``sw.reference.cast.observed``.

    It is asked wherever the exact value, before rounding, is a float64, which is what the quantizer takes.

    Attributes
    ----------
    compared : int
        Roundings on which it was asked.
    differing : int
        Those on which it differs.
    """

    def __init__(self) -> None:
        self.compared = self.differing = 0
        self._asked = False
        self._reason = "" if importlib.util.find_spec("torch") else TORCH_MISSING

    @property
    def skipped(self) -> str:
        """Why it was not asked at all; empty if it was."""
        return "" if self.compared else self._reason or (INEXACT if self._asked else UNROUNDED)

    def __call__(self, cast: Cast, values: ValueArray, random: Codes | None, codes: NDArray[np.uint64]) -> None:
        """Compare one array of roundings."""
        self._asked = True
        reason = "" if importlib.util.find_spec("torch") else TORCH_MISSING
        reason = reason or _beyond(cast)
        if reason:
            self._reason = reason
            return
        numbers, exact = as_float64(values)
        if not exact.any():
            return
        import torch

        from sw.quantize import to_codes

        bits = None if random is None else torch.from_numpy(random[exact].astype(np.int64))
        answer = to_codes(torch.from_numpy(numbers[exact]), cast.result, rounding=cast.rounding,
                          overflow=cast.overflow, random=bits, random_bits=cast.random_bits or None)
        self.compared += int(exact.sum())
        self.differing += int(np.count_nonzero(answer.numpy().astype(np.uint64) != codes[exact]))


def _beyond(cast: Cast) -> str:
    """Say why the quantizer cannot give these results; empty if it can."""
    result = cast.result
    if result.width > MAX_QUANTIZED_BITS:
        return f"results of more than {MAX_QUANTIZED_BITS} bits are beyond it"
    if isinstance(result, FloatingPointFormat) and (result.max_finite >= 2**1023
                                                    or result.smallest_normal < 2.0**-1000):
        return "results of this format leave float64's range"
    if isinstance(result, FixedPointFormat) and abs(result.fraction_bits) > 512:
        return "results of this format leave float64's range"
    return ""


def as_float64(values: ValueArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return values as float64, and which of them are exact so."""
    significand = values.significand
    if significand.dtype == object:
        narrow = np.array([int(number).bit_length() <= 1023 for number in significand], dtype=bool)
        floats = np.where(narrow, significand, 0).astype(np.float64)
        exact = np.asarray(narrow & np.array([int(back) == int(number) for back, number
                                              in zip(floats.tolist(), significand, strict=True)], dtype=bool))
    else:
        floats = significand.astype(np.float64)
        exact = floats.astype(np.int64) == significand
    _, top = np.frexp(floats)
    inside = (values.exponent + top < 1020) & (values.exponent > -1070) | (floats == 0)
    exponent = np.clip(np.where(floats == 0, 0, values.exponent), -1100, 1100)
    with np.errstate(over="ignore", under="ignore"):
        numbers = np.ldexp(floats, exponent.astype(np.int32))
    numbers = np.where(values.infinite, np.inf, np.where(values.nan, np.nan, numbers))
    numbers = np.where(values.negative, -numbers, numbers)
    return numbers, (exact & inside) | values.infinite | values.nan
