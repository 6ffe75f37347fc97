"""The proof that a netlist with streams is its accumulator, by induction over clock cycles from power-up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sw.reference.mac import MultiplyAccumulate
from synth.netlist import Program
from synth.prove.accumulator import AccumulatorMachine
from synth.prove.circuit import Step, initial_state, input_variables, netlist_terms, state_variables
from synth.prove.correspondence import Relation, Samples, relations
from synth.prove.equivalence import Status
from synth.prove.evaluate import Values, evaluate
from synth.prove.proof import Proof
from synth.prove.solve import Answer, Result, satisfy, version_of
from synth.prove.terms import Term, all_of, any_of, bit, invert, not_equal, variable, xor

__all__ = ["prove_stream"]

Json = dict[str, Any]

_LANES, _CYCLES = 512, 48
"""Runs side by side, and cycles of each, in which relations are looked for."""

_SEED = 1

_MOST_REGISTERS_IN_FRONT = 2
"""Stages that an accumulator's pipeline has in front of its sum at most: operands and product."""

_RESETS, _WILLING = 1 / 32, 3 / 4


@dataclass(frozen=True)
class _Pair:
    """A netlist and a specification beside each other: this cycle and the next, of the same variables."""

    program: Program
    machine: AccumulatorMachine
    inputs: Mapping[str, Term]
    registers: tuple[Term, ...]
    state: Mapping[str, Term]
    step: Step
    following: Mapping[str, Term]

    @classmethod
    def of(cls, program: Program, machine: AccumulatorMachine) -> _Pair:
        inputs, registers = input_variables(program.data_inputs), state_variables(program)
        state = {name: variable(f"spec_{name}", sort) for name, sort in machine.state.items()}
        return cls(program, machine, inputs, registers, state, netlist_terms(program, inputs, registers),
                   machine.next(state, inputs))

    @property
    def variables(self) -> list[Term]:
        """Every variable."""
        return [*self.inputs.values(), *self.registers, *self.state.values()]

    def initial(self, lanes: int) -> dict[str, Values]:
        """Return what is kept after power-up, by variable."""
        wanted = evaluate(list(self.machine.initial.values()), {"": np.zeros(lanes)})
        held = evaluate(list(initial_state(self.program)), {"": np.zeros(lanes)})
        return {term.head: values for term, values in zip(
            (*self.state.values(), *self.registers), (*wanted, *held), strict=True)}

    def differs(self) -> Term:
        """Return whether the outputs differ in this cycle."""
        want, got = self.machine.outputs(self.state, self.inputs), self.step.outputs
        valid = want["o__valid"]
        return any_of(xor(bit(got["i__ready"], 0), want["i__ready"]), xor(bit(got["o__valid"], 0), valid),
                      all_of(valid, not_equal(got["o__payload"], want["o__payload"])))


def prove_stream(program: Program, model: MultiplyAccumulate, *, latency: int, solver: str, timeout: float | None
                 ) -> Proof:
    """Prove that a netlist gives what a transition system of its accumulator gives, in every cycle from power-up.

    The induction's hypothesis relates every register to the specification's state: relations are found in random runs,
    and those that the solver finds not to follow from all of them, one cycle earlier, are dropped until what is left
    does. The outputs have to follow from what is left.

    Raises
    ------
    NetlistError
        If the netlist has what terms cannot say.
    ToolMissing, ToolError
        If the solver is missing or fails.
    """
    prover = _Prover(program, model, latency, solver, timeout)
    return prover.run()


