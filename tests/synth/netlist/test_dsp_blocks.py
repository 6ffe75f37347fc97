"""DSP blocks with registers that have no simulation model in Yosys.

DSP48E2 is compared with Yosys' model of DSP48E1 where the two are one; the others, and what DSP48E2 alone has, with a
few lines of integers.
"""

import copy
import dataclasses
import random

import numpy as np
import pytest

from synth.netlist import Family, NetlistError, Simulation, compile_netlist, read_netlist
from tests.synth.netlist import cell_cases
from tests.synth.netlist.builders import design
from tests.synth.netlist.oracle import build_cases, needs_yosys
from tests.synth.netlist.test_cells import compare

LANES, CYCLES = 64, 40


def to_signed(codes, width):
    return codes - ((codes >> width - 1 & 1) << width)


class Registers:
    """Registers in a row, each with a name; one that is left out lets its value through."""

    def __init__(self, lanes):
        self._values, self._next, self._zeros = {}, {}, np.zeros(lanes, object)

    def through(self, name, value, *, used):
        """Return the value behind a register, which takes ``value`` with the next edge."""
        if not used:
            return value
        self._next[name] = value
        return self._values.get(name, self._zeros)

    def clock(self, enable, reset):
        """Take the edge: reset before enable."""
        for name, value in self._next.items():
            kept = np.where(enable, value, self._values.get(name, self._zeros))
            self._values[name] = np.where(reset, self._zeros, kept)


def check(document, family, codes, expected, *, seed, output="p"):
    """Run a netlist beside ``expected(registers, inputs)`` on random codes, ``enable`` and ``reset``.

    ``codes`` maps input ports to widths.
    """
    program = compile_netlist(read_netlist(document), family)
    simulation, offered = Simulation(program, LANES), {port.name for port in program.inputs}
    rng, registers = random.Random(seed), Registers(LANES)
    for cycle in range(CYCLES):
        inputs = {name: np.array([rng.choice((0, 1 << width - 1, (1 << width) - 1, rng.getrandbits(width)))
                                  for _ in range(LANES)], object) for name, width in codes.items()}
        enable, reset = (np.array([rng.random() < rate for _ in range(LANES)]) for rate in (0.7, 0.08))
        for name, values in {**inputs, "enable": enable.astype(object), "reset": reset.astype(object)}.items():
            if name in offered:
                simulation.set(name, values)
        want = expected(registers, inputs)
        got = simulation.get(output).astype(object)
        wrong = np.flatnonzero(got != want)
        if len(wrong):
            lane = wrong[0]
            given = {name: values[lane] for name, values in inputs.items()}
            pytest.fail(f"seed {seed}, cycle {cycle}: {given}: got {got[lane]:#x}, want {want[lane]:#x}")
        if program.clocks:
            simulation.step("clk")
        registers.clock(enable, reset)


def bus(first, width):
    return list(range(first, first + width))


def ports(codes, output_width):
    """Return port data for :func:`design`: inputs from net 100 on, the output from net 1000 on."""
    data, net = {"clk": ("input", [2]), "enable": ("input", [3]), "reset": ("input", [4])}, 100
    for name, width in codes.items():
        data[name] = ("input", bus(net, width))
        net += width
    return data | {"p": ("output", bus(1000, output_width))}


