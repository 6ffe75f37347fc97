"""A chain of multipliers that skips the zeros of N:M sparse weights: the fewer kept, the more dot products at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from sw.formats import FixedPointFormat, ScalarFormat
from sw.formats.check import check_integer
from sw.reference.dot import Dot
from sw.reference.memoryless import MemorylessRun
from sw.reference.model import Codes, Port, check_inputs
from sw.reference.value_array import decode_array, to_integers

MAX_LENGTH = 256
"""Most multipliers of a chain."""

MAX_BLOCK = 64
"""Most activations of a block: beyond any N:M sparsity in use, and what a multiplexer would still be built for."""

MAX_VECTORS = 8
"""Most vectors of activations that share the weights."""

MAX_WIDTH = 64
"""Widest result of fixed-point formats, in bits: that of such a format."""

_WORD_BITS = 62


@dataclass(frozen=True, kw_only=True)
class SparseDspChain:
    """Dot products of blocks of ``block`` activations with weights of which N are kept, N chosen at each transfer.

    A transfer brings one block of activations, for each of ``vectors`` vectors, and ``length`` weights, each with the
    index of the activation that it belongs to. N weights after each other are those of one result, so that a transfer
    makes ``length / N`` results of each vector, and no multiplier is idle whatever N is:
    ``result[v, r] = sum(weights[r * N + j] * activations[v * block + indices[r * N + j]] for j in range(N))``.
    With N equal to ``block`` and the indices 0, 1, 2, ... that is the dense dot product.

    Results are exact. Each stands in the lane of its last weight, for a chain hands its sums on from multiplier to
    multiplier; the lanes between them are zero. See :meth:`result_lanes`.

    Formats other than fixed point are multiplied in the dense form alone, where ``smallest`` is ``block``; their
    results are the exact sums of :class:`sw.reference.dot.Dot`.

    Parameters
    ----------
    a : ScalarFormat
        Of the activations.
    b : ScalarFormat
        Of the weights.
    length : int
        Multipliers, each of which has a lane for every vector: a whole multiple of ``block``, or a power of two below
        it.
    block : int
        The M of N:M: a power of two, 2 to 64.
    vectors : int
        Vectors of activations that share the weights: 1 to 8.
    smallest : int
        Least N: a power of two, up to ``length`` and ``block``. With that of ``block``, the chain is dense, and there
        are no indices.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a number is out of range, the length does not suit the block, or a format that is not fixed point is asked
        for anything but the dense form.

    Source: FlightLLM (arXiv 2401.03868), section 3, the configurable sparse DSP chain, where N is constant inside a
    block of the weight matrix and varies between blocks; the lanes of results are ours.
    """

    a: ScalarFormat
    b: ScalarFormat
    length: int = 16
    block: int = 16
    vectors: int = 2
    smallest: int = 1

    def __post_init__(self) -> None:
        for noun, fmt in (("Activation format", self.a), ("Weight format", self.b)):
            if not isinstance(fmt, ScalarFormat):
                raise TypeError(f"{noun} must be a scalar format, as sw.formats.parse('int8') gives, not {fmt!r}")
        for noun, number, limit in (("Chain length", self.length, MAX_LENGTH), ("Vectors", self.vectors, MAX_VECTORS)):
            check_integer(noun, number)
            if not 1 <= number <= limit:
                raise ValueError(f"{noun} must be between 1 and {limit}, not {number!r}")
        check_integer("Block", self.block)
        if not (2 <= self.block <= MAX_BLOCK and _is_power(self.block)):
            raise ValueError(f"Block must be a power of two between 2 and {MAX_BLOCK} activations, not {self.block!r}")
        if self.length % self.largest or not _is_power(self.largest):
            raise ValueError(f"Chain length must be a whole multiple of the block, {self.block}, or a power of two "
                             f"below it, not {self.length!r}")
        check_integer("Smallest N", self.smallest)
        if not (1 <= self.smallest <= self.largest and _is_power(self.smallest)):
            raise ValueError(f"Smallest N must be a power of two between 1 and {self.largest}, not {self.smallest!r}")
        if not self.is_dense and not self.is_fixed_point:
            raise ValueError(f"Smallest N must be the whole block, {self.block}, for {self.a.name} and {self.b.name}, "
                             f"which are multiplied in the dense form only, not {self.smallest!r}")
        if self.is_fixed_point and self.dot.sum_grid.width > MAX_WIDTH:
            raise ValueError(f"Results must have at most {MAX_WIDTH} bits, not the {self.dot.sum_grid.width} that "
                             f"{self.largest} products of {self.a.name} and {self.b.name} take")

    @property
    def is_fixed_point(self) -> bool:
        """Whether both formats are."""
        return isinstance(self.a, FixedPointFormat) and isinstance(self.b, FixedPointFormat)

    @property
    def is_dense(self) -> bool:
        """Whether every weight of a block is kept always, so that there are no indices."""
        return self.smallest == self.block

    @property
    def largest(self) -> int:
        """Greatest N."""
        return min(self.block, self.length)

    @property
    def densities(self) -> tuple[int, ...]:
        """Every N that a transfer may ask for, in the order of the codes of its field ``density``."""
        return tuple(self.smallest << step for step in range((self.largest // self.smallest).bit_length()))

    @property
    def lanes(self) -> int:
        """Lanes for the results of one vector: as many as the smallest N makes."""
        return self.length // self.smallest

    def result_lanes(self, kept: int) -> range:
        """Return the lanes in which the results of one vector stand where N is ``kept``; see also :meth:`density`.

        The lanes of vector v begin at ``v * lanes``.
        """
        self.density(kept)
        step = kept // self.smallest
        return range(step - 1, self.lanes, step)

    def density(self, kept: int) -> int:
        """Return the code of ``kept`` in the field ``density``: how often the smallest N is doubled.

        Raises
        ------
        ValueError
            If this chain has no such N.
        """
        if kept not in self.densities:
            raise ValueError(f"N must be one of {', '.join(map(str, self.densities))}, not {kept!r}")
        return self.densities.index(kept)

    @cached_property
    def dot(self) -> Dot:
        """The dot product of the longest result, by whose grid all results are coded."""
        a, b = (replace(fmt, narrow_range=False) if isinstance(fmt, FixedPointFormat) else fmt
                for fmt in (self.a, self.b))  # products of every code, those that a narrow range leaves out too
        return Dot(a=a, b=b, result=None, lanes=self.largest)

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``activations`` by vector, ``weights``; ``indices`` unless dense, ``density`` unless there is one N."""
        ports = {"activations": Port.of(self.a, self.vectors * self.block), "weights": Port.of(self.b, self.length)}
        if not self.is_dense:
            ports["indices"] = Port(width=self.block.bit_length() - 1, lanes=self.length)
        if len(self.densities) > 1:
            choices = len(self.densities)
            ports["density"] = Port(width=(choices - 1).bit_length(), limit=choices)
        return ports

    @property
    def outputs(self) -> Mapping[str, Port]:
        """``o``: the lanes of results, vector by vector."""
        lanes, width, exponent = self.vectors * self.lanes, self.dot.sum_grid.width, self.dot.sum_exponent
        if not self.is_fixed_point:
            return {"o": Port(width=width, lanes=lanes)}
        return {"o": Port.of(FixedPointFormat(width=width, fraction_bits=-exponent), lanes)}

    # The definition, one transfer at a time.

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
        """Return the codes of all lanes for each of some transfers.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to a sequence of codes; to a code for ``density``.
        """
        answers = []
        for transfer in transfers:
            kept, codes = self.densities[transfer.get("density", 0)], [0] * (self.vectors * self.lanes)
            for vector in range(self.vectors):
                block = transfer["activations"][vector * self.block:(vector + 1) * self.block]
                for result, lane in enumerate(self.result_lanes(kept)):
                    places = range(result * kept, (result + 1) * kept)
                    indices = [place % self.block if self.is_dense else transfer["indices"][place] for place in places]
                    codes[vector * self.lanes + lane] = self._code(
                        [block[index] for index in indices], [transfer["weights"][place] for place in places])
            answers.append(codes)
        return answers

    def _code(self, activations: Sequence[int], weights: Sequence[int]) -> int:
        """Return the code of one result."""
        if not self.is_fixed_point:
            return self.dot(activations, weights)
        total = Fraction(0)
        for x, y in zip(activations, weights, strict=True):
            a, b = self.a.decode(x), self.b.decode(y)
            assert isinstance(a, Fraction)
            assert isinstance(b, Fraction)
            total += a * b
        fmt = self.outputs["o"].format
        assert fmt is not None
        return fmt.encode(total)

    # The same for many sequences at once.

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
        count = check_inputs(self.inputs, inputs)
        activations = inputs["activations"].reshape(count, self.vectors, self.block)
        if self.is_dense:
            selected = np.tile(activations, self.length // self.block)
        else:
            selected = np.take_along_axis(activations, inputs["indices"].astype(np.int64)[:, None, :], axis=2)
        codes = np.zeros((count, self.vectors, self.lanes),
                         dtype=np.uint64 if self.outputs["o"].width <= 64 else object)
        density = inputs["density"] if "density" in inputs else np.zeros(count, dtype=np.uint64)
        for code, kept in enumerate(self.densities):
            rows = np.flatnonzero(density == code)
            if len(rows):
                weights = np.broadcast_to(inputs["weights"][rows, None, :], selected[rows].shape)
                codes[rows[:, None], :, list(self.result_lanes(kept))] = np.moveaxis(
                    self._codes(selected[rows], weights, kept), 2, 1)
        return {"o": codes.reshape(count, self.vectors * self.lanes)}

    def _codes(self, activations: Codes, weights: Codes, kept: int) -> Codes:
        """Return the codes of the sums of each ``kept`` products along the last axis."""
        shape = (*activations.shape[:-1], -1)
        if not self.is_fixed_point:
            return self.dot.evaluate({"a": activations.reshape(-1, kept),
                                      "b": weights.reshape(-1, kept)})["o"].reshape(shape)
        width = self.outputs["o"].width
        kind = np.int64 if width <= _WORD_BITS else object
        x, y = (to_integers(decode_array(fmt, operand.reshape(-1)), -fmt.fraction_bits).astype(kind)
                for fmt, operand in ((self.a, activations), (self.b, weights))
                if isinstance(fmt, FixedPointFormat))
        sums = (x * y).reshape(-1, kept).sum(axis=1) & ((1 << width) - 1)
        codes: Codes = sums.astype(np.uint64).reshape(shape)
        return codes


def _is_power(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
