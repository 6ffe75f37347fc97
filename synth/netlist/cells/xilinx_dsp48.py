"""The Xilinx DSP blocks: DSP48E1 (7 series) and DSP48E2 (UltraScale+).

DSP48E1 follows ``xilinx/cells_sim.v`` of Yosys: pre-adder, 25x18 multiplier, three-input adder, cascades and all
registers but that of CARRYINSEL. SIMD, pattern detection and the logic unit are refused. DSP48E2 has no model in Yosys;
where its document (AMD UG579, chapter 2) says no more of it, it is the same block with 27 bits in place of 25, AMULTSEL
in place of USE_DPORT, and a fourth operand of the adder, W: zero, P, the constant RND or C, as OPMODE[8:7] chooses.
"""

from __future__ import annotations

from collections.abc import Sequence

from synth.netlist.cells.common import add, extend, multiply
from synth.netlist.cells.model import CellModel, CellView, Controls
from synth.netlist.network import FALSE, TRUE, Signal

Bus = list[Signal]

_SCALAR_PORTS = (
    "CARRYCASCOUT", "MULTSIGNOUT", "OVERFLOW", "UNDERFLOW", "PATTERNBDETECT", "PATTERNDETECT", "CARRYCASCIN",
    "CARRYIN", "CEA1", "CEA2", "CEAD", "CEALUMODE", "CEB1", "CEB2", "CEC", "CECARRYIN", "CECTRL", "CED", "CEINMODE",
    "CEM", "CEP", "CLK", "MULTSIGNIN", "RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL", "RSTD",
    "RSTINMODE", "RSTM", "RSTP")
_BUS_PORTS = {"ACOUT": 30, "BCOUT": 18, "CARRYOUT": 4, "P": 48, "PCOUT": 48, "A": 30, "ACIN": 30, "ALUMODE": 4,
              "B": 18, "BCIN": 18, "C": 48, "CARRYINSEL": 3, "INMODE": 5, "PCIN": 48}
