# amaranth: UnusedElaboratable=no
"""Sums with addends that a bit may leave out: as mapped netlists of the families that have a form for them."""

import numpy as np
import pytest
from amaranth.hdl import C, Module, Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.gated_rows import gates_sums, multiply_gated_rows
from hw.arith.gated_tree import multiply_gated_tree, suits_tree
from hw.arith.integer_product import multiply_columns, multiply_integers
from synth.flow import count_cells, elaborate, synthesize
from synth.netlist import compile_netlist, make_engine, read_netlist
from synth.primitives import PLATFORMS, platform_of
from synth.store import Store
from synth.targets import TARGETS
from tests.support.sampling import sampled
from tests.synth.netlist.oracle import needs_yosys

pytestmark = needs_yosys

WIDTH = 3


class GatedSum(wiring.Component):
    """Every kind of sum that a form can make, of addends of three bits."""

    latency = 0

    def __init__(self, form):
        self._form = form
        super().__init__({"x": In(WIDTH), "a": In(WIDTH), "gate": In(1), "x_gate": In(1), "plain": Out(WIDTH),
                          "both": Out(WIDTH), "difference": Out(WIDTH), "both_difference": Out(WIDTH)})

    def elaborate(self, platform):
        m, add = Module(), self._form.add
        m.d.comb += self.plain.eq(add(m, self.x, self.a, self.gate, x_gate=C(1, 1), subtract=False, name="plain"))
        both = difference = both_difference = C(0, WIDTH)
        if self._form.gates_both:
            both = add(m, self.x, self.a, self.gate, x_gate=self.x_gate, subtract=False, name="both")
        if self._form.subtracts:
            difference = add(m, self.x, self.a, self.gate, x_gate=C(1, 1), subtract=True, name="difference")
            both_difference = add(m, self.x, self.a, self.gate, x_gate=self.x_gate, subtract=True, name="gated")
        m.d.comb += [self.both.eq(both), self.difference.eq(difference), self.both_difference.eq(both_difference)]
        return m


class Products(wiring.Component):
    """A product function between ports, for every pair of shapes."""

    latency = 0

    def __init__(self, shapes, function):
        self._shapes, self._function = shapes, function
        super().__init__({name: port for index, (a, b) in enumerate(shapes) for name, port in (
            (f"a{index}", In(a)), (f"b{index}", In(b)), (f"o{index}", Out(a.width + b.width)))})

    def elaborate(self, platform):
        m = Module()
        for index in range(len(self._shapes)):
            a, b, o = (getattr(self, f"{name}{index}") for name in "abo")
            m.d.comb += o.eq(self._function(m, a, b, platform))
        return m


@pytest.fixture
def mapped(tmp_path):
    def run(component, family):
        store = Store(tmp_path / "store", warn=pytest.fail)
        netlist = synthesize(elaborate(component, platform_of(family, dsp=False)), TARGETS[family], store=store,
                             folder=tmp_path, dsp=False, timeout=300)
        store.close()
        return netlist
    return run


def engine(netlist):
    return make_engine(compile_netlist(read_netlist(netlist.document())), "numpy")


@pytest.mark.parametrize("family", [name for name in PLATFORMS if platform_of(name).gated_sums])
def test_every_sum_of_gated_addends(family, mapped):
    form = platform_of(family).gated_sums
    netlist = mapped(GatedSum(form), family)
    assert netlist.cells.keys() <= {"CCU2C", "ALU", "GND", "VCC"}  # no lookup table beside the carry cells
    index = np.arange(1 << 2 * WIDTH + 2, dtype=np.uint64)
    x, a, gate, x_gate = (index >> np.uint64(place) & np.uint64(mask)
                          for place, mask in ((0, 7), (3, 7), (6, 1), (7, 1)))
    got = engine(netlist).run({"x": x, "a": a, "gate": gate, "x_gate": x_gate})
    assert (got["plain"] == (x + a * gate) % 8).all()
    if form.gates_both:
        assert (got["both"] == (x * x_gate + a * gate) % 8).all()
    if form.subtracts:
        assert (got["difference"] == (x - a * gate) % 8).all()
        assert (got["both_difference"] == (x * x_gate - a * gate) % 8).all()


