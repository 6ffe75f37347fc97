# amaranth: UnusedElaboratable=no
import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, signed

from hw.arith.multiply_add import MAX_SUM_WIDTH, MultiplyAdd
from synth.flow import elaborate
from synth.primitives import PLATFORMS, LookupPlatform, platform_of
from synth.targets import TARGETS
from synth.toolchain import run_yosys


def test_every_family_of_the_targets_has_a_platform():
    assert set(PLATFORMS) == set(TARGETS)
    assert all(platform_of(name) is platform and platform.family == name for name, platform in PLATFORMS.items())
    assert all(platform.hard_multipliers for platform in PLATFORMS.values())


def test_other_names_have_none():
    assert platform_of("max10") is None
    assert platform_of("max10", dsp=False) is None


@pytest.mark.parametrize("name", PLATFORMS)
def test_without_blocks_a_platform_has_carry_cells_alone(name):
    platform = platform_of(name, dsp=False)
    assert platform == LookupPlatform(name, platform_of(name).gated_sums)
    assert (platform.gated_sums is not None) == (name in ("ecp5", "gowin"))
    assert platform.narrowgauge_family == platform_of(name).narrowgauge_family == name
    assert not hasattr(platform, "get_multiply_add")
    component = MultiplyAdd(a_width=8, b_width=8, width=20)
    assert elaborate(component, platform) == elaborate(component)


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


@pytest.mark.parametrize(("family", "narrow"), [
    ("ice40", [(2, 8), (5, 5), (4, 6)]), ("ecp5", [(1, 8)]), ("nexus", [(3, 3), (8, 3)]), ("gowin", [(3, 4), (8, 3)]),
    ("xc7", [(4, 4), (2, 6)]), ("xcup", [(4, 4), (5, 3)])])
def test_narrow_products_are_left_out_of_blocks(family, narrow):
    platform = platform_of(family)
    for a, b in narrow:
        assert not platform.takes_product(a, b)
        assert not platform.takes_product(b, a)
    assert platform.takes_product(8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("family", PLATFORMS)
def test_yosys_puts_into_blocks_what_the_platform_says(family, tmp_path):
    widths = [(a, b) for a in range(2, 9) for b in range(2, a + 1)]
    m, ports = Module(), []
    for a, b in widths:
        x, y = Signal(signed(a), name=f"a_{a}_{b}"), Signal(signed(b), name=f"b_{a}_{b}")
        o = Signal(signed(a + b), name=f"o_{a}_{b}")
        m.d.comb += o.eq(x * y)
        ports += [x, y, o]
    (tmp_path / "design.il").write_text(rtlil.convert(m, name="top", emit_src=False, ports=ports))
    run_yosys(TARGETS[family].script(dsp=True), cwd=tmp_path, stem="yosys")
    top = json.loads((tmp_path / "mapped.json").read_text())["modules"]["top"]
    driven = {bit for cell in top["cells"].values() if cell["type"] in TARGETS[family].dsps
              for port, bits in cell["connections"].items() if cell["port_directions"][port] == "output"
              for bit in bits}
    in_blocks = {pair for pair in widths if driven & set(top["ports"][f"o_{pair[0]}_{pair[1]}"]["bits"])}
    assert in_blocks == {pair for pair in widths if platform_of(family).takes_product(*pair)}


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
