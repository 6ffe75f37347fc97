"""Sums of many integers: a tree of carry chains, each of which takes one carry along."""

from amaranth.hdl import *

from hw.convert.grid import Addend
from hw.recorded import family_of

__all__ = ["add_addend", "sum_addends"]

INVERTING_FAMILIES = ("ecp5", "nexus", "gowin")
"""Those whose carry cells subtract by themselves, so that an operand which stands inverted takes them a LUT a bit."""


def add_addend(m, total, addend, *, width=None, platform=None, name):
    """Return ``total + addend.value + addend.carry`` by one carry chain.

    Parameters
    ----------
    m : Module
    total : Value, signed
    addend : Addend
    width : int, bits, optional
        Of the sum, which wraps there; by default it has room for every sum.
    platform : object, optional
        For the form that suits its family.
    name : str

    Returns
    -------
    Value, signed
    """
    value, carry = addend.value, addend.carry
    sum_ = Signal(signed(max(len(total), len(value)) + 1 if width is None else width), name=name)
    if isinstance(carry, Const):
        m.d.comb += sum_.eq(total + value)
    elif family_of(platform) in INVERTING_FAMILIES:
        # The place below the lowest one turns the carry into the chain's carry in.
        m.d.comb += sum_.eq((Cat(C(1, 1), total).as_signed() + Cat(carry, value).as_signed()) >> 1)
    else:
        # Written as a difference, since a sum may have its operands exchanged: where the carry chain takes one operand
        # as it is, that has to be `total`, so that what makes up the other one moves into the chain's lookup tables.
        m.d.comb += sum_.eq((Cat(C(0, 1), total).as_signed() - Cat(~carry, ~value).as_signed()) >> 1)
    return sum_


def sum_addends(m, addends, *, platform=None, name):
    """Return the sum of some integers: as many carry chains as there are integers, less one, two by two.

    Every chain takes the carry of one integer along; one carry is left.

    Parameters
    ----------
    m : Module
    addends : list of Addend
    platform : object, optional
        For the form that suits its family.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Addend
    """
    level, carries = [addend.value for addend in addends], [addend.carry for addend in addends]
    pending = [carry for carry in carries if not isinstance(carry, Const)]
    depth = 0
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        sums = [add_addend(m, x, Addend(value=y, carry=pending.pop() if pending else C(0, 1)), platform=platform,
                           name=f"{name}_{depth}_{index}") for index, (x, y) in enumerate(pairs)]
        level, depth = sums + level[len(sums) * 2:], depth + 1
    assert len(pending) <= 1
    return Addend(value=level[0], carry=pending[0] if pending else C(0, 1))
