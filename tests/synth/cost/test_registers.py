# amaranth: UnusedElaboratable=no
import pytest

from hw.arith.exact_structure import LUT6_FAMILIES
from synth.cost.fabric import FABRICS
from synth.cost.features import special_flags, structure_of
from synth.cost.point import Point
from synth.cost.registers import REGISTER_TERMS, register_terms
from synth.cost.table import SHIPPED, read_table
from synth.flow import elaborate

POINTS = [
    *(Point(op="multiply", fmt=fmt, pipeline=pipeline) for fmt in ("int8", "minifloat_e3m2") for pipeline in range(4)),
    *(Point(op="dot", fmt=fmt, lanes=3, out_fmt=out, pipeline=pipeline) for fmt in ("int4", "minifloat_e2m1")
      for out in ("exact", None) for pipeline in range(4)),
    *(Point(op="emac", fmt=fmt, terms=64, out_fmt=out, pipeline=pipeline)
      for fmt in ("int4", "minifloat_e3m2", "float8_e5m2", "posit<5,1>") for out in ("exact", None)
      for pipeline in range(4)),
    *(Point(op="mac", fmt="int6", terms=64, pipeline=pipeline) for pipeline in range(4)),
]


def flip_flops(point):
    """Count the registers' bits of a circuit before synthesis, from its RTLIL."""
    design = elaborate(point.operation().component())
    kind, total = "", 0
    for line in design.rtlil.splitlines():
        words = line.split()
        if words[:1] == ["cell"]:
            kind = words[1]
        elif words[:2] == ["parameter", "\\WIDTH"] and kind == "$dff":
            total += int(words[-1])
    return total


@pytest.mark.parametrize("point", POINTS, ids=Point.key)
def test_registers_are_those_of_the_circuit(point):
    operation = point.operation()
    found, want = register_terms(operation, structure_of(operation, None)), flip_flops(point)
    assert set(found) <= set(REGISTER_TERMS)
    bits = sum(amount for name, amount in found.items() if name.endswith("_register"))
    # What comes on top travels beside the numbers: the handshake, first and valid, and flags, in every stage.
    beside = 4 + special_flags(operation.model.a, operation.model.b)
    assert 0 <= want - bits <= beside * (1 + point.pipeline), (found, want)


def test_stages_are_counted():
    def found(pipeline):
        operation = Point(op="multiply", fmt="int8", pipeline=pipeline).operation()
        return register_terms(operation, structure_of(operation, None))

    assert found(0) == {}
    assert found(7)["stage"] == 7
    assert found(7)["output_register"] == 5 * 8


def test_a_sum_may_be_held_by_the_block_of_its_product():
    """As on Xilinx 7, where synthesis leaves one flip-flop of a multiply-accumulator: that of the handshake."""
    def found(**options):
        operation = Point(op="mac", fmt="int8", terms=4608, dsp=True).operation()
        return register_terms(operation, structure_of(operation, None), **options)

    assert found()["sum_register"] == 28
    assert found(sum_in_block=True) == {"control": 1}
    assert [name for name, fabric in FABRICS.items() if fabric.sum_in_block] == ["xc7"]
    measured = read_table(SHIPPED).find(Point(op="mac", fmt="int8", terms=4608, dsp=True), "xc7")
    assert (measured.ff, measured.dsp) == (1, 1)


def test_families_of_six_input_tables_are_those_of_the_circuits():
    assert {name for name, fabric in FABRICS.items() if fabric.lut_inputs == 6} == set(LUT6_FAMILIES)
