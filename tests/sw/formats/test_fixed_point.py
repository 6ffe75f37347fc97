"""Fixed point against apytypes (the modes of ap_fixed), ml_dtypes, numpy and gfloat."""

import re
from fractions import Fraction

import apytypes
import gfloat
import ml_dtypes
import numpy as np
import pytest
from gfloat import formats as gfloat_formats
from hypothesis import given
from hypothesis import strategies as st

from sw.formats import FixedPointFormat, OverflowPolicy, RandomBits, RoundingMode, Special, parse
from tests.support.ap_fixed import APYTYPES_MODES, OVERFLOWS, wrapped_sign_magnitude
from tests.support.number_formats import FIXED, show, value_of

SOURCE = FixedPointFormat(width=12, fraction_bits=6)


@pytest.mark.parametrize("name", FIXED)
def test_every_code_decodes_as_two_s_complement_and_encodes_back(name):
    fmt = parse(name)
    codes = np.arange(1 << fmt.width, dtype=np.uint32)
    integers = (codes.astype(np.uint16).view(np.int16) << (16 - fmt.width) >> (16 - fmt.width) if fmt.signed
                else codes)
    want = [Fraction(integer, 2**fmt.fraction_bits) for integer in integers.tolist()]
    wrong = [(code, fmt.decode(code), want[code]) for code in codes.tolist() if fmt.decode(code) != want[code]]
    wrong += [(want[code], got, code) for code in codes.tolist()[::1 if fmt.width < 12 else 11]
              if (got := fmt.encode(want[code], rounding=RoundingMode.TO_ODD)) != code]
    assert not wrong, show(wrong, len(want))
    assert (max(want), min(want)) == (fmt.max_finite, fmt.min_finite)
    assert min(value for value in want if value > 0) == fmt.smallest_positive


