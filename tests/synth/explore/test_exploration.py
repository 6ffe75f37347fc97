"""The whole run, on an evaluator that takes no training."""

import sqlite3

import pytest

from synth.console import Console
from synth.errors import DoesNotFit, UsageError
from synth.explore.budget import Budget
from synth.explore.costing import Axis
from synth.explore.exploration import MIXED, Plan, SearchOptions, explore
from synth.explore.outputs import document_of
from synth.explore.space import choices
from tests.support.exploration import BitsEvaluator, cost_of_bits, evaluations_in


def run(folder, *, formats=("int3", "int4", "int8", "e2m1"), axis=Axis.MAC, techniques=("plain",), seeds=(1, 2, 3),
        search=None, macs=8, **evaluator):
    found, _ = choices(formats=formats)
    plan = Plan(model="bits", choices=tuple(found), techniques=techniques, seeds=seeds, axis=axis, search=search,
                costing={"target": "ecp5", "coster": cost_of_bits, "terms": 64, "macs": macs, "dsp": False})
    return explore(plan, BitsEvaluator(log=str(folder / "log"), **evaluator), folder=folder / "cache", jobs=1,
                   console=Console(quiet=True))


def test_formats_are_compared(tmp_path):
    found = run(tmp_path)
    assert [point.candidate.label for point in found.comparison.main] == ["int3", "float4_e2m1fn", "int4", "int8"]
    assert [point.cost.provenance for point in found.comparison.main] == ["measured", "predicted", *["measured"] * 2]
    assert found.reference.mean == pytest.approx(0.989)
    assert found.provenance["evaluations"] == {"made": 12, "from_store": 0}
    assert found.provenance["library"] == "1"
    assert found.provenance["seeds"] == [1, 2, 3]
    assert found.study is None
    again = run(tmp_path)
    assert again.provenance["evaluations"] == {"made": 0, "from_store": 12}
    assert again.comparison == found.comparison


def test_what_cannot_be_costed_or_quantized_is_left_out(tmp_path):
    found = run(tmp_path, formats=("int3", "int8", "mxfp4"), refused="int3")
    assert [point.candidate.label for point in found.comparison.main] == ["int8"]
    assert found.comparison.left_out["int3, plain"] == "Layer 'last' must have another format, not 'int3'"
    assert found.comparison.left_out["mxfp4"].startswith("multiply-accumulators are costed for scalar formats")


