"""Runs of streams that remember nothing."""

import numpy as np

from sw.reference.memoryless import MemorylessRun


class Doubling:
    """Twice each code, in lanes; refuses to be asked for nothing."""

    def evaluate(self, inputs):
        assert len(inputs["a"])
        return {"o": 2 * inputs["a"]}


def test_marked_sequences_have_their_results_and_others_nothing():
    run, a = MemorylessRun(Doubling(), 4), np.arange(8, dtype=np.uint64).reshape(4, 2)
    accepted = np.array([True, False, False, True])
    (produced, outputs), = run.accept({"a": a}, accepted)
    assert produced.tolist() == accepted.tolist()
    assert outputs["o"].tolist() == [[0, 2], [0, 0], [0, 0], [12, 14]]
    accepted[:] = False
    assert produced.any(), "a result changes with what the caller does to its own array"
    run.reset(produced)
    assert run.accept({"a": a}, np.ones(4, dtype=bool))[0][1]["o"].tolist() == (2 * a).tolist()


def test_no_transfer_causes_no_result():
    assert MemorylessRun(Doubling(), 2).accept({"a": np.zeros(2)}, np.zeros(2, dtype=bool)) == []
