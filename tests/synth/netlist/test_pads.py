"""Pads, clock buffers and the global reset: what makes a board's netlist run from its pins."""

import numpy as np
import pytest

from synth.netlist import Family, NumpyEngine, compile_netlist, read_netlist
from tests.synth.netlist.builders import design


def engine(ports, cells, family):
    return NumpyEngine(compile_netlist(read_netlist(design(ports, cells)), family))


ALL = np.arange(8)
DATA, ENABLE, OUTSIDE = ALL & 1, ALL >> 1 & 1, ALL >> 2 & 1

TRISTATE = [
    (Family.GOWIN, "TBUF", {"I": 2, "OEN": 3, "O": 4}, 0), (Family.XILINX, "OBUFT", {"I": 2, "T": 3, "O": 4}, 0),
    (Family.ECP5, "OBZ", {"I": 2, "T": 3, "O": 4}, 0), (Family.NEXUS, "OBZ", {"I": 2, "T": 3, "O": 4}, 0),
    (Family.ICE40, "$_TBUF_", {"A": 2, "E": 3, "Y": 4}, 1),
]
BIDIRECTIONAL = [
    (Family.GOWIN, "IOBUF", {}, {"I": 2, "OEN": 3, "IO": 4, "O": 5}, 0),
    (Family.XILINX, "IOBUF", {"DRIVE": 12, "SLEW": "SLOW"}, {"I": 2, "T": 3, "IO": 4, "O": 5}, 0),
    (Family.ECP5, "BB", {}, {"I": 2, "T": 3, "B": 4, "O": 5}, 0),
    (Family.ECP5, "TRELLIS_IO", {"DIR": "BIDIR", "IO_TYPE": "LVCMOS33"}, {"I": 2, "T": 3, "B": 4, "O": 5}, 0),
    (Family.NEXUS, "BB", {}, {"I": 2, "T": 3, "B": 4, "O": 5}, 0),
    (Family.ICE40, "SB_IO", {"PIN_TYPE": "101001", "PULLUP": "1"},
     {"D_OUT_0": 2, "OUTPUT_ENABLE": 3, "PACKAGE_PIN": 4, "D_IN_0": 5}, 1),
]


@pytest.mark.parametrize(("family", "cell", "pins", "active"), TRISTATE)
def test_tristate_output_shows_data_and_enable(family, cell, pins, active):
    run = engine({"d": ("input", [2]), "e": ("input", [3]), "p": ("output", [4])}, {"pad": (cell, {}, pins)}, family)
    result = run.run({"d": DATA, "e": ENABLE})
    assert result["p"].tolist() == DATA.tolist()
    assert result["p.oe"].tolist() == (active == ENABLE).astype(int).tolist()


@pytest.mark.parametrize(("family", "cell", "parameters", "pins", "active"), BIDIRECTIONAL)
def test_bidirectional_pin_is_ours_or_the_outsides(family, cell, parameters, pins, active):
    run = engine({"d": ("input", [2]), "e": ("input", [3]), "p": ("inout", [4]), "q": ("output", [5])},
                 {"pad": (cell, parameters, pins)}, family)
    assert [port.name for port in run.program.inputs] == ["d", "e", "p"]
    result = run.run({"d": DATA, "e": ENABLE, "p": OUTSIDE})
    want = np.where(active == ENABLE, DATA, OUTSIDE).tolist()
    assert result["p"].tolist() == result["q"].tolist() == want
    assert result["p.oe"].tolist() == (active == ENABLE).astype(int).tolist()


def test_output_may_show_a_bidirectional_pin():
    """An output port on the pin's own net, declared before it, does not take its place."""
    run = engine({"d": ("input", [2]), "e": ("input", [3]), "q": ("output", [4]), "p": ("inout", [4])},
                 {"pad": ("$_TBUF_", {}, {"A": 2, "E": 3, "Y": 4})}, Family.ICE40)
    result = run.run({"d": DATA, "e": ENABLE, "p": OUTSIDE})
    assert list(result) == ["q", "p", "p.oe"]
    assert result["q"].tolist() == np.where(ENABLE, DATA, OUTSIDE).tolist()


@pytest.mark.parametrize(("family", "cell", "parameters", "pins"), [
    (Family.ICE40, "SB_IO", {"PIN_TYPE": "011001"}, {"D_OUT_0": 2, "PACKAGE_PIN": 4}),
    (Family.ICE40, "SB_IO", {"PIN_TYPE": "101001"}, {"D_OUT_0": 2, "OUTPUT_ENABLE": "1", "PACKAGE_PIN": 4}),
    (Family.ECP5, "TRELLIS_IO", {"DIR": "OUTPUT"}, {"I": 2, "B": 4}),
    (Family.ECP5, "TRELLIS_IO", {"DIR": "OUTPUT"}, {"I": 2, "T": "0", "B": 4}),
    (Family.ECP5, "OB", {}, {"I": 2, "O": 4}), (Family.NEXUS, "OB", {}, {"I": 2, "O": 4}),
    (Family.GOWIN, "TBUF", {}, {"I": 2, "OEN": "0", "O": 4}),
])
@pytest.mark.parametrize("direction", ["output", "inout"])
def test_driven_pad_is_an_output_alone(family, cell, parameters, pins, direction):
    run = engine({"d": ("input", [2]), "p": (direction, [4])}, {"pad": (cell, parameters, pins)}, family)
    assert [port.name for port in run.program.inputs] == ["d"]
    assert {port: codes.tolist() for port, codes in run.run({"d": [0, 1]}).items()} == {"p": [0, 1]}


