"""Rows of parameters as words: what is packed comes out again, in the places that the definition says."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.model import Port
from sw.reference.parameter_memory import ParameterMemory

BYTE, WORD = Port.of(parse("int8")), Port.of(parse("int8"), 3)
WEIGHTS, SCALE, BIAS = Port.of(parse("int4"), 9), Port.of(parse("uint16"), 2), Port.of(parse("int16"), 2)
MEMORIES = [
    ParameterMemory(rows=1, fields=(("weights", WEIGHTS),), word=WORD),
    ParameterMemory(rows=5, fields=(("scale", SCALE), ("bias", BIAS)), word=WORD),
    ParameterMemory(rows=3, fields=(("flag", Port(width=1)), ("wide", Port(width=64))), word=BYTE),
]


def random_fields(memory, rng):
    return {name: rng.integers(0, port.codes, (memory.rows,) if port.lanes is None else (memory.rows, port.lanes),
                               dtype=np.uint64) for name, port in memory.fields}


def test_sizes():
    assert [(memory.row_bits, memory.row_words, memory.words) for memory in MEMORIES] == [
        (36, 2, 2), (64, 3, 15), (65, 9, 27)]


@pytest.mark.parametrize("memory", MEMORIES)
def test_what_is_packed_comes_out_again(memory):
    fields = random_fields(memory, np.random.default_rng(1))
    words = memory.pack(fields)
    memory.word.check("Words", words)
    assert len(words) == memory.words
    for name, codes in memory.unpack(words).items():
        np.testing.assert_array_equal(codes, fields[name])


@pytest.mark.parametrize("memory", MEMORIES)
def test_rows_by_the_definition(memory):
    fields = random_fields(memory, np.random.default_rng(2))
    words = memory.pack(fields).reshape(memory.words, -1).tolist()
    for index in range(memory.rows):
        want = {name: np.atleast_1d(codes[index]).tolist() for name, codes in fields.items()}
        assert memory.row(words, index) == want


def test_many_memories_at_once():
    memory, rng = MEMORIES[1], np.random.default_rng(3)
    sets = [random_fields(memory, rng) for _ in range(4)]
    together = memory.unpack(np.stack([memory.pack(fields) for fields in sets]).reshape(2, 2, memory.words, 3))
    for index, fields in enumerate(sets):
        for name, codes in fields.items():
            np.testing.assert_array_equal(together[name][index // 2, index % 2], codes)


def test_the_first_field_and_its_first_lane_are_lowest():
    memory = ParameterMemory(rows=1, fields=(("a", Port(width=4, lanes=2)), ("b", Port(width=12))), word=BYTE)
    words = memory.pack({"a": np.array([[1, 2]]), "b": np.array([0x654])})
    assert words.tolist() == [0x21, 0x54, 0x06]


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"rows": 0}, ValueError, "Row count must be between 1 and 65536, not 0"),
    ({"rows": 2.0}, TypeError, "Row count must be an integer, not 2.0"),
    ({"fields": ()}, ValueError, "Fields must be at least one, not none"),
    ({"fields": (("a", parse("int8")),)}, TypeError, "Port a must be a Port, not FixedPointFormat("),
    ({"fields": (("a", Port(width=65)),)}, ValueError, "Port a must have at most 64 bits a lane, not 65"),
    ({"word": 8}, TypeError, "Port of the words must be a Port, not 8"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        ParameterMemory(**{"rows": 2, "fields": (("a", WEIGHTS),), "word": WORD, **parameters})


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": np.zeros((2, 9), int)}, ValueError, "Fields must be weights, not a"),
    ({}, ValueError, "Fields must be weights, not none"),
    ({"weights": np.zeros((2, 9), int)}, ValueError, "Field weights must have 1 rows, not 2"),
    ({"weights": np.zeros((1, 8), int)}, ValueError, "Field weights must be of shape (1, 9), not (1, 8)"),
    ({"weights": np.full((1, 9), 16)}, ValueError, "Field weights must be between 0 and 15, not 16 to 16"),
    ({"weights": np.zeros((1, 9))}, TypeError, "Field weights must be an array of integers, not of float64"),
])
def test_wrong_fields(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        MEMORIES[0].pack(fields)
