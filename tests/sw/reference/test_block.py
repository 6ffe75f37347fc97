"""The block dot product: arrays against the definition, both against decoded numpy numbers, and the rules by name."""

import dataclasses
import itertools
import math
import re
from fractions import Fraction

import gfloat
import gfloat.formats
import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, ScaleRule, parse, parse_block
from sw.reference.block import FLOAT32, BlockDot
from sw.reference.model import Function

NAMES = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "mxint8", "nvfp4", "mls<2,4>", "mls<2,1>"]


def _dot(a, b=None, **fields):
    return BlockDot(a=parse_block(a), b=parse_block(b or a), **fields)


def _inputs(dot, count, seed, *, scales=None):
    """Return random codes; NaN and infinity of elements and scales are made rare, or nothing else would be seen."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, port in dot.inputs.items():
        shape = (count,) if port.lanes is None else (count, port.lanes)
        codes = rng.integers(0, port.codes, shape)
        special = {code for code in range(port.codes) if code_is_special(port, code)} if port.format else set()
        often = np.isin(codes, list(special)) & (rng.random(shape) > 0.02)
        inputs[name] = np.where(often, 1, codes).astype(np.uint64)
    for name in ("a_scale", "b_scale"):
        if scales is not None:
            inputs[name] = rng.choice(scales, count).astype(np.uint64)
    return inputs


def code_is_special(port, code):
    value = port.format.decode(code)
    return not isinstance(value, Fraction) and (value.is_infinity or value.value == "NaN")


def _each(dot, inputs):
    rows = zip(*(codes.tolist() for codes in inputs.values()), strict=True)
    return [dot(*row) for row in rows]


@pytest.mark.parametrize("result", ["float32_e8m23", "bfloat16", "e4m3", "fixed<16,8>", "posit<8,1>"])
@pytest.mark.parametrize("name", NAMES)
def test_arrays_give_what_each_call_gives(name, result):
    dot = _dot(name, result=parse(result))
    inputs = _inputs(dot, 40, 1)
    assert dot.evaluate(inputs)["o"].tolist() == _each(dot, inputs)


@pytest.mark.parametrize(("a", "b"), [("mxfp8_e4m3", "mxfp4"), ("mxfp8_e5m2", "mxint8"),
                                      ("mxfp4:block_size=16", "nvfp4")])
def test_operands_may_differ_in_format(a, b):
    dot = _dot(a, b)
    inputs = _inputs(dot, 60, 2)
    assert dot.evaluate(inputs)["o"].tolist() == _each(dot, inputs)


@pytest.mark.parametrize("fields", [
    {"rounding": RoundingMode.TOWARD_ZERO}, {"rounding": RoundingMode.UP}, {"rounding": RoundingMode.TO_ODD},
    {"overflow": OverflowPolicy.INFINITY}, {"rounding": RoundingMode.STOCHASTIC, "random_bits": 5},
], ids=str)
def test_every_rounding_and_overflow_is_that_of_the_cast(fields):
    dot = _dot("mxfp6_e3m2:block_size=4", result=parse("e5m2"), **fields)
    inputs = _inputs(dot, 400, 3, scales=range(112, 140))
    got = dot.evaluate(inputs)["o"].tolist()
    assert got == _each(dot, inputs)
    if not dot.random_bits:
        plain = dataclasses.replace(dot, result=parse("float64_e11m52"))
        exact = [plain.result.decode(int(code)) for code in plain.evaluate(inputs)["o"]]
        assert got == [dot.result.encode(value, rounding=dot.rounding, overflow=dot.overflow) for value in exact]


def test_all_blocks_of_one_4_bit_element_multiply():
    dot = _dot("mxfp4:block_size=1", overflow=OverflowPolicy.INFINITY)
    codes = np.array(list(itertools.product(range(16), range(16), (0, 1, 126, 127, 254, 255), (0, 100, 130, 255))),
                     dtype=np.uint64)
    inputs = {"a": codes[:, :1], "b": codes[:, 1:2], "a_scale": codes[:, 2], "b_scale": codes[:, 3]}
    got = dot.evaluate(inputs)["o"].astype(np.uint32).view(np.float32)
    table = [gfloat.decode_float(gfloat.formats.format_info_ocp_e2m1, code).fval for code in range(16)]
    scales = [math.nan if code == 255 else 2.0 ** (code - 127) for code in range(256)]
    want = np.array([table[a] * table[b] * scales[a_scale] * scales[b_scale] + 0.0
                     for a, b, a_scale, b_scale in codes.tolist()])
    with np.errstate(over="ignore"):
        want = want.astype(np.float32)
    np.testing.assert_array_equal(got, want)
    # A product that is exactly zero is +0, one that vanishes below float32 keeps its sign: here 2**-254.
    assert not np.signbit(got[(codes[:, 0] % 8 == 0) | (codes[:, 1] % 8 == 0)]).any()
    assert np.signbit(got[(codes == [1, 9, 0, 0]).all(axis=1)]).all()


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "mxint8"])
def test_the_result_is_the_sum_of_what_gfloat_decodes(name):
    theirs = {fmt.name.removesuffix("_e2m1"): fmt for fmt in gfloat.formats.all_block_formats}[name]
    dot = _dot(name, result=parse("float64_e11m52"))
    inputs = _inputs(dot, 60, 4, scales=range(118, 137))
    for row, code in zip(zip(*(codes.tolist() for codes in inputs.values()), strict=True),
                         dot.evaluate(inputs)["o"], strict=True):
        a, b, a_scale, b_scale = row
        pairs = [x * y for x, y in zip(gfloat.decode_block(theirs, [a_scale, *a]),
                                       gfloat.decode_block(theirs, [b_scale, *b]), strict=True)]
        # Products of two elements are exact in float64, and fsum rounds their sum once.
        want = math.fsum(pairs) if all(map(math.isfinite, pairs)) else sum(pairs)
        np.testing.assert_array_equal(code.view(np.float64), want + 0.0, err_msg=str(row))


def test_a_quantized_product_is_what_the_values_give():
    """Encode two vectors, multiply the blocks, and compare with the values that the codes stand for."""
    fmt = parse_block("mxfp8_e4m3")
    rng = np.random.default_rng(5)
    for _ in range(20):
        (a_scale, a), (b_scale, b) = (fmt.encode((rng.normal(size=32) * 2.0 ** rng.integers(-9, 9)).tolist())
                                      for _ in range(2))
        total = sum(x * y for x, y in zip(fmt.decode_block(a_scale, a), fmt.decode_block(b_scale, b), strict=True)
                    if isinstance(x, Fraction) and isinstance(y, Fraction))
        assert _dot("mxfp8_e4m3")(a, b, a_scale, b_scale) == FLOAT32.encode(total)


NAN, INFINITY, MINUS_INFINITY = 0x7E00, 0x7C00, 0xFC00


@pytest.mark.parametrize(("name", "a", "b", "scales", "want"), [
    ("mxfp4", [2, 2], [2, 10], (127, 127), 0), ("mxfp4", [0, 0], [10, 10], (127, 127), 0),
    ("mxfp4", [8, 8], [8, 0], (0, 0), 0), ("mxfp4", [2, 0], [2, 0], (255, 0), NAN),
    ("mxfp4", [0, 0], [0, 0], (0, 255), NAN), ("mxfp4", [7, 7], [7, 7], (254, 254), INFINITY),
    ("mxfp4", [7, 7], [15, 15], (254, 254), MINUS_INFINITY), ("mxfp4", [1, 0], [9, 0], (0, 0), 0x8000),
    ("mxfp8_e4m3", [0x7F, 0], [0, 0], (127, 127), NAN),
    ("mxfp8_e5m2", [0x7C, 0], [0x40, 0x40], (127, 127), INFINITY),
    ("mxfp8_e5m2", [0x7C, 0], [0xC0, 0x40], (127, 127), MINUS_INFINITY),
    ("mxfp8_e5m2", [0x7C, 0], [0, 0x40], (127, 127), NAN),
    ("mxfp8_e5m2", [0x7C, 0x7C], [0x40, 0xC0], (127, 127), NAN),
    ("mxfp8_e5m2", [0x7C, 0x7C], [0x40, 0x44], (0, 0), INFINITY),
    ("mxfp8_e5m2", [0x7C, 0], [0x40, 0x40], (255, 127), NAN),
    ("nvfp4", [2, 0], [10, 0], (0, 0x38), 0), ("nvfp4", [0, 2], [0, 2], (0x7F, 0x38), NAN),
    ("nvfp4", [2, 0], [2, 0], (0xB8, 0x38), 0xBC00),
    ("mxfp8_e5m2:scale=e4m3", [0x7C, 0], [0x40, 0], (0, 0x38), NAN),
])
def test_special_values_and_zeros(name, a, b, scales, want):
    dot = _dot(f"{name}{',' if ':' in name else ':'}block_size=2", result=parse("float16"),
               overflow=OverflowPolicy.INFINITY)
    assert dot(a, b, *scales) == want
    arrays = {"a": np.array([a], dtype=np.uint64), "b": np.array([b], dtype=np.uint64),
              "a_scale": np.array(scales[:1], dtype=np.uint64), "b_scale": np.array(scales[1:], dtype=np.uint64)}
    assert dot.evaluate(arrays)["o"].tolist() == [want]


def test_cancellation_is_exact():
    """Terms 64 binades apart: what is left after they cancel is still there."""
    dot = _dot("mxfp8_e5m2:block_size=3")
    largest, smallest = 0x7B, 0x01
    code = dot([largest, largest, smallest], [largest, largest | 0x80, smallest], 127, 127)
    assert dot.result.decode(code) == Fraction(2) ** -32


def test_ports():
    dot = _dot("mxfp6_e3m2", "mxfp4", result=parse("bfloat16"), rounding=RoundingMode.STOCHASTIC, random_bits=9)
    assert isinstance(dot, Function)
    assert {name: (port.width, port.lanes) for name, port in dot.inputs.items()} == {
        "a": (6, 32), "b": (4, 32), "a_scale": (8, None), "b_scale": (8, None), "random": (9, None)}
    assert {name: (port.width, port.format) for name, port in dot.outputs.items()} == {"o": (16, parse("bfloat16"))}
    assert _dot("mxfp4").result == FLOAT32
    assert "random" not in _dot("mxfp4").inputs


def test_no_vectors_have_no_results():
    dot = _dot("mxfp4")
    inputs = {name: codes[:0] for name, codes in _inputs(dot, 1, 1).items()}
    assert dot.evaluate(inputs)["o"].shape == (0,)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": parse("e4m3")}, TypeError, "Format of operand a must be a BlockFormat, as sw.formats.parse_block('mxfp4') "
                                      "gives, not FloatingPointFormat"),
    ({"b": "mxfp4"}, TypeError, "Format of operand b must be a BlockFormat"),
    ({"result": parse_block("mxfp4")}, TypeError, "Result format must be a scalar one, as sw.formats.parse('bfloat16') "
                                                  "gives, not BlockFormat"),
    ({"b": parse_block("nvfp4")}, ValueError, "Block sizes must be equal, not 32 of mxfp4 and 16 of nvfp4; block_size= "
                                              "changes one"),
    ({"rounding": "up"}, TypeError, "Rounding mode must be a RoundingMode, not 'up'"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity"),
    ({"rounding": RoundingMode.STOCHASTIC}, ValueError, "Random bit count must be between 1 and 64"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
])
def test_wrong_fields(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        BlockDot(**{"a": parse_block("mxfp4"), "b": parse_block("mxfp4"), **fields})


def test_wrong_codes():
    dot = _dot("mxfp4:block_size=2")
    with pytest.raises(ValueError, match="Block a must have 2 elements, not 3"):
        dot([0, 0, 0], [0, 0], 0, 0)
    with pytest.raises(ValueError, match="Block b must have 2 elements, not 1"):
        dot([0, 0], [0], 0, 0)
    with pytest.raises(ValueError, match="Code must be between 0 and 15 for float4_e2m1fn, not 16"):
        dot([0, 16], [0, 0], 0, 0)
    with pytest.raises(ValueError, match="Code must be between 0 and 255 for float8_e8m0fnu, not 256"):
        dot([0, 0], [0, 0], 0, 256)
    inputs = _inputs(dot, 3, 1)
    with pytest.raises(ValueError, match="Inputs must be a, b, a_scale, b_scale, not a"):
        dot.evaluate({"a": inputs["a"]})
    with pytest.raises(ValueError, match="Input a must be between 0 and 15, not 0 to 16"):
        dot.evaluate({**inputs, "a": np.array([[0, 16], [0, 0], [0, 0]], dtype=np.uint64)})


def test_the_scale_rule_is_no_part_of_the_product():
    inputs = _inputs(_dot("mxfp4"), 20, 6)
    results = [_dot(f"mxfp4:scale_rule={rule.value}").evaluate(inputs)["o"].tolist() for rule in ScaleRule]
    assert all(result == results[0] for result in results)
