"""``python -m synth VERB``: resolves the verb, reports errors in one line, and sets the exit code."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType, ModuleType
from typing import NoReturn

from synth.errors import ExitCode, SynthError

VERBS = {
    "formats": "list the number formats, or show one in full",
    "build": "measure an operator on every target, prove its netlists, write its files",
    "verify": "run the mapped netlists on every input against the exact reference",
    "native": "an operator as vector instructions: how many, how fast, and as a C header",
    "cost": "what an operator or a network costs: measured, or predicted with an interval",
    "sweep": "measure many operators side by side, resumably, into a table of costs",
    "tune": "measure every structure of many operators, resumably, and record the best ones",
    "explore": "accuracy against hardware cost: formats, techniques, mixed precision, the Pareto front",
    "papers": "reproduce the figures of published systems, beside ours",
    "bench": "compare with others: speed in one run, LUTs and Fmax beside those recorded",
    "flash": "program a board with a built bitstream",
    "doctor": "say which tools are installed and what each missing one would bring",
}


class _Parser(argparse.ArgumentParser):
    """Reports a usage error in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"error: {message}\nsee '{self.prog} --help'\n")


def _overview() -> str:
    width = max(map(len, VERBS))
    return "\n".join(f"  {verb:{width}}  {text}" for verb, text in VERBS.items())


def _common_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("common options")
    group.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    group.add_argument("--out", metavar="DIR", help="folder to write to (build: ./build/<operator>)")
    group.add_argument("--jobs", metavar="N", type=positive("Jobs"), default=os.cpu_count() or 1,
                       help="tools that run at a time (default: one for each core)")
    group.add_argument("--seed", metavar="N", type=natural("Seed"), default=1,
                       help="first seed of placement and of random vectors (default: 1)")
    group.add_argument("--timeout", metavar="SECONDS", type=seconds, default=600.0,
                       help="limit for each run of a tool (default: 600)")
    group.add_argument("--no-color", action="store_true", help="no colours, even on a terminal")
    group.add_argument("--quiet", action="store_true", help="no progress lines where standard error is no terminal")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _whole_number(noun: str, lowest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value < 1 << 31:
            raise argparse.ArgumentTypeError(f"{noun} must be a whole number of at least {lowest}, not {text!r}")
        return value
    return convert


def positive(noun: str) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from 1 up."""
    return _whole_number(noun, 1)


def natural(noun: str) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from 0 up."""
    return _whole_number(noun, 0)


def seconds(text: str) -> float:
    """Read a time limit in seconds, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"Timeout must be a positive number of seconds, not {text!r}")
    return value


def _parse(arguments: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    parser = _Parser(prog="python -m synth", description="Number formats, from PyTorch to a proven circuit.",
                     epilog=f"verbs:\n{_overview()}\n\n'python -m synth VERB --help' says more.",
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments[:1])
    if chosen.version:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"narrowgauge {version('narrowgauge')}")
        except PackageNotFoundError:
            print("narrowgauge, not installed: run from its source folder")
        parser.exit()
    if chosen.verb is None:
        parser.print_help()
        parser.exit(0 if not arguments else ExitCode.USAGE)
    if chosen.verb not in VERBS:
        parser.error(f"Verb must be one of {', '.join(VERBS)}, not {chosen.verb!r}")
    module = importlib.import_module(f"synth.verbs.{chosen.verb}")
    text = VERBS[chosen.verb]
    verb_parser = _Parser(prog=f"python -m synth {chosen.verb}", description=f"{text[0].upper()}{text[1:]}.",
                          formatter_class=argparse.RawDescriptionHelpFormatter)
    module.configure(verb_parser)
    _common_options(verb_parser)
    return module, verb_parser.parse_args(arguments[1:])


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows another in its place
    signal.signal(signal.SIGTERM, _interrupt)
    module, parsed = _parse(sys.argv[1:] if arguments is None else arguments)
    from synth.console import Console

    console = Console(as_json=parsed.json, color=not parsed.no_color and "NO_COLOR" not in os.environ,
                      quiet=parsed.quiet)
    try:
        code = int(module.run(parsed, console))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        # Behind `python -m`, CPython ends by the signal and not with our code if the interruption came while a string
        # was executed, as the definition of a dataclass does; executing another one makes it forget that.
        exec("")
        console.error("interrupted; earlier results are untouched, and what was measured so far is kept")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, say) has gone; the rest of the output has nowhere to go, and Python must not try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except SynthError as error:
        if parsed.debug:
            raise
        console.error(str(error))
        return error.exit_code
    except Exception as error:  # a defect of ours: said in one line like everything else, and never as a wrong request
        if parsed.debug:
            raise
        console.error(f"internal error: {type(error).__name__}: {error}; --debug shows where. Please report it")
        return ExitCode.TOOL


if __name__ == "__main__":
    sys.exit(main())
