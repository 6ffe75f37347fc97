"""Mutation testing of an operation's mapped netlists: faults are planted one by one, and the check has to find them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sw.reference.model import Function
from synth.build import Builder, Outcome, Plan
from synth.console import Progress
from synth.mutate.faults import Fault, FaultKind, drawn, population
from synth.mutate.functions import Told, missed_by_vectors
from synth.mutate.lanes import clock_bits
from synth.mutate.plant import top_module
from synth.mutate.reachable import Reachable, reachable_states
from synth.mutate.streams import Timing, missed_at_once, missed_by_sequences
from synth.mutate.verdict import Judgement, Verdict, judge, judge_machine, judge_masked, judge_reachable
from synth.netlist import Program, compile_netlist, read_netlist
from synth.targets import TARGETS
from synth.toolchain import stop_all
from synth.verify import Expectation, Transfers

Json = dict[str, Any]

NARROW_BITS = 8
"""Formats up to which the check of a combinational operator has to find every fault that changes anything."""

_REPORT_SECONDS = 5.0
"""How often it is said how far a target is."""

ALL, MOST = 1.0, 0.99
"""The score that such an operator needs, and that of every other."""


def mutation_steps(builder: Builder) -> int:
    """Return how many steps the progress of :func:`mutation_run` counts."""
    return sum(_is_sound(outcome) for outcome in builder.outcomes)


def mutation_run(builder: Builder, plan: Plan, *, count: int, seed: int, progress: Progress) -> list[Json]:
    """Plant faults in every mapped netlist of an operation, one at a time, and see which ones its check finds.

    The check is the one that the plan asks for, on the same vectors or sequences. What it does not find is proved
    equivalent, or shown not to be, where that can be done.

    Parameters
    ----------
    builder : Builder
        Which has run. A target that failed, or whose netlist did not pass the check, is left out.
    plan : Plan
    count : int
        How many faults; all there are, where there are fewer.
    seed : int
        Of the choice of faults.
    progress : Progress
        Told of each target.

    Returns
    -------
    list of dict, one a target
        ``target``; ``population`` (faults that there are, by kind); ``seed``; ``planted``, ``killed``, ``equivalent``,
        ``not_equivalent`` and ``unknown``; ``score``, the killed ones among those that are not equivalent; ``needed``,
        the score that it has to reach; ``seconds``; ``kinds``, the same numbers by kind; ``check``, how it was
        verified; and ``survivors``, each with ``cell``, ``type``, ``kind``, ``what``, ``verdict``, ``method`` and, if
        it is not equivalent, ``inputs``.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after solvers have been ended.
    """
    records = []
    for outcome in builder.outcomes:
        if not _is_sound(outcome):
            continue
        try:
            records.append(_Trial(builder, plan, outcome, progress).run(count, seed))
        except BaseException:
            stop_all()
            raise
        progress.advance()
    return records


def _is_sound(outcome: Outcome) -> bool:
    return outcome.mapped is not None and outcome.error is None and outcome.verification is not None \
        and not outcome.verification["mismatches"]


class _Trial:
    """The faults of one target's netlist."""

    def __init__(self, builder: Builder, plan: Plan, outcome: Outcome, progress: Progress) -> None:
        assert outcome.mapped is not None  # it is sound
        self._plan, self._outcome, self._progress = plan, outcome, progress
        self._document = outcome.mapped.document()
        self._design = builder.designs[outcome.target.name]
        self._model = builder.operation.model
        self._sound: Program = compile_netlist(read_netlist(self._document))
        self._expected: Expectation | Transfers = builder.expected()
        self._said = -_REPORT_SECONDS
        self._timing = Timing(latency=self._design.latency, interval=self._design.interval, seed=plan.vector_seed)

    def run(self, count: int, seed: int) -> Json:
        started = time.monotonic()
        faults = population(top_module(self._document)[1], clock_bits(self._sound))
        chosen = drawn(faults, count, seed)
        missed = self._missed(chosen)
        return {"target": self._outcome.target.name, **_score(chosen, missed), "needed": self._needed(),
                "population": {"total": len(faults), **_by_kind(faults)}, "seed": seed,
                "seconds": round(time.monotonic() - started, 3), "kinds": _kinds(chosen, missed),
                "check": self._check(),
                "survivors": [_survivor(fault, judgement) for fault, judgement in missed]}

    def _missed(self, faults: list[Fault]) -> list[tuple[Fault, Judgement]]:
        """Return the faults that the check does not find, each with what is known of it."""
        if isinstance(self._expected, Expectation):
            left = missed_by_vectors(self._document, faults, self._expected, latency=self._design.latency,
                                     engine=self._plan.engine, told=self._told("planting faults"))
            if self._runs_everything():
                how = f"all combinations of {sum(port.bits for port in self._model.inputs.values())} bits, by the check"
                return [(fault, Judgement(verdict=Verdict.EQUIVALENT, method=how)) for fault in left]
            return self._judged(left, self._judge)
        transfers = self._expected
        left = missed_at_once(self._document, faults, transfers, self._timing, engine=self._plan.engine,
                              told=self._told("planting faults"))
        judged = self._judged(left, self._judge)
        # What changes nothing would only be run in vain.
        survivors = set(missed_by_sequences(
            self._document, [fault for fault, judgement in judged if judgement.verdict is not Verdict.EQUIVALENT],
            transfers, self._timing, engine=self._plan.engine, told=self._told("the whole check on those left")))
        unknown = [fault for fault, _ in judged if fault in survivors]
        self._say("looking for states that it never comes to")
        reachable = reachable_states(self._document) if unknown else None
        harder = dict(self._judged(unknown, lambda fault: self._judge_harder(fault, reachable)))
        return [(fault, harder.get(fault, judgement)) for fault, judgement in judged
                if judgement.verdict is Verdict.EQUIVALENT or fault in survivors]

    def _judge(self, fault: Fault) -> Judgement:
        return judge(self._document, fault, self._sound, latency=self._design.latency,
                     stream=isinstance(self._expected, Transfers), clean=self._all_codes_legal())

    def _judge_harder(self, fault: Fault, reachable: Reachable | None) -> Judgement:
        if reachable is not None:
            for harder in (judge_reachable, judge_masked):
                judgement = harder(self._document, fault, self._sound, reachable)
                if judgement.verdict is Verdict.EQUIVALENT:
                    return judgement
        return judge_machine(self._document, fault)

    def _judged(self, faults: Sequence[Fault], judgement: Callable[[Fault], Judgement]
                ) -> list[tuple[Fault, Judgement]]:
        """Return each fault with a verdict; solvers run side by side."""
        def judged(item: tuple[int, Fault]) -> tuple[Fault, Judgement]:
            number, fault = item
            self._say(f"judging faults that were not found, {number} of {len(faults)}")
            return fault, judgement(fault)

        pool = ThreadPoolExecutor(max_workers=self._plan.jobs)
        try:
            return list(pool.map(judged, enumerate(faults)))
        except BaseException:
            stop_all()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _runs_everything(self) -> bool:
        """Whether the check has run every combination of input bits of a netlist that remembers nothing."""
        assert self._outcome.verification is not None  # it is sound
        return (self._outcome.verification["method"] == "exhaustive" and self._all_codes_legal()
                and not self._sound.state and not self._design.latency)

    def _all_codes_legal(self) -> bool:
        return all(port.limit in (None, 1 << port.width) for port in self._model.inputs.values())

    def _needed(self) -> float:
        ports = (*self._model.inputs.values(), *self._model.outputs.values())
        narrow = all(port.format is None or port.format.width <= NARROW_BITS for port in ports)
        return ALL if isinstance(self._model, Function) and not self._design.latency and narrow else MOST

    def _check(self) -> Json:
        assert self._outcome.verification is not None  # it is sound
        return {name: self._outcome.verification[name] for name in ("method", "vectors")}

    def _told(self, doing: str) -> Told:
        return lambda found, left: self._say(f"{doing}: {found} found, {left} left")

    def _say(self, text: str) -> None:
        if time.monotonic() - self._said >= _REPORT_SECONDS:
            self._said = time.monotonic()
            self._progress.start(f"{TARGETS[self._outcome.target.name].title}: {text}")


