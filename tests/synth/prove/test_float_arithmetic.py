"""Float terms beside the exact reference: proved equal to its table of every input, by a solver's floats."""

import numpy as np
import pytest

from sw.formats import FloatingPointFormat, OverflowPolicy, RoundingMode, Specials, Subnormals, parse
from sw.reference import Addition, Conversion, FusedMultiplyAdd, Multiplication
from sw.reference.dot import Dot
from synth.errors import UsageError
from synth.prove import Status
from synth.prove.functions import prove_function
from synth.prove.specify import specify
from synth.prove.terms import script
from tests.synth.prove.circuits import tabulated_model

TINY = {
    "ieee": FloatingPointFormat(exponent_bits=2, fraction_bits=2),
    "ieee, other bias": FloatingPointFormat(exponent_bits=2, fraction_bits=1, bias=5),
    "fn": FloatingPointFormat(exponent_bits=2, fraction_bits=2, specials=Specials.FN),
    "fnuz": FloatingPointFormat(exponent_bits=3, fraction_bits=1, bias=-1, specials=Specials.FNUZ),
    "p3109": FloatingPointFormat(exponent_bits=2, fraction_bits=2, specials=Specials.P3109),
    "none": parse("float4_e2m1fn"),
    "one exponent bit": FloatingPointFormat(exponent_bits=1, fraction_bits=2, specials=Specials.NONE),
    "flushed": FloatingPointFormat(exponent_bits=2, fraction_bits=2, subnormals=Subnormals.FLUSHED),
    "absent": FloatingPointFormat(exponent_bits=3, fraction_bits=1, subnormals=Subnormals.ABSENT,
                                  specials=Specials.FN),
    "unsigned": FloatingPointFormat(exponent_bits=2, fraction_bits=2, signed=False, specials=Specials.FN),
    "no zero": FloatingPointFormat(exponent_bits=2, fraction_bits=2, signed=False, specials=Specials.NONE,
                                   subnormals=Subnormals.ABSENT, has_zero=False),
}
SMALL = TINY["none"]
MODES = (RoundingMode.NEAREST_EVEN, RoundingMode.NEAREST_AWAY, RoundingMode.UP, RoundingMode.DOWN,
         RoundingMode.TOWARD_ZERO)
POLICIES = (OverflowPolicy.SATURATE, OverflowPolicy.INFINITY)


def assert_same(model, solver="z3"):
    proof = prove_function(tabulated_model(model), model, specify(model), latency=0, solver=solver, timeout=120)
    assert proof.status is Status.PROVED, (proof.method, proof.counterexample, proof.left)


def policy_of(fmt, index):
    """Return one of the policies that the format has, so that each occurs beside each mode."""
    return POLICIES[index % 2] if fmt.nan_code is not None and fmt.signed else OverflowPolicy.SATURATE


def every_mode(turn):
    """Return a case for each format and mode; each format in one mode, another one for each, is not slow."""
    return [pytest.param(name, mode, id=f"{name}-{mode.value}",
                         marks=[] if (place + turn) % len(MODES) == index else [pytest.mark.slow])
            for place, name in enumerate(TINY) for index, mode in enumerate(MODES)]


@pytest.mark.parametrize(("name", "mode"), every_mode(0))
def test_products(name, mode):
    fmt = TINY[name]
    policy = policy_of(fmt, MODES.index(mode) + len(name))
    assert_same(Multiplication(a=fmt, b=fmt, result=fmt, rounding=mode, overflow=policy))


@pytest.mark.parametrize(("name", "mode"), every_mode(2))
def test_sums(name, mode):
    fmt = TINY[name]
    policy = policy_of(fmt, MODES.index(mode) + len(name))
    assert_same(Addition(a=fmt, b=fmt, result=fmt, rounding=mode, overflow=policy, subtract=len(name) % 2 == 1))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("overflow", [pytest.param(POLICIES[0], marks=pytest.mark.slow), POLICIES[1]],
                         ids=lambda policy: policy.value)
def test_conversions_into_fewer_bits(mode, overflow):
    wide = FloatingPointFormat(exponent_bits=4, fraction_bits=4)
    names = ("ieee", "fnuz", "p3109", "flushed", "absent")
    assert_same(Conversion(a=wide, result=TINY[names[MODES.index(mode)]], rounding=mode, overflow=overflow))


@pytest.mark.parametrize("name", ["ieee, other bias", "none", "no zero", "unsigned"])
def test_conversions_between_ranges(name):
    assert_same(Conversion(a=TINY[name], result=parse("float8_e4m3fnuz")))
    assert_same(Conversion(a=parse("float8_e5m2"), result=TINY[name], rounding=RoundingMode.DOWN))


def test_other_formats_meet():
    assert_same(Multiplication(a=TINY["fnuz"], b=TINY["ieee"], result=SMALL))          # exact, then rounded
    assert_same(Multiplication(a=SMALL, b=TINY["fnuz"], result=parse("float8_e4m3fn")))
    assert_same(Addition(a=TINY["ieee"], b=SMALL, result=TINY["fnuz"], rounding=RoundingMode.UP))


