"""Elementwise work on large CPU tensors, a cache-sized block at a time."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# A step consists of several torch operations, whose intermediate tensors of this size stay in a core's second-level
# cache. torch shares no operation on so few elements among its threads: its own grain size is the same number.
_SERIAL_BLOCK = 1 << 15

# Elements for each thread of an operation that torch does share.
_PARALLEL_BLOCK = 1 << 16

_LOSS = 2e-3  # seconds
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0


class _Pace:
    """Whether to let torch's threads share the work: all there is to know about how that went so far.

    The threads meet at a barrier after every operation. On an idle machine that takes microseconds. On a busy one
    each meeting waits until the system has given every thread its turn, and sharing can take a hundred times as long
    as not sharing. So blocks are timed, shared and alone. Once sharing has lost more time than it has lately won,
    nothing is shared for a while, and for twice as long each time it happens again. Only the speed depends on it,
    never a result.
    """

    def __init__(self) -> None:
        self.lost = 0.0
        self.pause = _FIRST_PAUSE
        self.resume = 0.0

    def shares(self) -> bool:
        """Whether to share now."""
        return time.monotonic() >= self.resume

    def judge(self, shared: float, alone: float) -> None:
        """Learn from the seconds that a block took, shared and alone."""
        self.lost = max(0.0, self.lost + shared - alone)
        if self.lost > _LOSS:
            self.lost = 0.0
            self.resume = time.monotonic() + self.pause
            self.pause = min(2 * self.pause, _LONGEST_PAUSE)
        else:
            self.pause = max(self.pause * 0.98, _FIRST_PAUSE)


_pace = _Pace()


class Workspace:
    """Memory for the intermediate results of a step, the same for each block: it stays in the cache."""

    def __init__(self) -> None:
        self._tensors: dict[tuple[int, torch.Size, torch.dtype], Tensor] = {}

    def __call__(self, index: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return memory number ``index`` as a tensor of whatever was left there.

        ``dtype`` is of one size in all calls. Each shape that was asked for is remembered; one tensor's blocks have
        few.
        """
        key = index, shape, dtype
        if key not in self._tensors:
            held = next((tensor for (number, *_), tensor in self._tensors.items()
                         if number == index and tensor.numel() >= shape.numel()), None)
            if held is None:
                held = torch.empty(shape, dtype=dtype, device="cpu")
            self._tensors[key] = held.view(-1)[:shape.numel()].view(shape).view(dtype)
        return self._tensors[key]


def each_block(step: Callable[..., object], tensors: list[Tensor | None], *, pace: _Pace = _pace) -> None:
    """Call ``step`` on matching pieces of ``tensors``, which have one shape; None stays None.

    Nothing is recorded for a gradient. On a CPU a piece is what the caches hold; elsewhere it is everything.
    """
    first = tensors[0]
    assert first is not None
    threads = torch.get_num_threads()
    with torch.no_grad():
        if first.device.type != "cpu" or first.numel() <= _SERIAL_BLOCK:
            step(*tensors)
            return
        if threads == 1:
            _alone(step, tensors)
            return
        alone = 0.0  # seconds for an element
        for block in _shared_pieces(tensors, threads):
            assert block[0] is not None
            size = block[0].numel()
            # The first block is done alone, so that there is something to compare with.
            shares = alone > 0 and pace.shares()
            start = time.perf_counter()
            if shares:
                step(*block)
            else:
                _alone(step, block)
            seconds = time.perf_counter() - start
            if shares:
                pace.judge(seconds, alone * size)
            else:
                alone = seconds / size if alone == 0 else min(alone, seconds / size)


def _alone(step: Callable[..., object], tensors: list[Tensor | None]) -> None:
    for block in _pieces(tensors, _SERIAL_BLOCK):
        step(*block)


def _shared_pieces(tensors: list[Tensor | None], threads: int) -> Iterator[list[Tensor | None]]:
    """Cut for several threads, each of which walks through a part of its own where the memory allows it.

    Two threads that touch new memory in one neighbourhood wait for one another in the system's page tables.
    """
    if not all(tensor is None or tensor.is_contiguous() for tensor in tensors):
        yield from _pieces(tensors, _PARALLEL_BLOCK * threads)
        return
    flat = [None if tensor is None else tensor.view(-1) for tensor in tensors]
    size = next(tensor.numel() for tensor in flat if tensor is not None)
    head = _SERIAL_BLOCK + (size - _SERIAL_BLOCK) % threads
    yield [None if tensor is None else tensor[:head] for tensor in flat]
    if head == size:
        return
    # torch gives each thread one row, rows being what it cuts first.
    rows = [None if tensor is None else tensor[head:].view(threads, -1) for tensor in flat]
    count = -(-(size - head) // (threads * _PARALLEL_BLOCK))
    for piece in zip(*([None] * count if tensor is None else tensor.split(_PARALLEL_BLOCK, 1) for tensor in rows),
                     strict=True):
        yield list(piece)


def _pieces(tensors: list[Tensor | None], limit: int) -> Iterator[list[Tensor | None]]:
    first = tensors[0]
    assert first is not None
    if first.numel() <= limit:
        yield tensors
        return
    # Cut across the axis that lies widest in memory.
    axis = max((axis for axis in range(first.ndim) if first.shape[axis] > 1), key=first.stride)
    length = max(1, first.shape[axis] * limit // first.numel())
    count = -(-first.shape[axis] // length)
    for piece in zip(*([None] * count if tensor is None else tensor.split(length, axis) for tensor in tensors),
                     strict=True):
        yield from _pieces(list(piece), limit)
