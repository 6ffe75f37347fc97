"""Names: each means one format, every format has one, and what is refused says what could be meant."""

import random
import re
import string
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.formats import (
    CATALOG,
    FixedPointFormat,
    FloatingPointFormat,
    Specials,
    Subnormals,
    number,
    parse,
    resolve,
)
from sw.formats.catalog import p3109
from sw.formats.names import _AMBIGUOUS


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_catalog_names_and_aliases_parse(entry):
    for name in (entry.name, *entry.aliases, entry.name.upper(), f"  {entry.name}\t\n"):
        assert parse(name) == entry.format
    assert parse(entry.format.name) == entry.format
    assert entry.format.name == entry.name
    assert resolve(entry.name).note == ""


@pytest.mark.parametrize(("name", "want"), [
    ("e4m3", "float8_e4m3fn"), ("E4M3", "float8_e4m3fn"), ("e3m2", "float6_e3m2fn"), ("e2m1", "float4_e2m1fn"),
    ("e5m2", "float8_e5m2"), ("e5m10", "float16"), ("e8m7", "bfloat16"), ("e8m10", "tf32"), ("e5m3", "fp9_e5m3"),
    ("e6m9", "float16_e6m9"), ("e3m3", "float7_e3m3fn"),
    ("e2m5", "float8_e2m5"), ("e3m8", "float12_e3m8"), ("e1m2", "float4_e1m2fn"),
    ("e4m0", "float5_e4m0fn"),
    ("e7m0", "float8_e7m0fn"), ("e1m7", "float9_e1m7fn"), ("minifloat_e2m1", "float4_e2m1fn"),
    ("minifloat_e4m3", "minifloat_e4m3"), ("float8_e4m3fnuz", "float8_e4m3fnuz"),
    ("p3109_k8p4sf", "float8_e4m3fnuz"), ("p3109_k8p3sf", "float8_e5m2fnuz"), ("p3109_k8p4se", "p3109_k8p4se"),
    ("int8", "int8"), ("uint16", "uint16"), ("int33", "int33"), ("fixed<8,4>", "fixed<8,4>"),
    ("fixed<8, 4>", "fixed<8,4>"), ("fixed8_4", "fixed<8,4>"), ("ap_fixed<8,4>", "fixed<8,4>"),
    ("ap_fixed<8,3>", "fixed<8,5>"), ("ap_fixed8_3", "fixed<8,5>"), ("ufixed<8,8>", "ufixed<8,8>"),
    ("ufixed8_8", "ufixed<8,8>"), ("ap_ufixed<8,0>", "ufixed<8,8>"), ("ap_ufixed8_0", "ufixed<8,8>"),
    ("fixed<8,-2>", "fixed<8,-2>"), ("fixed8_m2", "fixed<8,-2>"), ("ap_fixed<8,10>", "fixed<8,-2>"),
    ("ap_fixed<8,-2>", "fixed<8,10>"), ("ap_fixed8_m2", "fixed<8,10>"), ("fixed<8,0>", "int8"),
    ("fixed8_0", "int8"), ("ap_fixed<8,8>", "int8"), ("int8:fraction_bits=4", "fixed<8,4>"),
    ("e4m3:subnormals=flushed", "float8_e4m3fn:subnormals=flushed"), ("e4m3:specials=ieee", "float8_e4m3"),
    ("e4m3 : bias = 8 , specials = fnuz", "float8_e4m3fnuz"), ("int8:narrow_range=true", "int8:narrow_range=true"),
    ("radix4_fp4_even:bias=9/2", "radix4_fp4_odd"), ("e4m3:bias=+8,specials=fnuz", "float8_e4m3fnuz"),
    ("e4m3:bias=-3", "float8_e4m3fn:bias=-3"), ("float8_e4m3:signed=false", "float8_e4m3:signed=false"),
])
def test_each_form_of_name_means_this_format(name, want):
    assert parse(name).name == want
    assert parse(want) == parse(name)


