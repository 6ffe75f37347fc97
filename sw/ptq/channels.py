"""Channels as unknowns: which channels of which tensors must be scaled by one and the same factor."""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

FIXED = 0
"""The variable whose factor is 1."""


class Spread(Enum):
    """How the variables of a flattened tensor lie along its axis."""

    NONE = "none"
    """One position a variable."""
    NEIGHBOURS = "neighbours"
    """Each stands for several neighbouring positions: channels before pixels."""
    TILES = "tiles"
    """All of them, again and again: channels after tokens."""


@dataclass(frozen=True, kw_only=True)
class Channels:
    """The variables of a tensor's channels.

    Parameters
    ----------
    axis : int
        Dimension of the channels, counted from the last, -1.
    variables : int64 tensor of shape (channels,)
    spread : Spread
    """

    axis: int
    variables: Tensor
    spread: Spread = Spread.NONE

    @property
    def is_free(self) -> bool:
        """Whether any channel may be scaled."""
        return bool((self.variables != FIXED).any())

    def is_alike(self, other: "Channels") -> bool:
        """Whether the channels of two tensors lie the same way, so that those of an index meet in a sum."""
        return (self.axis == other.axis and self.spread is other.spread
                and len(self.variables) == len(other.variables))

    def fixed(self) -> "Channels":
        """Return channels that lie the same way and are not scaled."""
        return Channels(axis=self.axis, variables=torch.full_like(self.variables, FIXED), spread=self.spread)

    def expand(self, length: int) -> Tensor | None:
        """Return the variable of each of ``length`` positions; None if they cannot be these channels."""
        if self.spread is Spread.NONE:
            return self.variables if length == len(self.variables) else None
        times, rest = divmod(length, len(self.variables))
        if rest:
            return None
        return (self.variables.repeat_interleave(times) if self.spread is Spread.NEIGHBOURS
                else self.variables.repeat(times))


@dataclass(frozen=True, kw_only=True)
class Value:
    """What is known of a tensor in a graph.

    Parameters
    ----------
    rank : int, optional
        Number of its dimensions.
    channels : Channels, optional
        None if no channel of it may be scaled, and where they lie is unknown.
    """

    rank: int | None = None
    channels: Channels | None = None


UNKNOWN = Value()


class ChannelVariables:
    """Variables, and which of them are equal. Variable 0 is the factor 1: what equals it must not be scaled."""

    def __init__(self) -> None:
        self._count = FIXED + 1
        self._pairs: list[tuple[Tensor, Tensor]] = []

    @property
    def count(self) -> int:
        """How many variables there are."""
        return self._count

    def new(self, count: int) -> Tensor:
        """Return ``count`` new variables."""
        self._count += count
        return torch.arange(self._count - count, self._count)

    def join(self, first: Tensor, second: Tensor) -> None:
        """Let the variables of two tensors of one length be equal, one by one."""
        if len(first) != len(second):
            raise ValueError(f"Variables must be as many as those that they are joined with, {len(first)}, "
                             f"not {len(second)}")
        self._pairs.append((first, second))

    def fix(self, variables: Tensor) -> None:
        """Let variables be the factor 1."""
        self.join(variables, torch.full_like(variables, FIXED))

    def solve(self) -> Tensor:
        """Return the least variable that each one equals, int64 of shape (count,)."""
        least = torch.arange(self._count)
        if not self._pairs:
            return least
        first, second = (torch.cat(side) for side in zip(*self._pairs, strict=True))
        while True:
            # The roots of every pair meet in the lesser one, then each variable is led to its root.
            roots = least[first], least[second]
            merged = least.scatter_reduce(0, torch.maximum(*roots), torch.minimum(*roots), "amin")
            while not torch.equal(further := merged[merged], merged):
                merged = further
            if torch.equal(merged, least):
                return least
            least = merged
