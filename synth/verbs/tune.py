"""``tune``: measure every structure of many operators, resumably, into the table of the best ones."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, StorageError, UsageError
from synth.operations import OPERATIONS
from synth.targets import TARGETS
from synth.verbs.sweep import SAMPLES, chosen, provide_workers

_SHOWN_FAILURES = 20
_SHOWN_CLOCKS = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from hw.recorded import MARGIN_PERCENT, NOISE_PERCENT
    from synth.__main__ import positive

    parser.description = (
        "Measure every structure of many operators, resumably, and record the best ones: one for each target, without "
        "hard\nmultipliers. Each netlist is checked. --out FILE writes the table elsewhere than into the package; what "
        "it has\nof other operators stays.\n\n"
        f"Of the structures whose LUTs, as Yosys counts, are within {MARGIN_PERCENT} % of the fewest, the one with the "
        "least product\nof LUTs and clock period wins; of those within "
        f"{NOISE_PERCENT} % of that product, the one with the fewest LUTs. The clock is\nthe median Fmax of three "
        "placements by nextpnr, between registers. A structure that no other comes near is not\nplaced. On targets "
        "whose placements cannot be timed (Gowin, Xilinx), and where nextpnr fails or is missing, the\nfewest LUTs "
        "win.")
    parser.epilog = ("Each structure is kept as soon as it is measured or placed and never measured again, whatever "
                     "stops the work;\nthe same command goes on. Without options of the first group: everything that "
                     "the package's table holds.")
    group = parser.add_argument_group("which operators (each but --limit may be repeated)")
    group.add_argument("--op", metavar="NAME", action="append", default=[],
                       help=f"operation: one of {', '.join(OPERATIONS)} (default: all)")
    group.add_argument("--fmt", metavar="NAME", action="append", default=[],
                       help="format of the first operand (default: all)")
    group.add_argument("--family", metavar="NAME", action="append", default=[],
                       help="family of the first operand: float, fixed or posit (default: all)")
    group.add_argument("--target", metavar="NAME", action="append", default=[],
                       help=f"one of {', '.join(TARGETS)} (default: all)")
    group.add_argument("--limit", metavar="N", type=positive("Limit"), help="the first N operators alone")
    group = parser.add_argument_group("how")
    group.add_argument("--samples", metavar="N", type=positive("Samples"), default=SAMPLES,
                       help="random vectors where not every combination is run, and transfers of an accumulator "
                            f"(default: {SAMPLES})")
    group.add_argument("--scheduler", metavar="ADDRESS",
                       help="measure on the workers of a Dask cluster, such as tcp://10.0.0.1:8786")
    group.add_argument("--retry", action="store_true", help="try again what has failed before")
    group = parser.add_argument_group("instead")
    group.add_argument("--list", action="store_true",
                       help="print what is recorded, by what each winner was taken, and what it won; measure nothing")
    group.add_argument("--recipes", action="store_true",
                       help="measure some operators under every recipe of each --target: LUTs, clocks and synthesis "
                            "time, which tell what the default recipes are worth")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Tune; return the exit code."""
    from hw.recorded import RECORDS
    from synth.cost.space import Family
    from synth.operations.request import member
    from synth.tune.records import Records
    from synth.tune.space import Selection

    targets = chosen(arguments.target)
    if arguments.recipes:
        return _recipes(arguments, console, targets)
    selection = Selection(ops=tuple(arguments.op), formats=tuple(arguments.fmt),
                          families=tuple(member(Family, "Family", name) for name in arguments.family))
    out = RECORDS if arguments.out is None else Path(arguments.out)
    if arguments.list:
        return _list(console, selection, targets, out)
    if out.exists():
        Records.read(out)  # refused before the work, not behind it
    subjects = selection.subjects()[:arguments.limit]
    if not subjects:
        raise UsageError("Selection must hold an operator that can be built in several ways, not none; fewer of --op, "
                         "--fmt and --family leave some")
    begin = time.monotonic()
    tuning = _tuning(arguments, console, subjects, targets)
    _check_writable(out)
    if tuning.missing:
        _measure(arguments, console, tuning)
    _warn_of_missing_placers(console, targets)
    timing = _timing(arguments, console, tuning)
    if timing.missing:
        _place(arguments, console, timing, targets)
    records = timing.records()
    _extend(out, records)
    failures = [result for result in tuning.entries() if result.reason is not None]
    unplaced = [clock for clock in timing.entries() if clock.mhz is None]
    console.json({"operators": len(subjects), "trials": tuning.total, "measured": tuning.measured,
                  "clocks": timing.total, "placed": timing.measured,
                  "seconds": round(time.monotonic() - begin, 3), "table": str(out), **_document(records),
                  "failures": [_failure(result, result.count) for result in failures],
                  "unplaced": [_failure(clock, clock.value) for clock in unplaced]})
    _report(console, records)
    _report_failures(console, failures)
    _report_unplaced(console, unplaced)
    console.print(f"{tuning.measured:,} structures measured, {tuning.total - tuning.measured:,} known already; "
                  f"{timing.measured:,} placed, {timing.total - timing.measured:,} known already; table: {out}")
    return _exit_code(records, failures)


