# amaranth: UnusedElaboratable=no
"""Exact products of significands of two bits, every pair of codes, alone and in sums."""

import numpy as np
import pytest

from hw.arith.digit_product import suits_shifted_digits
from hw.arith.exact_structure import ExactStructure
from hw.dot.dot_product import DotProduct
from sw.formats import parse
from tests.support import gates
from tests.support.clocked_gates import assert_function_right, random_codes

DIGITS, SHIFTED = ExactStructure.DIGITS, ExactStructure.SHIFTED_DIGITS
FOUR_BITS = ("float4_e2m1fn", "float4_e2m1fn:subnormals=flushed", "p3109_k4p2se", "minifloat_e1m1",
             "float4_e2m1fn:signed=false", "float4_e2m1fn:bias=3")


def dot(a, b=None, result=None, *, lanes=1, **parameters):
    """Return a dot product of formats given by name."""
    formats = [None if name is None else parse(name) for name in (a, b, result)]
    return DotProduct(*formats, lanes=lanes, **parameters)


def all_vectors(model):
    """Return every pair of vectors."""
    index, place, inputs = np.arange(1 << sum(port.bits for port in model.inputs.values())), 0, {}
    for name, port in model.inputs.items():
        places = place + port.width * np.arange(port.lanes)
        inputs[name] = (index[:, None] >> places & (1 << port.width) - 1).astype(np.uint64)
        place += port.bits
    return inputs


def assert_all_right(components, folder):
    """Check combinational dot products on every pair of vectors."""
    for component, circuit in zip(components, gates.build(components, folder), strict=True):
        assert_function_right(component, circuit, all_vectors(component.model), str(component.model))


@pytest.mark.parametrize("structure", [DIGITS, SHIFTED])
def test_every_pair_of_codes(structure, tmp_path):
    pairs = [(name, name) for name in FOUR_BITS] + [(FOUR_BITS[0], name) for name in FOUR_BITS[1:]]
    assert_all_right([dot(a, b, structure=structure) for a, b in pairs], tmp_path)


def test_products_of_digits_of_wider_formats(tmp_path):
    assert_all_right([dot("minifloat_e3m1", "float4_e2m1fn", structure=DIGITS),
                      dot("int2", "minifloat_e4m1", structure=DIGITS)], tmp_path)


@pytest.mark.parametrize("structure", [DIGITS, SHIFTED])
def test_rounded_products(structure, tmp_path):
    assert_all_right([dot("float4_e2m1fn", "p3109_k4p2se", "float8_e4m3fn", structure=structure)], tmp_path)


def test_sums_of_products(tmp_path):
    two, eight = (dot("float4_e2m1fn", lanes=lanes, structure=DIGITS) for lanes in (2, 8))
    assert_all_right([two], tmp_path)
    circuit, = gates.build([eight], tmp_path)
    rng = np.random.default_rng(5)
    inputs = {name: random_codes(port, 5_000, rng) for name, port in eight.model.inputs.items()}
    assert_function_right(eight, circuit, inputs, str(eight.model))


@pytest.mark.parametrize("structure", [DIGITS, SHIFTED])
@pytest.mark.parametrize("pipeline", [1, 2, 3])
def test_pipeline_delays_every_product_by_its_latency(structure, pipeline, tmp_path):
    component = dot("float4_e2m1fn", structure=structure, pipeline=pipeline)
    circuit, = gates.build([component], tmp_path)
    rng, cycles = np.random.default_rng(pipeline), 200
    inputs = {name: rng.integers(0, 16, (cycles, 1)).astype(np.uint64) for name in "ab"}
    got = circuit.run(cycles, **{name: codes[:, 0] for name, codes in inputs.items()})[component.latency:]
    want = component.model.evaluate(inputs)["o"][:cycles - pipeline]
    wrong = np.flatnonzero(got != want)
    assert component.latency == pipeline
    assert circuit.register_count
    assert not len(wrong), [(cycle, hex(got[cycle]), hex(want[cycle])) for cycle in wrong[:5]]


def test_a_hard_multiplier_is_given_the_product(tmp_path):
    assert_all_right([dot("float4_e2m1fn", structure=SHIFTED, hard_multiplier=True)], tmp_path)


@pytest.mark.parametrize(("name", "suits"), [
    *((name, True) for name in FOUR_BITS), ("minifloat_e3m1", False), ("float6_e2m3fn", False), ("int2", False),
    ("posit<4,1>", False), ("radix4_fp4_even", False), ("float4_e2m1fn:subnormals=absent", False)])
def test_which_formats_are_shifted_as_digits(name, suits):
    assert suits_shifted_digits(parse(name)) is suits


def test_a_sum_has_no_product_that_stands_alone():
    with pytest.raises(ValueError, match=r"Structure must be one that suits the operands, .*DIGITS.*, "
                                         r"not ExactStructure\.SHIFTED_DIGITS"):
        dot("float4_e2m1fn", lanes=2, structure=SHIFTED)
