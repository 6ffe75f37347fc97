"""The ``formats`` verb: what it lists, what it shows, what it says about a short name."""

import argparse
import json
import re
import subprocess
import sys
from fractions import Fraction

import pytest

from sw.formats import BLOCK_CATALOG, CATALOG, Special, parse, parse_block
from synth.errors import UsageError
from synth.verbs import formats


class FakeConsole:
    """Keeps what it is given, as the real one would have printed it."""

    def __init__(self):
        self.lines, self.tables, self.documents = [], {}, []

    def print(self, text=""):
        self.lines.append(text)

    def table(self, title, columns, rows):
        assert all(len(row) == len(columns) for row in rows)
        assert title not in self.tables
        self.tables[title] = (list(columns), [[str(cell) for cell in row] for row in rows])

    def json(self, document):
        self.documents.append(json.loads(json.dumps(document, allow_nan=False)))

    def cells(self, title):
        return {row[0]: row[1:] for row in self.tables[title][1]}


def _run(*words, as_json=False):
    parser = argparse.ArgumentParser()
    formats.configure(parser)
    parser.add_argument("--json", action="store_true")
    console = FakeConsole()
    assert formats.run(parser.parse_args([*words, *(["--json"] if as_json else [])]), console) == 0
    return console


def test_without_a_name_every_catalog_format_is_listed_with_its_aliases():
    console = _run()
    listed = {**console.cells("Floating point"), **console.cells("Fixed point and integers"),
              **console.cells("Posits")}
    assert list(listed) == [entry.name for entry in CATALOG]
    for entry in CATALOG:
        assert listed[entry.name][-1] == ", ".join(entry.aliases)
    assert listed["float8_e4m3fn"] == ["1-4-3", "7", "448", "0.015625", "0.00195312", "2 NaN, -0",
                                       "e4m3, e4m3fn, fp8_e4m3"]
    assert listed["float8_e8m0fnu"][-2] == "1 NaN, no 0"
    assert listed["radix4_fp4_odd"][:3] == ["1-3-0", "9/2", "32"]
    assert listed["fixed<8,4>"] == ["-8", "7.9375", "0.0625", "ap_fixed<8,4>"]
    assert listed["posit<8,1>"] == ["4", "4096", "0.000244141", "5 bits", "50 bits", "posit8_1"]
    assert not console.documents


def test_every_name_in_the_closing_help_parses():
    text = "\n".join(_run().lines)
    for name in ("fixed8_4", "ap_fixed8_m2", "e4m3:subnormals=flushed", "e4m3:bias=11,specials=none",
                 "int8:narrow_range=true", "posit8_1"):
        assert name in text
        parse(name)


def test_the_list_as_json_has_the_facts_of_every_format():
    console = _run(as_json=True)
    (document,) = console.documents
    assert not console.lines
    assert not console.tables
    assert [item["name"] for item in document["formats"]] == [entry.name for entry in CATALOG]
    assert all(item["source"] for item in document["formats"])
    e4m3 = next(item for item in document["formats"] if item["name"] == "float8_e4m3fn")
    assert e4m3["max_finite"] == {"exact": "448", "float": 448.0}
    assert e4m3["aliases"] == ["e4m3", "e4m3fn", "fp8_e4m3"]


def test_a_short_name_is_said_aloud_first():
    console = _run("e4m3")
    assert console.lines[0].startswith("e4m3 means float8_e4m3fn (maximum 448); its siblings are float8_e4m3 ")
    assert not any("means" in line for line in _run("float8_e4m3fn").lines)


def test_one_format_is_shown_in_full():
    console = _run("e3m2")
    known = console.cells("float6_e3m2fn")
    assert {fact: value for fact, (value,) in known.items()} == {
        "family": "floating point, radix 2, signed", "width": "6 bits: 1 sign, 3 exponent, 2 fraction",
        "significand": "3 bits, with the hidden one", "bias": "3",
        "special codes": "-0 (none: every code is a finite number)", "subnormals": "supported",
        "smallest normal": "0.25", "unit roundoff": "1/8", "minimum": "-28", "maximum": "28",
        "smallest positive": "0.0625", "finite values": "63", "dynamic range": "8.8 binades, 53.0 dB",
        "also called": "e3m2, fp6_e3m2", "source": "OCP Microscaling Formats (MX) Specification 1.0",
    }
    assert console.cells("Edges")["largest subnormal"] == ["0x03", "0 000 11", "0.1875", "3/16"]
    assert console.lines[-1] == "Codes from 0x20 on are these with a minus sign."


