"""Which circuits stand for which cell, and how long they take."""

import re

import pytest
from amaranth.hdl import Fragment

from hw.accumulate.block import BlockSum
from hw.accumulate.cell import make_rounder, make_sum, require_cell, rounds_in_sum, sum_latency
from hw.accumulate.chunked import ChunkedSum
from hw.accumulate.exact import ExactSum, ExactSumRounder
from hw.accumulate.fixed import FixedSum, FixedSumRounder
from sw.formats import parse, parse_block
from sw.reference.block_accumulate import BlockMultiplyAccumulate
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate
from sw.reference.multiply import Multiplication

INT4 = parse("int4")
FIXED = MultiplyAccumulate(a=INT4, b=INT4, result=INT4, terms=4)
EXACT = ExactMultiplyAccumulate(a=INT4, b=INT4, result=INT4, terms=4)
BLOCKS = BlockMultiplyAccumulate(a=parse_block("mxfp4:block_size=2"), b=parse_block("mxfp4:block_size=2"), terms=4)
CHUNKED = ChunkedMultiplyAccumulate(a=INT4, b=INT4, accumulator=parse("int8"), chunk=2)


@pytest.mark.parametrize(("cell", "kind", "rounder", "latency"), [
    (FIXED, FixedSum, FixedSumRounder, 1), (EXACT, ExactSum, ExactSumRounder, 2),
    (BLOCKS, BlockSum, ExactSumRounder, 2), (CHUNKED, ChunkedSum, None, 3)])
def test_parts_of_a_cell(cell, kind, rounder, latency):
    assert require_cell(cell) is cell
    assert rounds_in_sum(cell) is (rounder is None)
    for registers in (0, 1):
        assert sum_latency(cell, registers) == latency + registers
        component, state = make_sum(cell, registers=registers, hard_multiplier=False)
        Fragment.get(component, None)
        assert isinstance(component, kind)
        assert component.latency == latency + registers
        if rounder is None:
            assert len(state) == 8
            continue
        unit = make_rounder(cell, registers=registers)
        Fragment.get(unit, None)
        assert isinstance(unit, rounder)
        assert unit.latency == registers
        assert len(state) == (cell.accumulator.width if cell is FIXED else unit.state.shape().size)


def test_wrong_cell():
    with pytest.raises(TypeError, match=re.escape(
            "Cell must be a MultiplyAccumulate, an ExactMultiplyAccumulate, a BlockMultiplyAccumulate or a "
            "ChunkedMultiplyAccumulate to be built, not Multiplication(")):
        require_cell(Multiplication(a=INT4, b=INT4, result=INT4))
