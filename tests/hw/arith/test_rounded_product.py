# amaranth: UnusedElaboratable=no
import pytest
from amaranth.back import rtlil

from hw.arith.multiply import Multiplier, Structure
from hw.arith.rounded_product import MODES, suits_selection, suits_tables
from sw.formats import RoundingMode, parse
from synth.verify import check, expect
from tests.support.functions import assert_delayed
from tests.support.mapped import map_component
from tests.support.multipliers import assert_exhaustively_right, policies
from tests.support.sampling import sampled
from tests.synth.netlist.oracle import needs_yosys

FLOATS = ("float8_e5m2", "float6_e3m2fn", "float8_e4m3fnuz", "p3109_k8p3se", "p3109_k6p3se", "float4_e3m0fn",
          "float8_e4m3fn:subnormals=flushed", "float8_e5m2:subnormals=flushed", "float6_e2m3fn:subnormals=flushed",
          "dlfloat8", "minifloat_e4m3:subnormals=absent", "float8_e8m0fnu", "float6_e3m2fn:signed=false",
          "float8_e5m2:bias=12", "float6_e3m2fn:bias=9", "float4_e2m1fn", "minifloat_e5m1")


def tables(a, b=None, result=None, **parameters):
    return Multiplier(a, b, result, structure=Structure.SIGNIFICAND_TABLES, **parameters)


def in_all_modes(a, b, result):
    return [tables(a, b, result, rounding=mode, overflow=policy) for mode in MODES for policy in policies(result)]


@sampled("name", [
    "float6_e3m2fn", "p3109_k6p3se", "float6_e2m3fn:subnormals=flushed", "float4_e2m1fn",
    "float6_e3m2fn:signed=false", "float6_e3m2fn:bias=9", "minifloat_e4m1:subnormals=absent"], 3)
def test_every_mode_and_policy_of_small_formats(name, tmp_path):
    fmt = parse(name)
    assert_exhaustively_right(in_all_modes(fmt, fmt, fmt), tmp_path)


@pytest.mark.parametrize("name", [
    "float8_e5m2", "float8_e4m3fn", "float8_e4m3fn:subnormals=flushed", "float8_e5m2:subnormals=flushed",
    pytest.param("float8_e4m3", marks=pytest.mark.slow), pytest.param("float8_e4m3fnuz", marks=pytest.mark.slow),
    pytest.param("p3109_k8p3se", marks=pytest.mark.slow), pytest.param("dlfloat8", marks=pytest.mark.slow),
    pytest.param("float8_e5m2:bias=3", marks=pytest.mark.slow)])