def _failure(result: Any, reason: object) -> dict[str, Any]:
    return {"request": result.trial.subject.to_json(), "structure": result.trial.structure,
            "target": result.trial.target, "reason": reason, "message": result.message}


def _recipes(arguments: argparse.Namespace, console: Console, targets: list[Any]) -> int:
    """Compare the targets' recipes over the library, and put what comes out over what is known of other targets."""
    from synth.recipes import evidence
    from synth.recipes.standing import standing
    from synth.store import Store, cache_folder

    for option in ("op", "fmt", "family", "limit", "list"):
        if value := getattr(arguments, option):
            raise UsageError(f"Option --{option} must be left out with --recipes, not {value!r}")
    out = evidence.PATH if arguments.out is None else Path(arguments.out)
    is_partial = any(target not in targets for target in TARGETS.values())
    older = evidence.read_evidence(out) if out.exists() and is_partial else None  # refused before the work
    _check_writable(out)
    _warn_of_missing_placers(console, targets)
    store = Store(cache_folder(), warn=console.warn)
    try:
        with console.progress("comparing recipes", evidence.evidence_steps(targets)) as progress:
            found = evidence.library_evidence(store=store, targets=targets, jobs=arguments.jobs,
                                              timeout=arguments.timeout, progress=progress)
        with console.progress("placing", evidence.clock_steps(found, targets)) as progress:
            found = evidence.with_clocks(found, store=store, targets=targets, jobs=arguments.jobs,
                                         timeout=arguments.timeout, progress=progress)
    finally:
        store.close()
    if older is not None:
        found = evidence.overlaid(older, found)
    evidence.save_evidence(found, out)
    console.json(found)
    for target in targets:
        console.print(f"{target.title}: {standing(target, found)}")
    return ExitCode.DONE


def _tuning(arguments: argparse.Namespace, console: Console, subjects: list[Any], targets: list[Any]) -> Any:
    from synth.cost.journal import Claims, Journal
    from synth.cost.measure import Settings
    from synth.store import cache_folder
    from synth.tune.trial import RESULTS, Result
    from synth.tune.tuning import Tuning

    settings = Settings(seeds=(), vector_seed=arguments.seed, samples=arguments.samples, timeout=arguments.timeout)
    path = cache_folder() / "structures.jsonl"
    journal: Journal[Result] = Journal(path, warn=console.warn, codec=RESULTS)
    return Tuning(subjects, targets, settings, journal=journal, claims=Claims(path.with_name("claims")),
                  retry=arguments.retry)


def _measure(arguments: argparse.Namespace, console: Console, tuning: Any) -> None:
    description = f"measuring {tuning.missing:,} of {tuning.total:,} structures"
    with (console.progress(description, tuning.missing) as progress,
          provide_workers(arguments, console, [], progress) as workers):
        progress.start(description)
        tuning.run(workers, progress)


def _timing(arguments: argparse.Namespace, console: Console, tuning: Any) -> Any:
    from synth.bench.area import SEEDS
    from synth.cost.journal import Claims, Journal
    from synth.cost.measure import Settings
    from synth.store import cache_folder
    from synth.tune.clock import CLOCKS, Clock
    from synth.tune.timing import Timing

    settings = Settings(seeds=tuple(range(arguments.seed, arguments.seed + SEEDS)), vector_seed=arguments.seed,
                        samples=arguments.samples, timeout=arguments.timeout)
    path = cache_folder() / "clocks.jsonl"
    journal: Journal[Clock] = Journal(path, warn=console.warn, codec=CLOCKS)
    return Timing(tuning.records(), settings, journal=journal, claims=Claims(path.with_name("claims")),
                  retry=arguments.retry)


