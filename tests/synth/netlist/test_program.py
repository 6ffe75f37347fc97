import pytest

from synth.netlist import Family, NetlistError, NumpyEngine, Operation, compile_netlist, read_netlist
from tests.synth.netlist.builders import design, lut4


def compiled(ports, cells, family=Family.ICE40, net_names=None):
    return compile_netlist(read_netlist(design(ports, cells, net_names=net_names)), family)


A, B, Y = ("input", [2]), ("input", [3]), ("output", [9])
AND, BUFFER = 0b1000100010001000, 0b1010101010101010


def test_registers_are_written_once_before_they_are_read():
    program = compiled({"a": ("input", [2, 3, 4, 5]), "y": ("output", [9, 10])},
                       {"u": lut4(0x6A95, [2, 3, 4, 5], 9), "v": lut4(0x1EE7, [9, 3, 4, 5], 10)})
    written = {0, 1, *program.inputs[0].registers}
    for step in program.instructions:
        assert {step.a, step.b} <= written
        assert step.target not in written
        assert step.operation is not Operation.NOT or step.a == step.b
        written.add(step.target)
    assert set(program.outputs[0].registers) <= written
    assert written == set(range(program.register_count))


def test_gates_avoid_complements():
    """AND, OR and XOR trees need no NOT, a negated result one."""
    inputs = {"a": ("input", [2, 3, 4, 5]), "y": ("output", [9])}
    for table, count in ((0x8000, 3), (0xFFFE, 3), (0x6996, 3), (0x7FFF, 4), (0x0001, 4)):
        assert len(compiled(inputs, {"u": lut4(table, [2, 3, 4, 5], 9)}).instructions) == count, hex(table)


def test_ports_keep_names_widths_and_order():
    program = compiled({"b": ("input", [3, 4]), "a": A, "y": ("output", [9, "1", "0", 3])}, {"u": lut4(AND, [2, 3], 9)})
    assert [(port.name, port.width) for port in program.inputs] == [("b", 2), ("a", 1)]
    assert [(port.name, port.width) for port in program.outputs] == [("y", 4)]
    assert NumpyEngine(program).run({"a": [1, 1, 0], "b": [3, 2, 1]})["y"].tolist() == [0b1011, 0b0010, 0b1010]


def test_unused_logic_and_state_are_left_out():
    program = compiled({"clk": A, "d": B, "y": Y}, {
        "used": ("SB_DFF", {}, {"C": 2, "D": 3, "Q": 9}), "unused": ("SB_DFF", {}, {"C": 2, "D": 10, "Q": 11}),
        "logic": lut4(AND, [3, 11], 10)})
    assert [bit.cell for bit in program.state] == ["cell 'used' (SB_DFF)"]
    assert program.instructions == ()
    assert program.clocks == ("clk",)
    assert [port.name for port in program.data_inputs] == ["d"]


def test_family_is_found_by_its_cells():
    program = compiled({"a": A, "y": Y}, {"u": ("LUT1", {"INIT": "01"}, {"I0": 2, "F": 9})}, family=None)
    assert NumpyEngine(program).run({"a": [0, 1]})["y"].tolist() == [1, 0]
    program = compiled({"a": A, "y": Y}, {"u": ("LUT1", {"INIT": "01"}, {"I0": 2, "O": 9})}, family=None)
    assert NumpyEngine(program).run({"a": [0, 1]})["y"].tolist() == [1, 0]


# What does not matter

def test_undefined_input_that_is_not_looked_at_is_fine():
    for bit in ("x", "z", 77):                            # 77 is a net without a driver
        program = compiled({"a": A, "y": Y}, {"u": lut4(BUFFER, [2, bit], 9)})
        assert NumpyEngine(program).run({"a": [0, 1]})["y"].tolist() == [0, 1]


def test_undefined_input_that_is_chosen_away_is_fine():
    program = compiled({"a": A, "y": Y}, {
        "one": ("VHI", {}, {"Z": 20}), "mux": ("PFUMX", {}, {"ALUT": 2, "BLUT": "x", "C0": 20, "Z": 9})}, Family.ECP5)
    assert NumpyEngine(program).run({"a": [0, 1]})["y"].tolist() == [0, 1]


def test_undefined_flip_flop_that_nothing_reads_is_fine():
    assert compiled({"clk": A, "d": B, "y": ("output", [3])},
                    {"u": ("SB_DFF", {}, {"C": 2, "D": "x", "Q": 11})}).state == ()


# Errors

