"""Formats as JSON."""

import json
from dataclasses import fields

import pytest

from sw.export.formats import format_from_json, format_to_json
from sw.formats import BLOCK_CATALOG, CATALOG, FloatingPointFormat, Specials, parse, parse_any

FORMATS = [*(entry.format for entry in (*CATALOG, *BLOCK_CATALOG)),
           *(FloatingPointFormat(exponent_bits=e, fraction_bits=m, specials=Specials.NONE, bias=bias)
             for e in range(1, 7) for m in range(8 - e) for bias in (None, 3)),
           parse("int5:narrow_range=true"), parse("ufixed<7,-3>"), parse("posit<6,2>")]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_every_format_comes_back_from_json(fmt):
    assert format_from_json(json.loads(json.dumps(format_to_json(fmt)))) == fmt


def test_every_field_is_written():
    for name in ("e4m3", "int8", "posit<8,1>", "nvfp4"):
        fmt = parse_any(name)
        assert format_to_json(fmt).keys() == {"name", "family", *(field.name for field in fields(fmt))}


def test_a_bias_that_is_no_integer_is_a_fraction():
    assert format_to_json(parse("radix4_fp4_odd"))["bias"] == "9/2"


@pytest.mark.parametrize(("description", "error", "message"), [
    ("e4m3", TypeError, "Format description must be a mapping, not 'e4m3'"),
    ({"width": 8}, ValueError, "Format description must have a name, not None"),
    ({"name": "e99m99"}, ValueError, "e99m99"),
    ({**format_to_json(parse("int8")), "width": 9}, ValueError,
     r"Format description must be that of int8 as this version knows it, not with width=9 \(here 8\)"),
    ({**format_to_json(parse("int8")), "colour": 1}, ValueError, r"not with colour=1 \(here None\)"),
])
def test_what_is_no_description_is_refused(description, error, message):
    with pytest.raises(error, match=message):
        format_from_json(description)


def test_only_formats_are_written():
    with pytest.raises(TypeError, match="Format must be a ScalarFormat or a BlockFormat, not 'e4m3'"):
        format_to_json("e4m3")
