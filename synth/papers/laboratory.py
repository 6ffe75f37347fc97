"""Where a paper's recipe measures: operations built for a target, counted and checked, each kept in the store."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sw.reference.model import Codes
from synth import flow
from synth.build import Builder, Plan, summary
from synth.console import Progress, SilentProgress
from synth.errors import usage_errors
from synth.netlist.engine import Engine
from synth.netlist.instruction_set import InstructionSet, choose_instruction_set
from synth.netlist.make import make_engine
from synth.netlist.program import Program
from synth.operations import Operation, Request, find_operation
from synth.primitives import platform_of
from synth.store import Store
from synth.targets import TARGETS
from synth.verify import Trace, full_speed

Json = dict[str, Any]


class Laboratory:
    """Measures for a recipe, and says what it is doing.

    Parameters
    ----------
    store : Store
    folder : Path
        Empty folder to work in.
    progress : Progress
        Told of each step.
    seed : int
        Of everything that is picked at random.
    timeout : float, seconds, or None
        For each run of a tool.
    jobs : int
        Processes that evaluate networks.
    warn : callable
        Receives a line when something damaged was set aside.
    """

    def __init__(self, *, store: Store, folder: Path, progress: Progress, seed: int, timeout: float | None,
                 jobs: int = 1, warn: Callable[[str], None] = print) -> None:
        self.seed, self.jobs, self.warn, self.progress = seed, jobs, warn, progress
        self._store, self._folder, self._timeout = store, folder, timeout
        self._count = 0

    @property
    def store_folder(self) -> Path:
        """Folder of the store, where whatever else is kept may lie beside it."""
        return self._store.path.parent

    def _work(self) -> Path:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder

    def step(self, description: str) -> None:
        """Say what is being done now, which makes one step."""
        self.progress.advance(description)

    def build(self, target: str, *, samples: int = 1 << 16, **request: Any) -> Json:
        """Return the counts of an operation on a target, and the verification of its netlist.

        Parameters
        ----------
        target : str
        samples : int
            Transfers or vectors of the check.
        **request
            As the fields of a :class:`synth.operations.Request`.

        Raises
        ------
        SynthError
            If it cannot be built.
        """
        wanted = Request(**request)
        operation = wanted.operation(find_operation(wanted.op))
        plan = Plan(operation=operation, targets=[TARGETS[target]], device=None, seeds=(), vector_seed=self.seed,
                    jobs=1, timeout=self._timeout, samples=samples)
        self.step(f"{TARGETS[target].title}: {operation.describe()}")
        outcome, = Builder(plan, store=self._store).run(self._work(), SilentProgress())
        if outcome.error is not None:
            raise outcome.error
        return summary(outcome)

    def trace(self, target: str, component: Any, inputs: Mapping[str, Codes], *, dsp: bool = False) -> Trace:
        """Return in which cycles transfers and results pass a stream component's netlist at full speed.

        Parameters
        ----------
        target : str
        component : wiring.Component
            With streams, and the reference in ``model``.
        inputs : mapping of field name to codes
            One sequence of transfers.

        Raises
        ------
        SynthError
            If it cannot be built.
        """
        netlist = self._mapped(target, component, dsp=dsp).document()
        self.step(f"{TARGETS[target].title}: {type(component).__name__} at full speed")
        return full_speed(netlist, component.model, inputs, len(answers(component.model, inputs)))

    def native(self, operation: Operation, isa: InstructionSet) -> Program:
        """Return the netlist of an operation that is made for an instruction set, as a program.

        Raises
        ------
        SynthError
            If it cannot be built.
        """
        from synth.native.recipe import native_program

        self.step(f"{isa.value}: {operation.describe()}")
        return native_program(operation, isa, store=self._store)

    @staticmethod
    def instruction_set() -> InstructionSet:
        """Return what native code is made for here; the plainest, which numpy runs as well, where llvmlite is missing.

        Raises
        ------
        UsageError
            If the environment asks for one that this machine does not have.
        """
        try:
            with usage_errors():
                return choose_instruction_set()
        except ImportError:
            return InstructionSet.WORD64

    def native_engine(self, operation: Operation) -> Engine:
        """Return what runs an operation's netlist as fast as this machine can.

        Raises
        ------
        SynthError
            If it cannot be built.
        """
        return make_engine(self.native(operation, self.instruction_set()), warn=self.warn)

    def count(self, target: str, component: Any, *, dsp: bool = True) -> dict[str, int]:
        """Return the cells of a component on a target, unchecked: for circuits too large to run in a minute."""
        self.step(f"{TARGETS[target].title}: counting {type(component).__name__}")
        return flow.count_cells(TARGETS[target], self._mapped(target, component, dsp=dsp).cells)

    def _mapped(self, target: str, component: Any, *, dsp: bool) -> flow.Mapped:
        design = flow.elaborate(component, platform_of(target, dsp=dsp))
        return flow.synthesize(design, TARGETS[target], store=self._store, folder=self._work(), dsp=dsp,
                               timeout=self._timeout)


def answers(model: Any, inputs: Mapping[str, Codes]) -> Codes:
    """Return what a stream reference with one output answers to one sequence of transfers.

    Parameters
    ----------
    model : Stream
    inputs : mapping of field name to codes of shape ``(transfers,)`` or ``(transfers, lanes)``
    """
    run, results = model.start(1), list[Codes]()
    for number in range(len(next(iter(inputs.values())))):
        fields = {name: codes[number:number + 1] for name, codes in inputs.items()}
        for made, outputs in run.accept(fields, np.ones(1, dtype=bool)):
            if made[0]:
                results.append(next(iter(outputs.values()))[0])
    return np.array(results)