@pytest.mark.parametrize(("bit", "reason"), [
    ("x", r"pin B\[0\] of cell 'u' \(LUT2\) is the constant x"),
    ("z", r"pin B\[0\] of cell 'u' \(LUT2\) is the constant z"),
    (77, r"net 'floating' is driven by nothing"),
])
def test_output_of_undefined_value_wrong(bit, reason):
    with pytest.raises(NetlistError, match=r"Output y\[0\] must not depend on an undefined value: " + reason):
        compiled({"a": A, "y": Y}, {"u": ("LUT2", {"INIT": "1000"}, {"A": 2, "B": bit, "Z": 9})}, Family.ECP5,
                 net_names={77: "floating"})


def test_unconnected_pin_wrong():
    with pytest.raises(NetlistError, match=r"pin D\[0\] of cell 'u' \(LUT4\) is unconnected"):
        compiled({"a": A, "y": Y}, {"u": ("LUT4", {"INIT": "0" * 15 + "1"}, {"A": 2, "B": 2, "C": 2, "Z": 9})},
                 Family.ECP5)


def test_flip_flop_of_undefined_value_wrong():
    with pytest.raises(NetlistError, match=r"Flip-flop cell 'u' \(SB_DFF\) must not depend on an undefined value"):
        compiled({"clk": A, "y": Y}, {"u": ("SB_DFF", {}, {"C": 2, "D": "x", "Q": 9})})


@pytest.mark.parametrize(("bit", "reason"), [
    ("x", r"output port y\[0\] is the constant x"), (9, "net '#9' is driven by nothing")])
def test_undriven_output_wrong(bit, reason):
    with pytest.raises(NetlistError, match=r"Output y\[0\] must not depend on an undefined value: " + reason):
        compiled({"a": A, "y": ("output", [bit])}, {})


def test_output_that_is_not_modelled_wrong():
    with pytest.raises(NetlistError, match=r"output D_IN_1\[0\] of cell 'pad' \(SB_IO\) is not modelled"):
        compiled({"p": ("inout", [2]), "y": Y}, {"pad": (
            "SB_IO", {"PIN_TYPE": "000001"}, {"PACKAGE_PIN": 2, "D_IN_1": 9})})


def test_unknown_cell_wrong():
    cells = {"odd one": ("SB_HFOSC", {}, {})}
    with pytest.raises(NetlistError, match=r"that the netlist engine models for ice40, not 'SB_HFOSC' \(cell 'odd"):
        compiled({}, cells)
    with pytest.raises(NetlistError, match=r"that the netlist engine models, not 'SB_HFOSC' \(cell 'odd one'\)"):
        compiled({}, cells, family=None)


def test_mixed_families_wrong():
    cells = {"u": lut4(AND, [2, 3], 9), "v": ("CARRY4", {}, {})}
    with pytest.raises(NetlistError, match=r"models for ice40, not 'CARRY4' \(cell 'v'\)"):
        compiled({}, cells, family=None)


def test_ports_of_cell_wrong():
    for pins in ({"I0": 2, "Q": 9}, {"I0": [2, 3], "O": 9}):
        with pytest.raises(NetlistError, match=r"Ports of a ice40 SB_LUT4 must be .*'I0': 1.* \(cell 'u'\)"):
            compiled({"a": A}, {"u": ("SB_LUT4", {}, pins)})


def test_several_drivers_wrong():
    with pytest.raises(NetlistError, match=r"Net 'y' must have one driver, not both cell 'u' \(SB_LUT4\) and cell 'v'"):
        compiled({"a": A, "y": Y}, {"u": lut4(1, [2], 9), "v": lut4(1, [2], 9)}, net_names={9: "y"})
    with pytest.raises(NetlistError, match=r"Net 'a' must have one driver, not both input port 'a' and cell 'u' "):
        compiled({"a": A}, {"u": lut4(1, [2], 2)}, net_names={2: "a"})
    with pytest.raises(NetlistError, match=r"Net '#9' must have one driver, not both cell 'u' \(GND\) and cell 'v'"):
        compiled({}, {"u": ("GND", {}, {"G": 9}), "v": ("VCC", {}, {"V": 9})}, Family.GOWIN)


def test_driven_constant_wrong():
    with pytest.raises(NetlistError, match=r"Output of cell 'u' \(SB_LUT4\) must drive a net, not the constant '0'"):
        compiled({"a": A}, {"u": lut4(1, [2], "0")})
    with pytest.raises(NetlistError, match=r"Input port a\[0\] must be a net, not the constant '1'"):
        compiled({"a": ("input", ["1"])}, {})


