"""What one instruction of a processor computes: a look-up of at most three inputs, and lists of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from synth.netlist.program import Register

__all__ = ["COPY", "Basis", "Logic", "Lookup"]

COPY = 0b1000
"""The table of a copy, which is the AND of a register with itself."""


class Basis(enum.Enum):
    """The functions that one instruction computes."""

    BINARY = "binary"
    """``not a``, ``a and b``, ``a or b``, ``a xor b``, ``not a and b``."""
    SELECT = "select"
    """Those, ``not a or b``, and ``c if b else a`` (of operands a, b, c in this order), as NEON has them."""
    TERNARY = "ternary"
    """Every function of three inputs, as ``vpternlog`` and ``lop3`` compute it."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """``target`` is ``table`` of ``operands``: bit *k* of the table where operand *i* has bit *i* of *k*.

    There are one to three operands, and the table depends on each of them. They are different registers, but for a
    copy, which a result needs that is another one, a source or a constant as well.
    """

    table: int
    target: Register
    operands: tuple[Register, ...]


@dataclass(frozen=True)
class Logic:
    """Look-ups in order, each register written once.

    Registers 0 and 1 hold the constants, as in :class:`~synth.netlist.program.Program`; they may be wanted, and are
    operands of nothing but copies.

    Parameters
    ----------
    sources : tuple of Register
        What is given, each once. A source that nothing reads may be there.
    wanted : tuple of Register
        What is asked for; a register may be there several times, and may be a source.
    lookups : tuple of Lookup
    """

    sources: tuple[Register, ...]
    wanted: tuple[Register, ...]
    lookups: tuple[Lookup, ...]
