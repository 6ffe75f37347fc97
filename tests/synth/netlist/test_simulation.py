import random

import numpy as np
import pytest

from synth.netlist import Family, LlvmEngine, NumpyEngine, Simulation, compile_netlist, read_netlist
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.kernel import MAXIMUM_INTEGER_VECTORS
from tests.synth.netlist.builders import design, lut4


@pytest.fixture(params=["numpy", *(isa.value for isa in host_instruction_sets())], autouse=True)
def _machine(request, monkeypatch):
    """Every simulation here runs on every machine."""
    if request.param != "numpy":
        isa = InstructionSet(request.param)
        monkeypatch.setattr("synth.netlist.simulation._numpy_machine",
                            lambda program, words: LlvmEngine(program, isa=isa, threads=2).make_machine(words))


BOTH_KERNELS = [5, MAXIMUM_INTEGER_VECTORS + 65]


def program(ports, cells, family=Family.ICE40):
    return compile_netlist(read_netlist(design(ports, cells)), family)


def toggler(clock_cell="SB_DFF"):
    """A flip-flop that turns over at every edge."""
    return program({"clk": ("input", [2]), "y": ("output", [3])}, {
        "u": (clock_cell, {}, {"C": 2, "D": 4, "Q": 3}), "inverter": lut4(0x5555, [3], 4)})


@pytest.mark.parametrize("lanes", BOTH_KERNELS)
def test_lanes_are_independent(lanes):
    design_ = program({"clk": ("input", [2]), "d": ("input", [3]), "e": ("input", [4]), "q": ("output", [5])},
                      {"u": ("SB_DFFE", {}, {"C": 2, "D": 3, "E": 4, "Q": 5})})
    rng = np.random.default_rng(lanes)
    simulation = Simulation(design_, lanes)
    want = np.zeros(lanes, np.int64)
    for _ in range(20):
        d, e = rng.integers(0, 2, (2, lanes))
        simulation.set("d", d)
        simulation.set("e", e)
        assert (simulation.get("q") == want).all()
        simulation.step()
        want = np.where(e, d, want)
    assert simulation.lanes == lanes


@pytest.mark.parametrize("lanes", BOTH_KERNELS)
def test_a_result_stays_what_it_was(lanes):
    simulation = Simulation(toggler(), lanes)
    before = simulation.get_planes("y")
    codes = simulation.get("y")
    simulation.step()
    assert simulation.get("y").tolist() == [1] * lanes
    assert codes.tolist() == [0] * lanes
    assert not before.any()


def test_initial_values_and_reset():
    design_ = program({"clk": ("input", [2]), "q": ("output", [3, 4])}, {
        "one": ("FDRE", {"INIT": "1"}, {"C": 2, "CE": "1", "D": "0", "R": "0", "Q": 3}),
        "unsaid": ("FDSE", {"INIT": "x"}, {"C": 2, "CE": "1", "D": "0", "S": "0", "Q": 4})}, Family.XILINX)
    simulation = Simulation(design_, 2)
    assert simulation.get("q").tolist() == [3, 3]
    simulation.step()
    assert simulation.get("q").tolist() == [0, 0]
    simulation.reset()
    assert simulation.get("q").tolist() == [3, 3]


def test_init_attribute_starts_yosys_flip_flops():
    document = design({"clk": ("input", [2]), "q": ("output", [3])},
                      {"u": ("$_DFF_P_", {}, {"C": 2, "D": "0", "Q": 3})}, net_names={3: "q"})
    document["modules"]["top"]["netnames"]["q"]["attributes"] = {"init": "1"}
    assert compile_netlist(read_netlist(document)).state[0].initial is True


def test_flip_flops_of_an_edge_change_together():
    """Two flip-flops that take each other's value swap."""
    design_ = program({"clk": ("input", [2]), "q": ("output", [3, 4])}, {
        "a": ("SB_DFF", {}, {"C": 2, "D": 4, "Q": 3}),
        "b": ("SB_DFFSS", {}, {"C": 2, "D": 3, "S": 5, "Q": 4}), "once": lut4(1, [3, 4, 6], 5),
        "seen": ("SB_DFF", {}, {"C": 2, "D": "1", "Q": 6})})
    simulation = Simulation(design_)
    shown = []
    for _ in range(4):
        simulation.step()
        shown.append(int(simulation.get("q")[0]))
    assert shown == [0b10, 0b01, 0b10, 0b01]


