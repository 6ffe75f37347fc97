"""Whether a fault that no check finds changes anything: proved by enumeration, by a solver, or not known."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth.errors import ToolMissing
from synth.mutate.excitation import never_acts
from synth.mutate.fading import changes_only_start, start_fades
from synth.mutate.faults import Fault, FaultKind
from synth.mutate.forgetting import forgets_after
from synth.mutate.lanes import clock_bits, has_choice, program_of
from synth.mutate.pair import MAXIMUM_BITS, Pair, first_difference, names_of, pair_of, twin_states, window_of
from synth.mutate.plant import CHOICE, plant, top_module
from synth.mutate.reachable import Reachable
from synth.netlist import NetlistError, Program, compile_netlist, read_netlist

ENUMERATED_BITS = 18
"""Bits up to which every combination is run at once; from here to :data:`MAXIMUM_BITS` only without a solver."""

SOLVER_SECONDS = 20.0
"""How long a solver may think about one fault."""

MASKED_SECONDS = 300.0
"""How long it may take to find what hides a difference."""

MACHINE_SECONDS = 120.0
"""How long it may take to find that two machines, with a fault and without, show the same."""

_DEPTHS, _WINDOW_SECONDS = (9, 24), 5.0
"""How many gates before the fault are looked at in turn, before all are, and how long a solver may think then."""


class Verdict(enum.Enum):
    """What is known of a fault that the check does not find."""

    EQUIVALENT = "equivalent"
    """It changes nothing that can be seen."""
    NOT_EQUIVALENT = "not equivalent"
    """It does: the check has missed it."""
    UNKNOWN = "unknown"
    """No proof of either was found; it counts as missed."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict, how it was come by, and inputs that show the fault where there are any."""

    verdict: Verdict
    method: str
    inputs: Mapping[str, int] = field(default_factory=dict)


def judge(document: Mapping[str, Any], fault: Fault, sound: Program, *, latency: int = 0, stream: bool = False,
          clean: bool = True, timeout: float = SOLVER_SECONDS) -> Judgement:
    """Return whether a fault changes anything.

    Without registers, the netlists are compared for all inputs. With registers, they are equal if their outputs and
    next states are the same function of inputs and state, and they start in the same state: that is enough, and more
    than is needed, since states that are never reached count as well. So what is not proved then is not known.

    Parameters
    ----------
    document : mapping
        The sound netlist, as Yosys' JSON.
    fault : Fault
    sound : Program
        Of the sound netlist.
    latency : int, cycles
        Of a pipeline, whose outputs mean nothing before; of a stream operation it plays no part.
    stream : bool
        Whether it is a stream operation.
    clean : bool
        Whether all codes of the inputs are legal, so that a difference for any of them is one.
    timeout : float, seconds
        For a solver.
    """
    forgets = not stream and bool(sound.state) and forgets_after(sound, latency)
    if forgets and fault.kind is FaultKind.INITIAL_VALUE:
        return Judgement(verdict=Verdict.EQUIVALENT, method="registers forget how they started within the latency")
    if (stream and fault.kind is FaultKind.INITIAL_VALUE and changes_only_start(top_module(document)[1]["cells"][
            fault.cell]) and start_fades(sound, fault.cell)):
        return Judgement(verdict=Verdict.EQUIVALENT, method="how it starts is gone before a result is valid")
    pair = pair_of(document, fault)
    if pair is None:
        return Judgement(verdict=Verdict.UNKNOWN, method="memories, or asynchronous resets")
    if not pair.same_start and not forgets:
        return Judgement(verdict=Verdict.UNKNOWN, method="registers start at other values")
    method = never_acts(document, fault, timeout, clock_bits(sound)) if pair.bits > ENUMERATED_BITS else ""
    same, method, inputs = (True, method, dict[str, int]()) if method else _compared(pair, timeout)
    if same:
        method = f"induction over equal states, {method}" if sound.state else method
        return Judgement(verdict=Verdict.EQUIVALENT, method=method)
    if same is None or sound.state or not clean:
        return Judgement(verdict=Verdict.UNKNOWN, method=method if same is None else
                         "differs for states or codes that may never be" + f" ({method})")
    return Judgement(verdict=Verdict.NOT_EQUIVALENT, method=method, inputs=inputs)


def judge_reachable(document: Mapping[str, Any], fault: Fault, sound: Program, reachable: Reachable, *,
                    timeout: float = SOLVER_SECONDS) -> Judgement:
    """Return whether a fault changes anything in the states that a circuit comes to, of which some are known not to be.

    Parameters
    ----------
    sound : Program
        Of the sound netlist.
    reachable : Reachable
        What is known of its states.
    timeout : float, seconds
        For a solver, each time.
    """
    pair = pair_of(document, fault)
    if pair is None or not pair.same_start:
        return Judgement(verdict=Verdict.UNKNOWN, method="memories, asynchronous resets, or another start")
    method = never_acts(document, fault, timeout, clock_bits(sound), reachable=reachable)
    if not method:
        from synth.prove import Status, equivalent

        answer = equivalent(pair.sound, pair.faulty, given=reachable.given(pair.names), timeout=timeout)
        solver = f"{answer.solver} {answer.version}"
        if answer.status is not Status.PROVED:
            how = "differs for" if answer.status is Status.REFUTED else "gave up on"
            return Judgement(verdict=Verdict.UNKNOWN, method=f"{solver} {how} states that are not known never to be")
        method = solver
    return Judgement(verdict=Verdict.EQUIVALENT, method=f"induction over reachable states, {method}")


