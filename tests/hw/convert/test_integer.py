# amaranth: UnusedElaboratable=no
from fractions import Fraction

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.convert.integer import encode_integer, round_integer
from sw.formats import FixedPointFormat, RandomBits, RoundingMode
from tests.support import gates
from tests.support.multipliers import policies
from tests.support.sampling import sampled


class Conversion(wiring.Component):
    """From an integer of 9 bits to a fixed-point format."""

    def __init__(self, signed, places, fmt, mode, policy):
        self.parameters = signed, places, fmt, mode, policy
        super().__init__({"a": In(9), "random": In(2), "o": Out(fmt.width)})

    def elaborate(self, platform):
        m = Module()
        signed, places, fmt, mode, policy = self.parameters
        random = self.random if mode is RoundingMode.STOCHASTIC else None
        integer = round_integer(m, self.a.as_signed() if signed else self.a, places, mode, random)
        m.d.comb += self.o.eq(encode_integer(m, integer, fmt, policy))
        return m


@sampled("places", [
    -2, 1, 4, *(pytest.param(places, marks=pytest.mark.slow) for places in (0, 2, 9, 12))], 1)
def test_integers_convert_as_the_format_encodes(places, tmp_path):
    targets = [FixedPointFormat(width=5), FixedPointFormat(width=4, signed=False), FixedPointFormat(width=1),
               FixedPointFormat(width=6, narrow_range=True), FixedPointFormat(width=14)]
    components = [Conversion(signed, places, fmt, mode, policy) for signed in (False, True) for fmt in targets
                  for mode in RoundingMode for policy in policies(fmt)]
    codes = np.arange(512)
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        signed, _, fmt, mode, policy = component.parameters
        stochastic = mode is RoundingMode.STOCHASTIC
        random = codes * 7 % 4
        for code, bits, got in zip(codes.tolist(), random.tolist(), circuit.run(a=codes, random=random).tolist(),
                                   strict=True):
            value = Fraction(code - 512 if signed and code >= 256 else code) / Fraction(2) ** places
            want = fmt.encode(value, rounding=mode, overflow=policy,
                              random=RandomBits(value=bits, count=2) if stochastic else None)
            assert got == want, (component.parameters, code, bits, got, want)
