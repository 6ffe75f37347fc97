"""One or more :class:`Case` for every cell that has a simulation model in Yosys."""

import itertools
import random

from tests.synth.netlist.memory_cases import (
    ecp5_ram_cases,
    gowin_ram_cases,
    ice40_ram_cases,
    nexus_ram_cases,
    xilinx_ram_cases,
)
from tests.synth.netlist.oracle import Case


def _bits(width, value):
    return f"{width}'h{value:x}"


def _ones(names):
    return dict.fromkeys(names, 1)


def _luts(cell, pins, output, parameter, rng, count=6, form=_bits):
    size = 1 << len(pins)
    return [Case(cell, _ones(pins), {output: 1}, {parameter: form(size, rng.getrandbits(size))}) for _ in range(count)]


def _hex_string(width, value):
    return f'"0x{value:0{width // 4}x}"'


def ice40_cases():
    rng = random.Random(40)
    cases = _luts("SB_LUT4", ("I0", "I1", "I2", "I3"), "O", "LUT_INIT", rng)
    cases.append(Case("SB_LUT4", _ones(("I1", "I3")), {"O": 1}, {"LUT_INIT": "16'h6a95"}))
    cases.append(Case("SB_CARRY", _ones(("I0", "I1", "CI")), {"CO": 1}))
    cases.append(Case("SB_GB", _ones(("USER_SIGNAL_TO_GLOBAL_BUFFER",)), {"GLOBAL_BUFFER_OUTPUT": 1}))
    for edge, enable, control in itertools.product(("", "N"), ("", "E"), ("", "R", "S", "SR", "SS")):
        pins = ["D", *(["E"] if enable else []), *([control[-1]] if control else [])]
        cases.append(Case(f"SB_DFF{edge}{enable}{control}", _ones(pins), {"Q": 1}, clock="C"))
    cases.append(Case("SB_DFFE", _ones(("D",)), {"Q": 1}, clock="C"))       # an unconnected enable is on
    return [*cases, *(_mac16(rng) for _ in range(14)), *_mac16_products(), *ice40_ram_cases(rng)]


_MAC16_INPUTS = {
    "CE": 1, "C": 16, "A": 16, "B": 16, "D": 16, "AHOLD": 1, "BHOLD": 1, "CHOLD": 1, "DHOLD": 1, "IRSTTOP": 1,
    "IRSTBOT": 1, "ORSTTOP": 1, "ORSTBOT": 1, "OLOADTOP": 1, "OLOADBOT": 1, "ADDSUBTOP": 1, "ADDSUBBOT": 1,
    "OHOLDTOP": 1, "OHOLDBOT": 1, "CI": 1, "ACCUMCI": 1, "SIGNEXTIN": 1}
_MAC16_FLAGS = ("NEG_TRIGGER", "C_REG", "A_REG", "B_REG", "D_REG", "TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG",
                "PIPELINE_16x16_MULT_REG1", "PIPELINE_16x16_MULT_REG2", "TOPADDSUB_UPPERINPUT", "BOTADDSUB_UPPERINPUT",
                "MODE_8x8", "A_SIGNED", "B_SIGNED")


def _mac16(rng):
    parameters = {name: f"1'b{rng.getrandbits(1)}" for name in _MAC16_FLAGS}
    for side in ("TOP", "BOT"):
        for name in (f"{side}OUTPUT_SELECT", f"{side}ADDSUB_LOWERINPUT", f"{side}ADDSUB_CARRYSELECT"):
            parameters[name] = f"2'd{rng.randrange(4)}"
    return Case("SB_MAC16", _MAC16_INPUTS, {"O": 32, "CO": 1, "ACCUMCO": 1, "SIGNEXTOUT": 1}, parameters, clock="CLK")


def _mac16_products():
    """The plain 16x16 product of each signedness, with the pins that Yosys leaves undefined undefined."""
    return [Case("SB_MAC16", {"A": 16, "B": 16}, {"O": 32},
                 {"A_SIGNED": f"1'b{a}", "B_SIGNED": f"1'b{b}", "TOPOUTPUT_SELECT": "2'b11",
                  "BOTOUTPUT_SELECT": "2'b11"}, {"CI": "1'bx", "CE": "1'b0"}) for a in (0, 1) for b in (0, 1)]


_CCU2_INPUTS = _ones(("CIN", "A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1"))
_CCU2_OUTPUTS = _ones(("S0", "S1", "COUT"))


