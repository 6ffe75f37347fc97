"""Families as data: found by name, counted by rule, wrapped for timing."""

import json
from collections import Counter

import pytest

from synth.errors import UsageError
from synth.flow import count_cells
from synth.harness import wrap
from synth.targets import TARGETS, find_device, find_target
from synth.toolchain import TOOLS

PLACED = [target for target in TARGETS.values() if target.place_and_route]


def test_the_six_families_are_there():
    assert list(TARGETS) == ["ice40", "ecp5", "nexus", "gowin", "xc7", "xcup"]
    assert [target.name for target in PLACED] == ["ice40", "ecp5", "nexus", "gowin"]


@pytest.mark.parametrize(("name", "text"), [
    ("ice4", "Target must be one of ice40, ecp5, nexus, gowin, xc7, xcup, not 'ice4'; did you mean ice40?"),
    ("stratix", "Target must be one of ice40, ecp5, nexus, gowin, xc7, xcup, not 'stratix'"),
    ("", "Target must be one of ice40, ecp5, nexus, gowin, xc7, xcup, not ''"),
])
def test_an_unknown_target_is_refused(name, text):
    with pytest.raises(UsageError) as error:
        find_target(name)
    assert str(error.value) == text


@pytest.mark.parametrize(("target", "device", "text"), [
    ("ice40", "25k", "Device must be one of hx8k, .* for ice40, not '25k'; 25k is a device of --target ecp5"),
    ("ecp5", "virtex", "Device must be one of 25k, .* for ecp5, not 'virtex'$"),
    ("xc7", "hx8k", "Device must be left out for xc7, which is counted by Yosys alone, not 'hx8k'"),
])
def test_a_device_of_another_family_is_refused(target, device, text):
    with pytest.raises(UsageError, match=text):
        find_device(TARGETS[target], device)


def test_the_first_device_is_the_default():
    assert find_device(TARGETS["ice40"], None)[0] == "hx8k"
    assert find_device(TARGETS["ice40"], None, dsp=True)[0] == "up5k"
    assert find_device(TARGETS["ecp5"], None, dsp=True) == find_device(TARGETS["ecp5"], None)
    assert find_device(TARGETS["ecp5"], "85k")[1].arguments[0] == "--85k"
    assert find_device(TARGETS["xcup"], None) is None


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_recipes_differ_in_their_multipliers(target):
    without, allowed = target.script(dsp=False), target.script(dsp=True)
    assert without != allowed
    assert all(script.startswith("read_rtlil design.il\nsynth_") and "-top top" in script
               for script in (without, allowed))


def test_mends_run_between_the_steps_of_synthesis():
    script = TARGETS["ice40"].script(dsp=True).splitlines()
    assert script[1] == "synth_ice40 -dsp -top top -run begin:flatten"
    assert script[2].startswith("copy SB_MAC16 ")
    assert script[3] == "synth_ice40 -dsp -top top -run flatten:coarse"
    assert "; setattr -set keep 1 " in script[4]
    assert script[5] == "synth_ice40 -dsp -top top -run coarse:map_ram"
    assert "; delete t:SB_MAC16 " in script[6]
    assert script[7] == "synth_ice40 -dsp -top top -run map_ram:"
    assert "-run" not in TARGETS["ice40"].script(dsp=False)


@pytest.mark.parametrize("target", PLACED, ids=lambda target: target.name)
def test_placers_are_tools(target):
    assert target.place_and_route.tool in TOOLS


def test_counts_follow_the_families_rules():
    assert count_cells(TARGETS["ecp5"], {"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 4, "MULT18X18D": 1}) == {
        "lut": 16, "ff": 4, "carry": 3, "dsp": 1, "bram": 0, "cells": 18}
    assert count_cells(TARGETS["xc7"], {"LUT6": 2, "LUT2": 1, "CARRY4": 2, "MUXF7": 1, "FDRE": 3, "INV": 1}) == {
        "lut": 3, "ff": 3, "carry": 2, "dsp": 0, "bram": 0, "cells": 10}
    # Yosys maps UltraScale+ onto the carry cell of the older families too.
    assert count_cells(TARGETS["xcup"], {"LUT6": 2, "CARRY4": 2, "CARRY8": 1})["carry"] == 3
    assert count_cells(TARGETS["gowin"], {"LUT4": 2, "ALU": 3, "DFFE": 1, "GND": 1})["lut"] == 5


def mapped_design():
    """A two-input gate with a clocked output, in Yosys' JSON form (whatever the cell types)."""
    return {"creator": "test", "modules": {"library": {}, "top": {
        "attributes": {}, "ports": {
            "a": {"direction": "input", "bits": [2, 3]}, "clk": {"direction": "input", "bits": [4]},
            "o": {"direction": "output", "bits": [5]}},
        "cells": {"gate": {"hide_name": 0, "type": "GATE", "parameters": {}, "attributes": {},
                           "port_directions": {"I": "input", "C": "input", "O": "output"},
                           "connections": {"I": [2, 3], "C": [4], "O": [5]}}},
        "netnames": {"a": {"bits": [2, 3]}, "clk": {"bits": [4]}, "o": {"bits": [5]}}}}}


@pytest.mark.parametrize("target", PLACED, ids=lambda target: target.name)
def test_the_harness_registers_every_bit_and_shares_the_clock(target):
    rules, design = target.place_and_route, mapped_design()
    before = json.dumps(design)
    harness = wrap(design, rules)
    assert json.dumps(design) == before
    module = harness.design["modules"]["top"]
    assert list(harness.design["modules"]) == ["top"]
    assert (harness.inputs, harness.outputs) == (2, 1)
    assert set(module["ports"]) == {"harness_clk", "harness_data"}
    registers = [cell for cell in module["cells"].values() if cell["type"] == rules.register.cell]
    assert len(registers) == 3
    clocks = {cell["connections"][rules.register.clock][0] for cell in registers}
    assert clocks == set(module["cells"]["gate"]["connections"]["C"])
    driven = Counter(cell["connections"][rules.register.output][0] for cell in registers)
    assert driven[2] == driven[3] == 1
    assert [cell["connections"][rules.register.data][0] for cell in registers].count(5) == 1
    assert module["cells"]["gate"]["connections"]["I"] == [2, 3]
    assert len({cell["connections"][rules.register.data][0] for cell in registers}) == 2
    for cell in registers:
        assert set(cell["connections"]) == set(cell["port_directions"])
        assert dict(cell["parameters"]) == dict(rules.register.parameters)


def test_the_harness_avoids_nets_in_use():
    module = wrap(mapped_design(), TARGETS["nexus"].place_and_route).design["modules"]["top"]
    outputs = [bit for cell in module["cells"].values() for port, bits in cell["connections"].items()
               if cell["port_directions"][port] == "output" for bit in bits]
    assert len(outputs) == len(set(outputs))
