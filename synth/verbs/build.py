"""``build``: measure an operator on every target, prove each mapped netlist, write the files."""

import argparse
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, StorageError, SynthError
from synth.verbs.request import (
    add_operation_arguments,
    add_target_arguments,
    chosen_targets,
    describe,
    operation_from,
    verdict,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import positive

    add_operation_arguments(parser)
    add_target_arguments(parser)
    parser.add_argument("--device", metavar="NAME", help="device of the one --target, for placement")
    parser.add_argument("--seeds", metavar="N", type=positive("Seeds"), default=3,
                        help="placements to take the median Fmax of (default: 3)")
    parser.add_argument("--no-pnr", action="store_true", help="count by Yosys alone, without placement")
    parser.add_argument("--board", metavar="NAME",
                        help="also put the operator behind a UART on a board (icebreaker, ulx3s-25f) and write its "
                             "bitstream")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Build; return the exit code."""
    from synth.build import Builder, Plan, measurement, summary, write_outputs
    from synth.folder import OutputFolder, storage_errors
    from synth.store import Store, cache_folder

    operation = operation_from(arguments)
    board = _board(arguments.board)
    targets = chosen_targets(arguments, default=[board.target] if board else None)
    plan = Plan(operation=operation, targets=targets, device=arguments.device,
                seeds=() if arguments.no_pnr else range(arguments.seed, arguments.seed + arguments.seeds),
                vector_seed=arguments.seed, jobs=arguments.jobs, timeout=arguments.timeout)
    name = operation.folder_name() + (f"_{board.name}" if board else "")
    output = OutputFolder(Path(arguments.out) if arguments.out else Path("build") / name)
    console.print(describe(arguments, operation))
    store = Store(cache_folder(), warn=console.warn)
    with output, storage_errors(output.folder):
        builder = Builder(plan, store=store, work=output.work)
        with console.progress("building", builder.steps) as progress:
            outcomes = builder.run(progress)
        board_result = None
        failed = next((outcome.error for outcome in outcomes if outcome.error), None)
        if failed is None:
            write_outputs(builder, plan, store=store, work=output.work)
            if board:
                board_result = _build_board(operation, board, output, arguments, console)
        mismatches = any(outcome.verification and outcome.verification["mismatches"] for outcome in outcomes)
        complete = failed is None and not mismatches
        if complete:
            output.commit()
        else:
            output.keep_failed()
        folder = output.folder if complete else output.failed
        record = measurement(builder, plan)
    store.close()
    document = {"format": operation.model.a.name, "operation": operation.name,
                "parameters": operation.parameters(), "folder": str(folder),
                "targets": [summary(outcome) for outcome in outcomes]}
    if board_result is not None:
        document["board"] = board_result
    console.json(document)
    _report(console, document, operation, str(folder), complete)
    for outcome in outcomes:
        if outcome.error is not None:
            console.error(f"{outcome.target.title}: {_moved(outcome.error, output)}")
    del record
    if mismatches:
        return ExitCode.MISMATCH
    if failed is not None:
        return failed.exit_code
    return ExitCode.TARGET if board_result and not board_result["meets_timing"] else ExitCode.DONE


def _moved(error: SynthError, output: Any) -> str:
    """Name the log where it lies now that the work folder has been moved."""
    return str(error).replace(str(output.work), str(output.failed))


def _board(name: str | None) -> Any:
    if name is None:
        return None
    from platforms.boards import find_board

    return find_board(name)


def _build_board(operation: Any, board: Any, output: Any, arguments: argparse.Namespace, console: Console) -> Any:
    raise StorageError("not yet")


def _report(console: Console, document: dict[str, Any], operation: Any, folder: str, complete: bool) -> None:
    rows, notes = [], []
    for result in document["targets"]:
        if "error" in result:
            continue
        fmax = result["fmax_mhz"]
        if fmax:
            text = f"{fmax['median']:.1f} ({fmax['min']:.1f}–{fmax['max']:.1f}, {fmax['seeds']} seeds)"
        else:
            text = "unknown"
        rows.append([result["target"], result["source"], result["lut"], result["ff"], result["carry"], result["dsp"],
                     result["bram"], text, result["cells"], "yes" if result["cached"] else ""])
        if result["note"]:
            notes.append((result["target"], result["note"]))
    columns = ["target", "counted by", "LUT", "FF", "carry", "DSP", "BRAM", "Fmax MHz", "cells", "from store"]
    console.table("", columns, rows)
    for note in dict.fromkeys(text for _, text in notes):
        console.print(f"{', '.join(target for target, text in notes if text == note)}: {note}")
    for line in verdict(operation, document["targets"]):
        console.print(line)
    console.print(f"{'files' if complete else 'what was written before the failure'}: {folder}")