_CONTROL_REGISTERS = ("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "INMODEREG", "OPMODEREG")
_SETTINGS = {"USE_MULT": "MULTIPLY", "USE_SIMD": "ONE48", "USE_PATTERN_DETECT": "NO_PATDET",
             "AUTORESET_PATDET": "NO_RESET"}
_IGNORED = ("SEL_MASK", "SEL_PATTERN", "MASK", "PATTERN", "ACASCREG", "BCASCREG")


def _refuse_unmodelled(view: CellView, inverted: Sequence[str]) -> None:
    """Raise for settings that the model does not have; ``inverted`` lists the pin inversions."""
    for name, value in _SETTINGS.items():
        view.choice(name, value, (value,))
    if view.integer("CARRYINSELREG", 1, 32):
        raise view.error("Parameter CARRYINSELREG must be 0: CARRYINSEL without a register",
                         view.integer("CARRYINSELREG", 1, 32))
    for name in inverted:
        if view.integer(name, 0, 32):
            raise view.error(f"Parameter {name} must be 0", view.integer(name, 0, 32))
    for port in ("CARRYCASCOUT", "CARRYOUT", "MULTSIGNOUT", "OVERFLOW", "UNDERFLOW", "PATTERNBDETECT",
                 "PATTERNDETECT"):
        view.unsupported_output(port)


def _register(view: CellView, data: Sequence[Signal], enable: str, reset: str) -> Bus:
    """Return a bus behind flip-flops that start and are reset at 0, so that they leave a constant 0 as it is."""
    clock, enable_signal = view.input("CLK"), view.input(enable)
    controls = Controls(sync_reset=view.input(reset, default=FALSE))
    return [bit if bit == FALSE else view.flip_flop(bit, clock, enable=enable_signal, controls=controls)
            for bit in data]


def _stage(view: CellView, parameter: str, data: Bus, enable: str, reset: str) -> Bus:
    depth = view.integer(parameter, 1, 32)
    if depth > 1:
        raise view.error(f"Parameter {parameter} must be 0 or 1", depth)
    return _register(view, data, enable, reset) if depth else data


def _operand(view: CellView, name: str, width: int) -> tuple[Bus, Bus]:
    """Return the first and second register of operand A or B (the pins themselves where they are bypassed)."""
    cascade = view.choice(f"{name}_INPUT", "DIRECT", ("DIRECT", "CASCADE")) == "CASCADE"
    data = view.bus(f"{name}CIN" if cascade else name, width)
    depth = view.integer(f"{name}REG", 1, 32)
    if depth > 2:
        raise view.error(f"Parameter {name}REG must be 0 to 2", depth)
    if depth == 0:
        view.output(f"{name}COUT", data)
        return data, data
    first = _register(view, data, f"CE{name}1", f"RST{name}")
    second = _register(view, first if depth == 2 else data, f"CE{name}2", f"RST{name}")
    cascade_first = depth == 2 and view.integer(f"{name}CASCREG", 1, 32) == 1
    view.output(f"{name}COUT", first if cascade_first else second)
    return first, second


def _select(view: CellView, select: Sequence[Signal], choices: Sequence[Bus]) -> Bus:
    """Return the bus that ``select`` (least significant first) chooses."""
    buses = list(choices)
    for bit in select:
        buses = [[view.mux(bit, low, high) for low, high in zip(lows, highs, strict=True)]
                 for lows, highs in zip(buses[::2], buses[1::2], strict=True)]
    return buses[0]


def _multiplier(view: CellView, a: tuple[Bus, Bus], b: tuple[Bus, Bus], width: int, preadd: bool) -> Bus:
    """Return the product after pre-adder and M register, sign-extended to 48 bits; ``width`` is that of operand A."""
    mode = _stage(view, "INMODEREG", view.bus("INMODE", 5), "CEINMODE", "RSTINMODE")
    operand = [view.and_(view.mux(mode[0], second, first), view.not_(mode[1]))
               for first, second in zip(a[0][:width], a[1][:width], strict=True)]
    if preadd:
        d = [view.and_(bit, mode[2]) for bit in _stage(view, "DREG", view.bus("D", width), "CED", "RSTD")]
        sums = add(view, d, [view.xor(bit, mode[3]) for bit in operand], mode[3])[:-1]
        operand = _stage(view, "ADREG", sums, "CEAD", "RSTD")
    other = [view.mux(mode[4], second, first) for first, second in zip(*b, strict=True)]
    product = multiply(view, operand, other, TRUE, TRUE, width + 18)
    return extend(view, _stage(view, "MREG", product, "CEM", "RSTM"), 48, TRUE)


def _expand_dsp48e1(view: CellView) -> None:
    _refuse_unmodelled(view, _DSP48E1_INVERTED)
    _expand(view, 25, preadd=view.choice("USE_DPORT", "FALSE", ("FALSE", "TRUE")) == "TRUE", four_operands=False)


def _expand_dsp48e2(view: CellView) -> None:
    _refuse_unmodelled(view, _DSP48E2_INVERTED)
    for name, value in _DSP48E2_SETTINGS.items():
        view.choice(name, value, (value,))
    _expand(view, 27, preadd=view.choice("AMULTSEL", "A", ("A", "AD")) == "AD", four_operands=True)
    view.unsupported_output("XOROUT")


def _expand(view: CellView, width: int, *, preadd: bool, four_operands: bool) -> None:
    a, b = _operand(view, "A", 30), _operand(view, "B", 18)
    product = _multiplier(view, a, b, width, preadd)
    c = _stage(view, "CREG", view.bus("C", 48), "CEC", "RSTC")
    registered = view.integer("PREG", 1, 32)
    p: Bus = [view.new_signal() if registered else view.undefined("unregistered feedback") for _ in range(48)]
    result = _adder(view, [*b[1], *a[1]], product, c, p, four_operands)
    result = _stage(view, "PREG", result, "CEP", "RSTP")
    if registered:
        for target, bit in zip(p, result, strict=True):
            view.define(target, bit)
    view.output("P", result)
    view.output("PCOUT", result)


def _adder(view: CellView, concatenation: Bus, product: Bus, c: Bus, p: Bus, four_operands: bool) -> Bus:
    """Return Z plus or minus (W + X + Y + carry), as OPMODE and ALUMODE choose."""
    for index in (2, 3):
        if view.constant("ALUMODE", index):
            raise view.error(f"Pin ALUMODE[{index}] must be 0: an addition or subtraction", 1)
    pins = view.bus("OPMODE", 9 if four_operands else 7)
    zero, ones, cascade = [FALSE] * 48, [TRUE] * 48, view.bus("PCIN", 48)
    invalid = [view.undefined("invalid OPMODE")] * 48
    # The product comes as two partial ones, at X and at Y: here whole at X, so both must choose it together.
    product_chosen = [view.and_(view.not_(pins[high]), pins[low]) for low, high in ((0, 1), (2, 3))]
    if product_chosen[0] != product_chosen[1]:
        raise view.error("Pins OPMODE[3:0] must be constant and choose the product at X and at Y together",
                         "one of them alone")
    mode = _stage(view, "OPMODEREG", pins, "CECTRL", "RSTCTRL")
    x = _select(view, mode[0:2], (zero, product, p, concatenation))
    y = _select(view, mode[2:4], (zero, zero, ones, c))
    z = _select(view, mode[4:7], (zero, cascade, p, c, p, _shift(cascade), _shift(p), invalid))
    subtract, complement = _stage(view, "ALUMODEREG", view.bus("ALUMODE", 2), "CEALUMODE", "RSTALUMODE")
    carry = _carry_in(view, p, cascade)
    partial = add(view, x, y, carry)[:-1]
    if four_operands:
        constant = view.integer("RND", 0, 48)
        rounding = [TRUE if constant >> index & 1 else FALSE for index in range(48)]
        partial = add(view, partial, _select(view, mode[7:9], (zero, p, rounding, c)))[:-1]
    total = add(view, [view.xor(bit, subtract) for bit in z], partial)[:-1]
    return [view.xor(bit, complement) for bit in total]


def _shift(bus: Bus) -> Bus:
    """Return a bus shifted right by 17 with its sign."""
    return [*bus[17:], *[bus[-1]] * 17]


def _carry_in(view: CellView, p: Bus, cascade: Bus) -> Signal:
    [pin] = _stage(view, "CARRYINREG", view.bus("CARRYIN", 1, default=FALSE), "CECARRYIN", "RSTALLCARRYIN")
    choices = (pin, view.not_(cascade[47]), view.undefined("cascaded carry"),
               cascade[47], view.undefined("fed back carry"), view.not_(p[47]), view.undefined("rounding carry"),
               p[47])
    return _select(view, view.bus("CARRYINSEL", 3), [[choice] for choice in choices])[0]


_DATA_REGISTERS = ("AREG", "BREG", "CREG", "DREG", "ADREG", "MREG", "PREG")
_DSP48E2_SETTINGS = {"BMULTSEL": "B", "PREADDINSEL": "A", "USE_WIDEXOR": "FALSE"}
_DSP48E1_INVERTED = tuple(f"IS_{pin}_INVERTED" for pin in ("ALUMODE", "CARRYIN", "CLK", "INMODE", "OPMODE"))
_DSP48E2_INVERTED = tuple(f"IS_{pin}_INVERTED" for pin in (
    "ALUMODE", "CARRYIN", "CLK", "INMODE", "OPMODE", "RSTALLCARRYIN", "RSTALUMODE", "RSTA", "RSTB", "RSTCTRL", "RSTC",
    "RSTD", "RSTINMODE", "RSTM", "RSTP"))

_COMMON_PORTS = {**dict.fromkeys(_SCALAR_PORTS, 1), **_BUS_PORTS}
_COMMON_PARAMETERS = (*_SETTINGS, *_CONTROL_REGISTERS, *_DATA_REGISTERS, "A_INPUT", "B_INPUT", "ACASCREG", "BCASCREG")

DSP48E1_MODEL = CellModel(
    _COMMON_PORTS | {"D": 25, "OPMODE": 7}, _expand_dsp48e1,
    (*_COMMON_PARAMETERS, "USE_DPORT", *_DSP48E1_INVERTED), _IGNORED)
DSP48E2_MODEL = CellModel(
    _COMMON_PORTS | {"D": 27, "OPMODE": 9, "XOROUT": 8}, _expand_dsp48e2,
    (*_COMMON_PARAMETERS, "AMULTSEL", "RND", *_DSP48E2_SETTINGS, *_DSP48E2_INVERTED),
    (*_IGNORED, "AUTORESET_PRIORITY", "XORSIMD"))
