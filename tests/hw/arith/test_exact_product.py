# amaranth: UnusedElaboratable=no
"""Exact products, and the shift of numbers onto a grid, which they end with."""

from fractions import Fraction

import numpy as np
import pytest
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.exact_product import may_be_special, multiply_codes
from sw.formats import CATALOG, Special, parse
from sw.reference import product
from sw.reference.accumulator_width import product_grid
from tests.support import gates

SMALL = [entry.format for entry in CATALOG if entry.format.width <= 6]


class PlacedProduct(wiring.Component):
    """A product on a grid: ``o`` holds the integer, above it the flags nan, above and below."""

    latency = 0

    def __init__(self, a, b, *, signed_first, finer=0, wider=0, hard_multiplier=False):
        self.a_format, self.b_format, self.signed_first = a, b, signed_first
        self.hard_multiplier = hard_multiplier
        grid = product_grid(a, b)
        self.exponent, self.width = grid.exponent - finer, grid.refined(grid.exponent - finer).width + wider
        super().__init__({"a": In(a.width), "b": In(b.width), "o": Out(self.width + 3)})

    def elaborate(self, platform):
        m = Module()
        exact = multiply_codes(m, self.a_format, self.a, self.b_format, self.b, hard_multiplier=self.hard_multiplier,
                               name="product")
        place = {"exponent": self.exponent, "width": self.width, "name": "product"}
        integer = Signal(signed(self.width))
        if self.signed_first:
            m.d.comb += integer.eq(exact.signed_integer(m, **place))
        else:
            addend = exact.addend(m, **place)
            m.d.comb += integer.eq(addend.value + addend.carry)
        flags = exact.flags
        m.d.comb += self.o.eq(Cat(integer, flags.nan, flags.above, flags.below))
        return m

    def want(self, a, b):
        """The definition."""
        value = product(self.a_format.decode(a), self.b_format.decode(b))
        if isinstance(value, Fraction) or value is Special.NEGATIVE_ZERO:
            integer = 0 if value is Special.NEGATIVE_ZERO else value / Fraction(2) ** self.exponent
            assert integer == int(integer)
            return int(integer) % (1 << self.width)
        return {Special.NAN: 1, Special.POSITIVE_INFINITY: 2, Special.NEGATIVE_INFINITY: 4}[value] << self.width


def check(components, folder):
    for component, circuit in zip(components, gates.build(components, folder), strict=True):
        a, b = component.a_format, component.b_format
        index = np.arange(1 << a.width + b.width)
        codes_a, codes_b = index & (1 << a.width) - 1, index >> a.width
        got = circuit.run(a=codes_a, b=codes_b)
        for x, y, code in zip(codes_a.tolist(), codes_b.tolist(), got.tolist(), strict=True):
            want = component.want(x, y)
            if want >> component.width:  # beside a flag, the integer means nothing
                code = code >> component.width << component.width
            assert code == want, f"{a.name} {x:#x} x {b.name} {y:#x}: got {code:#x}, want {want:#x}"


def test_every_small_format_by_itself(tmp_path):
    check([PlacedProduct(fmt, fmt, signed_first=index % 2 == 0) for index, fmt in enumerate(SMALL)], tmp_path)


def test_mixed_formats_on_finer_grids_and_in_wider_words(tmp_path):
    names = [("int4", "float6_e2m3fn"), ("uint4", "posit<5,1>"), ("float8_e5m2", "float4_e2m1fn"),
             ("float8_e4m3fn:signed=false", "int3"), ("fixed<5,7>", "ufixed<4,-2>"), ("posit<6,0>", "float6_e3m2fn"),
             ("radix4_fp4_odd", "dlfloat8"), ("float6_e3m2fn:subnormals=flushed", "int3")]
    check([PlacedProduct(parse(a), parse(b), signed_first=index % 2 == 0, finer=index % 3, wider=index % 2,
                         hard_multiplier=index % 4 == 1) for index, (a, b) in enumerate(names)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e4m3", "float8_e4m3fnuz", "float8_e3m4", "posit<8,0>",
                                  "posit<8,1>", "int8", "p3109_k8p4se"])
def test_every_pair_of_eight_bits(name, tmp_path):
    check([PlacedProduct(parse(name), parse(name), signed_first=first) for first in (False, True)], tmp_path)


def test_which_formats_have_special_codes():
    special = {name: may_be_special(parse(name)) for name in (
        "int8", "float8_e4m3fn", "float8_e5m2", "float6_e3m2fn", "posit<8,0>", "float8_e4m3fnuz", "float8_e8m0fnu")}
    assert special == {"int8": False, "float8_e4m3fn": True, "float8_e5m2": True, "float6_e3m2fn": False,
                       "posit<8,0>": True, "float8_e4m3fnuz": True, "float8_e8m0fnu": True}
