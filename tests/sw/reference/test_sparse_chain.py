"""The chain of multipliers: many transfers at once against the definition, and that against plain loops."""

import re

import numpy as np
import pytest

from sw.formats import FixedPointFormat, parse
from sw.reference.dot import Dot
from sw.reference.sparse_chain import SparseDspChain

INT8 = parse("int8")
CASES = {
    "int8": SparseDspChain(a=INT8, b=INT8),
    "blocks of 4": SparseDspChain(a=parse("uint8"), b=parse("int4"), length=8, block=4, vectors=3),
    "shorter than a block": SparseDspChain(a=parse("fixed<6,2>"), b=parse("int3"), length=4, block=8, vectors=1,
                                           smallest=2),
    "no whole power": SparseDspChain(a=INT8, b=INT8, length=12, block=4, smallest=2),
    "one N of two": SparseDspChain(a=parse("int8:narrow_range=true"), b=INT8, length=4, block=8, smallest=4),
    "dense": SparseDspChain(a=INT8, b=parse("uint2"), length=8, block=4, smallest=4),
    "wide": SparseDspChain(a=parse("int32"), b=parse("int28"), length=4, block=4),
    "dense floats": SparseDspChain(a=parse("e4m3"), b=parse("float4_e2m1fn"), length=4, block=2, smallest=2),
    "dense posits": SparseDspChain(a=parse("posit<8,1>"), b=INT8, length=2, block=2, smallest=2, vectors=1),
}


def random_inputs(model, count, seed):
    rng, inputs = np.random.default_rng(seed), {}
    for name, port in model.inputs.items():
        shape = (count,) if port.lanes is None else (count, port.lanes)
        inputs[name] = rng.integers(0, port.codes, shape, dtype=np.uint64)
        if port.format is not None:  # some transfers of extremes alone
            extremes = np.array([0, 1 << port.width - 1, (1 << port.width - 1) - 1], dtype=np.uint64)
            inputs[name][::4] = rng.choice(extremes, inputs[name][::4].shape)
    return inputs


@pytest.mark.parametrize("name", CASES)
def test_many_transfers_at_once_give_what_the_definition_gives(name):
    model = CASES[name]
    inputs = random_inputs(model, 60, 1)
    want = model.results({field: codes[index].tolist() for field, codes in inputs.items()} for index in range(60))
    got = model.evaluate(inputs)["o"]
    assert got.tolist() == want
    run = model.start(60)
    accepted = np.arange(60) % 3 > 0
    (produced, outputs), = run.accept(inputs, accepted)
    run.reset(accepted)
    np.testing.assert_array_equal(produced, accepted)
    assert outputs["o"][accepted].tolist() == [codes for codes, taken in zip(want, accepted, strict=True) if taken]


