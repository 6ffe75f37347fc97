"""The fixed-point multiply-accumulate: array path against definition, widths by worst cases, casts by apytypes."""

import math
import re
from fractions import Fraction

import apytypes
import numpy as np
import pytest

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.reference.mac import MultiplyAccumulate
from tests.support.ap_fixed import APYTYPES_MODES, OVERFLOWS

INT8, INT4, UINT4 = parse("int8"), parse("int4"), parse("uint4")


def transfers_of(a, b, **others):
    count = len(a)
    fields = {"a": a, "b": b, "first": [1] + [0] * (count - 1), "last": [0] * (count - 1) + [1], **others}
    return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]


MODELS = {
    "int8": MultiplyAccumulate(a=INT8, b=INT8, result=INT8, terms=10),
    "preload": MultiplyAccumulate(a=parse("fixed<8,4>"), b=parse("ufixed<5,2>"), result=parse("fixed<10,3>"),
                                  c=parse("fixed<9,4>"), accumulator=parse("fixed<11,6>")),
    "unsigned": MultiplyAccumulate(a=UINT4, b=UINT4, result=parse("ufixed<6,-1>"), c=UINT4, terms=3,
                                   rounding=RoundingMode.NEAREST_AWAY, overflow=OverflowPolicy.SATURATE_ZERO),
    "wide": MultiplyAccumulate(a=parse("fixed<40,20>"), b=parse("fixed<30,10>"), result=parse("fixed<20,3>"),
                               accumulator=parse("fixed<64,30>"), overflow=OverflowPolicy.WRAP_SIGN_MAGNITUDE),
    "wraps often": MultiplyAccumulate(a=INT8, b=INT8, result=parse("int6"), accumulator=parse("int5")),
    "stochastic": MultiplyAccumulate(a=INT4, b=UINT4, result=parse("fixed<6,-3>"), terms=9,
                                     rounding=RoundingMode.STOCHASTIC, random_bits=5),
    "narrow": MultiplyAccumulate(a=parse("int4:narrow_range=true"), b=INT4, result=parse("int9"), terms=7),
}


@pytest.mark.parametrize("name", MODELS)
def test_many_sequences_at_once_give_what_the_definition_gives(name):
    model, rng = MODELS[name], np.random.default_rng(3)
    sequences, run = 24, MODELS[name].start(24)
    results, transfers = [[] for _ in range(sequences)], [[] for _ in range(sequences)]
    for step in range(60):
        inputs = {port: np.array([int.from_bytes(rng.bytes(8), "little") % made.codes for _ in range(sequences)],
                                 dtype=np.uint64) for port, made in model.inputs.items()}
        accepted = rng.random(sequences) < 0.8
        for row in np.flatnonzero(accepted):
            transfers[row].append({port: int(codes[row]) for port, codes in inputs.items()})
        for produced, outputs in run.accept(inputs, accepted):
            for row in np.flatnonzero(produced):
                results[row].append(int(outputs["o"][row]))
        if step == 30:
            which = np.arange(sequences) % 3 == 0
            want = [model.results(taken) for taken in transfers]
            assert results == want
            run.reset(which)
            for row in np.flatnonzero(which):
                results[row], transfers[row] = [], []
    assert results == [model.results(taken) for taken in transfers]


def test_a_sum_that_leaves_the_register_and_comes_back_is_right():
    model = MultiplyAccumulate(a=INT8, b=INT8, result=INT8, accumulator=INT8)
    a, b = [100, 100, 156, 156, 5], [2, 2, 2, 2, 3]  # 200 + 200 - 200 - 200 + 15
    assert model.results(transfers_of(a, b)) == [15]


