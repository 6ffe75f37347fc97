"""What netlists gain as native code: the series of HOBFLOPS, a matrix product, verification and packing."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from synth.bench.child import run_child
from synth.bench.native_part import Document
from synth.console import Progress

PARTS = {
    "series": "multiplications and MACs a second in every format of the HOBFLOPS series",
    "matmul": "a matrix product with a narrow accumulator, beside its emulation with torch",
    "verification": "every operand through a netlist, beside simulators; all pairs of binary16",
    "packing": "codes to bit planes and back, beside a copy",
}
"""What can be measured, each in a process of its own."""


def run(*, parts: Sequence[str], formats: Sequence[str] | None = None, isa: str, threads: int, seed: int,
        quick: bool, timeout: float, progress: Progress) -> dict[str, Document]:
    """Measure parts one after the other, and return a document for each.

    Parameters
    ----------
    parts : sequence of str
        Names among :data:`PARTS`.
    formats : sequence of str, optional
        Names of floating-point formats for the series; the whole series if left out.
    isa : str
        Name of an instruction set that this machine has.
    threads : int
        Of the figures for all threads.
    seed : int
        Of operands.
    quick : bool
        Whether to measure shortly, on less.
    timeout : float, seconds
        Limit for each part.
    progress : Progress
        Told of each step as it begins, and of each part as it ends.

    Returns
    -------
    dict of part to document
        What the ``run`` of each part's module says, and ``memory``: ``start_mib`` (before it measured) and
        ``peak_mib``, or null where the system does not tell.

    Raises
    ------
    ToolError, ToolTimeout
        If a part fails, or takes longer than it may.
    """
    documents: dict[str, Document] = {}
    for part in parts:
        request = {"part": part, "formats": formats, "isa": isa, "threads": threads, "seed": seed, "quick": quick}
        documents[part] = _measured(request, timeout, progress)
        progress.advance()
    return documents


def part_module(part: str) -> Any:
    """Return the module that measures a part."""
    return importlib.import_module(f"synth.bench.native_{part}")


def _measured(request: Document, timeout: float, progress: Progress) -> Document:
    """Run a part in a process of its own, whose memory is then that part's."""
    found: Document = {}

    def note(message: Document) -> None:
        if "begins" in message:
            progress.start(message["begins"])
        else:
            found.update(message)

    run_child("synth.bench.native_child", request, tool="bench native", what=f"the part {request['part']}",
              mend="--quick takes less", timeout=timeout, message=note)
    document: Document = found["document"]
    return document | {"memory": {f"{name}_mib": None if found[name] is None else found[name] / 2**20
                                  for name in ("start", "peak")}}
