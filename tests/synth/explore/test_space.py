"""Names and widths become formats, each once, and what means nothing is refused with the nearest."""

import pytest

from sw.formats import parse_any
from synth.errors import UsageError
from synth.explore.space import (
    FAMILIES,
    Choice,
    bits_per_weight,
    choices,
    family_of,
    find_family,
    parse_bits,
    width_of,
)


@pytest.mark.parametrize(("text", "want"), [
    ("3..8", (3, 4, 5, 6, 7, 8)), ("4", (4,)), ("8,4", (4, 8)), ("3..4, 8", (3, 4, 8)), ("2..2", (2,)),
    (" 3 .. 5 ", (3, 4, 5)), ("16", (16,))])
def test_bits_are_read(text, want):
    assert parse_bits(text) == want


@pytest.mark.parametrize(("text", "message"), [
    ("", "Bits must be a range such as 3..8, or a list such as 4,6,8, not ''"),
    ("3-8", "Bits must be a range such as 3..8, or a list such as 4,6,8, not '3-8'"),
    ("3..", "Bits must be a range such as 3..8"),
    ("3.5", "Bits must be a range such as 3..8"),
    ("٣..٨", "Bits must be a range such as 3..8"),
    ("8..3", r"Bits must rise in a range, as in 3\.\.8, not '8\.\.3'"),
    ("1..8", r"Bits must be between 2 and 16, not '1\.\.8'"),
    ("8..17", "Bits must be between 2 and 16"),
    ("999", "Bits must be between 2 and 16"),
])
def test_malformed_bits_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_bits(text)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bits", range(2, 17))
def test_the_formats_of_a_family_have_its_width_and_name(family, bits):
    for name in FAMILIES[family][1](bits):
        canonical = parse_any(name).name
        assert width_of(canonical) == bits, name
        assert family_of(canonical, power_of_two=family == "fixed") == family, name


def test_minifloats_are_every_split():
    found, _ = choices(families=["minifloat"], bits=[3, 4, 8])
    assert [choice.weight for choice in found] == [
        "float3_e1m1fn", "float3_e2m0fn", "float4_e1m2fn", "float4_e2m1fn", "float4_e3m0fn", "minifloat_e1m6",
        "minifloat_e2m5", "minifloat_e3m4", "minifloat_e4m3", "minifloat_e5m2", "minifloat_e6m1", "minifloat_e7m0"]


def test_all_families_of_3_to_8_bits():
    found, notes = choices()
    assert notes == []
    assert len(found) == len(set(found)) == 65
    assert {choice.family for choice in found} == set(FAMILIES)
    assert all(choice.power_of_two == (choice.family == "fixed") for choice in found)


def test_named_formats_take_the_place_of_families():
    found, notes = choices(formats=["e2m1", "int4", "fp4_e2m1"], families=["int"])
    assert [choice.label for choice in found] == ["float4_e2m1fn", "int4"]
    assert notes[0].startswith("e2m1 means float4_e2m1fn")


def test_activations_may_have_a_format_of_their_own():
    found, _ = choices(families=["int"], bits=[4, 6], activation="int8")
    assert [choice.label for choice in found] == ["int4 × int8", "int6 × int8"]
    assert (found[0].weight_bits, found[0].activation_bits, found[0].family) == (4, 8, "int")
    assert choices(formats=["int4"], activation="e4m3")[0][0].family == "int/float"


def test_pairs_have_activations_at_least_as_wide():
    found, _ = choices(families=["int", "fixed"], bits=[3, 4], pairs=True)
    assert [choice.label for choice in found] == [
        "int3", "int3 × int4", "int4", "fixed<3,2>, 2^n scales", "fixed<3,2> × fixed<4,3>, 2^n scales",
        "fixed<4,3>, 2^n scales"]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"families": ["minifloats"]}, "Family must be one of minifloat, .*, not 'minifloats'; did you mean minifloat?"),
    ({"families": ["integer"]}, "did you mean int"),
    ({"families": ["float"], "bits": [5]}, "Formats must be at least one, not none: family float has none of 5 bits; "
                                           "name other --bits or --family"),
    ({"formats": ["float8_e4m3fm"]}, "Format must be a known name, not 'float8_e4m3fm'; did you mean float8_e4m3fn"),
    ({"activation": "posit8"}, "Format must name the posit's exponent size"),
    ({"pairs": True, "activation": "int8"},
     "Activation format must be left out where --pairs takes them all, not 'int8'"),
])
def test_what_means_nothing_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        choices(**arguments)


def test_names_are_found_whatever_their_case():
    assert find_family(" MiniFloat ") == "minifloat"


def test_a_block_shares_its_scale():
    assert bits_per_weight("mxfp4") == 4 + 8 / 32
    assert bits_per_weight("nvfp4") == 4 + 8 / 16
    assert bits_per_weight("posit<6,1>") == 6


def test_choices_are_ready_for_json():
    assert Choice(weight="int4", activation="int8").to_json() == {
        "weight": "int4", "activation": "int8", "power_of_two": False}
