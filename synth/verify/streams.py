"""The check of a circuit with memory: whole sequences with stalls on both sides, cut by resets, on its netlist."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes
from synth.netlist import Simulation, compile_netlist, make_engine_for, read_netlist
from synth.verify.functions import Report, references, silent
from synth.verify.ports import pack_fields, unpack_fields
from synth.verify.transfers import Transfers

Json = dict[str, Any]

# How often a sequence offers a transfer, and takes a result, by its number modulo 8. Sequences 0 and 1 have resets,
# 6 and 7 never stall, and in 4 and 5 the willingness comes in long bursts.
_OFFERS = (1.0, 0.5, 0.5, 0.2, 0.5, 1.0, 1.0, 1.0)
_TAKES = (1.0, 0.5, 0.5, 0.9, 0.5, 0.15, 1.0, 1.0)
_BURSTS = (4, 5)
_NEVER_STALL = (6, 7)

_CYCLES = 3
"""About how many cycles a transfer takes with all the stalls: what the choice of an engine is based on."""

_PATIENCE = 4096
"""Cycles without any transfer after which a netlist counts as stuck."""

_REPORT_CYCLES = 16
"""How often a check says how far it is."""


@dataclass
class _Progress:
    """Where each sequence is."""

    next: NDArray[np.int64]       # transfer that is offered next
    taken: NDArray[np.int64]      # result that is expected next
    reset_done: NDArray[np.bool_]  # whether the reset before the next transfer has been made
    accepted_at: NDArray[np.int64]  # cycle in which each transfer was accepted
    left_at: NDArray[np.int64]    # cycle in which the last result was taken


def check_stream(netlist: Mapping[str, Any], transfers: Transfers, *, latency: int, seed: int,
                 interval: int | None = 1, report: Report = silent, engine: str = "auto") -> Json:
    """Run a mapped netlist through all sequences and compare every result, and the rules of streams.

    Checked are the results and their order; that none is lost, doubled or invented; that a result which is not taken
    stays as it is; that a payload makes no difference while it is not offered; that where nothing stalls a result comes
    ``latency`` cycles after the transfer that causes it, or ``interval`` cycles after the result before it where that
    is later; that a reset leaves nothing behind. With an ``interval`` of None, results may come later than that, and
    never sooner than ``latency``. ``engine`` is as for :func:`synth.verify.functions.check_function`.

    Returns
    -------
    dict
        As :func:`synth.verify.functions.check_function`, ``vectors`` being results compared; also ``transfers``,
        ``sequences``, ``resets``, ``stalls`` (cycles in which a result had to wait), ``latency_checked`` (results whose
        latency was measured) and ``violations`` by rule.

    Raises
    ------
    NetlistError
        If the netlist holds something that cannot be run.
    """
    program = compile_netlist(read_netlist(netlist))
    runner = make_engine_for(program, engine, lanes=transfers.sequences, passes=_CYCLES * transfers.count)
    checker = SequenceChecker(runner.simulation(transfers.sequences), transfers, latency=latency, interval=interval,
                              seed=seed)
    return {"engine": runner.name, **checker.run(report)}


class SequenceChecker:
    """Drives a simulation through sequences, a lane each, and compares what it does.

    Parameters
    ----------
    simulation : Simulation
        Of as many lanes as there are sequences; its further inputs, if it has any, are set already.
    transfers : Transfers
    latency, interval : int, cycles
        As for :func:`check_stream`.
    seed : int
        Of the stalls.
    part : (int array, int), optional
        Which sequences ``transfers`` holds (see :meth:`Transfers.take`), and of how many. Each of them has the stalls
        then that it has among all of them.

    Attributes
    ----------
    failed : bool array
        The sequences of which something was found to be wrong so far.
    """

    def __init__(self, simulation: Simulation, transfers: Transfers, *, latency: int, interval: int | None, seed: int,
                 part: tuple[NDArray[np.int64], int] | None = None) -> None:
        self._simulation, self._transfers = simulation, transfers
        self._latency, self._interval = latency, interval
        self._clocked = bool(simulation.program.clocks)
        self._generator = np.random.default_rng(seed)
        count = transfers.sequences
        self._all = np.arange(count)
        self._columns, self._of = part or (self._all, count)
        self.failed = np.zeros(count, dtype=bool)
        kind = self._columns % 8
        self._offers, self._takes = np.array(_OFFERS)[kind], np.array(_TAKES)[kind]
        self._bursty = np.isin(kind, _BURSTS)
        self._steady = np.isin(kind, _NEVER_STALL)
        self._willing = np.ones((2, count), dtype=bool)
        self._at = _Progress(next=np.zeros(count, np.int64), taken=np.zeros(count, np.int64),
                             reset_done=np.zeros(count, bool),
                             accepted_at=np.zeros((transfers.count, count), np.int64),
                             left_at=np.full(count, -_PATIENCE, np.int64))
        self._waiting, self._offered = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        self._held: dict[str, Codes] = {}
        self._violations: dict[str, int] = {}
        self._first: Json | None = None
        self._compared = self._stalls = self._resets = self._latencies = 0
        self._cycles = self._idle = 0

    def advance(self, cycles: int | None = None) -> bool:
        """Run some cycles, by default all that are left; return whether that was less than the whole check."""
        transfers, at = self._transfers, self._at
        total = transfers.produced[-1]
        stop = None if cycles is None else self._cycles + cycles
        while self._idle < _PATIENCE and (np.any(at.next < transfers.count) or np.any(at.taken < total)):
            if self._cycles == stop:
                return True
            moved = self._cycle(self._cycles)
            self._cycles, self._idle = self._cycles + 1, 0 if moved else self._idle + 1
        for extra in range(self._latency + 4):  # nothing may follow the last result
            self._cycle(self._cycles + extra)
        self.failed |= (at.taken < total) | (at.next < transfers.count)
        return False

    def run(self, report: Report) -> Json:
        """Run the whole check; return what :func:`check_stream` does, but for the engine."""
        transfers, at = self._transfers, self._at
        total = transfers.produced[-1]
        while self.advance(_REPORT_CYCLES):
            report(float(np.mean(at.next)) / transfers.count)
        missing = int(np.sum(total - np.minimum(at.taken, total))) + int(np.sum(transfers.count - at.next))
        self._blame("missing results or transfers", missing, self._all[:0])
        record = references(transfers.torch)
        return {"method": "sequences", "vectors": self._compared,
                "mismatches": sum(self._violations.values()) + record["quantizer"]["differing"], **record,
                "transfers": int(np.sum(at.next)), "sequences": transfers.sequences, "resets": self._resets,
                "stalls": self._stalls, "cycles": self._cycles, "latency_checked": self._latencies,
                "violations": {rule: count for rule, count in self._violations.items() if count},
                "first_mismatch": self._first}

    def _cycle(self, cycle: int) -> bool:
        """Drive one clock cycle; return whether anything was transferred or reset."""
        transfers, at, simulation = self._transfers, self._at, self._simulation
        offer, take = self._wishes()
        offer |= self._offered  # what was offered stays until it is accepted, as the rules of streams ask
        inside = at.next < transfers.count
        number = np.minimum(at.next, transfers.count - 1)
        due = inside & transfers.resets[number, self._all] & ~at.reset_done
        # A reset waits a while, so that some of what it cuts off has come out and some has not.
        reset = due & (self._generator.random(self._of)[self._columns] < 0.3)
        offer &= inside & ~due
        take &= ~reset
        simulation.set("rst", reset)
        simulation.set("i__valid", offer)
        simulation.set("o__ready", take)
        # While nothing is offered, the payload is that of any transfer: what looks at it then, goes wrong.
        idle = self._generator.integers(0, transfers.count, self._of)[self._columns]
        shown = np.where(offer, number, idle)
        payload = {name: codes[shown, self._all] for name, codes in transfers.inputs.items()}
        simulation.set_planes("i__payload", pack_fields(transfers.ports, payload))
        ready = simulation.get("i__ready").astype(bool)
        valid = simulation.get("o__valid").astype(bool)
        got = unpack_fields(transfers.outputs, simulation.get_planes("o__payload"), transfers.sequences)
        self._check_held(valid, got, reset)
        arrived = valid & take
        accepted = offer & ready
        self._offered = offer & ~ready
        at.accepted_at[number[accepted], self._all[accepted]] = cycle
        at.next[accepted] += 1
        # Without registers on the way, a transfer has its result in its own cycle; with some, later.
        self._check_results(arrived, got, at.next - (accepted if self._latency else 0), cycle)
        at.reset_done[accepted] = False
        at.taken[arrived] += 1
        rows = np.flatnonzero(reset)
        if len(rows):
            at.taken[rows] = transfers.produced[number[rows], rows]
            at.reset_done[rows] = True
            self._resets += len(rows)
        if self._clocked:  # a netlist that lost all its registers answers wrongly, and is found out by that
            simulation.step("clk")
        return bool(accepted.any() or arrived.any() or len(rows))

    def _wishes(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which sequences offer a transfer, and which take a result."""
        shape = 2, self._of
        draws = self._generator.random(shape)[:, self._columns] < np.stack([self._offers, self._takes])
        turns = self._generator.random(shape)[:, self._columns] < 1 / 12
        self._willing = np.where(self._bursty, self._willing ^ turns, draws)
        return self._willing[0].copy(), self._willing[1].copy()

    def _check_held(self, valid: NDArray[np.bool_], got: Mapping[str, Codes], reset: NDArray[np.bool_]) -> None:
        """A result that was not taken has to be there again, unchanged."""
        gone = self._waiting & ~valid
        self._blame("a waiting result vanished", int(np.count_nonzero(gone)), np.flatnonzero(gone))
        for name, codes in got.items():
            if name in self._held:
                changed = self._waiting & valid & _differs(codes, self._held[name])
                self._blame("a waiting result changed", int(np.count_nonzero(changed)), np.flatnonzero(changed))
        self._held = dict(got)
        waits = valid & ~self._willing[1]
        self._stalls += int(np.count_nonzero(waits))
        self._waiting = waits & ~reset

    def _check_results(self, arrived: NDArray[np.bool_], got: Mapping[str, Codes], accepted: NDArray[np.int64],
                       cycle: int) -> None:
        """Compare what has arrived with what ``accepted`` transfers of each sequence cause."""
        transfers, at = self._transfers, self._at
        made = transfers.produced[accepted, self._all]
        surplus = arrived & (at.taken >= made)
        self._blame("a result that nothing asked for", int(np.count_nonzero(surplus)), np.flatnonzero(surplus))
        rows = np.flatnonzero(arrived & ~surplus)
        self._compared += len(rows)
        wrong = np.zeros(len(rows), dtype=bool)
        for name, codes in got.items():
            wrong |= _differs(codes[rows], transfers.wanted[name][at.taken[rows], rows])
        self._blame("a wrong result", int(np.count_nonzero(wrong)), rows[wrong], got)
        steady = rows[self._steady[rows]]
        places = at.taken[steady], steady
        due = at.accepted_at[transfers.causes[places], steady] + self._latency
        if self._interval is None:
            late = due > cycle
        else:
            late = np.maximum(due, at.left_at[steady] + self._interval) != cycle
        at.left_at[rows] = cycle
        self._latencies += len(steady)
        self._blame("a latency that is not the stated one", int(np.count_nonzero(late)), steady[late])

    def _blame(self, rule: str, count: int, sequences: NDArray[np.int64], got: Mapping[str, Codes] | None = None
               ) -> None:
        self._violations[rule] = self._violations.get(rule, 0) + count
        self.failed[sequences] = True
        if not count or self._first is not None:
            return
        self._first = {"rule": rule}
        if len(sequences):
            row, at, transfers = int(sequences[0]), self._at, self._transfers
            result = min(int(at.taken[row]), len(transfers.causes) - 1)
            self._first |= {"sequence": row, "transfer": int(at.next[row]), "result": result}
            if got is not None:
                self._first |= {"got": _plain(got, row), "want": {
                    name: codes[result, row].tolist() if codes.ndim > 2 else int(codes[result, row])
                    for name, codes in transfers.wanted.items()}}


def _plain(outputs: Mapping[str, Codes], row: int) -> dict[str, int | list[int]]:
    return {name: codes[row].tolist() if codes.ndim > 1 else int(codes[row]) for name, codes in outputs.items()}


def _differs(first: Codes, second: Codes) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = np.asarray(first != second, dtype=bool)
    return different if different.ndim == 1 else np.asarray(different.any(axis=1))
