"""Chains of dot products of blocks with shared scales: several vectors against several blocks of weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sw.formats import BlockFormat, OverflowPolicy, RoundingMode, ScalarFormat
from sw.formats.check import check_integer
from sw.reference.block import FLOAT32, BlockDot
from sw.reference.memoryless import MemorylessRun
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.sparse_chain import MAX_LENGTH, MAX_VECTORS


@dataclass(frozen=True, kw_only=True)
class BlockChain:
    """Exact dot products of one block of each of ``vectors`` vectors with ``length / block size`` blocks of weights.

    The dense form of :class:`sw.reference.sparse_chain.SparseDspChain` for block formats, whose shared scales come
    with each transfer. A result is what :class:`sw.reference.block.BlockDot` makes of its two blocks: the exact sum
    of their elements' products, times both scales, rounded once.

    Parameters
    ----------
    a, b : BlockFormat
        Of activations and weights, of the same block size.
    result : ScalarFormat
        float32 by default.
    length : int
        Elements of weights in a transfer: a whole multiple of the block size, at most 256.
    vectors : int
        Vectors of activations that share the weights: 1 to 8.
    rounding : RoundingMode
        None that takes random bits.
    overflow : OverflowPolicy

    Raises
    ------
    TypeError, ValueError
        As :class:`sw.reference.block.BlockDot` does; if the length or the vectors are no integer or out of range, or
        the rounding is stochastic.
    """

    a: BlockFormat
    b: BlockFormat
    result: ScalarFormat = FLOAT32
    length: int = 32
    vectors: int = 2
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE

    def __post_init__(self) -> None:
        if self.rounding is RoundingMode.STOCHASTIC:
            raise ValueError("Rounding mode must take no random bits in a chain, whose transfers have none, "
                             f"not {self.rounding}")
        _ = self.dot  # refuses what does not suit it
        for noun, number, limit in (("Chain length", self.length, MAX_LENGTH), ("Vectors", self.vectors, MAX_VECTORS)):
            check_integer(noun, number)
            if not 1 <= number <= limit:
                raise ValueError(f"{noun} must be between 1 and {limit}, not {number!r}")
        if self.length % self.a.block_size:
            raise ValueError(f"Chain length must be a whole multiple of the block size, {self.a.block_size}, "
                             f"not {self.length!r}")

    @cached_property
    def dot(self) -> BlockDot:
        """What makes one result."""
        return BlockDot(a=self.a, b=self.b, result=self.result, rounding=self.rounding, overflow=self.overflow)

    @property
    def blocks(self) -> int:
        """Blocks of weights in a transfer, and results of one vector."""
        return self.length // self.a.block_size

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``activations`` vector by vector, ``weights`` block by block, and a scale for each vector and block."""
        return {"activations": Port.of(self.a.element, self.vectors * self.a.block_size),
                "weights": Port.of(self.b.element, self.length),
                "activation_scales": Port.of(self.a.scale, self.vectors),
                "weight_scales": Port.of(self.b.scale, self.blocks)}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """``o``: the results, vector by vector."""
        return {"o": Port.of(self.result, self.vectors * self.blocks)}

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
        """Return the codes of all results for each of some transfers, by the definition.

        Parameters
        ----------
        transfers : iterable of mapping of field name to a sequence of codes
        """
        size, answers = self.a.block_size, []
        for transfer in transfers:
            codes = []
            for vector in range(self.vectors):
                for block in range(self.blocks):
                    codes.append(self.dot(
                        transfer["activations"][vector * size:(vector + 1) * size],
                        transfer["weights"][block * size:(block + 1) * size],
                        transfer["activation_scales"][vector], transfer["weight_scales"][block]))
            answers.append(codes)
        return answers

    def start(self, sequences: int) -> MemorylessRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return MemorylessRun(self, sequences)

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the results of each of many transfers.

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        count, size = check_inputs(self.inputs, inputs), self.a.block_size
        pairs = (count, self.vectors, self.blocks)
        a = inputs["activations"].reshape(count, self.vectors, 1, size)
        b = inputs["weights"].reshape(count, 1, self.blocks, size)
        fields = {"a": np.broadcast_to(a, (*pairs, size)).reshape(-1, size),
                  "b": np.broadcast_to(b, (*pairs, size)).reshape(-1, size),
                  "a_scale": np.broadcast_to(inputs["activation_scales"][:, :, None], pairs).reshape(-1),
                  "b_scale": np.broadcast_to(inputs["weight_scales"][:, None, :], pairs).reshape(-1)}
        return {"o": self.dot.evaluate(fields)["o"].reshape(count, self.vectors * self.blocks)}