def test_combinational_loop_wrong():
    with pytest.raises(NetlistError, match=r"loop, not the one through (cell '[uv]' \(SB_LUT4\)(, )?){2}$"):
        compiled({"a": A, "y": Y}, {"u": lut4(AND, [2, 10], 9), "v": lut4(1, [9], 10), "w": lut4(1, [9], 11)})


def test_long_loop_is_shortened_wrong():
    cells = {f"c{index}": lut4(1, [20 + index], 20 + (index + 1) % 12) for index in range(12)}
    with pytest.raises(NetlistError, match=r"through (cell 'c\d+' \(SB_LUT4\)(, )?){8} and others"):
        compiled({}, cells)


def test_bits_of_one_cell_may_feed_each_other():
    """The sum of a carry stage may be an operand of the next one in the same cell."""
    program = compiled({"s": ("input", [2, 3]), "y": ("output", [10, 11])}, {"u": ("CARRY4", {}, {
        "CI": "0", "CYINIT": "1", "S": [2, 10, "0", "0"], "DI": [3, "0", "0", "0"],
        "O": [10, 11, 12, 13], "CO": [14, 15, 16, 17]})}, Family.XILINX)
    for s in range(4):
        first = (s & 1) ^ 1
        carry = 1 if s & 1 else s >> 1
        assert NumpyEngine(program).run({"s": [s]})["y"].tolist() == [first | (first ^ carry) << 1], s


@pytest.mark.parametrize("clock", ["1", 10])
def test_clock_made_by_logic_wrong(clock):
    with pytest.raises(NetlistError, match=r"Clock of cell 'u' \(SB_DFF\) must be an input port of the design"):
        compiled({"a": A, "b": B, "y": Y}, {"u": ("SB_DFF", {}, {"C": clock, "D": 3, "Q": 9}),
                                            "gate": lut4(AND, [2, 3], 10)})


# Parameters

def test_unknown_parameter_wrong():
    with pytest.raises(NetlistError, match=r"Parameter COLOUR must be unset for the netlist engine, not 1'b1 \(cell"):
        compiled({"a": A}, {"u": ("SB_LUT4", {"COLOUR": "1"}, {"I0": 2})})


@pytest.mark.parametrize(("value", "message"), [
    ("01x1", "Parameter LUT_INIT must be of bits 0 and 1, not 4'b01x1"),
    ("1" * 17, "Parameter LUT_INIT must have at most 16 bits, not 17'b1{17}"),
    ("green", "Parameter LUT_INIT must be a number, not 'green'"),
])
def test_number_wrong(value, message):
    with pytest.raises(NetlistError, match=message):
        compiled({"a": A}, {"u": ("SB_LUT4", {"LUT_INIT": value}, {"I0": 2})})


def test_choice_wrong():
    with pytest.raises(NetlistError, match=r"Parameter SRMODE must be one of ASYNC, LSR_OVER_CE, not 'CE_OVER_LSR'"):
        compiled({"clk": A, "d": B, "y": Y}, {"u": ("TRELLIS_FF", {"SRMODE": "CE_OVER_LSR"}, {
            "CLK": 2, "DI": 3, "Q": 9})}, Family.ECP5)