def test_short_names_of_eight_bits_mean_what_the_design_says():
    assert (parse("e4m3").max_finite, parse("float8_e4m3").max_finite, parse("minifloat_e4m3").max_finite) == (
        448, 240, 480)


def test_every_split_of_up_to_16_bits_parses_and_no_wider_one():
    for exponent_bits in range(1, 12):
        for fraction_bits in range(16):
            name = f"e{exponent_bits}m{fraction_bits}"
            if 1 + exponent_bits + fraction_bits <= 16 or name == "e8m10":
                fmt = parse(name)
                assert (fmt.exponent_bits, fmt.fraction_bits) == (exponent_bits, fraction_bits)
            else:
                with pytest.raises(ValueError, match="at most 16 bits"):
                    parse(name)


def _random_floating_point(source):
    while True:
        fields = {
            "exponent_bits": source.randint(1, 11), "fraction_bits": source.choice([0, 1, 2, 3, 7, 10, 23, 52]),
            "bias": source.choice([None, source.randint(-40, 40), Fraction(source.randint(-9, 9), 2)]),
            "specials": source.choice(list(Specials)), "subnormals": source.choice(list(Subnormals)),
            "signed": source.random() < 0.7, "radix": source.choice([2, 2, 4]), "has_zero": source.random() < 0.7,
        }
        try:
            return FloatingPointFormat(**fields)
        except ValueError:
            continue


def test_random_formats_are_read_back_from_their_names():
    source = random.Random(4)
    formats = [_random_floating_point(source) for _ in range(1500)]
    formats += [FixedPointFormat(width=source.randint(2, 64), fraction_bits=source.randint(-256, 256),
                                 signed=(signed := source.random() < 0.6),
                                 narrow_range=signed and source.random() < 0.5)
                for _ in range(500)]
    assert len(set(formats)) > 1400
    floats = [fmt for fmt in formats if isinstance(fmt, FloatingPointFormat)]
    for field in ("specials", "subnormals", "signed", "radix", "has_zero"):
        assert len({getattr(fmt, field) for fmt in floats}) > 1, field
    wrong = [(fmt, fmt.name) for fmt in formats if parse(fmt.name) != fmt]
    assert not wrong, wrong[:5]
    names = {}
    for fmt in formats:
        assert names.setdefault(fmt.name, fmt) == fmt


def test_every_field_combination_of_a_small_split_is_read_back():
    count = 0
    for specials in Specials:
        for subnormals in Subnormals:
            for signed in (True, False):
                for has_zero in (True, False):
                    for bias in (None, 0, -5, 20):
                        try:
                            fmt = FloatingPointFormat(exponent_bits=3, fraction_bits=2, bias=bias, signed=signed,
                                                      specials=specials, subnormals=subnormals, has_zero=has_zero)
                        except ValueError:
                            continue
                        count += 1
                        assert parse(fmt.name) == fmt
    assert count == 108


@pytest.mark.parametrize(("name", "note"), [
    ("e4m3", "e4m3 means float8_e4m3fn (maximum 448); its siblings are float8_e4m3 (maximum 240), float8_e4m3fnuz "
             "(maximum 240), minifloat_e4m3 (maximum 480)"),
    ("E4M3 ", "e4m3 means float8_e4m3fn (maximum 448); its siblings are float8_e4m3 (maximum 240), float8_e4m3fnuz "
              "(maximum 240), minifloat_e4m3 (maximum 480)"),
    ("e2m1", "e2m1 means float4_e2m1fn (maximum 6); its siblings are float4_e2m1 (maximum 3), p3109_k4p2sf "
             "(maximum 3)"),
    ("bf16", "bf16 means bfloat16 (maximum 3.38953e+38)"), ("half", "half means float16 (maximum 65504)"),
    ("e8m0", "e8m0 means float8_e8m0fnu (maximum 1.70141e+38)"),
    ("ap_fixed<8,3>", "ap_fixed<8,3> means fixed<8,5> (maximum 3.96875)"),
    ("fixed8_5", "fixed8_5 means fixed<8,5> (maximum 3.96875)"), ("float8_e4m3", ""), ("int8", ""),
    ("int8:narrow_range=true", ""),
])
def test_a_name_that_is_not_the_canonical_one_says_what_it_means(name, note):
    assert resolve(name).note == note