@pytest.mark.parametrize("kept", [1, 2, 4, 8, 16])
def test_results_are_sums_of_products_with_the_activations_that_the_indices_name(kept):
    model, rng = CASES["int8"], np.random.default_rng(kept)
    activations, weights = rng.integers(-128, 128, 32), rng.integers(-128, 128, 16)
    indices = rng.integers(0, 16, 16)
    codes, = model.results([{"activations": (activations % 256).tolist(), "weights": (weights % 256).tolist(),
                             "indices": indices.tolist(), "density": model.density(kept)}])
    want = np.zeros((2, 16), dtype=int)
    for vector in range(2):
        for place in range(16):  # the result stands where its last weight does
            want[vector, place // kept * kept + kept - 1] += weights[place] * activations[vector * 16 + indices[place]]
    got = [FixedPointFormat(width=20).integer(code) for code in codes]
    assert got == want.ravel().tolist()
    assert [lane for lane in range(16) if lane % kept == kept - 1] == list(model.result_lanes(kept))


def test_the_densest_transfer_is_a_matrix_product():
    model, rng = CASES["int8"], np.random.default_rng(0)
    activations, weights = rng.integers(-128, 128, (2, 16)), rng.integers(-128, 128, 16)
    codes, = model.results([{"activations": (activations.ravel() % 256).tolist(), "weights": (weights % 256).tolist(),
                             "indices": list(range(16)), "density": 4}])
    assert [FixedPointFormat(width=20).integer(codes[lane]) for lane in (15, 31)] == (activations @ weights).tolist()


def test_dense_results_of_other_formats_are_exact_dot_products():
    model = CASES["dense floats"]
    transfer = {"activations": [0x38, 0x7E, 0xB8, 0x01], "weights": [2, 7, 15, 4]}
    dot = Dot(a=model.a, b=model.b, result=None, lanes=2)
    assert model.results([transfer]) == [[dot(transfer["activations"][v:v + 2], transfer["weights"][r:r + 2])
                                          for v in (0, 2) for r in (0, 2)]]


def test_fields():
    model = CASES["int8"]
    assert {name: (port.width, port.lanes, port.codes) for name, port in model.inputs.items()} == {
        "activations": (8, 32, 256), "weights": (8, 16, 256), "indices": (4, 16, 16), "density": (3, None, 5)}
    assert (model.outputs["o"].lanes, model.outputs["o"].format) == (32, FixedPointFormat(width=20))
    assert model.densities == (1, 2, 4, 8, 16)
    assert CASES["shorter than a block"].densities == (2, 4)
    assert CASES["no whole power"].densities == (2, 4)
    assert set(CASES["one N of two"].inputs) == {"activations", "weights", "indices"}
    assert set(CASES["dense"].inputs) == {"activations", "weights"}
    assert (CASES["dense"].lanes, CASES["int8"].lanes) == (2, 16)
    assert CASES["one N of two"].outputs["o"].width == 18  # -128 is counted


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": "int8"}, TypeError, "Activation format must be a scalar format, as sw.formats.parse('int8') gives, not "
                               "'int8'"),
    ({"b": None}, TypeError, "Weight format must be a scalar format"),
    ({"length": 0}, ValueError, "Chain length must be between 1 and 256, not 0"),
    ({"length": 257}, ValueError, "Chain length must be between 1 and 256, not 257"),
    ({"length": 24}, ValueError, "Chain length must be a whole multiple of the block, 16, or a power of two below it, "
                                 "not 24"),
    ({"length": 6}, ValueError, "Chain length must be a whole multiple of the block, 16, or a power of two below it, "
                                "not 6"),
    ({"vectors": 9}, ValueError, "Vectors must be between 1 and 8, not 9"),
    ({"vectors": 2.0}, TypeError, "Vectors must be an integer, not 2.0"),
    ({"block": 12}, ValueError, "Block must be a power of two between 2 and 64 activations, not 12"),
    ({"block": 1}, ValueError, "Block must be a power of two between 2 and 64 activations, not 1"),
    ({"block": None}, TypeError, "Block must be an integer, not None"),
    ({"smallest": 3}, ValueError, "Smallest N must be a power of two between 1 and 16, not 3"),
    ({"length": 4, "smallest": 8}, ValueError, "Smallest N must be a power of two between 1 and 4, not 8"),
    ({"smallest": True}, TypeError, "Smallest N must be an integer, not True"),
    ({"a": parse("e4m3")}, ValueError, "Smallest N must be the whole block, 16, for float8_e4m3fn and int8, which are "
                                       "multiplied in the dense form only, not 1"),
    ({"a": parse("int32"), "b": parse("int32")}, ValueError,
     "Results must have at most 64 bits, not the 68 that 16 products of int32 and int32 take"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SparseDspChain(**{"a": INT8, "b": INT8, **fields})


def test_wrong_n():
    with pytest.raises(ValueError, match="N must be one of 1, 2, 4, 8, 16, not 3"):
        CASES["int8"].density(3)
    with pytest.raises(ValueError, match="N must be one of 2, 4, not 1"):
        CASES["no whole power"].result_lanes(1)
