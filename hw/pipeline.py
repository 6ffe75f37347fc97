"""Registers between the steps of a datapath."""

import operator

from amaranth.hdl import *

__all__ = ["MAX_PIPELINE", "delay", "distribute", "require_pipeline"]

MAX_PIPELINE = 64
"""Most register stages that an operator takes: far beyond use, and far below what would exhaust a machine."""


def require_pipeline(pipeline):
    """Return ``pipeline`` if it is a number of register stages.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or not between 0 and ``MAX_PIPELINE``.
    """
    try:
        if isinstance(pipeline, bool):
            raise TypeError
        stages = operator.index(pipeline)
    except TypeError:
        raise TypeError(f"Pipeline must be an integer, not {pipeline!r}") from None
    if not 0 <= stages <= MAX_PIPELINE:
        raise ValueError(f"Pipeline must be between 0 and {MAX_PIPELINE} register stages, not {pipeline!r}")
    return stages


def delay(m, value, cycles, *, name="delayed"):
    """Return ``value`` as it was ``cycles`` cycles of domain ``sync`` ago, in registers without reset.

    A constant needs no register and is returned as it is.
    """
    value = Value.cast(value)
    if isinstance(value, Const) or not len(value):
        return value
    for cycle in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{cycle + 1}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def distribute(pipeline, cuts):
    """Return how many registers stand at each of the ``cuts`` of a datapath, and at its ``"output"``.

    Parameters
    ----------
    pipeline : int
        Number of registers in all.
    cuts : tuple of str
        Places for one register, the best one first. What they do not take goes to the output.

    Returns
    -------
    dict of str to int
    """
    cycles = {cut: int(index < pipeline) for index, cut in enumerate(cuts)}
    return cycles | {"output": pipeline - sum(cycles.values())}
