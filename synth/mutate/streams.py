"""Which faults the check of a circuit with memory finds.

Sequences are independent of each other, so a fault is found by the check if it is found by any part of its sequences,
run with the transfers, stalls and resets that they have in it. And a fault can only show in those sequences in which
it ever makes a difference to an output or to what is remembered. So the sound netlist is run through the whole check
with the faulty cells beside it; after that each fault is run through the sequences that matter to it alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.mutate.faults import Fault
from synth.mutate.functions import Told
from synth.mutate.lanes import BATCH, batches, choice_lanes, clock_bits, has_choice, program_of
from synth.mutate.plant import ACTIVE, CHOICE, watched
from synth.netlist import Simulation, compile_netlist, make_engine_for, read_netlist
from synth.netlist.packing import WORD_BITS, Planes
from synth.verify import Transfers
from synth.verify.streams import SequenceChecker

_STYLES = 8
"""Sequences that a manner of stalling takes turns with: see :mod:`synth.verify.streams`."""

_CYCLES = 3
"""About how many cycles a transfer takes: what the choice of an engine is based on."""

LANES = 1 << 12
"""Sequences of all faults together that are run beside each other."""

_WATCHED = 32
"""Faults that are watched at a time: each has a copy of the logic that it may change."""

_LOOKED_AT, _NO_LIMIT = 64, 1 << 62
"""Cycles after which a run is looked at, whether all its faults are found; and more cycles than any check has."""

_FIRST = 16
"""Sequences that matter to a fault which are tried before the rest of them."""

Columns = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a check of streams is told beside the transfers: see :func:`synth.verify.check_stream`."""

    latency: int
    interval: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of the check: so many sequences of each manner of stalling, and so many cycles."""

    each: int
    cycles: int


_QUICK = (_Part(each=2, cycles=48), _Part(each=4, cycles=192))
"""What finds most faults."""


def missed_at_once(document: Mapping[str, Any], faults: Sequence[Fault], transfers: Transfers, timing: Timing, *,
                   engine: str = "auto", told: Told = lambda found, left: None) -> list[Fault]:
    """Return the faults that a small part of the check of streams does not find."""
    left = list(faults)
    for part in _QUICK:
        columns = _columns(transfers.sequences, part.each)
        remaining: list[Fault] = []
        for seen, batch in enumerate(batches(left)):
            trial = _Trial(document, batch, transfers, timing, engine)
            found = trial.found([(index, columns) for index in range(len(batch))], part.cycles)
            remaining += [fault for index, fault in enumerate(batch) if index not in found]
            open_ = len(remaining) + max(len(left) - (seen + 1) * BATCH, 0)
            told(len(faults) - open_, open_)
        left = remaining
    return left


def missed_by_sequences(document: Mapping[str, Any], faults: Sequence[Fault], transfers: Transfers, timing: Timing, *,
                        engine: str = "auto", told: Told = lambda found, left: None) -> list[Fault]:
    """Return the faults that :func:`synth.verify.check_stream` does not find.

    Parameters
    ----------
    document : mapping
        The sound netlist, as Yosys' JSON, which passes the check.
    faults : sequence of Fault
    transfers : Transfers
    timing : Timing
    engine : str
        As for :func:`synth.verify.check_stream`.
    told : callable
    """
    missed: list[Fault] = []
    for start in range(0, len(faults), _WATCHED):
        batch = list(faults[start:start + _WATCHED])
        active = _active(document, batch, transfers, timing, engine)
        trial = _Trial(document, batch, transfers, timing, engine)
        left = {index: np.flatnonzero(row) for index, row in enumerate(active) if row.any()}
        for first in (True, False):
            wanted = {index: columns[:_FIRST] if first else columns[_FIRST:] for index, columns in left.items()}
            for group in _groups(wanted):
                found = trial.found(group, None)
                left = {index: columns for index, columns in left.items() if index not in found}
                open_ = len(missed) + len(left) + len(faults) - start - len(batch)
                told(len(faults) - open_, open_)
        missed += [fault for index, fault in enumerate(batch) if index in left or not active[index].any()]
    return missed


def _columns(sequences: int, each: int) -> Columns:
    """Return which sequences to run: of every manner of stalling as many, spread over the kinds of operands."""
    groups = -(-sequences // _STYLES)
    chosen = {(number * groups // each + style) % groups * _STYLES + style
              for number in range(each) for style in range(_STYLES)}
    return np.array(sorted(column for column in chosen if column < sequences), dtype=np.int64)


def _groups(wanted: Mapping[int, Columns]) -> Iterator[list[tuple[int, Columns]]]:
    """Return faults with the sequences to run them through, in groups of at most :data:`LANES` sequences."""
    group: list[tuple[int, Columns]] = []
    for index, columns in wanted.items():
        for start in range(0, len(columns), LANES):
            part = columns[start:start + LANES]
            if group and sum(len(taken) for _, taken in group) + len(part) > LANES:
                yield group
                group = []
            group.append((index, part))
    if group:
        yield group


class _Trial:
    """A netlist with a batch of faults, to be run through chosen sequences of the check."""

    def __init__(self, document: Mapping[str, Any], faults: Sequence[Fault], transfers: Transfers, timing: Timing,
                 engine: str) -> None:
        self._program, self._width = program_of(document, faults), len(faults)
        self._transfers, self._timing, self._engine = transfers, timing, engine

    def found(self, wanted: Sequence[tuple[int, Columns]], cycles: int | None) -> set[int]:
        """Return which faults are found by these sequences, in so many cycles (None: as long as the check runs)."""
        if not has_choice(self._program) or not wanted:
            return set()
        columns = np.concatenate([part for _, part in wanted])
        owners = np.concatenate([np.full(len(part), index) for index, part in wanted])
        runner = make_engine_for(self._program, self._engine, lanes=len(columns),
                                 passes=cycles or _CYCLES * self._transfers.count)
        simulation = runner.simulation(len(columns))
        simulation.set_planes(CHOICE, choice_lanes(self._width, owners))
        checker = SequenceChecker(simulation, self._transfers.take(columns), latency=self._timing.latency,
                                  interval=self._timing.interval, seed=self._timing.seed,
                                  part=(columns, self._transfers.sequences))
        stop = cycles or _NO_LIMIT
        while stop and checker.advance(min(stop, _LOOKED_AT)) and not {*owners.tolist()} <= _failed(checker, owners):
            stop -= min(stop, _LOOKED_AT)
        return _failed(checker, owners)


def _failed(checker: SequenceChecker, owners: NDArray[np.int64]) -> set[int]:
    return set(owners[checker.failed].tolist())


class _Watching(Simulation):
    """A simulation that notes in which lanes a fault would have acted."""

    active: Planes | None = None

    def step(self, clock: str | None = None, cycles: int = 1) -> None:
        """Note what acts before the edges, then run as any simulation does."""
        now = self.get_planes(ACTIVE)
        self.active = now if self.active is None else self.active | now
        super().step(clock, cycles)


def _active(document: Mapping[str, Any], faults: Sequence[Fault], transfers: Transfers, timing: Timing, engine: str
            ) -> NDArray[np.bool_]:
    """Return in which sequences of the check each fault would act: one row a fault."""
    clocks = clock_bits(compile_netlist(read_netlist(document)))
    program = compile_netlist(read_netlist(watched(document, faults, clocks)))
    runner = make_engine_for(program, engine, lanes=transfers.sequences, passes=_CYCLES * transfers.count)
    simulation = _Watching(program, transfers.sequences, runner.make_machine)
    SequenceChecker(simulation, transfers, latency=timing.latency, interval=timing.interval, seed=timing.seed).advance()
    assert simulation.active is not None  # the check ran at least some cycles
    bits = np.unpackbits(np.ascontiguousarray(simulation.active, "<u8").view(np.uint8), axis=1, bitorder="little")
    assert bits.shape[1] % WORD_BITS == 0
    return bits[:, :transfers.sequences].astype(bool)
