"""The whole run: networks, uniform formats, the search for mixed ones, and the comparison of all."""

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import DoesNotFit, UsageError
from synth.explore.budget import Budget, check_reachable
from synth.explore.comparison import Candidate, Comparison, Entry, Point, bounded, compare, points_of
from synth.explore.costing import Assignment, Axis, Cost, Costing, UnknownCost
from synth.explore.evaluations import Evaluations, Outcome
from synth.explore.evaluator import Evaluator, Prepared, Task, canonical, uniform
from synth.explore.front import Standing, pareto_front
from synth.explore.library_digest import own_version
from synth.explore.search import Found, Search, search
from synth.explore.space import Choice
from synth.explore.statistics import Interval, mean_interval
from synth.explore.storage import check_storage, default_storage
from synth.store import digest_of

MIXED = "mixed"
"""View of a search: uniform and mixed assignments together."""

_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How mixed precision is searched for.

    Parameters
    ----------
    trials : int
        That the study has in the end.
    seeds : int
        Networks that a trial is evaluated with; the front is evaluated with all afterwards.
    budget : Budget
    study : str or None
        Its name; one made of the request if None, so that the same request goes on where it was stopped.
    storage : str or None
        URL of a database; SQLite in the folder of the store if None.
    seed : int
        Of the sampler.
    """

    trials: int = 200
    seeds: int = 2
    budget: Budget = field(default_factory=Budget)
    study: str | None = None
    storage: str | None = None
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is explored.

    Parameters
    ----------
    model : str
        Name for the reader.
    choices : tuple of Choice
    techniques : tuple of str
    seeds : tuple of int
    axis : Axis
    costing : mapping of str to value
        Keyword arguments of :class:`Costing` beside the axis and the layers.
    search : SearchOptions or None
        None compares the same formats everywhere, and no others.
    cost_provenance : mapping
        Where the costs come from, ready for JSON.
    """

    model: str
    choices: tuple[Choice, ...]
    techniques: tuple[str, ...]
    seeds: tuple[int, ...]
    axis: Axis
    costing: Mapping[str, Any]
    search: SearchOptions | None = None
    cost_provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What was found.

    Parameters
    ----------
    plan : Plan
    comparison : Comparison
    reference : Interval
        Accuracy of the float networks.
    study : mapping or None
        Name, storage, trials and feasible trials of the search.
    provenance : mapping
        Versions, digests, counts, ready for JSON.
    """

    plan: Plan
    comparison: Comparison
    reference: Interval
    study: Mapping[str, Any] | None
    provenance: Mapping[str, Any]


def explore(plan: Plan, evaluator: Evaluator, *, folder: Path, jobs: int, console: Console) -> Exploration:
    """Evaluate, search and compare.

    Parameters
    ----------
    plan : Plan
    evaluator : Evaluator
    folder : Path
        Of the store that keeps the evaluations.
    jobs : int
        Processes.
    console : Console
        Shows progress and warnings.

    Raises
    ------
    UsageError
        If nothing can be compared, a budget cannot be kept, or the study belongs to another request.
    DoesNotFit
        If the search found nothing within the budget.
    """
    if plan.search is not None:
        _check_axis(plan)
        check_storage(plan.search.storage or default_storage(folder))
    evaluations = Evaluations(evaluator, folder=folder, jobs=jobs, warn=console.warn)
    # One network and the costs come first: what is wrong with them is said before an hour of training and evaluation.
    first = _networks(evaluations, plan.seeds[:1], console)[plan.seeds[0]]
    costing = Costing(axis=plan.axis, layers=first.layers, owners=first.owners, **plan.costing)
    candidates = [Candidate(label=choice.label, assignment=uniform(choice)) for choice in plan.choices]
    limits = () if plan.search is None else plan.search.budget.axes()
    costs = {candidate.label: _cost(costing, candidate.assignment, limits) for candidate in candidates}
    if plan.search is not None:
        _check_search(plan, costing, first, costs)
    prepared = _networks(evaluations, plan.seeds, console)
    outcomes = _evaluate(evaluations, candidates, plan.techniques, plan.seeds, console)
    reference = {seed: prepared[seed].accuracy for seed in plan.seeds}
    comparison = compare(candidates, plan.techniques, seeds=plan.seeds, reference=reference, outcomes=outcomes,
                         costs=costs)
    if not comparison.main:
        reasons = list(dict.fromkeys(comparison.left_out.values()))
        raise UsageError(f"Formats must be such that the network can be quantized and costed, not "
                         f"{', '.join(choice.label for choice in plan.choices)}: {reasons[0]}")
    study = None
    if plan.search is not None:
        comparison, study = _mixed(plan, plan.search, evaluator, evaluations, prepared, costing, comparison, console)
    return Exploration(plan=plan, comparison=comparison, study=study,
                       reference=bounded(mean_interval(list(reference.values()))),
                       provenance=_provenance(plan, evaluator, evaluations, prepared))


def _networks(evaluations: Evaluations, seeds: Sequence[int], console: Console) -> dict[int, Prepared]:
    with console.progress("networks", len(seeds)) as progress:
        return evaluations.prepare(seeds, progress)


def _cost(costing: Costing, assignment: Assignment, limits: Sequence[Axis]) -> Cost | str:
    """Return a cost, or why there is none; there has to be one on every axis that has a limit, too."""
    try:
        for axis in limits:
            costing.on(axis).cost(assignment)
        return costing.cost(assignment)
    except UnknownCost as reason:
        return str(reason)


def _evaluate(evaluations: Evaluations, candidates: Sequence[Candidate], techniques: Sequence[str],
              seeds: Sequence[int], console: Console) -> dict[Task, Outcome]:
    # Seed by seed, so that a process stays with the network it has loaded; and the first seed shows all formats.
    tasks = [Task(seed=seed, assignment=candidate.assignment, technique=technique)
             for seed in seeds for technique in techniques for candidate in candidates]
    with console.progress("accuracies", len(tasks)) as progress:
        return evaluations.run(tasks, progress)


def _check_axis(plan: Plan) -> None:
    if plan.axis is Axis.MAC:
        raise UsageError(f"Cost must be one of a whole network for mixed formats, not {plan.axis.value!r}; "
                         "--cost lut counts its LUTs")


def _check_search(plan: Plan, costing: Costing, prepared: Prepared, costs: Mapping[str, Cost | str]) -> None:
    """Refuse a search of formats without a cost, and a budget that no assignment keeps."""
    assert plan.search is not None
    costed = [choice for choice in plan.choices if isinstance(costs[choice.label], Cost)]
    if not costed:
        raise UsageError(f"Formats must have a cost to be searched, not "
                         f"{', '.join(choice.label for choice in plan.choices)}: "
                         f"{next(reason for reason in costs.values() if isinstance(reason, str))}")
    check_reachable(plan.search.budget, prepared.names, costed, costing)


def _mixed(plan: Plan, options: SearchOptions, evaluator: Evaluator, evaluations: Evaluations,
           prepared: Mapping[int, Prepared], costing: Costing, comparison: Comparison,
           console: Console) -> tuple[Comparison, dict[str, Any]]:
    """Search, evaluate what the search found with all seeds, and compare it with the uniform formats."""
    usable = {point.candidate.label for view in comparison.views.values() for point in view}
    choices = tuple(choice for choice in plan.choices if choice.label in usable)
    seeds = plan.seeds[:options.seeds]
    names = prepared[seeds[0]].names
    identity = _identity(plan, evaluator, prepared, seeds, choices, costing)
    spec = Search(
        evaluator=evaluator, folder=str(evaluations.folder), prepared={seed: prepared[seed] for seed in seeds},
        choices=choices, techniques=plan.techniques, costing=costing, budget=options.budget, identity=identity,
        storage=options.storage or default_storage(evaluations.folder), seed=options.seed,
        study=options.study or f"{plan.model}-{digest_of(identity)[:12]}")
    starts = [(tuple((name, _only(point)) for name in names), technique)
              for technique in plan.techniques for point in comparison.views[technique]
              if point.standing is Standing.FRONT]
    with console.progress(f"study {spec.study}", options.trials) as progress:
        found = search(spec, trials=options.trials, jobs=evaluations.jobs, first=starts, progress=progress)
    feasible = _feasible(found, options.budget)
    front = [trial for trial, on_front
             in zip(feasible, pareto_front([(trial.cost, -trial.accuracy) for trial in feasible]), strict=True)
             if on_front]
    unique = {(trial.assignment, trial.technique): trial for trial in reversed(front)}
    tasks = [Task(seed=seed, assignment=assignment, technique=technique)
             for seed in plan.seeds for assignment, technique in unique]
    with console.progress("the front with all seeds", len(tasks)) as progress:
        outcomes = evaluations.run(tasks, progress)
    floats = [prepared[seed].accuracy for seed in plan.seeds]
    entries = []
    for (assignment, technique), trial in unique.items():
        accuracies = [outcomes[Task(seed=seed, assignment=assignment, technique=technique)].accuracy
                      for seed in plan.seeds]
        known = tuple(accuracy for accuracy in accuracies if accuracy is not None)
        label = f"trial {trial.number}" if len({choice for _, choice in assignment}) > 1 else assignment[0][1].label
        if len(known) == len(plan.seeds) and label not in usable:
            entries.append((Candidate(label=label, assignment=assignment), costing.cost(assignment), technique, known))
    entries += [(point.candidate, point.cost, point.technique, point.accuracies) for point in comparison.main]
    kept = [entry for entry in entries if options.budget.is_met(_figures(spec, entry))]
    if not kept:
        raise DoesNotFit(f"Budget must be one that some assignment keeps with all {len(plan.seeds)} seeds, not "
                         f"{_text(options.budget)}: what the search found with {len(seeds)} does not; relax it, or "
                         "give more --search-seeds")
    study = {"name": spec.study, "storage": without_password(spec.storage), "trials": len(found),
             "feasible": len(feasible), "outside_budget": len(entries) - len(kept),
             "limits": options.budget.limits(), "search_seeds": list(seeds)}
    return Comparison(views={MIXED: points_of(kept, floats), **comparison.views},
                      left_out=comparison.left_out), study


def _only(point: Point) -> Choice:
    return point.candidate.assignment[0][1]


def _figures(spec: Search, entry: Entry) -> dict[str, float]:
    candidate, _, _, accuracies = entry
    return {**spec.figures(candidate.assignment), "accuracy": sum(accuracies) / len(accuracies)}


def _feasible(found: Sequence[Found], budget: Budget) -> list[Found]:
    """Return the trials within the budget.

    Raises
    ------
    DoesNotFit
        If there are none; the nearest is named.
    """
    feasible = [trial for trial in found if trial.is_feasible]
    if not feasible:
        nearest = min(found, key=lambda trial: max(trial.excess.values()))
        raise DoesNotFit(f"Budget must be one that some assignment keeps, not {_text(budget)}: the nearest of "
                         f"{len(found)} trials, number {nearest.number}, has an accuracy of "
                         f"{100 * nearest.accuracy:.2f} % at a cost of {nearest.cost:,.0f}; relax it, or give more "
                         "--trials")
    return feasible


def _text(budget: Budget) -> str:
    return " ".join(f"{option} {value:g}" for option, value in budget.limits().items())


def _identity(plan: Plan, evaluator: Evaluator, prepared: Mapping[int, Prepared], seeds: Sequence[int],
              choices: Sequence[Choice], costing: Costing) -> str:
    """Return all that a trial's two objectives and its limits depend on, as one JSON text."""
    assert plan.search is not None
    costs = [costing.cost(uniform(choice)).to_json() for choice in choices]
    return canonical({
        "version": own_version(), **evaluator.identity(), "model": plan.model,
        "networks": {str(seed): prepared[seed].digest[:_DIGITS] for seed in seeds},
        "formats": [choice.label for choice in choices], "techniques": list(plan.techniques),
        "cost": plan.axis.value, "target": costing.target, "macs": costing.macs, "dsp": costing.dsp,
        "costs": digest_of(canonical(costs))[:_DIGITS], "budget": plan.search.budget.limits(),
        "seed": plan.search.seed})


def without_password(url: str) -> str:
    """Return the URL of a database as it may be shown."""
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)


def _provenance(plan: Plan, evaluator: Evaluator, evaluations: Evaluations,
                prepared: Mapping[int, Prepared]) -> dict[str, Any]:
    return {"narrowgauge": own_version(), **evaluator.identity(), "python": platform.python_version(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seeds": list(plan.seeds), "networks": {str(seed): prepared[seed].digest for seed in plan.seeds},
            "costs": dict(plan.cost_provenance),
            "evaluations": {"made": evaluations.made, "from_store": evaluations.reused}}
