"""``explore``: accuracy against hardware cost over formats and techniques, and mixed precision under a budget."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, ToolMissing, UsageError
from synth.targets import TARGETS, find_target

_EPILOG = """\
examples:
  python -m synth explore --model digits-cnn --bits 3..8 --target ecp5
  python -m synth explore --model digits-vit --family int --family minifloat --technique all --cost bytes
  python -m synth explore --model digits-residual --fmt int4 --fmt int8 --fmt e4m3 --max-lut 9000 --trials 200

A run that was stopped, however it was, goes on where it stopped when it is started again: accuracies lie in the store
by content, and searches in a database. With --storage URL, several processes and machines work on one study.
"""

_SEARCH_OPTIONS = ("trials", "study", "storage", "max_lut", "max_bytes", "min_accuracy", "search_seeds")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import natural, positive

    parser.epilog = _EPILOG
    parser.add_argument("--model", metavar="NAME", default="digits-cnn",
                        help="digits-cnn, digits-residual or digits-vit, trained here once; or path.py:function, which "
                             "returns a torch module (default: digits-cnn)")
    parser.add_argument("--data", metavar="FOLDER", help="images for a model of your own, one folder a class")
    parser.add_argument("--size", metavar="N", type=positive("Size"), default=224,
                        help="pixels that those images are cut to (default: 224)")
    group = parser.add_argument_group("formats and techniques")
    group.add_argument("--bits", metavar="RANGE", default="3..8", help="widths, as in 3..8 or 4,8 (default: 3..8)")
    group.add_argument("--family", metavar="NAME", action="append",
                       help="minifloat, int, fixed, posit, float or mx; may be repeated (default: all)")
    group.add_argument("--fmt", metavar="NAME", action="append",
                       help="format, in place of --bits and --family; may be repeated")
    group.add_argument("--fmt-b", metavar="NAME", help="format of the activations (default: that of the weights)")
    group.add_argument("--pairs", action="store_true",
                       help="also pair weights with the wider activations of their family")
    group.add_argument("--technique", metavar="NAME", action="append",
                       help="plain, equalized, smoothquant, gptq, gpfq, bias-corrected, learned-rounding, paper; "
                            "or all, which is all but the slow learned-rounding; may be repeated (default: plain, "
                            "paper)")
    group.add_argument("--seeds", metavar="N", type=positive("Seeds"), default=10,
                       help="networks trained from --seed on, whose spread gives the intervals (default: 10)")
    group = parser.add_argument_group("cost")
    group.add_argument("--target", metavar="NAME", default="ecp5",
                       help=f"one of {', '.join(TARGETS)} (default: ecp5)")
    group.add_argument("--cost", metavar="AXIS",
                       help="lut-per-mac; or of the network: lut, dsp, bram, bytes (default: lut-per-mac; lut for "
                            "mixed formats)")
    group.add_argument("--terms", metavar="N", type=positive("Terms"),
                       help="products that the accumulator of lut-per-mac sums (default: 4608)")
    group.add_argument("--macs", metavar="N", type=positive("MACs"),
                       help="multiply-accumulators of the network (default: 64)")
    group.add_argument("--dsp", action="store_true", help="allow hard multipliers")
    group = parser.add_argument_group("mixed precision, layer by layer (any of these asks for it)")
    group.add_argument("--trials", metavar="N", type=positive("Trials"),
                       help="trials that the study has in the end (default: 200)")
    group.add_argument("--max-lut", metavar="N", type=positive("LUT limit"), help="LUTs of the network at most")
    group.add_argument("--max-bytes", metavar="N", type=positive("Byte limit"), help="bytes of the weights at most")
    group.add_argument("--min-accuracy", metavar="P", type=float, help="accuracy at least, 0 to 1")
    group.add_argument("--search-seeds", metavar="N", type=natural("Search seeds"),
                       help="networks that a trial is evaluated with; the front is evaluated with all (default: 2)")
    group.add_argument("--study", metavar="NAME", help="name in the database (default: made of the request)")
    group.add_argument("--storage", metavar="URL", help="database that may be shared (default: SQLite in the cache)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Explore and report."""
    from synth.cost.estimate import estimate
    from synth.explore.exploration import explore
    from synth.explore.network_evaluator import NetworkEvaluator, check_model
    from synth.explore.outputs import MARKER, write_outputs
    from synth.explore.space import choices, parse_bits
    from synth.folder import check_output_folder
    from synth.store import cache_folder

    found, notes = choices(families=arguments.family or (), bits=parse_bits(arguments.bits),
                           formats=arguments.fmt or (), activation=arguments.fmt_b, pairs=arguments.pairs)
    arguments.model = check_model(arguments.model, arguments.data)
    plan = _plan(arguments, found, coster=estimate)
    folder = Path(arguments.out) if arguments.out else Path("build") / _folder_name(arguments)
    check_output_folder(folder, MARKER)  # before the work, not after it
    _check_packages(arguments, mixed=plan.search is not None)
    for note in notes:
        console.print(note)
    evaluator = NetworkEvaluator(model=arguments.model, data=arguments.data, size=arguments.size)
    exploration = explore(plan, evaluator, folder=cache_folder(), jobs=arguments.jobs, console=console)
    document = write_outputs(exploration, folder)
    console.json({**document, "folder": str(folder)})
    _report(console, exploration)
    console.print(f"report: {folder / 'report.html'}")
    return ExitCode.DONE


