"""Registers between the steps of a datapath."""

from amaranth.hdl import *

__all__ = ["MAX_PIPELINE", "delay", "distribute"]

MAX_PIPELINE = 64
"""Most register stages that an operator takes: far beyond use, and far below what would exhaust a machine."""


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
