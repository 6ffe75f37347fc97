import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, Special, parse
from sw.reference.accumulation import AccumulatorRun
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.model import Port, Stream
from tests.support.transfers import random_transfers, scalar, vectorised

E4M3 = parse("float8_e4m3fn")


def make(a, b=None, result=None, **parameters):
    """Return an accumulator of formats by their names."""
    a, b, result, c = (None if name is None else parse(name) for name in (a, b or a, result, parameters.pop("c", None)))
    return ExactMultiplyAccumulate(a=a, b=b, result=result, c=c, **{"terms": 64, **parameters})


@pytest.mark.parametrize("model", [
    make("float8_e4m3fn"), make("float8_e4m3fn", result="float8_e4m3fn"),
    make("float8_e5m2", result="float8_e5m2", overflow=OverflowPolicy.INFINITY, c="float16"),
    make("float8_e5m2", "float6_e2m3fn", "int8", overflow=OverflowPolicy.WRAP, rounding=RoundingMode.NEAREST_ZERO),
    make("int8", result="fixed<12,-3>", rounding=RoundingMode.DOWN, terms=4), make("uint8", "int4", terms=2),
    make("posit<8,1>", result="posit<8,1>"), make("posit<8,2>", "posit<6,0>", c="posit<8,2>"),
    make("bfloat16", result="bfloat16"), make("bfloat16", terms=2),
    make("float4_e2m1fn", result="float6_e3m2fn", lanes=4, c="fixed<5,3>", rounding=RoundingMode.STOCHASTIC,
         random_bits=3),
    make("dlfloat8", "float8_e8m0fnu", "dlfloat16", lanes=2), make("float6_e3m2fn", accumulator_width=70, lanes=3),
    make("radix4_fp4_odd", "int4", "radix4_fp4_even"), make("float8_e4m3fnuz", result="float8_e4m3fnuz"),
], ids=lambda model: "-".join(fmt.name if fmt else "raw" for fmt in (model.a, model.b, model.result)))
def test_arrays_agree_with_the_definition(model):
    assert isinstance(model, Stream)
    transfers = random_transfers(model, 60, np.random.default_rng(1))
    got = vectorised(model, transfers, sequences=6)
    for sequence in range(6):
        assert got[sequence] == scalar(model, transfers, sequence), f"sequence {sequence}"
    assert sum(map(len, got)) > 30


def test_a_sum_is_exact_whatever_the_order():
    fmt = parse("minifloat_e4m3")
    model = ExactMultiplyAccumulate(a=fmt, b=fmt, result=None, terms=300)
    rng = np.random.default_rng(2)
    for _ in range(3):
        codes = rng.integers(0, 256, (300, 2)).tolist()
        products = [float(fmt.decode(a)) * float(fmt.decode(b)) if Special.NEGATIVE_ZERO not in
                    (fmt.decode(a), fmt.decode(b)) else 0.0 for a, b in codes]
        want = math.fsum(products)  # every product is exact in float64, and so is any sum of 300
        for order in (codes, sorted(codes), codes[::-1]):
            transfers = [{"a": a, "b": b, "first": not index, "last": index == 299}
                         for index, (a, b) in enumerate(order)]
            code, = model.results(transfers)
            integer = code - (code >> model.width - 1 << model.width)
            assert float(integer * Fraction(2) ** model.accumulator_exponent) == want


def test_rounds_once_and_not_at_every_step():
    # 448 takes the place of the largest value; 1/16 each is far below half of its last place, but there are many.
    model = make("float8_e4m3fn", result="float8_e4m3fn", terms=1024)
    big, one, small = E4M3.encode(256), E4M3.encode(1), E4M3.encode(Fraction(1, 16))
    transfers = [{"a": big, "b": one, "first": 1, "last": 0}]
    transfers += [{"a": small, "b": one, "first": 0, "last": 0}] * 511
    transfers += [{"a": small, "b": one, "first": 0, "last": 1}]
    assert [E4M3.decode(code) for code in model.results(transfers)] == [256 + 32]


def test_posit_quire_wraps_where_its_width_says():
    fmt = parse("posit<6,1>")
    maxpos = fmt.max_code
    narrow = ExactMultiplyAccumulate(a=fmt, b=fmt, result=None, terms=4)
    assert narrow.width == 2 ** (1 + 2) * (6 - 2) + 2 + 2
    # Standard for Posit Arithmetic (2022): the quire of posits with es = 2 counts in units of minpos squared.
    assert narrow.accumulator_exponent == -2 * fmt.max_exponent
    sums = narrow.results([{"a": maxpos, "b": maxpos, "first": 0, "last": 1}] * 9)
    step = 1 << 4 * fmt.max_exponent
    assert sums == [count * step % (1 << narrow.width) for count in range(1, 10)]
    assert sums[3] < 1 << narrow.width - 1 <= sums[7]


NAN, PLUS, MINUS, ONE, ZERO = 0x7E, 0x7C, 0xFC, 0x3C, 0x00  # of float8_e5m2


