"""``cost``: what an operator costs on each target, measured or predicted, and how far off predictions are."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth.console import Console
from synth.errors import ExitCode, UsageError
from synth.targets import TARGETS, find_target

# What reads tables and models is imported where it is used: the help of the command line needs none of it.

OPERATIONS = ("multiply", "mac", "emac", "dot")

_OPERATOR_OPTIONS = ("fmt_b", "out_fmt", "terms", "lanes", "accumulator", "accumulator_width")

_MEDIAN, _P95 = 0.08, 0.25
"""What a median and a 95th percentile of the errors of lookup tables should stay below."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    from synth.__main__ import natural, positive
    from synth.verbs.cost_network import add_network_arguments

    parser.epilog = ("A cost is measured (synthesized, placed where there is a placer, and verified) where the table "
                     "has the operator, and\notherwise predicted from what was measured of others, with an interval "
                     "that holds 90 % of the circuits.\n'python -m synth sweep' measures more; 'python -m synth build' "
                     "measures one operator now.")
    group = parser.add_argument_group("operator")
    group.add_argument("--op", metavar="NAME", default="multiply",
                       help=f"one of {', '.join(OPERATIONS)} (default: multiply)")
    group.add_argument("--fmt", metavar="NAME", help="format of the operands, and of the result unless --out-fmt says "
                                                     "otherwise")
    group.add_argument("--fmt-b", metavar="NAME", help="format of the second operand (default: as the first)")
    group.add_argument("--out-fmt", metavar="NAME",
                       help="format of the result (default: as the first operand); exact for a sum as it is")
    group.add_argument("--terms", metavar="K", type=positive("Terms"),
                       help="longest sum of mac and emac that has to be exact (default: 256)")
    group.add_argument("--lanes", metavar="N", type=positive("Lanes"), help="pairs of operands of dot (default: 4)")
    group.add_argument("--accumulator", metavar="NAME", help="format of the register of mac")
    group.add_argument("--accumulator-width", metavar="BITS", type=positive("Accumulator width"),
                       help="width of the register of emac (default: as --terms needs)")
    group.add_argument("--pipeline", metavar="N", type=natural("Pipeline"), default=0,
                       help="register stages (default: 0)")
    group.add_argument("--dsp", action="store_true", help="allow hard multipliers")
    group.add_argument("--target", metavar="NAME", action="append", default=[],
                       help=f"one of {', '.join(TARGETS)}; may be repeated (default: all)")
    group.add_argument("--explain", action="store_true",
                       help="also show the nearest measured operators, and what the model counts")
    add_network_arguments(parser)
    group = parser.add_argument_group("model")
    group.add_argument("--errors", action="store_true",
                       help="show how far off predictions are of formats, and of families of formats, that a fit has "
                            "not seen")
    group.add_argument("--fit", action="store_true", help="fit the model to the table, and write it")
    group.add_argument("--table", metavar="FILE", help="table of measured costs that 'sweep --out' wrote (default: the "
                                                       "package's, under this user's own rows)")
    group.add_argument("--model", metavar="FILE", help="model to predict with, or to write (default: the package's)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Answer; return the exit code."""
    if arguments.fit:
        return _fit(arguments, console)
    if arguments.errors:
        return _errors(arguments, console)
    if arguments.network is not None:
        return _network(arguments, console)
    if arguments.fmt is None:
        raise UsageError("Option --fmt must be given, unless --errors or --fit asks for something else, not left out")
    return _operator(arguments, console)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _targets(names: Sequence[str]) -> list[str]:
    wanted = {find_target(name).name for item in names for name in item.split(",")}
    return [name for name in TARGETS if not wanted or name in wanted]


def _point(arguments: argparse.Namespace) -> tuple[Any, list[str]]:
    """Return the point that is asked for, and what has to be said about how its names were understood."""
    from sw.formats import FixedPointFormat
    from synth.cost.point import Point
    from synth.operations import Request, find_operation

    op = arguments.op
    options = {name: getattr(arguments, name) for name in _OPERATOR_OPTIONS}
    request = Request(op=op, fmt=arguments.fmt, pipeline=arguments.pipeline, dsp=arguments.dsp, **options)
    notes = []
    if op == "mac":
        from synth.errors import usage_errors

        with usage_errors():
            formats = [fmt for fmt in (request.scalar("fmt"), request.optional_scalar("fmt_b")) if fmt is not None]
        if arguments.accumulator is None and not all(isinstance(fmt, FixedPointFormat) for fmt in formats):
            request.op = op = "emac"
            notes.append("costs of mac are tabulated in fixed point alone: for other formats the exact "
                         "multiply-accumulate, emac, is meant, not the rounded step that build makes of mac")
    operation = request.operation(find_operation(op))
    return Point.of(operation), [*request.notes, *notes]


def _operator(arguments: argparse.Namespace, console: Console) -> int:
    from synth.cost.estimate import estimate

    targets = _targets(arguments.target)
    point, notes = _point(arguments)
    table, model = _sources(arguments, console)
    unknown = [target for target in targets if table.find(point, target) is None
               and (point.op, target) not in model.sections]
    if arguments.target or unknown == targets:
        unknown = []  # it was asked for, or nothing else is left: that is an error, which the first of them raises
    estimates = [estimate(point, target, table=table, model=model) for target in targets if target not in unknown]
    explanations = {}
    if arguments.explain:
        from synth.cost.explain import explain

        explanations = {item.target: explain(point, item.target, table=table, model=model) for item in estimates
                        if (point.op, item.target) in model.sections}
    console.json({
        "point": point.to_json(), "notes": notes,
        "targets": [{**item.to_json(), **({"explanation": explanations[item.target].to_json()}
                                          if item.target in explanations else {})} for item in estimates]})
    for note in notes:
        console.print(note)
    console.print(point.operation().describe())
    _show(estimates, console)
    _warn_of_left_out(unknown, point.op, console)
    for item in estimates:
        if item.failure:
            console.warn(f"measuring it on {item.target} failed: {item.failure}")
    _warn_of_extrapolation(estimates, console)
    for target, explanation in explanations.items():
        _show_explanation(target, explanation, console)
    return ExitCode.DONE


def _network(arguments: argparse.Namespace, console: Console) -> int:
    from functools import partial

    from synth.cost.estimate import estimate
    from synth.verbs.cost_network import run_network

    table, model = _sources(arguments, console)
    names = _targets(arguments.target)
    unknown = [name for name in names if ("emac", name) not in model.sections]
    if arguments.target or unknown == names:
        unknown = []  # as for an operator: an error, unless the table knows every accumulator
    code = run_network(arguments, [TARGETS[name] for name in names if name not in unknown], console,
                       partial(estimate, table=table, model=model))
    _warn_of_left_out(unknown, "emac", console)
    return code


def _sources(arguments: argparse.Namespace, console: Console) -> tuple[Any, Any]:
    """Return the table and the model to answer from; say so if the package's do not belong together."""
    from synth.cost.model import load_model
    from synth.cost.table import load_table

    table, model = load_table(_path(arguments.table)), load_model(_path(arguments.model))
    _warn_if_stale(arguments, model, console)
    return table, model


def _show(estimates: Sequence[Any], console: Console) -> None:
    rows = []
    for item in estimates:
        interval = "" if item.is_measured else f"{item.low}–{item.high}"
        fmax = "unknown" if item.fmax_mhz is None else f"{item.fmax_mhz:.1f}"
        if not item.is_measured and item.fmax_mhz is not None:
            fmax += f" ({item.fmax_low_mhz:.1f}–{item.fmax_high_mhz:.1f})"
        rows.append([item.target, item.provenance.value, item.lut, interval, item.ff, item.carry, item.dsp, item.bram,
                     fmax, item.counted_by])
    console.table("", ["target", "cost is", "LUT", "90 % interval", "FF", "carry", "DSP", "BRAM", "Fmax MHz",
                       "counted by"], rows)


def _warn_of_left_out(targets: Sequence[str], op: str, console: Console) -> None:
    if targets:
        console.warn(f"{', '.join(targets)}: left out, as too few circuits of {op} were measured there to predict "
                     "others; 'python -m synth sweep' measures more")


def _warn_of_extrapolation(estimates: Sequence[Any], console: Console) -> None:
    said: dict[tuple[str, ...], list[str]] = {}
    for item in estimates:
        if item.extrapolates:
            said.setdefault(item.extrapolates, []).append(item.target)
    for reasons, targets in said.items():
        console.warn(f"{', '.join(targets)}: the prediction goes beyond what was measured, and its interval is a guess "
                     f"({'; '.join(reasons)}); 'python -m synth build' measures it")


def _warn_if_stale(arguments: argparse.Namespace, model: Any, console: Console) -> None:
    """Say when the package's model and table do not belong together; a user's own files are that user's."""
    from synth.cost.model import is_stale

    if arguments.table is None and arguments.model is None and is_stale(model):
        console.warn("the model was fitted to another table than the package's; 'python -m synth cost --fit' fits it "
                     "anew")


def _show_explanation(target: str, explanation: Any, console: Console) -> None:
    console.table(f"{target}: nearest measured operators", ["distance", "operator", "LUT", "FF", "carry", "DSP"],
                  [[f"{item.distance:.2f}", item.row.point.key(), item.row.lut, item.row.ff, item.row.carry,
                    item.row.dsp] for item in explanation.neighbours])
    console.table(f"{target}: predicted {explanation.predicted:.1f} LUT = the sum below, corrected by "
                  f"{100 * (explanation.correction - 1):+.1f} % for what is measured nearby",
                  ["LUT", "amount", "each", "what"],
                  [[f"{share.lut:.1f}", f"{share.amount:g}", f"{share.each:.2f}", share.text]
                   for share in explanation.shares])


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.1f}"