@pytest.mark.parametrize("seed", range(8))
def test_mult18x18d_registers(seed):
    rng = random.Random(seed)
    used = {stage: rng.random() < 0.6 for stage in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")}
    codes = {"a": 18, "b": 18, "sign": 2}
    data = ports(codes, 36)
    index = rng.randrange(4)                             # which of the block's clocks, enables and resets
    parameters = {"RESETMODE": "SYNC", **{f"REG_{stage}_{pin}": f"{pin}{index}" for stage in used
                                          for pin in ("CE", "RST")}}
    parameters |= {f"REG_{stage}_CLK": f"CLK{index}" if use else "NONE" for stage, use in used.items()}
    pins = {f"{name}{bit}": net for name, nets in (("A", data["a"][1]), ("B", data["b"][1]), ("P", data["p"][1]))
            for bit, net in enumerate(nets)}
    pins |= {"SIGNEDA": data["sign"][1][0], "SIGNEDB": data["sign"][1][1], "SOURCEA": "0", "SOURCEB": "0",
             f"CLK{index}": 2, f"CE{index}": 3, f"RST{index}": 4}

    def expected(registers, inputs):
        operands = []
        for bit, name in enumerate("ab"):
            sign = inputs["sign"] >> bit & 1
            value = inputs[name] - ((inputs[name] >> 17 & sign) << 18)
            operands.append(registers.through(name, value, used=used[f"INPUT{name.upper()}"]))
        product = registers.through("pipeline", operands[0] * operands[1], used=used["PIPELINE"])
        return registers.through("output", product, used=used["OUTPUT"]) % (1 << 36)

    check(design(data, {"u": ("MULT18X18D", parameters, pins)}), Family.ECP5, codes, expected, seed=seed)


@pytest.mark.parametrize("width", [9, 18, 36])
def test_gowin_multiplier_registers(width):
    for seed in range(1 if width == 36 else 4):
        rng = random.Random(seed)
        names = ("AREG", "BREG", "PIPE_REG", "OUT_REG")
        used = {name: rng.random() < 0.6 for name in names}
        codes = {"a": width, "b": width}
        data = ports(codes, 2 * width)
        parameters = {name: str(int(use)) for name, use in used.items()}
        if width == 36:
            last = parameters.pop("OUT_REG")
            parameters |= {"OUT0_REG": last, "OUT1_REG": last}
        pins = {"A": data["a"][1], "B": data["b"][1], "DOUT": data["p"][1], "ASIGN": "1", "BSIGN": "1", "CLK": 2,
                "CE": 3, "RESET": 4}

        def expected(registers, inputs, used=used):
            a, b = (registers.through(name, to_signed(inputs[name], width), used=used[f"{name.upper()}REG"])
                    for name in "ab")
            product = registers.through("pipe", a * b, used=used["PIPE_REG"])
            return registers.through("out", product, used=used["OUT_REG"]) % (1 << 2 * width)

        check(design(data, {"u": (f"MULT{width}X{width}", parameters, pins)}), Family.GOWIN, codes, expected,
              seed=seed)


@pytest.mark.parametrize("seed", range(8))
def test_multalu18x18_adds_to_its_own_sum_and_c(seed):
    rng = random.Random(seed)
    flags = {name: rng.random() < 0.5 for name in ("AREG", "BREG", "CREG", "PIPE_REG", "ACCLOAD_REG0", "ACCLOAD_REG1",
                                                   "B_ADD_SUB", "C_ADD_SUB")}
    codes = {"a": 18, "b": 18, "c": 54, "load": 1}
    data = ports(codes, 54)
    pins = {"A": data["a"][1], "B": data["b"][1], "C": data["c"][1], "ACCLOAD": data["load"][1][0], "CLK": 2, "CE": 3,
            "RESET": 4, "ASIGN": "1", "BSIGN": "1", "DOUT": data["p"][1]}
    parameters = {**{name: str(int(value)) for name, value in flags.items()}, "OUT_REG": "1"}

    def expected(registers, inputs):
        a, b = (registers.through(name, to_signed(inputs[name], 18), used=flags[f"{name.upper()}REG"]) for name in "ab")
        product = registers.through("pipe", a * b, used=flags["PIPE_REG"])
        c = registers.through("c", inputs["c"], used=flags["CREG"])
        load = registers.through("load0", inputs["load"], used=flags["ACCLOAD_REG0"])
        load = registers.through("load1", load, used=flags["ACCLOAD_REG1"])
        shown = registers.through("out", None, used=True)
        total = (shown * load + (-product if flags["B_ADD_SUB"] else product)
                 + (-c if flags["C_ADD_SUB"] else c)) % (1 << 54)
        return registers.through("out", total, used=True)

    check(design(data, {"u": ("MULTALU18X18", parameters, pins)}), Family.GOWIN, codes, expected, seed=seed)


DSP48E2_CONTROLS = {"ALUMODE": ["0"] * 4, "INMODE": ["0"] * 5, "CARRYINSEL": ["0"] * 3, "CARRYIN": "0"}


@pytest.mark.parametrize("registered", [0, 1])
@pytest.mark.parametrize("subtracted", [False, True])
def test_dsp48e2_fourth_operand(registered, subtracted):
    constant = 0x8123_4567_89AB
    codes = {"a": 27, "b": 18, "c": 48, "w": 2}
    data = ports(codes, 48)
    zeros = dict.fromkeys(("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "INMODEREG", "AREG", "BREG", "CREG", "DREG",
                           "ADREG", "MREG"), 0)
    pins = {**DSP48E2_CONTROLS, "A": [*data["a"][1], *[data["a"][1][-1]] * 3], "B": data["b"][1], "C": data["c"][1],
            "OPMODE": [*"1010110", *data["w"][1]], "P": data["p"][1], "CLK": 2, "CEP": 3, "RSTP": 4, "CECTRL": 3,
            "RSTCTRL": 4, "PCIN": ["0"] * 48, "ALUMODE": ["1", "1", "0", "0"] if subtracted else ["0"] * 4}
    parameters = {**zeros, "OPMODEREG": registered, "PREG": 1, "RND": format(constant, "048b")}

    def expected(registers, inputs):
        # With its register reset, OPMODE is 0: neither product nor C.
        mode = registers.through("mode", inputs["w"] + 4, used=bool(registered))
        active, w = mode >> 2 & 1, mode & 3
        product = to_signed(inputs["a"], 27) * to_signed(inputs["b"], 18) * active
        shown = registers.through("p", None, used=True)
        fourth = np.where(w == 0, 0, np.where(w == 1, shown, np.where(w == 2, constant, inputs["c"])))
        z = inputs["c"] * active
        total = z - (product + fourth) if subtracted else z + product + fourth
        return registers.through("p", total % (1 << 48), used=True)

    check(design(data, {"u": ("DSP48E2", parameters, pins)}), Family.XILINX, codes, expected, seed=registered)


@pytest.mark.slow
@needs_yosys
def test_dsp48e2_is_dsp48e1_where_both_have_the_same(tmp_path):
    """With operands of 23 bits neither pre-adder wraps, so that the wider multiplier is the only difference."""
    operands = {"A": "{{7{ACIN_i[22]}}, ACIN_i[22:0]}", "D": "{{3{ACIN_i[29]}}, ACIN_i[29:24], PCIN_i[15:0]}"}
    cases = []
    for case in cell_cases.dsp48e1_control_registers(random.Random(2)):
        inputs = {port: width for port, width in case.inputs.items() if port not in operands}
        cases.append(dataclasses.replace(case, inputs=inputs, constants=case.constants | operands))
    for case, (mapped, name, model) in zip(cases, build_cases(tmp_path, cases, ("xilinx/cells_sim.v",)), strict=True):
        document = copy.deepcopy(mapped)
        [cell] = document["modules"][name]["cells"].values()
        cell["type"] = "DSP48E2"
        preadd = cell["parameters"].pop("USE_DPORT") == "TRUE"
        cell["parameters"]["AMULTSEL"] = "AD" if preadd else "A"
        pins = cell["connections"]
        pins["D"] = [*pins["D"], pins["D"][-1], pins["D"][-1]]
        pins["OPMODE"] = [*pins["OPMODE"], "0", "0"]
        compare(case, compile_netlist(read_netlist(document, top=name), Family.XILINX), model)


@pytest.mark.parametrize(("cell", "family", "parameters", "pins", "message"), [
    ("MULT18X18D", Family.ECP5, {"REG_INPUTC_CLK": "CLK0"}, {},
     "Parameter REG_INPUTC_CLK must be one of NONE, not 'CLK0'"),
    ("MULT18X18D", Family.ECP5, {"REG_OUTPUT_CLK": "CLK4"}, {},
     "Parameter REG_OUTPUT_CLK must be one of CLK0, CLK1, CLK2, CLK3, NONE, not 'CLK4'"),
    ("MULT18X18D", Family.ECP5, {}, {"SOURCEB": "1"}, "Pin SOURCEB must be 0: the operand from the pins"),
    ("MULT18X18", Family.GOWIN, {}, {"ASEL": "1"}, "Pin ASEL must be 0: the operand from the pins"),
    ("MULT36X36", Family.GOWIN, {"OUT0_REG": "1"}, {}, "Parameter OUT1_REG must be that of OUT0_REG, 1, not 0"),
    ("MULTALU18X18", Family.GOWIN, {"MULTALU18X18_MODE": "1", "OUT_REG": "1"}, {},
     "Parameter MULTALU18X18_MODE must be 0: a sum of the product, C and the own sum, not 1"),
    ("MULTALU18X18", Family.GOWIN, {"OUT_REG": "0"}, {},
     "Parameter OUT_REG must be 1: the accumulator is that register, not 0"),
    ("DSP48E1", Family.XILINX, {"CARRYINSELREG": "1"}, {},
     "Parameter CARRYINSELREG must be 0: CARRYINSEL without a register, not 1"),
    ("DSP48E2", Family.XILINX, {"CARRYINSELREG": "0", "BMULTSEL": "AD"}, {},
     "Parameter BMULTSEL must be one of B, not 'AD'"),
])
def test_refuses_what_the_models_do_not_have(cell, family, parameters, pins, message):
    document = design({"p": ("output", [5])}, {"u": (cell, parameters, pins)})
    with pytest.raises(NetlistError, match=message):
        compile_netlist(read_netlist(document), family)
