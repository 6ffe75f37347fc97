# amaranth: UnusedElaboratable=no
"""Offsets as gates, with stalls and resets, and their cycles."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.conv.offset_generator import SquareOffsetGenerator
from sw.formats import parse
from sw.reference.square_offset import SquareOffset
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right, random_codes
from tests.support.sampling import sampled
from tests.support.streams import simulate_stream

SMALL = {"a": parse("int4"), "b": parse("int3"), "scale_bits": 5, "bias_bits": 7, "fraction_bits": 4}


def moderate(port, count, rng):
    """Codes that leave most offsets inside their range."""
    codes = random_codes(port, count, rng)
    return codes >> np.uint64(2) if port.format is not None and not port.format.signed else codes


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    components = [
        SquareOffsetGenerator(**SMALL, lanes=1, terms=3), SquareOffsetGenerator(**SMALL, lanes=2, terms=8, pipeline=2),
        SquareOffsetGenerator(**SMALL, lanes=3, terms=9, pipeline=5, min_offset=1, max_offset=8),
        SquareOffsetGenerator(lanes=2, terms=16, pipeline=3, hard_multiplier=True),
        SquareOffsetGenerator(lanes=4, terms=32, bias_bits=20, pipeline=1),
    ]
    return list(zip(components, gates.build(components, tmp_path_factory.mktemp("offsets")), strict=True))


@sampled("index", range(5), 2)
def test_offsets_are_right_under_stalls_and_resets(built, index):
    component, circuit = built[index]
    assert assert_streams_right(component, circuit, lanes=192, cycles=60, seed=index, reset_rate=0.01,
                                codes=moderate) > 1000


def test_an_offset_leaves_the_stated_cycles_after_its_last_transfer():
    for pipeline in (0, 4):
        component = SquareOffsetGenerator(lanes=2, terms=4, pipeline=pipeline)
        rng = np.random.default_rng(pipeline)
        transfers = [{"a": rng.integers(0, 256, 2).tolist(), "b": rng.integers(0, 16, 2).tolist(), "scale": 3000,
                      "bias": 1 << 17, "first": step % 2 == 0, "last": step % 2} for step in range(24)]
        run = simulate_stream(component, transfers, results=12)
        assert [result["o"] for result in run.results] == component.model.results(transfers)
        assert run.left == [cycle + component.latency for cycle in run.accepted[1::2]]


def test_elaborating_twice_gives_the_same_design():
    component = SquareOffsetGenerator(**SMALL, lanes=2, terms=8, pipeline=2)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = SquareOffsetGenerator(lanes=4, terms=64, max_offset=8, min_offset=1, pipeline=2, hard_multiplier=True)
    assert component.model == SquareOffset(lanes=4, terms=64, max_offset=8, min_offset=1)
    assert (component.pipeline, component.hard_multiplier, component.latency) == (2, True, 4)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"max_offset": 16}, ValueError, "Max offset must be between 1 and 15, not 16"),
    ({"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ({"hard_multiplier": 1}, TypeError, "Hard multiplier must be True or False, not 1"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SquareOffsetGenerator(**{"lanes": 2, "terms": 8, **parameters})