def _flip_flop_settings(rng, count):
    """All values of each setting, in random company."""
    settings = {"CEMUX": ("0", "1", "CE", "INV"), "LSRMUX": ("LSR", "INV"), "CLKMUX": ("CLK", "INV"),
                "REGSET": ("RESET", "SET"), "SRMODE": ("ASYNC", "LSR_OVER_CE")}
    for index in range(count):
        yield {name: f'"{values[index % 4 if name == "CEMUX" else rng.randrange(len(values))]}"'
               for name, values in settings.items()}


def _vendor_flip_flops(kinds, enables):
    for kind, enabled in itertools.product(kinds, enables):
        pin = {"A": (), "B": ("PD",), "D": ("CD",), "I": ("CD",), "J": ("PD",)}[kind[0]]
        yield Case(f"FD1{'P' if enabled else 'S'}3{kind}", _ones(("D", *(("SP",) if enabled else ()), *pin)),
                   {"Q": 1}, clock="CK")


def ecp5_cases():
    rng = random.Random(5)
    cases = _luts("LUT4", tuple("ABCD"), "Z", "INIT", rng) + _luts("LUT2", tuple("AB"), "Z", "INIT", rng, 3)
    cases.append(Case("PFUMX", _ones(("ALUT", "BLUT", "C0")), {"Z": 1}))
    cases.append(Case("L6MUX21", _ones(("D0", "D1", "SD")), {"Z": 1}))
    for inject0, inject1 in itertools.product(("NO", "YES"), repeat=2):
        for _ in range(3):
            cases.append(Case("CCU2C", _CCU2_INPUTS, _CCU2_OUTPUTS, {
                "INIT0": _bits(16, rng.getrandbits(16)), "INIT1": _bits(16, rng.getrandbits(16)),
                "INJECT1_0": f'"{inject0}"', "INJECT1_1": f'"{inject1}"'}))
    for parameters in _flip_flop_settings(rng, 16):
        cases.append(Case("TRELLIS_FF", _ones(("LSR", "CE", "DI")), {"Q": 1}, parameters, clock="CLK"))
    cases += _vendor_flip_flops(("AX", "AY", "BX", "DX", "IX", "JX"), (True, False))
    cases.append(Case("INV", {"A": 1}, {"Z": 1}))
    return [*cases, Case("VLO", {}, {"Z": 1}), Case("VHI", {}, {"Z": 1}), *ecp5_ram_cases(rng)]


def nexus_cases():
    rng = random.Random(7)
    cases = _luts("LUT4", tuple("ABCD"), "Z", "INIT", rng, form=_hex_string)
    pins = ("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1", "SEL")
    for _ in range(3):
        cases.append(Case("WIDEFN9", _ones(pins), {"Z": 1}, {
            f"INIT{half}": _hex_string(16, rng.getrandbits(16)) for half in range(2)}))
    for inject in ("NO", "YES"):
        for _ in range(4):
            cases.append(Case("CCU2", _CCU2_INPUTS, _CCU2_OUTPUTS, {
                "INIT0": _hex_string(16, rng.getrandbits(16)), "INIT1": _hex_string(16, rng.getrandbits(16)),
                "INJECT": f'"{inject}"'}))
    for parameters in _flip_flop_settings(rng, 16):
        cases.append(Case("OXIDE_FF", _ones(("LSR", "CE", "DI")), {"Q": 1}, parameters, clock="CLK"))
    cases += _vendor_flip_flops(("BX", "DX", "IX", "JX"), (True,))
    cases += [Case("INV", {"A": 1}, {"Z": 1}), Case("VLO", {}, {"Z": 1}), Case("VHI", {}, {"Z": 1}),
              Case("IB", {"I": 1}, {"O": 1}), Case("OB", {"I": 1}, {"O": 1})]
    return [*cases, *_nexus_multipliers(rng), *nexus_ram_cases(rng)]


