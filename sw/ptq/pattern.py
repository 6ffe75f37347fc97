"""Patterns of sparsity: which weights of a matrix may stay, given how much each of them matters.

A score is the root of the error that the loss of a weight alone would cause, so that squares of scores add up. Among
equal scores, the weight of the earlier input stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from sw.formats.check import check_boolean, check_integer
from sw.ptq.checks import check_count, check_density, check_divides, check_matrix


class Pruned(NamedTuple):
    """Weights of which some are zero."""

    weights: Tensor
    """(outputs, inputs), of the type of the weights that were given."""
    mask: Tensor
    """bool, of the same shape: which weights stay."""


class Step(NamedTuple):
    """The choice among some columns, for a method that comes to them from left to right."""

    start: int
    stop: int
    choose: Callable[[Tensor], Tensor]
    """From the scores of these columns, (rows, stop - start), to the mask of the weights that stay."""


@runtime_checkable
class Pattern(Protocol):
    """What :class:`NM`, :class:`MixedNM` and :class:`Unstructured` offer."""

    def mask(self, scores: Tensor) -> Tensor:
        """Return which weights stay, a bool tensor of the shape of ``scores``, (outputs, inputs).

        Raises
        ------
        TypeError, ValueError
            If the scores are no matrix of finite numbers, or the pattern does not tile it.
        """

    def steps(self, scores: Tensor, block: int) -> list[Step]:
        """Return the choices one after the other, of about ``block`` columns each where the pattern sets no size.

        What has to be settled beforehand, such as how many weights a part of the matrix may keep, is so by ``scores``.

        Raises
        ------
        TypeError, ValueError
            As :meth:`mask` does.
        """


def check_pattern(pattern: object) -> None:
    """Raise TypeError unless ``pattern`` is one."""
    if not isinstance(pattern, Pattern):
        raise TypeError(f"Pattern must be NM, MixedNM or Unstructured, not {pattern!r}")


def keep_largest(scores: Tensor, counts: Tensor | int) -> Tensor:
    """Return the mask of the largest scores along the last dimension, ``counts`` of them, one number or one a row."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(-1, order, torch.arange(scores.shape[-1], device=scores.device).expand_as(order))
    return ranks < (counts.unsqueeze(-1) if isinstance(counts, Tensor) else counts)


def _mask_of_groups(scores: Tensor, m: int, counts: Tensor) -> Tensor:
    return keep_largest(scores.unflatten(1, (-1, m)), counts).flatten(1)


