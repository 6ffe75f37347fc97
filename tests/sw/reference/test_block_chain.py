"""Chains of block dot products: many transfers at once against the definition, and that against single dot products."""

import re

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, parse, parse_block
from sw.reference.block import BlockDot
from sw.reference.block_chain import BlockChain

MXFP4, MXFP8 = parse_block("mxfp4:block_size=4"), parse_block("mxfp8_e4m3:block_size=4")
CASES = [
    BlockChain(a=MXFP8, b=MXFP4, length=8), BlockChain(a=MXFP4, b=MXFP4, length=4, vectors=1),
    BlockChain(a=parse_block("mxint8:block_size=2"), b=parse_block("mxfp4:block_size=2"), length=6, vectors=3,
               result=parse("bfloat16"), rounding=RoundingMode.TOWARD_ZERO),
    BlockChain(a=parse_block("nvfp4:block_size=2"), b=parse_block("nvfp4:block_size=2"), length=2,
               result=parse("e5m2"), overflow=OverflowPolicy.INFINITY),
]


@pytest.mark.parametrize("model", CASES, ids=lambda model: f"{model.a.name}, {model.b.name}")
def test_results_are_the_dot_products_of_each_pair_of_blocks(model):
    rng, count, size = np.random.default_rng(1), 40, model.a.block_size
    inputs = {name: rng.integers(0, port.codes, (count, port.lanes)).astype(np.uint64)
              for name, port in model.inputs.items()}
    inputs["activation_scales"][::2], inputs["weight_scales"][::3] = 120, 130 % model.inputs["weight_scales"].codes
    got = model.evaluate(inputs)["o"].tolist()
    assert got == model.results({name: codes[row].tolist() for name, codes in inputs.items()} for row in range(count))
    dot = BlockDot(a=model.a, b=model.b, result=model.result, rounding=model.rounding, overflow=model.overflow)
    vector, block = model.vectors - 1, model.blocks - 1
    single = dot.evaluate({"a": inputs["activations"][:, vector * size:(vector + 1) * size],
                           "b": inputs["weights"][:, block * size:(block + 1) * size],
                           "a_scale": inputs["activation_scales"][:, vector],
                           "b_scale": inputs["weight_scales"][:, block]})
    assert [codes[vector * model.blocks + block] for codes in got] == single["o"].tolist()
    run, accepted = model.start(count), np.arange(count) % 2 == 0
    (produced, outputs), = run.accept(inputs, accepted)
    np.testing.assert_array_equal(produced, accepted)
    assert outputs["o"][accepted].tolist() == got[::2]
    run.reset(accepted)
    assert not run.accept(inputs, np.zeros(count, dtype=bool))


def test_fields():
    assert {name: port.lanes for name, port in CASES[0].inputs.items()} == {
        "activations": 8, "weights": 8, "activation_scales": 2, "weight_scales": 2}
    assert (CASES[0].blocks, CASES[0].outputs["o"].lanes, CASES[0].outputs["o"].width) == (2, 4, 32)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"length": 6}, ValueError, "Chain length must be a whole multiple of the block size, 4, not 6"),
    ({"length": 260}, ValueError, "Chain length must be between 1 and 256, not 260"),
    ({"length": 4.0}, TypeError, "Chain length must be an integer, not 4.0"),
    ({"vectors": 0}, ValueError, "Vectors must be between 1 and 8, not 0"),
    ({"a": parse("e4m3")}, TypeError, "Format of operand a must be a BlockFormat"),
    ({"b": parse_block("mxfp4")}, ValueError, "Block sizes must be equal, not 4 of"),
    ({"rounding": RoundingMode.STOCHASTIC}, ValueError,
     "Rounding mode must take no random bits in a chain, whose transfers have none, not RoundingMode.STOCHASTIC"),
])
def test_wrong_parameters(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        BlockChain(**{"a": MXFP4, "b": MXFP4, "length": 8, **fields})
