"""N:M sparse matrices through a chain: numpy's matrix product, packed weights, and busy multipliers."""

import re
from fractions import Fraction

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.sparse_chain import SparseDspChain
from sw.reference.sparse_matrix import matrix_transfers, multiply, occupancy, pack_weights, tiles

INT8 = parse("int8")
CHAIN = SparseDspChain(a=INT8, b=INT8)


def random_mask(rng, rows, columns, block, kept):
    """A mask that keeps ``kept`` of each block."""
    order = np.argsort(rng.random((rows, columns // block, block)), axis=2)
    return (order < kept).reshape(rows, columns)


def codes(integers):
    return (integers % 256).astype(np.uint64)


@pytest.mark.parametrize(("length", "block", "smallest", "kept"), [
    *((16, 16, 1, kept) for kept in (1, 2, 4, 8, 16)), *((8, 4, 1, kept) for kept in (1, 2, 4)),
    (4, 8, 2, 4), (8, 8, 4, 4), (4, 4, 4, 4)])
def test_products_are_numpy_s(length, block, smallest, kept):
    model = SparseDspChain(a=INT8, b=INT8, length=length, block=block, smallest=smallest)
    rng = np.random.default_rng([length, block, kept])
    weights, activations = rng.integers(-128, 128, (16, 32)), rng.integers(-128, 128, (32, 4))
    mask = random_mask(rng, 16, 32, block, kept)
    product = multiply(model, codes(activations), codes(weights), mask, kept)
    np.testing.assert_array_equal(product, (weights * mask) @ activations)
    busy = occupancy(model, mask, kept)
    assert (busy.share, busy.fixed_share) == (1, Fraction(kept, block))
    assert busy.cycles == 16 * 32 * kept // block // length
    assert len(matrix_transfers(model, codes(activations), codes(weights), mask, kept)["weights"]) == 2 * busy.cycles


def test_n_may_differ_from_tile_to_tile():
    rng = np.random.default_rng(2)
    kept = np.array([[1, 16, 0], [4, 2, 8]])
    mask = np.block([[random_mask(rng, 16, 16, 16, n) for n in row] for row in kept])
    weights, activations = rng.integers(-128, 128, (32, 48)), rng.integers(-128, 128, (48, 2))
    product = multiply(CHAIN, codes(activations), codes(weights), mask, kept)
    np.testing.assert_array_equal(product, (weights * mask) @ activations)
    busy = occupancy(CHAIN, mask, kept)
    assert busy.share == 1
    assert (busy.cycles, busy.fixed_cycles) == (1 + 16 + 0 + 4 + 2 + 8, 96)
    assert busy.fixed_share == Fraction(31, 96)


def test_blocks_that_keep_less_leave_multipliers_idle():
    mask = np.zeros((4, 16), dtype=bool)
    mask[:, 3] = True
    assert occupancy(CHAIN, mask, 4).share == Fraction(1, 4)
    assert occupancy(CHAIN, np.zeros((16, 16), dtype=bool), np.array([[0]])).cycles == 0


def test_an_empty_matrix_takes_no_transfer_and_is_zero():
    zero = np.zeros((16, 16), dtype=bool)
    product = multiply(CHAIN, codes(np.full((16, 2), 5)), codes(np.full((16, 16), 3)), zero, np.array([[0]]))
    assert not product.any()


def test_packed_weights_read_back():
    rng = np.random.default_rng(4)
    weights, mask = rng.integers(0, 256, (6, 32)).astype(np.uint64), random_mask(rng, 6, 32, 16, 4)
    mask[2, :16] = False  # a block that keeps nothing
    mask[3, np.flatnonzero(mask[3])[0]] = False  # one that keeps three
    packed, indices = pack_weights(CHAIN, weights, mask, 4)
    assert packed.shape == indices.shape == (6, 2, 4)
    restored = np.zeros((6, 2, 16), dtype=np.uint64)
    for place in np.ndindex(packed.shape):
        restored[(*place[:2], int(indices[place]))] += packed[place]
    np.testing.assert_array_equal(restored.reshape(6, 32), np.where(mask, weights, 0))
    assert (np.diff(indices[[0, 1, 4, 5]].astype(int), axis=2) > 0).all()


def test_dense_weights_stay_in_their_places():
    mask = np.arange(16).reshape(1, 16) % 3 > 0
    packed, indices = pack_weights(CHAIN, np.full((1, 16), 7, dtype=np.uint64), mask, 16)
    assert indices.ravel().tolist() == list(range(16))
    assert packed.ravel().tolist() == (7 * mask.ravel()).tolist()


WEIGHTS, FULL = np.zeros((4, 32), dtype=np.uint64), np.ones((4, 32), dtype=bool)
SPARSE = random_mask(np.random.default_rng(0), 4, 32, 16, 4)
CROWDED = SPARSE.copy()
CROWDED[2, 16:] = True


@pytest.mark.parametrize(("weights", "mask", "kept", "error", "message"), [
    (WEIGHTS, CROWDED, 4, ValueError, "Mask must keep at most 4 of each 16 weights, not 16 of those in row 2, columns "
                                      "16 to 31; a larger N keeps more"),
    (WEIGHTS, SPARSE, 3, ValueError, "N must be one of 1, 2, 4, 8, 16, not 3"),
    (WEIGHTS[:, :24], SPARSE[:, :24], 4, ValueError,
     "Weights must be a matrix with a whole multiple of 16 columns, not of shape (4, 24)"),
    (WEIGHTS[0], SPARSE[0], 4, ValueError, "Weights must be a matrix with a whole multiple of 16 columns, not of shape "
                                           "(32,)"),
    (WEIGHTS[:0], SPARSE[:0], 4, ValueError, "Weights must be a matrix with a whole multiple of 16 columns, not of "
                                             "shape (0, 32)"),
    (WEIGHTS, SPARSE[:, :16], 4, ValueError, "Mask must be an array of bool of shape (4, 32), not of bool of shape "
                                             "(4, 16)"),
    (WEIGHTS, SPARSE.astype(np.int64), 4, ValueError,
     "Mask must be an array of bool of shape (4, 32), not of int64 of shape (4, 32)"),
    (WEIGHTS + 256, SPARSE, 4, ValueError, "Weights must be between 0 and 255, not 256 to 256"),
    (WEIGHTS - 0.5, SPARSE, 4, TypeError, "Weights must be an array of integers, not of float64"),
])
def test_pack_wrong(weights, mask, kept, error, message):
    with pytest.raises(error, match=re.escape(message)):
        pack_weights(CHAIN, weights, mask, kept)


@pytest.mark.parametrize(("shape", "kept", "message"), [
    ((16, 24), 4, "Columns must be a whole multiple of the block, 16, not 24"),
    ((16, 0), 4, "Columns must be a whole multiple of the block, 16, not 0"),
    ((6, 16), 4, "Rows must be a whole multiple of 4, which go through the chain together, not 6"),
    ((0, 16), 4, "Rows must be a whole multiple of 4, which go through the chain together, not 0"),
    ((24, 16), np.array([[4], [4]]), "Rows must be a whole multiple of 16, which go through the chain together, "
                                     "not 24"),
    ((32, 16), np.array([[4]]), "Array of N must be of shape (2, 1), one for each 16 rows and 16 columns, not (1, 1)"),
    ((16, 16), np.array([[5]]), "N must be one of 1, 2, 4, 8, 16, not 5"),
    ((16, 16), 0, "N must be one of 1, 2, 4, 8, 16, not 0"),
])
def test_tiles_wrong(shape, kept, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tiles(CHAIN, shape, kept)


@pytest.mark.parametrize(("activations", "mask", "kept", "message"), [
    (np.zeros((32, 3), dtype=int), SPARSE, 4, "Activations must be of shape (32, samples) with a whole multiple of 2 "
                                              "samples, not (32, 3)"),
    (np.zeros((16, 2), dtype=int), SPARSE, 4, "Activations must be of shape (32, samples)"),
    (np.zeros(32, dtype=int), SPARSE, 4, "with a whole multiple of 2 samples, not (32,)"),
    (np.zeros((32, 0), dtype=int), SPARSE, 4, "with a whole multiple of 2 samples, not (32, 0)"),
    (np.full((32, 2), 256), SPARSE, 4, "Activations must be between 0 and 255, not 256 to 256"),
    (np.zeros((32, 2), dtype=int), CROWDED, 4, "not 16 of those in row 2, columns 16 to 31"),
    (np.zeros((32, 2), dtype=int), FULL[:, :16], 4, "Mask must be an array of bool of shape (4, 32)"),
])
def test_transfers_wrong(activations, mask, kept, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        matrix_transfers(CHAIN, activations, WEIGHTS, mask, kept)


def test_a_tile_of_which_nothing_is_kept_must_be_empty():
    mask = np.zeros((16, 32), dtype=bool)
    mask[5, 20] = True
    with pytest.raises(ValueError, match=re.escape("Mask must keep at most 0 of each 16 weights, not 1 of those in "
                                                   "row 5, columns 16 to 31")):
        occupancy(CHAIN, mask, np.array([[1, 0]]))


def test_products_of_floats_wrong():
    model = SparseDspChain(a=parse("e4m3"), b=parse("e4m3"), length=4, block=4, smallest=4)
    with pytest.raises(TypeError, match="Formats must be fixed point to be summed as integers, not float8_e4m3fn and "
                                        "float8_e4m3fn"):
        multiply(model, np.zeros((4, 2), dtype=int), np.zeros((1, 4), dtype=int), np.ones((1, 4), dtype=bool), 4)
