"""Two-level accumulation in a narrow format: short sums of products, and a sum of those."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat, Value, is_zero
from sw.formats.check import check_integer
from sw.reference.accumulation import FLAG, AccumulatorRun, State
from sw.reference.add import total
from sw.reference.cast import Cast
from sw.reference.function import check_format
from sw.reference.lfsr import MAX_LFSR_WIDTH, MIN_LFSR_WIDTH, Lfsr
from sw.reference.model import Codes, Port, Run, check_inputs
from sw.reference.multiply import product
from sw.reference.value_array import ValueArray, add_arrays, decode_array, multiply_arrays

MAX_CHUNK = 1 << 30


@dataclass(frozen=True, kw_only=True)
class ChunkedMultiplyAccumulate:
    """Sums of products of a code of ``a`` and one of ``b``, accumulated chunk by chunk in a narrow format.

    For every pair, ``partial = round(partial + a * b)``: the product is exact, and each step rounds once. With the last
    pair of a chunk, ``total = round(total + partial)``, and the next pair starts from ``partial = 0``. The result is
    the total, to which an unfinished chunk is added in the same way, without ending it. So ``chunk=1`` is plain
    sequential accumulation (of products rounded once each), as is a chunk that is longer than the sum.

    Transfers are framed as :mod:`sw.reference.accumulation` says; ``first`` starts a chunk too. Special values and
    zeros follow the rules of IEEE 754 in every step: see :func:`sw.reference.total`.

    Parameters
    ----------
    a, b : ScalarFormat
    accumulator : ScalarFormat
        Format of ``partial`` and ``total``; it has a zero.
    chunk : int
        Pairs in a chunk, 1 to 2**30.
    result : ScalarFormat, optional
        Format of the result, which the total is rounded to once more. By default that of the accumulator.
    rounding : RoundingMode
        Of every rounding.
    overflow : OverflowPolicy
        Of the accumulator, and of the result if it is of another format.
    random_bits : int, bits
        How many random bits each stochastic rounding takes; 0 for every other mode. A transfer then brings ``random``
        for its own step, ``random_total`` for the total that it may complete, and ``random_result``, if the result is
        of another format, for that.
    lfsr_bits : int, bits, optional
        Width of a shift register (:class:`sw.reference.lfsr.Lfsr`) of the accumulator's own, from the lowest bits of
        which these come instead, in that order. It makes one step a transfer, and ``first`` leaves it alone.
    seed : int
        State of the shift register after a reset, above 0.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the chunk is out of range, the accumulator has no zero, the overflow policy does not apply to it or to the
        result, the random bits do not suit the rounding mode, or the shift register does not suit them.

    Source: Wang et al. 2018, Training Deep Neural Networks with 8-bit Floating Point Numbers, section 2.3.
    """

    a: ScalarFormat
    b: ScalarFormat
    accumulator: ScalarFormat
    chunk: int
    result: ScalarFormat | None = None
    rounding: RoundingMode = RoundingMode.NEAREST_EVEN
    overflow: OverflowPolicy = OverflowPolicy.SATURATE
    random_bits: int = 0
    lfsr_bits: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        for noun, fmt in (("Format a", self.a), ("Format b", self.b), ("Accumulator format", self.accumulator)):
            check_format(noun, fmt)
        if self.result is not None:
            check_format("Result format", self.result)
        check_integer("Chunk", self.chunk)
        if not 1 <= self.chunk <= MAX_CHUNK:
            raise ValueError(f"Chunk must be between 1 and {MAX_CHUNK} pairs, not {self.chunk!r}")
        _ = self.cast, self.result_cast  # refuse what does not suit their formats
        if not is_zero(self.accumulator.decode(self.zero_code)):
            raise ValueError("Accumulator format must have a zero, in which every sum starts, not "
                             f"{self.accumulator.name}")
        self._check_lfsr()

    def _check_lfsr(self) -> None:
        check_integer("LFSR seed", self.seed)
        if self.lfsr_bits is None:
            if self.seed != 1:
                raise ValueError(f"LFSR seed must be left out without LFSR bits, not {self.seed!r}")
            return
        check_integer("LFSR bits", self.lfsr_bits)
        lowest = max(len(self._random_ports) * self.random_bits, MIN_LFSR_WIDTH)
        if not self.random_bits:
            raise ValueError(f"LFSR bits must be left out for {self.rounding.value} rounding, not {self.lfsr_bits!r}")
        if not lowest <= self.lfsr_bits <= MAX_LFSR_WIDTH:
            raise ValueError(f"LFSR bits must be between {lowest} and {MAX_LFSR_WIDTH} for {len(self._random_ports)} "
                             f"times {self.random_bits} random bits, not {self.lfsr_bits!r}")
        _ = self.lfsr  # which checks the seed

    @cached_property
    def cast(self) -> Cast:
        """The rounding of every step to the accumulator's format."""
        return Cast(result=self.accumulator, rounding=self.rounding, overflow=self.overflow,
                    random_bits=self.random_bits)

    @cached_property
    def result_cast(self) -> Cast | None:
        """The rounding of the total to the result's format; None where that is the accumulator's."""
        if self.result is None or self.result == self.accumulator:
            return None
        return replace(self.cast, result=self.result)

    @cached_property
    def zero_code(self) -> int:
        """The accumulator's code of zero."""
        return self.accumulator.encode(0)

    @cached_property
    def lfsr(self) -> Lfsr | None:
        """The shift register that random bits come from; None where transfers bring them."""
        return None if self.lfsr_bits is None else Lfsr(width=self.lfsr_bits, seed=self.seed)

    @property
    def _random_ports(self) -> dict[str, Port]:
        names = ["random", "random_total"] + ["random_result"] * (self.result_cast is not None)
        return {name: Port(width=self.random_bits) for name in names} if self.random_bits else {}

    @property
    def step_ports(self) -> Mapping[str, Port]:
        """What a step takes: the pair ``a`` and ``b``, the flags ``first`` and ``last``, the bits of each rounding."""
        return {"a": Port.of(self.a), "b": Port.of(self.b), "first": FLAG, "last": FLAG, **self._random_ports}

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Fields of a transfer: :attr:`step_ports`, but for the random bits that a shift register gives."""
        return {name: port for name, port in self.step_ports.items()
                if self.lfsr is None or name not in self._random_ports}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """The result, ``o``."""
        return {"o": Port.of(self.accumulator if self.result is None else self.result)}

    def results(self, transfers: Iterable[Mapping[str, int]]) -> list[int]:
        """Return the results of a sequence of transfers, by the definition, on exact values."""
        partial, so_far, count, results = self.zero_code, self.zero_code, 0, []
        state = self.seed
        for given in transfers:
            transfer = dict(given)
            if self.lfsr is not None:
                for index, name in enumerate(self._random_ports):
                    transfer[name] = state >> index * self.random_bits & (1 << self.random_bits) - 1
                state = self.lfsr.step(state)
            if transfer["first"]:
                partial, so_far, count = self.zero_code, self.zero_code, 0
            addend = product(self.a.decode(transfer["a"]), self.b.decode(transfer["b"]))
            partial = self._add(partial, addend, transfer.get("random", 0))
            with_chunk = self._add(so_far, self.accumulator.decode(partial), transfer.get("random_total", 0))
            count += 1
            if count == self.chunk:
                partial, so_far, count = self.zero_code, with_chunk, 0
            if transfer["last"]:
                cast = self.result_cast
                results.append(with_chunk if cast is None else cast.encode(self.accumulator.decode(with_chunk),
                                                                           transfer.get("random_result", 0)))
        return results

    def _add(self, code: int, addend: Value, random: int) -> int:
        return self.cast.encode(total(self.accumulator.decode(code), addend, self.rounding), random)

    def start(self, sequences: int) -> Run:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        run = AccumulatorRun(self, sequences)
        return run if self.lfsr is None else _RunWithLfsr(self, self.lfsr, run, sequences)

    def drawn(self, states: NDArray[np.uint64]) -> dict[str, Codes]:
        """Return the random bits of each rounding that states of the shift register give."""
        mask = np.uint64((1 << self.random_bits) - 1)
        return {name: states >> np.uint64(index * self.random_bits) & mask
                for index, name in enumerate(self._random_ports)}

    def zero(self, sequences: int) -> State:
        """Return the registers after a reset: partial sums, totals, pairs in the chunk so far, and results."""
        empty = np.full(sequences, self.zero_code, dtype=np.uint64)
        return empty, empty, np.zeros(sequences, dtype=np.int64), empty

    def initial(self, inputs: Mapping[str, Codes]) -> State:
        """Return the registers from which a sum starts: see :class:`sw.reference.accumulation.Accumulator`."""
        return self.zero(len(inputs["a"]))

    def accumulate(self, state: State, inputs: Mapping[str, Codes]) -> State:
        """Return the registers after one more pair; a result stands there only for transfers with ``last``."""
        partial, so_far, count, answer = state
        partial = self._add_codes(partial, self._products(inputs["a"], inputs["b"]), inputs.get("random"))
        ends = count + 1 == self.chunk
        rows = np.flatnonzero(ends | (inputs["last"] != 0))
        if len(rows):
            random = inputs["random_total"][rows] if self.random_bits else None
            answer = answer.copy()
            answer[rows] = self._add_codes(so_far[rows], decode_array(self.accumulator, partial[rows]), random)
        return (np.where(ends, np.uint64(self.zero_code), partial), np.where(ends, answer, so_far),
                np.where(ends, 0, count + 1), answer)

    def finish(self, state: State, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of the result: the total, with the chunk so far."""
        return {"o": self._result(state[3], inputs.get("random_result"))}

    def dot(self, a: Codes, b: Codes, random: Codes | None = None, random_total: Codes | None = None,
            random_result: Codes | None = None) -> Codes:
        """Return the results of whole sums at once, all chunks of which are worked on side by side.

        Parameters
        ----------
        a, b : integer arrays of shape (sums, pairs)
        random, random_total, random_result : integer arrays of that shape, where the transfers have such fields
            Every sum has a shift register of its own where there is one.

        Returns
        -------
        uint64 array of shape (sums,)

        Raises
        ------
        TypeError, ValueError
            As :func:`sw.reference.model.check_inputs` does.
        """
        given = {"a": a, "b": b, "random": random, "random_total": random_total, "random_result": random_result}
        fields = {name: codes for name, codes in given.items() if codes is not None}
        if a.ndim != 2 or not a.shape[1] or any(codes.shape != a.shape for codes in fields.values()):
            raise ValueError("Codes must be arrays of one shape (sums, pairs) with at least one pair, not "
                             + ", ".join(str(codes.shape) for codes in fields.values()))
        ports = {name: port for name, port in self.inputs.items() if port is not FLAG}
        check_inputs(ports, {name: codes.ravel() for name, codes in fields.items()})
        sums, pairs = a.shape
        if self.lfsr is not None:
            states = [self.seed]
            while len(states) < pairs:
                states.append(self.lfsr.step(states[-1]))
            fields |= {name: np.broadcast_to(codes, a.shape)
                       for name, codes in self.drawn(np.array(states, dtype=np.uint64)).items()}
        partial = np.full((sums, -(-pairs // self.chunk)), self.zero_code, dtype=np.uint64)
        for position in range(min(self.chunk, pairs)):
            column = {name: codes[:, position::self.chunk] for name, codes in fields.items()}
            reached = partial[:, :column["a"].shape[1]]  # the last chunk may be a shorter one
            products = self._products(column["a"].ravel(), column["b"].ravel())
            bits = column["random"].ravel() if self.random_bits else None
            reached[:] = self._add_codes(reached.ravel(), products, bits).reshape(reached.shape)
        so_far = np.full(sums, self.zero_code, dtype=np.uint64)
        for index in range(partial.shape[1]):
            bits = None
            if self.random_bits:
                bits = fields["random_total"][:, min((index + 1) * self.chunk, pairs) - 1]
            so_far = self._add_codes(so_far, decode_array(self.accumulator, partial[:, index]), bits)
        return self._result(so_far, fields["random_result"][:, -1] if "random_result" in fields else None)

    def _products(self, a: Codes, b: Codes) -> ValueArray:
        return multiply_arrays(decode_array(self.a, a), decode_array(self.b, b))

    def _add_codes(self, codes: Codes, addends: ValueArray, random: Codes | None) -> NDArray[np.uint64]:
        sums = add_arrays(decode_array(self.accumulator, codes), addends,
                          toward_negative=self.rounding is RoundingMode.DOWN)
        return self.cast.codes(sums, random)

    def _result(self, codes: Codes, random: Codes | None) -> Codes:
        if self.result_cast is None:
            return codes
        return self.result_cast.codes(decode_array(self.accumulator, codes), random)


class _RunWithLfsr:
    """Sequences that each have a shift register of their own; a :class:`sw.reference.model.Run`."""

    def __init__(self, model: ChunkedMultiplyAccumulate, lfsr: Lfsr, run: AccumulatorRun, sequences: int) -> None:
        self._model, self._lfsr, self._run = model, lfsr, run
        self._states = np.full(sequences, lfsr.seed, dtype=np.uint64)

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`."""
        outputs = self._run.accept({**inputs, **self._model.drawn(self._states)}, accepted)
        self._states = np.where(accepted, self._lfsr.step_array(self._states), self._states)
        return outputs

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked sequences back to the state after power-up."""
        self._run.reset(which)
        self._states = np.where(which, np.uint64(self._lfsr.seed), self._states)
