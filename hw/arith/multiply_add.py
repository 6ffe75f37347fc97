"""One slice of a chain of hard multipliers: a product added to what the slice before it has summed."""

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pipeline import delay
from sw.formats.check import check_boolean, check_integer

__all__ = ["MAX_FACTOR_WIDTH", "MAX_SUM_WIDTH", "MultiplyAdd"]

MAX_FACTOR_WIDTH = 64
"""Most bits of a factor: beyond what any family multiplies in one block."""

MAX_SUM_WIDTH = 128
"""Most bits of a sum: that of two factors of full width."""

_WIRES = 48
"""Least bits of the wires between slices: those of a DSP48, which come whole or not at all."""


class MultiplyAdd(wiring.Component):
    """``o = a * b + (start if begin else what was summed before)`` in registers, made of the family's DSP block.

    What was summed before is ``cascade``, the sum of the slice before this one, or with ``accumulate`` the slice's own.
    A platform offers the block's form as ``platform.get_multiply_add(self)``, which returns an elaboratable that
    connects the same members, or None; without that method, or for None, the generic form is elaborated.
    :mod:`synth.primitives` has the forms, and what each of them costs.

    Timing: ``a``, ``b`` and ``begin`` of cycle t meet ``cascade`` of cycle t + 2 in the sum, which ``o`` and
    ``cascade_out`` show in cycle t + 3 (``latency``): the registers are those of operands, product and sum. The next
    slice of a chain therefore takes its ``a``, ``b`` and ``begin`` one cycle later. No register has a reset.

    Parameters
    ----------
    a_width, b_width : int, bits
        Of the signed factors: 1 to ``MAX_FACTOR_WIDTH``.
    width : int, bits
        Of the sum, which wraps: 1 to ``MAX_SUM_WIDTH``.
    start : int
        What a sum begins with: an unsigned constant of ``width`` bits, such as a packing's bias.
    cascaded : bool
        Whether the slice takes a sum over; otherwise, without ``accumulate``, every product begins a sum.
    accumulate : bool
        Whether the slice adds to its own sum; ``cascaded`` must then be False.

    Members
    -------
    enable : In(1), 1 where it is not driven
        While it is 0, no register changes. Amaranth's ``EnableInserter`` does not reach into a DSP block: what puts
        one around a slice has to drive this too.
    a, b : In(signed)
    begin : In(1)
        Present where ``cascaded`` or ``accumulate``.
    cascade : In, cascade_out : Out
        To be connected whole from slice to slice and to nothing else: families have wires of their own for them.
        ``cascade`` is present where ``cascaded``.
    o : Out(unsigned(width))
        The same sum for all others.

    Raises
    ------
    TypeError, ValueError
        If a number is no integer or out of range, or both ``cascaded`` and ``accumulate`` are asked for.
    """

    def __init__(self, *, a_width, b_width, width, start=0, cascaded=False, accumulate=False):
        for noun, number, limit in (("A width", a_width, MAX_FACTOR_WIDTH), ("B width", b_width, MAX_FACTOR_WIDTH),
                                    ("Width", width, MAX_SUM_WIDTH)):
            check_integer(noun, number)
            if not 1 <= number <= limit:
                raise ValueError(f"{noun} must be between 1 and {limit} bits, not {number!r}")
        check_integer("Start", start)
        if not 0 <= start < 1 << width:
            raise ValueError(f"Start must be an unsigned number of {width} bits, not {start!r}")
        check_boolean("Cascaded", cascaded)
        check_boolean("Accumulate", accumulate)
        if cascaded and accumulate:
            raise ValueError("Accumulate must be False for a slice that takes over another's sum, not True")
        self._a_width, self._b_width, self._width = a_width, b_width, width
        self._start, self._cascaded, self._accumulate = start, cascaded, accumulate
        wires = max(width, _WIRES)
        members = {"enable": In(1, init=1), "a": In(signed(a_width)), "b": In(signed(b_width)),
                   "o": Out(width), "cascade_out": Out(wires)}
        if cascaded or accumulate:
            members["begin"] = In(1)
        if cascaded:
            members["cascade"] = In(wires)
        super().__init__(members)

    @property
    def a_width(self):
        """Bits of the factor ``a``."""
        return self._a_width

    @property
    def b_width(self):
        """Bits of the factor ``b``."""
        return self._b_width

    @property
    def width(self):
        """Bits of the sum."""
        return self._width

    @property
    def start(self):
        """What a sum begins with."""
        return self._start

    @property
    def cascaded(self):
        """Whether the slice takes a sum over from the one before it."""
        return self._cascaded

    @property
    def accumulate(self):
        """Whether the slice adds to its own sum."""
        return self._accumulate

    @property
    def latency(self):
        """Cycles from the factors to the sum."""
        return 3

    def model(self, a, b, before=None):
        """Return the sum of ``a * b`` and ``before`` (None: of a sum's beginning), as an unsigned number."""
        return (a * b + (self._start if before is None else before)) % (1 << self._width)

    def elaborate(self, platform):
        get_form = getattr(platform, "get_multiply_add", None)
        form = None if get_form is None else get_form(self)
        if form is not None:
            return form
        m = Module()
        total = Signal(self._width, reset_less=True)
        before = total if self._accumulate else self.cascade[:self._width] if self._cascaded else None
        with m.If(self.enable):
            product = delay(m, delay(m, self.a, 1, name="a") * delay(m, self.b, 1, name="b"), 1, name="product")
            if before is None:
                m.d.sync += total.eq(product + self._start)
            else:
                m.d.sync += total.eq(product + Mux(delay(m, self.begin, 2, name="begin"), self._start, before))
        m.d.comb += [self.o.eq(total), self.cascade_out.eq(total)]
        return m
