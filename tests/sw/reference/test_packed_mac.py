"""Packed multiply-accumulators: many at once against the definition, and exact sums against plain integers."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.packed_mac import PackedMultiplyAccumulate
from tests.support.transfers import random_transfers

CASES = {
    "int8 pair": PackedMultiplyAccumulate(a=parse("int8"), b=parse("int8")),
    "full-range eight": PackedMultiplyAccumulate(a=parse("int8"), b=parse("int8"), terms=8),
    "mixed": PackedMultiplyAccumulate(a=parse("uint4"), b=parse("fixed<5,2>"), lanes=3, terms=5),
    "one lane": PackedMultiplyAccumulate(a=parse("int4"), b=parse("uint3"), lanes=1, terms=3, spacing=12),
    "wide": PackedMultiplyAccumulate(a=parse("int16"), b=parse("int16"), lanes=4, terms=100),
}


def signed(codes, width):
    return codes - ((codes >> (width - 1)) << width)


@pytest.mark.parametrize("flag_rate", [0.02, 0.3])
@pytest.mark.parametrize("name", CASES)
def test_many_sequences_at_once_give_what_the_definition_gives(name, flag_rate):
    """Sums longer than ``terms`` too, whose lanes spill."""
    model, rng, sequences = CASES[name], np.random.default_rng(3), 4
    transfers = [random_transfers(model, 200, rng, flag_rate) for _ in range(sequences)]
    run, results, taken = model.start(sequences), [[] for _ in range(sequences)], [[] for _ in range(sequences)]
    for step in range(200):
        inputs = {field: np.stack([transfer[field][step] for transfer in transfers]) for field in model.inputs}
        accepted = rng.random(sequences) < 0.8
        for index in np.flatnonzero(accepted):
            taken[index].append({field: codes[index].tolist() for field, codes in inputs.items()})
        for produced, outputs in run.accept(inputs, accepted):
            for index in np.flatnonzero(produced):
                results[index].append(outputs["o"][index].tolist())
        if step == 100:
            assert results == [model.results(sequence) for sequence in taken]
            run.reset(np.arange(sequences) == 1)
            results[1], taken[1] = [], []
    assert results == [model.results(sequence) for sequence in taken]
    assert sum(map(len, results)) > 5


@pytest.mark.parametrize("name", CASES)
def test_sums_of_so_many_products_are_exact(name):
    model, rng = CASES[name], np.random.default_rng(5)
    extremes = [np.array([fmt.encode(fmt.min_finite), fmt.encode(fmt.max_finite)]) for fmt in (model.a, model.b)]
    for corners in (False, True):
        a = rng.choice(extremes[0], (30, model.terms, model.lanes)) if corners else rng.integers(
            0, model.inputs["a"].codes, (30, model.terms, model.lanes))
        b = rng.choice(extremes[1], (30, model.terms)) if corners else rng.integers(
            0, model.inputs["b"].codes, (30, model.terms))
        for index in range(30):
            transfers = [{"a": a[index, term].tolist(), "b": int(b[index, term]), "first": term == 0,
                          "last": term == model.terms - 1} for term in range(model.terms)]
            result, = model.results(transfers)
            fmt = model.outputs["o"].format
            want = [sum(model.a.decode(x) * model.b.decode(y) for x, y in zip(
                a[index, :, lane].tolist(), b[index].tolist(), strict=True)) for lane in range(model.lanes)]
            assert [fmt.decode(code) for code in result] == want


def test_the_eighth_product_spills_without_room_for_it():
    transfer = {"a": [0x80, 1], "b": 0x80, "first": 0, "last": 1}
    seven = CASES["int8 pair"].results([transfer] * 8)
    eight = CASES["full-range eight"].results([transfer] * 8)
    assert [signed(code, 18) for code in seven[6]] == [7 * 2**14, -7 * 128]
    assert [signed(code, 18) for code in seven[7]] == [-2**17, -8 * 128 + 1]
    assert [signed(code, 19) for code in eight[7]] == [2**17, -8 * 128]


def test_properties():
    model = CASES["mixed"]
    assert (model.packing.packed_width, model.packing.shared_width) == (5, 5)
    assert model.outputs["o"].format.fraction_bits == 2
    assert model.outputs["o"].lanes == model.inputs["a"].lanes == 3
    assert CASES["int8 pair"].spacing == 18
    assert (CASES["int8 pair"].result_width, CASES["full-range eight"].result_width) == (18, 19)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": parse("e4m3")}, TypeError, "Format a must be a FixedPointFormat, as sw.formats.parse('int8') gives, not"),
    ({"b": "int8"}, TypeError, "Format b must be a FixedPointFormat, as sw.formats.parse('int8') gives, not 'int8'"),
    ({"terms": 8, "spacing": 17}, ValueError, "Spacing must be at least 18 bits for 8 products of 8 x 8 bits, not 17"),
    ({"spacing": 65}, ValueError, "Lanes must have at most 64 bits, not 65; a smaller spacing or fewer terms mend "
                                  "that"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        PackedMultiplyAccumulate(**{"a": parse("int8"), "b": parse("int8"), **fields})