def _nexus_multipliers(rng):
    def registers(names):
        chosen = {name: f'"{rng.choice(("BYPASS", "REGISTER"))}"' for name in names}
        return {**chosen, "RESETMODE": f'"{rng.choice(("SYNC", "ASYNC"))}"'}

    controls = ("CEA", "RSTA", "CEB", "RSTB", "CEOUT", "RSTOUT")
    for cell, a, b, count in (("MULT9X9", 9, 9, 4), ("MULT18X18", 18, 18, 3), ("MULT18X36", 18, 36, 2),
                              ("MULT36X36", 36, 36, 1)):
        plain = {"REGINPUTA": '"BYPASS"', "REGINPUTB": '"BYPASS"', "REGOUTPUT": '"BYPASS"'}
        signs = {"SIGNEDA": 1, "SIGNEDB": 1}
        if a < 36:                                       # mapping the widest to gates takes seconds
            yield Case(cell, {"A": a, "B": b, **signs}, {"Z": a + b}, plain)
        for _ in range(count):
            yield Case(cell, {"A": a, "B": b, **signs, **_ones(controls)}, {"Z": a + b},
                       registers(("REGINPUTA", "REGINPUTB", "REGOUTPUT")), clock="CLK")
    for cell, width in (("MULTPREADD9X9", 9), ("MULTPREADD18X18", 18)):
        for _ in range(2):
            yield Case(cell, {"A": width, "B": width, "C": width, **_ones(("SIGNEDA", "SIGNEDB", "SIGNEDC")),
                              **_ones((*controls, "CEC", "RSTC"))}, {"Z": 2 * width},
                       registers(("REGINPUTA", "REGINPUTB", "REGINPUTC", "REGOUTPUT")), clock="CLK")
    yield from _nexus_accumulators(registers)


def _nexus_accumulators(registers):
    controls = [f"{kind}{name}" for name in ("A", "B", "C", "PIPE", "CTRL", "CIN", "OUT") for kind in ("CE", "RST")]
    stages = ("REGINPUTA", "REGINPUTB", "REGINPUTC", "REGADDSUB", "REGLOADC", "REGLOADC2", "REGCIN", "REGPIPELINE")
    for cell, width, total, count in (("MULTADDSUB18X18", 18, 54, 4), ("MULTADDSUB36X36", 36, 108, 1)):
        inputs = {"A": width, "B": width, "C": total, "SIGNED": 1, "ADDSUB": 1, "CIN": 1}
        outputs = {"Z": total}
        if width < 36:
            yield Case(cell, inputs, outputs, dict.fromkeys((*stages, "REGOUTPUT"), '"BYPASS"'), {"LOADC": "1'b1"})
        for _ in range(count):
            yield Case(cell, {**inputs, "LOADC": 1, **_ones(controls)}, outputs,
                       {**registers(stages), "REGOUTPUT": '"REGISTER"'}, clock="CLK")


def gowin_cases():
    rng = random.Random(9)
    cases = []
    for size in range(1, 5):
        cases += _luts(f"LUT{size}", [f"I{index}" for index in range(size)], "F", "INIT", rng, 3)
    cases += [Case(cell, _ones(("I0", "I1", "S0")), {"O": 1})
              for cell in ("MUX2", "MUX2_LUT5", "MUX2_LUT6", "MUX2_LUT7", "MUX2_LUT8")]
    cases += [Case("ALU", _ones(("I0", "I1", "I3", "CIN")), {"SUM": 1, "COUT": 1}, {"ALU_MODE": mode})
              for mode in range(10)]
    pins = {"": (), "S": ("SET",), "R": ("RESET",), "P": ("PRESET",), "C": ("CLEAR",)}
    for edge, control, enable in itertools.product(("", "N"), pins, ("", "E")):
        cases.append(Case(f"DFF{edge}{control}{enable}", _ones(("D", *pins[control], *(("CE",) if enable else ()))),
                          {"Q": 1}, clock="CLK"))
    cases.append(Case("DFFS", _ones(("D", "SET")), {"Q": 1}, {"INIT": "1'b1"}, clock="CLK"))
    cases += [Case(cell, {"I": 1}, {"O": 1}) for cell in ("IBUF", "OBUF")]
    return [*cases, Case("GND", {}, {"G": 1}), Case("VCC", {}, {"V": 1}), *gowin_ram_cases(rng)]


