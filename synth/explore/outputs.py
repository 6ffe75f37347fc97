"""What an exploration leaves: ``front.json``, ``points.csv``, and ``report.html``, which needs nothing but itself."""

import csv
import html
import io
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from synth.explore.comparison import Point
from synth.explore.costing import Axis
from synth.explore.exploration import Exploration
from synth.explore.statistics import Interval
from synth.folder import OutputFolder, storage_errors

MARKER = "front.json"
"""File that makes a folder recognizable as an earlier exploration's."""

UNITS = {Axis.MAC: "LUT a MAC", Axis.LUT: "LUT", Axis.DSP: "DSP", Axis.BRAM: "block RAM", Axis.BYTES: "bytes"}
"""What a cost is counted in, by axis."""

_COLUMNS = ("view", "label", "family", "technique", "accuracy", "accuracy_low", "accuracy_high", "difference",
            "difference_low", "difference_high", "seeds", "cost", "cost_low", "cost_high", "provenance", "standing",
            "gain", "gain_low", "gain_high")


def document_of(exploration: Exploration) -> dict[str, Any]:
    """Return all that was found, ready for JSON."""
    plan = exploration.plan
    return {
        "model": plan.model, "target": plan.costing["target"], "techniques": list(plan.techniques),
        "cost": {"axis": plan.axis.value, "title": plan.axis.title, "unit": UNITS[plan.axis],
                 **{name: plan.costing[name] for name in ("terms", "macs", "dsp") if name in plan.costing}},
        "reference": exploration.reference.to_json(),
        "views": {name: [point.to_json() for point in points]
                  for name, points in exploration.comparison.views.items()},
        "left_out": dict(exploration.comparison.left_out),
        "study": None if exploration.study is None else dict(exploration.study),
        "provenance": dict(exploration.provenance)}


def title_of(exploration: Exploration) -> str:
    """Return one line that says what was explored."""
    plan = exploration.plan
    where = "" if plan.axis is Axis.BYTES else f" on {plan.costing['target']}"
    return f"{plan.model}{where}: accuracy against {plan.axis.title}"


def summary_of(exploration: Exploration) -> str:
    """Return a sentence on what the figures are."""
    points, plan = exploration.comparison.main, exploration.plan
    front = sum(point.standing.value == "front" for point in points)
    possible = sum(point.standing.value == "possible" for point in points)
    seeds = len(plan.seeds)
    return (f"{len(points)} points, {front} on the Pareto front and {possible} that {seeds} "
            f"seed{'s' if seeds > 1 else ''} cannot tell from it. The float network reaches "
            f"{share(exploration.reference)}.")


def note_of(exploration: Exploration) -> str:
    """Return how the figures were made, for a reader of the report."""
    plan = exploration.plan
    how = {Axis.MAC: f"Cost is that of an exact multiply-accumulator for sums of {plan.costing.get('terms')} products, "
                     "its result not rounded.",
           Axis.BYTES: "Cost is that of the stored weights, shared scales of blocks included."}
    cost = how.get(plan.axis, f"Cost is that of {plan.costing.get('macs')} multiply-accumulators, shared out over the "
                              "layers by their work.")
    best = ("" if len(plan.techniques) == 1 else " In the view 'best', the technique of each seed is the one that is "
            "best on average over the other seeds.")
    return ("Each seed is a network trained anew; intervals are Student's at 95 %, and differences are taken in pairs, "
            f"seed by seed.{best} {cost}")


def share(interval: Interval, digits: int = 2) -> str:
    """Write an accuracy in percent with its interval."""
    if interval.low is None or interval.high is None:
        return f"{100 * interval.mean:.{digits}f} %"
    return f"{100 * interval.mean:.{digits}f} % ({100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f})"


def csv_of(exploration: Exploration) -> str:
    """Return a line for each point of each view, as text of comma-separated values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for view, points in exploration.comparison.views.items():
        for point in points:
            writer.writerow(_line(view, point))
    return text.getvalue()


def _line(view: str, point: Point) -> list[object]:
    gain = point.gain or Interval(mean=0, low=None, high=None, count=0)
    return [view, point.candidate.label, point.candidate.family, point.technique, point.accuracy.mean,
            point.accuracy.low, point.accuracy.high, point.difference.mean, point.difference.low,
            point.difference.high, point.accuracy.count, point.cost.value, point.cost.low, point.cost.high,
            point.cost.provenance, point.standing.value, None if point.gain is None else gain.mean, gain.low,
            gain.high]


def html_of(exploration: Exploration, document: Mapping[str, Any]) -> str:
    """Return the report: one file, which asks the network for nothing."""
    data = {**document, "summary": summary_of(exploration), "note": note_of(exploration)}
    # An end tag inside a name would end the script element that holds the data.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    page = (files("synth.explore") / "report.html").read_text(encoding="utf-8")
    title = html.escape(title_of(exploration))
    return page.replace("@@TITLE@@", title).replace("@@DATA@@", text)


def write_outputs(exploration: Exploration, folder: Path) -> dict[str, Any]:
    """Write the three files into a folder that appears whole; return the document.

    Raises
    ------
    UsageError, StorageError
        If the folder must not, or cannot, be written.
    """
    document = document_of(exploration)
    output = OutputFolder(folder, marker=MARKER)
    with output, storage_errors(output.folder):
        for name, text in ((MARKER, json.dumps(document, indent=1, ensure_ascii=False) + "\n"),
                           ("points.csv", csv_of(exploration)), ("report.html", html_of(exploration, document))):
            (output.work / name).write_text(text, encoding="utf-8", newline="\n")
        output.commit()
    return document
