"""Sequences of transfers for a circuit with memory: what comes in, where a reset falls, and what has to come out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sw.reference.cast import observed
from sw.reference.model import Codes, Port, Stream
from synth.verify.codes import random_codes, random_corners, without_specials
from synth.verify.torch_check import TorchCheck
from synth.verify.walks import walk

MAX_TRANSFERS = 256
"""Transfers of each sequence, where there are enough sequences for as many as are wanted in all."""

OVERFLOW_TERMS = 4
"""How many times the longest exact sum of an accumulator its sequences are, so that its register wraps around."""

LONG_SEQUENCES = 512
"""Sequences that there are at least, where they are longer for that: one of every kind, as the numbers below say."""

_OPERANDS, _CONSTANT, _CANCELLING, _WALKING, _EXTREME = 7, 2, 4, 5, 6
"""Kinds of operands, which take turns every eight sequences."""

_MORE_WALKING = (8, 10)
"""And of twice as many, those in which they are chosen so too."""

_MOST_WALKS = 1024
"""Sequences of the kind whose operands are chosen as the sum goes, at most: they take the longest to make."""

_FRAMES, _ALWAYS_LAST = 6, (2, 5)
"""Manners of sums, which do as well, and those of them in which every transfer asks for a result."""

_SPECIALS = 1 / 256
"""How many of the operands that are no finite numbers are left, in every second group of sequences: sums that have met
one are never finite again."""

RESET_PROBABILITY = 1 / 48
"""Of a reset before a transfer, in the sequences that have any."""


MIN_SEQUENCES = 8
"""One for each manner of stalling."""


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """What sequences of transfers have to look like, where an operation says more than their ports.

    Parameters
    ----------
    transfers : int
        Of a sequence, at least: such as three feature maps.
    make : callable, optional
        From a generator of random numbers and a bool array ``resets`` of shape ``(transfers, sequences)``, which marks
        the transfers that a reset falls before, to the codes of every port. By default any codes are legal.
    """

    transfers: int = 1
    make: Callable[[np.random.Generator, NDArray[np.bool_]], dict[str, Codes]] | None = None


@dataclass(frozen=True, kw_only=True)
class Transfers:
    """Input transfers of all sequences, and the output transfers that they cause.

    Parameters
    ----------
    ports, outputs : mapping of field name to Port
    inputs : mapping of field name to codes of shape ``(transfers, sequences)`` or ``(transfers, sequences, lanes)``
    resets : bool array of shape ``(transfers, sequences)``
        Whether a reset falls before a transfer.
    wanted : mapping of field name to codes of shape ``(results, sequences)`` or with lanes
    causes : int array of shape ``(results, sequences)``
        Number of the transfer that causes a result; rows beyond a sequence's last result mean nothing.
    ranks : int array of that shape
        Which of the results of that transfer it is, from 0 up.
    produced : int array of shape ``(transfers + 1, sequences)``
        Results caused before each transfer.
    torch : TorchCheck
    """

    ports: Mapping[str, Port]
    outputs: Mapping[str, Port]
    inputs: Mapping[str, Codes]
    resets: NDArray[np.bool_]
    wanted: Mapping[str, Codes]
    causes: NDArray[np.int64]
    ranks: NDArray[np.int64]
    produced: NDArray[np.int64]
    torch: TorchCheck

    @property
    def count(self) -> int:
        """Transfers of each sequence."""
        return len(self.resets)

    @property
    def sequences(self) -> int:
        """Number of sequences."""
        return int(self.resets.shape[1])

    def take(self, columns: NDArray[np.int64]) -> "Transfers":
        """Return these sequences alone, in this order; one may be there several times."""
        taken: dict[str, Mapping[str, Codes]] = {
            name: {field: codes[:, columns] for field, codes in getattr(self, name).items()}
            for name in ("inputs", "wanted")}
        return replace(self, inputs=taken["inputs"], wanted=taken["wanted"], resets=self.resets[:, columns],
                       causes=self.causes[:, columns], ranks=self.ranks[:, columns],
                       produced=self.produced[:, columns])


def stream_transfers(model: Stream, *, seed: int, samples: int, stimulus: Stimulus | None = None) -> Transfers:
    """Make sequences for a stream operation and let its reference answer them.

    Operands are uniform, corners, one code again and again, the largest or smallest one again and again, cancelling
    their predecessors, chosen to take the sum where something turns (:mod:`synth.verify.walks`), or, for a pair of at
    most 16 bits, every pair as a sum of its own. Sums are short, long,
    running, dropped before they end, or as long as the sequence; where a register is made for sums of so many terms,
    sequences go on until it wraps. Resets fall into two of every eight sequences.

    Parameters
    ----------
    model : Stream
    seed : int
    samples : int
        Transfers in all, at least.
    stimulus : Stimulus, optional
        What more they have to be.
    """
    stimulus = stimulus or Stimulus()
    longest = min(OVERFLOW_TERMS * (getattr(model, "terms", None) or 0), samples // LONG_SEQUENCES)
    transfers = max(min(MAX_TRANSFERS, samples), longest, stimulus.transfers)
    sequences = -(-samples // transfers)
    if stimulus.transfers > 1:
        sequences = max(sequences, MIN_SEQUENCES)
    generator = np.random.default_rng(seed)
    shape = transfers, sequences
    resets = generator.random(shape) < RESET_PROBABILITY * min(1, MAX_TRANSFERS / transfers)
    resets[:, np.arange(sequences) % 8 >= 2] = False
    resets[0] = False
    inputs = _any_codes(model, generator, resets, seed) if stimulus.make is None else stimulus.make(generator, resets)
    return _answered(model, inputs, resets)


def _any_codes(model: Stream, generator: np.random.Generator, resets: NDArray[np.bool_], seed: int
               ) -> dict[str, Codes]:
    inputs = {name: _operands(name, port, generator, resets.shape) for name, port in model.inputs.items()}
    if {"first", "last"} <= set(inputs):
        _frame(inputs, generator)
    _cancel(model.inputs, inputs)
    covering = _cover(model.inputs, inputs)
    group = np.arange(resets.shape[1]) // 8
    walking = np.flatnonzero((group % _OPERANDS == _WALKING) | np.isin(group % (2 * _OPERANDS), _MORE_WALKING))
    walking = np.setdiff1d(walking, covering)[:_MOST_WALKS]
    walk(model, inputs, resets, walking, np.random.default_rng([seed, 1]))
    return inputs


def _operands(name: str, port: Port, generator: np.random.Generator, shape: tuple[int, int]) -> Codes:
    count = shape[0] * shape[1]
    lanes: tuple[int, ...] = () if port.lanes is None else (port.lanes,)
    codes = random_codes(port, generator, count).reshape(*shape, *lanes)
    corners = random_corners(port, generator, count).reshape(*shape, *lanes)
    kind = np.arange(shape[1]) // 8 % _OPERANDS
    codes[:, kind == 1] = corners[:, kind == 1]
    if port.format is not None:
        # One code again and again, so that sums grow to their limits.
        constant = kind == _CONSTANT
        codes[:, constant] = corners[:1, constant]
        ends = np.array([port.format.encode(port.format.max_finite), port.format.encode(port.format.min_finite)],
                        dtype=codes.dtype)
        # From a small number on, so that a register goes through sums of which it is the lowest digits.
        extreme = kind == _EXTREME
        codes[1:, extreme] = ends[generator.integers(0, 2, (int(extreme.sum()), *lanes))]
        if name == "a":
            codes[0, extreme] = 1
        mixed = (kind == 3) & (generator.random(shape) < 0.5)
        codes[mixed] = corners[mixed]
        finite = (np.arange(shape[1]) // (8 * _OPERANDS) % 2 == 1) & (kind != _CONSTANT)
        codes[:, finite] = without_specials(port, codes[:, finite], generator, _SPECIALS)
    return codes


def _frame(inputs: dict[str, Codes], generator: np.random.Generator) -> None:
    """Set ``first`` and ``last``: a new manner of sums every eight sequences, six against seven of operands."""
    transfers, sequences = inputs["first"].shape
    style = np.arange(sequences) // 8 % _FRAMES
    draw = generator.random((2, transfers, sequences))
    chance = np.select([style == 0, style == 1, style == 2], [0.3, 0.06, 0.02], 0.0)
    # Styles 2 and 5 are running sums, the latter without an end.
    first, last = draw[0] < chance, draw[1] < np.where(np.isin(style, _ALWAYS_LAST), 1.0, chance)
    # Of any order of magnitude, so that what takes turns after some of them is seen between sums.
    frame = np.minimum(2 ** (generator.random(sequences) * np.log2(transfers + 1)), transfers).astype(np.int64)
    place = np.arange(transfers)[:, None] % frame
    framed = style == 3  # sums of one length, back to back
    first[:, framed], last[:, framed] = (place == 0)[:, framed], (place == frame - 1)[:, framed]
    last[-1] = True  # style 4: one sum as long as the sequence
    inputs["first"], inputs["last"] = first.astype(np.uint64), last.astype(np.uint64)


def _cancel(ports: Mapping[str, Port], inputs: dict[str, Codes]) -> None:
    """Let every second pair undo its predecessor, in the sequences of their kind."""
    names = [name for name in ("b", "a") if name in ports and ports[name].format is not None]
    if len(names) < 2:
        return
    transfers, sequences = inputs["b"].shape[:2]
    cancelling = np.flatnonzero(np.arange(sequences) // 8 % _OPERANDS == _CANCELLING)
    odd = np.arange(1, transfers, 2)
    where = np.ix_(odd, cancelling)
    before = np.ix_(odd - 1, cancelling)
    inputs["a"][where] = inputs["a"][before]
    fmt = ports["b"].format
    assert fmt is not None
    known: dict[int, int] = {}
    unique, inverse = np.unique(inputs["b"][before], return_inverse=True)
    for code in unique.tolist():
        value = fmt.decode(code)
        known[code] = fmt.encode(-value) if not hasattr(value, "is_infinity") else code
    negated = np.array([known[code] for code in unique.tolist()], dtype=inputs["b"].dtype)
    inputs["b"][where] = negated[inverse].reshape(inputs["b"][before].shape)


def _cover(ports: Mapping[str, Port], inputs: dict[str, Codes]) -> NDArray[np.int64]:
    """Let some sequences go through every pair of operands, each as a sum of its own; return which."""
    names = [name for name in ("a", "b") if name in ports]
    if not names:
        return np.arange(0)
    widths = [ports[name].bits for name in names]
    total = 1 << sum(widths)
    transfers, sequences = inputs[names[0]].shape[:2]
    needed = -(-total // transfers)
    if any(ports[name].lanes is not None for name in names) or needed > sequences // 4:
        return np.arange(0)
    # Sequences without resets or stalls come last of each eight, so that no pair is lost.
    chosen = np.flatnonzero(np.arange(sequences) % 8 == 7)
    chosen = chosen[:needed] if len(chosen) >= needed else np.arange(sequences)[-needed:]
    index = np.arange(transfers * len(chosen), dtype=np.uint64).reshape(transfers, len(chosen))
    for name, width in zip(names, widths, strict=True):
        inputs[name][:, chosen] = index & np.uint64((1 << width) - 1)
        index = index >> np.uint64(width)
    for flag in ("first", "last"):
        if flag in inputs:
            inputs[flag][:, chosen] = 1
    return chosen


def _answered(model: Stream, inputs: dict[str, Codes], resets: NDArray[np.bool_]) -> Transfers:
    transfers, sequences = resets.shape
    check, every = TorchCheck(), np.ones(sequences, dtype=bool)
    run = model.start(sequences)
    produced = np.zeros((transfers + 1, sequences), dtype=np.int64)
    events: list[tuple[int, int, NDArray[np.bool_], Mapping[str, Codes]]] = []
    with observed(check):
        for number in range(transfers):
            if resets[number].any():
                run.reset(resets[number])
            produced[number + 1] = produced[number]
            answers = run.accept({name: codes[number] for name, codes in inputs.items()}, every)
            for rank, (made, outputs) in enumerate(answers):
                events.append((number, rank, made, outputs))
                produced[number + 1] += made
    results = int(produced[-1].max())
    causes = np.full((results, sequences), transfers, dtype=np.int64)
    ranks = np.zeros((results, sequences), dtype=np.int64)
    wanted: dict[str, Codes] = {
        name: np.zeros((results, sequences) if port.lanes is None else (results, sequences, port.lanes),
                       dtype=np.uint64 if port.width <= 64 else object) for name, port in model.outputs.items()}
    filled = np.zeros(sequences, dtype=np.int64)
    for number, rank, made, outputs in events:
        rows = np.flatnonzero(made)
        causes[filled[rows], rows], ranks[filled[rows], rows] = number, rank
        for name, codes in outputs.items():
            wanted[name][filled[rows], rows] = codes[rows]
        filled[rows] += 1
    return Transfers(ports=model.inputs, outputs=model.outputs, inputs=inputs, resets=resets, wanted=wanted,
                     causes=causes, ranks=ranks, produced=produced, torch=check)
