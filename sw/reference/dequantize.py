"""Narrow weight codes with a zero point, unpacked from words of several widths, as int8."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat, parse
from sw.formats.check import check_boolean, check_integer
from sw.reference.function import BLOCK
from sw.reference.model import Codes, Port, check_inputs

MAX_LANES = 64

MAX_CODE_WIDTH = 8

INT8 = parse("int8")


@dataclass(frozen=True, kw_only=True)
class Dequantization:
    """``code - zero_point`` for every code of a word, saturated to int8.

    Differences of codes and zero points of at most 7 bits are exact; those of 8 bits lie in -255 to 255.

    A word holds one code a lane, without gaps, the first one in the lowest bits: 16 codes of 3 bits take the low 48
    bits of it. Where the width changes from word to word, the bits above the last code mean nothing, and the zero
    point may be any code of the widest format.

    Parameters
    ----------
    code_widths : tuple of int, bits
        Widths of the unsigned codes, rising, each 1 to 8. With several, the input ``width`` says which one a word has:
        0 for the first.
    lanes : int
        Codes of a word: 1 to 64.
    zero_point_per_lane : bool
        Every lane has a zero point of its own, for words whose codes belong to several rows of weights; otherwise
        all lanes of a word share one.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.

    Source: FlightLLM (arXiv 2401.03868): weights of 2, 3, 4 and 8 bits become int8 before the one int8 array.
    """

    code_widths: tuple[int, ...] = (2, 3, 4, 8)
    lanes: int = 16
    zero_point_per_lane: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.code_widths, tuple):
            raise TypeError(f"Code widths must be a tuple of integers, not {self.code_widths!r}; "
                            "write (4,) for a single one")
        if not self.code_widths:
            raise ValueError("Code widths must be at least one, not ()")
        for width in self.code_widths:
            check_integer("Code width", width)
            if not 1 <= width <= MAX_CODE_WIDTH:
                raise ValueError(f"Code width must be between 1 and {MAX_CODE_WIDTH} bits, not {width!r}")
        if any(wide <= narrow for narrow, wide in pairwise(self.code_widths)):
            raise ValueError(f"Code widths must rise, not {self.code_widths!r}")
        check_integer("Lanes", self.lanes)
        if not 1 <= self.lanes <= MAX_LANES:
            raise ValueError(f"Lanes must be between 1 and {MAX_LANES}, not {self.lanes!r}")
        check_boolean("Zero point per lane", self.zero_point_per_lane)

    @property
    def zero_point_format(self) -> FixedPointFormat:
        """The widest codes: a zero point is one of them."""
        return FixedPointFormat(width=self.code_widths[-1], signed=False)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``word``, ``zero_point``; ``width``, an index into ``code_widths``, where there are several."""
        ports = {"word": Port(width=self.lanes * self.code_widths[-1]),
                 "zero_point": Port.of(self.zero_point_format, self.lanes if self.zero_point_per_lane else None)}
        if len(self.code_widths) > 1:
            count = len(self.code_widths)
            ports["width"] = Port(width=(count - 1).bit_length(), limit=count)
        return ports

    @property
    def outputs(self) -> Mapping[str, Port]:
        """``o``, an int8 code a lane."""
        return {"o": Port.of(INT8, self.lanes)}

    def __call__(self, word: int, zero_point: int | Sequence[int], width: int = 0) -> list[int]:
        """Return the int8 codes of one word, the first lane first.

        Raises
        ------
        ValueError
            If there is no such width, or a zero point is not a code of the widest format.
        """
        if not 0 <= width < len(self.code_widths):
            raise ValueError(f"Width must be between 0 and {len(self.code_widths) - 1}, an index into "
                             f"{self.code_widths}, not {width!r}")
        bits = self.code_widths[width]
        fmt = FixedPointFormat(width=bits, signed=False)
        points = [zero_point] * self.lanes if isinstance(zero_point, int) else zero_point
        codes = []
        for lane in range(self.lanes):
            code = fmt.decode(word >> lane * bits & (1 << bits) - 1)
            point = self.zero_point_format.decode(points[lane])
            assert isinstance(code, Fraction)
            assert isinstance(point, Fraction)
            codes.append(INT8.encode(code - point))
        return codes

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the int8 codes for arrays of words: the call of each, all at once.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        count = check_inputs(self.inputs, inputs)
        chosen = inputs["width"] if "width" in inputs else np.zeros(count, dtype=np.uint64)
        codes = np.zeros((count, self.lanes), dtype=np.int64)
        for start in range(0, count, BLOCK):
            block = slice(start, start + BLOCK)
            bits = self._bits(inputs["word"][block])
            for index, width in enumerate(self.code_widths):
                rows = np.flatnonzero(chosen[block] == index)
                for bit in range(width):
                    codes[start + rows] |= bits[rows, bit:self.lanes * width:width].astype(np.int64) << bit
        points = inputs["zero_point"].astype(np.int64).reshape(count, -1)
        return {"o": (np.clip(codes - points, -128, 127) & 0xFF).astype(np.uint64)}

    def _bits(self, words: Codes) -> NDArray[np.uint8]:
        """Return the bits of words of any width, the lowest first."""
        size = -(-self.lanes * self.code_widths[-1] // 8)
        text = b"".join(int(word).to_bytes(size, "little") for word in words)
        return np.unpackbits(np.frombuffer(text, dtype=np.uint8).reshape(len(words), size), axis=1, bitorder="little")
