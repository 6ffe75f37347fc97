"""Matrices of N:M sparse weights on their way through a chain of multipliers, and how busy these are."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat
from sw.reference.model import Codes, Port
from sw.reference.sparse_chain import SparseDspChain
from sw.reference.value_array import decode_array, to_integers

Kept: TypeAlias = int | NDArray[np.int64]
"""The N of every block of a matrix of weights, or of each of its tiles."""


def pack_weights(model: SparseDspChain, weights: Codes, mask: NDArray[np.bool_], kept: int) -> tuple[Codes, Codes]:
    """Return the weights that a mask keeps, and the index of each in its block.

    Parameters
    ----------
    model : SparseDspChain
    weights : integer array, (rows, columns)
        Codes of ``b``.
    mask : bool array of that shape
        Which of them are kept: of each ``block`` side by side, ``kept`` at most.
    kept : int
        The N of N:M.

    Returns
    -------
    codes and indices : integer arrays, (rows, columns / block, kept)
        Where fewer are kept, weights of code 0 with the index 0 follow; where N is ``block``, each stays in its place.

    Raises
    ------
    TypeError, ValueError
        If the codes or shapes do not fit, this chain has no such N, or the mask keeps more.
    """
    model.density(kept)
    _check_weights(model, weights, mask)
    _check_kept(model, mask, kept)
    blocks = mask.reshape(len(mask), -1, model.block)
    if kept == model.block:
        codes = np.where(blocks, weights.reshape(blocks.shape), 0)
        return codes.astype(np.uint64), np.broadcast_to(np.arange(kept, dtype=np.uint64), blocks.shape)
    order = np.argsort(~blocks, axis=2, kind="stable")[:, :, :kept]
    present = np.arange(kept) < blocks.sum(axis=2)[:, :, None]
    codes = np.take_along_axis(weights.reshape(blocks.shape), order, axis=2)
    return np.where(present, codes, 0).astype(np.uint64), np.where(present, order, 0).astype(np.uint64)


def _check_weights(model: SparseDspChain, weights: Codes, mask: NDArray[np.bool_]) -> None:
    if weights.ndim != 2 or not weights.size or weights.shape[1] % model.block:
        raise ValueError(f"Weights must be a matrix with a whole multiple of {model.block} columns, "
                         f"not of shape {weights.shape}")
    if mask.shape != weights.shape or mask.dtype != np.bool_:
        raise ValueError(f"Mask must be an array of bool of shape {weights.shape}, "
                         f"not of {mask.dtype} of shape {mask.shape}")
    Port.of(model.b, weights.shape[1]).check("Weights", weights)


def _check_kept(model: SparseDspChain, mask: NDArray[np.bool_], kept: int, row: int = 0, column: int = 0) -> None:
    """Refuse a mask that keeps too much; ``row`` and ``column`` say where in the whole matrix it begins."""
    counts = mask.reshape(len(mask), -1, model.block).sum(axis=2)
    if counts.max() > kept:
        y, block = np.argwhere(counts > kept)[0].tolist()
        first = column + block * model.block
        raise ValueError(f"Mask must keep at most {kept} of each {model.block} weights, not {counts[y, block]} of "
                         f"those in row {row + y}, columns {first} to {first + model.block - 1}; a larger N keeps more")


def tiles(model: SparseDspChain, shape: tuple[int, int], kept: Kept) -> list[tuple[int, int, int]]:
    """Return the steps in which a matrix of weights goes through the chain: first row, block of columns, and N.

    Parameters
    ----------
    model : SparseDspChain
    shape : (rows, columns)
    kept : int or integer array, (rows / lanes, columns / block)
        The N of every block, or of each tile of ``lanes`` rows and ``block`` columns: 0 for a tile of which nothing
        is kept, and which takes no step.

    Raises
    ------
    ValueError
        If the matrix is not a whole number of such steps, or this chain has no such N.
    """
    rows, columns = shape
    if columns < 1 or columns % model.block:
        raise ValueError(f"Columns must be a whole multiple of the block, {model.block}, not {columns!r}")
    height = model.lanes
    if not isinstance(kept, np.ndarray):
        model.density(kept)
        height = model.length // kept
        kept = np.full((max(1, rows // height), columns // model.block), kept)
    if rows < 1 or rows % height:
        raise ValueError(f"Rows must be a whole multiple of {height}, which go through the chain together, "
                         f"not {rows!r}")
    if kept.shape != (rows // height, columns // model.block):
        raise ValueError(f"Array of N must be of shape {(rows // height, columns // model.block)}, one for each "
                         f"{height} rows and {model.block} columns, not {kept.shape}")
    steps = []
    for tile, block in np.ndindex(*kept.shape):
        n = int(kept[tile, block])
        if n == 0:
            continue
        model.density(n)
        steps += [(row, block, n) for row in range(tile * height, (tile + 1) * height, model.length // n)]
    return steps


def matrix_transfers(model: SparseDspChain, activations: Codes, weights: Codes, mask: NDArray[np.bool_], kept: Kept
                     ) -> dict[str, Codes]:
    """Return the transfers that multiply a matrix: the steps of :func:`tiles` for each ``vectors`` columns.

    Parameters
    ----------
    model : SparseDspChain
    activations : integer array, (columns, samples)
        Codes of ``a``; ``samples`` is a whole multiple of ``vectors``.
    weights, mask : arrays, (rows, columns)
        As for :func:`pack_weights`.
    kept : int or integer array
        As for :func:`tiles`.

    Raises
    ------
    TypeError, ValueError
        If the codes or shapes do not fit, or the mask keeps more than N of a block.
    """
    _check_weights(model, weights, mask)
    steps = tiles(model, weights.shape, kept)
    samples = activations.shape[1] if activations.ndim == 2 else 0
    if activations.shape != (weights.shape[1], samples) or not samples or samples % model.vectors:
        raise ValueError(f"Activations must be of shape ({weights.shape[1]}, samples) with a whole multiple of "
                         f"{model.vectors} samples, not {activations.shape}")
    Port.of(model.a, samples).check("Activations", activations)
    for tile, block in np.argwhere(kept == 0).tolist() if isinstance(kept, np.ndarray) else ():
        row, column = tile * model.lanes, block * model.block
        _check_kept(model, mask[row:row + model.lanes, column:column + model.block], 0, row, column)
    fields: dict[str, list[Codes]] = {name: [] for name in model.inputs}
    for sample in range(0, samples, model.vectors):
        for row, block, n in steps:
            rows, columns = slice(row, row + model.length // n), slice(block * model.block, (block + 1) * model.block)
            _check_kept(model, mask[rows, columns], n, rows.start, columns.start)
            codes, indices = pack_weights(model, weights[rows, columns], mask[rows, columns], n)
            values = {"activations": activations[columns, sample:sample + model.vectors].T.reshape(-1),
                      "weights": codes.reshape(-1), "indices": indices.reshape(-1),
                      "density": np.array(model.density(n))}
            for name in fields:
                fields[name].append(values[name])
    return {name: np.array(fields[name], dtype=np.uint64).reshape(-1, *(() if port.lanes is None else (port.lanes,)))
            for name, port in model.inputs.items()}


def multiply(model: SparseDspChain, activations: Codes, weights: Codes, mask: NDArray[np.bool_], kept: Kept
             ) -> NDArray[Any]:
    """Return the product of masked weights and activations, for fixed-point formats.

    Its parameters are those of :func:`matrix_transfers`.

    Returns
    -------
    integer array, (rows, samples)
        In units of the last place of ``o``; the chain's results, summed over the blocks.

    Raises
    ------
    TypeError, ValueError
        As :func:`matrix_transfers`; if a format is not fixed point.
    """
    result = model.outputs["o"].format
    if not isinstance(result, FixedPointFormat):
        raise TypeError(f"Formats must be fixed point to be summed as integers, not {model.a.name} and "
                        f"{model.b.name}")
    inputs = matrix_transfers(model, activations, weights, mask, kept)
    codes = model.evaluate(inputs)["o"].reshape(-1, model.vectors, model.lanes)
    integers = to_integers(decode_array(result, codes.reshape(-1)), -result.fraction_bits).reshape(codes.shape)
    total = np.zeros((len(weights), activations.shape[1]), dtype=object)
    steps = tiles(model, weights.shape, kept)
    for number, integer in enumerate(integers):
        row, _, n = steps[number % len(steps)]
        sample = number // len(steps) * model.vectors
        total[row:row + model.length // n, sample:sample + model.vectors] += integer[:, list(model.result_lanes(n))].T
    return total


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """How many multiplications by kept weights a chain makes of those that it has room for.

    Parameters
    ----------
    multiplications : int
        By weights that are kept.
    cycles : int
        In which the chain takes the matrix, one transfer each.
    fixed_cycles : int
        Those of a chain of the same length that multiplies by the zeros too.
    lanes : int
        Multiplications a cycle that there is room for.
    """

    multiplications: int
    cycles: int
    fixed_cycles: int
    lanes: int

    @property
    def share(self) -> Fraction:
        """Of the chain's multiplications, those by kept weights: 1 if every multiplier always has one."""
        return Fraction(self.multiplications, self.cycles * self.lanes)

    @property
    def fixed_share(self) -> Fraction:
        """The same of the chain that multiplies by the zeros too."""
        return Fraction(self.multiplications, self.fixed_cycles * self.lanes)


def occupancy(model: SparseDspChain, mask: NDArray[np.bool_], kept: Kept) -> Occupancy:
    """Count what the multipliers of a chain do in the cycles of one matrix of weights.

    Parameters
    ----------
    model : SparseDspChain
    mask : bool array, (rows, columns)
        Which weights are kept.
    kept : int or integer array
        As for :func:`tiles`.

    Raises
    ------
    TypeError, ValueError
        As :func:`matrix_transfers`.
    """
    activations = np.zeros((mask.shape[-1], model.vectors), dtype=np.uint64)
    transfers = matrix_transfers(model, activations, mask.astype(np.uint64), mask, kept)["weights"]
    return Occupancy(multiplications=model.vectors * int(np.count_nonzero(transfers)), cycles=len(transfers),
                     fixed_cycles=-(-mask.size // model.length), lanes=model.vectors * model.length)
