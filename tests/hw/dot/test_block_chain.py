# amaranth: UnusedElaboratable=no
"""Chains of block dot products against their reference."""

import re

import pytest
from amaranth.back import rtlil

from hw.dot.block_chain import BlockChain
from sw.formats import parse, parse_block
from tests.support.clocked_gates import assert_streams_right
from tests.support.gates import build

MXFP4 = parse_block("mxfp4:block_size=2")
CASES = [
    BlockChain(MXFP4, MXFP4, result=parse("e5m6"), length=4),
    BlockChain(parse_block("mxint8:block_size=2"), MXFP4, result=parse("bfloat16"), length=2, vectors=2, pipeline=2,
               hard_multiplier=True),
]


def test_results_are_the_reference_s_under_stalls_and_resets(tmp_path):
    for component, circuit in zip(CASES, build(CASES, tmp_path), strict=True):
        assert assert_streams_right(component, circuit, lanes=32, cycles=40, seed=1, reset_rate=0.02) > 250


def test_elaborating_twice_gives_the_same():
    for component in CASES:
        assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    assert (CASES[1].pipeline, CASES[1].latency, CASES[1].hard_multiplier, CASES[0].latency) == (2, 3, True, 1)
    assert CASES[0].model.length == 4


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"pipeline": 64}, ValueError, "Pipeline must be at most 63 register stages besides the one that is always there, "
                                   "not 64"),
    ({"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ({"hard_multiplier": None}, TypeError, "Hard multiplier must be True or False, not None"),
    ({"length": 3}, ValueError, "Chain length must be a whole multiple of the block size, 2, not 3"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        BlockChain(MXFP4, MXFP4, **{"length": 4, **parameters})
