"""The proofs of an operation's mapped netlists, one a target, side by side, each kept in the store by content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sw.reference.mac import MultiplyAccumulate
from synth.console import Progress
from synth.errors import UsageError
from synth.netlist import Program, compile_netlist, read_netlist
from synth.operations import Operation
from synth.prove.equivalence import Status
from synth.prove.functions import prove_function
from synth.prove.products import prove_product, suits
from synth.prove.proof import Proof
from synth.prove.solve import version_of
from synth.prove.specify import PROVABLE, specify
from synth.prove.streams import prove_stream
from synth.store import Store, digest_of
from synth.toolchain import stop_all

if TYPE_CHECKING:
    from synth.build import Builder, Outcome

__all__ = ["check_provable_operation", "proof_run", "prove_any_function"]

Json = dict[str, Any]


def check_provable_operation(operation: Operation) -> None:
    """Refuse an operation that has no specification in terms, before any work.

    Raises
    ------
    UsageError
        If it has none.
    """
    if isinstance(operation.model, MultiplyAccumulate):
        return
    if operation.is_stream:
        raise UsageError(f"Operation must be one of {PROVABLE} to be proved, not {operation.name}; without --prove it "
                         "is run against the exact reference")
    specify(operation.model)


@cache
def _prover_digest() -> str:
    """Return the SHA-256 of everything that makes a proof beside netlist and solver."""
    import synth.netlist

    folders = [Path(__file__).parent, Path(synth.netlist.__file__).parent]
    return digest_of(*(part for folder in folders for path in sorted(folder.rglob("*.py"))
                       for part in (path.name, path.read_bytes())))


def proof_run(builder: Builder, *, solver: str, timeout: float | None, jobs: int, store: Store,
              progress: Progress) -> dict[str, Proof]:
    """Prove every netlist that a builder has mapped; return the proofs by the name of the target.

    What was proved or refuted before is not asked again.

    Parameters
    ----------
    timeout : float, seconds, or None
        Limit for each proof.
    jobs : int
        How many solvers run at a time.
    progress : Progress
        Told of each proof.

    Raises
    ------
    UsageError
        If the operation has no specification in terms.
    NetlistError
        If a netlist has what terms cannot say.
    ToolMissing, ToolError
        If the solver is missing or fails.
    KeyboardInterrupt
        On Ctrl-C, after the solvers have been ended.
    """
    check_provable_operation(builder.operation)
    outcomes = [outcome for outcome in builder.outcomes if outcome.mapped is not None and outcome.error is None]

    def prove(outcome: Outcome) -> Proof:
        progress.start(f"{outcome.target.title}: {solver} is proving")
        proof = _kept_or_proved(builder, outcome, solver=solver, timeout=timeout, store=store)
        progress.advance()
        return proof

    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        proofs = list(pool.map(prove, outcomes))
    except BaseException:
        stop_all()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return {outcome.target.name: proof for outcome, proof in zip(outcomes, proofs, strict=True)}


def _kept_or_proved(builder: Builder, outcome: Outcome, *, solver: str, timeout: float | None, store: Store) -> Proof:
    mapped, operation = outcome.mapped, builder.operation
    assert mapped is not None  # proof_run asks for no other
    latency = builder.designs[outcome.target.name].latency
    parameters: Mapping[str, Any] = operation.parameters()
    key = digest_of("proof 1", mapped.digest, _prover_digest(), operation.name, json.dumps(parameters), str(latency),
                    solver, version_of(solver))
    record = store.get(key)
    if record is not None:
        return Proof.of(record)
    program = compile_netlist(read_netlist(mapped.document()))
    if isinstance(operation.model, MultiplyAccumulate):
        proof = prove_stream(program, operation.model, latency=latency, solver=solver, timeout=timeout)
    else:
        proof = prove_any_function(program, operation.model, latency=latency, solver=solver, timeout=timeout)
    if proof.status in (Status.PROVED, Status.REFUTED):
        store.put(key, "proof", proof.record())
    return proof


def prove_any_function(program: Program, model: Any, *, latency: int, solver: str, timeout: float | None) -> Proof:
    """Prove a netlist without memory: in two parts where it comes apart, otherwise at once.

    Raises
    ------
    NetlistError, ToolMissing, ToolError, SynthError
        As :func:`synth.prove.functions.prove_function`.
    """
    if suits(model, latency) and not program.state:
        proof = prove_product(program, model, solver=solver, timeout=timeout)
        if proof is not None:
            return proof
    return prove_function(program, model, specify(model), latency=latency, solver=solver, timeout=timeout)
