"""Fixed-point terms beside the exact reference, on every input: no solver has a part in this."""

import numpy as np
import pytest

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.reference import Addition, Conversion, FusedMultiplyAdd, Multiplication
from sw.reference.dot import Dot
from synth.prove.evaluate import evaluate
from synth.prove.specify import specify

WIDE, NARROW, UNSIGNED = parse("fixed<6,2>"), parse("fixed<3,1>"), parse("ufixed<4,3>")
RANGE = FixedPointFormat(width=3, narrow_range=True)


def every_code(ports):
    """Return every combination of codes, as the reference takes them and as the terms do."""
    total = sum(port.bits for port in ports.values())
    index = np.arange(1 << total, dtype=np.uint64)
    codes, whole, place = {}, {}, 0
    for name, port in ports.items():
        whole[f"in_{name}"] = index >> np.uint64(place) & np.uint64((1 << port.bits) - 1)
        lanes = [index >> np.uint64(place + lane * port.width) & np.uint64((1 << port.width) - 1)
                 for lane in range(port.lanes or 1)]
        codes[name] = lanes[0] if port.lanes is None else np.stack(lanes, axis=1)
        place += port.bits
    return codes, whole


def assert_same(model):
    specification = specify(model)
    codes, whole = every_code(model.inputs)
    assert not specification.definitions
    got, = evaluate([specification.outputs["o"]], whole)
    want = model.evaluate(codes)["o"].astype(np.uint64)
    wrong = np.flatnonzero(got != want)
    assert not len(wrong), [({name: array[wrong[0]] for name, array in codes.items()}, got[wrong[0]], want[wrong[0]])]


def applies(fmt, overflow):
    try:
        fmt.check_overflow(overflow)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("rounding", RoundingMode)
@pytest.mark.parametrize("result", [NARROW, UNSIGNED, RANGE, parse("int2"), parse("fixed<12,4>"), parse("fixed<4,9>")],
                         ids=lambda fmt: fmt.name)
def test_conversions(result, rounding):
    for overflow in OverflowPolicy:
        if applies(result, overflow):
            for random_bits in (1, 4, 6) if rounding is RoundingMode.STOCHASTIC else (0,):
                assert_same(Conversion(a=WIDE, result=result, rounding=rounding, overflow=overflow,
                                       random_bits=random_bits))


@pytest.mark.parametrize("overflow", [OverflowPolicy.SATURATE, OverflowPolicy.WRAP], ids=lambda policy: policy.value)
@pytest.mark.parametrize(("a", "b"), [(WIDE, NARROW), (UNSIGNED, NARROW), (UNSIGNED, UNSIGNED), (NARROW, RANGE)],
                         ids=lambda fmt: fmt.name)
def test_arithmetic(a, b, overflow):
    for result in (NARROW, UNSIGNED):
        options = {"result": result, "overflow": overflow, "rounding": RoundingMode.NEAREST_AWAY}
        assert_same(Multiplication(a=a, b=b, **options))
        assert_same(Addition(a=a, b=b, **options))
        assert_same(Addition(a=a, b=b, subtract=True, **options))
        assert_same(FusedMultiplyAdd(a=a, b=b, c=WIDE, **options))


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_dot_products(lanes):
    assert_same(Dot(a=NARROW, b=parse("ufixed<2,0>"), result=parse("fixed<5,1>"), lanes=lanes))


def test_results_wider_than_a_word():
    model = Multiplication(a=parse("int40"), b=parse("int40"), result=parse("int64"))
    generator = np.random.default_rng(1)
    codes = {name: generator.integers(0, 1 << 40, 1000, dtype=np.uint64) for name in "ab"}
    got, = evaluate([specify(model).outputs["o"]], {f"in_{name}": array for name, array in codes.items()})
    assert (got.astype(object) == model.evaluate(codes)["o"].astype(object)).all()
