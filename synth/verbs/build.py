"""``build``: measure an operator on every target, prove each mapped netlist, write the files."""

import argparse
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, SynthError, UsageError
from synth.operations import Operation
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
    from synth.__main__ import positive

    add_operation_arguments(parser)
    add_check_arguments(parser)
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
    from synth.build import Builder, Plan, summary, write_outputs
    from synth.folder import OutputFolder, storage_errors
    from synth.store import Store, cache_folder

    operation, notes = operation_from(arguments)
    board = _board(arguments.board, operation)
    targets = chosen_targets(arguments, default=[board.target] if board else None)
    plan = Plan(operation=operation, targets=targets, device=arguments.device,
                seeds=() if arguments.no_pnr else range(arguments.seed, arguments.seed + arguments.seeds),
                vector_seed=arguments.seed, jobs=arguments.jobs, timeout=arguments.timeout,
                **check_options(arguments))
    name = operation.folder_name() + (f"_{board.name}" if board else "")
    output = OutputFolder(Path(arguments.out) if arguments.out else Path("build") / name)
    console.print(describe(operation, notes))
    store = Store(cache_folder(), warn=console.warn)
    builder = Builder(plan, store=store)
    board_result: Any = None
    board_check: dict[str, Any] = {}
    try:
        with output, storage_errors(output.folder):
            output.keep_failed()  # from here on there are logs worth a look
            with console.progress("building", builder.steps) as progress:
                outcomes = builder.run(output.work, progress)
            errors = [outcome.error for outcome in outcomes if outcome.error]
            mismatches = any((outcome.verification or {}).get("mismatches") for outcome in outcomes)
            if not errors and not mismatches:
                write_outputs(builder, plan, store=store, work=output.work)
                if board is not None:
                    board_result, board_check = _build_board(builder, board, output.work, arguments, console)
                    mismatches = bool(board_check["mismatches"])
                if not mismatches:
                    output.commit()
    except SynthError as error:
        raise _moved(error, output) from None
    finally:
        store.close()
    complete = not errors and not mismatches
    document = {"format": next(iter(operation.formats().values()), None),
                "operation": operation.name, "parameters": operation.parameters(),
                "folder": str(output.folder if complete else output.failed),
                "targets": [summary(outcome) for outcome in outcomes]}
    if board_result is not None:
        document["board"] = {**board_result.to_json(), "verification": board_check}
    console.json(document)
    _report(console, document, operation, complete)
    for outcome in outcomes:
        if outcome.error is not None:
            console.error(f"{outcome.target.title}: {_moved(outcome.error, output)}")
    if mismatches:
        return ExitCode.MISMATCH
    if errors:
        return errors[0].exit_code
    return ExitCode.TARGET if board_result is not None and not board_result.meets_timing else ExitCode.DONE


def _moved(error: SynthError, output: Any) -> SynthError:
    """Name the log where it lies now that the work folder has been moved."""
    error.args = (str(error).replace(str(output.work), str(output.failed)),)
    return error


def _board(name: str | None, operation: Operation) -> Any:
    if name is None:
        return None
    if operation.is_stream:
        raise UsageError(f"Board must be left out for {operation.name}, whose ports are streams, which the UART link "
                         f"does not carry, not {name!r}")
    from platforms.boards import find_board

    return find_board(name)


def _build_board(builder: Any, board: Any, work: Path, arguments: argparse.Namespace,
                 console: Console) -> tuple[Any, dict[str, Any]]:
    """Build the bitstream; return the board's result, and what its netlist answered through the pins."""
    from platforms.build import BUILD_STEPS, build_board
    from platforms.check import check_board

    operation = builder.operation
    with console.progress(f"building for {board.name}", BUILD_STEPS + 1) as progress:
        result = build_board(operation.component, board, folder=work / "board", seed=arguments.seed,
                             timeout=arguments.timeout, progress=progress, dsp=operation.dsp)
        progress.start(f"{board.name}: asking the mapped netlist through its UART pins")
        check = check_board(result, operation.model, latency=builder.design.latency, seed=arguments.seed)
        progress.advance()
    return result, check


def _report(console: Console, document: dict[str, Any], operation: Operation, complete: bool) -> None:
    rows, notes = [], []
    for result in document["targets"]:
        if "error" in result:
            continue
        rows.append([result["target"], result["source"], result["lut"], result["ff"], result["carry"], result["dsp"],
                     result["bram"], _fmax(result["fmax_mhz"]), result["cells"], "yes" if result["cached"] else ""])
        if result["note"]:
            notes.append((result["target"], result["note"]))
    columns = ["target", "counted by", "LUT", "FF", "carry", "DSP", "BRAM", "Fmax MHz", "cells", "from store"]
    console.table("", columns, rows)
    for note in dict.fromkeys(text for _, text in notes):
        console.print(f"{', '.join(target for target, text in notes if text == note)}: {note}")
    for line in verdict(operation, document["targets"]):
        console.print(line)
    if "board" in document:
        _report_board(console, document["board"])
    console.print(f"{'files' if complete else 'what was written before the failure'}: {document['folder']}")


def _fmax(fmax: dict[str, Any] | None) -> str:
    if fmax is None:
        return "unknown"
    seeds = f"{fmax['seeds']} seeds" if fmax["seeds"] > 1 else "1 seed"
    return f"{fmax['median']:.1f} ({fmax['min']:.1f}–{fmax['max']:.1f}, {seeds})"


def _report_board(console: Console, board: dict[str, Any]) -> None:
    console.table(f"{board['board']}: {board['bitstream']}", ["resource", "used", "available", "%"],
                  [[name, use["used"], use["available"], f"{100 * use['used'] / use['available']:.1f}"]
                   for name, use in board["utilization"].items()])
    check = board["verification"]
    console.print(f"{board['board']}: {check['vectors'] - check['mismatches']:,} of {check['vectors']:,} operations "
                  f"({check['method']}) sent through the UART pins of the complete mapped netlist come back right")
    verdict_text = "meets" if board["meets_timing"] else "misses"
    console.print(f"{board['board']}: Fmax {board['fmax_mhz']:.1f} MHz {verdict_text} the board's clock of "
                  f"{board['clock_mhz']:g} MHz" + ("" if board["meets_timing"] else "; --pipeline shortens its paths"))
