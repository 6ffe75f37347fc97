"""The time left is that of the steps so far, and is not said at every one of them."""

import pytest

from synth.explore.time_left import TimeLeft, duration


def test_the_rest_takes_as_long_as_what_is_done_after_the_first():
    now = [100.0]
    left = TimeLeft(5, clock=lambda: now[0])
    now[0] = 130.0  # among which processes were started
    assert left.step("int4") == "int4: 1 of 5"
    now[0] = 131.0
    assert left.step("int5") == ""  # a second after the last word
    now[0] = 170.0
    assert left.step("int6") == "int6: 3 of 5, about 40 s left"
    now[0] = 370.0
    assert left.step("int7") == "int7: 4 of 5, about 80 s left"
    assert left.step("int8") == "int8: 5 of 5"  # the last is always said


@pytest.mark.parametrize(("seconds", "want"), [
    (0.2, "1 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (36000, "10 h 0 min")])
def test_durations_are_readable(seconds, want):
    assert duration(seconds) == want