@pytest.mark.parametrize("name", ["int2", "int4", "uint2", "uint4"])
def test_every_code_decodes_as_in_ml_dtypes(name):
    fmt = parse(name)
    want = np.arange(1 << fmt.width, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(int).tolist()
    assert [fmt.decode(code) for code in range(1 << fmt.width)] == want


def test_one_bit_formats_are_those_of_ml_dtypes():
    for name in ("int1", "uint1"):
        want = np.arange(2, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(int).tolist()
        assert [parse(name).decode(code) for code in range(2)] == want
    assert parse("int1").smallest_positive == parse("int1").max_finite == 0


def test_mx_int8_decodes_as_in_gfloat():
    fmt = parse("fixed<8,6>")
    want = [value_of(gfloat.decode_float(gfloat_formats.format_info_ocp_int8, code).fval) for code in range(256)]
    assert [fmt.decode(code) for code in range(256)] == want
    assert fmt.max_finite == Fraction("1.984375")


@pytest.mark.parametrize("theirs", APYTYPES_MODES)
@pytest.mark.parametrize(("width", "fraction_bits"), [(6, 2), (5, 3), (4, -1), (8, 0), (12, 6), (3, 5), (7, 9)])
def test_all_12_bit_inputs_round_and_overflow_as_in_apytypes(theirs, width, fraction_bits):
    fmt = FixedPointFormat(width=width, fraction_bits=fraction_bits)
    values = [SOURCE.decode(code) for code in range(4096)]
    source = apytypes.APyFixedArray(list(range(4096)), int_bits=6, frac_bits=6)
    for policy, mode in ((OverflowPolicy.WRAP, apytypes.OverflowMode.WRAP),
                         (OverflowPolicy.SATURATE, apytypes.OverflowMode.SAT)):
        want = source.cast(int_bits=width - fraction_bits, frac_bits=fraction_bits,
                           quantization=apytypes.QuantizationMode[theirs], overflow=mode).to_bits()
        wrong = [(f"{value} {policy.value}", got, int(code)) for value, code in zip(values, want, strict=True)
                 if (got := fmt.encode(value, rounding=APYTYPES_MODES[theirs], overflow=policy)) != int(code)]
        assert not wrong, show(wrong, 4096)


# What ap_fixed<4,4,AP_RND,...> and ap_ufixed<4,4,AP_RND,...> become when these numbers are assigned to them, as UG1399
# says. AP_WRAP_SM is for signed types alone.
@pytest.mark.parametrize(("overflow", "signed", "value", "want"), [
    (OverflowPolicy.SATURATE, True, 19, 7), (OverflowPolicy.SATURATE, True, -19, -8),
    (OverflowPolicy.SATURATE, False, 19, 15), (OverflowPolicy.SATURATE, False, -19, 0),
    (OverflowPolicy.SATURATE_ZERO, True, 19, 0), (OverflowPolicy.SATURATE_ZERO, True, -19, 0),
    (OverflowPolicy.SATURATE_ZERO, False, 19, 0), (OverflowPolicy.SATURATE_ZERO, False, -19, 0),
    (OverflowPolicy.SATURATE_SYMMETRIC, True, 19, 7), (OverflowPolicy.SATURATE_SYMMETRIC, True, -19, -7),
    (OverflowPolicy.SATURATE_SYMMETRIC, False, 19, 15), (OverflowPolicy.SATURATE_SYMMETRIC, False, -19, 0),
    (OverflowPolicy.WRAP, True, 31, -1), (OverflowPolicy.WRAP, True, -19, -3),
    (OverflowPolicy.WRAP, False, 19, 3), (OverflowPolicy.WRAP, False, -19, 13),
    (OverflowPolicy.WRAP_SIGN_MAGNITUDE, True, 19, -4), (OverflowPolicy.WRAP_SIGN_MAGNITUDE, True, -19, 2),
])
def test_the_user_guide_s_examples(overflow, signed, value, want):
    fmt = FixedPointFormat(width=4, signed=signed)
    assert fmt.integer(fmt.encode(value, rounding=RoundingMode.NEAREST_UP, overflow=overflow)) == want


def test_the_sign_magnitude_wrap_turns_round_at_both_ends():
    for width in range(1, 6):
        fmt = FixedPointFormat(width=width)
        for integer in range(-140, 140):
            got = fmt.integer(fmt.encode(integer, overflow=OverflowPolicy.WRAP_SIGN_MAGNITUDE))
            assert got == wrapped_sign_magnitude(integer, width), (width, integer)
            # The steps of the user guide, on bits: the lowest deleted bit is the new sign; if it differs from the
            # sign of what is left, all bits are inverted.
            bits = f"{integer % 1024:010b}"
            deleted, kept = bits[-width - 1], bits[-width:]
            if deleted != kept[0]:
                kept = kept.translate(str.maketrans("01", "10"))
            assert f"{got % (1 << width):0{width}b}" == kept, (width, integer)


@pytest.mark.parametrize("theirs", APYTYPES_MODES)
@pytest.mark.parametrize(("width", "fraction_bits", "signed"), [(5, 3, True), (4, -1, True), (8, 0, True),
                                                                (3, 5, True), (4, 4, False), (5, 0, False)])
def test_every_rounding_with_every_overflow_mode_of_ap_fixed(theirs, width, fraction_bits, signed):
    """Rounding by apytypes, to a width that nothing leaves; then the overflow mode, on integers."""
    fmt = FixedPointFormat(width=width, fraction_bits=fraction_bits, signed=signed)
    values = [SOURCE.decode(code) for code in range(0, 4096, 3)]
    source = apytypes.APyFixedArray(list(range(0, 4096, 3)), int_bits=6, frac_bits=6)
    rounded = source.cast(int_bits=40 - fraction_bits, frac_bits=fraction_bits,
                          quantization=apytypes.QuantizationMode[theirs], overflow=apytypes.OverflowMode.WRAP).to_bits()
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    for policy, bring_into_range in OVERFLOWS.items():
        if policy is OverflowPolicy.WRAP_SIGN_MAGNITUDE and not signed:
            continue
        for value, integer in zip(values, rounded, strict=True):
            integer = int(integer) - (1 << 40) * (int(integer) >> 39)
            want = bring_into_range(integer, low, high, width) % (1 << width)
            got = fmt.encode(value, rounding=APYTYPES_MODES[theirs], overflow=policy)
            assert got == want, (value, policy, got, want)


def test_unsigned_formats_round_as_the_signed_one_bit_wider():
    """apytypes has no unsigned type: ap_ufixed<W,I> is ap_fixed<W+1,I+1> without its negative half."""
    unsigned, signed = parse("ufixed<5,2>"), parse("fixed<6,2>")
    for code in range(4096):
        value = SOURCE.decode(code)
        for mode in APYTYPES_MODES.values():
            want = signed.integer(signed.encode(value, rounding=mode))
            assert unsigned.encode(value, rounding=mode) == max(0, want), (value, mode)
            wrapped = FixedPointFormat(width=20, fraction_bits=2).encode(value, rounding=mode)
            assert unsigned.encode(value, rounding=mode, overflow=OverflowPolicy.WRAP) == wrapped % 32, (value, mode)


def test_float32_rounds_to_int8_as_in_numpy():
    numbers = np.concatenate([np.arange(-140, 140, 0.125), np.random.default_rng(2).normal(0, 60, 5000)])
    want = np.clip(np.rint(numbers), -128, 127).astype(np.int8).view(np.uint8).tolist()
    fmt = parse("int8")
    wrong = [(number, got, code) for number, code in zip(numbers.tolist(), want, strict=True)
             if (got := fmt.encode(number)) != code]
    assert not wrong, show(wrong, len(want))


def test_trap_ml_dtypes_int4_casts_truncate_and_wrap():
    cast = np.array([7.5, -7.5, 8, -9, 255], np.float32).astype(ml_dtypes.int4).astype(int).tolist()
    assert cast == [7, -7, -8, 7, -1]
    fmt = parse("int4")
    wrapped = [fmt.integer(fmt.encode(number, rounding=RoundingMode.TOWARD_ZERO, overflow=OverflowPolicy.WRAP))
               for number in (7.5, -7.5, 8, -9, 255)]
    assert wrapped == cast
    assert [fmt.integer(fmt.encode(number)) for number in (7.5, -7.5, 8, -9, 255)] == [7, -8, 7, -8, 7]


@pytest.mark.parametrize(("name", "value", "overflow", "want"), [
    ("int8", 200, OverflowPolicy.SATURATE, 127), ("int8", -200, OverflowPolicy.SATURATE, -128),
    ("int8", -200, OverflowPolicy.SATURATE_SYMMETRIC, -127), ("int8", 200, OverflowPolicy.SATURATE_SYMMETRIC, 127),
    ("int8", -128, OverflowPolicy.SATURATE_SYMMETRIC, -127), ("int8", 200, OverflowPolicy.WRAP, -56),
    ("int8:narrow_range=true", -200, OverflowPolicy.SATURATE, -127), ("uint8", -3, OverflowPolicy.SATURATE, 0),
    ("int8:narrow_range=true", -200, OverflowPolicy.SATURATE_SYMMETRIC, -127),
    ("uint8", -3, OverflowPolicy.WRAP, 253), ("uint8", -3, OverflowPolicy.SATURATE_SYMMETRIC, 0),
    ("int8", Special.POSITIVE_INFINITY, OverflowPolicy.SATURATE, 127),
    ("int8", Special.NEGATIVE_INFINITY, OverflowPolicy.SATURATE, -128),
    ("int8", Special.NEGATIVE_INFINITY, OverflowPolicy.SATURATE_SYMMETRIC, -127),
    ("int8", Special.NEGATIVE_INFINITY, OverflowPolicy.WRAP, 0), ("int8", Special.NAN, OverflowPolicy.SATURATE, 0),
    ("int8", Special.NEGATIVE_ZERO, OverflowPolicy.WRAP, 0),
    ("int8", 127.4, OverflowPolicy.SATURATE_ZERO, 127), ("int8", 127.5, OverflowPolicy.SATURATE_ZERO, 0),
    ("int8", -128, OverflowPolicy.SATURATE_ZERO, -128), ("int8", -129, OverflowPolicy.SATURATE_ZERO, 0),
    ("int8:narrow_range=true", -128, OverflowPolicy.SATURATE_ZERO, 0), ("uint8", -1, OverflowPolicy.SATURATE_ZERO, 0),
    ("int8", Special.POSITIVE_INFINITY, OverflowPolicy.SATURATE_ZERO, 0),
    ("int8", Special.NEGATIVE_INFINITY, OverflowPolicy.SATURATE_ZERO, 0),
    ("int8", Special.POSITIVE_INFINITY, OverflowPolicy.WRAP_SIGN_MAGNITUDE, 0),
    ("int8", Special.NAN, OverflowPolicy.WRAP_SIGN_MAGNITUDE, 0),
    ("int8", 127.5, OverflowPolicy.WRAP_SIGN_MAGNITUDE, 127), ("int8", 130, OverflowPolicy.WRAP_SIGN_MAGNITUDE, 125),
    ("int8", -130, OverflowPolicy.WRAP_SIGN_MAGNITUDE, -127), ("int1", 1, OverflowPolicy.WRAP_SIGN_MAGNITUDE, 0),
])
def test_overflow_and_special_values(name, value, overflow, want):
    fmt = parse(name)
    assert fmt.integer(fmt.encode(value, overflow=overflow)) == want


def test_narrow_range_leaves_out_the_most_negative_code():
    fmt = parse("int4:narrow_range=true")
    assert (fmt.min_finite, fmt.max_finite, fmt.decode(8)) == (-7, 7, -8)
    assert {fmt.encode(Fraction(k, 4)) for k in range(-80, 80)} == set(range(16)) - {8}


def test_facts_of_a_family_without_special_codes():
    fmt = parse("fixed<8,4>")
    assert (fmt.nan_code, fmt.has_infinity, fmt.has_negative_zero) == (None, False, False)
    assert (fmt.quantum, fmt.max_finite, fmt.min_finite) == (Fraction(1, 16), Fraction(127, 16), -8)


@given(width=st.integers(1, 64), fraction_bits=st.integers(-20, 70), signed=st.booleans(),
       value=st.fractions(max_denominator=2**40), mode=st.sampled_from(RoundingMode),
       bits=st.integers(0, 255))
def test_encode_takes_one_of_the_two_neighbours(width, fraction_bits, signed, value, mode, bits):
    fmt = FixedPointFormat(width=width, fraction_bits=fraction_bits, signed=signed)
    got = fmt.decode(fmt.encode(value, rounding=mode, random=RandomBits(value=bits, count=8)))
    if fmt.min_finite <= value <= fmt.max_finite:
        assert abs(got - value) < fmt.quantum
        if mode.is_nearest:
            assert abs(got - value) <= fmt.quantum / 2
    else:
        assert got == (fmt.max_finite if value > 0 else fmt.min_finite)


@given(value=st.fractions(max_denominator=10**6),
       mode=st.sampled_from([mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]))
def test_mirrored_modes_mirror(value, mode):
    """Not stochastic rounding, which acts on the value here, not on the magnitude."""
    fmt = FixedPointFormat(width=64, fraction_bits=5, narrow_range=True)
    assert (fmt.integer(fmt.encode(-value, rounding=mode.mirrored))
            == -fmt.integer(fmt.encode(value, rounding=mode)))


@pytest.mark.parametrize("value", [Fraction(13, 7), Fraction(-13, 7), Fraction(5, 2), 3, Fraction(-1, 1000)])
def test_stochastic_rounding_is_up_with_the_fraction_s_probability(value):
    fmt, count = parse("int8"), 8
    ups = sum(fmt.integer(fmt.encode(value, rounding=RoundingMode.STOCHASTIC,
                                     random=RandomBits(value=bits, count=count))) - (value // 1)
              for bits in range(1 << count))
    assert ups == (value % 1) * 2**count // 1


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"width": 8.0}, TypeError, "Format width must be an integer, not 8.0"),
    ({"width": True}, TypeError, "Format width must be an integer, not True"),
    ({"fraction_bits": "4"}, TypeError, "Format fraction_bits must be an integer, not '4'"),
    ({"signed": 1}, TypeError, "Format signed must be True or False, not 1"),
    ({"narrow_range": 0}, TypeError, "Format narrow_range must be True or False, not 0"),
    ({"width": 0}, ValueError, "Fixed-point width must be between 1 and 64 bits, not 0"),
    ({"width": 65}, ValueError, "Fixed-point width must be between 1 and 64 bits, not 65"),
    ({"fraction_bits": 257}, ValueError, "Fixed-point fraction_bits must be between -256 and 256, not 257"),
    ({"signed": False, "narrow_range": True}, ValueError, "Narrow range must be false for an unsigned format"),
    ({"width": 1, "narrow_range": True}, ValueError,
     "Fixed-point width must be at least 2 bits for a narrow range, not 1"),
])
def test_wrong_fields_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        FixedPointFormat(**{"width": 8, **fields})