def test_framing():
    model = MultiplyAccumulate(a=INT8, b=INT8, result=INT8, c=INT8, terms=8)
    transfers = [
        {"a": 2, "b": 3, "c": 9, "first": 0, "last": 1},   # joins the zero of a reset: 6
        {"a": 1, "b": 1, "c": 10, "first": 1, "last": 1},  # starts from c: 11
        {"a": 1, "b": 1, "c": 50, "first": 0, "last": 1},  # joins, whatever stands in c: 12
        {"a": 7, "b": 7, "c": 0, "first": 1, "last": 0},   # dropped by the next first
        {"a": 255, "b": 1, "c": 4, "first": 1, "last": 1},
    ]
    assert model.results(transfers) == [6, 11, 12, 3]


@pytest.mark.parametrize("theirs", [name for name, mode in APYTYPES_MODES.items()
                                    if mode not in (RoundingMode.UP, RoundingMode.TO_ODD)])
@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_the_cast_is_that_of_ap_fixed(theirs, overflow):
    """Dot products of ap_fixed<6,3> and ap_fixed<5,2>, assigned to ap_fixed<6,4>: summed and rounded by apytypes."""
    a, b, result = parse("fixed<6,3>"), parse("fixed<5,3>"), parse("fixed<6,2>")
    model = MultiplyAccumulate(a=a, b=b, result=result, terms=5, rounding=APYTYPES_MODES[theirs], overflow=overflow)
    rng = np.random.default_rng(11)
    for _ in range(60):
        x, y = rng.integers(0, 64, 5).tolist(), rng.integers(0, 32, 5).tolist()
        total = sum((apytypes.APyFixed(p, int_bits=3, frac_bits=3) * apytypes.APyFixed(q, int_bits=2, frac_bits=3)
                     for p, q in zip(x, y, strict=True)), start=apytypes.APyFixed(0, int_bits=3, frac_bits=3))
        rounded = total.cast(int_bits=30, frac_bits=2, quantization=apytypes.QuantizationMode[theirs],
                             overflow=apytypes.OverflowMode.WRAP).to_bits()
        want = OVERFLOWS[overflow](rounded - (rounded >> 31 << 32), -32, 31, 6) % 64
        assert model.results(transfers_of(x, y)) == [want], (x, y)


def fits(total, fmt):
    return fmt.min_finite <= total <= fmt.max_finite


@pytest.mark.parametrize(("a", "b", "c", "terms"), [
    (parse(a), parse(b), None if c is None else parse(c), terms)
    for a, b, c in [("int4", "int4", None), ("int4", "uint4", None), ("uint4", "uint4", None), ("uint3", "int5", None),
                    ("int8", "int8", None), ("fixed<4,2>", "int3", None), ("int4", "int4", "int6"),
                    ("uint4", "uint4", "uint4"), ("uint2", "uint2", "int9"), ("int1", "uint1", None)]
    for terms in (1, 2, 3, 4, 7, 8, 9, 256, 4608)])
def test_the_register_holds_the_worst_sum_and_one_bit_less_does_not(a, b, c, terms):
    model = MultiplyAccumulate(a=a, b=b, c=c, result=a, terms=terms)
    values_a, values_b = ([fmt.decode(code) for code in range(1 << fmt.width)] for fmt in (a, b))
    products = [x * y for x in values_a for y in values_b]
    starts = [Fraction(0)] if c is None else [c.decode(code) for code in range(1 << c.width)]
    high, low = max(starts) + terms * max(products), min(starts) + terms * min(products)
    fmt = model.accumulator
    assert fits(high, fmt)
    assert fits(low, fmt)
    assert fmt.fraction_bits == a.fraction_bits + b.fraction_bits
    if fmt.width > 1:
        less = FixedPointFormat(width=fmt.width - 1, fraction_bits=fmt.fraction_bits, signed=fmt.signed)
        assert not (fits(high, less) and fits(low, less)), f"{fmt.width} bits are more than needed"
        with pytest.raises(ValueError, match=f"Accumulator must have at least {fmt.width} bits for {terms} products"):
            MultiplyAccumulate(a=a, b=b, c=c, result=a, terms=terms, accumulator=less)
    assert MultiplyAccumulate(a=a, b=b, c=c, result=a, terms=terms, accumulator=fmt) == model