@pytest.mark.parametrize(("family", "cell", "parameters", "pins"), [
    (Family.ICE40, "SB_IO", {"PIN_TYPE": "000001"}, {"PACKAGE_PIN": 4, "D_IN_0": 5}),
    (Family.ICE40, "SB_GB_IO", {"PIN_TYPE": "000001"}, {"PACKAGE_PIN": 4, "GLOBAL_BUFFER_OUTPUT": 5}),
    (Family.ECP5, "TRELLIS_IO", {"DIR": "INPUT"}, {"B": 4, "O": 5}), (Family.ECP5, "IB", {}, {"I": 4, "O": 5}),
    (Family.NEXUS, "IB", {}, {"I": 4, "O": 5}), (Family.GOWIN, "BUFG", {}, {"I": 4, "O": 5}),
    (Family.GOWIN, "BUFS", {}, {"I": 4, "O": 5}), (Family.XILINX, "BUFH", {}, {"I": 4, "O": 5}),
    (Family.ECP5, "DCCA", {}, {"CLKI": 4, "CLKO": 5, "CE": "1"}), (Family.NEXUS, "DCC", {}, {"CLKI": 4, "CLKO": 5}),
])
@pytest.mark.parametrize("direction", ["input", "inout"])
def test_read_pad_is_an_input_alone(family, cell, parameters, pins, direction):
    run = engine({"p": (direction, [4]), "q": ("output", [5])}, {"pad": (cell, parameters, pins)}, family)
    assert {port: codes.tolist() for port, codes in run.run({"p": [0, 1]}).items()} == {"q": [0, 1]}


def test_gowin_inverter():
    run = engine({"a": ("input", [4]), "q": ("output", [5])}, {"u": ("INV", {}, {"I": 4, "O": 5})}, Family.GOWIN)
    assert run.run({"a": [0, 1]})["q"].tolist() == [1, 0]


def test_registered_ice40_pads_take_a_cycle():
    run = engine({"o_clk": ("input", [2]), "i_clk": ("input", [6]), "d": ("input", [3]), "e": ("input", [7]),
                  "p": ("inout", [4]), "q": ("output", [5])}, {
        "out": ("SB_IO", {"PIN_TYPE": "110100"}, {"D_OUT_0": 3, "OUTPUT_ENABLE": 7, "OUTPUT_CLK": 2, "INPUT_CLK": 6,
                                                  "PACKAGE_PIN": 4, "D_IN_0": 5})}, Family.ICE40)
    simulation = run.simulation(4)
    simulation.set("d", [0, 1, 0, 1])
    simulation.set("e", [0, 0, 1, 1])
    simulation.set("p", 1)
    assert (simulation.get("p").tolist(), simulation.get("p.oe").tolist()) == ([1] * 4, [0] * 4)
    simulation.step("o_clk")
    assert (simulation.get("p").tolist(), simulation.get("p.oe").tolist()) == ([1, 1, 0, 1], [0, 0, 1, 1])
    assert simulation.get("q").tolist() == [0] * 4
    simulation.step("i_clk")
    assert simulation.get("q").tolist() == [1, 1, 0, 1]


def test_clock_may_come_through_pads_and_inverters():
    run = engine({"pin": ("inout", [2]), "d": ("input", [3]), "q": ("output", [4])}, {
        "pad": ("SB_GB_IO", {"PIN_TYPE": "000001"}, {"PACKAGE_PIN": 2, "GLOBAL_BUFFER_OUTPUT": 10}),
        "inverter": ("SB_LUT4", {"LUT_INIT": format(0x5555, "016b")}, {"I0": 10, "O": 11}),
        "u": ("SB_DFFN", {}, {"C": 11, "D": 3, "Q": 4})}, Family.ICE40)
    [bit] = run.program.state
    assert (bit.clock.name, bit.clock.rising) == ("pin", True)


@pytest.mark.parametrize("cell", ["GSR", "SGSR"])
def test_global_reset_holds_flip_flops_that_listen(cell):
    pins = {"GSR": 7, **({"CLK": 2} if cell == "SGSR" else {})}
    run = engine({"clk": ("input", [2]), "d": ("input", [3]), "released": ("input", [7]), "q": ("output", [4, 5, 6])}, {
        "listens": ("TRELLIS_FF", {"GSR": "ENABLED"}, {"CLK": 2, "DI": 3, "Q": 4}),
        "starts_at_one": ("TRELLIS_FF", {"GSR": "ENABLED", "REGSET": "SET"}, {"CLK": 2, "DI": 3, "Q": 5}),
        "deaf": ("TRELLIS_FF", {"GSR": "DISABLED"}, {"CLK": 2, "DI": 3, "Q": 6}),
        "reset": (cell, {}, pins)}, Family.ECP5)
    simulation = run.simulation(2)
    simulation.set("d", [0, 1])
    simulation.step()
    assert simulation.get("q").tolist() == [0b010, 0b110]
    simulation.set("released", 1)
    if cell == "SGSR":                                    # released at the next edge, heard at the one after
        simulation.step()
        assert simulation.get("q").tolist() == [0b010, 0b110]
    simulation.step()
    assert simulation.get("q").tolist() == [0b000, 0b111]
