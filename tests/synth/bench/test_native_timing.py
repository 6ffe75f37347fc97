"""The arithmetic of rates, on a clock that only pretends."""

import sys
import threading
import time

import pytest

from synth.bench import native_timing
from synth.bench.native_part import Settings, ratio, target
from synth.bench.native_timing import CPU, WALL, Effort, Side, clocked, rate, rates
from synth.netlist.instruction_set import InstructionSet


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved; called, it tells the time."""
    class Pretended(list):
        def __call__(self):
            return self[0]

    now = Pretended([0.0])
    monkeypatch.setattr(native_timing.time, "perf_counter", now)
    return now


def test_the_best_turn_counts(clock):
    turns = []

    def action(repeats):
        turns.append(repeats)
        clock[0] += repeats * (0.5 if len(turns) == 6 else 1.0)   # one turn is not held up

    found = rates({"it": Side.of(10, action, clock)}, Effort(rounds=4, seconds=1.0, slot=0.0))
    assert found == {"it": pytest.approx(10 / 0.5)}
    assert turns == [1] * 7                              # three to find the repeats, then one a round


def test_short_actions_are_repeated_until_a_turn_is_long_enough(clock):
    turns = []

    def action(repeats):
        turns.append(repeats)
        clock[0] += repeats / 64

    found = rates({"it": Side.of(4, action, clock)}, Effort(rounds=1, seconds=0.5, slot=0.0))
    assert found == {"it": 4 * 64}
    assert turns == [1] * 3 + [10] * 3 + [38] * 3 + [38]  # never ten times more at once, and then a fifth more


def test_a_turn_that_was_held_up_does_not_set_the_repeats(clock):
    turns = []

    def action(repeats):
        turns.append(repeats)
        clock[0] += repeats if len(turns) in (1, 5) else repeats / 8

    rates({"it": Side.of(1, action, clock)}, Effort(rounds=1, seconds=0.5, slot=0.0))
    assert turns[-1] == 4                                # 1/8 s each


def test_sides_take_turns_and_fill_their_slots(clock):
    order = []

    def side(name, seconds):
        def action(repeats):
            order.append(name)
            clock[0] += seconds * repeats
        return Side.of(1, action, clock)

    rates({"slow": side("slow", 4.0), "fast": side("fast", 1.0)}, Effort(rounds=2, seconds=0.1, slot=3.0))
    # A turn of ten times what is enough is tried once, then each has a slot of three seconds, twice.
    assert "".join(name[0] for name in order) == "sf" + "sfff" * 2


def test_workers_run_at_the_same_time():
    together = threading.Barrier(3, timeout=60)

    def action(repeats):
        for _ in range(repeats):
            together.wait()                              # raises unless all three are there

    found = rates({"three": Side(operations=1, workers=[action] * 3)}, Effort(rounds=1, seconds=0.0, slot=0.0))
    assert found["three"] > 0


def test_what_a_worker_raises_is_raised():
    def action(repeats):
        raise ArithmeticError("wrong")

    for workers in (1, 2):
        with pytest.raises(ArithmeticError, match="wrong"):
            rates({"it": Side(operations=1, workers=[action] * workers)}, Effort())


def test_rate_is_of_all_workers():
    assert rate(Side(operations=5, workers=[print] * 3), repeats=4, seconds=2.0) == 5 * 3 * 4 / 2


@pytest.mark.parametrize(("ours", "theirs", "want"), [(6.0, 2.0, 3.0), (None, 2.0, None), (6.0, None, None)])
def test_ratio(ours, theirs, want):
    assert ratio(ours, theirs) == want


@pytest.mark.parametrize(("found", "applies", "met"), [(12.0, True, True), (11.9, True, False), (None, True, None),
                                                       (99.0, False, None)])
def test_target(found, applies, met):
    assert target("speed", 12.0, found, applies=applies) == {"name": "speed", "target": 12.0, "found": found,
                                                             "met": met}


def test_quick_settings_take_less():
    quick, full = (Settings(isa=InstructionSet.WORD64, threads=1, quick=quick).effort for quick in (True, False))
    assert quick.rounds * max(quick.seconds, quick.slot) < full.rounds * max(full.seconds, full.slot) / 10


def test_one_thread_is_timed_by_what_it_computes():
    sides = {"it": Side(operations=1, workers=[print]), "slept": Side.of(1, lambda repeats: time.sleep(0.05 * repeats))}
    assert {side.clock for side in clocked(sides, threads=1).values()} == {CPU}
    assert {side.clock for side in clocked(sides, threads=2).values()} == {WALL}
    found = rates({"slept": sides["slept"]}, Effort(rounds=1, seconds=0.0, slot=0.0))
    assert found["slept"] <= 1 / 0.05


@pytest.mark.skipif(sys.platform == "win32", reason="its CPU time is too coarse")
def test_the_time_of_others_does_not_count():
    slept = clocked({"it": Side.of(1, lambda repeats: time.sleep(0.05 * repeats))}, threads=1)
    assert rates(slept, Effort(rounds=1, seconds=0.0, slot=0.0))["it"] > 2 / 0.05
