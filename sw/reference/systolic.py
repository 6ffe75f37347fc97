"""A square array of multiply-accumulators: the product of two matrices, each element with the cell's own rounding."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sw.formats.check import check_integer
from sw.reference.accumulation import FLAG, Accumulator
from sw.reference.lfsr import MAX_LFSR_WIDTH, MIN_LFSR_WIDTH, Lfsr
from sw.reference.model import Codes, Port, Run, check_inputs

MAX_SIZE = 64
"""Most rows and columns of an array: beyond what any open device holds, and far below what would exhaust a machine."""

_SHARED = ("a", "b", "first", "last")


@runtime_checkable
class Cell(Accumulator, Protocol):
    """An accumulator's reference: what an array is made of."""

    def start(self, sequences: int) -> Run:
        """Return fresh sequences."""

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[int]:
        """Return the results of a sequence of transfers, by the definition."""


@dataclass(frozen=True, kw_only=True)
class SystolicArray:
    """``size`` rows and columns of accumulators, of which the one in row i and column j sums ``a[i] * b[j]``.

    A transfer holds a column of the left matrix and a row of the right one: transfers k = 0 to K-1, ``first`` on the
    first and ``last`` on the last, make the product of a ``size`` x K and a K x ``size`` matrix. Flags mean to every
    accumulator what :mod:`sw.reference.accumulation` says. Each transfer with ``last`` has ``size`` transfers of
    results, the rows of the product from the top.

    Parameters
    ----------
    cell : reference of an accumulator, without lanes
        Such as ``MultiplyAccumulate``, ``ExactMultiplyAccumulate`` or ``ChunkedMultiplyAccumulate``, which draws no
        random bits from a register of its own: formats, rounding and all. Of its fields,
        those besides ``a``, ``b`` and the flags (a preload, random bits) are given to each accumulator by itself.
    size : int
        Rows, and columns: 1 to 64.
    lfsr_bits : int, bits, optional
        For a cell with stochastic rounding at the end: the random bits are the low-order bits of a
        :class:`sw.reference.lfsr.Lfsr` of this width, one for each column's rounding unit, which makes one step for
        every row of results. By default they come with the transfers.
    seeds : tuple of int, optional
        States of these registers after a reset, a different one for each column; spread over all states by default.

    Raises
    ------
    TypeError, ValueError
        If ``cell`` is no such reference, a number is no integer or out of range, the cell takes no random bits or
        takes them at every step, or there is not one seed for each column, each different.

    Source: Gupta et al. 2015 (arXiv 1502.02551), the matrix multiplier; Kung and Leiserson 1978, systolic arrays.
    """

    cell: Cell
    size: int
    lfsr_bits: int | None = None
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cell, Cell):
            raise TypeError("Cell must be the reference of an accumulator, such as a MultiplyAccumulate, "
                            f"not {self.cell!r}")
        if any(port.lanes is not None for port in self.cell.inputs.values()):
            raise ValueError("Cell must take one pair a transfer, not several lanes")
        if getattr(self.cell, "lfsr_bits", None) is not None:
            raise ValueError("Cell must take its random bits from the transfers, not from a register of its own, which "
                             "would be the same in all cells")
        check_integer("Array size", self.size)
        if not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"Array size must be between 1 and {MAX_SIZE} rows, not {self.size!r}")
        if self.lfsr_bits is not None:
            self._check_registers(self.lfsr_bits)
        elif self.seeds is not None:
            raise ValueError(f"Seeds must be left out where there are no LFSR bits, not {self.seeds!r}")

    def _check_registers(self, lfsr_bits: int) -> None:
        if [name for name in self.cell.inputs if name.startswith("random")] != ["random"]:
            raise ValueError("LFSR bits must be left out unless the cell rounds stochastically, and that at the end of "
                             f"a sum alone, not {lfsr_bits!r}")
        check_integer("LFSR bits", lfsr_bits)
        lowest = max(self.random_bits, MIN_LFSR_WIDTH, self.size.bit_length())
        if not lowest <= lfsr_bits <= MAX_LFSR_WIDTH:
            raise ValueError(f"LFSR bits must be between {lowest} and {MAX_LFSR_WIDTH} for {self.random_bits} random "
                             f"bits and {self.size} columns, not {lfsr_bits!r}")
        if self.seeds is None:
            object.__setattr__(self, "seeds", _spread(self.size, lfsr_bits))
        if not isinstance(self.seeds, tuple) or len(set(self.seeds)) != self.size or len(self.seeds) != self.size:
            raise ValueError(f"Seeds must be a tuple of {self.size} different integers, one for each column, "
                             f"not {self.seeds!r}")
        _ = self.lfsrs  # which checks each seed

    @property
    def random_bits(self) -> int:
        """How many random bits the rounding at the end takes; 0 if none."""
        return self.cell.inputs["random"].width if "random" in self.cell.inputs else 0

    @cached_property
    def lfsrs(self) -> tuple[Lfsr, ...]:
        """The registers of the rounding units; none if the random bits come with the transfers."""
        if self.lfsr_bits is None:
            return ()
        return tuple(Lfsr(width=self.lfsr_bits, seed=seed) for seed in self.seeds or ())

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and ``b``, one lane a row and a column; the flags; other fields with a lane a cell, row by row."""
        lanes = {"a": self.size, "b": self.size}
        return {name: port if port is FLAG else replace(port, lanes=lanes.get(name, self.size**2))
                for name, port in self.cell.inputs.items() if name != "random" or self.lfsr_bits is None}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """``o``: a row of results, one lane a column."""
        return {name: replace(port, lanes=self.size) for name, port in self.cell.outputs.items()}

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
        """Return the rows of results that transfers ask for, each accumulator by its own definition.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to code, or to a sequence of codes where the port has lanes.
        """
        taken, n = list(transfers), self.size
        if self.lfsr_bits is not None:
            taken = self._with_random(taken)
        cells = [[self.cell.results([self._of_cell(transfer, row, column) for transfer in taken])
                  for column in range(n)] for row in range(n)]
        return [[column[index] for column in row] for index in range(len(cells[0][0])) for row in cells]

    def _of_cell(self, transfer: Mapping[str, Any], row: int, column: int) -> dict[str, Any]:
        places = {"a": row, "b": column}
        return {name: code if self.cell.inputs[name] is FLAG else code[places.get(name, row * self.size + column)]
                for name, code in transfer.items()}

    def _with_random(self, transfers: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return transfers with the random bits that the registers have for their results."""
        states, extended = [lfsr.seed for lfsr in self.lfsrs], list[Mapping[str, Any]]()
        for transfer in transfers:
            random = [0] * self.size**2
            for row in range(self.size if transfer["last"] else 0):
                for column, lfsr in enumerate(self.lfsrs):
                    random[row * self.size + column] = states[column] & ((1 << self.random_bits) - 1)
                    states[column] = lfsr.step(states[column])
            extended.append({**transfer, "random": random})
        return extended

    def start(self, sequences: int) -> "_ArrayRun":
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return _ArrayRun(self, sequences)

    def multiply(self, a: Codes, b: Codes) -> Codes:
        """Return the product of two matrices of codes, for a cell that takes no further fields.

        Parameters
        ----------
        a : integer array, (size, K)
        b : integer array, (K, size)

        Returns
        -------
        integer array, (size, size)

        Raises
        ------
        TypeError, ValueError
            If the codes or shapes do not fit, or the cell takes a preload or random bits.
        """
        fields = [name for name in self.inputs if name not in _SHARED]
        if fields:
            raise ValueError(f"Cell must take nothing but pairs here, not {', '.join(fields)}; use start()")
        depth = a.shape[1] if a.ndim == 2 else 0
        if depth < 1 or a.shape != (self.size, depth) or b.shape != (depth, self.size):
            raise ValueError(f"Matrices must be of shapes ({self.size}, K) and (K, {self.size}), "
                             f"not {a.shape} and {b.shape}")
        check_inputs({name: self.inputs[name] for name in ("a", "b")}, {"a": a.T, "b": b})
        run, rows = self.start(1), []
        for k in range(depth):
            flags = {"first": np.array([k == 0], dtype=np.uint64), "last": np.array([k == depth - 1], dtype=np.uint64)}
            for _, outputs in run.accept({"a": a[None, :, k], "b": b[None, k], **flags}, np.ones(1, dtype=bool)):
                rows.append(outputs["o"][0])
        return np.array(rows)


