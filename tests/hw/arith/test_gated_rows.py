# amaranth: UnusedElaboratable=no
"""Sums that take an addend or leave it, in the form that synthesizers find on iCE40.

The platforms' own forms are checked on their netlists: ``tests/synth/primitives/test_gated_sums.py``.
"""

import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.gated_rows import add_gated, gates_sums, multiply_gated_rows, sum_gated_rows
from hw.arith.integer_product import multiply_integers
from tests.support import gates
from tests.support.sampling import sampled


class Board:
    """A platform that names its family alone."""

    def __init__(self, family):
        self.narrowgauge_family = family


class Sum(wiring.Component):
    """The sum of ``lanes`` products."""

    def __init__(self, a, b, lanes, balanced):
        self._a, self._b, self._lanes, self._balanced = a, b, lanes, balanced
        width = a.width + b.width + (lanes - 1).bit_length()
        super().__init__({"a": In(data.ArrayLayout(a, lanes)), "b": In(data.ArrayLayout(b, lanes)), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        a, b = ([vector[lane] for lane in range(self._lanes)] for vector in (self.a, self.b))
        manner = {"platform": platform, "balanced": self._balanced}
        product = (multiply_gated_rows(m, a[0], b[0], **manner) if self._lanes == 1 else
                   sum_gated_rows(m, a, b, **manner))
        assert product.shape() == Shape(len(self.o), self._a.signed or self._b.signed)
        m.d.comb += self.o.eq(product)
        return m


def lanes_of(codes, shape, lanes):
    parts = [codes >> lane * shape.width & ((1 << shape.width) - 1) for lane in range(lanes)]
    return [part - ((part >> shape.width - 1) << shape.width) if shape.signed else part for part in parts]


@pytest.mark.parametrize("balanced", [False, True])
@sampled(("lanes", "widths"), [
    (1, [(1, 1), (2, 1), (1, 2), (5, 3), (3, 6), (8, 8), (3, 7), (2, 9), (2, 13)]),
    (2, [(1, 1), (2, 3), (3, 2), (1, 5)]), (3, [(1, 1), (2, 2), (3, 2)])], 2)
def test_every_sum_of_products(lanes, widths, balanced, tmp_path):
    shapes = [(Shape(a, a_signed), Shape(b, b_signed)) for a, b in widths
              for a_signed in (False, True) for b_signed in (False, True)]
    for (a_shape, b_shape), circuit in zip(
            shapes, gates.build([Sum(*pair, lanes, balanced) for pair in shapes], tmp_path), strict=True):
        index = np.arange(1 << lanes * (a_shape.width + b_shape.width))
        a, b = index & ((1 << lanes * a_shape.width) - 1), index >> lanes * a_shape.width
        want = sum(x * y for x, y in zip(lanes_of(a, a_shape, lanes), lanes_of(b, b_shape, lanes), strict=True))
        want &= (1 << a_shape.width + b_shape.width + (lanes - 1).bit_length()) - 1
        wrong = np.flatnonzero(circuit.run(a=a, b=b) != want.astype(np.uint64))
        assert not len(wrong), (a_shape, b_shape, a[wrong[0]], b[wrong[0]])


@pytest.mark.parametrize(("width", "rows"), [
    (1, [0]), (3, [0]), (4, [0, 2]), (5, [0, 3]), (8, [0, 2, 4, 6]), (11, [0, 3, 6, 9]), (13, [0, 4, 8, 12]),
    (16, [0, 4, 8, 12]), (24, [0, 3, 6, 9, 12, 15, 18, 21])])
def test_branches_of_a_balanced_product(width, rows):
    text = rtlil.convert(Sum(Shape(4), Shape(width), 1, balanced=True), platform=Board("ice40"), emit_src=False)
    assert [int(row) for row in re.findall(r"wire (?:width \d+ )?\\product_(\d+)\n", text)] == rows


class GatedSum(wiring.Component):
    """A sum of two values, or the first one alone."""

    def __init__(self):
        super().__init__({"x": In(4), "a": In(4), "gate": In(1), "o": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(add_gated(m, self.x, self.a, self.gate, platform=platform, name="sum"))
        return m


def test_an_adder_takes_an_addend_or_leaves_it(tmp_path):
    circuit, = gates.build([GatedSum()], tmp_path)
    index = np.arange(1 << 9)
    x, a, gate = index & 15, index >> 4 & 15, index >> 8
    assert (circuit.run(x=x, a=a, gate=gate) == (x + a * gate) % 16).all()


def test_families_that_gate_sums():
    assert gates_sums(Board("ice40"))
    assert not any(map(gates_sums, (None, object(), Board("xc7"))))


class Product(wiring.Component):
    """A product in the form that suits a family."""

    def __init__(self):
        super().__init__({"a": In(4), "b": In(4), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(multiply_integers(m, self.a, self.b, platform=platform))
        return m


def test_products_take_the_form_of_their_family():
    texts = {family: rtlil.convert(Product(), platform=Board(family), emit_src=False) for family in ("ice40", "xc7")}
    assert [texts[family].count("cell $add ") for family in ("ice40", "xc7")] == [3, 1]