def xilinx_cases():
    rng = random.Random(70)
    cases = []
    for size in range(1, 7):
        cases += _luts(f"LUT{size}", [f"I{index}" for index in range(size)], "O", "INIT", rng, 3)
    cases += [Case("LUT6_2", _ones([f"I{index}" for index in range(6)]), {"O6": 1, "O5": 1},
                   {"INIT": _bits(64, rng.getrandbits(64))})]
    cases += [Case(f"MUXF{level}", _ones(("I0", "I1", "S")), {"O": 1}) for level in range(5, 10)]
    cases += [Case("MUXCY", _ones(("DI", "CI", "S")), {"O": 1}), Case("XORCY", _ones(("CI", "LI")), {"O": 1}),
              Case("ORCY", _ones(("CI", "I")), {"O": 1}), Case("MULT_AND", _ones(("I0", "I1")), {"LO": 1}),
              Case("CARRY4", {"CI": 1, "CYINIT": 1, "DI": 4, "S": 4}, {"CO": 4, "O": 4})]
    cases += [Case("CARRY8", {"CI": 1, "CI_TOP": 1, "DI": 8, "S": 8}, {"CO": 8, "O": 8}, {"CARRY_TYPE": f'"{type_}"'})
              for type_ in ("SINGLE_CY8", "DUAL_CY4")]
    cases += [Case(cell, _ones(("DI", "SRI")), {"O": 1}, {"IS_SRI_INVERTED": f"1'b{inverted}"})
              for cell in ("AND2B1L", "OR2L") for inverted in (0, 1)]
    for cell, pin in (("FDRE", "R"), ("FDSE", "S"), ("FDCE", "CLR"), ("FDPE", "PRE")):
        inputs = _ones(("D", "CE", pin))
        for inverted in itertools.product((0, 1), repeat=3):
            names = ("IS_C_INVERTED", "IS_D_INVERTED", f"IS_{pin}_INVERTED")
            cases.append(Case(cell, inputs, {"Q": 1}, {
                "INIT": f"1'b{rng.getrandbits(1)}",
                **{name: f"1'b{value}" for name, value in zip(names, inverted, strict=True)}}, clock="C"))
        cases += [Case(cell, inputs, {"Q": 1}, clock="C"), Case(f"{cell}_1", inputs, {"Q": 1}, clock="C")]
    cases += _shift_registers(rng)
    cases += [Case(cell, {"I": 1}, {"O": 1}) for cell in ("INV", "IBUF", "IBUFG", "OBUF", "BUFG")]
    cases += [Case("BUFHCE", {"I": 1}, {"O": 1}, constants={"CE": "1'b1"}),
              Case("BUFHCE", {"I": 1}, {"O": 1}, {"IS_CE_INVERTED": "1'b1"}, {"CE": "1'b0"})]
    return [*cases, Case("GND", {}, {"G": 1}), Case("VCC", {}, {"P": 1}), *_dsp48e1(rng), *xilinx_ram_cases(rng)]


def _shift_registers(rng):
    address = _ones(("A0", "A1", "A2", "A3"))
    for inverted in (0, 1):
        parameters = {"INIT": _bits(16, rng.getrandbits(16)), "IS_CLK_INVERTED": f"1'b{inverted}"}
        yield Case("SRL16E", {**address, "D": 1, "CE": 1}, {"Q": 1}, parameters, clock="CLK")
        yield Case("SRLC16E", {**address, "D": 1, "CE": 1}, {"Q": 1, "Q15": 1}, parameters, clock="CLK")
        yield Case("SRLC32E", {"A": 5, "D": 1, "CE": 1}, {"Q": 1, "Q31": 1},
                   {**parameters, "INIT": _bits(32, rng.getrandbits(32))}, clock="CLK")
    yield Case("SRL16", {**address, "D": 1}, {"Q": 1}, {"INIT": "16'h00f1"}, clock="CLK")


_DSP_CONTROLS = ("CEA1", "CEA2", "CEAD", "CEB1", "CEB2", "CEC", "CED", "CEM", "CEP", "RSTA", "RSTB", "RSTC", "RSTD",
                 "RSTM", "RSTP")
