"""Offsets against their definition, and against the paper's layer in floating point."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.square_offset import SquareOffset
from tests.support.clocked_gates import random_codes

INT8 = parse("int8")


@pytest.mark.parametrize("fields", [
    {"lanes": 1, "terms": 8}, {"lanes": 4, "terms": 16, "min_offset": 1, "max_offset": 8},
    {"lanes": 2, "terms": 8, "a": parse("uint5"), "b": parse("int3"), "fraction_bits": 0, "scale_bits": 2,
     "bias_bits": 6, "max_offset": 15}])
def test_many_sequences_at_once_give_what_the_definition_gives(fields):
    model, rng, sequences = SquareOffset(**fields), np.random.default_rng(5), 6
    run = model.start(sequences)
    results, taken = [[] for _ in range(sequences)], [[] for _ in range(sequences)]
    for step in range(400):
        if step == 200:
            run.reset(np.arange(sequences) == 2)
            results[2], taken[2] = [], []
        inputs = {name: random_codes(port, sequences, rng) for name, port in model.inputs.items()}
        inputs["scale"] >>= np.uint64(step % model.scale_bits)  # so that not all offsets are clamped
        accepted = rng.random(sequences) < 0.8
        for index in np.flatnonzero(accepted):
            taken[index].append({name: codes[index].tolist() for name, codes in inputs.items()})
        for produced, outputs in run.accept(inputs, accepted):
            for index in np.flatnonzero(produced):
                results[index].append(int(outputs["o"][index]))
    assert results == [model.results(sequence) for sequence in taken]
    assert {code for sequence in results for code in sequence} == set(range(model.min_offset, model.max_offset + 1))


def test_halves_are_rounded_up():
    model = SquareOffset(lanes=1, terms=1, fraction_bits=1)
    quarter = {"a": [1], "b": [1], "first": 1, "last": 1}
    got = {(scale, bias): model.results([{**quarter, "scale": scale, "bias": bias}])[0]
           for scale in range(6) for bias in range(6)}
    assert got == {(scale, bias): (scale + bias + 1) // 2 for scale, bias in got}


def test_integers_follow_the_layer_in_floating_point():
    """Rounding of what ``hardtanh(conv1x1(x), 0, 8)`` gives, for a scale that needs no rounding of its own."""
    model = SquareOffset(lanes=8, terms=32, max_offset=8, fraction_bits=16, bias_bits=24)
    rng = np.random.default_rng(1)
    pixels, weights = rng.integers(-128, 128, (500, 4, 8)), rng.integers(-8, 8, (4, 8))
    scale, bias = 0.0015, 3.25
    codes = {"scale": round(scale * 2**16), "bias": round(bias * 2**16)}
    transfers = [{"a": (group % 256).tolist(), "b": (weights[index] % 16).tolist(), "first": index == 0,
                  "last": index == 3, **codes} for pixel in pixels for index, group in enumerate(pixel)]
    exact = np.einsum("pgl,gl->p", pixels, weights) * (codes["scale"] / 2**16) + bias
    want = np.floor(np.clip(exact, 0, 8) + 0.5)
    np.testing.assert_array_equal(model.results(transfers), want)
    assert len(set(want)) == 9


def test_properties():
    model = SquareOffset(lanes=4, terms=64)
    assert list(model.inputs) == ["a", "b", "first", "last", "scale", "bias"]
    assert (model.inputs["a"].lanes, model.inputs["b"].width) == (4, 4)
    assert (model.outputs["o"].width, model.outputs["o"].codes) == (3, 8)
    assert model.sum.width == 18  # 64 products of -128 and -8 are 2**16


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": "int8"}, TypeError, "Format a must be a FixedPointFormat, not 'int8'"),
    ({"b": parse("e4m3")}, TypeError, "Format b must be a FixedPointFormat, not Floating"),
    ({"a": parse("fixed<8,4>")}, ValueError, "Format a must be one of integers, without fraction bits, not "),
    ({"lanes": 0}, ValueError, "Lane count must be between 1 and the 16 terms of a sum, not 0"),
    ({"terms": 1.0}, TypeError, "must be an integer, not 1.0"),
    ({"scale_bits": 0}, ValueError, "Scale bits must be between 1 and 32, not 0"),
    ({"bias_bits": 33}, ValueError, "Bias bits must be between 1 and 32, not 33"),
    ({"fraction_bits": -1}, ValueError, "Fraction bits must be between 0 and 32, not -1"),
    ({"fraction_bits": 1.5}, TypeError, "Fraction bits must be an integer, not 1.5"),
    ({"max_offset": 0}, ValueError, "Max offset must be between 1 and 15, not 0"),
    ({"max_offset": 16}, ValueError, "Max offset must be between 1 and 15, not 16"),
    ({"min_offset": 8}, ValueError, "Min offset must be between 0 and 7, not 8"),
    ({"min_offset": -7}, ValueError, "Min offset must be between 0 and 7, not -7"),
    ({"a": parse("int24"), "b": INT8, "scale_bits": 32}, ValueError,
     "Scale bits must be at most 26 for sums of 36 bits, not 32"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SquareOffset(**{"lanes": 2, "terms": 16, **fields})