def test_a_fixed_point_format_is_shown_in_full():
    console = _run("fixed8_4")
    assert {fact: value for fact, (value,) in console.cells("fixed<8,4>").items()} == {
        "family": "fixed point, signed (two’s complement)", "width": "8 bits: 4 integer, 4 fraction",
        "narrow range": "no", "step": "0.0625 everywhere", "minimum": "-8", "maximum": "7.9375",
        "smallest positive": "0.0625", "finite values": "256", "dynamic range": "7.0 binades, 42.1 dB",
        "also called": "ap_fixed<8,4>", "source": "AMD UG1399",
    }
    assert _run("int8:narrow_range=true").cells("int8:narrow_range=true")["narrow range"] == [
        "yes: no rounding gives the most negative code"]


def test_a_posit_is_shown_in_full():
    console = _run("posit8_2")
    assert console.lines[0] == "posit8_2 means posit<8,2> (maximum 16777216)"
    assert {fact: value for fact, (value,) in console.cells("posit<8,2>").items()} == {
        "family": "posit", "width": "8 bits: 1 sign, a regime of 2 to 7, 2 exponent, the rest fraction",
        "useed": "16: the factor of each further bit of the regime",
        "significand": "4 bits at most, with the hidden one", "special codes": "NaR (NaN) alone, 0x80",
        "unit roundoff": "1/16 around 1",
        "quire": "98 bits hold a product exactly; a sum of k takes ceil(log2 k) more",
        "minimum": "-16777216", "maximum": "16777216", "smallest positive": "5.96046e-8", "finite values": "255",
        "dynamic range": "48.0 binades, 289.0 dB", "also called": "posit8_2",
        "source": "Standard for Posit Arithmetic (2022)",
    }
    assert console.cells("Edges")["NaR"] == ["0x80", "1 0000000", "NaN", "NaN"]
    assert console.cells("Edges")["one"] == ["0x40", "0 10 00 000", "1", "1"]
    assert _run("posit<8,1>", as_json=True).documents[0]["quire_bits"] == 50


@pytest.mark.parametrize(("name", "label", "exact"), [
    ("e8m0", "smallest normal", "2^-127"), ("e8m0", "largest", "2^127"), ("bfloat16", "smallest positive", "2^-133"),
    ("bfloat16", "largest subnormal", "127*2^-133"), ("bfloat16", "most negative", "-255*2^120"),
    ("float16", "largest subnormal", "1023/16777216"),
])
def test_long_exact_values_are_written_with_a_power_of_two(name, label, exact):
    console = _run(name)
    assert console.cells("Edges")[label][-1] == exact
    odd, _, power = exact.rpartition("2^")
    if power and not exact.isdigit() and "/" not in exact:
        value = int(odd.rstrip("*") or 1) * Fraction(2) ** int(power)
        assert value == Fraction(_run(name, as_json=True).documents[0]["edges"][label]["exact"])


def test_one_bit_is_singular():
    assert _run("e8m0").cells("float8_e8m0fnu")["significand"] == ["1 bit, with the hidden one"]


def test_a_format_without_a_catalog_entry_has_its_name_for_a_source():
    known = _run("e3m5").cells("float9_e3m5")
    assert known["source"] == ["its name, by the rules of the family"]
    assert known["also called"] == ["–"]
    assert _run("int1").cells("int1")["dynamic range"] == ["–"]


@pytest.mark.parametrize("entry", [entry for entry in CATALOG if entry.format.width <= 8],
                         ids=lambda entry: entry.name)
def test_the_grid_has_the_value_of_every_code(entry):
    fmt = entry.format
    console = _run(entry.name)
    _, rows = console.tables["Values by code"]
    seen = {}
    for first, *cells in rows:
        seen.update({int(first, 16) + step: cell for step, cell in enumerate(cells)})
    signed_float = "minus sign" in console.lines[-1] if console.lines else False
    posit = "two's complement" in console.lines[-1] if console.lines else False
    half = 1 << (fmt.width - 1)
    assert sorted(seen) == list(range(half if signed_float or posit else 2 * half))
    for code, cell in seen.items():
        value = fmt.decode(code)
        if isinstance(value, Special):
            assert cell == value.value
        else:
            assert abs(Fraction(cell) - value) <= abs(value) * Fraction(1, 10**5)
            if signed_float and code:
                assert fmt.decode(code + half) == -value
            if posit and code:
                assert fmt.decode(2 * half - code) == -value
    assert all(3 * len(row) + sum(map(len, row)) <= 90 for row in rows)


