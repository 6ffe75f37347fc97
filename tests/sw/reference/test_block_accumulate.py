"""Exact accumulation over blocks: arrays against the definition, that against rationals, and the rules by name."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, Special, parse, parse_block
from sw.reference.accumulation import AccumulatorRun
from sw.reference.block import FLOAT32
from sw.reference.block_accumulate import BlockMultiplyAccumulate
from sw.reference.model import Stream
from tests.support.transfers import random_transfers, scalar, vectorised

MXFP4 = parse_block("mxfp4:block_size=4")


def make(a, b=None, result="float32", **parameters):
    """Return an accumulator of formats by their names."""
    return BlockMultiplyAccumulate(a=parse_block(a), b=parse_block(b or a), result=result and parse(result),
                                   **{"terms": 8, **parameters})


def transfers_of(model, count, seed, spread=8):
    """Random transfers; most scales lie around 1, so that sums have terms of about the same size."""
    rng = np.random.default_rng(seed)
    transfers = random_transfers(model, count, rng)
    for name, fmt in (("a_scale", model.a.scale), ("b_scale", model.b.scale)):
        if fmt.exponent_bits > 5:
            near = int(fmt.bias) + rng.integers(-spread, spread + 1, count) << fmt.fraction_bits
            transfers[name] = np.where(rng.random(count) < 0.8, np.minimum(near, (1 << fmt.width) - 1),
                                       transfers[name]).astype(np.uint64)
    return transfers


@pytest.mark.parametrize("model", [
    make("mxfp4:block_size=4"), make("mxint8:block_size=3", result="bfloat16"), make("nvfp4:block_size=2"),
    make("mxfp8_e5m2:block_size=2", "mxfp6_e3m2:block_size=2", "e5m2", overflow=OverflowPolicy.INFINITY),
    make("mxfp8_e4m3:block_size=2", result=None), make("mxfp4:block_size=2,scale=e3m0", result=None, terms=2),
    make("nvfp4:block_size=3", "mxfp4:block_size=3", "fixed<12,4>", overflow=OverflowPolicy.WRAP),
    make("mls<2,4>:block_size=2", result="posit<16,2>", rounding=RoundingMode.DOWN),
    make("mxfp6_e2m3:block_size=1", result="float16", rounding=RoundingMode.STOCHASTIC, random_bits=5),
    make("mxfp8_e5m2:block_size=2,scale=e4m0", result=None, accumulator_width=150),
], ids=lambda model: f"{model.a.name}-{model.b.name}-{model.result.name if model.result else 'register'}")
def test_arrays_agree_with_the_definition(model):
    assert isinstance(model, Stream)
    transfers = transfers_of(model, 60, seed=1)
    got = vectorised(model, transfers, sequences=6)
    for sequence in range(6):
        assert got[sequence] == scalar(model, transfers, sequence), f"sequence {sequence}"
    assert sum(map(len, got)) > 30


@pytest.mark.parametrize("name", ["mxfp4:block_size=4", "mxint8:block_size=8", "nvfp4:block_size=4"])
def test_a_sum_over_blocks_is_exact_and_rounded_once(name):
    fmt, count = parse_block(name), 40
    model = make(name, terms=count)
    raw = make(name, result=None, terms=count)
    for seed in range(4):
        transfers = transfers_of(model, count, seed, spread=30)
        for name in ("a_scale", "b_scale"):
            transfers[name] = np.minimum(transfers[name], 126)  # no NaN
        pairs = [{field: codes[row].tolist() for field, codes in transfers.items()} | {
            "first": row == 0, "last": row == count - 1} for row in range(count)]
        want = Fraction(0)
        for pair in pairs:
            a, b = (fmt.decode_block(pair[f"{operand}_scale"], pair[operand]) for operand in "ab")
            want += sum(x * y for x, y in zip(a, b, strict=True) if Special.NEGATIVE_ZERO not in (x, y))
        assert model.results(pairs) == model.results([
            pair | {"first": row == 0, "last": row == count - 1} for row, pair in enumerate(reversed(pairs))])
        assert model.results(pairs) == [FLOAT32.encode(want)]
        code, = raw.results(pairs)
        assert (code - (code >> raw.width - 1 << raw.width)) * Fraction(2) ** raw.accumulator_exponent == want


def test_blocks_are_not_rounded_one_by_one():
    one, three, half = (MXFP4.element.encode(value) for value in (1, 3, Fraction(1, 2)))
    model = BlockMultiplyAccumulate(a=MXFP4, b=MXFP4, result=parse("e4m3"), terms=64)
    zero = [0] * 3
    big = {"a": [three, *zero], "b": [three, *zero], "a_scale": 129, "b_scale": 127, "first": 1, "last": 0}  # 36
    small = {"a": [one, *zero], "b": [half, *zero], "a_scale": 127, "b_scale": 127, "first": 0, "last": 0}  # 1/2
    transfers = [big, *[small] * 15, small | {"last": 1}]
    assert [model.result.decode(code) for code in model.results(transfers)] == [44]
    assert model.result.decode(model.result.encode(Fraction(73, 2))) == 36  # as every single step would have it


def test_every_sum_of_as_many_blocks_fits_the_register():
    for name, low, high in (("mxint8:block_size=4,scale=e2m0", 128, 127), ("mxfp4:block_size=3,scale=e2m1", 15, 7)):
        model = make(name, result=None, terms=5)
        top = model.a.scale.encode(model.a.scale.max_finite)
        for a, b in itertools.product((low, high), repeat=2):
            pair = {"a": [a] * model.a.block_size, "b": [b] * model.a.block_size, "a_scale": top, "b_scale": top,
                    "first": 0, "last": 1}
            sums = model.results([pair] * 5)
            single = model.dot.exact(pair["a"], pair["b"], top, top) / Fraction(2) ** model.accumulator_exponent
            assert sums == [int(count * single) % (1 << model.width) for count in range(1, 6)]
            assert (sums[-1] >> model.width - 1 == 1) == (single < 0)
            assert a != b or 5 * single >= 1 << model.width - 2  # one bit less would not hold it


def test_width_follows_from_the_fields():
    model = make("mxfp4:block_size=8", terms=256)
    # 508 binades of two E8M0 scales; products of E2M1 are at most 144 quarters, and there are 2048 of them.
    assert model.width == 508 + (144 * 2048).bit_length() + 1 == 528
    assert model.accumulator_exponent == -2 * 127 - 2
    assert make("mxfp4:block_size=8,scale=e5m0", terms=256).width < 90


NAN, PLUS, MINUS, ONE, ZERO = 0x7E, 0x7C, 0xFC, 0x3C, 0x00  # of float8_e5m2


@pytest.mark.parametrize(("blocks", "want"), [
    ([((NAN, 127), ONE), ((ONE, 127), ONE)], Special.NAN), ([((ONE, 255), ONE), ((ONE, 127), ONE)], Special.NAN),
    ([((PLUS, 127), ONE), ((ONE, 127), ONE)], Special.POSITIVE_INFINITY),
    ([((MINUS, 3), ONE), ((ONE, 127), ONE)], Special.NEGATIVE_INFINITY),
    ([((PLUS, 127), ONE), ((MINUS, 127), ONE)], Special.NAN), ([((PLUS, 127), ZERO)], Special.NAN),
    ([((ONE, 127), ONE), ((0xBC, 127), ONE)], Fraction(0)), ([((0x80, 127), ONE)], Fraction(0)),
])
@pytest.mark.parametrize("rounding", [RoundingMode.NEAREST_EVEN, RoundingMode.DOWN])
def test_values_that_are_no_numbers(blocks, want, rounding):
    model = make("mxfp8_e5m2:block_size=2", result="e5m2", rounding=rounding, overflow=OverflowPolicy.INFINITY)
    raw = make("mxfp8_e5m2:block_size=2", result=None)
    for order in itertools.permutations(blocks):
        transfers = [{"a": [a, ZERO], "b": [b, ZERO], "a_scale": scale, "b_scale": 127, "first": not index,
                      "last": index == len(blocks) - 1} for index, ((a, scale), b) in enumerate(order)]
        before = {"a": [NAN, ONE], "b": [ONE, ONE], "a_scale": 127, "b_scale": 127, "first": 0, "last": 0}
        code, = model.results([before, *transfers])  # what came before the first pair of blocks is forgotten
        assert model.result.decode(code) == want
        register, = raw.results(transfers)
        assert register == (1 << raw.width - 1 if isinstance(want, Special) else 0)


def test_ports():
    model = make("nvfp4:block_size=4", "mxfp4:block_size=4", "bfloat16", rounding=RoundingMode.STOCHASTIC,
                 random_bits=5)
    assert list(model.inputs) == ["a", "b", "a_scale", "b_scale", "first", "last", "random"]
    assert [port.width for port in model.inputs.values()] == [4, 4, 8, 8, 1, 1, 5]
    assert model.inputs["b"].lanes == 4
    assert model.outputs["o"].format == parse("bfloat16")
    raw = make("nvfp4:block_size=4", result=None, accumulator_width=99)
    assert (raw.width, raw.outputs["o"].width) == (99, 99)
    assert isinstance(raw.start(2), AccumulatorRun)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"a": "mxfp4"}, TypeError, "Format of operand a must be a BlockFormat, .* not 'mxfp4'"),
    ({"result": 8}, TypeError, "Result format must be a scalar one, .* not 8"),
    ({"b": parse_block("mxfp4:block_size=2")}, ValueError, "Block sizes must be equal, not 4 of .* and 2 of"),
    ({"terms": 0}, ValueError, "Term count must be at least 1 product, not 0"),
    ({"terms": 2.0}, TypeError, r"Term count must be an integer, not 2\.0"),
    ({"accumulator_width": 500}, ValueError,
     "Accumulator width must be at least 523 bits for 16 dot products of mxfp4:block_size=4 and .*, not 500"),
    ({"accumulator_width": "600"}, TypeError, "Accumulator width must be an integer, not '600'"),
    ({"accumulator_width": 5000}, ValueError, "Exact sum must take at most 4096 bits, not 5000"),
    ({"terms": 1 << 3600}, ValueError, "Exact sum must take at most 4096 bits, not 4119"),
    ({"result": None, "rounding": RoundingMode.STOCHASTIC, "random_bits": 3}, ValueError,
     "Rounding mode must not be stochastic without a result format, as nothing is rounded"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float32"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        BlockMultiplyAccumulate(**{"a": MXFP4, "b": MXFP4, "terms": 16, **parameters})
