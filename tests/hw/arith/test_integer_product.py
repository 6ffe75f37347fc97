# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Shape, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.integer_product import (
    multiply_booth,
    multiply_columns,
    multiply_digits,
    multiply_integers,
    multiply_looked_up,
    multiply_pair,
    multiply_rows,
)
from tests.support import gates
from tests.support.sampling import sampled


class Product(wiring.Component):
    """A product function between ports."""

    def __init__(self, a, b, function):
        self._shapes, self._function = (a, b), function
        super().__init__({"a": In(a.width), "b": In(b.width), "o": Out(a.width + b.width)})

    def elaborate(self, platform):
        m = Module()
        a, b = (code.as_signed() if shape.signed else code
                for code, shape in zip((self.a, self.b), self._shapes, strict=True))
        m.d.comb += self.o.eq(self._function(m, a, b))
        return m


def integers(codes, shape):
    return codes - ((codes >> (shape.width - 1)) << shape.width) if shape.signed else codes


def assert_multiplies(shapes, function, folder):
    circuits = gates.build([Product(a, b, function) for a, b in shapes], folder)
    for (a_shape, b_shape), circuit in zip(shapes, circuits, strict=True):
        index = np.arange(1 << (a_shape.width + b_shape.width))
        a, b = index & ((1 << a_shape.width) - 1), index >> a_shape.width
        want = integers(a, a_shape) * integers(b, b_shape) & ((1 << (a_shape.width + b_shape.width)) - 1)
        wrong = np.flatnonzero(circuit.run(a=a, b=b) != want.astype(np.uint64))
        assert not len(wrong), (a_shape, b_shape, a[wrong[0]], b[wrong[0]])


SHAPES = [(Shape(a, a_signed), Shape(b, b_signed)) for a in (1, 2, 3, 5) for b in (1, 2, 3, 4, 6)
          for a_signed in (False, True) for b_signed in (False, True)]


@sampled("function", [
    multiply_booth, multiply_integers, lambda m, a, b: multiply_integers(m, a, b, hard_multiplier=True)], 1)
def test_every_pair_of_integers(function, tmp_path):
    assert_multiplies(SHAPES, function, tmp_path)
    assert_multiplies([(Shape(8, True), Shape(8, True)), (Shape(8, True), Shape(7, False))], function, tmp_path)


def test_columns_of_unsigned_integers(tmp_path):
    shapes = [(unsigned(a), unsigned(b)) for a in (1, 2, 5, 6) for b in (1, 3, 4, 7)]
    assert_multiplies(shapes, lambda m, a, b: multiply_columns(m, a, b, len(a) + len(b)), tmp_path)


def test_rows_of_unsigned_integers(tmp_path):
    assert_multiplies([(unsigned(a), unsigned(b)) for a in (1, 2, 5, 6) for b in (1, 3, 4, 7)], multiply_rows, tmp_path)


def test_digits_of_unsigned_integers(tmp_path):
    assert_multiplies([(unsigned(4), unsigned(4))], multiply_digits, tmp_path)


def test_unsigned_integers_looked_up(tmp_path):
    assert_multiplies([(unsigned(a), unsigned(b)) for a in (1, 2, 3, 4) for b in (1, 2, 3, 4)], multiply_looked_up,
                      tmp_path)


class Pair(wiring.Component):
    """The sum of two products, whose factors are halves of the ports."""

    def __init__(self, a, b):
        self._shapes = a, b
        super().__init__({"a": In(2 * a.width), "b": In(2 * b.width), "o": Out(a.width + b.width + 1)})

    def elaborate(self, platform):
        m = Module()
        a, b = ([part.as_signed() if shape.signed else part for part in (port[:shape.width], port[shape.width:])]
                for port, shape in zip((self.a, self.b), self._shapes, strict=True))
        m.d.comb += self.o.eq(multiply_pair(m, a, b, platform=platform))
        return m


class Ice40:
    """A platform that names its family alone."""

    narrowgauge_family = "ice40"


@pytest.mark.parametrize("platform", [None, Ice40()])
def test_every_pair_of_products(platform, tmp_path):
    shapes = [(Shape(a, a_signed), Shape(b, b_signed)) for a, b in ((1, 1), (2, 1), (1, 3), (3, 2), (4, 3), (2, 4))
              for a_signed in (False, True) for b_signed in (False, True)]
    circuits = gates.build([Pair(a, b) for a, b in shapes], tmp_path, platform=platform)
    for (a_shape, b_shape), circuit in zip(shapes, circuits, strict=True):
        index = np.arange(1 << 2 * (a_shape.width + b_shape.width))
        a, b = index & ((1 << 2 * a_shape.width) - 1), index >> 2 * a_shape.width
        want = sum(integers(a >> lane * a_shape.width & ((1 << a_shape.width) - 1), a_shape)
                   * integers(b >> lane * b_shape.width & ((1 << b_shape.width) - 1), b_shape) for lane in range(2))
        want &= (1 << a_shape.width + b_shape.width + 1) - 1
        wrong = np.flatnonzero(circuit.run(a=a, b=b) != want.astype(np.uint64))
        assert not len(wrong), (a_shape, b_shape, a[wrong[0]], b[wrong[0]])


class Family:
    """A platform whose blocks take factors of at least 3 bits."""

    @staticmethod
    def takes_product(a_width, b_width):
        return min(a_width, b_width) >= 3


@pytest.mark.parametrize(("platform", "width", "left_to_synthesis"), [
    (None, 2, True), (object(), 2, True), (Family(), 2, False), (Family(), 3, True)])
def test_products_too_narrow_for_a_block_are_built_from_gates(platform, width, left_to_synthesis):
    shape = unsigned(width)
    product = Product(shape, shape, lambda m, a, b: multiply_integers(m, a, b, hard_multiplier=True, platform=platform))
    assert ("cell $mul" in rtlil.convert(product, emit_src=False)) == left_to_synthesis