def test_falling_edge_comes_after_the_rising_edge():
    design_ = program({"clk": ("input", [2]), "d": ("input", [3]), "q": ("output", [4, 5])}, {
        "first": ("SB_DFF", {}, {"C": 2, "D": 3, "Q": 4}), "second": ("SB_DFFN", {}, {"C": 2, "D": 4, "Q": 5})})
    simulation = Simulation(design_)
    simulation.set("d", 1)
    simulation.step()
    assert simulation.get("q").tolist() == [0b11]
    simulation.set("d", 0)
    simulation.step(cycles=2)
    assert simulation.get("q").tolist() == [0b00]


def test_logic_sees_the_clock_high_only_at_the_falling_edge():
    design_ = program({"clk": ("input", [2]), "q": ("output", [4, 5]), "seen": ("output", [2])}, {
        "rising": ("SB_DFF", {}, {"C": 2, "D": 2, "Q": 4}), "falling": ("SB_DFFN", {}, {"C": 2, "D": 2, "Q": 5})})
    simulation = Simulation(design_)
    simulation.step(cycles=3)
    assert simulation.get("q").tolist() == [0b10]
    assert simulation.get("seen").tolist() == [0]


def test_asynchronous_reset_acts_without_a_clock_and_is_kept():
    design_ = program({"clk": ("input", [2]), "r": ("input", [3]), "q": ("output", [4])},
                      {"u": ("SB_DFFR", {}, {"C": 2, "D": "1", "R": 3, "Q": 4})})
    simulation = Simulation(design_, 2)
    simulation.step()
    assert simulation.get("q").tolist() == [1, 1]
    simulation.set("r", [0, 1])
    assert simulation.get("q").tolist() == [1, 0]
    simulation.set("r", 0)
    assert simulation.get("q").tolist() == [1, 0]
    simulation.step()
    assert simulation.get("q").tolist() == [1, 1]


def test_asynchronous_reset_made_by_the_design_outlasts_the_step():
    """A counter bit that resets another flip-flop for one cycle only."""
    design_ = program({"clk": ("input", [2]), "q": ("output", [4])}, {
        "pulse": ("SB_DFF", {}, {"C": 2, "D": 6, "Q": 5}), "seen": ("SB_DFF", {}, {"C": 2, "D": "1", "Q": 7}),
        "once": lut4(0b01, [7], 6), "held": ("SB_DFFES", {}, {"C": 2, "D": "0", "E": "0", "S": 5, "Q": 4})})
    simulation = Simulation(design_)
    shown = []
    for _ in range(3):
        simulation.step()
        shown.append(int(simulation.get("q")[0]))
    assert shown == [1, 1, 1]


def test_asynchronous_reset_after_an_edge_sees_the_inputs_of_that_time():
    """The reset that an edge starts acts at once, not after the inputs have changed."""
    design_ = program({"clk": ("input", [2]), "i": ("input", [3]), "q": ("output", [4])}, {
        "pulse": ("SB_DFF", {}, {"C": 2, "D": "1", "Q": 5}), "gate": lut4(0b1000, [3, 5], 6),
        "held": ("SB_DFFES", {}, {"C": 2, "D": "0", "E": "0", "S": 6, "Q": 4})})
    simulation = Simulation(design_)
    simulation.set("i", 1)
    simulation.step()
    simulation.set("i", 0)
    assert simulation.get("q").tolist() == [1]


@pytest.mark.parametrize("lanes", BOTH_KERNELS)
def test_shift_register_moves_one_place_a_cycle(lanes):
    cells = {f"bit{index}": ("SB_DFF", {}, {"C": 2, "D": 10 + index, "Q": 11 + index}) for index in range(8)}
    design_ = program({"clk": ("input", [2]), "d": ("input", [10]), "q": ("output", list(range(11, 19)))}, cells)
    simulation = Simulation(design_, lanes)
    for bit in (1, 0, 1, 1, 0):
        simulation.set("d", bit)
        simulation.step()
    assert simulation.get("q").tolist() == [0b10110] * lanes


def test_clocks_are_stepped_by_name():
    design_ = program({"clks": ("input", [2, 3]), "clk": ("input", [8]), "q": ("output", [4, 5, 6])}, {
        "a": ("SB_DFF", {}, {"C": 2, "D": "1", "Q": 4}), "b": ("SB_DFF", {}, {"C": 3, "D": "1", "Q": 5}),
        "c": ("SB_DFF", {}, {"C": 8, "D": "1", "Q": 6})})
    assert design_.clocks == ("clks[0]", "clks[1]", "clk")
    simulation = Simulation(design_)
    simulation.step("clks[1]")
    assert simulation.get("q").tolist() == [0b010]
    simulation.step("clk")
    assert simulation.get("q").tolist() == [0b110]
    simulation.step("clks[0]")
    assert simulation.get("q").tolist() == [0b111]


