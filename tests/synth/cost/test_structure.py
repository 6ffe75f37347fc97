# amaranth: UnusedElaboratable=no
import itertools

import pytest
from amaranth.hdl import *

from hw.arith import integer_product
from hw.arith.exact_product import multiply_codes
from hw.arith.integer_sum import sum_addends
from hw.convert import grid
from hw.convert.decode import decode
from hw.convert.grid import Addend
from sw.formats import FixedPointFormat, parse
from sw.reference.accumulator_width import product_grid
from synth.cost import structure
from synth.cost.fabric import FABRICS
from synth.cost.structure import (
    decoded,
    exact_product,
    grid_shift,
    normalising_shift,
    product_terms,
    range_bits,
    tree_bits,
    unpacking,
)
from synth.primitives import platform_of

FLOATS = ["minifloat_e2m1", "minifloat_e1m3", "minifloat_e3m0", "minifloat_e4m3", "float8_e5m2", "float8_e4m3fn",
          "float8_e4m3fnuz", "minifloat_e3m2:subnormals=flushed", "bfloat16"]
POSITS = ["posit<3,0>", "posit<5,1>", "posit<8,0>", "posit<8,2>", "posit<16,1>"]
FIXED = ["int3", "int8", "uint4", "fixed<8,4>"]
NAMES = [*FLOATS, *POSITS, *FIXED]


class Recorder:
    """Stands in for a module, and keeps the signals that are assigned."""

    def __init__(self):
        self.d = self.comb = self
        self.assigned = []

    def __iadd__(self, statement):
        self.assigned.append(statement.lhs)
        return self


def number_of(fmt):
    return decode(Module(), fmt, Signal(fmt.width), normalised=False, name="x")


@pytest.mark.parametrize("name", NAMES)
def test_operand_is_that_of_the_decoder(name):
    fmt = parse(name)
    got, want = decoded(fmt), number_of(fmt)
    assert got.magnitude_bits == want.magnitude_bits
    assert (got.min_magnitude, got.max_magnitude) == (want.min_magnitude, want.max_magnitude)
    assert (got.min_exponent, got.max_exponent, got.scale) == (want.min_exponent, want.max_exponent, want.scale)
    assert got.leading_zeros == want.leading_zeros
    if got.min_exponent != got.max_exponent:
        assert got.exponent_bits == len(want.exponent)
        assert got.exponent_signed == want.exponent.shape().signed
    assert (got.zero_masks == 0) == want.zero_has_zero_magnitude


@pytest.mark.parametrize(("a", "b"), [*itertools.combinations_with_replacement(
    ["minifloat_e4m3", "minifloat_e1m3", "float8_e5m2", "posit<8,1>", "int4"], 2), ("fixed<8,4>", "int3")])
def test_product_is_that_of_the_generator(a, b):
    a, b = parse(a), parse(b)
    got = exact_product(a, b)
    want = multiply_codes(Module(), a, Signal(a.width), b, Signal(b.width), hard_multiplier=False, name="p")
    assert got.is_integer == (want.integer is not None)
    if got.is_integer:
        assert got.magnitude_bits == len(want.integer)
        assert got.scale == want.exponent
        return
    number = want.number
    assert got.magnitude_bits == number.magnitude_bits
    assert (got.min_exponent, got.max_exponent, got.scale) == (number.min_exponent, number.max_exponent, number.scale)
    if got.exponent_bits:
        assert got.exponent_bits == len(number.exponent)


def is_zero(value):
    return isinstance(value, Const) and value.value == 0


@pytest.mark.parametrize(("a", "b"), [("minifloat_e4m3",) * 2, ("minifloat_e2m1",) * 2, ("minifloat_e1m4",) * 2,
                                      ("posit<8,1>",) * 2, ("minifloat_e2m1", "minifloat_e5m2"), ("posit<5,0>", "int8"),
                                      ("minifloat_e5m2:subnormals=flushed",) * 2])
def test_shift_has_the_generators_multiplexers(a, b, monkeypatch):
    a, b = parse(a), parse(b)
    places = product_grid(a, b, every_code=True)
    m = Module()
    product = multiply_codes(m, a, Signal(a.width), b, Signal(b.width), hard_multiplier=False, name="p")
    counts = {"muxes": 0, "gates": 0}

    def count(select, high, low):
        assert len(select) == 1
        sides = [not is_zero(side) for side in (high, low)]
        counts["muxes"] += all(sides)
        counts["gates"] += sum(sides) == 1
        return Mux(select, high, low) if any(sides) else C(0, 1)

    monkeypatch.setattr(grid, "Mux", count)
    product.addend(m, exponent=places.exponent, width=places.width, name="p")
    got = grid_shift(exact_product(a, b), exponent=places.exponent, width=places.width)
    if exact_product(a, b).exponent_bits:
        # The generator names each level but the last; what it names is a signal, and known to be zero no more.
        assert sum(got.muxes) + sum(got.gates) <= counts["muxes"] + counts["gates"]
        assert sum(got.muxes) == pytest.approx(counts["muxes"], rel=0.25)
    else:
        assert got.levels == 0


def test_integers_are_not_shifted():
    product = exact_product(parse("int8"), parse("int4"))
    assert grid_shift(product, exponent=0, width=12).levels == 0


