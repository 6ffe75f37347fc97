"""A fault in every kind of cell of every family is what it is said to be, planted alone or chosen among others."""

import numpy as np
import pytest

from synth.mutate import FaultKind, choosable, plant, population
from synth.mutate.plant import ACTIVE, CHOICE, top_module, watched
from synth.netlist import compile_netlist, make_engine, read_netlist
from tests.support.mutants import (
    CLOCK,
    FLIP_FLOPS,
    LOGIC,
    flip_flop_design,
    logic_design,
    outputs_of,
    random_inputs,
    trace,
)

LOGIC_CELLS = [pytest.param(*cell, id=f"{family}-{cell[0]}-{index}")
               for family, cells in LOGIC.items() for index, cell in enumerate(cells)]
FLIP_FLOP_CELLS = [pytest.param(*cell, id=f"{family}-{cell[0]}-{index}")
                   for family, cells in FLIP_FLOPS.items() for index, cell in enumerate(cells)]

STUCK = {FaultKind.STUCK_AT_0: 0, FaultKind.STUCK_AT_1: 1}
CYCLES = 240


def faults_of(document, clocked=False):
    return population(top_module(document)[1], [(CLOCK, 0)] if clocked else [])


def inputs_of(document):
    return [name for name, port in document["modules"]["top"]["ports"].items() if port["direction"] == "input"]


def port_of(document, pin):
    """Return the port on a pin's net."""
    module = document["modules"]["top"]
    net = module["cells"]["cell"]["connections"][pin[0]][pin[1]]
    return next(name for name, port in module["ports"].items() if port["bits"] == [net])


def table(document, **constants):
    """Return outputs by name, each with an axis for every input."""
    names = [name for name in inputs_of(document) if name not in constants]
    return {name: codes.reshape((2,) * len(names)) for name, codes in outputs_of(document, **constants).items()}


@pytest.mark.parametrize(("type_", "parameters", "inputs", "outputs"), LOGIC_CELLS)
def test_a_fault_of_logic_does_what_its_kind_says(type_, parameters, inputs, outputs):
    document = logic_design(type_, parameters, inputs, outputs)
    names, sound = inputs_of(document), table(document)
    faults = faults_of(document)
    assert {FaultKind.INVERTED_INPUT, *STUCK} <= {fault.kind for fault in faults}
    for fault in faults:
        got = table(plant(document, fault))
        if fault.kind in STUCK:
            port = port_of(document, fault.pins[0])
            wanted = sound | {port: np.full_like(sound[port], STUCK[fault.kind])}
        elif fault.kind is FaultKind.INVERTED_INPUT:
            axis = names.index(port_of(document, fault.pins[0]))
            wanted = {name: np.flip(codes, axis) for name, codes in sound.items()}
        elif fault.kind is FaultKind.SWAPPED_INPUTS:
            axes = [names.index(port_of(document, pin)) for pin in fault.pins]
            wanted = {name: np.swapaxes(codes, *axes) for name, codes in sound.items()}
        elif fault.kind in (FaultKind.CARRY_AT_0, FaultKind.CARRY_AT_1):
            value = int(fault.kind is FaultKind.CARRY_AT_1)
            net = document["modules"]["top"]["cells"]["cell"]["connections"][fault.pins[0][0]][0]
            if isinstance(net, str):                     # tied: at 1 it makes a carry, whatever comes in
                assert net == str(1 - value)
                assert any((got[name] != sound[name]).any() for name in sound), fault
                continue
            axis = names.index(port_of(document, fault.pins[0]))
            wanted = {name: np.broadcast_to(np.take(codes, [value], axis), codes.shape)
                      for name, codes in sound.items()}
        else:
            assert fault.kind is FaultKind.TABLE_BIT
            assert any((got[name] != sound[name]).any() for name in sound), fault
            continue
        for name, codes in wanted.items():
            assert np.array_equal(got[name], codes), (fault, name)


@pytest.mark.parametrize(("type_", "parameters", "inputs", "outputs"),
                         [case for case in LOGIC_CELLS if "LUT" in case.values[0] and "_" not in case.values[0][2:]])
def test_an_inverted_table_bit_changes_the_answer_to_one_combination(type_, parameters, inputs, outputs):
    document = logic_design(type_, parameters, inputs, outputs)
    sound = table(document)[outputs]
    changed = [np.argwhere(table(plant(document, fault))[outputs] != sound)
               for fault in faults_of(document) if fault.kind is FaultKind.TABLE_BIT]
    assert all(len(places) == 1 for places in changed)
    assert len({tuple(places[0]) for places in changed}) == sound.size, "every combination has its bit"


