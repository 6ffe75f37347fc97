"""Dequantization against plain integer arithmetic on packed words, and against its definition."""

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.dequantize import Dequantization
from sw.reference.model import Port
from tests.support.lanes import all_inputs, assert_definition_agrees, random_inputs

WIDTHS = (2, 3, 4, 8)


def signed8(codes):
    return codes.astype(np.int64) - (codes.astype(np.int64) >> 7 << 8)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_code_and_zero_point_of_one_width(width):
    model = Dequantization(code_widths=(width,), lanes=1)
    inputs = all_inputs(model)
    want = np.clip(inputs["word"].astype(np.int64) - inputs["zero_point"].astype(np.int64), -128, 127)
    assert len(want) == 1 << 2 * width
    assert (signed8(model.evaluate(inputs)["o"])[:, 0] == want).all()


@pytest.mark.parametrize(("index", "width"), list(enumerate(WIDTHS)))
def test_words_are_unpacked_from_the_low_bits(index, width):
    """Against numpy's own packing of bits; what lies above the last code means nothing."""
    rng, model = np.random.default_rng(width), Dequantization()
    codes = rng.integers(0, 1 << width, (500, 16))
    bits = (codes[..., None] >> np.arange(width) & 1).reshape(500, -1)
    words = [int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little") for row in bits]
    assert max(words) < 1 << 16 * width
    garbage = [int(number) << 16 * width & (1 << 128) - 1 for number in rng.integers(0, 1 << 62, 500)]
    points = rng.integers(0, 256, 500)
    got = model.evaluate({"word": np.array([word | extra for word, extra in zip(words, garbage, strict=True)], object),
                          "zero_point": points.astype(np.uint64), "width": np.full(500, index, np.uint64)})["o"]
    assert (signed8(got) == np.clip(codes - points[:, None], -128, 127)).all()


@pytest.mark.parametrize("parameters", [
    {}, {"zero_point_per_lane": True}, {"code_widths": (4,)}, {"code_widths": (3,), "zero_point_per_lane": True},
    {"code_widths": (1, 5, 7), "lanes": 3}, {"code_widths": (8,), "lanes": 1}, {"code_widths": (2, 8), "lanes": 64}])
def test_arrays_agree_with_the_definition(parameters):
    model = Dequantization(**parameters)
    assert_definition_agrees(model, random_inputs(model, 300, seed=1))


def test_definition_of_one_word():
    model = Dequantization(lanes=3)
    assert model(0b10_01_11, 2, 0) == [1, 0xFF, 0]
    assert model(0b111_000_101, 5, 1) == [0, 0xFB, 2]
    assert model(0xFF_80_00, 200, 3) == [0x80, 0xB8, 55]
    assert model(0xFF_80_00, 0, 3) == [0, 0x7F, 0x7F]
    assert Dequantization(lanes=3, zero_point_per_lane=True)(0x321, [1, 0, 8], 2) == [0, 2, 0xFB]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7])
def test_codes_of_up_to_seven_bits_never_saturate(width):
    model = Dequantization(code_widths=(width,), lanes=1)
    inputs = all_inputs(model)
    difference = inputs["word"].astype(np.int64) - inputs["zero_point"].astype(np.int64)
    assert (signed8(model.evaluate(inputs)["o"])[:, 0] == difference).all()


def test_ports():
    model = Dequantization()
    assert list(model.inputs) == ["word", "zero_point", "width"]
    assert (model.inputs["word"].width, model.inputs["zero_point"].width) == (128, 8)
    assert (model.inputs["width"].width, model.inputs["width"].codes) == (2, 4)
    assert (model.outputs["o"].format.name, model.outputs["o"].lanes) == ("int8", 16)
    fixed = Dequantization(code_widths=(3,), zero_point_per_lane=True)
    assert list(fixed.inputs) == ["word", "zero_point"]
    assert (fixed.inputs["word"].width, fixed.inputs["zero_point"]) == (48, Port.of(parse("uint3"), 16))


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"code_widths": 4}, TypeError, r"Code widths must be a tuple of integers, not 4; write \(4,\)"),
    ({"code_widths": ()}, ValueError, r"Code widths must be at least one, not \(\)"),
    ({"code_widths": (2, 2.5)}, TypeError, "Code width must be an integer, not 2.5"),
    ({"code_widths": (0,)}, ValueError, "Code width must be between 1 and 8 bits, not 0"),
    ({"code_widths": (4, 9)}, ValueError, "Code width must be between 1 and 8 bits, not 9"),
    ({"code_widths": (4, 2)}, ValueError, r"Code widths must rise, not \(4, 2\)"),
    ({"lanes": 0}, ValueError, "Lanes must be between 1 and 64, not 0"),
    ({"lanes": "16"}, TypeError, "Lanes must be an integer, not '16'"),
    ({"zero_point_per_lane": 1}, TypeError, "Zero point per lane must be True or False, not 1"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        Dequantization(**parameters)


def test_wrong_inputs():
    model = Dequantization(code_widths=(2, 3, 4))
    inputs = random_inputs(model, 3, seed=1)
    with pytest.raises(ValueError, match="Input width must be between 0 and 2, not 3 to 3"):
        model.evaluate(inputs | {"width": np.full(3, 3, np.uint64)})
    for width in (-1, 3):
        with pytest.raises(ValueError, match=rf"Width must be between 0 and 2, an index into \(2, 3, 4\), not {width}"):
            model(0, 0, width)
    with pytest.raises(ValueError, match="Code must be between 0 and 15 for uint4, not 16"):
        model(0, 16, 0)
