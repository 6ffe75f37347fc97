# amaranth: UnusedElaboratable=no
"""Packed products: every combination of operands, as gates and on the DSP block of each family."""

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.arith.packed_product import PackedProduct, find_packing
from sw.formats import FixedPointFormat, parse
from sw.reference.packed_product import PackedMultiplication
from sw.reference.packing import Packing
from synth.netlist import NumpyEngine, compile_netlist, read_netlist
from synth.primitives import platform_of
from tests.support import gates
from tests.support.clocked_gates import assert_function_right
from tests.support.lanes import all_inputs, joined, random_inputs
from tests.support.mapped import map_component

INT3, INT4, INT8 = parse("int3"), parse("int4"), parse("int8")


def test_every_combination_of_operands_as_gates(tmp_path):
    int2 = parse("int2")
    components = [PackedProduct(INT4, INT8), PackedProduct(INT4, INT8, operand_width=16),
                  PackedProduct(INT3, INT3, lanes=3), PackedProduct(int2, int2, lanes=8, operand_width=40),
                  PackedProduct(INT3, int2, lanes=4, operand_width=25), PackedProduct(INT8, int2),
                  PackedProduct(INT3, INT4, lanes=1)]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        inputs = all_inputs(component.model)
        assert_function_right(component, circuit, inputs, f"{component.model} {component.packing}")


TARGETS = [("nexus", 2, 18), ("gowin", 2, 18), ("xc7", 2, 18), ("xcup", 2, 18), ("xcup", 3, 27)]


@pytest.mark.parametrize(("target", "lanes", "operand_width"), [
    ("ice40", 2, 16), ("ecp5", 2, 18), *(pytest.param(*case, marks=pytest.mark.slow) for case in TARGETS)])
def test_every_combination_of_operands_on_one_dsp_block(target, lanes, operand_width, tmp_path):
    """Two int4 weights share an int8 activation in every family; three in the one whose operands are wide enough."""
    component = PackedProduct(INT4, INT8, lanes=lanes, operand_width=operand_width)
    assert operand_width <= platform_of(target).factor_widths[0]
    netlist, cells = map_component(component, target, tmp_path)
    assert cells["dsp"] == 1
    inputs = all_inputs(component.model)
    engine = NumpyEngine(compile_netlist(read_netlist(netlist)))
    got = engine.run(joined(component.model, inputs))["o"]
    want = component.model.evaluate(inputs)["o"]
    assert len(want) == 1 << 4 * lanes + 8
    places = np.arange(0, component.model.outputs["o"].bits, component.model.product.width, dtype=np.uint64)
    wrong = np.flatnonzero(got != (want << places).sum(axis=1, dtype=np.uint64))
    assert not len(wrong), [({name: codes[i].tolist() for name, codes in inputs.items()}, hex(got[i]), want[i].tolist())
                            for i in wrong[:3]]


def test_pipeline_delays_every_result_by_its_latency(tmp_path):
    components, cycles = [PackedProduct(INT4, INT8, pipeline=pipeline) for pipeline in (1, 2, 4)], 60
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        latency = component.pipeline
        assert component.latency == latency
        inputs = random_inputs(component.model, cycles, seed=latency)
        got = circuit.run(cycles, **joined(component.model, inputs))[latency:]
        want = component.model.evaluate(inputs)["o"][:cycles - latency]
        assert got.tolist() == (want[:, 0] | want[:, 1] << np.uint64(12)).tolist()


@pytest.mark.parametrize(("widths", "lanes", "operand_width", "spacing"), [
    ((4, 8), 2, 18, 12), ((4, 8), 2, 27, 12), ((4, 8), 2, 16, 11), ((4, 8), 2, 15, None), ((4, 8), 3, 27, 11),
    ((4, 8), 3, 26, None), ((8, 8), 2, 25, 16), ((8, 8), 2, 18, None), ((4, 4), 2, 18, 8), ((4, 4), 3, 18, None),
    ((2, 8), 3, 25, 10), ((4, 8), 1, 4, 12),
])
def test_the_spacing_that_an_operand_has_room_for(widths, lanes, operand_width, spacing):
    packing = find_packing(*widths, lanes=lanes, operand_width=operand_width)
    assert (None if packing is None else packing.spacing) == spacing
    assert packing is None or packing.operand_width <= operand_width


def test_elaborating_twice_gives_the_same():
    component = PackedProduct(INT4, INT8, lanes=3, operand_width=27, pipeline=3)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = PackedProduct(INT4, parse("fixed<8,3>"), lanes=3, operand_width=27, pipeline=2)
    assert component.model == PackedMultiplication(a=INT4, b=parse("fixed<8,3>"), lanes=3)
    assert component.packing == Packing(packed_width=4, shared_width=8, lanes=3, spacing=11)
    assert (component.pipeline, component.latency) == (2, 2)
    assert component.model.product == FixedPointFormat(width=12, fraction_bits=3)


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"lanes": 3}, ValueError, "Operand width must be at least 27 bits for 3 lanes of int4 times int8, not 18"),
    ({"operand_width": 15}, ValueError, "Operand width must be at least 16 bits for 2 lanes of int4 times int8, not"),
    ({"lanes": 9}, ValueError, "Lane count must be between 1 and 8, not 9"),
    ({"a": parse("uint4")}, ValueError, "Format a must be signed and of 2 to 30 bits, not uint4"),
    ({"b": parse("e4m3")}, TypeError, "Format b must be a FixedPointFormat, not FloatingPointFormat"),
    ({"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        PackedProduct(**{"a": INT4, "b": INT8, **parameters})
