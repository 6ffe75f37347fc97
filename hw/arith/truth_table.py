"""Functions of a few bits, straight from their values."""

from amaranth.hdl import *

from hw.convert.number import named

__all__ = ["truth_table"]


def truth_table(m, inputs, values, width, name="table"):
    """Return a function of a few input bits, given by all its values.

    Every output bit keeps only the inputs that it depends on. Those that it is the exclusive or of, such as the
    signs in a product, stay outside its table; the rest becomes a tree of multiplexers over shared subtables.

    Parameters
    ----------
    m : Module
    inputs : Value
    values : sequence of int
        ``2**len(inputs)`` of them.
    width : int, bits
        Width of the values.
    name : str
        Prefix of the signals' names.

    Returns
    -------
    Value, ``width`` bits

    Raises
    ------
    ValueError
        If there are not as many values as the inputs can take.
    """
    values = list(values)
    if len(values) != 1 << len(inputs):
        raise ValueError(f"Values must be {1 << len(inputs)} for {len(inputs)} input bits, not {len(values)!r}")
    shared = {}
    return Cat(*(_bit(m, list(inputs), tuple((value >> position) & 1 for value in values), shared, name)
                 for position in range(width)))


def _bit(m, inputs, column, shared, name):
    """One output bit: linear inputs first, then the table of the rest."""
    parity = C(0, 1)
    for variable, bit in enumerate(inputs):
        step = 1 << variable
        if all(column[index] != column[index ^ step] for index in range(len(column))):
            parity = parity ^ bit
            column = tuple(column[index & ~step] for index in range(len(column)))
    return parity ^ _tree(m, inputs, column, shared, name)


def _tree(m, inputs, column, shared, name):
    """A multiplexer tree over the topmost input that matters, each distinct subtable built once."""
    if len(set(column)) == 1:
        return C(column[0], 1)
    if column not in shared:
        half, select = len(column) // 2, inputs[len(column).bit_length() - 2]
        low, high = (_tree(m, inputs, part, shared, name) for part in (column[:half], column[half:]))
        if column[:half] == column[half:]:
            return low
        shared[column] = named(m, Mux(select, high, low), f"{name}_{len(shared)}")
    return shared[column]
