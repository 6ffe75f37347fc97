# amaranth: UnusedElaboratable=no
"""Operators without memory between two streams."""

import numpy as np
import pytest

from hw.conv.requantize import Requantize
from hw.conv.streamed_function import StreamedFunction
from tests.support.clocked_gates import random_codes
from tests.support.stream_simulation import simulate


@pytest.mark.parametrize("pipeline", [1, 3])
@pytest.mark.parametrize(("offer", "take"), [(1.0, 1.0), (0.5, 0.5)])
def test_results_in_order_under_stalls(pipeline, offer, take):
    function = Requantize(2, pipeline=pipeline)
    component, rng = StreamedFunction(function), np.random.default_rng(1)
    inputs = {name: random_codes(port, 40, rng) for name, port in function.model.inputs.items()}
    payloads, place = [0] * 40, 0
    for name, port in function.model.inputs.items():
        for lane in range(port.lanes):
            payloads = [bits | int(code) << place for bits, code in zip(payloads, inputs[name][:, lane], strict=True)]
            place += port.width
    want = [int(first) | int(second) << 8 for first, second in function.model.evaluate(inputs)["o"]]
    results, accepted, taken = simulate(component, payloads, 40, offer=offer, take=take, seed=pipeline)
    assert results == want
    assert component.latency == pipeline
    if offer == take == 1.0:
        assert [left - came for left, came in zip(taken, accepted, strict=True)] == [pipeline] * 40
