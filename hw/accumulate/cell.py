"""The parts of an accumulator that arrays are made of: the sum, without a handshake, and its rounding unit."""

from amaranth.hdl import *

from hw.accumulate.block import BlockSum
from hw.accumulate.chunked import ChunkedSum
from hw.accumulate.exact import ExactSum, ExactSumRounder
from hw.accumulate.fixed import FixedSum, FixedSumRounder
from sw.reference.block_accumulate import BlockMultiplyAccumulate
from sw.reference.chunked import ChunkedMultiplyAccumulate
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.mac import MultiplyAccumulate

__all__ = ["make_rounder", "make_sum", "require_cell", "rounds_in_sum", "sum_latency"]


def require_cell(cell):
    """Return ``cell`` if it is the reference of an accumulator that there is a circuit for.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(cell, (MultiplyAccumulate, ExactMultiplyAccumulate, BlockMultiplyAccumulate,
                             ChunkedMultiplyAccumulate)):
        raise TypeError("Cell must be a MultiplyAccumulate, an ExactMultiplyAccumulate, a BlockMultiplyAccumulate or a "
                        f"ChunkedMultiplyAccumulate to be built, not {cell!r}")
    return cell


def rounds_in_sum(cell):
    """Whether the sum of a cell is a code already, and there is no rounding unit."""
    return isinstance(cell, ChunkedMultiplyAccumulate)


def sum_latency(cell, registers):
    """Return the cycles from a transfer to its sum, with so many registers besides those of the sum itself."""
    # Exact sums have a register behind their products anyway, the chunked one two more for its total and its result.
    return registers + (1 if isinstance(cell, MultiplyAccumulate) else 3 if rounds_in_sum(cell) else 2)


def make_sum(cell, *, registers, hard_multiplier):
    """Return the component that sums, and the value in which its sum, or its code, stands.

    Parameters
    ----------
    cell : MultiplyAccumulate, ExactMultiplyAccumulate, BlockMultiplyAccumulate or ChunkedMultiplyAccumulate
        Of ``sw.reference``.
    registers : int
        Behind the product; of an exact sum, behind the shift onto its grid; of a chunked one, behind the operands.
    hard_multiplier : bool

    Returns
    -------
    tuple of Component, Value
        The component has the members ``valid`` and ``i``.
    """
    if rounds_in_sum(cell):
        component = ChunkedSum(cell, registers, hard_multiplier)
    elif isinstance(cell, MultiplyAccumulate):
        component = FixedSum(cell, product_registers=registers, hard_multiplier=hard_multiplier)
    elif isinstance(cell, BlockMultiplyAccumulate):
        component = BlockSum(cell, grid_registers=registers, hard_multiplier=hard_multiplier)
    else:
        component = ExactSum(cell, grid_registers=registers, hard_multiplier=hard_multiplier)
    assert component.latency == sum_latency(cell, registers)
    return component, Value.cast(component.o if rounds_in_sum(cell) else component.state)


def make_rounder(cell, *, registers):
    """Return the rounding unit of a cell, with members ``state``, ``o`` and, if stochastic, ``random``."""
    assert not rounds_in_sum(cell)
    if isinstance(cell, MultiplyAccumulate):
        return FixedSumRounder(cell, pipeline=registers)
    return ExactSumRounder(cell, registers=registers)