def _score(planted: Sequence[Fault], missed: Sequence[tuple[Fault, Judgement]]) -> Json:
    """Return the numbers of faults by what came of them, and the score; 1 where there was nothing to find."""
    verdicts = Counter(judgement.verdict for _, judgement in missed)
    killed = len(planted) - len(missed)
    counted = len(planted) - verdicts[Verdict.EQUIVALENT]
    return {"planted": len(planted), "killed": killed, "equivalent": verdicts[Verdict.EQUIVALENT],
            "not_equivalent": verdicts[Verdict.NOT_EQUIVALENT], "unknown": verdicts[Verdict.UNKNOWN],
            "score": killed / counted if counted else 1.0}


def _kinds(planted: Sequence[Fault], missed: Sequence[tuple[Fault, Judgement]]) -> Json:
    return {kind.value: _score([fault for fault in planted if fault.kind is kind],
                               [(fault, judgement) for fault, judgement in missed if fault.kind is kind])
            for kind in FaultKind if any(fault.kind is kind for fault in planted)}


def _by_kind(faults: Sequence[Fault]) -> dict[str, int]:
    counts = Counter(fault.kind for fault in faults)
    return {kind.value: counts[kind] for kind in FaultKind if counts[kind]}


def _survivor(fault: Fault, judgement: Judgement) -> Json:
    return {"cell": fault.cell, "type": fault.type, "kind": fault.kind.value, "what": fault.what,
            "verdict": judgement.verdict.value, "method": judgement.method,
            **({"inputs": dict(judgement.inputs)} if judgement.inputs else {})}
