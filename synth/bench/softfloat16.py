"""Scalar half-precision arithmetic in C, compiled by the system's compiler: what bit-sliced code is compared with.

Multiplication, addition, and a multiply-accumulate of both, each rounded: the semantics of a scalar software library
such as Berkeley SoftFloat (subnormals, infinities, NaN, round to nearest even), without exception flags.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from synth.bench.quantize import NotMeasured

SOURCE = Path(__file__).with_name("softfloat16.c")

OPTIONS = ("-O2", "-std=c99", "-shared")

Halves = npt.NDArray[np.uint16]
"""Codes of binary16, contiguous."""


class ScalarHalf:
    """The compiled functions; a context, at whose end the library's file is removed.

    Raises
    ------
    NotMeasured
        If there is no C compiler, or it fails.
    """

    def __init__(self) -> None:
        self.compiler = find_compiler()
        # Windows does not let go of the file of a loaded library before the process ends.
        self._folder = tempfile.TemporaryDirectory(prefix="narrowgauge-", ignore_cleanup_errors=True)
        library = Path(self._folder.name) / "softfloat16.so"
        position_independent = () if sys.platform == "win32" else ("-fPIC",)
        done = subprocess.run([self.compiler, *OPTIONS, *position_independent, "-o", str(library), str(SOURCE)],
                              capture_output=True, text=True, errors="replace")
        if done.returncode:
            self._folder.cleanup()
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise NotMeasured(f"the C compiler {self.compiler} ended with {done.returncode}; its last words: {last}")
        self._library = ctypes.CDLL(str(library))
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        for name, arguments in (("multiply", [pointer] * 3 + [count] * 2), ("add", [pointer] * 3 + [count]),
                                ("accumulate", [pointer] * 3 + [count] * 3)):
            function = getattr(self._library, f"narrowgauge_{name}_f16")
            function.argtypes, function.restype = arguments, None

    def __enter__(self) -> "ScalarHalf":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._folder.cleanup()

    def multiply(self, a: Halves, b: Halves, products: Halves, repeats: int = 1) -> None:
        """Write the product of each pair, as many times."""
        self._library.narrowgauge_multiply_f16(a.ctypes.data, b.ctypes.data, products.ctypes.data, a.size, repeats)

    def add(self, a: Halves, b: Halves, sums: Halves) -> None:
        """Write the sum of each pair."""
        self._library.narrowgauge_add_f16(a.ctypes.data, b.ctypes.data, sums.ctypes.data, a.size)

    def accumulate(self, a: Halves, b: Halves, sums: Halves, repeats: int = 1) -> None:
        """Write dot products of the columns of ``a`` and ``b``, both of shape (terms, lanes), as many times.

        Each product is rounded, and each sum again, in order from +0.
        """
        terms, lanes = a.shape
        self._library.narrowgauge_accumulate_f16(a.ctypes.data, b.ctypes.data, sums.ctypes.data, lanes, terms, repeats)


def find_compiler() -> str:
    """Return the C compiler: ``CC``, or the first of cc, gcc and clang on the path."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        found = shutil.which(name)
        if found:
            return found
    raise NotMeasured("there is no C compiler (cc, gcc or clang); one brings the scalar baseline")


def same_codes(got: Halves, want: Halves) -> npt.NDArray[np.bool_]:
    """Return where two arrays of binary16 codes agree; every NaN is every other."""
    equal: npt.NDArray[np.bool_] = (got == want) | (is_nan(got) & is_nan(want))
    return equal


def is_nan(codes: Halves) -> npt.NDArray[np.bool_]:
    """Return which codes of binary16 are NaN."""
    nan: npt.NDArray[np.bool_] = (codes & np.uint16(0x7FFF)) > np.uint16(0x7C00)
    return nan


def check(library: ScalarHalf, seed: int, count: int = 1 << 18) -> None:
    """Compare products and sums with numpy's float16: of random codes, of neighbours, and of special values.

    Raises
    ------
    AssertionError
        If one differs: then there is no baseline.
    """
    a, b = operands(seed, count)
    with np.errstate(all="ignore"):
        products = (a.view(np.float16) * b.view(np.float16)).view(np.uint16)
        sums = (a.view(np.float16) + b.view(np.float16)).view(np.uint16)
    got = np.empty_like(a)
    for name, run, want in (("*", library.multiply, products), ("+", library.add, sums)):
        run(a, b, got)
        wrong = np.flatnonzero(~same_codes(got, want))
        if wrong.size:
            first = wrong[0]
            raise AssertionError(f"{a[first]:#06x} {name} {b[first]:#06x} must be {want[first]:#06x}, "
                                 f"not {got[first]:#06x}")


_SPECIAL = (0x0000, 0x0001, 0x0002, 0x03FF, 0x0400, 0x0401, 0x3BFF, 0x3C00, 0x3C01, 0x7BFF, 0x7C00, 0x7C01, 0x7E00)


def operands(seed: int, count: int) -> tuple[Halves, Halves]:
    """Return pairs of codes: random ones; of nearly opposite numbers, whose sums cancel; of small numbers; and every
    pair of special values and their negatives."""
    random = np.random.default_rng(seed)
    a = random.integers(0, 1 << 16, count).astype(np.uint16)
    b = random.integers(0, 1 << 16, count).astype(np.uint16)
    near = a ^ np.uint16(0x8000) ^ random.integers(0, 1 << 11, count).astype(np.uint16)
    small = np.uint16(0x8FFF)
    special = np.array([code | sign for code in _SPECIAL for sign in (0, 0x8000)], np.uint16)
    pairs = [(a, b), (a, near), (a & small, b & small), (np.repeat(special, special.size),
                                                        np.tile(special, special.size))]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
