"""``build``: measure an operator on every target, prove each mapped netlist, write the files."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, SynthError, UsageError
from synth.operations import Operation
from synth.verbs.build_recipes import fmax, report_band
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

    add_operation_arguments(parser, automatic_pipeline=True)
    add_check_arguments(parser)
    add_target_arguments(parser)
    parser.add_argument("--device", metavar="NAME", help="device of the one --target, for placement")
    parser.add_argument("--seeds", metavar="N", type=positive("Seeds"), default=3,
                        help="placements to take the median Fmax of (default: 3)")
    parser.add_argument("--no-pnr", action="store_true", help="count by Yosys alone, without placement")
    parser.add_argument("--mhz", metavar="F", type=_megahertz,
                        help="clock that --pipeline auto has to reach: the median Fmax over the seeds")
    parser.add_argument("--recipe", metavar="NAME",
                        help="how Yosys is told to map the circuit, one of the target's (default: its default)")
    parser.add_argument("--recipes", action="store_true",
                        help="measure and check the operator under every recipe of each target, and show the band")
    parser.add_argument("--board", metavar="NAME",
                        help="also put the operator behind a UART on a board (icebreaker, ulx3s-25f) and write its "
                             "bitstream")


def _megahertz(text: str) -> float:
    """Read a clock in MHz, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"Clock must be a positive number of MHz, not {text!r}")
    return value


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Build; return the exit code."""
    from synth.build import Plan
    from synth.pipeline_search import check_search
    from synth.store import Store, cache_folder
    from synth.verbs.build_pipeline import find_stages

    automatic, arguments.pipeline = arguments.pipeline is None, arguments.pipeline or 0
    _check_options(arguments, automatic=automatic)
    operation, notes = operation_from(arguments)
    board = _board(arguments.board, operation)
    targets = chosen_targets(arguments, default=[board.target] if board else None)
    for target in targets:
        target.find_recipe(arguments.recipe)  # refuses what the target does not have, before any work
    plan = Plan(operation=operation, targets=targets, device=arguments.device,
                seeds=() if arguments.no_pnr else range(arguments.seed, arguments.seed + arguments.seeds),
                vector_seed=arguments.seed, jobs=arguments.jobs, timeout=arguments.timeout, recipe=arguments.recipe,
                every_recipe=arguments.recipes, **check_options(arguments))
    if automatic:
        check_search(plan)
    search = None
    store = Store(cache_folder(), warn=console.warn)
    try:
        if automatic:
            for note in notes:
                console.print(note)
            notes = []
            search = find_stages(plan, arguments.mhz, store=store, out=arguments.out, console=console)
            if search.chosen is None:
                console.json({**_head(operation), "pipeline_search": search.to_json()})
                raise search.missed()
            plan = dataclasses.replace(plan, operation=dataclasses.replace(operation, pipeline=search.chosen.pipeline))
        return _build(plan, board, notes, arguments, console, store,
                      {} if search is None else {"pipeline_search": search.to_json()})
    finally:
        store.close()


def _check_options(arguments: argparse.Namespace, *, automatic: bool) -> None:
    """Refuse options that do not go together."""
    if automatic and arguments.mhz is None:
        raise UsageError("Option --mhz must be given with --pipeline auto, not left out")
    if arguments.mhz is not None and not automatic:
        raise UsageError(f"Option --mhz must come with --pipeline auto, not with {arguments.pipeline} pipeline stages: "
                         f"{arguments.mhz:g}")
    if arguments.recipes and (arguments.recipe is not None or arguments.board is not None):
        other = "--recipe" if arguments.recipe is not None else "--board"
        raise UsageError(f"Option --recipes must come without {other}, since it is about all of them, not with it")


def _head(operation: Operation) -> dict[str, Any]:
    """Return what a document begins with: which operator it is about."""
    return {"format": next(iter(operation.formats().values()), None),
            "operation": operation.name, "parameters": operation.parameters()}


def _build(plan: Any, board: Any, notes: list[str], arguments: argparse.Namespace, console: Console, store: Any,
           further: dict[str, Any]) -> int:
    """Build what is planned, and report it; return the exit code.

    ``further`` is what the document holds beside the results.
    """
    from synth.build import Builder, summary
    from synth.folder import OutputFolder, storage_errors
    from synth.outputs import write_outputs
    from synth.recipes.band import band

    operation = plan.operation
    name = operation.folder_name() + "".join(f"_{part}" for part in (board and board.name, plan.recipe) if part)
    output = OutputFolder(Path(arguments.out) if arguments.out else Path("build") / name)
    console.print(describe(operation, notes))
    builder = Builder(plan, store=store)
    board_result: Any = None
    board_check: dict[str, Any] = {}
    bands: list[dict[str, Any]] = []
    try:
        with output, storage_errors(output.folder):
            output.keep_failed()  # from here on there are logs worth a look
            with console.progress("building", builder.steps) as progress:
                builder.run(output.work, progress)
            outcomes = builder.chosen
            bands = band(builder, output.work) if plan.every_recipe else []
            errors = [outcome.error for outcome in outcomes if outcome.error]
            mismatches = any((outcome.verification or {}).get("mismatches") for outcome in outcomes)
            if not errors and not mismatches:
                write_outputs(builder, plan, store=store, work=output.work)
                if plan.every_recipe:
                    (output.work / "recipes.json").write_text(json.dumps(bands, indent=2) + "\n")
                if board is not None:
                    board_result, board_check = _build_board(builder, board, output.work, arguments, console)
                    mismatches = bool(board_check["mismatches"])
                if not mismatches:
                    output.commit()
    except SynthError as error:
        raise _moved(error, output) from None
    complete = not errors and not mismatches
    document = {**_head(operation), "folder": str(output.folder if complete else output.failed),
                "targets": [summary(outcome) for outcome in outcomes], **further}
    if plan.every_recipe:
        document["recipes"] = bands
    if board_result is not None:
        document["board"] = {**board_result.to_json(), "verification": board_check}
    console.json(document)
    _report(console, document, operation, complete)
    for outcome in outcomes:
        if outcome.error is not None:
            console.error(f"{outcome.target.title}: {_moved(outcome.error, output)}")
    # A recipe that breaks the circuit is a result like the others, and one that nobody should overlook.
    if mismatches or any(row["verification"].get("mismatches") for each in bands for row in each["recipes"]
                         if "verification" in row):
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
                             timeout=arguments.timeout, progress=progress, dsp=operation.dsp,
                             recipe=arguments.recipe)
        progress.start(f"{board.name}: asking the mapped netlist through its UART pins")
        check = check_board(result, operation.model, latency=builder.design.latency, seed=arguments.seed)
        progress.advance()
    return result, check


def _report(console: Console, document: dict[str, Any], operation: Operation, complete: bool) -> None:
    rows, notes = [], []
    for result in document["targets"]:
        if "error" in result:
            continue
        rows.append([result["target"], result["recipe_name"], result["source"], result["lut"], result["ff"],
                     result["carry"], result["dsp"], result["bram"], fmax(result["fmax_mhz"]), result["cells"],
                     "yes" if result["cached"] else ""])
        if result["note"]:
            notes.append((result["target"], result["note"]))
    columns = ["target", "recipe", "counted by", "LUT", "FF", "carry", "DSP", "BRAM", "Fmax MHz", "cells", "from store"]
    console.table("", columns, rows)
    for note in dict.fromkeys(text for _, text in notes):
        console.print(f"{', '.join(target for target, text in notes if text == note)}: {note}")
    for line in verdict(operation, document["targets"]):
        console.print(line)
    report_band(console, document.get("recipes", []))
    if "board" in document:
        _report_board(console, document["board"])
    console.print(f"{'files' if complete else 'what was written before the failure'}: {document['folder']}")


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
