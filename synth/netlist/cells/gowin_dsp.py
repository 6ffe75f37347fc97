"""The Gowin multipliers MULT* and MULTALU18X18, with their optional registers.

Source: the ports and parameters as Yosys has them, which has no model of them, and Project Apicula's notes; Gowin
describes them in UG287 (DSP user guide). MULTALU18X18 is here in its mode 0, where the sum is
``(ACCLOAD ? DOUT : 0) ± A * B ± C``: C has a register of its own and none level with that between multiplier and adder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synth.netlist.cells.common import add, extend, multiply
from synth.netlist.cells.model import CellModel, CellView, Controls
from synth.netlist.network import FALSE, TRUE, Signal

_OPERAND_REGISTERS = ("AREG", "BREG", "ASIGN_REG", "BSIGN_REG")
_CONTROL_PORTS = dict.fromkeys(("ASIGN", "BSIGN", "CE", "CLK", "RESET"), 1)
_SUM_WIDTH = 54


def _register(view: CellView, parameter: str, data: Sequence[Signal]) -> list[Signal]:
    """Return a bus behind the register that ``parameter`` asks for."""
    if not view.flag(parameter):
        return list(data)
    asynchronous = view.choice("MULT_RESET_MODE", "SYNC", ("SYNC", "ASYNC")) == "ASYNC"
    reset = view.input("RESET", default=FALSE)
    controls = Controls(async_reset=reset) if asynchronous else Controls(sync_reset=reset)
    clock, enable = view.input("CLK"), view.input("CE", default=TRUE)
    return [view.flip_flop(bit, clock, enable=enable, controls=controls) for bit in data]


def _product(view: CellView, width: int) -> tuple[list[Signal], Signal]:
    """Return the product of the operands behind their registers, and whether it is signed."""
    operands = []
    for name in "AB":
        [sign] = _register(view, f"{name}SIGN_REG", [view.input(f"{name}SIGN")])
        operands.append((_register(view, f"{name}REG", view.bus(name, width)), sign))
    (a, a_signed), (b, b_signed) = operands
    return multiply(view, a, b, a_signed, b_signed, 2 * width), view.or_(a_signed, b_signed)


def _multiplier(width: int, *, output_registers: Sequence[str] = ("OUT_REG",)) -> CellModel:
    """Return a multiplier; ``output_registers`` are the parameters of its last register, which must agree."""
    def expand(view: CellView) -> None:
        for pin in ("ASEL", "BSEL"):
            if view.constant(pin, default=FALSE):
                raise view.error(f"Pin {pin} must be 0: the operand from the pins, without a cascade", 1)
        first, *others = output_registers
        for other in others:
            if view.flag(other) != view.flag(first):
                raise view.error(f"Parameter {other} must be that of {first}, {int(view.flag(first))}",
                                 int(view.flag(other)))
        product, _ = _product(view, width)
        view.output("DOUT", _register(view, first, _register(view, "PIPE_REG", product)))
        view.unsupported_output("SOA")
        view.unsupported_output("SOB")

    ports = {**_CONTROL_PORTS, **dict.fromkeys(("ASEL", "BSEL"), 1), "DOUT": 2 * width,
             **dict.fromkeys(("A", "B", "SIA", "SIB", "SOA", "SOB"), width)}
    return CellModel(ports, expand, (*_OPERAND_REGISTERS, *output_registers, "PIPE_REG", "MULT_RESET_MODE"),
                     ignored=("SOA_REG",))


def _expand_multiply_add(view: CellView) -> None:
    for name in ("MULTALU18X18_MODE", "DREG", "DSIGN_REG"):
        if view.integer(name, 0, 32):
            raise view.error(f"Parameter {name} must be 0: a sum of the product, C and the own sum",
                             view.integer(name, 0, 32))
    if not view.flag("OUT_REG"):
        raise view.error("Parameter OUT_REG must be 1: the accumulator is that register", 0)
    product, signed = _product(view, 18)
    *product, signed = _register(view, "PIPE_REG", [*product, signed])
    [load] = _register(view, "ACCLOAD_REG1", _register(view, "ACCLOAD_REG0", [view.input("ACCLOAD")]))
    total = [view.new_signal() for _ in range(_SUM_WIDTH)]
    following = [view.and_(bit, load) for bit in total]
    for parameter, term in (("B_ADD_SUB", extend(view, product, _SUM_WIDTH, signed)),
                            ("C_ADD_SUB", _register(view, "CREG", view.bus("C", _SUM_WIDTH)))):
        subtracted = view.flag(parameter)
        following = add(view, following, [view.invert_if(subtracted, bit) for bit in term],
                        TRUE if subtracted else FALSE)[:-1]
    for target, bit in zip(total, _register(view, "OUT_REG", following), strict=True):
        view.define(target, bit)
    view.output("DOUT", total)
    view.output("CASO", [*total, total[-1]])


GOWIN_DSP_CELLS: Mapping[str, CellModel] = {
    "MULT9X9": _multiplier(9),
    "MULT18X18": _multiplier(18),
    "MULT36X36": _multiplier(36, output_registers=("OUT0_REG", "OUT1_REG")),
    "MULTALU18X18": CellModel(
        {**_CONTROL_PORTS, "ACCLOAD": 1, "DSIGN": 1, "A": 18, "B": 18, "C": _SUM_WIDTH, "D": _SUM_WIDTH,
         "CASI": _SUM_WIDTH + 1, "DOUT": _SUM_WIDTH, "CASO": _SUM_WIDTH + 1}, _expand_multiply_add,
        (*_OPERAND_REGISTERS, "CREG", "DREG", "DSIGN_REG", "PIPE_REG", "OUT_REG", "ACCLOAD_REG0", "ACCLOAD_REG1",
         "B_ADD_SUB", "C_ADD_SUB", "MULTALU18X18_MODE", "MULT_RESET_MODE")),
}