@pytest.mark.parametrize(("name", "arguments", "error", "message"), [
    ("int8", {"overflow": OverflowPolicy.INFINITY}, ValueError,
     "Overflow policy must be saturate, saturate-symmetric, saturate-zero or wrap for int8, which has no infinity and "
     "no NaN, not 'infinity'"),
    ("uint8", {"overflow": OverflowPolicy.WRAP_SIGN_MAGNITUDE}, ValueError,
     "Overflow policy must be wrap for uint8, which has no sign, not 'wrap-sign-magnitude'"),
    ("int8:narrow_range=true", {"overflow": OverflowPolicy.WRAP_SIGN_MAGNITUDE}, ValueError,
     "Overflow policy must be saturate for int8:narrow_range=true: wrapping would produce the code that a narrow "
     "range leaves out, not 'wrap-sign-magnitude'"),
    ("int8:narrow_range=true", {"overflow": OverflowPolicy.WRAP}, ValueError,
     "Overflow policy must be saturate for int8:narrow_range=true: wrapping would produce the code that a narrow "
     "range leaves out, not 'wrap'"),
    ("int8", {"overflow": "wrap"}, TypeError, "Overflow policy must be an OverflowPolicy, not 'wrap'"),
    ("int8", {"rounding": RoundingMode.STOCHASTIC}, ValueError, "Random bits must be given for stochastic rounding"),
])
def test_encode_wrong(name, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        parse(name).encode(1, **arguments)


@pytest.mark.parametrize("code", [-1, 256])
def test_decode_wrong_code(code):
    with pytest.raises(ValueError, match=f"Code must be between 0 and 255 for fixed<8,4>, not {code}"):
        parse("fixed<8,4>").decode(code)


def test_decode_wrong_type():
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        parse("int8").decode(1.0)
