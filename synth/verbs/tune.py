"""``tune``: measure every structure of many operators, resumably, into the table of the smallest ones."""

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


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import positive

    parser.description = ("Measure every structure of many operators, resumably, and record the smallest ones: the "
                          "fewest LUTs on each\ntarget, as Yosys counts, without hard multipliers. Each netlist is "
                          "checked. --out FILE writes the table elsewhere\nthan into the package; what it has of "
                          "other operators stays.")
    parser.epilog = ("Each structure is kept as soon as it is measured and never measured again, whatever stops the "
                     "work; the same\ncommand goes on. Without options of the first group: everything that the "
                     "package's table holds.")
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
                       help="print what is recorded, and by how much the winners are smaller; measure nothing")
    group.add_argument("--recipes", action="store_true",
                       help="measure some operators under every recipe of each --target, which tells what the default "
                            "recipes are worth")


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
    records = tuning.records()
    _extend(out, records)
    results = list(tuning.entries())
    failures = [result for result in results if result.reason is not None]
    console.json({"operators": len(subjects), "trials": tuning.total, "measured": tuning.measured,
                  "seconds": round(time.monotonic() - begin, 3), "table": str(out), **_document(records),
                  "failures": [{"request": result.trial.subject.to_json(), "structure": result.trial.structure,
                                "target": result.trial.target, "reason": result.count, "message": result.message}
                               for result in failures]})
    _report(console, records)
    _report_failures(console, failures)
    console.print(f"{tuning.measured:,} structures measured, {tuning.total - tuning.measured:,} known already; "
                  f"table: {out}")
    return _exit_code(records, failures)


def _recipes(arguments: argparse.Namespace, console: Console, targets: list[Any]) -> int:
    """Compare the targets' recipes over the library, and put what comes out over what is known of other targets."""
    from synth.recipes import evidence
    from synth.store import Store, cache_folder

    for option in ("op", "fmt", "family", "limit", "list"):
        if value := getattr(arguments, option):
            raise UsageError(f"Option --{option} must be left out with --recipes, not {value!r}")
    out = evidence.PATH if arguments.out is None else Path(arguments.out)
    older = evidence.read_evidence(out) if out.exists() else None  # refused before the work, not behind it
    _check_writable(out)
    store = Store(cache_folder(), warn=console.warn)
    try:
        with console.progress("comparing recipes", evidence.evidence_steps(targets)) as progress:
            found = evidence.library_evidence(store=store, targets=targets, jobs=arguments.jobs,
                                              timeout=arguments.timeout, progress=progress)
    finally:
        store.close()
    if older is not None:
        found = evidence.overlaid(older, found)
    evidence.save_evidence(found, out)
    console.json(found)
    for target in targets:
        console.print(f"{target.title}: {evidence.standing(target, found)}")
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
    with (console.progress(f"measuring {tuning.missing:,} of {tuning.total:,} structures", tuning.missing) as progress,
          provide_workers(arguments, console, [], progress) as workers):
        tuning.run(workers, progress)


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
    console.table("recorded structures", ["operator", "target", "winner", "LUT", "the rule's", "LUT", "ratio"],
                  listing(records))
    _report(console, records)
    return ExitCode.DONE


def _document(records: Any) -> dict[str, Any]:
    from synth.tune.report import summaries

    return {"choices": [choice.to_json() for choice in records], "summaries": summaries(records)}


def _report(console: Console, records: Any) -> None:
    from synth.tune.report import summaries

    rows = [[each["operation"], f"{each['choices']:,}", f"{each['differ']:,}",
             *("–" if each[name] is None else f"{each[name]:.3f}" for name in ("ratio", "ratio_where_different"))]
            for each in summaries(records)]
    console.table("winners", ["operation", "recorded", "differ from the rule", "LUTs over the rule's",
                              "where they differ"], rows)


def _report_failures(console: Console, failures: list[Any]) -> None:
    for result in failures[:_SHOWN_FAILURES]:
        console.error(f"{result.trial.circuit} on {result.trial.target}: {result.message}")
    if len(failures) > _SHOWN_FAILURES:
        console.error(f"{len(failures) - _SHOWN_FAILURES:,} structures more have failed; --json has all")
    if failures:
        console.print("what has failed is never taken, and tried again with --retry alone")


def _exit_code(records: Any, failures: list[Any]) -> int:
    """A wrong circuit is a failure; a tool that gave up is one where nothing else could be taken."""
    from synth.cost.table import Reason

    if any(result.reason is Reason.MISMATCH for result in failures):
        return ExitCode.MISMATCH
    return ExitCode.TOOL if any(choice.winner is None for choice in records) else ExitCode.DONE