class _Prover:
    def __init__(self, program: Program, model: MultiplyAccumulate, latency: int, solver: str, timeout: float | None
                 ) -> None:
        self._program, self._model, self._latency = program, model, latency
        self._solver, self._timeout = solver, timeout
        self._begin = time.monotonic()

    def run(self) -> Proof:
        left = "no relation between the registers and the specification's state was found to hold from one cycle to " \
               "the next; the netlist agrees with it in the sequences that were run"
        fronts = min(self._latency, _MOST_REGISTERS_IN_FRONT + 1)
        for delay in range(fronts):
            pair = _Pair.of(self._program, AccumulatorMachine(self._model, self._latency, delay))
            samples, wrong = self._sampled(pair)
            if wrong is not None:
                return self._proof(Status.REFUTED, delay, counterexample=wrong)
            found = relations(samples, pair.state.keys(), pair.machine.conditions)
            if len({relation.register for relation in found}) < len(self._program.state):
                continue  # some register holds what this way of keeping things has nothing for
            holding, answer = self._inductive(pair, found)
            if answer is None:
                answer = self._ask([*holding, pair.differs()], pair)
                if answer.result is Result.UNSATISFIABLE:
                    return self._proof(Status.PROVED, delay, relations=len(holding))
            if answer.result is Result.UNDECIDED:
                expired = answer.expired
                return self._proof(Status.TIMED_OUT if expired else Status.UNDECIDED, delay,
                                   left=f"the step of the induction over {len(found)} relations between registers and "
                                        "the specification's state; a longer --timeout or another --solver may end")
        return self._proof(Status.UNDECIDED, 0, left=left)

    def _proof(self, status: Status, delay: int, *, relations: int = 0, left: str = "",
               counterexample: Json | None = None) -> Proof:
        shown = f" over {relations} relations between registers and its state" if relations else ""
        return Proof(status=status, solver=self._solver, version=version_of(self._solver),
                     seconds=time.monotonic() - self._begin, left=left, counterexample=counterexample,
                     method="equal to a transition system in bit-vector arithmetic, in every cycle from power-up and "
                            f"for all inputs, by induction{shown}",
                     assumptions=("flip-flops hold their initial values after power-up",
                                  "what o.payload shows while o.valid is low does not matter"))

    # Runs

    def _sampled(self, pair: _Pair) -> tuple[Samples, Json | None]:
        """Run both from power-up; return what was seen, and the first difference."""
        generator = np.random.default_rng(_SEED)
        signals = pair.machine.signals(pair.state)
        samples, values = Samples(signals), pair.initial(_LANES)
        follow = {term.head: following for term, following in zip(
            (*pair.state.values(), *pair.registers), (*pair.following.values(), *pair.step.next), strict=True)}
        history: list[Mapping[str, Values]] = []
        for _ in range(_CYCLES):
            given = {term.head: _random_inputs(name, term, generator) for name, term in pair.inputs.items()}
            history.append(given)
            values |= given
            results = evaluate([*follow.values(), *signals.values(), pair.differs()], values)
            if results[-1].any():
                return samples, _trace(pair, history, values, int(np.flatnonzero(results[-1])[0]))
            samples.add([values[term.head] for term in pair.registers], results[len(follow):-1])
            values |= dict(zip(follow, results[:len(follow)], strict=True))
        return samples, None

    # Induction

    def _inductive(self, pair: _Pair, found: Sequence[Relation]) -> tuple[list[Term], Answer | None]:
        """Drop relations until the rest follow from themselves.

        Returns
        -------
        (terms, answer)
            What holds in every cycle, and the solver's answer if it could not decide.
        """
        machine = pair.machine
        signals, following = machine.signals(pair.state), machine.signals(pair.following)
        now = [*machine.invariants(pair.state), *(relation.term(pair.registers, signals) for relation in found)]
        after = [*machine.invariants(pair.following), *(relation.term(pair.step.next, following) for relation in found)]
        kept = _held(evaluate(now, pair.initial(1)))
        generator = np.random.default_rng(_SEED)
        while True:
            now, after = ([terms[index] for index in kept] for terms in (now, after))
            answer = self._ask([*now, any_of(*map(invert, after))], pair)
            if answer.result is not Result.SATISFIABLE:
                return now, None if answer.result is Result.UNSATISFIABLE else answer
            # The state that was found, with the inputs that were and with others: what fails for one of them goes.
            values = {term.head: np.full(_LANES, answer.values[term.head], dtype=object) for term in pair.variables}
            for name, term in pair.inputs.items():
                values[term.head][1:] = _random_inputs(name, term, generator)[1:]
            kept = _held(evaluate(after, values))

    def _ask(self, assertions: Sequence[Term], pair: _Pair) -> Answer:
        left = None if self._timeout is None else max(self._timeout - (time.monotonic() - self._begin), 0.001)
        return satisfy(assertions, wanted=pair.variables, solver=self._solver, timeout=left)


def _held(results: Sequence[Values]) -> list[int]:
    """Return which results are true in every lane."""
    return [index for index, holds in enumerate(results) if holds.all()]


def _random_inputs(name: str, term: Term, generator: np.random.Generator) -> Values:
    """Return one cycle's inputs: resets are rare, stalls are not."""
    if name == "rst":
        return (generator.random(_LANES) < _RESETS).astype(np.uint64)
    if term.sort.width == 1:
        return (generator.random(_LANES) < _WILLING).astype(np.uint64)
    if term.sort.width <= 64:
        return generator.integers(0, 1 << term.sort.width, _LANES, dtype=np.uint64, endpoint=False) \
            if term.sort.width < 64 else generator.integers(0, 1 << 64, _LANES, dtype=np.uint64)
    width = term.sort.width
    return np.array([int.from_bytes(generator.bytes(-(-width // 8)), "little") % (1 << width) for _ in range(_LANES)],
                    dtype=object)


def _trace(pair: _Pair, history: Sequence[Mapping[str, Values]], values: Mapping[str, Values], lane: int) -> Json:
    """Return the inputs of one run from power-up on, and the outputs of its last cycle."""
    want = pair.machine.outputs(pair.state, pair.inputs)
    one = {name: array[lane:lane + 1] for name, array in values.items()}
    names = list(want)
    got = evaluate([pair.step.outputs[name] for name in names], one)
    wanted = evaluate([want[name] for name in names], one)
    return {"inputs": {name: [int(cycle[term.head][lane]) for cycle in history] for name, term in pair.inputs.items()},
            "got": {name: int(array[0]) for name, array in zip(names, got, strict=True)},
            "want": {name: int(array[0]) for name, array in zip(names, wanted, strict=True)}}