def _place(arguments: argparse.Namespace, console: Console, timing: Any, targets: list[Any]) -> None:
    description = f"placing {timing.missing:,} of {timing.total:,} structures between which LUTs do not decide"
    timed = [target for target in targets if timing.places_on(target.name)]
    with (console.progress(description, timing.missing) as progress,
          provide_workers(arguments, console, timed, progress) as workers):
        progress.start(description)
        timing.run(workers, progress)


def _warn_of_missing_placers(console: Console, targets: list[Any]) -> None:
    """Say where the fewest LUTs win for want of a tool alone."""
    from synth.toolchain import TOOLS, is_installed
    from synth.tune.clock import is_timed

    for target in targets:
        if is_timed(target.name) and not is_installed(target.place_and_route.tool):
            tool = TOOLS[target.place_and_route.tool]
            console.warn(f"Placer of {target.title} must be installed for clocks to be weighed, not missing: the "
                         f"fewest LUTs win there; pip install '{tool.requirement}'")


def _check_writable(out: Path) -> None:
    """Refuse a place where no table can be written, before the work."""
    place = out if out.exists() else next(parent for parent in out.absolute().parents if parent.exists())
    if out.is_dir() or not os.access(place, os.W_OK):
        raise StorageError(f"Table must be a file that can be written, not {str(out)!r}; name another with --out")


def _extend(out: Path, records: Any) -> None:
    """Put choices into a file, over those that it has by now: another campaign may have extended it meanwhile."""
    from synth.cost.journal import sole_writer
    from synth.tune.records import Records

    with sole_writer():
        older = Records.read(out) if out.exists() else Records()
        older.overlaid(records).save(out)


def _list(console: Console, selection: Any, targets: list[Any], out: Path) -> int:
    from synth.tune.records import Records
    from synth.tune.report import listing

    names = [target.name for target in targets]
    recorded = Records.read(out) if out.exists() else Records()
    records = [choice for choice in recorded if choice.target in names and selection.holds(choice.subject)]
    console.json({"table": str(out), **_document(records)})
    console.table("recorded structures", ["operator", "target", "winner", "LUT", "MHz", "won by",
                                          "over the fewest LUTs", "the rule's", "LUT", "ratio"], listing(records))
    _report(console, records)
    return ExitCode.DONE


def _document(records: Any) -> dict[str, Any]:
    from synth.tune.report import summaries

    return {"choices": [choice.to_json() for choice in records], "summaries": summaries(records)}


def _report(console: Console, records: Any) -> None:
    from synth.tune.report import summaries

    parts = summaries(records)
    rows = [[each["operation"], f"{each['choices']:,}", f"{each['differ']:,}",
             *(_ratio(each[name]) for name in ("ratio", "ratio_where_different"))] for each in parts]
    console.table("winners", ["operation", "recorded", "differ from the rule", "LUTs over the rule's",
                              "where they differ"], rows)
    clocked = [[each["operation"], f"{each['clocked']:,}", f"{each['faster']:,}",
                *(_ratio(each[name]) for name in ("lut_ratio", "mhz_ratio"))] for each in parts if each["clocked"]]
    if clocked:
        console.table("winners by LUTs x period", ["operation", "of all", "not the fewest LUTs", "LUTs over the fewest",
                                                   "MHz over those"], clocked)


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _report_failures(console: Console, failures: list[Any]) -> None:
    for result in failures[:_SHOWN_FAILURES]:
        console.error(f"{result.trial.circuit} on {result.trial.target}: {result.message}")
    if len(failures) > _SHOWN_FAILURES:
        console.error(f"{len(failures) - _SHOWN_FAILURES:,} structures more have failed; --json has all")
    if failures:
        console.print("what has failed is never taken, and tried again with --retry alone")


def _report_unplaced(console: Console, unplaced: list[Any]) -> None:
    for clock in unplaced[:_SHOWN_CLOCKS]:
        console.warn(f"Clock of {clock.trial.circuit} on {clock.trial.target} must be known to be weighed, not "
                     f"{clock.value!r}{': ' if clock.message else ''}{clock.message}; the fewest LUTs win there")
    if len(unplaced) > _SHOWN_CLOCKS:
        console.warn(f"{len(unplaced) - _SHOWN_CLOCKS:,} clocks more are not known; --json has all")


def _exit_code(records: Any, failures: list[Any]) -> int:
    """A wrong circuit is a failure; a tool that gave up is one where nothing else could be taken."""
    from synth.cost.table import Reason

    if any(result.reason is Reason.MISMATCH for result in failures):
        return ExitCode.MISMATCH
    return ExitCode.TOOL if any(choice.winner is None for choice in records) else ExitCode.DONE
