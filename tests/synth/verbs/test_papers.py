"""The verb ``papers``: its table, its JSON, its exit code and what it refuses."""

import json

import pytest

from synth.errors import ExitCode
from synth.papers import catalog
from synth.papers.record import Demand, Paper, Part, Provenance, Row
from tests.support.cli import call


def row(ours, demand):
    return Row(quantity="DSP blocks", unit="blocks", ours=ours, paper=360, provenance=Provenance.PUBLISHED,
               source="section 5", demand=demand, note="256 + 144 MACs")


@pytest.fixture(autouse=True)
def one_paper(monkeypatch, tmp_path):
    def run(laboratory):
        laboratory.step("counting")
        laboratory.warn("something is missing")
        return [row(272, Demand.AT_MOST), row(400, Demand.AT_MOST)]

    parts = {name: Part(name=name, summary=f"the {name}", steps=1, run=run) for name in ("first", "second")}
    parts["good"] = Part(name="good", summary="the good one", steps=0, run=lambda _: [row(272, Demand.AT_MOST)])
    paper = Paper(name="codenet", title="CoDeNet", citation="FPGA'21", parts=parts)
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path))
    monkeypatch.setattr("synth.verbs.papers.find_paper", lambda name: paper)


def test_figures_stand_beside_the_papers(capsys):
    result = call(capsys, "papers", "codenet", "--part", "good", "--quiet")
    assert result.code == ExitCode.DONE
    assert "CoDeNet (FPGA'21)" in result.out
    assert "the good one" in result.out
    assert "0.7556" in result.out
    assert "DSP blocks: 256 + 144 MACs" in result.out


def test_a_warning_is_said_once(capsys):
    assert call(capsys, "papers", "codenet", "--quiet").err.count("warning: something is missing") == 1


def test_a_figure_that_is_not_reproduced_fails(capsys):
    result = call(capsys, "papers", "codenet", "--part", "first", "--json", "--quiet")
    document = json.loads(result.out)
    assert result.code == ExitCode.MISMATCH
    assert [row["holds"] for row in document["rows"]] == [True, False]
    assert (document["paper"], document["citation"]) == ("codenet", "FPGA'21")


def test_what_the_paper_does_not_say_is_left_open(capsys, monkeypatch):
    alone = Row(quantity="images a second", unit="1/s", ours=4000.0, paper=None, provenance=Provenance.UNPUBLISHED,
                source="nothing known", demand=Demand.COMPARED)
    part = Part(name="alone", summary="what nobody published", steps=0, run=lambda _: [alone])
    paper = Paper(name="hobflops", title="HOBFLOPS", citation="arXiv", parts={"alone": part})
    monkeypatch.setattr("synth.verbs.papers.find_paper", lambda name: paper)
    result = call(capsys, "papers", "hobflops", "--quiet")
    assert result.code == ExitCode.DONE
    line, = (line for line in result.out.splitlines() if "images a second" in line)
    assert line.split("1/s")[1].replace("│", " ").split()[:4] == ["4000", "–", "–", "compared"]
    assert json.loads(call(capsys, "papers", "hobflops", "--json", "--quiet").out)["rows"][0]["paper"] is None


def test_all_parts_run_where_none_is_named(capsys):
    result = call(capsys, "papers", "codenet", "--json", "--quiet")
    assert result.code == ExitCode.MISMATCH
    assert [(row["part"], row["holds"]) for row in json.loads(result.out)["rows"]] == [
        ("first", True), ("first", False), ("second", True), ("second", False), ("good", True)]


def test_papers_are_listed(capsys):
    result = call(capsys, "papers", "--json")
    assert json.loads(result.out)["papers"][0]["parts"] == {
        "first": "the first", "second": "the second", "good": "the good one"}


def test_an_unknown_part_is_refused(capsys):
    result = call(capsys, "papers", "codenet", "--part", "third")
    assert (result.code, result.err.strip()) == (
        ExitCode.USAGE, "error: Part of codenet must be one of first, second, good, not 'third'")


def test_an_unknown_paper_is_refused():
    with pytest.raises(catalog.UsageError, match="Paper must be one of codenet, flightllm, hobflops, minifloat_ptq, "
                                                 "not 'codnet'; did you mean codenet?"):
        catalog.find_paper("codnet")