def test_values_are_taken_per_lane_or_for_all():
    design_ = program({"a": ("input", list(range(2, 72))), "y": ("output", list(range(2, 72)))}, {})
    simulation = Simulation(design_, 3)
    simulation.set("a", (1 << 70) - 1)
    assert simulation.get("y").tolist() == [(1 << 70) - 1] * 3
    simulation.set("a", np.array([1 << 69, 5, 0], object))
    assert simulation.get("y").tolist() == [1 << 69, 5, 0]
    simulation.set_planes("a", np.full((70, 1), 0b010, np.uint64))
    assert simulation.get("y").tolist() == [0, (1 << 70) - 1, 0]


def test_random_circuits_agree_on_both_kernels():
    rng = random.Random(8)
    cells, nets = {}, [3, 4, 5, 6]
    for index in range(60):
        output = 100 + index
        if index % 4 == 3:
            cells[f"c{index}"] = ("SB_DFFESR", {}, {"C": 2, "D": rng.choice(nets), "E": rng.choice(nets),
                                                    "R": rng.choice(nets), "Q": output})
        else:
            cells[f"c{index}"] = lut4(rng.getrandbits(16), rng.sample(nets, 4), output)
        nets.append(output)
    design_ = program({"clk": ("input", [2]), "a": ("input", [3, 4, 5, 6]), "y": ("output", nets[-16:])}, cells)
    small, large = Simulation(design_, 64), Simulation(design_, BOTH_KERNELS[1])
    for cycle in range(12):
        codes = np.array([rng.randrange(16) for _ in range(BOTH_KERNELS[1])])
        small.set("a", codes[:64])
        large.set("a", codes)
        assert (small.get("y") == large.get("y")[:64]).all(), cycle
        small.step()
        large.step()


def test_lanes_wrong():
    with pytest.raises(ValueError, match="Number of lanes must be at least 1, not 0"):
        Simulation(toggler(), 0)
    with pytest.raises(TypeError):
        Simulation(toggler(), 1.5)


def test_port_wrong():
    simulation = NumpyEngine(program({"clk": ("input", [2]), "d": ("input", [3, 4]), "q": ("output", [5])}, {
        "u": ("SB_DFFE", {}, {"C": 2, "D": 3, "E": 4, "Q": 5})})).simulation(2)
    with pytest.raises(KeyError, match="Input must be one of clk, d, not 'nothing'"):
        simulation.set("nothing", 0)
    with pytest.raises(KeyError, match="Output must be one of q, not 'd'"):
        simulation.get("d")
    with pytest.raises(ValueError, match=r"Input must not be the clock 'clk', which step\(\) drives"):
        simulation.set("clk", 1)
    with pytest.raises(ValueError, match="Value of d must be 0 to 3, not 4"):
        simulation.set("d", 4)
    with pytest.raises(ValueError, match=r"Values of d must be one a lane, of shape \(2,\), not \(3,\)"):
        simulation.set("d", [0, 1, 2])
    with pytest.raises(ValueError, match="Codes of a 2-bit port must be 0 to 3, not 4"):
        simulation.set("d", [0, 4])
    with pytest.raises(ValueError, match=r"Planes of d must be of shape \(2, 1\), not \(1, 1\)"):
        simulation.set_planes("d", np.zeros((1, 1), np.uint64))


def test_clock_wrong():
    with pytest.raises(ValueError, match="Clock must be one of clk, not 'clock'"):
        Simulation(toggler()).step("clock")
    combinational = program({"a": ("input", [2]), "y": ("output", [3])}, {"u": lut4(1, [2], 3)})
    with pytest.raises(ValueError, match=r"Clock must be one of none \(the design has no flip-flop\), not None"):
        Simulation(combinational).step()
    two = program({"c": ("input", [2]), "d": ("input", [3]), "q": ("output", [4, 5])}, {
        "a": ("SB_DFF", {}, {"C": 2, "D": "1", "Q": 4}), "b": ("SB_DFF", {}, {"C": 3, "D": "1", "Q": 5})})
    with pytest.raises(ValueError, match="Clock must be one of c, d, not None"):
        Simulation(two).step()
