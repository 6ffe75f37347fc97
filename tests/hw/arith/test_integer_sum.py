# amaranth: UnusedElaboratable=no
import random

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.integer_sum import add_addend, sum_addends
from hw.convert.grid import Addend
from tests.support import gates

WIDTH = 24


class Board:
    """A platform that names its family alone."""

    narrowgauge_family = "ecp5"


class Sum(wiring.Component):
    """Sum of signed integers of some widths, packed into ``a``, of which some carry a bit of ``b`` along."""

    latency = 0

    def __init__(self, widths, carries):
        self.widths, self.carries = widths, carries
        super().__init__({"a": In(sum(widths)), "b": In(len(widths)), "o": Out(WIDTH)})

    def elaborate(self, platform):
        m = Module()
        addends, start = [], 0
        for index, width in enumerate(self.widths):
            value = self.a[start:start + width].as_signed()
            addends.append(Addend(value=value, carry=self.b[index] if index in self.carries else C(0, 1)))
            start += width
        total = sum_addends(m, addends, platform=platform, name="sum")
        m.d.comb += self.o.eq(total.value + total.carry)
        return m

    def want(self, a, b):
        total = 0
        for index, width in enumerate(self.widths):
            value, a = a & (1 << width) - 1, a >> width
            total += value - (value >> width - 1 << width) + (b >> index & 1 if index in self.carries else 0)
        return total % (1 << WIDTH)


@pytest.mark.parametrize("platform", [None, Board()])
def test_sums_of_any_count_width_and_carries(platform, tmp_path):
    rng = random.Random(1)
    sums = [Sum(widths, frozenset(range(len(widths)))) for widths in ([5], [4, 4], [3, 7, 1], [6] * 8)]
    sums += [Sum([rng.randrange(1, 9) for _ in range(count)], frozenset(rng.sample(range(count), count // 2)))
             for count in range(1, 8)]
    for component, circuit in zip(sums, gates.build(sums, tmp_path, platform=platform), strict=True):
        bits = sum(component.widths)
        a = [rng.getrandbits(bits) for _ in range(400)] + [0, (1 << bits) - 1]
        b = [rng.getrandbits(len(component.widths)) for _ in range(400)] + [0, (1 << len(component.widths)) - 1]
        got = circuit.run(a=np.array(a, dtype=np.uint64), b=np.array(b, dtype=np.uint64)).tolist()
        want = [component.want(x, y) for x, y in zip(a, b, strict=True)]
        assert got == want, component.widths


@pytest.mark.parametrize("lanes", [2, 3, 8])
def test_one_chain_fewer_than_integers(lanes):
    text = rtlil.convert(Sum([6] * lanes, frozenset()), emit_src=False)
    assert text.count("cell $add ") == lanes - 1 + 1  # and the one by which `Sum` itself adds the carry that is left
    carried = rtlil.convert(Sum([6] * lanes, frozenset(range(lanes))), emit_src=False)
    assert carried.count("cell $sub ") == lanes - 1
    assert carried.count("cell $add ") == 1


def test_nothing_is_inverted_for_carry_cells_that_subtract():
    text = rtlil.convert(Sum([6] * 4, frozenset(range(4))), emit_src=False, platform=Board())
    assert (text.count("cell $add "), text.count("cell $sub "), text.count("cell $not ")) == (3 + 1, 0, 0)


def test_sum_wraps_at_a_given_width():
    m = Module()
    total = add_addend(m, Signal(signed(4)), Addend(value=Signal(signed(9)), carry=Signal()), width=6, name="sum")
    assert (total.shape(), total.name) == (signed(6), "sum")
    plain = add_addend(m, Signal(signed(4)), Addend(value=Signal(signed(9)), carry=C(0, 1)), name="sum")
    assert plain.shape() == signed(10)
