"""Transfers that take a sum where something turns: that it comes there, and what is found on the way alone."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from sw.formats import FixedPointFormat, RoundingMode, parse
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.value_array import decode_array
from synth.verify import stream_transfers
from tests.support.product_sum import ProductSum

KINDS, WALKING, MORE_WALKING = 7, 5, (8, 10)
INT8 = FixedPointFormat(width=8)


def walking(transfers):
    group = np.arange(transfers.sequences) // 8
    return np.flatnonzero((group % KINDS == WALKING) | np.isin(group % (2 * KINDS), MORE_WALKING))


def sums(model, transfers, columns, register=0):
    """Return what a register holds after each transfer."""
    state, seen = model.zero(len(columns)), []
    for number in range(transfers.count):
        taken = {name: codes[number, columns] for name, codes in transfers.inputs.items()}
        anew = transfers.resets[number, columns] | taken["first"].astype(bool)
        state = tuple(np.where(anew, zero, held)
                      for zero, held in zip(model.zero(len(columns)), state, strict=True))
        state = model.accumulate(state, taken)
        seen.append(state[register])
    return np.array(seen)


def test_an_exact_sum_comes_to_lone_digits_which_nothing_else_brings_about():
    """A fault of a detector of overflow acts for a negative sum whose digits are zero, but for one of them."""
    model = MultiplyAccumulate(a=INT8, b=INT8, result=INT8, accumulator=FixedPointFormat(width=20))
    transfers = stream_transfers(model, seed=1, samples=256 * 56 * 2)
    columns = walking(transfers)
    others = np.setdiff1d(np.arange(transfers.sequences), columns)
    wanted = {-(1 << 19) + (1 << bit) for bit in range(19)} | {1 << bit for bit in range(8, 19)}
    walked, rest = (set(sums(model, transfers, chosen).ravel().tolist()) for chosen in (columns, others))
    assert len(wanted & walked) > len(wanted) / 2, sorted(wanted - walked)
    assert len((wanted & walked) - rest) > 5, "to which the others, seven times as many, do not come"


def test_walks_end_where_results_are_seen():
    model = MultiplyAccumulate(a=INT8, b=INT8, result=INT8, accumulator=FixedPointFormat(width=20))
    transfers = stream_transfers(model, seed=1, samples=256 * 56)
    columns = [column for column in walking(transfers).tolist() if column % 8 >= 2]  # those without resets
    held = sums(model, transfers, columns)
    assert (abs(held).max(axis=0) > 1 << 12).all(), "far off at some time"
    assert ((abs(held[64:]) < 128).sum(axis=0) > 3).mean() > 0.5, "and within the result's range again"
    assert transfers.inputs["last"][:, columns].all()
    assert not transfers.inputs["first"][:, columns].any()


@pytest.mark.parametrize("name", ["e4m3", "posit<8,1>", "e2m1"])
def test_an_exact_sum_of_floats_comes_to_ties_of_its_result(name):
    fmt = parse(name)
    model = ExactMultiplyAccumulate(a=fmt, b=fmt, result=fmt, terms=16)
    transfers = stream_transfers(model, seed=1, samples=256 * 56)
    held = set(sums(model, transfers, walking(transfers)).ravel().tolist())
    unit = Fraction(2) ** model.accumulator_exponent
    values = sorted({fmt.decode(code) for code in range(1 << fmt.width) if isinstance(fmt.decode(code), Fraction)})
    halfway = [(low + high) / 2 / unit for low, high in pairwise(values)]
    ties = {int(tie) for tie in halfway if tie.denominator == 1}
    assert len(ties & held) > len(ties) / 3, (len(ties & held), len(ties))


def test_a_rounded_sum_comes_back_to_zero_and_starts_anew():
    a, register = parse("e5m2"), parse("float16")
    model = ChunkedMultiplyAccumulate(a=a, b=a, accumulator=register, chunk=8)
    transfers = stream_transfers(model, seed=1, samples=256 * 56)
    columns = walking(transfers)
    partial = sums(model, transfers, columns).astype(np.uint64)
    values = decode_array(register, partial.ravel())
    assert 0 < (values.nan | values.infinite).mean() < 0.2
    assert values.zero.mean() > 0.03
    begun = transfers.inputs["first"][:, columns].mean()
    assert 0.005 < begun < 0.3, begun
    exponents = {int(code) >> register.fraction_bits & 31 for code in partial.ravel()}
    assert len(exponents) > 20, "sums of all magnitudes"


def test_some_walks_go_on_for_many_chunks_and_meet_infinities_and_nans():
    a, register = parse("e5m2"), parse("float16_e6m9")
    model = ChunkedMultiplyAccumulate(a=a, b=a, accumulator=register, chunk=64)
    transfers = stream_transfers(model, seed=1, samples=256 * 224)
    columns = walking(transfers)
    partial, total = (decode_array(register, sums(model, transfers, columns, number).astype(np.uint64).ravel())
                      for number in (0, 1))
    finite = ~(total.nan | total.infinite)
    assert (finite & ~total.zero).mean() > 0.1, "totals that are neither zero nor lost"
    assert (finite & ~total.zero & (partial.nan | partial.infinite)).any(), "and meet a special value"
    assert ((total.nan | total.infinite) & ~(partial.nan | partial.infinite | partial.zero)).any()


def test_walks_are_the_same_for_the_same_seed():
    model = MultiplyAccumulate(a=INT8, b=INT8, result=INT8, terms=4)
    one, again = (stream_transfers(model, seed=1, samples=256 * 56) for _ in range(2))
    assert all(np.array_equal(one.inputs[name], again.inputs[name]) for name in one.inputs)


@pytest.mark.parametrize("model", [
    ProductSum(), ExactMultiplyAccumulate(a=INT8, b=INT8, result=INT8, terms=8, lanes=2),
    ChunkedMultiplyAccumulate(a=INT8, b=INT8, accumulator=parse("float16"), chunk=4, random_bits=4, lfsr_bits=12,
                              rounding=RoundingMode.STOCHASTIC)],
    ids=["no accumulator of its own", "lanes", "a shift register"])
def test_where_sums_are_not_followed_any_transfers_are(model):
    transfers = stream_transfers(model, seed=1, samples=256 * 112)
    assert not transfers.inputs["last"][:, walking(transfers)].all()


def test_every_pair_is_still_a_sum_of_its_own():
    fmt = FixedPointFormat(width=4)
    model = MultiplyAccumulate(a=fmt, b=fmt, result=fmt, terms=4)
    transfers = stream_transfers(model, seed=1, samples=256 * 56)
    alone = (transfers.inputs["first"] == 1) & (transfers.inputs["last"] == 1) & ~transfers.resets
    pairs = set(zip(transfers.inputs["a"][alone].tolist(), transfers.inputs["b"][alone].tolist(), strict=True))
    assert len(pairs) == 256
