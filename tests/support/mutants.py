"""One cell of a family with its pins as ports: what a fault does to it can be seen."""

import numpy as np

from synth.netlist import compile_netlist, make_engine, read_netlist

CLOCK = "clock"

# Type, parameters, inputs, outputs, and the clock's pin; a pin of n bits is ``name:n``, a tied one ``name=bits``.
LOGIC = {
    "ice40": [
        ("SB_LUT4", {"LUT_INIT": "0110100110010111"}, "I0 I1 I2 I3", "O"),
        ("SB_LUT4", {"LUT_INIT": "0000000000001000"}, "I0 I1 I2=0 I3=0", "O"),
        ("SB_CARRY", {}, "I0 I1 CI", "CO")],
    "ecp5": [
        ("LUT4", {"INIT": "1000110100100111"}, "A B C D", "Z"),
        ("CCU2C", {"INIT0": "1001011010101010", "INIT1": "0110100110101100", "INJECT1_0": "NO", "INJECT1_1": "NO"},
         "CIN A0 B0 C0 D0 A1 B1 C1 D1", "S0 S1 COUT"),
        ("PFUMX", {}, "BLUT ALUT C0", "Z"), ("L6MUX21", {}, "D0 D1 SD", "Z")],
    "nexus": [
        ("LUT4", {"INIT": "0xfc31"}, "A B C D", "Z"), ("LUT4", {"INIT": "0xfc30"}, "B C D", "Z"),
        ("CCU2", {"INIT0": "0x96AA", "INIT1": "0x69AC", "INJECT": "NO"}, "CIN A0 B0 C0 D0 A1 B1 C1 D1", "S0 S1 COUT"),
        ("WIDEFN9", {"INIT0": "0x1234", "INIT1": "0xFEDC"}, "A0 B0 C0 D0 A1 B1 C1 D1 SEL", "Z")],
    "gowin": [
        ("LUT1", {"INIT": "01"}, "I0", "F"), ("LUT2", {"INIT": "0010"}, "I0 I1", "F"),
        ("LUT3", {"INIT": "00100111"}, "I0 I1 I2", "F"), ("LUT4", {"INIT": "1000110100100111"}, "I0 I1 I2 I3", "F"),
        ("ALU", {"ALU_MODE": "00000000000000000000000000000010"}, "I0 I1 I3 CIN", "SUM COUT"),
        ("MUX2_LUT5", {}, "I0 I1 S0", "O")],
    "xc7": [
        *((f"LUT{size}", {"INIT": ("10001101001001110110" * 4)[:1 << size]},
           " ".join(f"I{index}" for index in range(size)), "O") for size in range(1, 7)),
        ("LUT6_2", {"INIT": ("1000110100100111" * 2) + ("0110100110010111" * 2)}, "I0 I1 I2 I3 I4 I5", "O6 O5"),
        ("MUXF7", {}, "I0 I1 S", "O"), ("MUXF8", {}, "I0 I1 S", "O"), ("INV", {}, "I", "O"),
        ("CARRY4", {}, "CI CYINIT=0 DI:4 S:4", "O:4 CO:4")],
    "xcup": [("CARRY8", {}, "CI CI_TOP=0 DI=01100101 S:8", "O:8 CO:8"), ("MUXF9", {}, "I0 I1 S", "O")],
}