@pytest.mark.parametrize(("name", "line"), [
    ("float8_e4m3fnuz", "Codes from 0x80 on are these with a minus sign, but 0x80 is NaN."),
    ("e4m3", "Codes from 0x80 on are these with a minus sign."),
    ("e2m1", "Codes from 0x8 on are these with a minus sign."),
    ("posit<6,1>", "Code 0x20 is NaR; the code of a negative number is the two's complement of its magnitude's, 0x21 "
                   "that of the most negative one."),
])
def test_the_negative_half_is_said_in_one_line(name, line):
    assert _run(name).lines[-1] == line


@pytest.mark.parametrize(("name", "line"), [
    ("float16", "'python -m synth formats float16 --values' lists all 65536 codes."),
    ("fixed<12,4>", "'python -m synth formats 'fixed<12,4>' --values' lists all 4096 codes."),
])
def test_a_wider_format_shows_its_edges_and_how_to_see_all_values(name, line):
    console = _run(name)
    assert "Values by code" not in console.tables
    assert console.cells("Edges")["zero"][2] == "0"
    assert console.lines[-1] == line


def test_a_format_too_wide_for_a_table_says_nothing_of_one():
    console = _run("tf32")
    assert not any("--values" in line for line in console.lines)
    assert console.cells("Edges")["one"] == ["0x1FC00", "0 01111111 0000000000", "1", "1"]


def test_values_lists_every_code():
    console = _run("float16", "--values")
    columns, rows = console.tables["Values"]
    assert columns == ["code", "bits", "decimal", "exact"]
    assert len(rows) == 65536
    assert rows[0x3C00] == ["0x3C00", "0 01111 0000000000", "1", "1"]
    assert rows[0xFC00] == ["0xFC00", "1 11111 0000000000", "-Inf", "-Inf"]


def test_one_format_as_json_has_its_note_facts_edges_and_values():
    console = _run("e4m3", as_json=True)
    (document,) = console.documents
    assert not console.lines
    assert not console.tables
    assert document["note"].startswith("e4m3 means float8_e4m3fn")
    assert document["name"] == "float8_e4m3fn"
    assert document["source"] == "OCP 8-bit Floating Point Specification (OFP8) 1.0"
    assert document["edges"]["largest"] == {"code": 0x7E, "bits": "0 1111 110", "exact": "448", "decimal": "448"}
    assert len(document["values"]) == 256
    assert document["values"][0x81]["exact"] == "-1/512"
    assert _run("float16", as_json=True).documents[0]["values"] is None
    assert len(_run("fixed<9,1>", "--values", as_json=True).documents[0]["values"]) == 512
    assert _run("e3m5", as_json=True).documents[0]["source"] is None


def test_the_block_formats_are_listed_with_their_scales():
    listed = _run().cells("Block formats")
    assert list(listed) == [entry.name for entry in BLOCK_CATALOG]
    assert listed["mxfp4"] == ["float4_e2m1fn", "32", "float8_e8m0fnu", "floor", "none", "4.25", "mxfp4_e2m1"]
    assert listed["nvfp4"] == ["float4_e2m1fn", "16", "float8_e4m3fn", "absmax", "float32, maximum / 2688", "4.5", ""]
    assert listed["mls<2,4>"][2:5] == ["0-8-1 (2^-255 to 1.5)", "unit", "float32, maximum"]
    (document,) = _run(as_json=True).documents
    assert [item["name"] for item in document["blocks"]] == [entry.name for entry in BLOCK_CATALOG]
    assert all(item["source"] for item in document["blocks"])


def test_a_block_format_is_shown_in_full():
    console = _run("mxfp4_e2m1")
    assert console.lines[0] == ("mxfp4_e2m1 means mxfp4, blocks of 32 float4_e2m1fn under a float8_e8m0fnu scale "
                                "(4.25 bits an element)")
    assert {fact: value for fact, (value,) in console.cells("mxfp4").items()} == {
        "family": "block: elements that share a scale", "elements": "32 x float4_e2m1fn (4 bits)",
        "scale": "float8_e8m0fnu (8 bits)",
        "scale rule": "floor: 2^(floor(log2 of the block's maximum) - 2), elements beyond 6 saturate",
        "tensor scale": "none", "storage": "4.25 bits an element, 7.52941 times less than float32",
        "maximum": "1.02085e+39", "smallest positive": "2.93874e-39", "block of zeros": "scale code 0",
        "NaN or infinity": "scale NaN: all of the block is NaN", "also called": "mxfp4_e2m1",
        "source": "OCP Microscaling Formats (MX) Specification 1.0",
    }
    assert console.lines[-1] == ("'python -m synth formats float4_e2m1fn' shows the elements, 'python -m synth formats "
                                 "float8_e8m0fnu' the scale.")


