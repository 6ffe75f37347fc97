"""Posits by other means: SoftPosit's C code, and the standard's formula on the bits as they stand."""

import math
import warnings
from fractions import Fraction

import pytest

from sw.formats import PositFormat, Special, Value

POSITS = [PositFormat(width=width, exponent_size=exponent_size)
          for width in range(3, 17) for exponent_size in range(min(3, width - 3) + 1)]


def formula(fmt: PositFormat, code: int) -> Value:
    """Decode by the formula of the Standard for Posit Arithmetic (2022), which takes no two's complement.

    ``((1 - 3s) + f) * 2**((1 - 2s) * (2**es * r + e + s))``, from the fields of the code itself.
    """
    text = f"{code:0{fmt.width}b}"
    if "1" not in text[1:]:
        return Special.NAN if text[0] == "1" else Fraction(0)
    sign, body = int(text[0]), text[1:]
    run = len(body) - len(body.lstrip(body[0]))
    regime = run - 1 if body[0] == "1" else -run
    rest = body[run + 1:]
    exponent = int((rest[:fmt.exponent_size] + "0" * fmt.exponent_size)[:fmt.exponent_size] or "0", 2)
    fraction = rest[fmt.exponent_size:]
    significand = Fraction(int(fraction or "0", 2), 1 << len(fraction)) + (1 - 3 * sign)
    return significand * Fraction(2) ** ((1 - 2 * sign) * ((regime << fmt.exponent_size) + exponent + sign))


class SoftPosit:
    """SoftPosit's arithmetic on the codes of one format: posit<8,0>, posit<16,1>, or any of exponent size 2.

    Its ``pX2`` functions hold a code in the top bits of a word of 32.
    """

    def __init__(self, fmt: PositFormat) -> None:
        with warnings.catch_warnings():
            # What SWIG generated does not suit the newest Python.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._library = pytest.importorskip("softposit", reason="softposit is not installed: pip install "
                                                                    "softposit builds it where there is a C compiler")
        self._kind = {(8, 0): "P8", (16, 1): "P16"}.get((fmt.width, fmt.exponent_size), "PX2")
        assert self._kind != "PX2" or fmt.exponent_size == 2, f"SoftPosit has no {fmt.name}"
        self._places = 32 - fmt.width if self._kind == "PX2" else 0
        self._width = (fmt.width,) if self._kind == "PX2" else ()
        self._posits = {}

    def _posit(self, code):
        if code not in self._posits:
            kind = {"P8": "posit8_t", "P16": "posit16_t", "PX2": "posit_2_t"}[self._kind]
            self._posits[code] = getattr(self._library, kind)()
            self._posits[code].v = code << self._places
        return self._posits[code]

    def decode(self, code: int) -> Value:
        """Return the value of a code; SoftPosit shows NaR as an infinity."""
        number = getattr(self._library, f"convert{self._kind}ToDouble")(self._posit(code))
        return Special.NAN if math.isinf(number) or math.isnan(number) else Fraction(number)

    def encode(self, number: float) -> int:
        """Return the code nearest to a float64."""
        return getattr(self._library, f"convertDoubleTo{self._kind}")(number, *self._width).v >> self._places

    def operate(self, operation: str, a: int, b: int) -> int:
        """Return ``add`` or ``mul`` of two codes."""
        function = getattr(self._library, f"{self._kind[0].lower()}{self._kind[1:]}_{operation}")
        return function(self._posit(a), self._posit(b), *self._width).v >> self._places