@pytest.mark.parametrize(("a", "b", "signs", "form"), [
    (1, 5, (False, False), "and"), (3, 5, (False, False), "rows"), (2, 2, (False, False), "rows"),
    (4, 4, (False, False), "columns"), (4, 7, (False, False), "columns"), (5, 5, (False, False), "booth"),
    (3, 3, (True, True), "booth"), (8, 8, (True, True), "booth"), (4, 8, (False, True), "booth"),
    (4, 8, (True, False), "booth"), (6, 3, (False, True), "booth")])
def test_form_of_a_product_is_the_generators(a, b, signs, form, monkeypatch):
    found = product_terms(a, b, fabric=None, a_signed=signs[0], b_signed=signs[1])
    assert list(found) == [form]
    taken = []
    for name in ("multiply_rows", "multiply_columns", "multiply_booth"):
        real = getattr(integer_product, name)
        monkeypatch.setattr(integer_product, name,
                            lambda *args, real=real, name=name: taken.append(name) or real(*args))
    operands = [Signal(signed(bits) if sign else bits) for bits, sign in zip((a, b), signs, strict=True)]
    recorder = Recorder()
    integer_product.multiply_integers(recorder, *operands)
    assert taken == ["multiply_" + {"and": "rows"}.get(form, form)]
    if form == "booth":  # one chain a digit, each as wide as the generator's
        chains = [signal for signal in recorder.assigned if signal.name.startswith("product_sum")]
        assert found["booth"] == sum(map(len, chains))


@pytest.mark.parametrize("target", FABRICS)
@pytest.mark.parametrize("signs", [(False, False), (True, True), (False, True)])
def test_gated_products_are_where_the_generator_has_them(target, signs, monkeypatch):
    taken = []
    for name in ("multiply_gated_rows", "multiply_gated_tree"):
        real = getattr(integer_product, name)
        monkeypatch.setattr(integer_product, name, lambda *args, real=real, **named: taken.append(1) or real(
            *args, **named))
    for a, b in [(2, 2), (3, 3), (5, 2), (4, 4), (8, 8), (11, 3)]:
        taken.clear()
        operands = [Signal(signed(bits) if sign else bits) for bits, sign in zip((a, b), signs, strict=True)]
        integer_product.multiply_integers(Module(), *operands, platform=platform_of(target, dsp=False))
        found = product_terms(a, b, fabric=FABRICS[target], a_signed=signs[0], b_signed=signs[1])
        assert (list(found) == ["gated"]) == bool(taken), (a, b, found)


def test_limits_are_the_generators():
    assert structure.ROW_LIMIT == integer_product.ROW_LIMIT
    assert structure.COLUMN_LIMIT == integer_product.COLUMN_LIMIT


def test_known_top_bits_take_no_gates():
    assert product_terms(3, 3, fabric=FABRICS["xc7"], normalised=True) == {"rows": 4}
    assert product_terms(3, 3, fabric=FABRICS["xc7"]) == {"rows": 6}
    assert product_terms(1, 1, fabric=FABRICS["ecp5"], normalised=True) == {"and": 0}


@pytest.mark.parametrize("widths", [[5], [5, 5], [4] * 3, [6, 2, 9, 9, 3], [7] * 8])
def test_tree_has_the_generators_adders(widths):
    addends = [Addend(value=Signal(signed(width)), carry=C(0, 1)) for width in widths]
    recorder = Recorder()
    sum_addends(recorder, addends, name="sum")
    assert tree_bits(widths) == sum(map(len, recorder.assigned))
    assert len(recorder.assigned) == len(widths) - 1


@pytest.mark.parametrize("lowest", range(-9, 1))
def test_range_takes_as_many_bits_as_its_signal(lowest):
    for highest in range(max(0, lowest), 20):
        assert range_bits(lowest, highest) == (len(Signal(range(lowest, highest + 1))) if (lowest, highest) != (0, 0)
                                               else 0)


def test_normalising_shift_takes_the_longest_step_first():
    assert normalising_shift(8, 0) == 0
    assert normalising_shift(8, 3) == (8 - 4) + (8 - 6) + (8 - 7)
    assert normalising_shift(2, 3) == 3  # never less than a bit


def test_few_bits_are_unpacked_by_tables():
    narrow, wide = parse("posit<4,0>"), parse("posit<8,0>")
    outputs = decoded(narrow).exponent_bits + decoded(narrow).magnitude_bits
    assert unpacking(narrow, fabric=FABRICS["ecp5"]) == {"regime": outputs}
    assert unpacking(wide, fabric=FABRICS["ecp5"])["regime"] > unpacking(wide, fabric=FABRICS["xc7"])["regime"] - 1
    assert unpacking(parse("int8"), fabric=FABRICS["ecp5"]) == {"negate": 8}
    assert unpacking(parse("float8_e4m3fn"), fabric=FABRICS["ecp5"], masks=True) == {
        "mask": 0, "unpack": 4, "special": 8}
    flushed = parse("minifloat_e3m2:subnormals=flushed")
    assert unpacking(flushed, fabric=FABRICS["ecp5"], masks=True)["mask"] == 3


@pytest.mark.parametrize("name", NAMES)
def test_binary_point_makes_no_difference_to_an_operand(name):
    fmt = parse(name)
    if isinstance(fmt, FixedPointFormat):
        assert decoded(fmt).magnitude_bits == fmt.width
        assert unpacking(fmt, fabric=FABRICS["ecp5"]) == {"negate": fmt.width if fmt.signed else 0}
