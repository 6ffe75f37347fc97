"""Products with a shared operand, against plain integers."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.model import Function, Port
from sw.reference.packed_product import PackedMultiplication
from sw.reference.packing import Packing
from tests.support.lanes import all_inputs, assert_definition_agrees, random_inputs

INT4, INT8 = parse("int4"), parse("int8")


@pytest.mark.parametrize("model", [
    PackedMultiplication(a=INT4, b=INT8), PackedMultiplication(a=parse("fixed<5,2>"), b=parse("fixed<6,-1>"), lanes=3),
    PackedMultiplication(a=parse("int30"), b=parse("int30"), lanes=1), PackedMultiplication(a=INT4, b=INT4, lanes=8),
], ids=lambda model: f"{model.a.name}-{model.b.name}-{model.lanes}")
def test_arrays_agree_with_the_definition(model):
    assert isinstance(model, Function)
    assert_definition_agrees(model, random_inputs(model, 200, seed=1))


def test_a_packing_gives_the_same_products():
    model = PackedMultiplication(a=INT4, b=INT8)
    packing, inputs = Packing(packed_width=4, shared_width=8), all_inputs(model)
    got = model.evaluate(inputs)["o"].astype(np.int64)
    got -= got >> 11 << 12
    for codes, shared, products in zip(inputs["a"][::97].tolist(), inputs["b"][::97].tolist(), got[::97].tolist(),
                                       strict=True):
        factor = packing.pack(tuple(INT4.integer(code) for code in codes))
        total = factor * INT8.integer(shared) + packing.packed_bias
        assert list(packing.unpack(total)) == products


def test_ports():
    model = PackedMultiplication(a=INT4, b=INT8, lanes=3)
    assert model.inputs == {"a": Port.of(INT4, 3), "b": Port.of(INT8)}
    assert model.outputs == {"o": Port.of(parse("int12"), 3)}
    assert model([8, 7, 15], 0x80) == [1024, -896 % 4096, 128]


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": "int4"}, TypeError, "Format a must be a FixedPointFormat, not 'int4'"),
    ({"b": parse("uint8")}, ValueError, "Format b must be signed and of 2 to 30 bits, not uint8"),
    ({"b": parse("int31")}, ValueError, "Format b must be signed and of 2 to 30 bits, not int31"),
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and 8, not 0"),
    ({"lanes": 1.5}, TypeError, "Lane count must be an integer, not 1.5"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        PackedMultiplication(**{"a": INT4, "b": INT8, **fields})


def test_wrong_codes():
    with pytest.raises(ValueError, match="Vector a must have 2 codes, not 1"):
        PackedMultiplication(a=INT4, b=INT8)([1], 2)
    with pytest.raises(ValueError, match="Code must be between 0 and 15 for int4, not 16"):
        PackedMultiplication(a=INT4, b=INT8)([1, 16], 2)
