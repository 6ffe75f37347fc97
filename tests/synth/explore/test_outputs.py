"""The files say the same as each other, and the report shows it in a real browser, without any network."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from synth.errors import UsageError
from synth.explore.comparison import Candidate, compare
from synth.explore.costing import Axis, Cost
from synth.explore.evaluations import Outcome
from synth.explore.evaluator import Task, uniform
from synth.explore.exploration import Exploration, Plan
from synth.explore.outputs import MARKER, csv_of, document_of, html_of, share, summary_of, title_of, write_outputs
from synth.explore.space import choices
from synth.explore.statistics import Interval, mean_interval
from tests.support.browser import BROWSER, rendered

SEEDS = (1, 2, 3)


@pytest.fixture
def exploration():
    """Six formats and two techniques, one cost a prediction, one format left out."""
    found, _ = choices(formats=["int3", "int4", "int8", "e2m1", "posit<6,1>", "mxfp4"])
    candidates = [Candidate(label=choice.label, assignment=uniform(choice)) for choice in found]
    outcomes = {Task(seed=seed, assignment=candidate.assignment, technique=technique):
                Outcome(accuracy=(90 + place + 0.3 * seed + (technique == "gptq")) / 100)
                for place, candidate in enumerate(candidates) for seed in SEEDS for technique in ("plain", "gptq")}
    costs = {}
    for place, candidate in enumerate(candidates):
        lut = 40 + 7 * (place % 4)
        costs[candidate.label] = Cost(value=lut, low=lut - place, high=lut + place,
                                      detail={"counted_by": "nextpnr", "fmax_mhz": 99.5},
                                      provenance="predicted" if place else "measured")
    costs["mxfp4"] = "no circuit for </script><b>blocks</b>"
    comparison = compare(candidates, ["plain", "gptq"], seeds=SEEDS, reference=dict.fromkeys(SEEDS, 0.99),
                         outcomes=outcomes, costs=costs)
    plan = Plan(model="digits-cnn", choices=tuple(found), techniques=("plain", "gptq"), seeds=SEEDS, axis=Axis.MAC,
                costing={"target": "ecp5", "terms": 4608, "macs": 64, "dsp": False})
    return Exploration(plan=plan, comparison=comparison, reference=mean_interval([0.99, 0.98, 0.99]), study=None,
                       provenance={"narrowgauge": "0.1.0", "library": "ab" * 32})


def test_the_document_holds_every_point_of_every_view(exploration):
    document = json.loads(json.dumps(document_of(exploration)))
    assert {name: len(points) for name, points in document["views"].items()} == {"best": 5, "plain": 5, "gptq": 5}
    assert document["left_out"] == {"mxfp4": "no circuit for </script><b>blocks</b>"}
    assert document["cost"] == {"axis": "lut-per-mac", "title": "LUTs of an exact multiply-accumulator",
                                "unit": "LUT a MAC", "terms": 4608, "macs": 64, "dsp": False}
    point = document["views"]["plain"][0]
    assert set(point) == {"label", "family", "technique", "formats", "accuracies", "accuracy", "difference", "cost",
                          "standing", "gain"}
    assert len(point["accuracies"]) == len(SEEDS)
    assert document["provenance"]["library"] == "ab" * 32


def test_the_table_of_values_says_the_same(exploration):
    rows = list(csv.DictReader(io.StringIO(csv_of(exploration))))
    document = document_of(exploration)
    assert len(rows) == 15
    for row in rows:
        point, = (point for point in document["views"][row["view"]] if point["label"] == row["label"])
        assert float(row["accuracy"]) == point["accuracy"]["mean"]
        assert float(row["cost"]) == point["cost"]["value"]
        assert row["standing"] == point["standing"]
        assert (row["gain"] == "") == (point["gain"] is None)
        assert row["provenance"] == point["cost"]["provenance"]


def test_the_words_say_what_was_done(exploration):
    assert title_of(exploration) == "digits-cnn on ecp5: accuracy against LUTs of an exact multiply-accumulator"
    assert re.fullmatch(r"5 points, \d on the Pareto front and \d that 3 seeds cannot tell from it\. The float network "
                        r"reaches 98\.67 % \(97\.23 to 100\.10\)\.", summary_of(exploration))
    assert share(Interval(mean=0.5, low=None, high=None, count=1)) == "50.00 %"


def test_a_folder_appears_whole_and_is_replaced(exploration, tmp_path):
    folder = tmp_path / "out"
    document = write_outputs(exploration, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["front.json", "points.csv", "report.html"]
    assert json.loads((folder / MARKER).read_text(encoding="utf-8")) == document
    (folder / "old").write_text("from before")
    write_outputs(exploration, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert not (folder / "old").exists()


def test_a_folder_of_something_else_is_left_alone(exploration, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="Output folder must be empty or an earlier build, not .* 'thesis.tex'"):
        write_outputs(exploration, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


class Elements(HTMLParser):
    """Collects the elements of a page, each with its text."""

    def __init__(self, text):
        super().__init__()
        self.found, self._open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.found.append(element)
        if tag not in ("meta", "link", "input", "br"):
            self._open.append(element)

    def handle_endtag(self, tag):
        while self._open and self._open.pop()["tag"] != tag:
            pass

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def of(self, tag, **attributes):
        return [element for element in self.found if element["tag"] == tag
                and all(element.get(name) == value for name, value in attributes.items())]


def test_the_report_asks_for_nothing_outside_itself(exploration):
    page = html_of(exploration, document_of(exploration))
    assert "@@" not in page
    assert re.findall(r"(?:https?:)?//[\w.-]+|@import|url\(", page) == []
    elements = Elements(page)
    assert [element for element in elements.found if "src" in element] == []
    assert [element["href"] for element in elements.found if "href" in element] == ["data:,"]
    policy, = (element["content"] for element in elements.of("meta") if "content" in element
               and "default-src" in element["content"])
    assert policy.startswith("default-src 'none';")


def test_no_name_ends_the_data_early(exploration):
    page = html_of(exploration, document_of(exploration))
    data, = Elements(page).of("script", type="application/json")
    assert json.loads(data["text"])["left_out"]["mxfp4"].endswith("</script><b>blocks</b>")


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@needs_browser
def test_the_browser_draws_every_point(exploration, tmp_path):
    write_outputs(exploration, tmp_path / "out")
    page, said = rendered(tmp_path / "out" / "report.html", tmp_path / "profile")
    assert said == []
    elements = Elements(page)
    points = document_of(exploration)["views"]["best"]
    drawn = [element for element in elements.of("g") if element.get("class", "").startswith("point")]
    assert sorted(element["data-label"] for element in drawn) == sorted(point["label"] for point in points)
    assert sorted(element["class"] for element in drawn) == sorted(f"point {point['standing']}" for point in points)
    rows = elements.of("tr")[1:]
    assert [row["data-label"] for row in rows] == [point["label"] for point in points]
    for row, point in zip(rows, points, strict=True):
        assert f"{100 * point['accuracy']['mean']:.2f} %" in row["text"]
        assert point["cost"]["provenance"] in row["text"]
    assert [option["text"] for option in elements.of("option")[:3]] == ["best", "plain", "gptq"]
    assert elements.of("p", id="summary")[0]["text"] == summary_of(exploration)
    assert '"library": "abab' in elements.of("pre")[0]["text"]
    assert elements.of("li")[0]["text"] == "mxfp4: no circuit for </script><b>blocks</b>"
    assert len(elements.of("path", **{"class": "stairs"})) == 1


_HOVER = """
<script>
const told = document.createElement("div");
told.id = "told";
for (const group of document.querySelectorAll("g.point")) {
  group.dispatchEvent(new MouseEvent("mouseenter"));
  const one = document.createElement("p");
  one.className = "told";
  one.textContent = (document.getElementById("hover").hidden ? "hidden" : "shown") + "|" + group.dataset.label + "|" +
    [...document.querySelectorAll("#hover dt, #hover dd")].map(part => part.textContent).join("|");
  told.append(one);
  group.dispatchEvent(new MouseEvent("mouseleave"));
  if (!document.getElementById("hover").hidden) told.append("left over");
}
const view = document.getElementById("view");
view.value = "plain";
view.dispatchEvent(new Event("change"));
const box = document.querySelector("#families input");
box.click();
const kept = document.querySelector("g.point");
kept.dispatchEvent(new MouseEvent("click", {bubbles: true}));
kept.dispatchEvent(new MouseEvent("mouseleave"));
document.body.append(told);
</script>
</body>
"""


@needs_browser
def test_the_browser_tells_of_each_point_under_the_mouse(exploration, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(html_of(exploration, document_of(exploration)).replace("</body>", _HOVER), encoding="utf-8")
    text, said = rendered(page, tmp_path / "profile")
    assert said == []
    elements = Elements(text)
    told = {element["text"].split("|")[1]: element["text"] for element in elements.of("p", **{"class": "told"})}
    points = document_of(exploration)["views"]["best"]
    assert set(told) == {point["label"] for point in points}
    for point in points:
        line = told[point["label"]]
        assert line.startswith("shown|")
        assert f"accuracy|{100 * point['accuracy']['mean']:.2f} % (" in line
        assert f"technique|{point['technique']}" in line
        assert f"LUT a MAC|{point['cost']['value']}" in line
        assert f", {point['cost']['provenance']}, counted by nextpnr" in line
        assert "Fmax|99.5 MHz" in line
    assert "left over" not in elements.of("div", id="told")[0]["text"]
    # The view was changed, the first family put out, and a point kept by a click.
    left = [element["data-label"] for element in elements.of("g") if element.get("class", "").startswith("point")]
    plain = document_of(exploration)["views"]["plain"]
    first = document_of(exploration)["views"]["best"][0]["family"]
    assert sorted(left) == sorted(point["label"] for point in plain if point["family"] != first)
    hover, = elements.of("div", id="hover")
    assert "hidden" not in hover
    assert "plain" in hover["text"]
    chosen = [element for element in elements.found if "chosen" in element.get("class", "").split()]
    assert {element["tag"] for element in chosen} == {"g", "tr"}
