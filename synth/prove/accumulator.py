"""The stream of a fixed-point accumulator as a transition system in bit-vectors: what its circuit is proved to be.

A transfer that is taken travels ``delay`` stages, joins the sum, and asks for the cast sum ``latency`` stages after it
was taken; every stage stands still while a result waits. How many stages lie in front of the sum makes no difference to
what can be seen from outside; it is chosen as the circuit has it, so that both keep the same things at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sw.reference.mac import MultiplyAccumulate
from synth.prove.fixed_arithmetic import (
    Integer,
    cast_code,
    fixed_value,
    product_of,
    rounded_value,
)
from synth.prove.terms import (
    BOOL,
    FALSE,
    TRUE,
    Sort,
    Term,
    add,
    all_of,
    any_of,
    bit,
    bits,
    choose,
    constant,
    equal,
    extract,
    implies,
    invert,
    resized,
    shift_left,
)

__all__ = ["AccumulatorMachine"]


@dataclass(frozen=True)
class AccumulatorMachine:
    """A transition system: its state by name, and functions from the state and the inputs.

    Parameters
    ----------
    model : MultiplyAccumulate
    latency : int, cycles
        From a transfer to the result that it asks for, at least 1.
    delay : int, cycles
        From a transfer to its joining the sum, below the latency.
    """

    model: MultiplyAccumulate
    latency: int
    delay: int

    @cached_property
    def state(self) -> Mapping[str, Sort]:
        """The sort of everything that is kept."""
        model = self.model
        sorts: dict[str, Sort] = {}
        operands = [name for name in model.inputs if name not in ("last", "random")]
        for stage in range(1, self.delay + 1):
            sorts |= {f"{name}_{stage}": bits(model.inputs[name].width) for name in operands}
            sorts[f"valid_{stage}"] = BOOL
        for stage in range(self.delay + 1):
            sorts[f"fresh_{stage}"] = BOOL
        for stage in range(self.delay + 1, self.latency + 1):
            sorts[f"sum_{stage}"] = bits(model.accumulator.width)
        for stage in range(1, self.latency + 1):
            sorts[f"ended_{stage}"] = BOOL
            if model.random_bits:
                sorts[f"random_{stage}"] = bits(model.random_bits)
        return sorts

    @property
    def initial(self) -> Mapping[str, Term]:
        """What is kept after power-up."""
        return {name: (TRUE if name.startswith("fresh_") else FALSE) if sort is BOOL else constant(0, sort.width)
                for name, sort in self.state.items()}

    def outputs(self, state: Mapping[str, Term], inputs: Mapping[str, Term]) -> dict[str, Term]:
        """Return ``i__ready`` and ``o__valid``, booleans, and ``o__payload``, which means something while valid."""
        valid = state[f"ended_{self.latency}"]
        return {"i__ready": self._advance(state, inputs), "o__valid": valid,
                "o__payload": self._code(state, self.latency)}

    def next(self, state: Mapping[str, Term], inputs: Mapping[str, Term]) -> dict[str, Term]:
        """Return what is kept after the clock's edge."""
        advance, reset = self._advance(state, inputs), bit(inputs["rst"], 0)
        taken = self._transfer(state, inputs)
        following: dict[str, Term] = {}
        for name in self.state:
            kind, stage = name.rsplit("_", 1)
            behind = int(stage) - 1
            if kind == "fresh":
                valid = taken["valid"] if behind < 0 else state[f"valid_{stage}"]
                following[name] = any_of(reset, all_of(state[name], invert(all_of(advance, valid))))
                continue
            if kind == "sum" and behind == self.delay:
                new = self._sum(state, taken)
            else:
                new = taken[kind] if behind == 0 else state[f"{kind}_{behind}"]
            kept = choose(advance, new, state[name])
            if kind in ("valid", "ended"):
                kept = all_of(kept, invert(reset))
            elif kind == "sum" and behind == self.delay:
                kept = choose(reset, constant(0, self.model.accumulator.width), kept)
            following[name] = kept
        return following

    def signals(self, state: Mapping[str, Term]) -> dict[str, Term]:
        """Return everything that a circuit may keep in a register instead: functions of the state."""
        model, found = self.model, dict(state)
        for stage in range(1, self.delay + 1):
            product = self._product({name: state[f"{name}_{stage}"] for name in "ab"})
            found[f"product_{stage}"] = product.term
        if self.delay:
            taken = {name.rsplit("_", 1)[0]: term for name, term in state.items() if name.endswith(f"_{self.delay}")}
            found["base"] = self._base(state, taken)
        for stage in range(self.delay + 1, self.latency + 1):
            found[f"code_{stage}"] = self._code(state, stage)
            found[f"rounded_{stage}"] = rounded_value(
                self._value(state, stage), -model.result.fraction_bits, model.rounding,
                state[f"random_{stage}"] if model.random_bits else None)
        return found

    def invariants(self, state: Mapping[str, Term]) -> list[Term]:
        """Return what holds in every state that is reached, as far as an induction needs it."""
        found, sum_stage = [], self.delay + 1
        for stage in range(self.delay):
            behind, ahead, valid = (state[name] for name in (f"fresh_{stage}", f"fresh_{stage + 1}",
                                                            f"valid_{stage + 1}"))
            found += [implies(behind, ahead), implies(behind, invert(valid)),
                      implies(all_of(ahead, invert(behind)), valid)]
        for stage in range(1, self.latency + 1):
            ended = state[f"ended_{stage}"]
            found.append(implies(ended, state[f"valid_{stage}"] if stage < sum_stage
                                 else invert(state[f"fresh_{self.delay}"])))
        zero = constant(0, self.model.accumulator.width)
        return [*found, implies(state[f"fresh_{self.delay}"], equal(state[f"sum_{sum_stage}"], zero))]

    @property
    def conditions(self) -> list[tuple[tuple[str, bool], ...]]:
        """Flags with their values, while which a register may hold what the specification does, and else not."""
        flags = [name for name, sort in self.state.items() if sort is BOOL]
        pairs = [((f"valid_{stage}", False), (f"fresh_{stage}", False)) for stage in range(1, self.delay + 1)]
        return [*(((name, value),) for name in flags for value in (True, False)), *pairs]

    def _advance(self, state: Mapping[str, Term], inputs: Mapping[str, Term]) -> Term:
        return any_of(invert(state[f"ended_{self.latency}"]), bit(inputs["o__ready"], 0))

    def _transfer(self, state: Mapping[str, Term], inputs: Mapping[str, Term]) -> dict[str, Term]:
        """Return the fields of the transfer that is offered, whether it is, and whether it asks for a result."""
        fields, place = {}, 0
        for name, port in self.model.inputs.items():
            fields[name] = extract(inputs["i__payload"], place + port.width - 1, place)
            place += port.width
        fields["valid"] = bit(inputs["i__valid"], 0)
        fields["ended"] = all_of(fields["valid"], bit(fields["last"], 0))
        return fields

    def _sum(self, state: Mapping[str, Term], taken: Mapping[str, Term]) -> Term:
        """Return the sum after the transfer that has travelled far enough, if there is one."""
        held = state[f"sum_{self.delay + 1}"]
        if self.delay:
            taken = {name: state[f"{name}_{self.delay}"] for name in taken if f"{name}_{self.delay}" in state}
        product = self._product(taken)
        total = add(self._base(state, taken), resized(product.term, held.sort.width, signed=True))
        return choose(taken["valid"], total, held)

    def _base(self, state: Mapping[str, Term], taken: Mapping[str, Term]) -> Term:
        """Return what a product is added to."""
        model, width = self.model, self.model.accumulator.width
        start = constant(0, width)
        if model.c is not None:
            places = model.accumulator.fraction_bits - model.c.fraction_bits
            start = resized(shift_left(fixed_value(model.c, taken["c"]).term, places), width, signed=True)
        return choose(bit(taken["first"], 0), start, state[f"sum_{self.delay + 1}"])

    def _product(self, taken: Mapping[str, Term]) -> Integer:
        return product_of(fixed_value(self.model.a, taken["a"]), fixed_value(self.model.b, taken["b"]))

    def _value(self, state: Mapping[str, Term], stage: int) -> Integer:
        return fixed_value(self.model.accumulator, state[f"sum_{stage}"])

    def _code(self, state: Mapping[str, Term], stage: int) -> Term:
        random = state[f"random_{stage}"] if self.model.random_bits else None
        return cast_code(self._value(state, stage), self.model.cast, random)
