"""The fewest pipeline stages that reach a clock, found by placing and routing each number of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from synth.build import Builder, Outcome, Plan, summary
from synth.console import Progress
from synth.errors import ExitCode, SynthError, ToolMissing, UsageError
from synth.operations.components import takes_pipeline
from synth.store import Json, Store
from synth.targets import Target
from synth.toolchain import TOOLS, is_installed

MAX_STAGES = 8
"""Most stages that are tried."""

PATIENCE = 3
"""Numbers of stages in a row without a higher clock than before after which more of them are given up."""


class ClockMissed(SynthError):
    """No number of stages reaches the clock that was asked for."""

    exit_code = ExitCode.TARGET


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a number of stages came to.

    Parameters
    ----------
    pipeline : int
    fmax_mhz : Json
        Median, range and values over the seeds, as :func:`synth.flow.fmax_summary`.
    lut, ff : int
        As the packer counts them.
    """

    pipeline: int
    fmax_mhz: Json
    lut: int
    ff: int

    @property
    def mhz(self) -> float:
        """Median over the seeds."""
        return float(self.fmax_mhz["median"])


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search came to.

    Parameters
    ----------
    mhz : float
        The clock that was asked for.
    tried : list of Tried
        In the order in which they were tried: from none upwards.
    """

    mhz: float
    tried: list[Tried] = field(default_factory=list)

    @property
    def chosen(self) -> Tried | None:
        """The fewest stages that reach the clock; None if none of those tried does."""
        return next((tried for tried in self.tried if tried.mhz >= self.mhz), None)

    @property
    def best(self) -> Tried:
        """The highest clock, with the fewest stages where several reach it."""
        return max(self.tried, key=lambda tried: (tried.mhz, -tried.pipeline))

    @property
    def is_over(self) -> bool:
        """Whether no further number of stages need be tried."""
        return (self.chosen is not None or len(self.tried) > MAX_STAGES
                or (bool(self.tried) and len(self.tried) - 1 - self.tried.index(self.best) >= PATIENCE))

    def missed(self) -> ClockMissed:
        """Return the error that says by how much the clock is missed."""
        best = self.best
        plural = "" if best.pipeline == 1 else "s"
        return ClockMissed(f"Clock must be one that pipeline stages reach, not {self.mhz:g} MHz, which "
                           f"0 to {self.tried[-1].pipeline} stages miss by {self.mhz - best.mhz:.1f} MHz (best "
                           f"{best.mhz:.1f} MHz at {best.pipeline} stage{plural})")

    def to_json(self) -> Json:
        """Return it as ``build --json`` shows it."""
        chosen = self.chosen
        return {"mhz": self.mhz, "pipeline": None if chosen is None else chosen.pipeline,
                "missed_by_mhz": None if chosen is not None else round(self.mhz - self.best.mhz, 2),
                "tried": [{"pipeline": tried.pipeline, "fmax_mhz": tried.fmax_mhz, "lut": tried.lut, "ff": tried.ff}
                          for tried in self.tried]}


def check_search(plan: Plan) -> Target:
    """Return the one target of a plan, on which the clock is to be reached.

    Raises
    ------
    UsageError
        If there are several, its clocks cannot be known, or the operator takes no number of stages.
    ToolMissing
        If the family's placer is not installed.
    """
    if len(plan.targets) != 1:
        raise UsageError(f"Pipeline must be a number for {len(plan.targets)} targets, not 'auto', which finds the one "
                         "for one --target")
    target, = plan.targets
    rules = target.place_and_route
    reason = "there is no open placer for this family" if rules is None else rules.fmax_unknown
    if reason:
        raise UsageError(f"Pipeline must be a number for {target.name}, whose clocks are unknown ({reason}), "
                         "not 'auto'")
    assert rules is not None  # said above
    if not plan.seeds:
        raise UsageError("Pipeline must be a number with --no-pnr, since its clocks come from placement, not 'auto'")
    if not takes_pipeline(plan.operation.model):
        raise UsageError(f"Option --pipeline must be left out for {plan.operation.name}, whose registers follow from "
                         "its structure, not 'auto'")
    if not is_installed(rules.tool):
        tool = TOOLS[rules.tool]
        raise ToolMissing(tool.name, f"Tool {tool.name} must be installed ({tool.size}) for --pipeline auto; "
                                     f"pip install '{tool.requirement}'")
    return target


def search_pipeline(plan: Plan, mhz: float, *, store: Store, work: Path, progress: Progress,
                    report: Callable[[Tried], None]) -> Search:
    """Place and route the operator with 0, 1, 2 … stages until one reaches a clock, or more of them do not help.

    Every number is measured, since the clock does not rise with each of them: a stage more moves all the others, and
    may leave the slowest path as it was or cut it elsewhere. Nothing is checked: what is chosen has to be built.

    Parameters
    ----------
    plan : Plan
        Of one target: see :func:`check_search`. Its operation's own number of stages is not looked at.
    mhz : float
        What the median over the plan's seeds has to reach.
    work : Path
        Empty folder; a folder for each number of stages is made there.
    progress : Progress
        Told of each step; it counts one for each number of stages.
    report : callable
        Called with each number of stages once it has been measured.

    Raises
    ------
    SynthError
        If one of them cannot be built.
    """
    search = Search(mhz=mhz)
    while not search.is_over:
        stages = len(search.tried)
        progress.start(f"{plan.targets[0].title}: {stages} pipeline stage{'' if stages == 1 else 's'}")
        folder = work / str(stages)
        folder.mkdir()
        trial = replace(plan, operation=replace(plan.operation, pipeline=stages), every_recipe=False, check=False)
        outcome, = Builder(trial, store=store).run(folder, _Steps(progress))
        tried = _measured(outcome, stages)
        search.tried.append(tried)
        report(tried)
        progress.advance()
    return search


def _measured(outcome: Outcome, stages: int) -> Tried:
    if outcome.error is not None:
        raise outcome.error
    result = summary(outcome)
    if result["fmax_mhz"] is None:
        raise SynthError(f"Tool {outcome.placed[0].nextpnr.name} must name a clock for {stages} pipeline stages, "
                         "not none")
    return Tried(pipeline=stages, fmax_mhz=result["fmax_mhz"], lut=result["lut"], ff=result["ff"])


class _Steps:
    """Passes on what is being done, and counts nothing: how many steps there will be is not known."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, description: str) -> None:
        self._progress.start(description)

    def advance(self, description: str = "") -> None:
        if description:
            self._progress.start(description)
