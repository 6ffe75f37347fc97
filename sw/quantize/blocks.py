"""Elementwise work on large CPU tensors, a cache-sized block at a time."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

# A step consists of several torch operations, whose intermediate tensors of this size stay in a core's second-level
# cache. torch shares no operation on so few elements among its own threads (its grain size is the same number):
# those would meet at a barrier after every operation, and on a busy machine each such meeting can cost milliseconds.
# The blocks are shared among threads of our own instead, which meet once.
_BLOCK = 1 << 15

# The interpreter's lock is held for about a third of the time that a block takes.
_MAX_THREADS = 4

# A thread for fewer blocks than this costs more than it brings.
_BLOCKS_PER_THREAD = 8


def each_block(step: Callable[..., object], tensors: list[Tensor | None]) -> None:
    """Call ``step`` on matching pieces of ``tensors``, which have one shape; None stays None.

    Nothing is recorded for a gradient. On a CPU a piece is what the caches hold, and threads share the pieces;
    elsewhere it is everything.
    """
    first = tensors[0]
    assert first is not None
    with torch.no_grad():
        if first.device.type != "cpu" or first.numel() <= _BLOCK:
            step(*tensors)
            return
    pieces = deque(_pieces(tensors))
    inference = torch.is_inference_mode_enabled()  # these modes belong to the thread

    def work() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            while True:
                try:
                    piece = pieces.popleft()  # another thread may have taken the last one
                except IndexError:
                    return
                step(*piece)

    helpers = min(torch.get_num_threads(), _MAX_THREADS, len(pieces) // _BLOCKS_PER_THREAD) - 1
    if helpers < 1:
        work()
        return
    # Threads for this call only: a pool kept for the next one would not survive a fork.
    with ThreadPoolExecutor(helpers, thread_name_prefix="quantize") as pool:
        futures = [pool.submit(work) for _ in range(helpers)]
        work()
    for future in futures:
        future.result()


def _pieces(tensors: list[Tensor | None]) -> Iterator[list[Tensor | None]]:
    first = tensors[0]
    assert first is not None
    if first.numel() <= _BLOCK:
        yield tensors
        return
    # Cut across the axis that lies widest in memory.
    axis = max((axis for axis in range(first.ndim) if first.shape[axis] > 1), key=first.stride)
    length = max(1, first.shape[axis] * _BLOCK // first.numel())
    count = -(-first.shape[axis] // length)
    for piece in zip(*([None] * count if tensor is None else tensor.split(length, axis) for tensor in tensors),
                     strict=True):
        yield from _pieces(list(piece))
