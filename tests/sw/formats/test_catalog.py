"""The catalog: unambiguous names, sources, and every row that the literature table asks for."""

import re
import subprocess
import sys

import pytest

from sw.formats import CATALOG, FixedPointFormat, FloatingPointFormat, OverflowPolicy, Specials, parse
from sw.formats.catalog import by_name, name_of, split

NAMES = {entry.name for entry in CATALOG}


def test_names_and_aliases_are_unique():
    names = [name for entry in CATALOG for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names)) == len(by_name())


def test_no_format_has_two_entries():
    formats = [entry.format for entry in CATALOG]
    assert len(formats) == len(set(formats))


def test_every_entry_names_its_source():
    assert all(re.search(r"[A-Za-z]{4}|UG1399", entry.source) for entry in CATALOG)


def test_names_are_lower_case_and_short():
    assert all(re.fullmatch(r"[a-z0-9_<>,]{3,20}", name) for name in by_name())


@pytest.mark.parametrize("name", [
    "float8_e4m3fn", "float8_e4m3", "float8_e5m2", "float8_e3m4", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3b11fnuz", "float8_e8m0fnu", "hfp8_1_4_3",
    "hfp8_1_4_3_reserved", "hfp8_1_4_3_bias4", "dlfloat8", "dlfloat16", "float16_e6m9", "fp9_e5m3",
    "radix4_fp4_even", "radix4_fp4_odd", "p3109_k8p3se", "p3109_k8p4se", "p3109_k8p5se", "p3109_k4p2se",
    "p3109_k6p3se", "p3109_k6p4se", "p3109_k8p5sf", "p3109_k4p2sf", "p3109_k6p3sf", "p3109_k6p4sf", "p3109_k8p1uf",
    "float16", "bfloat16", "tf32", "fixed<8,4>",
    "posit<8,0>", "posit<8,1>", "posit<8,2>", "posit<16,1>", "posit<16,2>",
    *(f"{sign}int{width}" for sign in ("", "u") for width in range(2, 17)),
])
def test_the_formats_of_the_literature_are_there(name):
    assert name in NAMES


def test_the_union_of_1_4_3_and_1_5_2_holds_both():
    """Luo et al. 2024: 1-5-3 with bias 15 is the smallest format that has every value of the two HFP8 formats."""
    union = parse("fp9_e5m3")
    for name in ("hfp8_1_4_3", "float8_e5m2"):
        fmt = parse(name)
        for code in range(1 << fmt.width):
            value = fmt.decode(code)
            back = union.decode(union.encode(value, overflow=OverflowPolicy.INFINITY))
            assert back == value, (name, code)


@pytest.mark.parametrize(("exponent_bits", "fraction_bits", "suffix", "specials", "bias"), [
    (4, 3, "fn", Specials.FN, 7), (3, 2, "fn", Specials.NONE, 3), (4, 3, "", Specials.IEEE, 7),
    (4, 3, "fnuz", Specials.FNUZ, 8), (4, 3, "minifloat", Specials.NONE, 7), (1, 2, "fn", Specials.NONE, 0),
])
def test_a_suffix_means_the_special_codes_of_ml_dtypes(exponent_bits, fraction_bits, suffix, specials, bias):
    assert split(exponent_bits, fraction_bits, suffix) == FloatingPointFormat(
        exponent_bits=exponent_bits, fraction_bits=fraction_bits, specials=specials, bias=bias)


def test_names_of_formats_outside_the_catalog_are_systematic():
    assert name_of(FloatingPointFormat(exponent_bits=3, fraction_bits=8)) == "float12_e3m8"
    assert name_of(FloatingPointFormat(exponent_bits=11, fraction_bits=52)) == "float64_e11m52"
    assert name_of(FloatingPointFormat(exponent_bits=3, fraction_bits=8, bias=9)) == "float12_e3m8:bias=9"
    assert name_of(FixedPointFormat(width=9, fraction_bits=3, signed=False)) == "ufixed<9,3>"
    assert name_of(FloatingPointFormat(exponent_bits=3, fraction_bits=4, signed=False)) == "float8_e3m4:signed=false"


def test_formats_load_neither_torch_nor_numpy():
    code = "import sys, sw.formats; print(*({'torch', 'numpy', 'amaranth'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""