def test_what_has_no_cost_that_is_limited_is_left_out_of_a_search(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    options = SearchOptions(trials=4, seeds=1, budget=Budget(max_lut=1000))
    found = run(tmp_path, axis=Axis.BYTES, search=options, formats=("mxfp4", "int3", "int4"))
    assert found.comparison.left_out["mxfp4"].startswith("multiply-accumulators are costed for scalar formats")
    assert not any("mxfp4" in point.candidate.label for point in found.comparison.main)


def test_nothing_to_compare_is_refused_with_the_reason(tmp_path):
    with pytest.raises(UsageError, match="Formats must be such that the network can be quantized and costed, not int3: "
                                         "Layer 'last' must have another format, not 'int3'"):
        run(tmp_path, formats=("int3",), refused="int3")


def test_mixed_formats_are_searched_and_confirmed_with_all_seeds(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    options = SearchOptions(trials=12, seeds=1, budget=Budget(max_lut=1000))
    found = run(tmp_path, axis=Axis.LUT, search=options, formats=("int3", "int4", "int8"))
    points = found.comparison.main
    assert list(found.comparison.views) == [MIXED, "plain"]
    assert all(point.cost.value <= 1000 for point in points)
    assert {len(point.accuracies) for point in points} == {3}
    mixed = [point for point in points if len(point.candidate.assignment) > 1]
    assert mixed
    evaluator = BitsEvaluator(log=str(tmp_path / "elsewhere"))
    from synth.explore.evaluator import Task

    for point in mixed:
        assert point.candidate.label.startswith("trial ")
        assert point.accuracies == tuple(evaluator.accuracy(Task(
            seed=seed, assignment=point.candidate.assignment, technique=point.technique)) for seed in (1, 2, 3))
    assert found.study["trials"] == 12
    assert found.study["limits"] == {"--max-lut": 1000}
    assert found.study["search_seeds"] == [1]
    assert document_of(found)["study"]["name"] == found.study["name"]
    made = evaluations_in(tmp_path / "log")
    again = run(tmp_path, axis=Axis.LUT, search=options, formats=("int3", "int4", "int8"))
    assert again.comparison == found.comparison
    assert evaluations_in(tmp_path / "log") == made


def test_a_study_of_another_version_is_refused(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    options = SearchOptions(trials=2, seeds=1, study="mine")
    run(tmp_path, axis=Axis.LUT, search=options)
    with pytest.raises(UsageError, match="Study must have been made by the same request and version, not 'mine': its "
                                         "library was 1, and is now 2; name another with --study"):
        run(tmp_path, axis=Axis.LUT, search=options, version="2")
    with pytest.raises(UsageError, match="its formats was .*, and is now"):
        run(tmp_path, axis=Axis.LUT, search=options, formats=("int3", "int4"))
    with pytest.raises(UsageError, match="its macs was 8, and is now 16"):
        run(tmp_path, axis=Axis.LUT, search=options, macs=16)


def test_a_budget_out_of_reach_is_refused_before_any_evaluation(tmp_path):
    with pytest.raises(UsageError, match=r"Budget --max-lut must be at least 480, which the cheapest formats take "
                                         r"\(int3\), not 400"):
        run(tmp_path, axis=Axis.LUT, search=SearchOptions(budget=Budget(max_lut=400)))
    assert evaluations_in(tmp_path / "log") == 0


def test_a_budget_that_no_trial_keeps_names_the_nearest(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    with pytest.raises(DoesNotFit, match=r"Budget must be one that some assignment keeps, not --max-lut 700 "
                                         r"--min-accuracy 0\.985: the nearest of 6 trials, number \d, has an accuracy "
                                         r"of \d\d\.\d\d % at a cost of [\d,]+; relax it, or give more --trials"):
        run(tmp_path, axis=Axis.LUT, search=SearchOptions(trials=6, seeds=1, budget=Budget(
            max_lut=700, min_accuracy=0.985)))


def test_a_budget_that_only_the_seeds_of_the_search_keep_is_said(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    # The network of seed 4 reaches 0.9843, the others drag the mean below the limit.
    with pytest.raises(DoesNotFit, match="Budget must be one that some assignment keeps with all 3 seeds, not "
                                         "--min-accuracy 0.984: what the search found with 1 does not; relax it, or "
                                         "give more --search-seeds"):
        run(tmp_path, axis=Axis.LUT, formats=("int8",), seeds=(4, 2, 5),
            search=SearchOptions(trials=1, seeds=1, budget=Budget(min_accuracy=0.984)))


def test_mixed_formats_have_no_cost_of_a_single_mac(tmp_path):
    with pytest.raises(UsageError, match="Cost must be one of a whole network for mixed formats, not 'lut-per-mac'; "
                                         "--cost lut counts its LUTs"):
        run(tmp_path, axis=Axis.MAC, search=SearchOptions())


def test_formats_without_a_cost_cannot_be_searched(tmp_path):
    with pytest.raises(UsageError, match="Formats must have a cost to be searched, not mxfp4: multiply-accumulators "
                                         "are costed for scalar formats"):
        run(tmp_path, axis=Axis.LUT, formats=("mxfp4",), search=SearchOptions())


def test_bytes_of_block_formats_can_be_searched(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    found = run(tmp_path, axis=Axis.BYTES, formats=("mxfp4", "int8"), search=SearchOptions(trials=4, seeds=1))
    assert {point.candidate.family for point in found.comparison.main} >= {"mx", "int"}


def test_a_password_is_not_written_down(tmp_path):
    from synth.explore.exploration import without_password

    pytest.importorskip("sqlalchemy", reason="optuna is not installed")
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert without_password("sqlite:///x.sqlite") == "sqlite:///x.sqlite"


def test_one_study_database_holds_several_studies(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    for trials in ("a", "b"):
        run(tmp_path, axis=Axis.LUT, formats=("int3", "int8"), search=SearchOptions(trials=1, seeds=1, study=trials))
    database = sqlite3.connect(tmp_path / "cache" / "studies.sqlite")
    names = [name for name, in database.execute("SELECT study_name FROM studies ORDER BY 1")]
    database.close()
    assert names == ["a", "b"]
