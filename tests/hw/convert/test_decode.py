# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.convert.decode import decode
from sw.formats import CATALOG, Special, as_float, parse
from tests.support import gates

NAMES = [entry.name for entry in CATALOG if entry.format.width <= 8]
NAMES += ["float8_e4m3fn:subnormals=flushed", "float6_e2m3fn:signed=false", "float4_e3m0fn", "int1"]


class Unpacked(wiring.Component):
    """All that ``decode`` returns, side by side: flags, sign, exponent in 16 bits, magnitude."""

    def __init__(self, fmt, normalised):
        self._format, self._normalised = fmt, normalised
        super().__init__({"a": In(fmt.width), "o": Out(40)})

    def elaborate(self, platform):
        m = Module()
        self.number = number = decode(m, self._format, self.a, normalised=self._normalised, name="a")
        flags = Cat(number.zero[:1], number.infinity[:1], number.nan[:1], number.sign[:1])
        exponent = self.exponent = number.exponent
        wide = Cat(exponent, (exponent[-1] if exponent.shape().signed else flags[0] & 0).replicate(16 - len(exponent)))
        m.d.comb += self.o.eq(Cat(flags, wide[:16], number.magnitude))
        return m


@pytest.mark.parametrize("normalised", [False, True])
def test_every_code_unpacks_to_its_value(normalised, tmp_path):
    formats = [parse(name) for name in NAMES]
    components = [Unpacked(fmt, normalised) for fmt in formats]
    for fmt, component, circuit in zip(formats, components, gates.build(components, tmp_path), strict=True):
        number = component.number
        for code, word in enumerate(circuit.run(a=np.arange(1 << fmt.width)).tolist()):
            zero, infinity, nan, sign = (bool(word >> place & 1) for place in range(4))
            exponent, magnitude = ((word >> 4 & 0xFFFF) ^ 0x8000) - 0x8000, word >> 20
            value = fmt.decode(code)
            where = (fmt.name, code, value)
            assert nan == (value is Special.NAN), where
            if nan:
                continue
            assert infinity == (isinstance(value, Special) and value.is_infinity), where
            assert zero == (as_float(value) == 0), where
            assert sign == (as_float(value) < 0 or (code >> fmt.width - 1 == 1 and zero)), where
            if zero:
                assert magnitude == 0 or not number.zero_has_zero_magnitude, where
            elif not infinity:
                assert value == (-1) ** sign * magnitude * 2 ** exponent * type(value)(2) ** number.scale, where
                assert number.min_magnitude <= magnitude <= number.max_magnitude, where
                assert number.min_exponent <= exponent <= number.max_exponent, where
                assert not normalised or magnitude >> number.magnitude_bits - 1 == 1, where