@pytest.mark.parametrize("width", [3, 5, 8])
@pytest.mark.parametrize("terms", [1, 2, 16, 100, 4608])
def test_the_published_integer_rule_is_up_to_two_bits_loose(width, terms):
    """``ra + rb + ceil(log2 n) + 1`` (arXiv 2311.12359) for full-range integers."""
    fmt = FixedPointFormat(width=width)
    published = 2 * width + math.ceil(math.log2(terms)) + 1
    assert 0 <= published - MultiplyAccumulate(a=fmt, b=fmt, result=fmt, terms=terms).accumulator.width <= 2


def test_48_bits_hold_131071_products_of_16_bit_integers():
    """The register of a DSP48 block."""
    int16, int48 = parse("int16"), parse("int48")
    MultiplyAccumulate(a=int16, b=int16, result=int16, accumulator=int48, terms=(1 << 17) - 1)
    with pytest.raises(ValueError, match="Accumulator must have at least 49 bits for 131072 products of int16"):
        MultiplyAccumulate(a=int16, b=int16, result=int16, accumulator=int48, terms=1 << 17)


def test_properties():
    model = MODELS["preload"]
    assert list(model.inputs) == ["a", "b", "c", "first", "last"]
    assert list(MODELS["stochastic"].inputs) == ["a", "b", "first", "last", "random"]
    assert (model.outputs["o"].format, model.is_signed) == (model.result, True)
    assert not MODELS["unsigned"].is_signed
    # The code that a narrow range leaves out may still come in: (-8) * (-8).
    assert MODELS["narrow"].accumulator.width == 10


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": parse("e4m3")}, TypeError, "Format a must be a FixedPointFormat, not FloatingPointFormat("),
    ({"c": "int8"}, TypeError,
     "Preload format must be a FixedPointFormat, not 'int8'; ExactMultiplyAccumulate takes any format"),
    ({"accumulator": 32}, TypeError, "Accumulator must be a FixedPointFormat, not 32"),
    ({"terms": None}, ValueError, "Term count must be given where there is no accumulator, not None"),
    ({"terms": 0}, ValueError, "Term count must be at least 1 product, not 0"),
    ({"terms": 2.0}, TypeError, "Term count must be an integer, not 2.0"),
    ({"terms": None, "accumulator": parse("fixed<20,1>")}, ValueError,
     "Accumulator must have the 0 fraction bits of the products, not 1"),
    ({"accumulator": parse("uint20")}, ValueError,
     "Accumulator must be signed, as the sums are, and of full range, not uint20"),
    ({"accumulator": parse("int20:narrow_range=true")}, ValueError, "of full range, not int20:narrow_range=true"),
    ({"a": UINT4, "b": UINT4, "accumulator": parse("int20")}, ValueError, "Accumulator must be unsigned, as the sums"),
    ({"accumulator": parse("int18")}, ValueError,
     "Accumulator must have at least 19 bits for 10 products of int8 and int8, not 18"),
    ({"accumulator": parse("int19"), "c": parse("int19")}, ValueError,
     "Accumulator must have at least 20 bits for 10 products of int8 and int8 onto int19, not 19"),
    ({"a": parse("int32"), "b": parse("int32")}, ValueError,
     "Accumulator must have at most 64 bits, not the 67 that 10 products of int32 and int32 take; "
     "ExactMultiplyAccumulate has wider ones"),
    ({"c": parse("fixed<8,1>")}, ValueError,
     "Preload format must have at most the 0 fraction bits of the products, not 1"),
    ({"overflow": OverflowPolicy.INFINITY}, ValueError, "Overflow policy must be saturate, saturate-symmetric, "),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        MultiplyAccumulate(**{"a": INT8, "b": INT8, "result": INT8, "terms": 10, **fields})
