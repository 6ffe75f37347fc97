"""The table of recorded structures: merged row by row, the same bytes for the same choices, read by hw."""

import json

import pytest

from hw.recorded import model_key, read_records
from synth.cost.table import Conditions
from synth.errors import StorageError
from synth.store import digest_of
from synth.targets import TARGETS
from synth.tune.records import Choice, Records, Way
from synth.tune.report import listing, summaries, summary
from synth.tune.subject import Subject

WAY = Way(recipe="default", recipe_sha256="0" * 64, tools=(("yosys", "0.70", "ab"),), samples=100, vector_seed=1)
OTHER = Way(recipe="default", recipe_sha256="1" * 64, tools=(("yosys", "0.71", "cd"),), samples=100, vector_seed=1)
E2M1, INT4 = Subject.of("multiply", fmt="e2m1"), Subject.of("multiply", fmt="int4")
SUM = Subject.of("add", fmt="e2m1")


def choice(subject=E2M1, target="ice40", way=WAY, **luts):
    return Choice(subject=subject, target=target, way=way, luts={name.replace("_", "-"): n for name, n in luts.items()})


MANY = [choice(late=9, early=4), choice(target="xc7", late=3, early="timeout"), choice(INT4, late="mismatch", early=7),
        choice(INT4, "ecp5", late="timeout", early="tool"), choice(SUM, "ecp5", way=OTHER, late=5, early=5)]


def test_the_fewest_luts_win_and_the_rules_structure_of_as_few():
    assert [item.winner for item in MANY] == ["early", "late", "early", None, "late"]
    assert {item.rule for item in MANY} == {"late"}
    assert [item.gain for item in MANY] == [4 / 9, 1.0, None, None, 1.0]
    assert choice(late=0, early=0).gain is None


def test_a_table_comes_back_and_is_what_hw_reads(tmp_path):
    path = tmp_path / "folder" / "table.json"
    records = Records(MANY)
    records.save(path)
    again = Records.read(path)
    assert list(again) == list(records)
    assert len(again) == 5
    assert again.to_bytes() == records.to_bytes() == path.read_bytes()
    read = read_records(path)
    ordered = {key: {family: list(luts.items()) for family, luts in families.items()}
               for key, families in read.items()}
    assert ordered == {
        model_key(E2M1.operation().model): {"ice40": [("late", 9), ("early", 4)],
                                            "xc7": [("late", 3), ("early", "timeout")]},
        model_key(INT4.operation().model): {"ice40": [("late", "mismatch"), ("early", 7)],
                                            "ecp5": [("late", "timeout"), ("early", "tool")]},
        model_key(SUM.operation().model): {"ecp5": [("late", 5), ("early", 5)]}}


def test_the_order_of_choices_does_not_matter():
    assert Records(reversed(MANY)).to_bytes() == Records(MANY).to_bytes()


def test_a_later_choice_of_the_same_reference_and_target_counts():
    same = Subject.of("multiply", fmt="float4_e2m1fn", fmt_b="e2m1")
    records = Records([*MANY, choice(same, late=1, early=2)])
    assert len(records) == 5
    assert {item.winner for item in records if item.subject == same} == {"late"}


def test_another_table_replaces_only_what_it_holds():
    newer = Records([choice(late=2, early=3, way=OTHER), choice(SUM, "nexus", late=5)])
    merged = Records(MANY).overlaid(newer)
    assert len(merged) == 6
    found = {(str(item.subject), item.target): item for item in merged}
    assert found["multiply fmt=e2m1", "ice40"].luts == {"late": 2, "early": 3}
    assert found["multiply fmt=e2m1", "ice40"].way == OTHER
    assert found["multiply fmt=e2m1", "xc7"].way == WAY
    assert found["add fmt=e2m1", "nexus"].winner == "late"


def test_the_file_is_json_with_a_reference_a_line():
    text = Records(MANY).to_bytes().decode()
    document = json.loads(text)
    assert document["schema"] == 1
    assert len(document["models"]) == 3
    assert len(document["conditions"]) == 2
    assert sum(line.startswith(('"Multiplication ', '"Addition ')) for line in text.splitlines()) == 3
    assert json.loads(Records().to_bytes()) == {"schema": 1, "conditions": [], "models": {}}


def test_conditions_are_named_by_the_targets_recipe():
    conditions = Conditions(device=None, recipe="script", tools=WAY.tools, sources="f" * 64, seeds=(), samples=9,
                            vector_seed=2)
    assert Way.of("ecp5", conditions) == Way(recipe=TARGETS["ecp5"].recipe, recipe_sha256=digest_of("script"),
                                             tools=WAY.tools, samples=9, vector_seed=2)


def rewritten(tmp_path, change):
    path = tmp_path / "table.json"
    document = json.loads(Records(MANY).to_bytes())
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d.update(schema=2), "must have schema 1, not 2, as .*; remove it, and 'python -m synth tune' makes"),
    (lambda d: d.pop("conditions"), "must be a file that 'python -m synth tune' wrote, not .*json' .'conditions'"),
    (lambda d: d["conditions"].pop(), "must be a file that 'python -m synth tune' wrote, .*; remove it"),
    (lambda d: next(iter(d["models"].values())).pop("request"), "must be a file that 'python -m synth tune' wrote"),
    (lambda d: next(iter(d["models"].values()))["request"].update(op="divide"),
     "must be a file that 'python -m synth tune' wrote, not .* .Operation must be one of"),
    (lambda d: next(iter(d["models"].values())).update(luts=3), "must be a file that 'python -m synth tune' wrote"),
])
def test_files_that_are_no_table_are_refused(tmp_path, change, message):
    with pytest.raises(StorageError, match=f"Recorded structures {message}"):
        Records.read(rewritten(tmp_path, change))


def test_files_that_cannot_be_read_or_written_are_said(tmp_path):
    with pytest.raises(StorageError, match="Table must be readable, not .*nothing.json' "):
        Records.read(tmp_path / "nothing.json")
    with pytest.raises(StorageError, match="Output folder must be writable"):
        Records(MANY).save(tmp_path)


def test_a_listing_has_a_row_a_choice():
    assert listing(MANY) == [
        ["multiply fmt=e2m1", "ice40", "early", "4", "late", "9", "0.444"],
        ["multiply fmt=e2m1", "xc7", "late", "3", "", "", ""],
        ["multiply fmt=int4", "ice40", "early", "7", "late", "mismatch", ""],
        ["multiply fmt=int4", "ecp5", "none", "–", "late", "timeout", ""],
        ["add fmt=e2m1", "ecp5", "late", "5", "", "", ""]]


def test_a_summary_has_geometric_means():
    found = summary([choice(late=8, early=2), choice(late=2, early=2), choice(late=2, early=4)])
    assert found == {"choices": 3, "differ": 1, "failed": 0, "ratio": pytest.approx(0.25 ** (1 / 3)),
                     "ratio_where_different": pytest.approx(0.25)}
    assert summary([]) == {"choices": 0, "differ": 0, "failed": 0, "ratio": None, "ratio_where_different": None}
    assert summary(MANY[3:4])["failed"] == 1
    assert summary([choice(late=1, early=0)])["ratio"] is None  # wires alone


def test_operations_have_summaries_and_all_together_one():
    names = [item["operation"] for item in summaries(MANY)]
    assert names == ["multiply", "add", "all"]
    assert summaries(MANY)[-1]["choices"] == 5
    assert [item["operation"] for item in summaries(MANY[:2])] == ["multiply"]
    assert summaries([]) == []