@pytest.mark.parametrize(("type_", "parameters", "inputs", "outputs"), LOGIC_CELLS)
def test_a_choice_of_logic_faults_does_what_each_does_alone(type_, parameters, inputs, outputs):
    document = logic_design(type_, parameters, inputs, outputs)
    faults = faults_of(document)[::7]
    together = choosable(document, faults)
    for chosen, alone in [(0, document), *((1 << index, plant(document, fault)) for index, fault in enumerate(faults))]:
        got, wanted = table(together, **{CHOICE: chosen}), table(alone)
        for name, codes in wanted.items():
            assert np.array_equal(got[name], codes), (chosen, name)


@pytest.mark.parametrize(("type_", "parameters", "inputs", "outputs"), LOGIC_CELLS)
def test_what_is_watched_is_where_a_fault_acts(type_, parameters, inputs, outputs):
    document = logic_design(type_, parameters, inputs, outputs)
    faults, sound = faults_of(document), table(document)
    shown = table(watched(document, faults, []))
    for name, codes in sound.items():
        assert np.array_equal(shown[name], codes)
    for index, fault in enumerate(faults):
        got = table(plant(document, fault))
        different = np.any([got[name] != codes for name, codes in sound.items()], axis=0)
        active = np.array([int(code) >> index & 1 for code in shown[ACTIVE].ravel()]).reshape(different.shape)
        assert np.array_equal(active.astype(bool), different), fault


@pytest.mark.parametrize(("type_", "parameters", "inputs", "clock"), FLIP_FLOP_CELLS)
def test_a_fault_of_a_flip_flop_does_what_its_kind_says(type_, parameters, inputs, clock):
    document = flip_flop_design(type_, parameters, inputs, clock)
    stimulus = random_inputs(document, CYCLES, seed=1)
    sound = trace(document, stimulus)
    controls = inputs.split()[1:]
    faults = faults_of(document, clocked=True)
    enables = [pin for pin in controls if pin in ("E", "CE", "SP")]
    assert [fault.what for fault in faults if fault.kind is FaultKind.ENABLE_DROPPED] == enables
    assert [fault.what for fault in faults if fault.kind is FaultKind.RESET_DROPPED] == [
        pin for pin in controls if pin not in enables]
    for fault in faults:
        port = fault.pins[0][0]
        got = trace(plant(document, fault), stimulus)
        if fault.kind in STUCK:
            assert set(got) == {STUCK[fault.kind]}
        elif fault.kind is FaultKind.INVERTED_INPUT:
            assert got == trace(document, stimulus | {port: [1 - bit for bit in stimulus[port]]})
        elif fault.kind is FaultKind.INITIAL_VALUE:
            check_other_start(document, plant(document, fault), stimulus, parameters)
        else:
            held = [trace(document, stimulus | {port: [level] * CYCLES}) for level in (0, 1)]
            assert got in held
            assert got != sound
            assert not constant_to(held, got), "the level at which it acts, not the other"


def check_other_start(sound, faulty, stimulus, parameters):
    """It starts at the other value, and takes its data as before; where it is reset, to a value of either kind."""
    inactive = int(parameters.get("LSRMUX") == "INV" or parameters.get("IS_PRE_INVERTED") == "1")
    resets = [name for name in stimulus if name not in ("D", "DI", "E", "CE", "SP")]
    quiet = stimulus | {name: [inactive] * CYCLES for name in resets}
    before, after = trace(sound, quiet), trace(faulty, quiet)
    assert after[0] == 1 - before[0]
    same = next(index for index in range(CYCLES) if after[index:] == before[index:])
    assert 0 < same < 12
    if resets:
        held = stimulus | {name: [1 - inactive] * CYCLES for name in resets}
        to_value, to_other = (trace(design, held)[-1] for design in (sound, faulty))
        one_setting = sound["modules"]["top"]["cells"]["cell"]["type"][:4] in ("TREL", "OXID", "FD1P", "FD1S") or (
            "CLK" in sound["modules"]["top"]["cells"]["cell"]["connections"])
        assert (to_value != to_other) == one_setting


def constant_to(held, got):
    """Whether a control kept at that level holds the flip-flop still, which a dropped one never does."""
    return len(set(got)) == 1 and held[0] != held[1]


@pytest.mark.parametrize(("type_", "parameters", "inputs", "clock"), FLIP_FLOP_CELLS)
def test_a_choice_of_flip_flop_faults_does_what_each_does_alone(type_, parameters, inputs, clock):
    document = flip_flop_design(type_, parameters, inputs, clock)
    stimulus = random_inputs(document, CYCLES, seed=2)
    faults = faults_of(document, clocked=True)
    together = choosable(document, faults)
    for index, fault in enumerate(faults):
        assert trace(together, stimulus, **{CHOICE: 1 << index}) == trace(plant(document, fault), stimulus), fault
    assert trace(together, stimulus, **{CHOICE: 0}) == trace(document, stimulus)