def test_the_note_of_a_changed_format_is_that_of_its_base():
    assert resolve("e4m3:subnormals=flushed").note == resolve("e4m3").note
    assert resolve("e4m3:subnormals=flushed").format.subnormals is Subnormals.FLUSHED


@pytest.mark.parametrize(("value", "text"), [
    (Fraction(448), "448"), (Fraction("1.984375"), "1.984375"), (Fraction(-31, 2), "-15.5"),
    (Fraction(1, 512), "0.00195312"), (Fraction(1, 3), "0.333333"), (Fraction(2) ** 127, "1.70141e+38"),
    (Fraction(99999999), "99999999"), (Fraction(10**8), "1e+8"), (Fraction(2) ** 3000, "1.23023e+903"),
    (Fraction(1, 2**3000), "8.12855e-904"), (Fraction(0), "0"), (Fraction(4290772992), "4.29077e+9"),
])
def test_numbers_are_written_for_a_reader(value, text):
    assert number(value) == text


REFUSED = {
    "": "Format must be a name such as 'e4m3', 'int8' or 'fixed<8,4>', not ''",
    "  \t": "Format must be a name such as 'e4m3', 'int8' or 'fixed<8,4>', not ''",
    "fp8": "Format must be one of float8_e4m3fn, float8_e5m2, float8_e4m3, float8_e3m4, minifloat_e4m3, not the "
           "ambiguous 'fp8'",
    "FP8": "not the ambiguous 'FP8'",
    "fp4": "Format must be one of float4_e2m1fn, radix4_fp4_even, p3109_k4p2se, not the ambiguous 'fp4'",
    "fp9": "Format must be one of fp9_e5m3, float9_e4m4, not the ambiguous 'fp9'",
    "mxfp8": "Format must be a scalar one, not the block format 'mxfp8'; sw.formats.parse_block reads block formats, "
             "of which it may be mxfp8_e4m3 or mxfp8_e5m2",
    "posit8": "Format must name the posit's exponent size, as in posit<8,0>, posit<8,1>, posit<8,2>, posit<8,3> (the "
              "standard's is 2), not 'posit8'",
    "posit4": "Format must name the posit's exponent size, as in posit<4,0>, posit<4,1> (the standard's is 2), not "
              "'posit4'",
    "posit32": "as in posit<16,0>, posit<16,1>, posit<16,2>, posit<16,3> (the standard's is 2), not 'posit32'",
    "posit": "Format must be posit<n,es> with a width of 3 to 16 bits and an exponent size of 0 to 3, as in posit<8,2> "
             "or posit8_2, not 'posit'",
    "posit<08,1>": "Format must be posit<n,es> with a width of 3 to 16 bits and an exponent size of 0 to 3",
    "posit<17,1>": "Format must be buildable, not 'posit<17,1>': Posit width must be between 3 and 16 bits, not 17",
    "posit8_4": "Format must be buildable, not 'posit8_4': Posit exponent_size must be between 0 and 3 bits, not 4",
    "posit<8,1>:exponent_size=5": "Format must be buildable, not 'posit<8,1>:exponent_size=5': Posit exponent_size "
                                  "must be between 0 and 3 bits, not 5",
    "posit<8,1>:bias=3": "Format change must be field=value with a field of width, exponent_size, not 'bias=3'",
    "mxfp4": "Format must be a scalar one, not the block format 'mxfp4'; sw.formats.parse_block reads it, its elements "
             "are float4_e2m1fn",
    "mxfp4:block_size=16": "Format must be a scalar one, not the block format 'mxfp4:block_size=16'",
    "mls<2,2>": "sw.formats.parse_block reads it, its elements are float5_e2m2fn:bias=4",
    "e9m9": "Format must have at most 16 bits to be named e<x>m<y>, not 'e9m9' (19 bits); see 'python -m synth "
            "formats' for the wider named ones",
    "e0m3": "Format must be buildable, not 'e0m3': Exponent width must be between 1 and 15 bits, not 0",
    "e4n3": "Format must be a known name, not 'e4n3'; did you mean e4m3",
    "float8_e4m3fm": "did you mean float8_e4m3fn",
    "bflot16": "did you mean bfloat16",
    "zzzzzzzz": "Format must be a known name, not 'zzzzzzzz'; see 'python -m synth formats'",
    "e04m03": "Format must be a known name, not 'e04m03'",
    "int08": "Format must be a known name, not 'int08'",
    "e-4m3": "Format must be a known name, not 'e-4m3'",
    "e4m3.0": "Format must be a known name, not 'e4m3.0'",
    "e４m３": "Format must be a known name, not 'e４m３'",
    "float9_e4m3": "Format must have as many bits as its name says (9), not 8: 'float9_e4m3'",
    "float8_e1m6": "Format must be buildable, not 'float8_e1m6': Specials must be fn, fnuz, p3109 or none",
    "minifloat_e99m1": "Format must be buildable, not 'minifloat_e99m1': Exponent width must be between 1 and 15 bits, "
                       "not 99",
    "int0": "Format must be buildable, not 'int0': Fixed-point width must be between 1 and 64 bits, not 0",
    "uint65": "Format must be buildable, not 'uint65': Fixed-point width must be between 1 and 64 bits, not 65",
    "fixed<8,999>": "Format must be buildable, not 'fixed<8,999>': Fixed-point fraction_bits must be between -256 and "
                    "256, not 999",
    "fixed<8>": "Format must be a known name, not 'fixed<8>'; did you mean fixed<8,4>",
    "p3109_k1p1se": "P3109 width must be between 2 and 16 bits, not 'p3109_k1p1se'",
    "p3109_k17p4se": "P3109 width must be between 2 and 16 bits, not 'p3109_k17p4se'",
    "p3109_k8p8se": "P3109 precision must be between 1 and 7 bits for this width, not 'p3109_k8p8se'",
    "p3109_k8p0sf": "P3109 precision must be between 1 and 7 bits for this width, not 'p3109_k8p0sf'",
    "p3109_k8p9uf": "P3109 precision must be between 1 and 8 bits for this width, not 'p3109_k8p9uf'",
    "p3109_k8p3ue": "Format must be buildable, not 'p3109_k8p3ue': P3109 format must be finite (suffix uf) if it is "
                    "unsigned, not extended (suffix ue)",
    "e4m3:": "Format change must be field=value with a field of exponent_bits, fraction_bits, bias, specials, "
             "subnormals, signed, radix, has_zero, not '' in 'e4m3:'",
    "e4m3:foo=1": "Format change must be field=value with a field of exponent_bits, fraction_bits, bias, specials, "
                  "subnormals, signed, radix, has_zero, not 'foo=1' in 'e4m3:foo=1'",
    "e4m3:bias": "not 'bias' in 'e4m3:bias'",
    "int8:bias=3": "Format change must be field=value with a field of width, fraction_bits, signed, narrow_range, not "
                   "'bias=3' in 'int8:bias=3'",
    "e4m3:bias=1,bias=2": "Format change must name bias once, not twice, in 'e4m3:bias=1,bias=2'",
    "e4m3:bias=x": "Format bias must be an integer or a fraction such as 9/2, not 'x'",
    "e4m3:bias=": "Format bias must be an integer or a fraction such as 9/2, not ''",
    "e4m3:bias=1e999999999": "Format bias must be an integer or a fraction such as 9/2, not '1e999999999'",
    "e4m3:bias=1/0": "Format bias must be an integer or a fraction such as 9/2, not '1/0'",
    "e4m3:bias=٣": "Format bias must be an integer or a fraction such as 9/2, not '٣'",
    "e4m3:bias=1/2": "Format must be buildable, not 'e4m3:bias=1/2': Exponent bias must be an integer in radix 2, not "
                     "Fraction(1, 2)",
    "e4m3:bias=99999": "Format must be buildable, not 'e4m3:bias=99999': Exponent bias must be between -32768 "
                       "and 32768",
    "e4m3:fraction_bits=1/2": "Format must be buildable, not 'e4m3:fraction_bits=1/2': Format fraction_bits must be "
                              "an integer, not Fraction(1, 2)",
    "e4m3:specials=inf": "Format specials must be one of ieee, fn, fnuz, p3109, none, not 'inf'",
    "e4m3:subnormals=no": "Format subnormals must be one of supported, flushed, absent, not 'no'",
    "e4m3:signed=1": "Format signed must be true or false, not '1'",
    "uint8:narrow_range=true": "Format must be buildable, not 'uint8:narrow_range=true': Narrow range must be false "
                               "for an unsigned format, not True",
    ":bias=3": "Format must be a known name, not ':bias=3'",
    "$(rm -rf ~)": "Format must be a known name, not '$(rm -rf ~)'",
    "e4m3;ls": "Format must be a known name, not 'e4m3;ls'",
    "../../e4m3": "Format must be a known name, not '../../e4m3'",
    "e4m3\x00": r"Format must be a known name, not 'e4m3\x00'",
    "e4m3\n": None,  # surrounding white space does not matter
    "😀": "Format must be a known name, not '😀'",
    "\ud800": r"Format must be a known name, not '\ud800'",
    "p3109_\u212a8p4se": "Format must be a known name",  # the Kelvin sign, whose lower case is k
}