def _errors(arguments: argparse.Namespace, console: Console) -> int:
    from synth.cost.model import load_model

    model = load_model(_path(arguments.model))
    _warn_if_stale(arguments, model, console)
    targets = _targets(arguments.target)
    errors = [item for item in model.errors if item["target"] in targets]
    console.json({"table": model.table_digest, "median_target": _MEDIAN, "p95_target": _P95, "errors": errors})
    rows, missed = [], []
    for item in (item for item in errors if item["quantity"] == "lut"):
        cells = [item["op"], item["target"], item["rows"], item["formats"]]
        for left_out in ("format", "family"):
            found = item["left_out"][left_out]
            cells += [_percent(found and found[name]) for name in ("median", "p95", "coverage")]
            if found and (found["median"] > _MEDIAN or found["p95"] > _P95):
                missed.append(f"{item['op']} on {item['target']} by {left_out}")
        finn = item["finn"]
        rows.append([*cells, _percent(finn["median"]), _percent(finn["p95"]), _percent(finn["scaled"]["median"]),
                     _percent(finn["scaled"]["p95"])])
    console.table("LUT: relative errors in % of predictions of what a fit has not seen",
                  ["op", "target", "rows", "formats", "format: median", "95th", "held", "family: median", "95th",
                   "held", "FINN: median", "95th", "scaled: median", "95th"], rows)
    console.print("format, family: every circuit with that format, or with any of that family, was left out of the "
                  "fit; held: in the 90 % interval.\nFINN: its formula for integers on the same circuits, as it stands "
                  "and times one factor an operation and target.")
    console.print(f"Medians of {_percent(_MEDIAN)} % and 95th percentiles of {_percent(_P95)} % are "
                  + ("missed by " + ", ".join(missed) if missed else "kept everywhere"))
    _other_errors(errors, console)
    return ExitCode.DONE


