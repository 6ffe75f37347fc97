"""Products as a tree of adders, for carry cells that gate both addends: two rows of a product in one adder."""

from dataclasses import dataclass

from amaranth.hdl import *

__all__ = ["multiply_gated_tree", "suits_tree"]


def suits_tree(platform):
    """Whether a family's carry cells can do what :func:`multiply_gated_tree` asks for."""
    form = getattr(platform, "gated_sums", None)
    return form is not None and form.gates_both and form.subtracts


def multiply_gated_tree(m, a, b, name="product", *, platform):
    """Return ``a * b``: an adder for every two bits of ``b``, and a tree of adders over their sums.

    LUTs of the product alone on ECP5, in brackets those of :func:`hw.arith.gated_rows.multiply_gated_rows`: 4 bits by
    4, 18 (19); 6 by 6, 40 (41); 8 by 8, 72 (71); where both are signed, 19, 41, and 73 at 141 MHz. Rows of an odd
    number of bits fill cells of two less well: 5 by 5, 28 (25).

    Parameters
    ----------
    m : Module
    a, b : Value
        Signed or unsigned, each on its own. Every bit of ``b`` costs a row as wide as ``a``.
    name : str
        Prefix of the signals' names.
    platform : object
        Its ``gated_sums`` gate both addends, and subtract.

    Returns
    -------
    Value
        All ``len(a) + len(b)`` bits of the product, signed if an operand is.
    """
    tree = _Tree(m, platform.gated_sums, a, b, name)
    terms = tree.pairs()
    while len(terms) > 1:
        sums = [tree.sum(low, high) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = sums + terms[2 * len(sums):]
    product = Signal(Shape(len(a) + len(b), a.shape().signed or b.shape().signed), name=name)
    m.d.comb += product.eq(terms[0].value)
    return product


@dataclass(frozen=True)
class _Term:
    """A part of the product.

    Parameters
    ----------
    value : Value
        Signed or not, as its range asks for.
    range_ : range
        Of its values.
    weight : int
        It counts in units of 2 to this power.
    """

    value: Value
    range_: range
    weight: int


class _Tree:
    """The adders of a product.

    Parameters
    ----------
    m : Module
    form : GatedSums
        As :mod:`synth.primitives` has it.
    a, b : Value
        Operands.
    name : str
        Prefix of the signals' names.
    """

    def __init__(self, m, form, a, b, name):
        self._m, self._form, self._a, self._b, self._name = m, form, a, b, name
        self._multiplicand = Shape.cast(a.shape())
        self._count = 0

    def pairs(self):
        """Return the sums of two rows each, or their difference where the second is a sign's; a row that is left joins
        the last of them."""
        is_signed, count = self._b.shape().signed, len(self._b)
        terms = [self._pair(row, subtract=is_signed and row + 2 == count) for row in range(0, count - 1, 2)]
        if count % 2 and is_signed:
            below = terms.pop() if terms else _Term(C(0, 1), range(1), 0)
            terms.append(self._row(below, count - 1, subtract=True))
        elif count % 2:
            terms.append(self._row(terms.pop(), count - 1) if terms else self._first(count - 1))
        return terms

    def sum(self, low, high):
        """Return the sum of two terms: the bits of ``low`` below the weight of ``high`` pass by its adder."""
        places = high.weight - low.weight
        whole = _sum_of(low.range_, _moved(high.range_, places))
        total = self._signal(_moved(whole, -places))
        self._m.d.comb += total.eq(low.value.shift_right(places) + high.value)
        return self._joined(low, total, whole, places)

    def _values(self):
        half = 1 << self._multiplicand.width - self._multiplicand.signed
        return range(-half if self._multiplicand.signed else 0, half)

    def _first(self, row):
        values = self._values()
        total = self._signal(range(min(values[0], 0), max(values[-1], 0) + 1))
        self._m.d.comb += total.eq(Mux(self._b[row], self._a, 0))
        return _Term(total, range(min(values[0], 0), max(values[-1], 0) + 1), row)

    def _pair(self, row, *, subtract=False):
        """Two rows. Cells hold two bits each: with an odd number of them, the lowest is a gate of its own."""
        values = self._values()
        least, most = min(values[0], 0), values[-1]
        whole = range(least - 2 * most, most - 2 * least + 1) if subtract else range(3 * least, 3 * most + 1)
        size = len(Signal(whole)) - 1
        passed = 1 if (size + subtract) % 2 == 0 else 0
        size += 1 - passed
        total = self._form.add(self._m, _extended(self._a.shift_right(passed), size),
                               _extended(self._a.shift_left(1 - passed), size), self._b[row + 1],
                               x_gate=self._b[row], subtract=subtract, name=self._next_name())
        bits = Cat(self._a[0] & self._b[row], total) if passed else total
        return _Term(self._kept(bits, whole), whole, row)

    def _row(self, below, row, *, subtract=False):
        """One more row beside a term."""
        values = self._values()
        places = row - below.weight
        least, most = min(values[0], 0), max(values[-1], 0)
        added = range(-most, -least + 1) if subtract else range(least, most + 1)
        whole = _sum_of(below.range_, _moved(added, places))
        above = _moved(whole, -places)
        size = len(Signal(above))
        total = self._form.add(self._m, _extended(below.value.shift_right(places), size), _extended(self._a, size),
                               self._b[row], x_gate=C(1, 1), subtract=subtract, name=self._next_name())
        return self._joined(below, self._kept(total, above), whole, places)

    def _joined(self, low, total, whole, places):
        """Return a sum above the bits of ``low`` that passed by, which is in the range ``whole``."""
        passed = low.value[:places]
        return _Term(self._kept(Cat(passed, C(0, places - len(passed)), total), whole), whole, low.weight)

    def _kept(self, bits, range_):
        kept = self._signal(range_)
        self._m.d.comb += kept.eq(bits)
        return kept

    def _signal(self, range_):
        return Signal(Shape.cast(range_), name=self._next_name())

    def _next_name(self):
        self._count += 1
        return f"{self._name}_{self._count}"


def _sum_of(a, b):
    """Return the range of a sum."""
    return range(a.start + b.start, a[-1] + b[-1] + 1)


def _moved(range_, places):
    """Return the range of what is shifted left by some places, or right where they are negative."""
    least, most = (bound << places if places >= 0 else bound >> -places for bound in (range_.start, range_[-1]))
    return range(least, most + 1)


def _extended(value, width):
    """Return the low ``width`` bits of a value, however many it has."""
    value = value[:width] if len(value) >= width else value
    sign = value[-1] if len(value) and value.shape().signed else C(0, 1)
    return Cat(value, sign.replicate(width - len(value)))