@pytest.mark.parametrize(("pairs", "want"), [
    ([(ONE, ONE), (NAN, ONE)], Special.NAN), ([(NAN, ZERO), (ONE, ONE)], Special.NAN),
    ([(PLUS, ONE), (ONE, ONE)], Special.POSITIVE_INFINITY), ([(MINUS, ONE), (ONE, ONE)], Special.NEGATIVE_INFINITY),
    ([(PLUS, MINUS), (ONE, ONE)], Special.NEGATIVE_INFINITY), ([(PLUS, ONE), (MINUS, ONE)], Special.NAN),
    ([(MINUS, ONE), (ONE, ONE), (PLUS, ONE)], Special.NAN), ([(PLUS, ZERO)], Special.NAN),
    ([(MINUS, ONE), (MINUS, PLUS)], Special.NEGATIVE_INFINITY), ([(ONE, ONE), (0xBC, ONE)], Fraction(0)),
    ([(0x80, ONE)], Fraction(0)),
])
@pytest.mark.parametrize("rounding", [RoundingMode.NEAREST_EVEN, RoundingMode.DOWN])
def test_values_that_are_no_numbers(pairs, want, rounding):
    fmt = parse("float8_e5m2")
    model = ExactMultiplyAccumulate(a=fmt, b=fmt, result=fmt, terms=4, rounding=rounding,
                                    overflow=OverflowPolicy.INFINITY)
    raw = ExactMultiplyAccumulate(a=fmt, b=fmt, result=None, terms=4)
    for order in itertools.permutations(pairs):
        transfers = [{"a": a, "b": b, "first": not index, "last": index == len(pairs) - 1}
                     for index, (a, b) in enumerate(order)]
        # What came before the first pair is forgotten.
        code, = model.results([{"a": NAN, "b": ONE, "first": 0, "last": 0}, *transfers])
        assert fmt.decode(code) == want
        register, = raw.results(transfers)
        assert register == (1 << raw.width - 1 if isinstance(want, Special) else 0)


def test_preload_is_taken_with_first_alone():
    int8 = parse("int8")
    model = ExactMultiplyAccumulate(a=int8, b=int8, c=int8, result=parse("int16"), terms=4)
    transfers = [{"a": 1, "b": 1, "c": 7, "first": first, "last": 1} for first in (0, 1, 0, 1)]
    assert model.results(transfers) == [1, 8, 9, 8]


def test_ports():
    model = make("float8_e4m3fn", "int4", "bfloat16", c="int8", lanes=3, random_bits=5,
                 rounding=RoundingMode.STOCHASTIC)
    assert list(model.inputs) == ["a", "b", "c", "first", "last", "random"]
    assert model.inputs["a"] == Port(width=8, format=E4M3, lanes=3)
    assert model.outputs == {"o": Port.of(parse("bfloat16"))}
    raw = make("float8_e4m3fn", terms=256)
    assert raw.outputs == {"o": Port(width=raw.width)}
    assert isinstance(raw.start(2), AccumulatorRun)
    assert make("int4", terms=3, accumulator_width=20).width == 20


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"a": "e4m3"}, TypeError, r"Format a must be a scalar format, as sw\.formats\.parse\('e4m3'\) gives, not 'e4m3'"),
    ({"b": None}, TypeError, "Format b must be a scalar format, .* not None"),
    ({"c": 3}, TypeError, "Preload format must be a scalar format, .* not 3"),
    ({"result": 8}, TypeError, "Result format must be a scalar format, .* not 8"),
    ({"terms": 0}, ValueError, "Term count must be at least 1 product, not 0"),
    ({"terms": True}, TypeError, "Term count must be an integer, not True"),
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and the 16 terms of a sum, not 0"),
    ({"lanes": 17}, ValueError, "Lane count must be between 1 and the 16 terms of a sum, not 17"),
    ({"lanes": "2"}, TypeError, "Lane count must be an integer, not '2'"),
    ({"accumulator_width": 40}, ValueError,
     "Accumulator width must be at least 41 bits for 16 products of float8_e4m3fn and float8_e4m3fn, not 40"),
    ({"accumulator_width": 40, "c": FixedPointFormat(width=8)}, ValueError,
     "must be at least 41 bits for 16 products of float8_e4m3fn and float8_e4m3fn onto int8, not 40"),
    ({"accumulator_width": 41.0}, TypeError, r"Accumulator width must be an integer, not 41\.0"),
    ({"accumulator_width": 5000}, ValueError, "Exact sum must take at most 4096 bits, not 5000"),
    ({"result": None, "rounding": RoundingMode.STOCHASTIC, "random_bits": 3}, ValueError,
     "Rounding mode must not be stochastic without a result format, as nothing is rounded"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        ExactMultiplyAccumulate(**{"a": E4M3, "b": E4M3, "result": E4M3, "terms": 16, **parameters})