def judge_masked(document: Mapping[str, Any], fault: Fault, sound: Program, reachable: Reachable, *,
                 timeout: float = MASKED_SECONDS) -> Judgement:
    """Return whether a fault only changes what registers hold while it does not matter: see :func:`synth.prove.masked`.

    Parameters
    ----------
    sound, reachable
        As for :func:`judge_reachable`.
    timeout : float, seconds
        For all that a solver is asked.
    """
    faulty = compile_netlist(read_netlist(plant(document, fault)))
    names, others = names_of(sound), names_of(faulty)
    places = {others[bit.stored]: place for place, bit in enumerate(faulty.state)}
    matching = [places.get(names[bit.stored]) for bit in sound.state]
    known = [place for place in matching if place is not None]
    if len(known) < len(matching) or len(places) > len(known) or any(
            bit.initial != faulty.state[place].initial for bit, place in zip(sound.state, known, strict=True)):
        return Judgement(verdict=Verdict.UNKNOWN, method="registers that are lost, or start at other values")
    from synth.prove import Status, masked

    answer = masked(sound, faulty, known, reachable.program, timeout=timeout)
    solver = f"{answer.solver} {answer.version}"
    if answer.status is Status.PROVED:
        return Judgement(verdict=Verdict.EQUIVALENT, method=f"induction over masked differences, {solver}")
    return Judgement(verdict=Verdict.UNKNOWN, method=f"no induction over masked differences ({solver})")


def judge_machine(document: Mapping[str, Any], fault: Fault, *, timeout: float = MACHINE_SECONDS) -> Judgement:
    """Return whether a fault of a stream operation is ever seen from power-up on, by the rules of streams.

    Beyond what :func:`judge` does: registers of the machine with the fault may hold something else while it does not
    matter, and states that are never reached do not count. See :func:`synth.prove.unobservable`.
    """
    program = program_of(document, [fault])
    if not has_choice(program):
        return Judgement(verdict=Verdict.EQUIVALENT, method="nothing depends on it")
    try:
        from synth.prove import Status, unobservable

        answer = unobservable(program, CHOICE, twins=twin_states(program, fault.cell), timeout=timeout)
    except ToolMissing as error:
        return Judgement(verdict=Verdict.UNKNOWN, method=str(error))
    except NetlistError:
        return Judgement(verdict=Verdict.UNKNOWN, method="memories, or asynchronous resets")
    solver = f"{answer.solver} {answer.version}"
    if answer.status is Status.PROVED:
        return Judgement(verdict=Verdict.EQUIVALENT, method=f"induction over reachable states, {solver}")
    if answer.status is Status.REFUTED:
        return Judgement(verdict=Verdict.NOT_EQUIVALENT, method="seen in runs from power-up")
    how = f"not found after {answer.seconds:.0f} s" if answer.status is Status.TIMED_OUT else "none found"
    return Judgement(verdict=Verdict.UNKNOWN, method=f"no induction over reachable states ({solver}, {how})")


def _compared(pair: Pair, timeout: float) -> tuple[bool | None, str, dict[str, int]]:
    """Return whether the two are the same, or None, how that was found, and inputs for which they differ.

    Most faults that change nothing do so for a reason nearby, which is found without the arithmetic around it.
    """
    for depth in _DEPTHS:
        window = window_of(pair, depth)
        if window.bits < pair.bits or len(window.sound.instructions) < len(pair.sound.instructions):
            same, method, _ = _decided(window, min(timeout, _WINDOW_SECONDS))
            if same:
                return True, f"{method} nearby", {}
    return _decided(pair, timeout)


def _decided(pair: Pair, timeout: float) -> tuple[bool | None, str, dict[str, int]]:
    """Return the same of the two as they are."""
    if not pair.sound.outputs[0].width:
        return True, "nothing depends on it", {}
    if pair.bits <= ENUMERATED_BITS:
        return _enumerated(pair)
    try:
        from synth.prove import Status, equivalent

        answer = equivalent(pair.sound, pair.faulty, timeout=timeout)
    except ToolMissing as error:
        return _enumerated(pair) if pair.bits <= MAXIMUM_BITS else (None, str(error), {})
    if answer.status is Status.PROVED:
        return True, f"{answer.solver} {answer.version}", {}
    if answer.status is Status.REFUTED and answer.inputs is not None:
        [code] = answer.inputs.values()
        return False, f"{answer.solver} {answer.version}", _values(pair.names, code)
    return None, f"{answer.solver} {answer.version} gave up after {answer.seconds:.0f} s", {}


def _enumerated(pair: Pair) -> tuple[bool, str, dict[str, int]]:
    difference = first_difference(pair)
    method = f"all combinations of {pair.bits} bits"
    return difference is None, method, {} if difference is None else _values(pair.names, difference)


def _values(names: Sequence[str], code: int) -> dict[str, int]:
    return {name: code >> index & 1 for index, name in enumerate(names)}