def _steps_of_groups(m: int, counts: Tensor) -> list[Step]:
    def chooser(column: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda scores: keep_largest(scores, column)

    return [Step(group * m, (group + 1) * m, chooser(counts[:, group])) for group in range(counts.shape[1])]


@dataclass(frozen=True, kw_only=True)
class NM:
    """At most ``n`` of every ``m`` consecutive inputs of an output have a weight other than zero.

    Parameters
    ----------
    n : int
        0 to ``m``.
    m : int

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer, or out of range.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        check_count("M", self.m)
        check_integer("N", self.n)
        if not 0 <= self.n <= self.m:
            raise ValueError(f"N must be between 0 and M = {self.m}, not {self.n!r}")

    def _counts(self, scores: Tensor) -> Tensor:
        check_matrix("Scores", scores)
        check_divides("M", self.m, scores.shape[1], "inputs")
        return torch.full((scores.shape[0], scores.shape[1] // self.m), self.n, device=scores.device)

    def mask(self, scores: Tensor) -> Tensor:
        """Return which weights stay: see :meth:`Pattern.mask`."""
        counts = self._counts(scores)
        return _mask_of_groups(scores, self.m, counts)

    def steps(self, scores: Tensor, block: int) -> list[Step]:
        """Return a choice for each ``m`` columns: see :meth:`Pattern.steps`."""
        return _steps_of_groups(self.m, self._counts(scores))


@dataclass(frozen=True, kw_only=True)
class NMBlocks:
    """Blocks of a matrix, each with a number N of its own: of every M inputs of an output, N weights may stay.

    Parameters
    ----------
    m : int
    allowed : tuple of int
        The N that a block may have, rising, 0 to ``m``.
    rows, columns : int
        Size of a block in outputs and inputs; ``columns`` is a multiple of ``m``.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer, or out of range.

    Source: FlightLLM (arXiv 2401.03868): N of 0, 2, 4, 8 and 16 of 16, the same in a block of 16 x 16, another one in
    the next.
    """

    m: int = 16
    allowed: tuple[int, ...] = (0, 1, 2, 4, 8, 16)
    rows: int = 16
    columns: int = 16

    def __post_init__(self) -> None:
        check_count("M", self.m)
        if not isinstance(self.allowed, tuple):
            raise TypeError(f"Allowed N must be a tuple of integers, not {self.allowed!r}")
        if not self.allowed:
            raise ValueError("Allowed N must be at least one number, not ()")
        for n in self.allowed:
            check_integer("Allowed N", n)
            if not 0 <= n <= self.m:
                raise ValueError(f"Allowed N must be between 0 and M = {self.m}, not {n!r}")
        if any(above <= below for below, above in pairwise(self.allowed)):
            raise ValueError(f"Allowed N must rise, not {self.allowed!r}")
        check_count("Block rows", self.rows)
        check_count("Block columns", self.columns)
        if self.columns % self.m:
            raise ValueError(f"Block columns must be a multiple of M = {self.m}, not {self.columns!r}")

    @property
    def groups(self) -> int:
        """How many times M inputs a block has, over all its rows."""
        return self.rows * self.columns // self.m

    def check_tiles(self, rows: int, columns: int) -> None:
        """Raise ValueError unless blocks tile a matrix of this shape."""
        check_divides("Block rows", self.rows, rows, "outputs")
        check_divides("Block columns", self.columns, columns, "inputs")

    def by_block(self, values: Tensor) -> Tensor:
        """Return values of groups, (rows, groups, ...), as (row blocks, column blocks, groups of a block, ...).

        In a block, the groups of the first M inputs come first, in the order of their rows.
        """
        blocks = values.unflatten(1, (-1, self.columns // self.m)).unflatten(0, (-1, self.rows))
        return blocks.movedim(1, 3).flatten(2, 3)

    def from_blocks(self, values: Tensor) -> Tensor:
        """Return values as :meth:`by_block` gives them in their places again, (rows, groups, ...)."""
        blocks = values.unflatten(2, (-1, self.rows)).movedim(3, 1)
        return blocks.flatten(0, 1).flatten(1, 2)

    def by_group(self, counts: Tensor) -> Tensor:
        """Return what belongs to blocks, (row blocks, column blocks), for each of their groups, (rows, groups)."""
        return counts.repeat_interleave(self.rows, 0).repeat_interleave(self.columns // self.m, 1)

    def counts(self, present: Tensor) -> Tensor:
        """Return the least allowed N of each block with which every weight that is present stays.

        Parameters
        ----------
        present : bool tensor of shape (outputs, inputs)

        Returns
        -------
        int64 tensor of shape (row blocks, column blocks)

        Raises
        ------
        ValueError
            If blocks do not tile the matrix, or a group has more weights than any allowed N.
        """
        self.check_tiles(*present.shape)
        nonzeros = present.unflatten(1, (-1, self.m)).sum(-1)
        _check_nonzeros(nonzeros, self.allowed[-1], self.m)
        allowed = torch.tensor(self.allowed, device=present.device)
        return allowed[torch.searchsorted(allowed, self.by_block(nonzeros).amax(-1))]


@dataclass(frozen=True, kw_only=True)
class MixedNM:
    """An N for every block, such that the whole matrix keeps a wanted part of its weights.

    The blocks get their N by what it gains: of all steps from one allowed N to the next, those that keep the most
    squared score per weight come first, until the density is reached. The largest of M scores gains more than the
    next, so no step is worth more than the one before it in its block, and the choice is the best one but for what
    the last steps leave over.

    Parameters
    ----------
    density : float
        Weights that stay, as a part of all: at most that many do, and fewer where further ones have a score of zero.
    blocks : NMBlocks

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or the density is out of range or less than the least N gives.
    """

    density: float
    blocks: NMBlocks = NMBlocks()

    def __post_init__(self) -> None:
        check_density(self.density)
        if not isinstance(self.blocks, NMBlocks):
            raise TypeError(f"Blocks must be NMBlocks, not {self.blocks!r}")
        if self.density < self.blocks.allowed[0] / self.blocks.m:
            raise ValueError(f"Density must be at least {self.blocks.allowed[0]}/{self.blocks.m}, "
                             f"what the least N allowed keeps, not {self.density!r}")

    def counts(self, scores: Tensor) -> Tensor:
        """Return the N of each block, int64 of shape (row blocks, column blocks).

        Raises
        ------
        TypeError, ValueError
            As :meth:`Pattern.mask` does.
        """
        check_matrix("Scores", scores)
        blocks, allowed = self.blocks, torch.tensor(self.blocks.allowed, device=scores.device)
        blocks.check_tiles(*scores.shape)
        squares = scores.to(torch.float64).square().unflatten(1, (-1, blocks.m)).sort(dim=-1, descending=True).values
        kept = torch.nn.functional.pad(squares.cumsum(-1), (1, 0))[..., allowed]
        worth = blocks.by_block(kept).sum(2)
        shape, worth = worth.shape[:2], worth.flatten(0, 1)
        costs = allowed.diff() * blocks.groups
        # Rounding must not make a step seem better than the one before it.
        rates = (worth.diff(dim=1) / costs).cummin(1).values
        budget = round(self.density * scores.numel()) - blocks.allowed[0] * blocks.groups * len(worth)
        return allowed[self._levels(rates, costs, budget)].reshape(shape)

    @staticmethod
    def _levels(rates: Tensor, costs: Tensor, budget: int) -> Tensor:
        """Return how many steps each block, a row of ``rates``, takes within the budget: the best rates first."""
        if not rates.numel():
            return torch.zeros(len(rates), dtype=torch.int64, device=rates.device)
        order = rates.flatten().argsort(descending=True, stable=True)[:int((rates > 0).sum())]
        spent = costs[order % len(costs)].cumsum(0)
        certain = int((spent <= budget).sum())
        levels = torch.bincount(order[:certain] // len(costs), minlength=len(rates)).tolist()
        left = budget - (int(spent[certain - 1]) if certain else 0)
        # What is left is less than the next step takes; a smaller step further down may still fit.
        prices, cheapest = costs.tolist(), int(costs.min())
        for index in order[certain:].tolist():
            if left < cheapest:
                break
            block, step = divmod(index, len(prices))
            if prices[step] <= left and levels[block] == step:
                levels[block] += 1
                left -= prices[step]
        return torch.tensor(levels, device=rates.device)

    def mask(self, scores: Tensor) -> Tensor:
        """Return which weights stay: see :meth:`Pattern.mask`."""
        counts = self.blocks.by_group(self.counts(scores))
        return _mask_of_groups(scores, self.blocks.m, counts)

    def steps(self, scores: Tensor, block: int) -> list[Step]:
        """Return a choice for each M columns, with the N that ``scores`` give the blocks: see :meth:`Pattern.steps`."""
        return _steps_of_groups(self.blocks.m, self.blocks.by_group(self.counts(scores)))


def whole_blocks(rows: int, columns: int, density: float) -> MixedNM:
    """Return the pattern in which blocks of ``rows`` x ``columns`` weights stay or go as a whole, by their norm.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or out of range.
    """
    check_count("Block columns", columns)
    return MixedNM(density=density, blocks=NMBlocks(m=columns, allowed=(0, columns), rows=rows, columns=columns))


@dataclass(frozen=True, kw_only=True)
class Unstructured:
    """The weights with the largest scores stay, wherever they are.

    Parameters
    ----------
    density : float
        Weights that stay, as a part of all, rounded to a whole number of them.
    per_row : bool
        Compare the weights of each output among themselves, as Wanda does, rather than all of the matrix.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or the density is out of range.
    """

    density: float
    per_row: bool = False

    def __post_init__(self) -> None:
        check_density(self.density)
        check_boolean("Per row", self.per_row)

    def _choose(self, scores: Tensor, count: int) -> Tensor:
        return keep_largest(scores, count) if self.per_row else keep_largest(scores.flatten(), count).view_as(scores)

    def _count(self, rows: int, columns: int) -> int:
        return round(self.density * columns * (1 if self.per_row else rows))

    def mask(self, scores: Tensor) -> Tensor:
        """Return which weights stay: see :meth:`Pattern.mask`."""
        check_matrix("Scores", scores)
        return self._choose(scores, self._count(*scores.shape))

    def steps(self, scores: Tensor, block: int) -> list[Step]:
        """Return a choice for each ``block`` columns, all of the same density: see :meth:`Pattern.steps`."""
        check_matrix("Scores", scores)
        rows, columns = scores.shape

        def step(start: int, stop: int) -> Step:
            # Differences of rounded sums: no choice is more than one weight off, and neither is their total.
            count = self._count(rows, stop) - self._count(rows, start)
            return Step(start, stop, lambda scores: self._choose(scores, count))

        return [step(start, min(start + block, columns)) for start in range(0, columns, block)]


def check_nm(weights: Tensor, n: int, m: int) -> None:
    """Raise unless at most ``n`` of every ``m`` consecutive weights of a row are other than zero.

    Raises
    ------
    TypeError
        If the weights are no floating-point tensor, or a number is not an integer.
    ValueError
        If they are not finite, ``m`` does not divide the inputs, or a group has more than ``n`` nonzeros.
    """
    NM(n=n, m=m)
    check_matrix("Weights", weights)
    check_divides("M", m, weights.shape[1], "inputs")
    _check_nonzeros((weights != 0).unflatten(1, (-1, m)).sum(-1), n, m)


def _check_nonzeros(nonzeros: Tensor, n: int, m: int) -> None:
    """Refuse groups, (rows, groups), of more than ``n`` nonzeros."""
    beyond = nonzeros > n
    if bool(beyond.any()):
        row, group = beyond.nonzero()[0].tolist()
        raise ValueError(f"Weights must have at most {n} nonzeros of every {m} consecutive inputs, not "
                         f"{int(nonzeros[row, group])} in row {row}, columns {group * m} to {group * m + m - 1}; "
                         "prune them with sw.ptq.prune_magnitude")
