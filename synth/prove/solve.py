"""Solvers: found, run on a script in a child process, ended at a time limit or on Ctrl-C."""

from __future__ import annotations

import enum
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synth.errors import ToolError, ToolMissing, UsageError
from synth.prove.terms import Term, script
from synth.toolchain import check_running, last_error, started

__all__ = ["DEFAULT_SOLVER", "SOLVERS", "Answer", "Result", "check_solver", "satisfy", "version_of"]

SOLVERS: Mapping[str, str] = {"bitwuzla": "bitwuzla", "z3": "z3-solver"}
"""The distribution that brings each solver."""

DEFAULT_SOLVER = "bitwuzla"

_STANDARD_FLOATS = {("5", "11"), ("8", "24"), ("11", "53"), ("15", "113")}
"""Exponent and significand bits of the floats that the wheel of bitwuzla 0.9 is built with."""

_FLOAT_SORT = re.compile(r"\(_ (?:FloatingPoint|to_fp) (\d+) (\d+)\)")


class Result(enum.Enum):
    """What a solver found about some assertions."""

    SATISFIABLE = "sat"
    UNSATISFIABLE = "unsat"
    UNDECIDED = "unknown"
    """It gave up, or was stopped at its time limit."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A solver's answer.

    Parameters
    ----------
    result : Result
    values : mapping of name to integer
        Of the variables that were asked for, where there is a solution; a boolean is 0 or 1.
    seconds : float
        Wall-clock time, the start of the solver included.
    version : str
        Of the solver, and of z3 where that has translated the floats for it.
    expired : bool
        Whether it was stopped at its time limit.
    """

    result: Result
    values: Mapping[str, int]
    seconds: float
    version: str
    expired: bool = False


def check_solver(name: str) -> None:
    """Refuse a solver that is not known, or not installed.

    Raises
    ------
    UsageError
        If there is no such solver.
    ToolMissing
        If it is not installed.
    """
    if name not in SOLVERS:
        raise UsageError(f"Solver must be one of {', '.join(SOLVERS)}, not {name!r}")
    version_of(name)


def version_of(name: str) -> str:
    """Return the version of an installed solver.

    Raises
    ------
    ToolMissing
        If it is not installed.
    """
    try:
        return importlib.metadata.version(SOLVERS[name])
    except importlib.metadata.PackageNotFoundError:
        raise ToolMissing(name, f"Solver {name} is not installed; it brings proofs of netlists: "
                                "pip install 'narrowgauge[prove]'") from None


def satisfy(assertions: Sequence[Term], *, wanted: Sequence[Term] = (), solver: str = DEFAULT_SOLVER,
            timeout: float | None = None, comments: Sequence[str] = ()) -> Answer:
    """Ask a solver for values of the variables that make all assertions true.

    Parameters
    ----------
    wanted : sequence of Term
        Variables whose values are asked for.
    timeout : float, seconds, optional
        Limit of wall-clock time.

    Raises
    ------
    ToolMissing
        If the solver is not installed.
    ToolError
        If it fails.
    """
    text = script(assertions, declared=wanted, comments=comments)
    translate = solver == "bitwuzla" and not set(_FLOAT_SORT.findall(text)) <= _STANDARD_FLOATS
    version = version_of(solver) + (f" with floats by z3 {version_of('z3')}" if translate else "")
    request = {"solver": solver, "script": text, "translate": translate, "wanted": [term.head for term in wanted]}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="narrowgauge-") as work:
        folder = Path(work)
        (folder / "request.json").write_text(json.dumps(request))
        output = folder / "answer.json"
        # -P: what lies beside the child is no module of its own to import.
        command = [sys.executable, "-P", str(Path(__file__).with_name("child.py")), "request.json"]
        with started(command, folder, output) as process:
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                return Answer(result=Result.UNDECIDED, values={}, seconds=time.monotonic() - begin, version=version,
                              expired=True)
        check_running()
        if code:
            ended = f"exit code {code}" if code > 0 or os.name == "nt" else f"signal {-code}"
            raise ToolError(solver, f"Solver {solver} failed with {ended}: {last_error(output)}")
        answer = json.loads(output.read_text().splitlines()[-1])
    return Answer(result=Result(answer["result"]), values=answer["values"], seconds=time.monotonic() - begin,
                  version=version)
