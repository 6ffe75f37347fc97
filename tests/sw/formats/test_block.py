"""Block formats against gfloat, the published rules of microxcaling, torchao and NVIDIA, and enumeration."""

import dataclasses
import math
import random
import re
from fractions import Fraction

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest

from sw.formats import (
    BLOCK_CATALOG,
    BlockFormat,
    FixedPointFormat,
    FloatingPointFormat,
    RandomBits,
    RoundingMode,
    ScaleRule,
    Special,
    Specials,
    Subnormals,
    as_float,
    block_facts,
    parse,
    parse_block,
)
from sw.formats.block_names import mls

MX = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "mxint8"]
GFLOAT = {fmt.name.removesuffix("_e2m1"): fmt for fmt in gfloat.formats.all_block_formats}
ABOUT = [ScaleRule.FLOOR, ScaleRule.CEIL, ScaleRule.EVEN, ScaleRule.ROUND_UP]


def _blocks(seed, count, size, *, low=-140, high=126):
    """Return blocks of float32 numbers of many magnitudes: the rules are about where in its binade a maximum lies."""
    rng = np.random.default_rng(seed)
    blocks = rng.normal(size=(count, size)) * np.exp2(rng.integers(low, high, (count, 1)).astype(float))
    blocks[: count // 4] *= np.exp2(rng.integers(-12, 1, (count // 4, size)).astype(float))
    # Maxima that are powers of two, or next to one, decide between rules.
    for row in range(0, count, 5):
        power = 2.0 ** rng.integers(max(low, -120), high - 1)
        blocks[row] = np.clip(blocks[row], -power, power)
        blocks[row, rng.integers(size)] = power * rng.choice([1, 1 + 2**-23, 1 - 2**-24, 1.75, 1.875, 1.9375, 1.5])
    return blocks.astype(np.float32).astype(np.float64)


# Facts

@pytest.mark.parametrize(("name", "element_exponent", "bits_per_element", "largest", "block_size"), [
    ("mxfp8_e5m2", 15, Fraction(33, 4), 57344, 32), ("mxfp8_e4m3", 8, Fraction(33, 4), 448, 32),
    ("mxfp6_e3m2", 4, Fraction(25, 4), 28, 32), ("mxfp6_e2m3", 2, Fraction(25, 4), Fraction(15, 2), 32),
    ("mxfp4", 2, Fraction(17, 4), 6, 32), ("mxint8", 0, Fraction(33, 4), Fraction(127, 64), 32),
    ("nvfp4", 2, Fraction(9, 2), 6, 16),
])
def test_facts_are_those_of_the_specifications(name, element_exponent, bits_per_element, largest, block_size):
    fmt = parse_block(name)
    assert fmt.element_exponent == element_exponent
    assert fmt.bits_per_element == bits_per_element
    assert fmt.element.max_finite == largest
    assert fmt.block_size == block_size
    if name in GFLOAT:
        theirs = GFLOAT[name]
        assert (theirs.element_bits, theirs.scale_bits, theirs.k) == (fmt.element_bits, fmt.scale_bits, block_size)
        assert theirs.block_size_bytes * 8 == fmt.bits_per_element * block_size
    known = block_facts(fmt)
    assert known["bits_per_element"] == {"exact": str(bits_per_element), "float": float(bits_per_element)}
    assert known["element"]["name"] == fmt.element.name
    assert known["max_finite"]["exact"] == str(fmt.element.max_finite * fmt.scale.max_finite)


def test_extremes_are_those_of_an_enumeration():
    for name in ("mxfp4", "mxfp6_e2m3", "nvfp4", "mls<2,1>"):
        fmt = parse_block(name)
        values = [fmt.decode(scale, element) for scale in range(1 << fmt.scale_bits) if fmt.scale.decode(scale) != 0
                  for element in range(1 << fmt.element_bits)]
        positive = [abs(value) for value in values if isinstance(value, Fraction) and value]
        assert (min(positive), max(positive)) == (fmt.smallest_positive, fmt.max_finite)


def test_a_block_format_is_a_value():
    fmt = parse_block("mxfp4")
    assert fmt == BlockFormat(element=parse("e2m1"), scale=parse("e8m0"))
    assert hash(fmt) == hash(dataclasses.replace(fmt))
    assert {fmt, dataclasses.replace(fmt, block_size=16)} == {fmt, parse_block("mxfp4:block_size=16")}
    with pytest.raises(dataclasses.FrozenInstanceError):
        fmt.block_size = 16


# Decode

@pytest.mark.parametrize("name", MX)
def test_every_code_decodes_as_gfloat_s(name):
    fmt, theirs = parse_block(name), GFLOAT[name]
    elements = list(range(1 << fmt.element_bits))
    for scale in (0, 1, 2, 100, 126, 127, 128, 200, 253, 254, 255):
        want = list(gfloat.decode_block(theirs, [scale, *elements]))
        for code, value, reference in zip(elements, fmt.decode_block(scale, elements), want, strict=True):
            if abs(reference) == math.inf and isinstance(value, Fraction):
                assert abs(value) > 2**1023, (scale, code)
            else:
                np.testing.assert_array_equal(as_float(value), reference, err_msg=f"{scale} {code}")
            assert fmt.decode(scale, code) == value


def test_the_code_of_minus_two_decodes_but_is_never_made():
    fmt = parse_block("mxint8")
    assert fmt.decode(127, 0x80) == -2
    assert fmt.encode([Fraction(-1999, 1000)]) == (127, [0x81])
    assert parse_block("mxint8:element=fixed<8,6>").encode([Fraction(-1999, 1000)]) == (127, [0x80])


def test_all_three_factors_multiply():
    fmt = parse_block("nvfp4")
    assert fmt.decode(0x40, 0xD, Fraction(3, 8)) == Fraction(2) * -3 * Fraction(3, 8)
    assert fmt.decode(0x40, 0xD) == -6
    assert fmt.decode_block(0x40, [0x1, 0xD], 0.25) == [Fraction(1, 4), Fraction(-3, 2)]


@pytest.mark.parametrize(("name", "scale", "element", "want"), [
    ("mxfp4", 255, 0x5, Special.NAN), ("mxfp4", 255, 0, Special.NAN), ("mxfp8_e4m3", 3, 0x7F, Special.NAN),
    ("mxfp8_e5m2", 3, 0x7C, Special.POSITIVE_INFINITY), ("mxfp8_e5m2", 3, 0xFC, Special.NEGATIVE_INFINITY),
    ("mxfp8_e5m2", 255, 0xFC, Special.NAN), ("mxfp4", 3, 0x8, Special.NEGATIVE_ZERO), ("mxfp4", 3, 0, Fraction(0)),
    ("nvfp4", 0, 0x5, Fraction(0)), ("nvfp4", 0, 0xD, Special.NEGATIVE_ZERO), ("nvfp4", 0x80, 0xD, Fraction(0)),
    ("nvfp4", 0x7F, 0xD, Special.NAN), ("nvfp4", 0xB8, 0x2, Fraction(-1)),
    ("mxfp8_e5m2:scale=e4m3", 0, 0x7C, Special.NAN), ("mxfp8_e5m2:scale=e4m3", 0x80, 0xFC, Special.NAN),
    ("mxfp8_e5m2:scale=e4m3", 0xB8, 0x7C, Special.NEGATIVE_INFINITY),
])
def test_special_values_multiply_as_ieee_754_has_it(name, scale, element, want):
    assert parse_block(name).decode(scale, element) == want


# Scale rules

@pytest.mark.parametrize("name", MX)
def test_blocks_encode_as_gfloat_s(name):
    fmt, theirs = parse_block(name), GFLOAT[name]
    if name == "mxint8":
        fmt = parse_block("mxint8:element=fixed<8,6>")  # gfloat makes -2
    emax = fmt.element_exponent
    for block in _blocks(1, 60, 8):
        scale = gfloat.compute_scale_amax(emax, block)
        want = list(gfloat.encode_block(theirs, scale, block / scale))
        got = fmt.encode(block.tolist())
        assert [got[0], *got[1]] == want, block.tolist()


def _microxcaling(block, *, element_exponent, significand_bits, min_exponent, largest, even):
    """What microxcaling's ``_quantize_mx`` does, from its rules: shared exponent, then a grid with ties away or even.

    Source: github.com/microsoft/microxcaling, mx/mx_ops.py and mx/elemwise_ops.py. Integers (``min_exponent`` None)
    have the grid of their highest binade throughout.
    """
    maximum = max(abs(value) for value in block)
    if not math.isfinite(maximum) or any(math.isnan(value) for value in block):
        return [math.nan] * len(block)
    shared = math.frexp(maximum)[1] - 1 - element_exponent if maximum else -127
    if shared > 127:
        return [math.nan] * len(block)
    shared = max(shared, -127)
    results = []
    for value in block:
        scaled = abs(Fraction(value)) / Fraction(2) ** shared
        private = 0 if min_exponent is None else max(min_exponent, math.frexp(scaled)[1] - 1 if scaled else 0)
        unit = Fraction(2) ** (private - (significand_bits - 1))
        count = scaled / unit
        whole = math.floor(count + Fraction(1, 2))
        if even and count - math.floor(count) == Fraction(1, 2):
            whole = math.floor(count) + math.floor(count) % 2
        result = min(whole * unit, Fraction(largest)) * Fraction(2) ** shared
        results.append(math.copysign(float(result), value))
    return results


PARAMETERS = {  # emax, significand bits, lowest exponent, largest: mx/formats.py
    "mxfp8_e5m2": (15, 3, -14, 57344), "mxfp8_e4m3": (8, 4, -6, 448), "mxfp6_e3m2": (4, 3, -2, 28),
    "mxfp6_e2m3": (2, 4, 0, 7.5), "mxfp4": (2, 2, 0, 6), "mxint8": (0, 7, None, 127 / 64),
}


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("name", MX)
def test_blocks_round_by_microxcaling_s_rules(name, even):
    fmt = parse_block(name)
    emax, significand_bits, min_exponent, largest = PARAMETERS[name]
    mode = RoundingMode.NEAREST_EVEN if even else RoundingMode.NEAREST_AWAY
    special = [[math.inf, 1.0], [1.0, -math.inf, 2.0], [math.nan, 3.0], [0.0, -0.0, 0.0], [2.0**-140, 0.0],
               [2.0**-126, 2.0**-149], [2.0**128 * (1 - 2**-24), -(2.0**127), 1.0]]
    for block in [*_blocks(2, 60, 6).tolist(), *special]:
        want = _microxcaling(block, element_exponent=emax, significand_bits=significand_bits,
                             min_exponent=min_exponent, largest=largest, even=even)
        got = [as_float(value) for value in fmt.decode_block(*fmt.encode(block, rounding=mode))]
        assert got == pytest.approx(want, abs=0, rel=0, nan_ok=True), block


def test_a_scale_above_the_largest_is_nan_as_microxcaling_has_it():
    fmt = parse_block("mxint8")
    assert fmt.encode([2**127]) == (254, [0x40])
    assert fmt.encode([2**128, 1]) == (255, [0, 0])
    assert parse_block("mxfp8_e5m2").encode([2**142])[0] == 254
    assert parse_block("mxfp8_e5m2").encode([2**143])[0] == 255


def _torchao_exponent(maximum, rule, fmt):
    """Biased E8M0 exponent by torchao's bit operations on float32 (mx_formats/mx_tensor.py, ScaleCalculationMode)."""
    bits = int(np.float32(maximum).view(np.int32))
    if rule is ScaleRule.ROUND_UP:
        ratio = Fraction(float(np.float32(maximum))) / fmt.element.max_finite
        exponent = -127
        while Fraction(2) ** exponent < ratio:
            exponent += 1
        return exponent + 127
    if rule is ScaleRule.EVEN:
        bits = (bits + (1 << (23 - fmt.element_fraction_bits - 1))) & (0x1FF << 23)
    exponent = (bits >> 23 & 0xFF) - 127
    if rule is ScaleRule.CEIL:
        exponent += bits & 0x7FFFFF > 0
    return min(max(exponent - fmt.element_exponent, -127), 128) + 127


@pytest.mark.parametrize("rule", ABOUT)
@pytest.mark.parametrize("name", MX)
def test_scales_follow_torchao_s_rules(name, rule):
    fmt = dataclasses.replace(parse_block(name), scale_rule=rule)
    for block in _blocks(3, 80, 4, low=-110):
        assert fmt.block_scale(block.tolist()) == _torchao_exponent(np.abs(block).max(), rule, fmt), block.tolist()


@pytest.mark.parametrize(("maximum", "exponents"), [
    # E2M1 has its largest value at 6 = 1.5 * 2**2: FLOOR, CEIL, EVEN, ROUND_UP.
    (4, (0, 0, 0, 0)), (6, (0, 1, 0, 0)), (6.5, (0, 1, 0, 1)), (7, (0, 1, 1, 1)), (7.99, (0, 1, 1, 1)),
    (8, (1, 1, 1, 1)), (3.5, (-1, 0, 0, 0)), (3.25, (-1, 0, -1, 0)), (3, (-1, 0, -1, -1)),
])
def test_the_rules_differ_where_the_maximum_is_beyond_the_largest_element(maximum, exponents):
    got = tuple(dataclasses.replace(parse_block("mxfp4"), scale_rule=rule).block_scale([maximum, -1]) - 127
                for rule in ABOUT)
    assert got == exponents


def test_floor_clips_and_the_others_do_not():
    assert [fmt.decode_block(*fmt.encode([Fraction(799, 100)])) for fmt in map(
        parse_block, ("mxfp4", "mxfp4:scale_rule=ceil", "mxfp4:scale_rule=even", "mxfp4:scale_rule=round-up"))] == [
        [6], [8], [8], [8]]


@pytest.mark.parametrize("rule", [ScaleRule.CEIL, ScaleRule.ROUND_UP])
@pytest.mark.parametrize("name", [*MX, "nvfp4"])
def test_nothing_saturates_by_the_rules_that_round_up(name, rule):
    fmt = dataclasses.replace(parse_block(name), scale_rule=rule, tensor_scale=False)
    for block in _blocks(4, 40, 4, low=-5, high=5):
        scale = fmt.scale.decode(fmt.block_scale(block.tolist()))
        assert Fraction(np.abs(block).max()) <= scale * fmt.element.max_finite
        if rule is ScaleRule.ROUND_UP:
            below = fmt.scale.decode(fmt.block_scale(block.tolist()) - 1)
            assert Fraction(np.abs(block).max()) > below * fmt.element.max_finite, "a smaller scale would do"


@pytest.mark.parametrize("name", [entry.name for entry in BLOCK_CATALOG] + [
    f"mxfp4:scale_rule={rule.value}" for rule in ScaleRule] + ["mxfp8_e5m2:scale=(e4m3:specials=none)"])
def test_a_block_of_zeros_gets_scale_code_0(name):
    fmt = parse_block(name)
    zero = fmt.element.encode(Special.NEGATIVE_ZERO)
    assert fmt.encode([0, 0.0, -0.0]) == (0, [0, 0, zero])
    assert all(value in (0, Special.NEGATIVE_ZERO) for value in fmt.decode_block(0, [0, zero]))


@pytest.mark.parametrize(("name", "scale"), [("mxfp8_e4m3", 255), ("mxfp4", 255), ("nvfp4", 0x7F),
                                             ("nvfp4:scale_rule=round-up", 0x7F)])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_infinity_and_nan_make_the_block_nan(name, scale, special):
    fmt = parse_block(name)
    assert fmt.encode([1, special, 0]) == (scale, [0, 0, 0])
    assert set(fmt.decode_block(scale, [0, 0, 0])) == {Special.NAN}


def test_without_a_nan_the_largest_scale_and_the_largest_element_stand_for_infinity():
    fmt = parse_block("mls<2,1>")
    assert fmt.encode([1, math.inf, -math.inf, math.nan]) == (511, [7, 7, 15, 0])
    assert fmt.encode([math.nan, Fraction(3, 4)]) == fmt.encode([0, Fraction(3, 4)])
    assert fmt.encode([1000, 1], tensor_scale=100)[0] == 511


# NVFP4

def test_nvfp4_scales_by_the_usual_recipe():
    """s_tensor = amax / (448 * 6); s_block = E4M3(amax_block / (6 * s_tensor)); ml_dtypes makes the cast."""
    fmt = parse_block("nvfp4")
    tensor = _blocks(5, 50, 16, low=-3, high=4)
    scale = fmt.tensor_scale_for(tensor.ravel().tolist())
    assert scale == Fraction(float(np.float32(np.abs(tensor).max() / 2688)))
    codes = [fmt.block_scale(block.tolist(), tensor_scale=scale) for block in tensor]
    # The quotients are far from ties, so that float32 is enough.
    ratios = (np.abs(tensor).max(axis=1) / (6 * float(scale))).astype(np.float32)
    assert codes == ratios.astype(ml_dtypes.float8_e4m3fn).view(np.uint8).tolist()
    assert max(codes) == 0x7E
    for block, code in zip(tensor, codes, strict=True):
        step = fmt.scale.decode(code) * scale
        want = [as_float(parse("e2m1").decode(parse("e2m1").encode(Fraction(value) / step))) for value in block]
        got = fmt.decode_block(*fmt.encode(block.tolist(), tensor_scale=scale), scale)
        assert [as_float(value) for value in got] == [float(Fraction(value) * step) for value in want]


def test_nvfp4_blocks_far_below_the_tensor_vanish():
    fmt = parse_block("nvfp4")
    assert fmt.encode([2**-14, -(2**-15)], tensor_scale=1) == (0, [0, 8])
    assert fmt.encode([6 * Fraction(2) ** -10], tensor_scale=1)[0] == 0  # a tie, to even
    assert fmt.encode([6 * Fraction(2) ** -9], tensor_scale=1) == (1, [7])
    assert fmt.encode([10**6], tensor_scale=1) == (0x7E, [7])


@pytest.mark.parametrize(("name", "values", "want"), [
    ("nvfp4", [0, 1, -2688.0], Fraction(1)), ("nvfp4", [0.0, -0.0], Fraction(1)), ("nvfp4", [], Fraction(1)),
    ("nvfp4", [math.inf, math.nan, 5376], Fraction(2)), ("nvfp4", [2.0**-140], Fraction(2) ** -126),
    ("nvfp4", [2**200], Fraction(2) ** 128 * (1 - Fraction(1, 1 << 24))),
    ("mls<2,4>", [0.3, -0.7], Fraction(float(np.float32(0.7)))), ("mxfp4", [3], Fraction(1)),
])
def test_tensor_scales(name, values, want):
    assert parse_block(name).tensor_scale_for(values) == want


# MLS

@pytest.mark.parametrize(("exponent_bits", "fraction_bits", "levels", "largest", "element_bits", "product_bits"), [
    (2, 4, 64, 124, 7, 14), (2, 1, 8, 12, 4, 8), (3, 2, 32, None, 9, 18),
])
def test_mls_elements_are_integers_of_the_published_widths(exponent_bits, fraction_bits, levels, largest, element_bits,
                                                           product_bits):
    fmt = parse_block(f"mls<{exponent_bits},{fraction_bits}>")
    unit = fmt.element.smallest_positive
    codes = range(1 << (fmt.element_bits - 1))
    integers = [fmt.element.decode(code) / unit for code in codes]
    assert all(value.denominator == 1 for value in integers)
    assert len(set(integers)) == levels
    assert max(integers) == (largest or max(integers))
    assert fmt.element.max_finite == 1 - Fraction(1, 1 << (fraction_bits + 1))
    assert int(max(integers)).bit_length() == element_bits == fraction_bits + 2**exponent_bits - 1
    assert max(int(x * y) for x in integers for y in integers).bit_length() == product_bits
    assert product_bits == 2 * fraction_bits + 2 ** (exponent_bits + 1) - 2


@pytest.mark.parametrize("fraction_bits", range(6))
def test_an_mls_element_with_one_exponent_bit_is_a_fixed_point_number(fraction_bits):
    """<1,M> equals <0,M+1>: the magnitude's code times 2**-(M+1)."""
    element = mls(1, fraction_bits).element
    for code in range(1 << (fraction_bits + 1)):
        assert element.decode(code) == Fraction(code, 1 << (fraction_bits + 1))


def test_mls_scales_are_rounded_up_to_one_fraction_bit():
    fmt = parse_block("mls<2,4>")
    assert [fmt.scale.decode(fmt.block_scale([value], tensor_scale=8)) * 8 for value in (8, 7, 6, 5, 4.5, 4, 3.01)] == [
        8, 8, 6, 6, 6, 4, 4]
    assert fmt.scale.decode(0) == Fraction(2) ** -255
    assert [fmt.scale.decode(510), fmt.scale.decode(511)] == [1, Fraction(3, 2)]
    assert fmt.block_scale([Fraction(2) ** -300]) == 0
    for block in _blocks(6, 40, 4, low=-20, high=0):
        scale = fmt.scale.decode(fmt.block_scale(block.tolist(), tensor_scale=4))
        ratio = Fraction(np.abs(block).max()) / 4 / scale
        assert Fraction(2, 3) < ratio <= 1


# Rounding and its arguments

@pytest.mark.parametrize("mode", [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC])
def test_elements_round_in_every_mode(mode):
    fmt = parse_block("mxfp6_e3m2")
    block = [Fraction(value) for value in (11.3, -7.1, 0.05, -0.3, 3.14)]
    scale, codes = fmt.encode(block, rounding=mode)
    step = fmt.scale.decode(scale)
    assert codes == [fmt.element.encode(value / step, rounding=mode) for value in block]


def test_stochastic_rounding_takes_bits_for_each_element():
    fmt = parse_block("mxfp4")
    source = random.Random(7)
    block = [source.uniform(-7, 7) for _ in range(32)]
    bits = [RandomBits(value=source.randrange(256), count=8) for _ in block]
    scale, codes = fmt.encode(block, rounding=RoundingMode.STOCHASTIC, random=bits)
    step = fmt.scale.decode(scale)
    assert codes == [fmt.element.encode(Fraction(value) / step, rounding=RoundingMode.STOCHASTIC, random=one)
                     for value, one in zip(block, bits, strict=True)]
    with pytest.raises(ValueError, match="Random bits must be one for each of 32 values, not 31"):
        fmt.encode(block, rounding=RoundingMode.STOCHASTIC, random=bits[:-1])
    with pytest.raises(ValueError, match="Random bits must be given for stochastic rounding, not None"):
        fmt.encode(block, rounding=RoundingMode.STOCHASTIC)


def test_a_block_may_be_shorter_but_not_longer():
    fmt = parse_block("mxfp4:block_size=4")
    assert fmt.encode([1, 2]) == (126, [4, 6])
    for count in (0, 5):
        with pytest.raises(ValueError, match=f"Block must have between 1 and 4 values, not {count}"):
            fmt.encode([1] * count)


# Wrong arguments

E2M1, E8M0 = parse("e2m1"), parse("e8m0")


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"element": "e2m1"}, TypeError, "Element format must be a scalar one, as sw.formats.parse('e4m3') gives, not "
                                     "'e2m1'"),
    ({"element": parse_block("mxfp4")}, TypeError, "Element format must be a scalar one"),
    ({"element": FixedPointFormat(width=1)}, ValueError, "Element format must have a positive value, not 'int1'"),
    ({"element": E8M0}, ValueError, "Element format must have a zero, not 'float8_e8m0fnu', which has none"),
    ({"scale": FixedPointFormat(width=8)}, TypeError, "Scale format must be a FloatingPointFormat, as"),
    ({"scale": parse("float8_e5m2")}, ValueError, "Scale format must have no infinity, not 'float8_e5m2'; specials=fn"),
    ({"scale": parse("radix4_fp4_even")}, ValueError,
     "Scale format must be of radix 2, not 'radix4_fp4_even' (radix 4)"),
    ({"block_size": 0}, ValueError, "Block size must be between 1 and 65536, not 0"),
    ({"block_size": -32}, ValueError, "Block size must be between 1 and 65536, not -32"),
    ({"block_size": 1 << 17}, ValueError, "Block size must be between 1 and 65536, not 131072"),
    ({"block_size": 32.0}, TypeError, "Block size must be an integer, not 32.0"),
    ({"block_size": True}, TypeError, "Block size must be an integer, not True"),
    ({"scale_rule": "floor"}, TypeError, "Scale rule must be a ScaleRule, not 'floor'"),
    ({"tensor_scale": 1}, TypeError, "Tensor scale must be True or False, not 1"),
    ({"element": parse("posit<8,1>"), "scale_rule": ScaleRule.EVEN}, ValueError,
     "Scale rule must not be even for elements without a fixed number of fraction bits, as those of 'posit<8,1>' are; "
     "take floor or ceil"),
])
def test_wrong_fields(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        BlockFormat(**{"element": E2M1, "scale": E8M0, **fields})


@pytest.mark.parametrize(("scale", "error", "message"), [
    (0, ValueError, "Tensor scale must be a positive number, not 0"),
    (-1, ValueError, "Tensor scale must be a positive number, not -1"),
    (math.nan, ValueError, "Tensor scale must be a positive number, not nan"),
    (math.inf, ValueError, "Tensor scale must be a positive number, not inf"),
    ("1", TypeError, "Value must be a Fraction, an int, a float or a Special, not '1'"),
])
def test_tensor_scale_wrong(scale, error, message):
    fmt = parse_block("nvfp4")
    for call in (lambda: fmt.decode(0, 0, scale), lambda: fmt.decode_block(0, [0], scale),
                 lambda: fmt.encode([1], tensor_scale=scale), lambda: fmt.block_scale([1], tensor_scale=scale)):
        with pytest.raises(error, match=re.escape(message)):
            call()


def test_tensor_scale_where_there_is_none_wrong():
    with pytest.raises(ValueError, match="Tensor scale must be 1 for mxfp4, which has none, not 2; tensor_scale=true "
                                         "gives it one"):
        parse_block("mxfp4").encode([1], tensor_scale=2)


def test_codes_and_values_wrong():
    fmt = parse_block("mxfp4")
    with pytest.raises(ValueError, match="Code must be between 0 and 255 for float8_e8m0fnu, not 256"):
        fmt.decode(256, 0)
    with pytest.raises(ValueError, match="Code must be between 0 and 15 for float4_e2m1fn, not 16"):
        fmt.decode_block(0, [16])
    with pytest.raises(TypeError, match="Value must be a Fraction, an int, a float or a Special, not 'a'"):
        fmt.encode(["a"])
    with pytest.raises(ValueError, match="MLS exponent width must be between 1 and 15 bits, not 0 as in mls<0,4>, "
                                         "which is mls<1,3>"):
        mls(0, 4)
    with pytest.raises(ValueError, match=r"not 0 as in mls<0,0>$"):
        mls(0, 0)


def test_a_scale_format_may_have_a_zero_subnormals_or_neither():
    for scale in (FloatingPointFormat(exponent_bits=4, fraction_bits=3, signed=False, specials=Specials.NONE),
                  FloatingPointFormat(exponent_bits=4, fraction_bits=2, signed=False, specials=Specials.NONE,
                                      subnormals=Subnormals.FLUSHED),
                  FloatingPointFormat(exponent_bits=4, fraction_bits=2, specials=Specials.FN,
                                      subnormals=Subnormals.ABSENT)):
        for rule in ScaleRule:
            fmt = BlockFormat(element=E2M1, scale=scale, scale_rule=rule)
            for exponent in range(-24, 24):
                code = fmt.block_scale([Fraction(5, 4) * Fraction(2) ** exponent])
                assert 0 <= code <= max(scale.max_code, scale.nan_code or 0)
                if rule is not ScaleRule.ABSMAX:
                    assert code >= scale.min_code, "only a block of zeros has a scale of zero"
