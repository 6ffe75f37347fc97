"""Mechanisms that every family has: look-up tables, buffers, multiplexers, constants, pads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from synth.netlist.cells.model import CellModel, CellView
from synth.netlist.network import FALSE, TABLE_MUX, TRUE, Signal

IGNORED_PAD_PARAMETERS = (
    "CAPACITANCE", "CCIO_EN", "DIFF_RESISTOR", "DRIVE", "HYSTERESIS", "IBUF_DELAY_VALUE", "IBUF_LOW_PWR",
    "IFD_DELAY_VALUE", "IOSTANDARD", "IO_STANDARD", "IO_TYPE", "OPENDRAIN", "PULLMODE", "PULLUP", "PULL_MODE",
    "SLEW", "SLEWRATE", "XON", "MSGON")


def lut_model(inputs: Sequence[str], output: str, parameter: str, default: Signal | None = None) -> CellModel:
    """Return a look-up table: input *i* is bit *i* of the index into the parameter's bits."""
    size = 1 << len(inputs)

    def expand(view: CellView) -> None:
        table = view.integer(parameter, 0, size)
        view.output(output, view.lut(table, [view.input(port, default=default) for port in inputs]))

    return CellModel(dict.fromkeys((*inputs, output), 1), expand, (parameter,))


def buffer_model(input_: str, output: str, *, inverted: bool = False, ignored: Collection[str] = ()) -> CellModel:
    """Return a buffer, or an inverter: clock and pad buffers count as buffers."""

    def expand(view: CellView) -> None:
        view.output(output, view.invert_if(inverted, view.input(input_)))

    return CellModel({input_: 1, output: 1}, expand, ignored=ignored)


def function_model(inputs: Sequence[str], output: str, table: int) -> CellModel:
    """Return a cell with a fixed truth table."""

    def expand(view: CellView) -> None:
        view.output(output, view.lut(table, [view.input(port) for port in inputs]))

    return CellModel(dict.fromkeys((*inputs, output), 1), expand)


def mux_model(if_false: str, if_true: str, select: str, output: str) -> CellModel:
    """Return a two-way multiplexer."""
    return function_model((if_false, if_true, select), output, TABLE_MUX)


def constant_model(output: str, value: bool) -> CellModel:
    """Return a ground or supply cell."""
    return CellModel({output: 1}, lambda view: None, constants={output: value})


def tristate_model(data: str, enable: str, pin: str, *, active_low: bool, output: str | None = None) -> CellModel:
    """Return a pad that drives ``pin`` while enabled, and reads it at ``output`` where it has one.

    An unconnected enable pin of a pad with an active-low enable means "always drive", as the pull-downs of the
    families make it.
    """

    def expand(view: CellView) -> None:
        signal = view.input(enable, default=FALSE if active_low else None)
        view.drive_pad(pin, view.input(data), view.invert_if(active_low, signal))
        if output is not None:
            view.output(output, view.input(pin))

    ports = dict.fromkeys((data, enable, pin) if output is None else (data, enable, pin, output), 1)
    return CellModel(ports, expand, ignored=IGNORED_PAD_PARAMETERS)


def full_adder(view: CellView, a: Signal, b: Signal, carry: Signal) -> tuple[Signal, Signal]:
    """Return sum and carry of three bits, the carry chosen by ``a ^ b`` so that both share it."""
    propagate = view.xor(a, b)
    return view.xor(propagate, carry), view.mux(propagate, a, carry)


def add(view: CellView, a: Sequence[Signal], b: Sequence[Signal], carry: Signal = FALSE) -> list[Signal]:
    """Return ``a + b + carry`` of two buses of one width: as many bits as they have, then the carry."""
    total = []
    for a_bit, b_bit in zip(a, b, strict=True):
        bits = [bit for bit in (a_bit, b_bit, carry) if bit != FALSE]
        if len(bits) < 3:                                # a half adder: multipliers have many
            x, y = (*bits, FALSE, FALSE)[:2]
            total.append(view.xor(x, y))
            carry = view.and_(x, y)
        else:
            bit, carry = full_adder(view, a_bit, b_bit, carry)
            total.append(bit)
    return [*total, carry]


def extend(view: CellView, bus: Sequence[Signal], width: int, signed: Signal = FALSE) -> list[Signal]:
    """Return ``bus`` in ``width`` bits: cut, or extended by its sign where ``signed``."""
    fill = view.and_(signed, bus[-1])
    return [*bus[:width], *[fill] * (width - len(bus))]


def multiply(view: CellView, a: Sequence[Signal], b: Sequence[Signal], a_signed: Signal, b_signed: Signal,
             width: int) -> list[Signal]:
    """Return the lowest ``width`` bits of ``a * b``, each operand read as two's complement where its flag is true.

    With *w* bits, a signed operand is its unsigned reading less ``sign * 2**w``; so the product is the unsigned one
    less two shifted, gated operands (their cross term vanishes modulo ``2**(w_a + w_b)``).
    """
    a, a_signed = _trim(a, a_signed)
    b, b_signed = _trim(b, b_signed)
    product: list[Signal] = [FALSE] * (len(a) + len(b))
    for shift, b_bit in enumerate(b):
        row = [view.and_(a_bit, b_bit) for a_bit in a]
        product[shift:shift + len(a) + 1] = add(view, product[shift:shift + len(a)], row)
    for operand, other, signed in ((a, b, a_signed), (b, a, b_signed)):
        sign = view.and_(signed, operand[-1])
        if sign != FALSE:
            high = product[len(operand):]                # subtract: add the complement and one
            inverse = [view.not_(view.and_(sign, bit)) for bit in other]
            product[len(operand):] = add(view, high, inverse, TRUE)[:-1]
    return extend(view, product, width, view.or_(a_signed, b_signed))


def _trim(bus: Sequence[Signal], signed: Signal) -> tuple[list[Signal], Signal]:
    """Drop leading bits that repeat the sign or are zero."""
    trimmed = list(bus)
    if signed == TRUE and trimmed[-1] == FALSE:
        signed = FALSE
    while len(trimmed) > 1 and ((signed == TRUE and trimmed[-1] == trimmed[-2])
                                or (signed == FALSE and trimmed[-1] == FALSE)):
        trimmed.pop()
    return trimmed, signed
