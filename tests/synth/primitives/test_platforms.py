# amaranth: UnusedElaboratable=no
import pytest
from amaranth.back import rtlil

from hw.arith.multiply_add import MAX_SUM_WIDTH, MultiplyAdd
from synth.flow import elaborate
from synth.primitives import PLATFORMS, platform_of
from synth.targets import TARGETS


def test_every_family_of_the_targets_has_a_platform():
    assert set(PLATFORMS) == set(TARGETS)
    assert all(platform_of(name) is platform and platform.family == name for name, platform in PLATFORMS.items())
    assert all(platform.hard_multipliers for platform in PLATFORMS.values())


def test_other_names_have_none():
    assert platform_of("max10") is None


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_factors_fit_in_either_order(platform):
    wide, narrow = platform.factor_widths
    assert platform.fits(wide, narrow)
    assert platform.fits(narrow, wide)
    assert platform.fits(1, 1)
    assert not platform.fits(wide + 1, 1)
    assert not platform.fits(1, wide + 1)
    assert not platform.fits(narrow + 1, wide + 1)
    assert platform.fits(wide, wide) == (wide == narrow)


def is_generic(platform, **parameters):
    """Tell whether the product of a slice is left to Yosys."""
    return "$mul" in elaborate(MultiplyAdd(**parameters), platform).rtlil


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_what_does_not_fit_the_block_is_left_to_the_generic_form(platform):
    wide, narrow = platform.factor_widths
    assert not is_generic(platform, a_width=wide, b_width=narrow, width=20)
    assert is_generic(platform, a_width=wide + 1, b_width=narrow, width=20)
    assert is_generic(platform, a_width=narrow, b_width=wide + 1, width=20)
    assert not is_generic(platform, a_width=8, b_width=8, width=platform.sum_width)
    if platform.sum_width < MAX_SUM_WIDTH:
        assert is_generic(platform, a_width=8, b_width=8, width=platform.sum_width + 1)


BLOCKS = {"ice40": "SB_MAC16", "ecp5": "MULT18X18D", "nexus": "MULTADDSUB18X18", "gowin": "MULT9X9", "xc7": "DSP48E1",
          "xcup": "DSP48E2"}


@pytest.mark.parametrize("family", BLOCKS)
@pytest.mark.parametrize("kind", [{}, {"cascaded": True}, {"accumulate": True}], ids=["alone", "cascaded", "own sum"])
def test_form_is_the_block_and_the_same_each_time(family, kind):
    component = MultiplyAdd(a_width=8, b_width=8, width=20, **kind)
    texts = {elaborate(component, platform_of(family)).rtlil for _ in range(2)}
    block = "MULTALU18X18" if family == "gowin" and kind.get("accumulate") else BLOCKS[family]
    [text] = texts
    assert text.count(f"cell \\{block} ") == 1
    assert "$mul" not in text


@pytest.mark.parametrize(("start", "blocks"), [(0, {"MULT9X9"}), (5, {"MULTALU18X18"})])
def test_gowin_adds_a_constant_in_the_block(start, blocks):
    component = MultiplyAdd(a_width=8, b_width=8, width=20, start=start)
    text = elaborate(component, platform_of("gowin")).rtlil
    assert {name for name in ("MULT9X9", "MULT18X18", "MULTALU18X18") if f"cell \\{name} " in text} == blocks
    assert "$add" not in text


def test_generic_form_where_there_is_no_platform():
    text = rtlil.convert(MultiplyAdd(a_width=8, b_width=8, width=20))
    assert "$mul" in text
