"""The Nexus multipliers: MULT*, MULTPREADD*, MULTADDSUB*, with their optional registers.

Source: modules OXIDE_DSP_SIM and OXIDE_DSP_REG of ``lattice/cells_sim_nexus.v`` of Yosys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synth.netlist.cells.common import add, extend, multiply
from synth.netlist.cells.model import CellModel, CellView, Controls
from synth.netlist.network import FALSE, TRUE, Signal

_REGISTERS = ("BYPASS", "REGISTER")


def _register(view: CellView, parameter: str, control: str, data: Sequence[Signal]) -> list[Signal]:
    """Return a bus behind the register that ``parameter`` asks for; ``control`` is the suffix of its CE and RST."""
    if view.choice(parameter, "REGISTER", _REGISTERS) == "BYPASS":
        return list(data)
    asynchronous = view.choice("RESETMODE", "SYNC", ("SYNC", "ASYNC")) == "ASYNC"
    clock, enable, reset = view.input("CLK"), view.input(f"CE{control}", default=TRUE), view.input(
        f"RST{control}", default=FALSE)
    controls = Controls(async_reset=reset) if asynchronous else Controls(sync_reset=reset)
    return [view.flip_flop(bit, clock, enable=enable, controls=controls) for bit in data]


def _product(view: CellView, width_a: int, width_b: int, preadd: bool, shared_sign: bool) -> list[Signal]:
    """Return the product of the registered operands; with ``preadd``, of A and the sum B + C."""
    def operand(name: str, width: int) -> tuple[list[Signal], Signal]:
        sign = view.input("SIGNED" if shared_sign else f"SIGNED{name}")
        *bits, sign = _register(view, f"REGINPUT{name}", name, [*view.bus(name, width), sign])
        return bits, sign

    a, a_signed = operand("A", width_a)
    b, b_signed = operand("B", width_b)
    if preadd:
        c, c_signed = operand("C", width_b)
        b, b_signed = add(view, b, c)[:-1], view.or_(b_signed, c_signed)
    return multiply(view, a, b, a_signed, b_signed, width_a + width_b)


def _multiplier(width_a: int, width_b: int, *, preadd: bool = False) -> CellModel:
    def expand(view: CellView) -> None:
        view.output("Z", _register(view, "REGOUTPUT", "OUT", _product(view, width_a, width_b, preadd, False)))

    operands = {"A": width_a, "B": width_b, **({"C": width_b} if preadd else {})}
    ports = {"Z": width_a + width_b, "CLK": 1, "CEOUT": 1, "RSTOUT": 1, **operands}
    for name in operands:
        ports |= {f"SIGNED{name}": 1, f"CE{name}": 1, f"RST{name}": 1}
    parameters = (*(f"REGINPUT{name}" for name in operands), "REGOUTPUT", "RESETMODE")
    return CellModel(ports, expand, parameters, ignored=("GSR",))


def _multiply_add(width: int, total: int) -> CellModel:
    """Return MULTADDSUB: ``Z = (LOADC ? C : Z) + CIN ± A * B``."""
    def expand(view: CellView) -> None:
        product = _register(view, "REGPIPELINE", "PIPE", _product(view, width, width, False, True))
        sign, subtract = view.input("SIGNED"), view.input("ADDSUB")
        for stage in ("REGADDSUB", "REGPIPELINE"):
            sign, subtract = _register(view, stage, "CTRL", [sign, subtract])
        [load] = _register(view, "REGLOADC2", "CTRL", _register(view, "REGLOADC", "CTRL", [view.input("LOADC")]))
        [carry] = _register(view, "REGPIPELINE", "CIN", _register(view, "REGCIN", "CIN", [view.input("CIN")]))
        addend = _register(view, "REGPIPELINE", "C", _register(view, "REGINPUTC", "C", view.bus("C", total)))
        accumulated: list[Signal]
        if view.choice("REGOUTPUT", "REGISTER", _REGISTERS) == "REGISTER":
            accumulated = [view.new_signal() for _ in range(total)]
        else:
            accumulated = [view.undefined("unregistered accumulator")] * total
        base = [view.mux(load, old, new) for old, new in zip(accumulated, addend, strict=True)]
        term = [view.xor(bit, subtract) for bit in extend(view, product, total, sign)]
        negation = [subtract, *[FALSE] * (total - 1)]    # -m is ~m + 1
        partial = add(view, base, term, carry)[:-1]
        result = _register(view, "REGOUTPUT", "OUT", add(view, partial, negation)[:-1])
        if view.choice("REGOUTPUT", "REGISTER", _REGISTERS) == "REGISTER":
            for target, bit in zip(accumulated, result, strict=True):
                view.define(target, bit)
        view.output("Z", result)

    controls = ("A", "B", "C", "PIPE", "CTRL", "CIN", "OUT")
    ports = {"A": width, "B": width, "C": total, "Z": total,
             **dict.fromkeys(("CLK", "SIGNED", "LOADC", "ADDSUB", "CIN"), 1),
             **{f"{kind}{name}": 1 for name in controls for kind in ("CE", "RST")}}
    parameters = ("REGINPUTA", "REGINPUTB", "REGINPUTC", "REGADDSUB", "REGLOADC", "REGLOADC2", "REGCIN",
                  "REGPIPELINE", "REGOUTPUT", "RESETMODE")
    return CellModel(ports, expand, parameters, ignored=("GSR",))


# MULTADDSUB9X9WIDE is not here: Yosys 0.70 infers it with an unconnected LOADC and CLK but with its pipeline register
# in use (dsp_map_nexus.v sets no REGPIPELINE), so that no model can give its netlist a meaning.
NEXUS_DSP_CELLS: Mapping[str, CellModel] = {
    "MULT9X9": _multiplier(9, 9),
    "MULT18X18": _multiplier(18, 18),
    "MULT18X36": _multiplier(18, 36),
    "MULT36X36": _multiplier(36, 36),
    "MULTPREADD9X9": _multiplier(9, 9, preadd=True),
    "MULTPREADD18X18": _multiplier(18, 18, preadd=True),
    "MULTADDSUB18X18": _multiply_add(18, 54),
    "MULTADDSUB36X36": _multiply_add(36, 108),
}
