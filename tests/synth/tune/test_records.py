"""The table of recorded structures: merged row by row, the same bytes for the same choices, read by hw."""

import json

import pytest

from hw.recorded import SCHEMA, model_key, read_records
from synth.cost.table import Conditions
from synth.errors import StorageError
from synth.store import digest_of
from synth.targets import TARGETS
from synth.tune.records import Basis, Choice, Records, Way
from synth.tune.subject import Subject

WAY = Way(recipe="default", recipe_sha256="0" * 64, tools=(("yosys", "0.70", "ab"),), samples=100, vector_seed=1)
OTHER = Way(recipe="default", recipe_sha256="1" * 64, tools=(("yosys", "0.71", "cd"),), samples=100, vector_seed=1)
E2M1, INT4 = Subject.of("multiply", fmt="e2m1"), Subject.of("multiply", fmt="int4")
SUM = Subject.of("add", fmt="e2m1")


TIMED = Way(recipe="default", recipe_sha256="0" * 64, tools=(("yosys", "0.70", "ab"), ("nextpnr", "0.11", "cd")),
            samples=100, vector_seed=1, device="25k", seeds=(1, 2, 3))


def choice(subject=E2M1, target="ice40", way=WAY, mhz=None, **luts):
    return Choice(subject=subject, target=target, way=way, mhz=mhz or {},
                  luts={name.replace("_", "-"): n for name, n in luts.items()})


MANY = [choice(late=9, early=4), choice(target="xc7", late=3, early="timeout"), choice(INT4, late="mismatch", early=7),
        choice(INT4, "ecp5", late="timeout", early="tool"), choice(SUM, "ecp5", way=OTHER, late=5, early=5)]


def test_the_fewest_luts_win_and_the_rules_structure_of_as_few():
    assert [item.winner for item in MANY] == ["early", "late", "early", None, "late"]
    assert {item.rule for item in MANY} == {"late"}
    assert [item.gain for item in MANY] == [4 / 9, 1.0, None, None, 1.0]
    assert choice(late=0, early=0).gain is None


@pytest.mark.parametrize(("luts", "mhz", "winner", "basis"), [
    ({"late": 9, "early": 4}, {}, "early", Basis.LUTS),
    ({"late": 9, "early": "timeout"}, {}, "late", Basis.LUTS),
    ({"late": 105, "early": 100}, {}, "early", Basis.UNTIMED),
    ({"late": 105, "early": 100}, {"late": 70.0, "early": 50.0}, "late", Basis.CLOCK),
    ({"late": 105, "early": 100, "other": 200}, {"late": 50.0, "early": 50.0}, "early", Basis.CLOCK),
    ({"late": 105, "early": 100}, {"late": 70.0, "early": "timeout"}, "early", Basis.UNPLACED),
    ({"late": 105, "early": 100}, {"late": "does not fit", "early": "does not fit"}, "early", Basis.UNPLACED),
    ({"late": "mismatch", "early": "tool"}, {}, None, None)])
def test_a_choice_says_by_what_its_winner_was_taken(luts, mhz, winner, basis):
    found = choice(mhz=mhz, **luts)
    assert (found.winner, found.basis) == (winner, basis)
    counted = [name for name in luts if isinstance(luts[name], int)]
    assert found.fewest == min(counted, key=luts.__getitem__, default=None)
    document = found.to_json()
    assert (document["winner"], document["fewest"], document["mhz"]) == (winner, found.fewest, mhz)
    assert document["basis"] == (None if basis is None else basis.value)


def test_clocks_come_back_and_those_that_are_not_there_take_no_room(tmp_path):
    timed = choice(target="ecp5", way=TIMED, mhz={"late": 65.32, "early": "timeout"}, late=11, early=10)
    records = Records([*MANY, timed])
    records.save(tmp_path / "table.json")
    again = Records.read(tmp_path / "table.json")
    assert list(again) == list(records)
    assert again.to_bytes() == records.to_bytes()
    [found] = [item for item in again if item.mhz]
    assert (found.way, found.mhz) == (TIMED, {"late": 65.32, "early": "timeout"})
    entries = json.loads(records.to_bytes())["models"]
    assert [entry.get("mhz") for entry in entries.values() if "mhz" in entry] == [
        {"ecp5": {"late": 65.32, "early": "timeout"}}]
    assert sum(json.loads(records.to_bytes())["conditions"][i]["device"] == "25k" for i in range(3)) == 1


def test_a_way_of_placements_has_what_the_counts_have_not():
    conditions = Conditions(device="25k", recipe="script", tools=TIMED.tools, sources="f" * 64, seeds=(1, 2, 3),
                            samples=0, vector_seed=0)
    assert WAY.timed(conditions) == TIMED


def test_a_table_comes_back_and_is_what_hw_reads(tmp_path):
    path = tmp_path / "folder" / "table.json"
    records = Records(MANY)
    records.save(path)
    again = Records.read(path)
    assert list(again) == list(records)
    assert len(again) == 5
    assert again.to_bytes() == records.to_bytes() == path.read_bytes()
    read = read_records(path)
    ordered = {key: {family: list(figures.luts.items()) for family, figures in families.items()}
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
    assert document["schema"] == SCHEMA
    assert len(document["models"]) == 3
    assert len(document["conditions"]) == 2
    assert sum(line.startswith(('"Multiplication ', '"Addition ')) for line in text.splitlines()) == 3
    assert json.loads(Records().to_bytes()) == {"schema": SCHEMA, "conditions": [], "models": {}}


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
    (lambda d: d.update(schema=1), "must have schema 2, not 1, as .*; remove it, and 'python -m synth tune' makes"),
    (lambda d: d.pop("conditions"), "must be a file that 'python -m synth tune' wrote, not .*json' .'conditions'"),
    (lambda d: d["conditions"][0].pop("seeds"), "must be a file that 'python -m synth tune' wrote, not .*'seeds'"),
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