def test_memories_have_faults_at_their_pins():
    document = flip_flop_design("RAM64X1S", {"INIT": "0110100110010111" + "01" * 24}, "D WE A0 A1 A2 A3 A4 A5", "WCLK")
    module = document["modules"]["top"]
    module["cells"]["cell"]["connections"]["O"] = module["cells"]["cell"]["connections"].pop("Q")
    module["cells"]["cell"]["port_directions"]["O"] = module["cells"]["cell"]["port_directions"].pop("Q")
    faults = faults_of(document, clocked=True)
    assert len(faults) == 8 + 2
    stimulus = random_inputs(document, CYCLES, seed=3)
    together = choosable(document, faults)
    sound = trace(document, stimulus)
    for index in range(0, len(faults), 3):
        alone = trace(plant(document, faults[index]), stimulus)
        assert alone != sound, faults[index]
        assert trace(together, stimulus, **{CHOICE: 1 << index}) == alone, faults[index]


def test_tied_inputs_address_no_more_than_they_can():
    tied = logic_design("SB_LUT4", {"LUT_INIT": "0000000000001000"}, "I0 I1 I2=0 I3=0", "O")
    assert [fault.bits for fault in faults_of(tied) if fault.kind is FaultKind.TABLE_BIT] == [1, 4, 2, 8]
    absent = logic_design("LUT4", {"INIT": "0xfc30"}, "B C D", "Z")
    assert [fault.bits for fault in faults_of(absent) if fault.kind is FaultKind.TABLE_BIT] == [
        3 << 2 * (index >> 2 | index & 2 | index << 2 & 4) for index in range(8)]


def test_a_constant_from_a_cell_is_one():
    document = logic_design("LUT2", {"INIT": "0110"}, "I0 I1", "F")
    module = document["modules"]["top"]
    net = module["ports"].pop("I1")["bits"][0]
    module["cells"]["ground"] = {"type": "GND", "parameters": {}, "connections": {"G": [net]},
                                 "port_directions": {"G": "output"}}
    faults = faults_of(document)
    assert {fault.cell for fault in faults} == {"cell"}
    assert [fault.bits for fault in faults if fault.kind is FaultKind.TABLE_BIT] == [1, 2]
    assert [fault.what for fault in faults if fault.kind is FaultKind.INVERTED_INPUT] == ["I0"]


def test_swaps_without_effect_are_no_faults():
    parity = logic_design("LUT3", {"INIT": "10010110"}, "I0 I1 I2", "F")
    assert not [fault for fault in faults_of(parity) if fault.kind is FaultKind.SWAPPED_INPUTS]
    majority = logic_design("SB_CARRY", {}, "I0 I1 CI", "CO")
    assert not [fault for fault in faults_of(majority) if fault.kind is FaultKind.SWAPPED_INPUTS]


def test_designs_that_have_the_ports_already_are_refused():
    document = logic_design("LUT1", {"INIT": "01"}, "I0", "O")
    document["modules"]["top"]["ports"] |= {CHOICE: {"direction": "output", "bits": ["0"]},
                                            ACTIVE: {"direction": "output", "bits": ["0"]}}
    faults = faults_of(document)
    with pytest.raises(ValueError, match="must have no port 'mutant'"):
        choosable(document, faults)
    with pytest.raises(ValueError, match="must have no port 'active'"):
        watched(document, faults, [])
    with pytest.raises(ValueError, match=r"must have one module, not \['other', 'top'\]"):
        top_module({"modules": {"top": {}, "other": {}}})


def test_a_sound_cell_is_left_as_it_is():
    document = logic_design("LUT1", {"INIT": "01"}, "I0", "O")
    before = make_engine(compile_netlist(read_netlist(document)), "numpy").run_exhaustive()["O"].tolist()
    for fault in faults_of(document):
        plant(document, fault)
        choosable(document, [fault])
    assert outputs_of(document)["O"].tolist() == before


def test_hexadecimal_tables_stay_so_where_they_look_like_bits():
    """Yosys marks a string of digits 0 and 1 and an x by a space behind it; other than that it would be bits."""
    sound = logic_design("LUT4", {"INIT": "0x0001 "}, "A B C D", "Z")
    faults = [fault for fault in faults_of(sound) if fault.kind is FaultKind.TABLE_BIT]
    assert len(faults) == 16
    for fault in faults:
        value = plant(sound, fault)["modules"]["top"]["cells"]["cell"]["parameters"]["INIT"]
        assert int(value, 0) == 1 ^ fault.bits
        assert value.endswith(" ") == set(value.strip()).issubset("01x"), value
