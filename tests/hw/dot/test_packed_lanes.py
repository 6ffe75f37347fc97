# amaranth: UnusedElaboratable=no
"""Packing and unpacking circuits against the exact reference, and how many lanes each family's block holds."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.dot.packed_lanes import borrow_lanes, fit_packing, join_lanes, take_lanes_apart
from sw.reference.packing import Packing
from synth.primitives import PLATFORMS, platform_of
from tests.support.gates import build

PACKINGS = [Packing(packed_width=4, shared_width=3, lanes=3), Packing(packed_width=3, shared_width=4, lanes=2, terms=5),
            Packing(packed_width=4, shared_width=4, lanes=2, spacing=11),
            Packing(packed_width=3, shared_width=2, lanes=4), Packing(packed_width=5, shared_width=5, lanes=1)]


class Pack(wiring.Component):
    def __init__(self, packing):
        self.packing = packing
        super().__init__({"a": In(packing.packed_width * packing.lanes), "o": Out(packing.operand_width)})

    def elaborate(self, platform):
        m, width = Module(), self.packing.packed_width
        operands = [self.a[lane * width:(lane + 1) * width].as_signed() for lane in range(self.packing.lanes)]
        m.d.comb += self.o.eq(join_lanes(self.packing, borrow_lanes(m, operands, name="lane")))
        return m


class TakeApart(wiring.Component):
    def __init__(self, packing):
        self.packing = packing
        super().__init__({"a": In(packing.result_width), "o": Out((packing.spacing + 2) * packing.lanes)})

    def elaborate(self, platform):
        m = Module()
        for lane, value in enumerate(take_lanes_apart(m, self.packing, self.a, name="lane")):
            wide = Signal(signed(self.packing.spacing + 2), name=f"wide_{lane}")
            m.d.comb += [wide.eq(value), self.o.word_select(lane, len(wide)).eq(wide)]
        return m


def test_factors_are_those_of_the_reference(tmp_path):
    for packing, circuit in zip(PACKINGS, build([Pack(packing) for packing in PACKINGS], tmp_path), strict=True):
        width, half = packing.packed_width, 1 << packing.packed_width - 1
        got = circuit.run(a=np.arange(1 << width * packing.lanes))
        for index in range(len(got)):
            operands = tuple((index >> width * lane & 2 * half - 1 ^ half) - half for lane in range(packing.lanes))
            want = packing.pack(operands) % (1 << packing.operand_width)
            assert got[index] == want, f"{packing}, {operands}: got {got[index]:#x}, want {want:#x}"


def test_lanes_are_those_of_the_reference(tmp_path):
    rng = np.random.default_rng(0)
    for packing, circuit in zip(PACKINGS, build([TakeApart(packing) for packing in PACKINGS], tmp_path), strict=True):
        totals = rng.integers(0, 1 << packing.result_width, 2000)
        totals[:2] = 0, (1 << packing.result_width) - 1
        got, width = circuit.run(a=totals), packing.spacing + 2
        for total, lanes in zip(totals.tolist(), got.tolist(), strict=True):
            want = sum((lane % (1 << width)) << width * place for place, lane in enumerate(packing.unpack(total)))
            assert lanes == want, f"{packing}, {total:#x}: got {lanes:#x}, want {want:#x}"


@pytest.mark.parametrize(("family", "operands", "terms", "lanes", "spacing"), [
    ("xcup", (8, 8), 1, 2, 16), ("xcup", (8, 8), 2, 2, 17), ("xcup", (8, 8), 4, 2, 18), ("xcup", (8, 8), 8, 2, 18),
    ("xcup", (4, 8), 1, 2, 12), ("xcup", (4, 4), 4, 2, 10), ("xc7", (8, 8), 2, 2, 16), ("ecp5", (4, 8), 1, 2, 12),
    ("ice40", (4, 4), 2, 2, 9), ("nexus", (4, 4), 2, 2, 9), ("gowin", (4, 4), 2, 2, 9),
])
def test_the_packing_of_most_lanes_that_fits(family, operands, terms, lanes, spacing):
    packing = fit_packing(platform_of(family), packed_width=operands[0], shared_width=operands[1], lanes=2, terms=terms)
    assert (packing.lanes, packing.spacing) == (lanes, spacing)


@pytest.mark.parametrize("family", PLATFORMS)
def test_of_every_pair_of_widths_no_more_lanes_would_fit(family):
    platform = platform_of(family)
    for packed, shared, terms in itertools.product(range(2, 13), range(2, 13), (1, 2, 4, 8)):
        packing = fit_packing(platform, packed_width=packed, shared_width=shared, lanes=4, terms=terms)
        lanes = packing.lanes if packing else 1
        if lanes < 4:
            more = Packing(packed_width=packed, shared_width=shared, lanes=lanes + 1, terms=terms)
            assert not platform.fits(more.operand_width, shared) or more.result_width > platform.sum_width
        if lanes == 1:
            continue
        assert packing.max_terms >= terms
        assert platform.fits(packing.operand_width, shared)
        assert packing.result_width <= platform.sum_width
        # The sums are signed numbers wherever there is room for that.
        if packing.max_signed_terms < terms:
            wider = Packing(packed_width=packed, shared_width=shared, lanes=packing.lanes, terms=terms,
                            spacing=packing.spacing + 1)
            assert not platform.fits(wider.operand_width, shared) or wider.result_width > platform.sum_width


@pytest.mark.parametrize(("family", "operands", "terms"), [
    ("xcup", (8, 8), 16), ("xc7", (8, 8), 4), ("ecp5", (8, 8), 1), ("ice40", (8, 8), 1), ("xcup", (1, 4), 1),
    ("xcup", (4, 33), 1), (None, (4, 4), 2), ("no family", (4, 4), 2)])
def test_one_lane_needs_no_packing(family, operands, terms):
    platform = None if family is None else platform_of(family) or object()
    assert fit_packing(platform, packed_width=operands[0], shared_width=operands[1], lanes=3, terms=terms) is None