@pytest.mark.parametrize(("name", "message"), REFUSED.items(), ids=ascii)
def test_what_is_refused_says_why_and_what_to_write(name, message):
    if message is None:
        assert parse(name) == parse(name.strip())
        return
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        parse(name)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # printable whatever the name held


@pytest.mark.parametrize("wrong", [None, 8, b"e4m3", ["e4m3"], parse("e4m3")], ids=repr)
def test_a_name_of_another_type_is_refused(wrong):
    with pytest.raises(TypeError, match="Format must be named by a string, not "):
        parse(wrong)


@pytest.mark.parametrize("stem", ["x", "e4m3:bias=", "e4m3:", "posit", "float8_e4m3fn", "e4m3:specials=",
                                  "e4m3:signed=", "int", "é"])
def test_a_very_long_name_gives_a_short_message(stem):
    name = stem + "9" * 100_000
    with pytest.raises(ValueError, match="must be") as caught:
        parse(name)
    assert len(str(caught.value)) < 500


def test_what_messages_suggest_can_be_typed():
    for choices in _AMBIGUOUS.values():
        for choice in choices:
            parse(choice)


@given(st.text(max_size=20) | st.text(string.ascii_lowercase + string.digits + "<>,:=_em", max_size=16))
def test_any_text_parses_or_is_refused_as_a_value_error(name):
    try:
        fmt = parse(name)
    except ValueError:
        with pytest.raises(ValueError, match=r"^(Format|P3109) "):
            parse(name)
    else:
        assert parse(fmt.name) == fmt


def test_shell_safe_twins_hold_nothing_a_shell_would_read():
    source = random.Random(5)
    for _ in range(300):
        width, point = source.randint(1, 64), source.randint(-99, 99)
        text = f"m{-point}" if point < 0 else str(point)
        for prefix in ("fixed", "ufixed", "ap_fixed", "ap_ufixed"):
            twin = f"{prefix}{width}_{text}"
            assert re.fullmatch("[a-z0-9_]+", twin)
            assert parse(twin) == parse(f"{prefix}<{width},{point}>")


def test_p3109_wrong():
    with pytest.raises(ValueError, match=re.escape("P3109 format must be finite (suffix uf) if it is unsigned")):
        p3109(8, 3, extended=True, signed=False)




@pytest.mark.parametrize("name", ["float32", "fp32", "single", "binary32", "FP32"])
def test_single_precision_has_its_usual_names(name):
    resolution = resolve(name)
    assert resolution.format == parse("float32_e8m23")
    assert resolution.note.startswith(f"{name.lower()} means float32_e8m23 (maximum 3.40282e+38)")