def _plan(arguments: argparse.Namespace, choices: Sequence[Any], *, coster: Any) -> Any:
    from synth.explore.budget import Budget
    from synth.explore.costing import MACS, TERMS, Axis, cost_provenance
    from synth.explore.exploration import Plan, SearchOptions
    from synth.explore.space import find_name
    from synth.explore.techniques import chosen_techniques

    mixed = any(getattr(arguments, option) is not None for option in _SEARCH_OPTIONS)
    axis = Axis(find_name("Cost", arguments.cost, [axis.value for axis in Axis]) if arguments.cost
                else "lut" if mixed else "lut-per-mac")
    for option, given, wanted in (("--terms", arguments.terms, axis is Axis.MAC),
                                  ("--macs", arguments.macs, axis is not Axis.MAC)):
        if given is not None and not wanted:
            raise UsageError(f"Option {option} must be left out for the cost {axis.value!r}, which does not depend on "
                             f"it, not {given!r}")
    search = None
    if mixed:
        seeds = 2 if arguments.search_seeds is None else arguments.search_seeds
        if not 1 <= seeds <= arguments.seeds:
            raise UsageError(f"Search seeds must be between 1 and the {arguments.seeds} of --seeds, not {seeds}")
        search = SearchOptions(
            trials=arguments.trials or 200, seeds=seeds, study=arguments.study, storage=arguments.storage,
            seed=arguments.seed, budget=Budget(max_lut=arguments.max_lut, max_bytes=arguments.max_bytes,
                                               min_accuracy=arguments.min_accuracy))
    target = find_target(arguments.target).name
    return Plan(model=arguments.model, choices=tuple(choices), techniques=chosen_techniques(arguments.technique or ()),
                seeds=tuple(range(arguments.seed, arguments.seed + arguments.seeds)), axis=axis, search=search,
                cost_provenance=cost_provenance(target), costing={"target": target, "coster": coster,
                         "terms": arguments.terms or TERMS, "macs": arguments.macs or MACS, "dsp": arguments.dsp})


def _check_packages(arguments: argparse.Namespace, *, mixed: bool) -> None:
    """Say what is missing before any work is done.

    Raises
    ------
    ToolMissing
        With the line that installs it.
    """
    import importlib.util

    needed = [("torch", "torch", "torch", "quantizes and evaluates the networks")]
    if arguments.data is None:
        needed.append(("sklearn", "scikit-learn", "train", "brings the digits that the networks are trained on"))
    if mixed:
        needed.append(("optuna", "optuna", "explore", "searches the formats of each layer"))
    for module, package, extra, use in needed:
        if importlib.util.find_spec(module) is None:
            raise ToolMissing(package, f"Tool {package} is not installed; it {use}: pip install 'narrowgauge[{extra}]'")


def _folder_name(arguments: argparse.Namespace) -> str:
    from synth.operations.operation import slug

    model = Path(arguments.model.rpartition(":")[0]).stem if ".py:" in arguments.model else arguments.model
    return f"explore_{slug(model)}_{find_target(arguments.target).name}"


def _report(console: Console, exploration: Any) -> None:
    from synth.explore.outputs import UNITS, note_of, summary_of, title_of

    rows = []
    for point in exploration.comparison.main:
        cost = f"{point.cost.value:,.0f}"
        if point.cost.low != point.cost.high:
            cost += f" ({point.cost.low:,.0f}–{point.cost.high:,.0f})"
        rows.append([{"front": "●", "possible": "○"}.get(point.standing.value, ""), point.candidate.label,
                     point.technique, _percent(point.accuracy), _percent(point.difference, sign="+"), cost,
                     point.cost.provenance, _percent(point.gain, sign="+")])
    console.table(title_of(exploration), ["front", "formats", "technique", "accuracy %", "to float", "cost: "
                                          + UNITS[exploration.plan.axis], "cost is", "to next cheaper"], rows)
    console.print(summary_of(exploration))
    console.print(note_of(exploration))
    console.print("● on the Pareto front; ○ off it in the means, but no other point is better beyond the intervals")
    if exploration.study is not None:
        study = exploration.study
        console.print(f"study {study['name']}: {study['trials']} trials, {study['feasible']} within the budget; "
                      f"in {study['storage']}")
        if study["outside_budget"]:
            console.print(f"{study['outside_budget']} of the points do not keep the budget with all seeds, and are not "
                          "shown")
        _layers(console, exploration)
    for reason in dict.fromkeys(exploration.comparison.left_out.values()):
        labels = [label for label, text in exploration.comparison.left_out.items() if text == reason]
        console.print(f"left out: {', '.join(labels)}: {reason}")


def _percent(interval: Any, sign: str = "") -> str:
    """Write the mean of an interval, in percent, and half its width."""
    if interval is None:
        return ""
    mean = f"{100 * interval.mean:{sign}.2f}"
    if interval.low is None:
        return mean
    return f"{mean} ±{100 * max(interval.mean - interval.low, interval.high - interval.mean):.2f}"


def _layers(console: Console, exploration: Any) -> None:
    """Print the layers' formats of the mixed points on the front."""
    from synth.explore.comparison import on_front

    mixed = [point for point in on_front(exploration.comparison.main) if len(point.candidate.assignment) > 1]
    if mixed:
        layers = [layer for layer, _ in mixed[0].candidate.assignment]
        console.table("formats of each layer on the front", ["", *layers],
                      [[point.candidate.label, *(choice.label for _, choice in point.candidate.assignment)]
                       for point in mixed])
