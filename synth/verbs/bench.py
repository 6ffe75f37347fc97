"""``bench``: our speed beside other libraries', measured side by side in one run."""

import argparse
from collections.abc import Callable
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, ToolMissing, UsageError

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
    from synth.bench import quantize

    with console.progress("measuring", 1) as progress:
        rows = quantize.run(elements=arguments.elements, seed=arguments.seed, formats=arguments.fmt,
                            progress=progress.start)
        progress.advance()
    console.json({"bench": arguments.bench, "elements": arguments.elements, "rows": rows})
    _report(rows, console)
    return ExitCode.DONE


def _report(rows: list[dict[str, Any]], console: Console) -> None:
    raise NotImplementedError  # replaced once the rows' shape is settled


Measure = Callable[[], None]