def _other_errors(errors: Sequence[dict[str, Any]], console: Console) -> None:
    rows = []
    for item in errors:
        found = item["left_out"]["format"]
        if item["quantity"] != "lut" and found is not None:
            rows.append([item["op"], item["target"], {"ff": "FF", "carry": "carry", "period": "1/Fmax"}[
                item["quantity"]], item["rows"], _percent(found["median"]), _percent(found["p95"]),
                _percent(found["coverage"])])
    console.table("Other quantities, every format left out of the fit in turn",
                  ["op", "target", "of", "rows", "median %", "95th %", "held %"], rows)


def _fit(arguments: argparse.Namespace, console: Console) -> int:
    # Thousands of small systems of equations: threads, which numpy's library would start for each, wait more than they
    # work, 5 times as long on two busy cores. It reads this when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from synth.cost.evaluate import fit_model, sections_of
    from synth.cost.model import SHIPPED as MODEL
    from synth.cost.table import SHIPPED as TABLE
    from synth.cost.table import read_table

    table = read_table(_path(arguments.table) or TABLE)
    path = _path(arguments.model) or MODEL
    with console.progress("fitting", sections_of(table)) as progress:
        model = fit_model(table, progress=progress)
    model.save(path)
    console.json({"model": str(path), "table": model.table_digest, "sections": len(model.sections),
                  "errors": model.errors})
    console.print(f"{len(model.sections)} operations and targets fitted: {path}; 'python -m synth cost --errors' shows "
                  "how well")
    return ExitCode.DONE