def integers(codes, shape):
    codes = codes.astype(np.int64)
    return codes - ((codes >> (shape.width - 1)) << shape.width) if shape.signed else codes


SHAPES = [(Shape(a, a_signed), Shape(b, b_signed))
          for a, b in ((1, 1), (4, 3), (3, 4), (5, 2), (2, 5), (1, 4), (3, 2), (1, 6))
          for a_signed in (False, True) for b_signed in (False, True)]


def rows(m, a, b, platform):
    return multiply_gated_rows(m, a, b, platform=platform)


def tree(m, a, b, platform):
    return multiply_gated_tree(m, a, b, platform=platform)


@sampled(("family", "product"), [("ice40", rows), ("ecp5", rows), ("gowin", rows), ("ecp5", tree)], 3)
def test_every_pair_of_integers(family, product, mapped):
    assert gates_sums(platform_of(family, dsp=False))
    netlist = mapped(Products(SHAPES, product), family)
    index, inputs = np.arange(1 << 7, dtype=np.uint64), {}
    for place, (a_shape, b_shape) in enumerate(SHAPES):
        inputs[f"a{place}"] = index & np.uint64((1 << a_shape.width) - 1)
        inputs[f"b{place}"] = index >> np.uint64(a_shape.width) & np.uint64((1 << b_shape.width) - 1)
    got = engine(netlist).run(inputs)
    for place, (a_shape, b_shape) in enumerate(SHAPES):
        a, b = inputs[f"a{place}"], inputs[f"b{place}"]
        want = (integers(a, a_shape) * integers(b, b_shape)) & ((1 << a_shape.width + b_shape.width) - 1)
        wrong = np.flatnonzero(got[f"o{place}"] != want.astype(np.uint64))
        assert not len(wrong), (a_shape, b_shape, a[wrong[0]], b[wrong[0]], got[f"o{place}"][wrong[0]])


@pytest.mark.parametrize("family", [pytest.param("ice40", marks=pytest.mark.slow), "ecp5",
                                    pytest.param("gowin", marks=pytest.mark.slow)])
def test_gated_rows_are_smaller_than_columns(family, mapped):
    def luts(function):
        netlist = mapped(Products([(Shape(4), Shape(4))], function), family)
        return count_cells(TARGETS[family], netlist.cells)["lut"]

    gated = luts(lambda m, a, b, platform: multiply_integers(m, a, b, platform=platform))
    assert gated <= 20 < luts(lambda m, a, b, platform: multiply_columns(m, a, b, 8))


def test_a_tree_is_for_carry_cells_that_gate_both_addends():
    assert [name for name in PLATFORMS if suits_tree(platform_of(name, dsp=False))] == ["ecp5"]
    assert not suits_tree(None)


def test_a_tree_is_as_deep_as_a_logarithm(mapped):
    def depth(product):
        netlist = mapped(Products([(Shape(8), Shape(8))], product), "ecp5").document()["modules"]["top"]
        above = {bit: 0 for port in netlist["ports"].values() if port["direction"] == "input" for bit in port["bits"]}

        def level(bit):
            if bit not in above and isinstance(bit, int):
                cell = made_by[bit]
                directions = cell["port_directions"]
                inputs = [bits[0] for pin, bits in cell["connections"].items() if directions[pin] == "input"]
                # A carry costs next to nothing: sums count, one on the other.
                above[bit] = max(map(level, inputs), default=0) + (bit not in cell["connections"].get("COUT", []))
            return above.get(bit, 0)

        made_by = {bits[0]: cell for cell in netlist["cells"].values() for pin, bits in cell["connections"].items()
                   if cell["port_directions"][pin] == "output"}
        return max(level(bit) for bit in netlist["ports"]["o0"]["bits"])

    assert depth(tree) <= 4 < 7 <= depth(rows)


@pytest.mark.parametrize("family", ["nexus", "xc7", "xcup"])
def test_other_families_have_no_gated_sums(family):
    assert not gates_sums(platform_of(family, dsp=False))
    assert not gates_sums(platform_of(family))
    assert not gates_sums(None)
