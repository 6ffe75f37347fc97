import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from hw.shape import code_shape, is_format, require_format
from sw.formats import parse


@pytest.mark.parametrize(("name", "fields"), [
    ("float8_e4m3fn", [("fraction", 0, 3), ("exponent", 3, 4), ("sign", 7, 1)]),
    ("float16", [("fraction", 0, 10), ("exponent", 10, 5), ("sign", 15, 1)]),
    ("float8_e8m0fnu", [("fraction", 0, 0), ("exponent", 0, 8)]),
])
def test_float_is_a_structure_of_its_fields(name, fields):
    layout = code_shape(parse(name))
    assert isinstance(layout, data.StructLayout)
    assert [(key, field.offset, field.width) for key, field in layout] == fields
    assert layout.size == parse(name).width


@pytest.mark.parametrize(("name", "shape"), [("int8", signed(8)), ("uint4", unsigned(4)), ("fixed<6,3>", signed(6))])
def test_fixed_point_is_an_integer(name, shape):
    assert code_shape(parse(name)) == shape


def test_posit_is_a_signed_integer():
    """Its codes order as integers do."""
    assert code_shape(parse("posit<8,1>")) == signed(8)


def test_is_format():
    assert is_format(parse("e4m3"))
    assert is_format(parse("posit<8,1>"))
    assert is_format(parse("int4"))
    assert not is_format("int4")


def test_not_a_format():
    with pytest.raises(TypeError, match=r"^Format must be a .*, not 'e4m3'; write sw\.formats\.parse\('e4m3'\)$"):
        code_shape("e4m3")
    with pytest.raises(TypeError, match="^Scale must be a FloatingPointFormat, a FixedPointFormat or a PositFormat, "
                                        "not None$"):
        require_format("Scale", None)
