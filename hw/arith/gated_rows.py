"""Sums whose adders take an addend or leave it, at no cost where carry cells have room for that, and their products."""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from amaranth.hdl import *

from hw.convert.number import named
from hw.recorded import family_of

__all__ = ["add_gated", "gates_sums", "multiply_gated_rows", "sum_gated_rows"]

GATED_FAMILIES = ("ice40",)
"""Where the lookup table behind a carry has an input left, which then leaves an operand out at no cost."""


FEW_LEVELS, MANY_ROWS = 2, 3
"""Levels of a tree that are worth their adders however few rows a branch has; rows of a branch that are worth more."""


def gates_sums(platform):
    """Whether an adder can take or leave an addend at no cost: see :func:`multiply_gated_rows`."""
    return getattr(platform, "gated_sums", None) is not None or family_of(platform) in GATED_FAMILIES


def add_gated(m, x, a, gate, *, platform, name):
    """Return ``x + a if gate else x``, of as many bits as both have, in the form that suits a family."""
    return _form(platform).add(m, x, a, gate, x_gate=C(1, 1), subtract=False, name=name)


def _form(platform):
    return getattr(platform, "gated_sums", None) or _Inferred


def multiply_gated_rows(m, a, b, name="product", *, platform=None, balanced=False):
    """Return ``a * b``, one adder as wide as ``a`` for every bit of ``b``, which takes the sum or leaves it.

    On iCE40 the carry needs both operands as they are, and the lookup table that makes the sum has one input left:
    ``x + a if b else x`` is one LUT a bit, where ``x + (a if b else 0)`` takes two. The last row of a signed ``b``
    subtracts: what it starts from stands inverted, so that neither operand of the carries has to be. On ECP5 and
    Gowin, whose carry cells have room for the gate, synthesizers do not use it: the platform's own form does, and
    on ECP5 it makes one adder of the first two rows, gates included, and subtracts.

    LUTs of the product alone, in brackets those of the smallest of the other forms: 4 bits by 4, iCE40 19 (27), ECP5
    19 (32), Gowin 19 (31); 8 by 8, 71 (115), 71 (123), 71 (121); signed, 19 (26), 19 (29), 28 (28), and 72 (100),
    71 (107), 88 (105). Of significands with their hidden bits on iCE40, 3 bits by 3, 9 (10), 4 by 4, 17 (21), 5 by 5,
    27 (36), 8 by 8, 69 (90), 11 by 11, 129 (178). With Xilinx' carries and lookup tables of 6 inputs, it is no smaller.

    Parameters
    ----------
    m : Module
    a, b : Value
        Signed or unsigned, each on its own. Every bit of ``b`` costs a row: the narrower operand belongs there.
    name : str
        Prefix of the signals' names.
    platform : object, optional
        For ``platform.gated_sums``, its form of ``x + a if b else x`` (:mod:`synth.primitives`); what a synthesizer
        finds on iCE40 where it has none.
    balanced : bool
        Whether there are branches of a few rows each, and a tree of adders behind them, rather than one row after the
        other: 4 adders on the way of 11 bits by 11, rather than 10.

    Returns
    -------
    Value
        All ``len(a) + len(b)`` bits of the product, signed if an operand is.
    """
    return sum_gated_rows(m, [a], [b], name, platform=platform, balanced=balanced)


def sum_gated_rows(m, a, b, name="product", *, platform=None, balanced=False):
    """Return the sum of some products as :func:`multiply_gated_rows` makes one, all of them in one sum.

    Parameters
    ----------
    m : Module
    a, b : sequence of Value
        As many each. Those of ``a`` have one shape, and so have those of ``b``.
    name, platform, balanced
        As :func:`multiply_gated_rows` has them.

    Returns
    -------
    Value
        Signed if an operand is, and wide enough for every sum.
    """
    count, is_signed = len(b[0]), b[0].shape().signed
    step = _rows_of_a_branch(count, len(a)) if balanced else count
    parts = []
    for start in range(0, count, step):
        stop = min(start + step, count)
        # A part that is nothing but the row of the sign is subtracted as a whole.
        whole = is_signed and 0 < start == count - 1
        parts.append(_Part.of(m, a, [y[start:stop] for y in b], form=_form(platform), negative=whole,
                              subtract=is_signed and stop == count and not whole, name=f"{name}_{start}"))
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        sums = [left.joined(m, right, step, f"{name}_{step}_{index}") for index, (left, right) in enumerate(pairs)]
        parts, step = sums + parts[len(sums) * 2:], 2 * step
    product = Signal(Shape(len(a[0]) + count + (len(a) - 1).bit_length(), a[0].shape().signed or is_signed), name=name)
    m.d.comb += product.eq(parts[0].value)
    return product


