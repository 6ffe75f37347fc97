"""What operators without memory share: their members, their truth table, and the way from a number to its code."""

import numpy as np
from amaranth.hdl import *
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.arith.truth_table import truth_table
from hw.convert.align import align
from hw.convert.encode import encode, round_aligned
from hw.convert.round import fraction_bits_needed
from hw.pipeline import delay

__all__ = ["TABLE_LIMIT", "code_of", "code_of_aligned", "function_members", "require_structure", "suitable_structures",
           "table_of"]

TABLE_LIMIT = 12
"""Most input bits of a truth table: its multiplexers double with each."""


def function_members(model):
    """Return the members of a component that computes what a reference without memory describes.

    Parameters
    ----------
    model : sw.reference.model.Function
    """
    return {name: direction(_shape(port)) for ports, direction in ((model.inputs, In), (model.outputs, Out))
            for name, port in ports.items()}


def _shape(port):
    return unsigned(port.width) if port.lanes is None else data.ArrayLayout(unsigned(port.width), port.lanes)


def require_structure(structure, kind, model):
    """Return ``structure`` if it is None, for the best one, or one that an operator of these inputs can have.

    Parameters
    ----------
    structure : object
    kind : type of Enum
        May have a member ``TRUTH_TABLE``.
    model : sw.reference.model.Function

    Raises
    ------
    TypeError, ValueError
        If it is not of that kind, or a truth table of more than ``TABLE_LIMIT`` input bits.
    """
    if structure is None:
        return None
    if not isinstance(structure, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"Structure must be {article} {kind.__name__}, not {structure!r}")
    bits = _input_bits(model)
    if _is_table(structure) and bits > TABLE_LIMIT:
        raise ValueError(f"Structure must be another one for more than {TABLE_LIMIT} input bits, "
                         f"not {structure} for {bits}")
    return structure


def suitable_structures(structures, model, *, first):
    """Return the structures that an operator of these inputs can have, the one to take where none is recorded first.

    Parameters
    ----------
    structures : iterable of Enum
        Those that build different circuits, in the order in which they are preferred: the Enum itself, or some of it.
    model : sw.reference.model.Function or Stream
        A truth table of more than ``TABLE_LIMIT`` of its input bits is left out.
    first : Enum
        What the component's own rule takes.

    Returns
    -------
    tuple of Enum
    """
    fitting = (item for item in structures if not _is_table(item) or _input_bits(model) <= TABLE_LIMIT)
    return (first, *(item for item in fitting if item is not first))


def _is_table(structure):
    return structure is getattr(type(structure), "TRUTH_TABLE", None)


def _input_bits(model):
    return sum(port.bits for port in model.inputs.values())


def table_of(m, component):
    """Return the output ``o`` of a component as a truth table of its reference's own values."""
    ports = component.model.inputs
    inputs, place, codes = Cat(getattr(component, name) for name in ports), 0, {}
    index = np.arange(1 << len(inputs), dtype=np.uint64)
    for name, port in ports.items():
        codes[name] = index >> np.uint64(place) & np.uint64((1 << port.width) - 1)
        place += port.width
    return truth_table(m, inputs, component.model.evaluate(codes)["o"].tolist(), len(component.o))


def code_of(m, number, model, random, cycles):
    """Return the code of a number: aligned to the result's grid, rounded, encoded.

    Parameters
    ----------
    m : Module
    number : Number
    model : sw.reference.model.Function
        Its ``result``, ``rounding``, ``overflow`` and ``random_bits``.
    random : Value or None
        The random bits of a stochastic rounding, in the cycle of ``number``.
    cycles : mapping of str to int
        Registers after ``"align"``, after ``"round"`` and at the ``"output"``.

    Returns
    -------
    Value, ``model.result.width`` bits
    """
    aligned = align(m, number, model.result, fraction_bits_needed(model.rounding, model.random_bits))
    return code_of_aligned(m, aligned, model, random, cycles)


def code_of_aligned(m, aligned, model, random, cycles):
    """Return the code of a number on the grid of the result: rounded, encoded.

    Parameters
    ----------
    aligned : Aligned
    m, model, random, cycles
        As :func:`code_of` has them.

    Returns
    -------
    Value, ``model.result.width`` bits
    """
    aligned = aligned.delayed(m, cycles["align"])
    random = None if random is None else delay(m, random, cycles["align"], name="random_aligned")
    rounded = round_aligned(m, aligned, model.result, model.rounding, random).delayed(m, cycles["round"])
    return delay(m, encode(m, rounded, model.result, model.rounding, model.overflow), cycles["output"], name="code")
