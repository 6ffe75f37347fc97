"""Transfers that take an accumulator's sum to where a circuit turns, and back: chosen as the reference keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat
from sw.reference.accumulation import State
from sw.reference.accumulator_width import format_grid
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.model import Codes, Stream
from sw.reference.value_array import decode_array
from synth.verify.codes import LISTED_BITS, special_codes
from synth.verify.sums import WIDEST_SUM, Products, finite_integers, machine_integers, turning_sums

_TRANSFERS_A_SUM = 8
"""About how many transfers it takes to go from one sum to the next, and to the first one of them."""

_CHOSEN_FROM = 2
"""How many times the sums that are gone to are picked, for those that come twice."""

_BACK = 1 / 2
"""How often a walk among rounded sums goes to zero."""

_ANEW = 1 / 4, 1 / 1024, 1 / 64, 1 / 1024
"""How often one starts another sum where it has come to one: in turn, for sums of few pairs, and of many chunks."""

_SPOILT, _CURED = (1 / 4, 0, 1 / 64, 1 / 64), (1, 0, 1 / 64, 1 / 2)
"""How often it meets there what is no finite number, and how soon after that it starts another sum."""

Integers = NDArray[Any]
"""An object array of Python integers."""


@dataclass(frozen=True)
class _Walked:
    """An accumulator as a walk sees it.

    Parameters
    ----------
    model : Stream
        With the methods of :class:`sw.reference.accumulation.Accumulator`.
    a, b, result : ScalarFormat
    width : int, bits
        Of its sums, in units of a product's last place.
    exact : bool
        Whether sums are not rounded on the way.
    held : callable
        From its registers to the sums, rounded down to these units.
    """

    model: Any
    a: ScalarFormat
    b: ScalarFormat
    result: ScalarFormat | None
    width: int
    exact: bool
    held: Callable[[State], Integers]


def walk(model: Stream, inputs: dict[str, Codes], resets: NDArray[np.bool_], columns: NDArray[np.int64],
         generator: np.random.Generator) -> None:
    """Set the pairs and flags of some sequences so that their sums go where something turns.

    Each pair is the one whose product is nearest to what is missing to the next of :func:`turning_sums`. An exact sum
    goes to some of them in the order of their magnitude, so that all of its digits are reached, and comes back to
    where the result is no longer at its limit; a rounded one goes from any to any other or back to zero, where the
    digits that it lost on the way come to light. Where it has come to one, it may also meet an infinity or a NaN, and
    then goes on for a while as if it had not. Each transfer asks for a result.

    Does nothing for an operation that is no accumulator of single pairs.
    """
    products = _products(model)
    walked = None if products is None else _walked(model, products.exponent)
    if products is None or walked is None or not len(columns):
        return
    transfers, count = len(resets), len(columns)
    goals = machine_integers(_goals(walked, products.exponent, generator, transfers, count), walked.width)
    state, at = walked.model.zero(count), np.zeros(count, dtype=np.int64)
    everywhere, before, moved = np.arange(count), np.zeros(count, dtype=goals.dtype), np.zeros(count, dtype=bool)
    anew, spoiling, cured = (np.resize(chances, count) * (not walked.exact) for chances in (_ANEW, _SPOILT, _CURED))
    spoilt = np.zeros(count, dtype=bool)
    for number in range(transfers):
        state = _chosen(resets[number, columns], walked.model.zero(count), state)
        held = machine_integers(walked.held(state), walked.width)
        missing = goals[at, everywhere] - held
        a, b, value = products.nearest(missing, generator)
        # No product leads nearer; or the sum is rounded, and stays where it is whatever is added.
        there = np.asarray((abs(missing - value) >= abs(missing)) | (moved & (held == before)), dtype=bool)
        at = np.minimum(at + there, len(goals) - 1)
        rows = np.flatnonzero(there)
        a[rows], b[rows], _ = products.nearest((goals[at, everywhere] - held)[rows], generator)
        first = generator.random(count) < np.where(spoilt, cured, anew * there)
        meets = there & ~first & (generator.random(count) < spoiling)
        spoilt = spoilt & ~first | meets
        a, b = (_spoilt(fmt, codes, meets, generator) for fmt, codes in ((walked.a, a), (walked.b, b)))
        taken = {name: codes[number, columns] for name, codes in inputs.items()}
        taken |= {"a": a, "b": b, "last": np.ones(count, dtype=np.uint64), "first": first.astype(np.uint64)}
        for name in ("a", "b", "first", "last"):
            inputs[name][number, columns] = taken[name]
        before, moved = held, ~there
        state = walked.model.accumulate(
            _chosen(taken["first"].astype(bool), walked.model.initial(taken), state), taken)


def _spoilt(fmt: ScalarFormat, codes: Codes, where: NDArray[np.bool_], generator: np.random.Generator) -> Codes:
    """Return codes of which some, in every second of the places, stand for no finite number, if any of a format do."""
    special = np.flatnonzero(special_codes(fmt)) if fmt.width <= LISTED_BITS else np.arange(0)
    if not len(special):
        return codes
    chosen: Codes = np.where(where & (generator.random(len(codes)) < 0.5),
                             special[generator.integers(0, len(special), len(codes))].astype(codes.dtype), codes)
    return chosen


def _products(model: Stream) -> Products | None:
    """Return the products of the pairs of a transfer, where it has a single one of narrow enough formats."""
    if not isinstance(model, (MultiplyAccumulate, ExactMultiplyAccumulate, ChunkedMultiplyAccumulate)):
        return None
    wide = sum(format_grid(fmt).width for fmt in (model.a, model.b)) > WIDEST_SUM
    return None if wide or model.inputs["a"].lanes is not None else Products(model.a, model.b)


def _walked(model: Stream, exponent: int) -> _Walked | None:
    """Return what a walk has to know of an accumulator, whose products are multiples of two to ``exponent``."""
    if isinstance(model, MultiplyAccumulate):
        return _Walked(model, model.a, model.b, model.result, model.accumulator.width, True,
                       lambda state: state[0].astype(object))
    if isinstance(model, ExactMultiplyAccumulate):
        places = exponent - model.accumulator_exponent  # more than none where a preload is finer
        return _Walked(model, model.a, model.b, None if model.cast is None else model.cast.result,
                       model.width - places, True, lambda state: state[0].astype(object) >> places)
    if not isinstance(model, ChunkedMultiplyAccumulate) or model.lfsr is not None:
        return None
    register = model.accumulator
    grid = format_grid(register).refined(exponent)

    def held(state: State) -> Integers:
        partial, total = (finite_integers(decode_array(register, codes), grid.exponent) for codes in state[:2])
        found: Integers = (partial + total) >> (exponent - grid.exponent)
        return found

    return _Walked(model, model.a, model.b, register, grid.width - (exponent - grid.exponent), False, held)


def _goals(walked: _Walked, exponent: int, generator: np.random.Generator, transfers: int, count: int) -> Integers:
    """Return the sums that each walk goes to in turn, of shape ``(goals, walks)``."""
    def turning(number: int) -> Integers:
        return turning_sums(walked.width, exponent, walked.result, generator, number)

    if not walked.exact:
        anywhere = turning(transfers * count).reshape(transfers, count)
        # In every second walk all of one magnitude, at which large parts of the terms cancel.
        lower = generator.integers(0, walked.width, count) * generator.integers(0, 2, count)
        goals: Integers = anywhere >> lower.astype(object)
        goals[generator.random(goals.shape) < _BACK] = 0
        return goals
    visits = max(transfers // _TRANSFERS_A_SUM, 1)
    every = np.unique(turning(_CHOSEN_FROM * visits * count))  # each once: a narrow result has few turns
    pool = np.sort(generator.permutation(np.resize(every, max(len(every), visits * count)))[:visits * count])
    pool = pool.reshape(count, visits).T
    upward = np.where(pool.sum(axis=0) < 0, pool[::-1], pool)
    later = turning(transfers * count).reshape(transfers, count)
    # What comes after is near enough to zero to be reached, and to be seen.
    nearby = np.sort(abs(later), axis=0)[:transfers] * generator.choice(np.array([-1, 1], dtype=object), later.shape)
    return np.concatenate([upward, np.zeros((1, count), dtype=object), nearby])


def _chosen(condition: NDArray[np.bool_], first: State, second: State) -> State:
    return tuple(np.where(condition, one, other) for one, other in zip(first, second, strict=True))