FLIP_FLOPS = {
    "ice40": [("SB_DFF", {}, "D", "C"), ("SB_DFFE", {}, "D E", "C"), ("SB_DFFSR", {}, "D R", "C"),
              ("SB_DFFESS", {}, "D E S", "C"), ("SB_DFFER", {}, "D E R", "C"), ("SB_DFFNS", {}, "D S", "C")],
    "ecp5": [("TRELLIS_FF", {"CEMUX": "CE", "LSRMUX": "LSR", "REGSET": "RESET", "GSR": "DISABLED"}, "DI CE LSR", "CLK"),
             ("TRELLIS_FF", {"CEMUX": "INV", "LSRMUX": "INV", "REGSET": "SET", "GSR": "DISABLED"}, "DI CE LSR", "CLK"),
             ("TRELLIS_FF", {"CEMUX": "1 ", "SRMODE": "ASYNC", "GSR": "DISABLED"}, "DI LSR", "CLK")],
    "nexus": [(f"FD1P3{kind}", {"GSR": "DISABLED"}, f"D SP {pin}", "CK")
              for kind, pin in (("IX", "CD"), ("JX", "PD"), ("BX", "PD"), ("DX", "CD"))] + [
        ("FD1S3AX", {"GSR": "DISABLED"}, "D", "CK"), ("FD1P3AY", {"GSR": "DISABLED"}, "D SP", "CK"),
        ("OXIDE_FF", {"CEMUX": "CE", "GSR": "DISABLED"}, "DI CE LSR", "CLK")],
    "gowin": [("DFF", {"INIT": "0"}, "D", "CLK"), ("DFFE", {}, "D CE", "CLK"), ("DFFSE", {}, "D CE SET", "CLK"),
              ("DFFRE", {"INIT": "0"}, "D CE RESET", "CLK"), ("DFFCE", {}, "D CE CLEAR", "CLK"),
              ("DFFNP", {}, "D PRESET", "CLK")],
    "xc7": [("FDRE", {"INIT": "0"}, "D CE R", "C"), ("FDSE", {"INIT": "1"}, "D CE S", "C"),
            ("FDCE", {"INIT": "x"}, "D CE CLR", "C"), ("FDPE", {"IS_PRE_INVERTED": "1"}, "D CE PRE", "C"),
            ("FDRE_1", {}, "D CE R", "C")],
}


def logic_design(type_, parameters, inputs, outputs):
    """Return a design of one cell, whose inputs and outputs are ports of one bit each."""
    return _design(type_, parameters, inputs, outputs, None)


def flip_flop_design(type_, parameters, inputs, clock):
    """Return a design of one flip-flop with output Q."""
    return _design(type_, parameters, inputs, "Q", clock)


def _design(type_, parameters, inputs, outputs, clock):
    ports, connections, directions, net = {}, {}, {}, 2
    for direction, pins in (("input", inputs), ("output", outputs)):
        for pin in pins.split():
            pin, _, tied = pin.partition("=")
            name, _, width = pin.partition(":")
            directions[name] = direction
            bits = list(tied) if tied else list(range(net, net + int(width or 1)))
            connections[name] = bits
            ports.update({f"{name}{index if width else ''}": {"direction": direction, "bits": [bit]}
                          for index, bit in enumerate(bits) if not tied})
            net += 0 if tied else len(bits)
    if clock is not None:
        connections[clock], directions[clock] = [net], "input"
        ports[CLOCK] = {"direction": "input", "bits": [net]}
    cell = {"type": type_, "parameters": parameters, "connections": connections, "port_directions": directions}
    return {"modules": {"top": {"ports": ports, "cells": {"cell": cell}, "netnames": {}}}}


def outputs_of(document, **constants):
    """Return every output of a design without memory for all combinations of its inputs, the first one the highest."""
    engine = make_engine(compile_netlist(read_netlist(document)), "numpy")
    return engine.run_exhaustive(constants=constants)


def trace(document, inputs, **constants):
    """Return output Q of a flip-flop, settled before each edge, for inputs that last a cycle each."""
    simulation = make_engine(compile_netlist(read_netlist(document)), "numpy").simulation(1)
    for port, value in constants.items():
        simulation.set(port, value)
    shown = []
    for values in zip(*inputs.values(), strict=True):
        for port, value in zip(inputs, values, strict=True):
            simulation.set(port, int(value))
        shown.append(int(simulation.get("Q")[0]))
        if simulation.program.clocks:
            simulation.step()
    return shown


def random_inputs(document, cycles, seed):
    """Return random values for every input port but the clock."""
    generator = np.random.default_rng(seed)
    ports = document["modules"]["top"]["ports"]
    return {name: generator.integers(0, 2, cycles).tolist() for name, port in ports.items()
            if port["direction"] == "input" and name != CLOCK}
