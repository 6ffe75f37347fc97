"""Whether two netlists without memory compute the same."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from synth.netlist.errors import NetlistError
from synth.netlist.program import Program
from synth.prove.circuit import input_variables, netlist_terms
from synth.prove.solve import DEFAULT_SOLVER, Result, satisfy
from synth.prove.terms import any_of, bit, not_equal

__all__ = ["Status", "Verdict", "equivalent"]


class Status(enum.Enum):
    """What came of a proof."""

    PROVED = "proved"
    REFUTED = "refuted"
    TIMED_OUT = "timed-out"
    UNDECIDED = "undecided"
    """The method ended without a proof and without a counterexample."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether two netlists are equal.

    Parameters
    ----------
    status : Status
    solver, version : str
    seconds : float
    inputs : mapping of port name to code, or None
        Where they differ, if they do.
    """

    status: Status
    solver: str
    version: str
    seconds: float
    inputs: Mapping[str, int] | None = None


def equivalent(a: Program, b: Program, *, given: Program | None = None, solver: str = DEFAULT_SOLVER,
               timeout: float | None = None) -> Verdict:
    """Prove that two programs have equal outputs for equal inputs, or find inputs for which they have not.

    Parameters
    ----------
    a, b : Program
        Without flip-flops and memories, of the same ports.
    given : Program, optional
        A third one, of input ports that may be theirs, whose outputs show where they have to be equal: while all of
        these are 1 for any values of its other inputs.
    timeout : float, seconds, optional

    Raises
    ------
    NetlistError
        If a program has flip-flops or memories, or the ports are not the same.
    ToolMissing, ToolError
        As :func:`synth.prove.solve.satisfy`.
    """
    widths = [{(port.name, port.width) for port in (*program.inputs, *program.outputs)} for program in (a, b)]
    if widths[0] != widths[1]:
        raise NetlistError("Netlists must have the same ports to be compared, not differ in "
                           f"{', '.join(sorted({name for name, _ in widths[0] ^ widths[1]}))}")
    for program in (a, b) if given is None else (a, b, given):
        if program.state:
            raise NetlistError(f"Netlists must have no flip-flops to be compared, not {program.state[0].cell}")
    inputs = input_variables(a.inputs)
    first, second = netlist_terms(a, inputs).outputs, netlist_terms(b, inputs).outputs
    differs = any_of(*(not_equal(first[name], second[name]) for name in first))
    shown = {} if given is None else netlist_terms(given, {**input_variables(given.inputs), **inputs}).outputs
    answer = satisfy([differs, *(bit(term, index) for term in shown.values() for index in range(term.sort.width))],
                     wanted=list(inputs.values()), solver=solver, timeout=timeout)
    status = {Result.SATISFIABLE: Status.REFUTED, Result.UNSATISFIABLE: Status.PROVED}.get(
        answer.result, Status.TIMED_OUT if answer.expired else Status.UNDECIDED)
    found = {name: answer.values[term.head] for name, term in inputs.items()} if status is Status.REFUTED else None
    return Verdict(status=status, solver=solver, version=answer.version, seconds=answer.seconds, inputs=found)
