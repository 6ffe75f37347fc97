"""``verify``: the agreement check alone, without placement or files; further, a proof, or faults to be found."""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.console import Console
from synth.errors import ExitCode, UsageError
from synth.verbs.request import (
    add_check_arguments,
    add_operation_arguments,
    add_target_arguments,
    check_options,
    chosen_targets,
    describe,
    describe_difference,
    operation_from,
    verdict,
)

if TYPE_CHECKING:
    from synth.operations import Operation
    from synth.prove.proof import Proof

Json = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import positive

    add_operation_arguments(parser)
    add_check_arguments(parser)
    add_target_arguments(parser)
    group = parser.add_argument_group("evidence beyond the check")
    group.add_argument("--prove", action="store_true",
                       help="prove the mapped netlists by an SMT solver, for every input: float arithmetic as SMT-LIB "
                            "defines it, fixed point in bit-vectors, accumulators by induction; --timeout limits each")
    group.add_argument("--solver", metavar="NAME", help="bitwuzla or z3 (default: bitwuzla)")
    group.add_argument("--mutate", metavar="N", type=positive("Mutants"),
                       help="plant N faults in each mapped netlist, one at a time, and count those that the check "
                            "finds")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify; return the exit code."""
    from synth.build import Builder, Plan, summary
    from synth.store import Store, cache_folder

    operation, notes = operation_from(arguments)
    if arguments.prove:
        from synth.prove.run import check_provable_operation

        check_provable_operation(operation)
    solver = _solver(arguments)
    plan = Plan(operation=operation, targets=chosen_targets(arguments), device=None, seeds=(),
                vector_seed=arguments.seed, jobs=arguments.jobs, timeout=arguments.timeout,
                **check_options(arguments))
    console.print(describe(operation, notes))
    store = Store(cache_folder(), warn=console.warn)
    try:
        builder = Builder(plan, store=store)
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as work:
            with console.progress("verifying", builder.steps) as progress:
                outcomes = builder.run(Path(work), progress)
            results = [summary(outcome) for outcome in outcomes]
        proofs = _proofs(builder, arguments, solver, store, console) if arguments.prove else {}
        mutations = _mutations(builder, plan, arguments, console) if arguments.mutate else []
    finally:
        store.close()
    checks = [{"target": result["target"], **result["verification"]} for result in results if "error" not in result]
    _print_json(console, operation, checks, proofs, mutations)
    for line in [*verdict(operation, results), *_proof_lines(operation, plan.targets, proofs),
                 *_mutation_lines(mutations)]:
        console.print(line)
    for outcome in outcomes:
        if outcome.error is not None:
            console.error(f"{outcome.target.title}: {outcome.error}")
    failed = next((outcome.error for outcome in outcomes if outcome.error), None)
    if any(check["mismatches"] for check in checks) or not _all_proved(proofs) or not _all_found(mutations):
        return ExitCode.MISMATCH
    return failed.exit_code if failed is not None else ExitCode.DONE


def _solver(arguments: argparse.Namespace) -> str:
    """Return the solver to prove with.

    Raises
    ------
    UsageError
        If there is no such solver, or nothing is to be proved by it.
    ToolMissing
        If it is not installed.
    """
    from synth.prove.solve import DEFAULT_SOLVER, check_solver

    if arguments.solver is not None and not arguments.prove:
        raise UsageError(f"Option --solver must be left out without --prove, not {arguments.solver!r}")
    solver: str = arguments.solver or DEFAULT_SOLVER
    if arguments.prove:
        check_solver(solver)
    return solver


def _print_json(console: Console, operation: "Operation", checks: Sequence[Json], proofs: Mapping[str, "Proof"],
                mutations: Sequence[Json]) -> None:
    """Print the JSON document, if one was asked for."""
    mutated = {record["target"]: record for record in mutations}
    targets = []
    for check in checks:
        further: Json = {}
        if check["target"] in proofs:
            further["proof"] = proofs[check["target"]].record()
        if check["target"] in mutated:
            further["mutation"] = mutated[check["target"]]
        targets.append({**check, **further})
    console.json({
        "operation": operation.name, "formats": operation.formats(),
        "parameters": operation.parameters(),
        **({key: checks[0][key] for key in ("method", "vectors", "against", "skipped")} if checks else {}),
        "mismatches": sum(check["mismatches"] for check in checks),
        "targets": targets,
    })


# Proofs

def _proofs(builder: Any, arguments: argparse.Namespace, solver: str, store: Any, console: Console
            ) -> dict[str, "Proof"]:
    from synth.prove.run import proof_run

    with console.progress("proving", len(builder.outcomes)) as progress:
        return proof_run(builder, solver=solver, timeout=arguments.timeout, jobs=arguments.jobs, store=store,
                         progress=progress)


def _proof_lines(operation: "Operation", targets: Sequence[Any], proofs: Mapping[str, "Proof"]) -> list[str]:
    """Say what was proved, a line a target, and what every proof stands on."""
    titles = {target.name: target.title for target in targets}
    lines = []
    for name, proof in proofs.items():
        line = f"{titles[name]}: {proof.line()}"
        if proof.counterexample is not None:
            line += f": {_difference(operation, proof.counterexample)}"
        lines.append(line)
    assumed = dict.fromkeys(text for proof in proofs.values() for text in proof.assumptions)
    return lines + ([f"where {'; '.join(assumed)}"] if assumed else [])


def _difference(operation: "Operation", counterexample: Mapping[str, Any]) -> str:
    """Describe a counterexample; that of a stream is a run of cycles, whose inputs only the JSON document has."""
    if not operation.is_stream:
        return describe_difference(operation, counterexample)
    got, want = counterexample["got"], counterexample["want"]
    cycles = len(next(iter(counterexample["inputs"].values())))
    return f"{cycles} cycles after power-up " + ", ".join(
        f"{name} is {code}, not {want[name]}" for name, code in got.items() if code != want[name])


def _all_proved(proofs: Mapping[str, "Proof"]) -> bool:
    return all(proof.status.value == "proved" for proof in proofs.values())


# Faults

def _mutations(builder: Any, plan: Any, arguments: argparse.Namespace, console: Console) -> list[Json]:
    from synth.mutate import mutation_run, mutation_steps

    with console.progress("mutating", mutation_steps(builder)) as progress:
        return mutation_run(builder, plan, count=arguments.mutate, seed=arguments.seed, progress=progress)


def _mutation_lines(mutations: Sequence[Json]) -> list[str]:
    if not mutations:
        return []
    from synth.mutate import mutation_lines

    return mutation_lines(mutations)


def _all_found(mutations: Sequence[Json]) -> bool:
    if not mutations:
        return True
    from synth.mutate import mutation_passed

    return mutation_passed(mutations)
