"""Topological order of single-output functions, and the loop that forbids one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class CombinationalLoop(Exception):
    """Raised by :func:`levelize`; ``loop`` lists the signals of one loop, each read by the next."""

    def __init__(self, loop: Sequence[int]) -> None:
        super().__init__(loop)
        self.loop = tuple(loop)


def levelize(operands: Mapping[int, Sequence[int]]) -> list[int]:
    """Return the keys of ``operands`` in an order in which every operand comes before its readers.

    Parameters
    ----------
    operands : signal to the signals that its function reads
        Signals that are not keys are sources (inputs, state, constants).

    Raises
    ------
    CombinationalLoop
        If there is no such order.
    """
    order: list[int] = []
    finished: set[int] = set()
    for root in operands:
        if root in finished:
            continue
        path: dict[int, None] = {root: None}            # the signals being visited, in order of descent
        stack = [(root, iter(operands[root]))]
        while stack:                                    # no recursion: carry chains are deep
            signal, remaining = stack[-1]
            for operand in remaining:
                if operand in finished or operand not in operands:
                    continue
                if operand in path:
                    names = list(path)
                    raise CombinationalLoop(names[names.index(operand):][::-1])
                path[operand] = None
                stack.append((operand, iter(operands[operand])))
                break
            else:
                stack.pop()
                del path[signal]
                finished.add(signal)
                order.append(signal)
    return order