class _ArrayRun:
    """Sequences of transfers through an array, each cell of each sequence being a sequence of the cell's reference."""

    def __init__(self, model: SystolicArray, sequences: int) -> None:
        self._model, self._sequences = model, sequences
        self._cells = model.cell.start(sequences * model.size**2)
        self._states = np.empty((sequences, len(model.lfsrs)), dtype=np.uint64)
        self._seed(np.ones(sequences, dtype=bool))

    def _seed(self, which: NDArray[np.bool_]) -> None:
        self._states[which] = [lfsr.seed for lfsr in self._model.lfsrs]

    def _random(self, ends: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Return the random bits of each cell, and step the registers of the marked sequences for every row."""
        model, mask = self._model, np.uint64((1 << self._model.random_bits) - 1)
        random = np.empty((self._sequences, model.size, model.size), dtype=np.uint64)
        for row in range(model.size):
            random[:, row] = self._states & mask
            self._states[ends] = model.lfsrs[0].step_array(self._states[ends])  # which all have the same taps
        return random

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`."""
        n, count = self._model.size, self._sequences
        fields = {}
        if self._model.lfsrs:
            inputs = {**inputs, "random": self._random(accepted & inputs["last"].astype(bool)).reshape(count, n * n)}
        for name, codes in inputs.items():
            if name == "a":
                codes = codes[:, :, None]
            elif name == "b":
                codes = codes[:, None, :]
            else:
                codes = codes.reshape(count, 1, 1) if codes.ndim == 1 else codes.reshape(count, n, n)
            fields[name] = np.broadcast_to(codes, (count, n, n)).reshape(-1)
        transfers: list[tuple[NDArray[np.bool_], Mapping[str, Codes]]] = []
        for produced, outputs in self._cells.accept(fields, np.repeat(accepted, n * n)):
            for row in range(n):
                transfers.append((produced[::n * n], {name: codes.reshape(count, n, n)[:, row]
                                                      for name, codes in outputs.items()}))
        return transfers

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked sequences back to the state after power-up."""
        self._cells.reset(np.repeat(which, self._model.size**2))
        self._seed(which)


def _spread(count: int, width: int) -> tuple[int, ...]:
    """Return different states of an LFSR that lie, as far as their digits show, nowhere near each other.

    Neighbours in the register's order would make the columns' random bits copies of each other, a few rows apart.
    """
    period = (1 << width) - 1
    step = period * 618 // 1000 | 1  # near the golden section of all states
    while gcd(step, period) != 1:
        step += 2
    return tuple(1 + index * step % period for index in range(count))