_DSP_STATIC = dict.fromkeys(("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "INMODEREG", "OPMODEREG"), 0)


def _dsp48e1(rng):
    data = {"A": 30, "B": 18, "C": 48, "D": 25, "PCIN": 48, "ACIN": 30, "BCIN": 18, "CARRYIN": 1}
    outputs = {"P": 48, "PCOUT": 48, "ACOUT": 30, "BCOUT": 18}
    registers = ("ADREG", "CREG", "DREG", "MREG", "PREG", "AREG", "BREG")
    # The product as Yosys infers it: no register, every control pin constant.
    yield Case("DSP48E1", {"A": 30, "B": 18}, {"P": 48}, {**_DSP_STATIC, **dict.fromkeys(registers, 0)},
               {"INMODE": "5'b0", "ALUMODE": "4'b0", "OPMODE": "7'b0000101", "CARRYINSEL": "3'b0", "CARRYIN": "1'b0"})
    for index in range(16):
        feedback = index % 2
        x, y = rng.choice(((0b01, 0b01), (0b01, 0b01), (0b00, 0b00), (0b11, 0b11), (0b11, 0b10), (0b00, 0b11)))
        z = rng.choice((0b000, 0b001, 0b011, 0b101, *((0b010, 0b110) if feedback else ())))
        carry = rng.choice((0b000, 0b001, 0b011, *((0b101, 0b111) if feedback else ())))
        parameters = {**_DSP_STATIC, **{name: rng.randrange(2) for name in registers}, "PREG": feedback,
                      "AREG": rng.randrange(3), "BREG": rng.randrange(3),
                      "USE_DPORT": f'"{("FALSE", "TRUE")[index % 3 > 0]}"',
                      "A_INPUT": f'"{("DIRECT", "CASCADE")[index % 5 == 0]}"',
                      "B_INPUT": f'"{("DIRECT", "CASCADE")[index % 7 == 0]}"',
                      "ACASCREG": rng.randrange(1, 3), "BCASCREG": rng.randrange(1, 3)}
        constants = {"INMODE": f"5'd{rng.randrange(32)}", "ALUMODE": f"4'd{rng.randrange(4)}",
                     "OPMODE": f"7'b{z:03b}{y:02b}{x:02b}", "CARRYINSEL": f"3'd{carry}"}
        yield Case("DSP48E1", {**data, **_ones(_DSP_CONTROLS)}, outputs, parameters, constants, clock="CLK")
    # An accumulator with load: Yosys drives one bit of OPMODE from logic.
    yield Case("DSP48E1", {**data, "INMODE": 5, **_ones(_DSP_CONTROLS)}, outputs,
               {**_DSP_STATIC, "ADREG": 0, "DREG": 0}, {"ALUMODE": "4'b0", "OPMODE": "{2'b01, C_i[0], 4'b0101}",
                                                        "CARRYINSEL": "3'b0"}, clock="CLK")
    yield from dsp48e1_control_registers(rng)


def dsp48e1_control_registers(rng):
    """Control pins behind their registers; what adds, subtracts and cascades comes from logic."""
    data = {"A": 30, "B": 18, "C": 48, "D": 25, "PCIN": 48, "ACIN": 30, "BCIN": 18, "CARRYIN": 1}
    names = ("ALUMODEREG", "CARRYINREG", "INMODEREG", "OPMODEREG")
    controls = ("CEALUMODE", "CECARRYIN", "CECTRL", "CEINMODE", "RSTALUMODE", "RSTALLCARRYIN", "RSTCTRL", "RSTINMODE")
    for low, registered in itertools.product(("0101", "1111"), range(2)):
        parameters = {"CARRYINSELREG": 0, **{name: rng.randrange(2) for name in names}, "OPMODEREG": registered,
                      "USE_DPORT": f'"{rng.choice(("FALSE", "TRUE"))}"', "AREG": rng.randrange(3),
                      "BREG": rng.randrange(3), "MREG": rng.randrange(2), "CREG": rng.randrange(2)}
        yield Case("DSP48E1", {**data, "INMODE": 5, **_ones(_DSP_CONTROLS), **_ones(controls)}, {"P": 48, "PCOUT": 48},
                   parameters, {"ALUMODE": "{2'b00, BCIN_i[1:0]}", "OPMODE": f"{{1'b0, BCIN_i[3:2], 4'b{low}}}",
                    "CARRYINSEL": "3'b0"}, clock="CLK")


def gate_cases():
    """Yosys' own gates and flip-flops."""
    two, three, four = _ones("AB"), _ones("ABC"), _ones("ABCD")
    inputs = {"BUF": {"A": 1}, "NOT": {"A": 1}, "MUX": _ones("ABS"), "NMUX": _ones("ABS"), "AOI3": three,
              "OAI3": three, "AOI4": four, "OAI4": four}
    names = ("BUF", "NOT", "AND", "NAND", "OR", "NOR", "XOR", "XNOR", "ANDNOT", "ORNOT", "MUX", "NMUX", "AOI3", "OAI3",
             "AOI4", "OAI4")
    cases = [Case(f"\\$_{name}_ ", inputs.get(name, two), {"Y": 1}) for name in names]
    for clock in "PN":
        cases.append(Case(f"\\$_DFF_{clock}_ ", _ones("D"), {"Q": 1}, clock="C"))
        cases += [Case(f"\\$_DFFE_{clock}{enable}_ ", _ones("DE"), {"Q": 1}, clock="C") for enable in "PN"]
        for polarity, value in itertools.product("PN", "01"):
            cases += [Case(f"\\${kind}_{clock}{polarity}{value}_ ", _ones("DR"), {"Q": 1}, clock="C")
                      for kind in ("_DFF", "_SDFF")]
            cases += [Case(f"\\${kind}_{clock}{polarity}{value}{enable}_ ", _ones("DER"), {"Q": 1}, clock="C")
                      for kind in ("_DFFE", "_SDFFE", "_SDFFCE") for enable in "PN"]
    return cases
