"""Where the registers of exact sums stand."""

from types import SimpleNamespace

import pytest
from amaranth.hdl import *

from hw.accumulate.exact import ExactMultiplyAccumulator
from hw.accumulate.register_places import (
    decoding_levels,
    rounder_registers,
    shifts_before_register,
    sum_registers,
)
from hw.convert.grid import shift_levels
from hw.convert.number import Number
from sw.formats import RoundingMode, parse
from sw.reference.emac import ExactMultiplyAccumulate
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right

CUTS = ("grid", "operands")


def model_of(a, result=None):
    return ExactMultiplyAccumulate(a=parse(a), b=parse(a), terms=4, result=None if result is None else parse(result))


@pytest.mark.parametrize(("result", "order"), [
    ("float8_e4m3", ("leading", "grid", "operands", "round")), ("posit<8,0>", ("leading", "grid", "operands", "round")),
    ("fixed<8,2>", ("round", "grid", "operands")), (None, ("grid", "operands"))])
def test_places_in_order_of_priority(result, order):
    model = model_of("float8_e4m3", result)
    for pipeline in range(7):
        cycles = sum_registers(model, pipeline, CUTS)
        places = {place: cycles.get(place, 0) for place in order}
        assert places == {place: int(index < pipeline) for index, place in enumerate(order)}, (pipeline, cycles)
        assert cycles["output"] == max(0, pipeline - len(order))
        assert cycles["rounder"] == sum(places.get(place, 0) for place in ("leading", "round"))


@pytest.mark.parametrize(("result", "registers", "want"), [
    ("float8_e4m3", 0, (0, 0, 0)), ("float8_e4m3", 1, (1, 0, 0)), ("float8_e4m3", 2, (1, 1, 0)),
    ("posit<8,0>", 5, (1, 1, 3)), ("fixed<8,2>", 1, (0, 1, 0)), ("fixed<8,2>", 2, (0, 1, 1))])
def test_places_within_the_rounding(result, registers, want):
    cycles = rounder_registers(model_of("float8_e4m3", result), registers)
    assert (cycles["leading"], cycles["round"], cycles["output"]) == want


def product(magnitude_bits, exponents):
    """A product with a magnitude of so many bits and so many exponents, which count from zero."""
    bits = (exponents - 1).bit_length()
    return Number(sign=Signal(), magnitude=Signal(magnitude_bits), exponent=Signal(bits), zero=C(0, 1),
                  infinity=C(0, 1), nan=C(0, 1), scale=0, min_magnitude=0, max_magnitude=(1 << magnitude_bits) - 1,
                  min_exponent=0, max_exponent=exponents - 1, zero_has_zero_magnitude=True)


def shifts(number, *, family=None, width=40, decoding=0, grid_registers=0):
    return shifts_before_register(number, exponent=0, width=width, decoding=decoding, grid_registers=grid_registers,
                                  platform=SimpleNamespace(narrowgauge_family=family))


def test_both_sides_of_the_register_behind_a_product_are_as_long():
    e4m3 = product(8, 29)
    assert shift_levels(e4m3, 0) == 5
    # 4 levels and the shifts before it; what is left of 5 shifts after it, the sum, and a carry for 9 or 28 bits.
    assert shifts(e4m3, width=36) == 3
    assert shifts(e4m3, width=36, family="ecp5") == 2
    assert shifts(e4m3, width=400) == 4, "one shift is left for the inversion"
    assert shifts(e4m3, decoding=6) == 0, "posits are decoded in front of the product"
    assert shifts(e4m3, grid_registers=1) == 1, "the carry chain is behind another register"
    assert shifts(product(8, 1)) == 0, "there is nothing to shift"


def test_only_posits_are_decoded_in_front_of_their_registers():
    assert decoding_levels(model_of("posit<8,0>"), 0) == 6
    assert decoding_levels(model_of("posit<8,0>"), 1) == 0
    assert decoding_levels(model_of("float8_e4m3"), 0) == 0


def test_every_place_of_a_register_leaves_the_sums_right(tmp_path):
    def make(a, b, result, c, pipeline, **options):
        a, b, result, c = (None if name is None else parse(name) for name in (a, b, result, c))
        return ExactMultiplyAccumulator(a, b, result, c=c, terms=16, pipeline=pipeline, **options)

    components = [
        *(make("float4_e2m1fn", "float6_e3m2fn", "float8_e4m3", "float4_e2m1fn", pipeline) for pipeline in (1, 4, 6)),
        *(make("posit<5,1>", "posit<5,1>", "posit<5,1>", "posit<5,1>", pipeline) for pipeline in (1, 2, 4)),
        make("posit<5,0>", "int4", "float6_e3m2fn:subnormals=flushed", "int4", 4),
        make("float4_e2m1fn", None, "posit<6,0>", None, 3, lanes=2),
        make("float4_e2m1fn", None, "float8_e4m3fn", None, 4, rounding=RoundingMode.STOCHASTIC, random_bits=2),
    ]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        assert component.latency == 2 + component.pipeline
        assert assert_streams_right(component, circuit, lanes=64, cycles=40, seed=1, reset_rate=0.01) >= 150
