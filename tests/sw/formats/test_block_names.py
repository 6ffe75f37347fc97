"""Names of block formats: each means one format, every format has one, and what is refused says what could be meant."""

import random
import re

import pytest

from sw.formats import (
    BLOCK_CATALOG,
    BlockFormat,
    BlockResolution,
    FloatingPointFormat,
    Resolution,
    ScaleRule,
    Specials,
    Subnormals,
    parse,
    parse_any,
    parse_block,
    resolve_any,
    resolve_block,
)
from sw.formats.block_names import block_by_name, mls


def test_names_and_formats_are_unique():
    names = [name for entry in BLOCK_CATALOG for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names)) == len(block_by_name())
    formats = [entry.format for entry in BLOCK_CATALOG]
    assert len(formats) == len(set(formats))
    assert all(re.search(r"[A-Za-z]{4}", entry.source) for entry in BLOCK_CATALOG)


@pytest.mark.parametrize("entry", BLOCK_CATALOG, ids=lambda entry: entry.name)
def test_catalog_names_and_aliases_parse(entry):
    for name in (entry.name, *entry.aliases, entry.name.upper(), f"  {entry.name}\t\n"):
        assert parse_block(name) == entry.format == parse_any(name)
    assert entry.format.name == entry.name
    assert resolve_block(entry.name).note == ""
    with pytest.raises(ValueError, match="Format must be a scalar one, not the block format"):
        parse(entry.name)


@pytest.mark.parametrize(("name", "want"), [
    ("mxfp8_e4m3", "mxfp8_e4m3"), ("mxfp4_e2m1", "mxfp4"), ("mls2_4", "mls<2,4>"), ("mls<2, 4>", "mls<2,4>"),
    ("mls3_2", "mls<3,2>"), ("mls<4,0>", "mls<4,0>"), ("MLS<2,1>:block_size=25", "mls<2,1>:block_size=25"),
    ("mxfp4:block_size=16", "mxfp4:block_size=16"), ("mxfp4 : block_size = 32", "mxfp4"),
    ("mxfp4:scale_rule=even,block_size=64", "mxfp4:block_size=64,scale_rule=even"),
    ("mxfp4:element=e3m2", "mxfp6_e3m2"), ("mxfp8_e4m3:element=e4m3:bias=7", "mxfp8_e4m3"),
    ("mxfp8_e4m3:element=(e4m3:bias=11,specials=none)", "mxfp8_e4m3:element=hfp8_1_4_3"),
    ("mxfp8_e4m3:element=(e4m3:subnormals=flushed)", "mxfp8_e4m3:element=(float8_e4m3fn:subnormals=flushed)"),
    ("mxint8:element=fixed<8,6>", "mxint8:element=fixed<8,6>"), ("mxint8:element=int4", "mxint8:element=int4"),
    ("mxint8:element=fixed<8, 6>,block_size=8", "mxint8:block_size=8,element=fixed<8,6>"),
    ("nvfp4:scale_rule=round-up", "nvfp4:scale_rule=round-up"), ("nvfp4:tensor_scale=false,block_size=16",
                                                                 "nvfp4:tensor_scale=false"),
    ("mxfp4:scale=(e4m3:signed=false)", "mxfp4:scale=(float8_e4m3fn:signed=false)"),
    ("mxfp4:element=posit<8,1>", "mxfp8_e4m3:element=posit<8,1>"),
])
def test_each_form_of_name_means_this_format(name, want):
    assert parse_block(parse_block(name).name) == parse_block(name) == parse_block(want)


def test_every_mls_format_has_a_name_of_its_own():
    for exponent_bits in range(1, 6):
        for fraction_bits in range(8):
            fmt = mls(exponent_bits, fraction_bits)
            assert fmt.name == f"mls<{exponent_bits},{fraction_bits}>"
            assert parse_block(fmt.name) == parse_block(f"mls{exponent_bits}_{fraction_bits}") == fmt


def test_every_format_has_a_name_that_reads_back():
    source = random.Random(3)
    elements = ["e2m1", "e4m3", "e5m2", "int4", "fixed<8,6>", "fixed<6,-3>", "radix4_fp4_even", "posit<8,1>",
                "e4m3:bias=11,subnormals=flushed", "int8:narrow_range=true", "hfp8_1_4_3"]
    scales = ["e8m0", "e4m3", "e4m3:signed=false,specials=none", "p3109_k8p1uf", "minifloat_e5m3:signed=false"]
    for _ in range(200):
        rule = source.choice(list(ScaleRule))
        element = parse(source.choice(elements))
        if rule is ScaleRule.EVEN and "posit" in element.name:
            continue
        fmt = BlockFormat(element=element, scale=parse(source.choice(scales)), scale_rule=rule,
                          block_size=source.choice([1, 16, 32, 99]), tensor_scale=source.random() < 0.5)
        assert parse_block(fmt.name) == fmt, fmt.name


