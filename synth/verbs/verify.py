"""``verify``: the agreement check alone, without placement or files."""

import argparse
import tempfile
from pathlib import Path

from synth.console import Console
from synth.errors import ExitCode
from synth.verbs.request import (
    add_check_arguments,
    add_operation_arguments,
    add_target_arguments,
    check_options,
    chosen_targets,
    describe,
    operation_from,
    verdict,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_operation_arguments(parser)
    add_check_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify; return the exit code."""
    from synth.build import Builder, Plan, summary
    from synth.store import Store, cache_folder

    operation, notes = operation_from(arguments)
    plan = Plan(operation=operation, targets=chosen_targets(arguments), device=None, seeds=(),
                vector_seed=arguments.seed, jobs=arguments.jobs, timeout=arguments.timeout,
                **check_options(arguments))
    console.print(describe(operation, notes))
    store = Store(cache_folder(), warn=console.warn)
    builder = Builder(plan, store=store)
    with tempfile.TemporaryDirectory(prefix="narrowgauge-") as work:
        with console.progress("verifying", builder.steps) as progress:
            outcomes = builder.run(Path(work), progress)
        results = [summary(outcome) for outcome in outcomes]
    store.close()
    checks = [{"target": result["target"], **result["verification"]} for result in results if "error" not in result]
    parameters = operation.parameters()
    console.json({
        "operation": operation.name, "formats": operation.formats(),
        "parameters": parameters,
        **({key: checks[0][key] for key in ("method", "vectors", "against", "skipped")} if checks else {}),
        "mismatches": sum(check["mismatches"] for check in checks),
        "targets": checks,
    })
    for line in verdict(operation, results):
        console.print(line)
    for outcome in outcomes:
        if outcome.error is not None:
            console.error(f"{outcome.target.title}: {outcome.error}")
    if any(check["mismatches"] for check in checks):
        return ExitCode.MISMATCH
    failed = next((outcome.error for outcome in outcomes if outcome.error), None)
    return failed.exit_code if failed is not None else ExitCode.DONE
