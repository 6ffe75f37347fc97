"""``bench``: our speed beside other libraries', measured side by side in one run."""

import argparse
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, ToolMissing, UsageError, usage_errors

BENCHES = {"quantize": "fake quantization of a large float32 tensor"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import positive

    parser.add_argument("bench", nargs="?", metavar="NAME", default="quantize",
                        help="; ".join(f"{name}: {text}" for name, text in BENCHES.items()))
    parser.add_argument("--elements", metavar="N", type=positive("Elements"), default=1 << 24,
                        help="size of the tensor (default: 16,777,216)")
    parser.add_argument("--fmt", metavar="NAME", action="append", help="format; may be repeated (default: several)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Measure and report."""
    if arguments.bench not in BENCHES:
        raise UsageError(f"Bench must be one of {', '.join(BENCHES)}, not {arguments.bench!r}")
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise ToolMissing("torch", "Tool torch is not installed; it brings the quantizers: "
                                   "pip install 'narrowgauge[torch]'")
    from sw.formats import resolve
    from synth.bench import quantize

    with usage_errors():
        for name in arguments.fmt or ():
            resolve(name)

    with console.progress("measuring", 1) as progress:
        rows = quantize.run(elements=arguments.elements, seed=arguments.seed, formats=arguments.fmt,
                            progress=progress.start)
        progress.advance()
    console.json({"bench": arguments.bench, "elements": arguments.elements, "rows": rows})
    _report(rows, console)
    return ExitCode.DONE


def _report(rows: list[dict[str, Any]], console: Console) -> None:
    from synth.bench.quantize import COMPETITORS

    table: list[list[str]] = []
    reasons: dict[str, list[str]] = {}
    for row in rows:
        competitors = row["competitors"]
        table.append([row["format"], f"{row['ours_ms']:.1f}", f"{row['clone_ms']:.1f}", f"{row['ours_out_ms']:.1f}",
                      f"{row['copy_ms']:.1f}",
                      *(f"{competitors[name]['ratio']:.2f}" if competitors[name]["ratio"] else "–"
                        for name in COMPETITORS),
                      f"{row['ratio']:.2f}" if row["ratio"] else "–"])
        for name in COMPETITORS:
            if competitors[name]["reason"]:
                reasons.setdefault(name, []).append(f"{row['format']} ({competitors[name]['reason']})")
    threads, elements = rows[0]["threads"], rows[0]["elements"]
    console.table(f"{elements:,} float32 elements, {threads} threads; medians in ms, and others' times as multiples of "
                  "ours", ["format", "ours", "clone", "ours, out=", "copy", *(f"{name} ×" for name in COMPETITORS),
                           "fastest ×"], table)
    for name, left_out in reasons.items():
        console.print(f"{name} has no figure for {'; '.join(left_out)}")