def test_a_name_changes_no_more_than_it_must():
    assert BlockFormat(element=parse("e2m1"), scale=parse("e8m0"), block_size=8).name == "mxfp4:block_size=8"
    assert BlockFormat(element=parse("e2m1"), scale=parse("e4m3"), block_size=16,
                       scale_rule=ScaleRule.ABSMAX).name == "nvfp4:tensor_scale=false"
    odd = FloatingPointFormat(exponent_bits=3, fraction_bits=1, signed=False, specials=Specials.NONE,
                              subnormals=Subnormals.ABSENT)
    assert parse_block(BlockFormat(element=parse("int3"), scale=odd).name).scale == odd


def test_an_alias_is_said_aloud():
    assert resolve_block("mxfp4_e2m1").note == ("mxfp4_e2m1 means mxfp4, blocks of 32 float4_e2m1fn under a "
                                                "float8_e8m0fnu scale (4.25 bits an element)")


def test_any_name_is_scalar_or_block():
    assert resolve_any("mxfp4") == BlockResolution(format=parse_block("mxfp4"), note="")
    assert resolve_any("int8") == Resolution(format=parse("int8"), note="")
    assert parse_any("mxfp4:block_size=4").block_size == 4
    assert parse_any("e4m3:bias=9").bias == 9
    with pytest.raises(ValueError, match="not the ambiguous 'fp8'"):
        parse_any("fp8")
    with pytest.raises(ValueError, match="MLS exponent width must be between 1 and 15 bits, not 0"):
        parse_any("mls<0,4>")
    with pytest.raises(ValueError, match="Block format must be one of mxfp8_e4m3, mxfp8_e5m2, not the ambiguous"):
        parse_any("mxfp8")
    with pytest.raises(ValueError, match="Format must be a name such as 'e4m3'"):
        parse_any("")
    with pytest.raises(TypeError, match="Format must be named by a string, not 4"):
        parse_any(4)


REFUSED = {
    "": "Block format must be a name such as 'mxfp8_e4m3' or 'nvfp4', not ''",
    "mxfp8": "Block format must be one of mxfp8_e4m3, mxfp8_e5m2, not the ambiguous 'mxfp8'",
    "mxfp6:block_size=8": "Block format must be one of mxfp6_e3m2, mxfp6_e2m3, not the ambiguous 'mxfp6:block_size=8'",
    "mls": "Block format must be one of mls<2,4>, mls<2,1>, not the ambiguous 'mls'",
    "e4m3": "Block format must share a scale among its elements, not be the scalar format 'e4m3'; sw.formats.parse "
            "reads that, and mxfp8_e4m3:element=float8_e4m3fn has such elements",
    "int8:narrow_range=true": "not be the scalar format 'int8:narrow_range=true'",
    "mxfp5": "Block format must be a known name, not 'mxfp5'; did you mean mxfp4",
    "zzzzzzzz": "Block format must be a known name, not 'zzzzzzzz'; see 'python -m synth formats'",
    "mls<2>": "Block format must be a known name, not 'mls<2>'; did you mean mls",
    "mls<02,4>": "Block format must be a known name, not 'mls<02,4>'",
    "mls<0,4>": "Block format must be buildable, not 'mls<0,4>': MLS exponent width must be between 1 and 15 bits, not "
                "0 as in mls<0,4>, which is mls<1,3>",
    "mls<16,4>": "Block format must be buildable, not 'mls<16,4>': Exponent width must be between 1 and 15 bits",
    "mls<2,99>": "Block format must be buildable, not 'mls<2,99>': Fraction width must be between 0 and 52 bits",
    "mxfp4:block_size=0": "Block format must be buildable, not 'mxfp4:block_size=0': Block size must be between 1 and "
                          "65536, not 0",
    "mxfp4:block_size=9/2": "Block size must be an integer, not Fraction(9, 2)",
    "mxfp4:block_size=x": "Format block_size must be an integer or a fraction such as 9/2, not 'x'",
    "mxfp4:block_size=4,block_size=4": "Format change must name block_size once, not twice",
    "mxfp4:size=4": "Format change must be field=value with a field of element, scale, block_size, scale_rule, "
                    "tensor_scale, not 'size=4' in 'mxfp4:size=4'",
    "mxfp4:scale_rule=nearest": "Format scale_rule must be one of floor, ceil, even, round-up, absmax, unit, not "
                                "'nearest'",
    "mxfp4:tensor_scale=1": "Format tensor_scale must be true or false, not '1'",
    "mxfp4:element=fp8": "not the ambiguous 'fp8'",
    "mxfp4:element=mxfp4": "Format must be a scalar one, not the block format 'mxfp4'",
    "mxfp4:element=(e4m3": "Format must be a known name, not '(e4m3'",
    "mxfp4:scale=int8": "Scale format must be a FloatingPointFormat",
    "mxfp4:scale=float8_e5m2": "Scale format must have no infinity, not 'float8_e5m2'",
    "mxfp4:element=e8m0": "Element format must have a zero, not 'float8_e8m0fnu', which has none",
}


@pytest.mark.parametrize(("name", "message"), REFUSED.items(), ids=ascii)
def test_what_is_refused_says_why_and_what_to_write(name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_block(name)


@pytest.mark.parametrize("name", [None, 4, b"mxfp4", parse_block("mxfp4")])
def test_a_name_is_a_string(name):
    with pytest.raises(TypeError, match="Block format must be named by a string, not "):
        parse_block(name)
