"""The proof that a netlist without memory, or a pipeline of one, is its operation for every input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sw.reference.model import Codes, Function, Port
from synth.errors import SynthError
from synth.netlist import NumpyEngine, Program
from synth.prove.circuit import input_variables, netlist_terms, state_variables
from synth.prove.equivalence import Status
from synth.prove.proof import Proof
from synth.prove.solve import Result, satisfy
from synth.prove.specification import Specification
from synth.prove.terms import any_of, not_equal

__all__ = ["confirmed", "prove_function"]

Json = dict[str, Any]


def prove_function(program: Program, model: Function, specification: Specification, *, latency: int, solver: str,
                   timeout: float | None) -> Proof:
    """Prove that a netlist's outputs are the specification's, ``latency`` cycles after the inputs.

    A pipeline starts from any contents of its registers, with any inputs in the cycles that follow: what holds then
    holds at all times.

    Raises
    ------
    NetlistError
        If the netlist has what terms cannot say.
    ToolMissing, ToolError
        If the solver is missing or fails.
    SynthError
        If the solver finds a counterexample and the exact reference sides with the netlist.
    """
    cycles = [dict(specification.inputs)]
    cycles += [input_variables(program.data_inputs, f"_{cycle}") for cycle in range(1, latency + 1)]
    state = state_variables(program)
    for inputs in cycles:
        step = netlist_terms(program, inputs, state)
        state = step.next
    wrong = any_of(*(not_equal(step.outputs[name], want) for name, want in specification.outputs.items()))
    wanted = [term for inputs in cycles for term in inputs.values()]
    answer = satisfy([*specification.definitions, wrong], wanted=wanted, solver=solver, timeout=timeout)
    common: dict[str, Any] = {"solver": solver, "version": answer.version, "seconds": answer.seconds,
                              "method": _method(specification, latency), "assumptions": specification.assumptions}
    if answer.result is Result.UNSATISFIABLE:
        return Proof(status=Status.PROVED, **common)
    if answer.result is Result.UNDECIDED:
        status = Status.TIMED_OUT if answer.expired else Status.UNDECIDED
        return Proof(status=status, left=_left(specification, answer.expired), **common)
    found = [{name: answer.values[term.head] for name, term in inputs.items()} for inputs in cycles]
    counterexample = confirmed(program, model, found)
    if counterexample is None and not program.state:
        raise SynthError(f"Specification must agree with the exact reference, not differ from it for {found[0]}: the "
                         f"netlist's result is the reference's there, but not that of {specification.theory} as the "
                         "solver understands it; another --solver may agree, and please report it")
    if counterexample is None:
        return Proof(status=Status.UNDECIDED, left="the result differs only for contents of the registers that a "
                     "pipeline may not come to have", **common)
    return Proof(status=Status.REFUTED, counterexample=counterexample, **common)


def _method(specification: Specification, latency: int) -> str:
    when = f", {latency} cycle{'s' if latency > 1 else ''} after any inputs and from any state" if latency else \
        " for every input"
    return f"equal to {specification.theory}{when}"


def _left(specification: Specification, expired: bool) -> str:
    if not expired:
        return f"the solver gave up on {specification.theory}"
    return (f"nothing is known for any input beyond what was run; a longer --timeout, another --solver or formats of "
            f"fewer bits than {sum(term.sort.width for term in specification.inputs.values())} in all may end")


def confirmed(program: Program, model: Function, found: list[dict[str, int]]) -> Json | None:
    """Return a counterexample for which the netlist, run, differs from the exact reference; None if it does not.

    Parameters
    ----------
    found : list of mapping of port name to code
        The inputs of each cycle.
    """
    got = _run(program, found)
    want = {name: _integer(port, codes) for (name, port), codes in zip(
        model.outputs.items(), model.evaluate({name: _codes(port, found[0][name])
                                               for name, port in model.inputs.items()}).values(), strict=True)}
    return {"inputs": found[0], "got": got, "want": want} if got != want else None


def _run(program: Program, cycles: list[dict[str, int]]) -> dict[str, int]:
    """Return the outputs of the last cycle, from the initial state."""
    simulation = NumpyEngine(program).simulation(1)
    clocked = bool(program.clocks)
    for index, inputs in enumerate(cycles):
        if index and clocked:
            simulation.step()
        for name, code in inputs.items():
            simulation.set(name, code)
    return {port.name: int(simulation.get(port.name)[0]) for port in program.outputs}


def _codes(port: Port, code: int) -> Codes:
    if port.lanes is None:
        return np.array([code], dtype=np.uint64 if port.width <= 64 else object)
    mask = (1 << port.width) - 1
    return np.array([[code >> lane * port.width & mask for lane in range(port.lanes)]],
                    dtype=np.uint64 if port.width <= 64 else object)


def _integer(port: Port, codes: Codes) -> int:
    lanes: Mapping[int, Any] = dict(enumerate(np.ravel(codes).tolist()))
    return sum(int(code) << lane * port.width for lane, code in lanes.items())