@pytest.mark.parametrize(("family", "cell", "parameters", "pins", "message"), [
    (Family.GOWIN, "DFF", {"INIT": "1"}, {}, "Parameter INIT must be 0, the value the device starts at, not 1"),
    (Family.GOWIN, "ALU", {"ALU_MODE": 10}, {}, "Parameter ALU_MODE must be 0 to 9, not 10"),
    (Family.GOWIN, "MULTALU18X18", {"OUT_REG": "1", "MULTALU18X18_MODE": 1}, {},
     "Parameter MULTALU18X18_MODE must be 0: a sum of the product, C and the own sum, not 1"),
    (Family.GOWIN, "MULTALU18X18", {"OUT_REG": "0"}, {}, "Parameter OUT_REG must be 1: the accumulator is that"),
    (Family.GOWIN, "MULT9X9", {}, {"ASEL": "1"}, "Pin ASEL must be 0: the operand from the pins, without a cascade"),
    (Family.GOWIN, "MULT9X9", {}, {"BSEL": 2}, r"Pin BSEL\[0\] must be the constant 0 or 1, not net 'a'"),
    (Family.ECP5, "MULT18X18D", {"REG_INPUTC_CLK": "CLK0"}, {}, "Parameter REG_INPUTC_CLK must be one of NONE, not"),
    (Family.ECP5, "MULT18X18D", {"REG_OUTPUT_CLK": "CLK9"}, {},
     "Parameter REG_OUTPUT_CLK must be one of CLK0, CLK1, CLK2, CLK3, NONE, not 'CLK9'"),
    (Family.ECP5, "MULT18X18D", {}, {"SOURCEB": "1"}, "Pin SOURCEB must be 0: the operand from the pins"),
    (Family.ECP5, "DCCA", {}, {"CE": "0"}, "Pin CE must be 1: a clock that always runs, not 0"),
    (Family.NEXUS, "DCC", {}, {"CE": "0"}, "Pin CE must be 1: a clock that always runs, not 0"),
    (Family.NEXUS, "OXIDE_FF", {"REGDDR": "ENABLED"}, {}, "Parameter REGDDR must be one of DISABLED, not 'ENABLED'"),
    (Family.XILINX, "BUFHCE", {}, {"CE": "0"}, "Pin CE must be active: a clock that always runs, not inactive"),
    (Family.XILINX, "DSP48E1", {"USE_SIMD": "TWO24"}, {}, "Parameter USE_SIMD must be one of ONE48, not 'TWO24'"),
    (Family.XILINX, "DSP48E1", {"CARRYINSELREG": 1}, {}, "Parameter CARRYINSELREG must be 0: CARRYINSEL without a"),
    (Family.XILINX, "DSP48E1", {"IS_CLK_INVERTED": "1"}, {}, "Parameter IS_CLK_INVERTED must be 0, not 1"),
    (Family.XILINX, "DSP48E1", {"AREG": 3}, {}, "Parameter AREG must be 0 to 2, not 3"),
    (Family.XILINX, "DSP48E1", {"MREG": 2}, {}, "Parameter MREG must be 0 or 1, not 2"),
    (Family.XILINX, "DSP48E1", {"PREG": 0}, {"ALUMODE": list("0010")}, r"Pin ALUMODE\[2\] must be 0: an addition"),
    (Family.XILINX, "DSP48E1", {"PREG": 0}, {"ALUMODE": list("0000"), "OPMODE": list("1000000")},
     r"Pins OPMODE\[3:0\] must be constant and choose the product at X and at Y together, not one of them alone"),
    (Family.XILINX, "DSP48E2", {"MREG": 2}, {}, "Parameter MREG must be 0 or 1, not 2"),
    (Family.XILINX, "DSP48E2", {"BMULTSEL": "AD"}, {}, "Parameter BMULTSEL must be one of B, not 'AD'"),
    (Family.XILINX, "DSP48E2", {"PREG": 0}, {"ALUMODE": list("0001")}, r"Pin ALUMODE\[3\] must be 0: an addition"),
    (Family.ICE40, "SB_IO", {"PIN_TYPE": "010000"}, {}, r"PIN_TYPE must ask for a direct \(10\) or registered"),
    (Family.ICE40, "SB_IO", {"PIN_TYPE": "000011"}, {"LATCH_INPUT_VALUE": 2}, "PIN_TYPE must not ask for the input"),
])
def test_configuration_wrong(family, cell, parameters, pins, message):
    zero = {"DSP48E1": ("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "INMODEREG", "OPMODEREG"),
            "DSP48E2": ("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "INMODEREG", "OPMODEREG", "AREG", "BREG", "CREG",
                        "DREG", "ADREG", "PREG")}.get(cell, ())
    with pytest.raises(NetlistError, match=message + r".*\(cell 'u' \(" + cell + r"\)\)$"):
        compiled({"a": A}, {"u": (cell, {**dict.fromkeys(zero, 0), **parameters}, pins)}, family, net_names={2: "a"})


def test_global_reset_twice_wrong():
    with pytest.raises(NetlistError, match=r"Global set/reset must have one driver, not also cell 'u' \(GSR\) \("):
        compiled({"a": A}, {"u": ("GSR", {}, {"GSR": 2}), "v": ("GSR", {}, {"GSR": 2})}, Family.ECP5)


def test_pad_inside_the_design_wrong():
    with pytest.raises(NetlistError, match=r"Pin of cell 'pad' \(OBZ\) must be an output or inout port .*'inner'"):
        compiled({"a": A, "y": Y}, {"pad": ("OBZ", {}, {"I": 2, "T": 2, "O": 10}), "u": ("INV", {}, {"A": 10, "Z": 9})},
                 Family.NEXUS, net_names={10: "inner"})
