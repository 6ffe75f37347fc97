import math
from fractions import Fraction

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, Special, parse
from sw.reference.dot import Dot, DotAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.model import Function, Port, Stream
from tests.support.transfers import random_transfers, scalar, vectorised

E4M3 = parse("float8_e4m3fn")


def make(a, b=None, result=None, lanes=4, **parameters):
    """Return a dot product of formats by their names."""
    a, b, result = (None if name is None else parse(name) for name in (a, b or a, result))
    return Dot(a=a, b=b, result=result, lanes=lanes, **parameters)


def make_accumulate(a, accumulator, lanes=2, **parameters):
    """Return a rounded accumulator of formats by their names."""
    return DotAccumulate(a=parse(a), b=parse(a), accumulator=parse(accumulator), lanes=lanes, **parameters)


@pytest.mark.parametrize("model", [
    make("float8_e4m3fn"), make("float8_e4m3fn", result="float16"), make("int8", lanes=8),
    make("float8_e5m2", "float8_e4m3fn", "float8_e5m2", overflow=OverflowPolicy.INFINITY),
    make("posit<8,1>", result="posit<8,1>", lanes=3), make("posit<6,2>", "int4"),
    make("float4_e2m1fn", result="float6_e2m3fn", rounding=RoundingMode.STOCHASTIC, random_bits=4),
    make("bfloat16", lanes=2), make("float16", result="bfloat16", rounding=RoundingMode.TO_ODD, lanes=1),
    make("float8_e5m2", "fixed<6,3>", "fixed<10,2>", lanes=5, overflow=OverflowPolicy.WRAP),
], ids=lambda model: "-".join(fmt.name if fmt else "exact" for fmt in (model.a, model.b, model.result)))
def test_arrays_agree_with_the_definition(model):
    assert isinstance(model, Function)
    rng = np.random.default_rng(3)
    inputs = {name: rng.integers(0, port.codes, (200, model.lanes) if port.lanes else 200).astype(np.uint64)
              for name, port in model.inputs.items()}
    got = model.evaluate(inputs)["o"].tolist()
    columns = {name: codes.tolist() for name, codes in inputs.items()}
    want = [model(*(column[row] for column in columns.values())) for row in range(200)]
    assert got == want


def test_sum_is_that_of_fsum():
    model, rng = make("float6_e3m2fn", "float6_e2m3fn", lanes=16), np.random.default_rng(4)
    inputs = {name: rng.integers(0, 64, (2000, 16)).astype(np.uint64) for name in "ab"}
    values = {name: np.array([0.0 if fmt.decode(code) is Special.NEGATIVE_ZERO else float(fmt.decode(code))
                              for code in range(64)])[inputs[name].astype(int)]
              for name, fmt in (("a", model.a), ("b", model.b))}
    want = [math.fsum(products) for products in (values["a"] * values["b"]).tolist()]
    codes, width = model.evaluate(inputs)["o"].astype(np.int64), model.sum_grid.width
    got = (codes - (codes >> width - 1 << width)) * 2.0 ** model.sum_exponent
    assert got.tolist() == want


@pytest.mark.parametrize("model", [
    make_accumulate("float8_e4m3fn", "float16"), make_accumulate("float8_e5m2", "bfloat16", preload=True),
    make_accumulate("float4_e2m1fn", "float8_e4m3fn", rounding=RoundingMode.STOCHASTIC, random_bits=6, lanes=4),
    make_accumulate("int8", "int16", preload=True, overflow=OverflowPolicy.WRAP),
    make_accumulate("posit<8,1>", "posit<8,1>", lanes=1), make_accumulate("float6_e3m2fn", "dlfloat16"),
    make_accumulate("float8_e5m2", "float8_e5m2", overflow=OverflowPolicy.INFINITY, rounding=RoundingMode.DOWN),
], ids=lambda model: f"{model.a.name}-{model.accumulator.name}")
def test_accumulator_arrays_agree_with_the_definition(model):
    assert isinstance(model, Stream)
    transfers = random_transfers(model, 60, np.random.default_rng(5))
    got = vectorised(model, transfers, sequences=6)
    for sequence in range(6):
        assert got[sequence] == scalar(model, transfers, sequence), f"sequence {sequence}"
    assert sum(map(len, got)) > 30