def test_every_policy_of_eight_bits(name, tmp_path):
    fmt = parse(name)
    assert_exhaustively_right([tables(fmt, overflow=policy) for policy in policies(fmt)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("result", [name for name in FLOATS if parse(name).fraction_bits])
def test_every_pair_of_operands_to_every_result(result, tmp_path):
    fmt = parse(result)
    small = [parse(name) for name in FLOATS if parse(name).width <= 6] + [parse("float8_e5m2")]
    pairs = [(a, b) for a in small for b in small if a.width + b.width <= 14]
    assert_exhaustively_right(
        [tables(a, b, fmt, rounding=MODES[index % len(MODES)], overflow=policies(fmt)[index % len(policies(fmt))])
         for index, (a, b) in enumerate(pairs) if suits_tables(a, b, fmt, MODES[0])], tmp_path)


@sampled(("a", "b", "result"), [
    ("minifloat_e4m3:subnormals=absent", "minifloat_e4m3:subnormals=absent", "bfloat16"),
    ("float6_e3m2fn", "float6_e2m3fn", "float16"), ("float6_e3m2fn", "float6_e3m2fn", "float8_e4m3fn"),
    ("float6_e2m3fn", "float6_e3m2fn", "float16:fraction_bits=6"), ("float6_e3m2fn", "float4_e2m1fn", "float8_e5m2"),
    ("float8_e5m2", "float4_e2m1fn", "float6_e3m2fn"), ("float6_e3m2fn", "float8_e8m0fnu", "float8_e5m2"),
    ("float4_e3m0fn", "float8_e5m2", "float8_e5m2"),
    ("float6_e3m2fn:subnormals=flushed", "float6_e3m2fn:subnormals=flushed", "float6_e3m2fn:bias=4"),
    ("float4_e2m1fn", "float4_e2m1fn", "float4_e1m2fn"), ("float4_e1m2fn", "float4_e1m2fn", "float4_e1m2fn"),
    ("float4_e2m1fn", "float4_e2m1fn", "float6_e1m4fn"), ("float4_e1m2fn", "float4_e2m1fn", "float6_e2m3fn:bias=9")], 5)
def test_other_results(a, b, result, tmp_path):
    assert_exhaustively_right([tables(parse(a), parse(b), parse(result))], tmp_path)


SELECTED = (("minifloat_e4m3:subnormals=absent", "minifloat_e4m3:subnormals=absent", "bfloat16"),
            ("float6_e2m3fn:subnormals=flushed", "minifloat_e3m2:subnormals=absent", "bfloat16"),
            ("float6_e3m2fn", "float6_e2m3fn", "float16"), ("float4_e2m1fn", "float4_e2m1fn", "float8_e3m4"),
            ("float8_e5m2", "float4_e2m1fn", "float8_e3m4"), ("float4_e2m1fn", "float4_e2m1fn", "float6_e1m4fn"),
            ("float6_e3m2fn", "float8_e8m0fnu", "float8_e4m3fn"),
            ("minifloat_e4m1:subnormals=absent", "minifloat_e4m2:subnormals=absent",
             "minifloat_e3m4:subnormals=flushed"),
            ("minifloat_e4m2:subnormals=absent", "minifloat_e4m1:subnormals=absent", "float8_e3m4"))


def select_exponent(names, **parameters):
    return Multiplier(*map(parse, names), structure=Structure.SELECT_EXPONENT, **parameters)


def test_products_that_select_their_exponent(tmp_path):
    assert_exhaustively_right([select_exponent(names, rounding=MODES[index % len(MODES)])
                               for index, names in enumerate(SELECTED)], tmp_path)


@needs_yosys
@sampled("names", SELECTED[::2], 2)
def test_products_of_gated_adders_that_select_their_exponent(names, tmp_path):
    multiplier = select_exponent(names)
    netlist, _ = map_component(multiplier, "ecp5", tmp_path, dsp=False)
    expected = expect(multiplier.model, seed=1, samples=1024, exhaustive_bits=16, cancelling=False)
    assert check(netlist, expected, latency=0, interval=1, seed=1)["mismatches"] == 0


@pytest.mark.parametrize("pipeline", [1, 3])
def test_pipeline_delays_a_selected_exponent(pipeline, tmp_path):
    assert_delayed(select_exponent(SELECTED[0], pipeline=pipeline), tmp_path)


@pytest.mark.parametrize(("a", "b", "result", "suits"), [
    ("float8_e4m3fn", "float8_e4m3fn", "bfloat16", True), ("float8_e4m3fn", "float8_e5m2", "float16", True),
    ("float8_e4m3fn", "float8_e4m3fn", "float16:fraction_bits=6", False), ("float8_e5m2", "int4", "float16", False),
    ("float8_e3m4", "float8_e5m2", "float16", False), ("float8_e5m2", "float8_e5m2", "float8_e5m2", False)])
def test_which_products_can_select_their_exponent(a, b, result, suits):
    formats = [parse(name) for name in (a, b, result)]
    assert suits_selection(*formats, RoundingMode.NEAREST_EVEN) is suits
    assert (Structure.SELECT_EXPONENT in Multiplier.structures(Multiplier(*formats).model)) is suits
    if not suits:
        with pytest.raises(ValueError, match=r"Structure must be another one for .*, not Structure\.SELECT_EXPONENT"):
            select_exponent((a, b, result))


@pytest.mark.parametrize("pipeline", [1, 2, 3, 5])
def test_pipeline_delays_every_result_by_its_latency(pipeline, tmp_path):
    assert_delayed(tables(parse("float8_e5m2"), pipeline=pipeline), tmp_path)


def test_elaborating_twice_gives_the_same():
    multiplier = tables(parse("float8_e5m2"), pipeline=3)
    first, second = (rtlil.convert(multiplier, emit_src=False) for _ in range(2))
    assert first == second


def test_a_hard_multiplier_is_given_a_product():
    fmt = parse("float8_e5m2")
    assert Multiplier(fmt, hard_multiplier=True).structure is Structure.NORMALISE_OPERANDS
    assert Multiplier(fmt, fmt, parse("float16"), hard_multiplier=True).structure is Structure.NORMALISE_OPERANDS


@pytest.mark.parametrize(("a", "b", "result", "rounding", "suits"), [
    ("float8_e4m3fn", "float8_e4m3fn", "float8_e4m3fn", RoundingMode.NEAREST_EVEN, True),
    ("float8_e4m3fn", "float8_e5m2", "float16", RoundingMode.TOWARD_ZERO, True),
    ("float8_e4m3fn", "float8_e3m4", "float8_e4m3fn", RoundingMode.NEAREST_EVEN, False),
    ("float8_e5m2", "int4", "float8_e5m2", RoundingMode.NEAREST_EVEN, False),
    ("float8_e5m2", "float8_e5m2", "posit<8,1>", RoundingMode.NEAREST_EVEN, False),
    ("radix4_fp4_odd", "radix4_fp4_odd", "float8_e5m2", RoundingMode.NEAREST_EVEN, False),
    ("float8_e8m0fnu", "float8_e5m2", "float8_e8m0fnu", RoundingMode.NEAREST_EVEN, False),
    ("float8_e5m2", "float8_e5m2", "float8_e5m2", RoundingMode.UP, False),
    ("float8_e5m2", "float8_e5m2", "float8_e5m2", RoundingMode.TO_ODD, False),
])
def test_which_formats_tables_suit(a, b, result, rounding, suits):
    formats = [parse(name) for name in (a, b, result)]
    assert suits_tables(*formats, rounding) is suits
    if suits:
        assert Structure.SIGNIFICAND_TABLES in Multiplier.structures(tables(*formats, rounding=rounding).model)
    else:
        with pytest.raises(ValueError, match=f"Structure must be another one for .* to .* with {rounding.value} round"):
            tables(*formats, rounding=rounding)