def _rows_of_a_branch(count, lanes):
    """Return how many rows follow on each other in every branch of a tree, for the fewest adders on the way.

    Every branch begins with gates alone, and one more adder joins it to the others. LUTs and MHz of products alone on
    iCE40, in branches of so many rows: 11 bits by 11, all rows 131, 50; 6 rows 151, 73; 3 rows 173, 88; 2 rows 190, 92.
    13 by 13, all 181, 44; 7 rows 204, 63; 4 rows 233, 75; 2 rows 265, 81.
    """
    if lanes > 1:
        return 1
    steps = [-(-count // (1 << levels)) for levels in range(count.bit_length() + 1)]
    return min((step for levels, step in enumerate(steps) if levels <= FEW_LEVELS or step >= MANY_ROWS),
               key=lambda step: step - 1 + (-(-count // step) - 1).bit_length())


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The sum of some rows, whose range is known, or what is to be subtracted."""

    value: Value
    least: int
    most: int
    negative: bool = False

    @classmethod
    def of(cls, m, a, b, *, form, subtract, negative, name):
        """Return the sum of adjacent rows, one adder after the other; ``subtract`` is about the last one."""
        rows, low = _Rows(m, form, name), []
        least = most = 0
        values = _range(a[0].shape())
        for row in range(len(b[0])):
            if row:
                low.append(rows.take_lowest())
            last = subtract and row == len(b[0]) - 1
            with rows.subtracting() if last else nullcontext():
                for x, y in zip(a, b, strict=True):
                    rows.add(x, y[row])
            ends = sorted((-1 if last else 1) * end for end in (min(values[0], 0), max(values[-1], 0)))
            least, most = least + (ends[0] * len(a) << row), most + (ends[1] * len(a) << row)
        total = rows.total()
        value = Signal(Shape.cast(range(least, most + 1)), name=name)
        bits = Cat(*low, total)
        m.d.comb += value.eq(bits.as_signed() if total.shape().signed else bits)
        return cls(value=value, least=least, most=most, negative=negative)

    def joined(self, m, above, places, name):
        """Return the sum with a part so many places above."""
        ends = (-above.most, -above.least) if above.negative else (above.least, above.most)
        least, most = (self.least >> places) + ends[0], (self.most >> places) + ends[1]
        upper = Signal(Shape.cast(range(least, most + 1)), name=f"{name}_upper")
        kept = self.value.shift_right(places)
        m.d.comb += upper.eq(kept - above.value if above.negative else kept + above.value)
        value = Cat(self.value[:places], upper)
        return _Part(value=value.as_signed() if upper.shape().signed else value,
                     least=self.least + (ends[0] << places), most=self.most + (ends[1] << places))


class _Inferred:
    """The form of a gated sum that synthesizers find on iCE40."""

    gates_both = subtracts = False

    @staticmethod
    def add(m, x, a, gate, *, x_gate, subtract, name):
        return Mux(gate, named(m, (x + a)[:len(x)], f"{name}_sum"), x)


class _Rows:
    """A sum of addends that a bit may leave out, adder by adder, each as wide as its values ask for.

    Parameters
    ----------
    m : Module
    form : GatedSums
        As :mod:`synth.primitives` has it.
    name : str
        Prefix of the signals' names.
    """

    def __init__(self, m, form, name):
        self._m, self._form, self._name = m, form, name
        self._sum, self._gate, self._count = C(0, 1), None, 0
        self._least = self._most = 0
        self._subtract = False

    def add(self, addend, gate):
        """Add ``addend`` if ``gate``."""
        values = _range(addend.shape())
        least, most = min(values[0], 0), max(values[-1], 0)
        is_first = self._least == self._most == 0 and not self._subtract
        if self._subtract:
            least, most = -most, -least
        self._least, self._most = self._least + least, self._most + most
        if is_first:
            self._sum, self._gate = addend, gate
            if not self._form.gates_both:
                self._settle()
            return
        width = len(Signal(self._range()))
        self._keep(self._form.add(
            self._m, _extended(self._sum, width), _extended(addend, width), gate, subtract=self._subtract,
            x_gate=C(1, 1) if self._gate is None else self._gate, name=self._next_name()))

    @contextmanager
    def subtracting(self):
        """Subtract, rather than add: directly, or ``~(~x + a)``."""
        self._settle()
        if self._form.subtracts:
            self._subtract = True
            yield
            self._subtract = False
            return
        for last in (False, True):
            self._least, self._most = ~self._most, ~self._least
            self._keep(~(self._sum if self._sum.shape().signed else Cat(self._sum, C(0, 1)).as_signed()))
            if not last:
                yield

    def take_lowest(self):
        """Return the lowest bit, and go on with what stands above it."""
        lowest = self._sum[0] if self._gate is None else self._sum[0] & self._gate
        above = self._sum.shift_right(1)
        self._least, self._most = self._least >> 1, self._most >> 1
        if self._gate is None:
            self._keep(above)
        else:
            self._sum = above if len(above) else C(0, 1)
        return lowest

    def total(self):
        """Return what stands above the bits taken."""
        self._settle()
        return self._sum

    def _settle(self):
        if self._gate is not None:
            gated = self._sum[:] & self._gate.replicate(len(self._sum))
            self._keep(gated.as_signed() if self._sum.shape().signed else gated)

    def _keep(self, value):
        self._sum, self._gate = Signal(Shape.cast(self._range()), name=self._next_name()), None
        self._m.d.comb += self._sum.eq(value)

    def _range(self):
        return range(self._least, self._most + 1)

    def _next_name(self):
        self._count += 1
        return f"{self._name}_{self._count}"


def _extended(value, width):
    return Cat(value, (value[-1] if value.shape().signed else C(0, 1)).replicate(width - len(value)))[:width]


def _range(shape):
    half = 1 << shape.width - shape.signed
    return range(-half if shape.signed else 0, half)