def test_rounded_accumulator_swamps_where_an_exact_one_does_not():
    # One more quarter at a time does not move 4 in a format whose next value is 4.5, ties going to even.
    one, quarter = E4M3.encode(1), E4M3.encode(Fraction(1, 4))
    transfers = [{"a": [quarter], "b": [one], "first": not index, "last": 1} for index in range(40)]
    rounded = DotAccumulate(a=E4M3, b=E4M3, accumulator=E4M3, lanes=1).results(transfers)
    assert [E4M3.decode(code) for code in rounded] == [min(Fraction(count, 4), 4) for count in range(1, 41)]
    exact = ExactMultiplyAccumulate(a=E4M3, b=E4M3, result=E4M3, terms=40, lanes=1).results(transfers)
    assert E4M3.decode(exact[-1]) == 10
    # Four quarters at once do move it.
    four = [{"a": [quarter] * 4, "b": [one] * 4, "first": not index, "last": 1} for index in range(10)]
    by_fours = DotAccumulate(a=E4M3, b=E4M3, accumulator=E4M3, lanes=4).results(four)
    assert [E4M3.decode(code) for code in by_fours] == list(range(1, 11))


def test_ports():
    model = make("float8_e4m3fn", "int4", "bfloat16", lanes=3, rounding=RoundingMode.STOCHASTIC, random_bits=2)
    assert list(model.inputs) == ["a", "b", "random"]
    assert model.inputs["b"] == Port(width=4, format=parse("int4"), lanes=3)
    assert make("int8", lanes=8).outputs == {"o": Port(width=19)}
    assert list(make_accumulate("int8", "int16", preload=True).inputs) == ["a", "b", "c", "first", "last"]


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"a": "e4m3"}, TypeError, "Format a must be a scalar format, .* not 'e4m3'"),
    ({"result": 8}, TypeError, "Result format must be a scalar format, .* not 8"),
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and 65536, not 0"),
    ({"lanes": 1.0}, TypeError, r"Lane count must be an integer, not 1\.0"),
    ({"result": None, "rounding": RoundingMode.STOCHASTIC, "random_bits": 1}, ValueError,
     "Rounding mode must not be stochastic without a result format, as nothing is rounded"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        Dot(**{"a": E4M3, "b": E4M3, "result": E4M3, "lanes": 2, **parameters})


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"b": 1}, TypeError, "Format b must be a scalar format, .* not 1"),
    ({"accumulator": None}, TypeError, "Accumulator format must be a scalar format, .* not None"),
    ({"accumulator": parse("float8_e8m0fnu")}, ValueError,
     "Accumulator format must have a zero, from which a sum starts, not float8_e8m0fnu"),
    ({"lanes": 1 << 17}, ValueError, "Lane count must be between 1 and 65536, not 131072"),
    ({"preload": 1}, TypeError, "Preload must be True or False, not 1"),
    ({"random_bits": 1}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 1"),
])
def test_wrong_parameters_of_accumulators(parameters, error, message):
    with pytest.raises(error, match=message):
        DotAccumulate(**{"a": E4M3, "b": E4M3, "accumulator": E4M3, "lanes": 2, **parameters})


def test_wrong_codes():
    model = make("int4", lanes=2)
    with pytest.raises(ValueError, match=r"Vector b must have 2 codes, not 3"):
        model([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="Code must be between 0 and 15 for int4, not 16"):
        model([1, 16], [1, 2])
    with pytest.raises(ValueError, match=r"Input a must be of shape \(1, 2\), not \(1, 3\)"):
        model.evaluate({"a": np.zeros((1, 3), np.uint64), "b": np.zeros((1, 2), np.uint64)})