@pytest.mark.parametrize("mode", [pytest.param(RoundingMode.NEAREST_EVEN, marks=pytest.mark.slow), RoundingMode.DOWN],
                         ids=lambda mode: mode.value)
def test_fused_multiply_adds(mode):
    assert_same(FusedMultiplyAdd(a=SMALL, b=SMALL, c=SMALL, result=SMALL, rounding=mode))
    other = TINY["ieee, other bias"]
    assert_same(FusedMultiplyAdd(a=other, b=other, c=other, result=other, rounding=mode,
                                 overflow=OverflowPolicy.INFINITY))


def test_bitwuzla_agrees():
    fmt = TINY["p3109"]
    assert_same(Multiplication(a=fmt, b=fmt, result=fmt, overflow=OverflowPolicy.INFINITY), solver="bitwuzla")
    assert_same(Conversion(a=parse("float8_e5m2"), result=fmt), solver="bitwuzla")


@pytest.mark.parametrize(("name", "policy"), [("ieee", OverflowPolicy.SATURATE), ("ieee", OverflowPolicy.INFINITY)])
def test_a_wrong_table_is_refuted(name, policy):
    # Of the last codes, the quiet NaNs are; of the others, most are numbers: each is told from its neighbour.
    fmt = TINY[name]
    model = Multiplication(a=fmt, b=fmt, result=fmt, overflow=policy)
    for place in (0, 37, 512, 1023):
        program = tabulated_model(model, change=lambda number, code, place=place: code ^ (number == place))
        proof = prove_function(program, model, specify(model), latency=0, solver="z3", timeout=60)
        assert proof.status is Status.REFUTED
        assert proof.counterexample["inputs"] == {"a": place & 31, "b": place >> 5}
        assert proof.counterexample["want"] == {"o": model(place & 31, place >> 5)}


@pytest.mark.parametrize("mode", [mode for mode in RoundingMode if mode not in MODES], ids=lambda mode: mode.value)
def test_rounding_modes_that_smt_lib_has_not_are_refused(mode):
    bits = 2 if mode is RoundingMode.STOCHASTIC else 0
    with pytest.raises(UsageError, match="Rounding mode must be one of nearest-even, nearest-away, up, down, "
                                         f"toward-zero to be proved, which are those .*, not '{mode.value}'"):
        specify(Multiplication(a=SMALL, b=SMALL, result=SMALL, rounding=mode, random_bits=bits))


@pytest.mark.parametrize("fmt", [parse("e8m0"), parse("float4_e3m0fn")], ids=lambda fmt: fmt.name)
def test_formats_that_smt_lib_has_not_are_refused(fmt):
    with pytest.raises(UsageError, match="Format must have radix 2 and a fraction to be proved, .* not be "):
        specify(Conversion(a=fmt, result=SMALL))


@pytest.mark.parametrize(("model", "message"), [
    (Conversion(a=parse("posit8_1"), result=SMALL), "Formats must be all floating point, or all fixed point, to be "
                                                    "proved, not have posit<8,1>"),
    (Conversion(a=parse("int4"), result=SMALL), "to be proved, not mix families in Conversion"),
    (Dot(a=SMALL, b=SMALL, result=SMALL, lanes=2), "to be proved, not mix families in Dot"),
    (Dot(a=parse("int4"), b=parse("int4"), result=None, lanes=2), "Operation must be one of multiply, .* not Dot "
                                                                  "without a result format; without --prove"),
    (Addition(a=parse("bfloat16"), b=parse("bfloat16"), result=SMALL), "Exact result must have at most 160 bits to be "
                                                                       "rounded in a proof, not the 26. of bfloat16"),
    (Multiplication(a=SMALL, b=SMALL, result=TINY["unsigned"], overflow=OverflowPolicy.INFINITY),
     "Overflow policy must be saturate for an unsigned result of signed operands to be proved, not 'infinity'"),
])
def test_what_has_no_terms_is_refused(model, message):
    with pytest.raises(UsageError, match=message):
        specify(model)


@pytest.mark.parametrize("model", [
    Addition(a=SMALL, b=SMALL, result=TINY["p3109"]),
    pytest.param(Multiplication(a=TINY["ieee"], b=SMALL, result=SMALL), marks=pytest.mark.slow),
    pytest.param(FusedMultiplyAdd(a=SMALL, b=SMALL, c=TINY["one exponent bit"], result=SMALL), marks=pytest.mark.slow),
], ids=lambda model: type(model).__name__)
def test_every_input_has_a_result(model):
    # What is asserted beside the difference must leave no input out: from a contradiction everything would follow.
    import z3

    specification = specify(model)
    solver = z3.Solver()
    solver.from_string(script(specification.definitions, declared=list(specification.inputs.values())))
    variables = [z3.BitVec(term.head, term.sort.width) for term in specification.inputs.values()]
    generator = np.random.default_rng(1)
    widths = [term.sort.width for term in specification.inputs.values()]
    index = np.arange(1 << sum(widths)) if sum(widths) <= 9 else generator.integers(0, 1 << sum(widths), 300)
    for number in index.tolist():
        given, place = [], 0
        for name, width in zip(variables, widths, strict=True):
            given.append(name == number >> place & (1 << width) - 1)
            place += width
        assert solver.check(*given) == z3.sat, number