@pytest.mark.parametrize(("name", "fact", "value"), [
    ("nvfp4", "maximum", "2688 times the tensor scale"),
    ("nvfp4", "scale rule", "absmax: the block's maximum / 6, rounded to nearest"),
    ("mls<2,1>", "NaN or infinity", "infinity gets the largest scale"),
    ("mls<2,1>", "scale rule", "unit: the block's maximum, rounded up"),
    ("mls<2,1>", "scale", "0-8-1 (2^-255 to 1.5) (9 bits)"),
    ("mxfp4:scale_rule=ceil", "scale rule", "ceil: 2^(ceil(log2 of the block's maximum) - 2), no element saturates"),
    ("mxfp4:scale_rule=even", "scale rule",
     "even: 2^(floor(log2 of the block's maximum, rounded to an element's fraction) - 2)"),
    ("mxfp4:scale_rule=round-up", "scale rule", "round-up: the block's maximum / 6, rounded up"),
    ("mxfp4:scale=(e4m3:bias=9,signed=false)", "scale", "0-4-3 (2^-11 to 112) (7 bits)"),
    ("mxfp4:scale=(dlfloat8:bias=3)", "scale", "1-5-2 (0.15625 to 4.02653e+8) (8 bits)"),
    ("mxfp4:block_size=16", "source", "its name, by the fields that it changes"),
    ("mxfp4:block_size=16", "also called", "–"),
])
def test_facts_of_a_block_format(name, fact, value):
    (cells,) = (console.cells(parse_block(name).name) for console in [_run(name)])
    assert cells[fact] == [value]


def test_a_block_format_as_json_has_its_note_and_facts():
    (document,) = _run("mls2_4", as_json=True).documents
    assert document["note"].startswith("mls2_4 means mls<2,4>")
    assert document["family"] == "block"
    assert document["bits_per_element"] == {"exact": "8", "float": 8.0}
    assert document["element"]["significand_bits"] == 5
    assert document["source"].startswith("Zhong et al. 2022")
    assert _run("mxfp4:block_size=8", as_json=True).documents[0]["source"] is None


@pytest.mark.parametrize(("words", "message"), [
    (["mxfp4", "--values"], "Option --values must come with the name of a scalar format, not of the block format "
                            "mxfp4; its elements are float4_e2m1fn"),
    (["mxfp4:block_size=0"], "Block size must be between 1 and 65536, not 0"),
    (["mls<0,3>"], "MLS exponent width must be between 1 and 15 bits, not 0 as in mls<0,3>, which is mls<1,2>"),
    (["posit8"], "Format must name the posit's exponent size"), (["e9m9"], "Format must have at most 16 bits"),
    ([""], "Format must be a name such as 'e4m3'"), (["fp8"], "not the ambiguous 'fp8'"),
    (["--values"], "Option --values must come with the name of a format, not alone"),
    (["tf32", "--values"], "Format must have at most 16 bits for a table of all its values, not 19, as tf32 has"),
])
def test_wrong_arguments(words, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        _run(*words)


def test_the_verb_loads_neither_torch_nor_the_hardware():
    code = ("import sys, synth.verbs.formats; "
            "print(*({'torch', 'amaranth', 'numpy', 'hw'} & {name.split('.')[0] for name in sys.modules}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("words", "code", "said"), [
    (["e3m2"], 0, "float6_e3m2fn"), ([], 0, "float8_e5m2fnuz"), (["posit8"], 2, "posit<8,1>"),
    (["e9m9"], 2, "at most 16 bits"), (["\u00e9\U0001F600"], 2, "Format must be a known name"),
])
def test_from_the_command_line(words, code, said):
    done = subprocess.run([sys.executable, "-m", "synth", "formats", *words], capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == code, done.stderr
    assert said in (done.stdout if code == 0 else done.stderr).decode(errors="replace")
    assert b"Traceback" not in done.stderr
