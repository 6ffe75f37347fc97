"""Netlists by hand, in the shape of write_json."""


def design(ports, cells, *, net_names=None, name="top"):
    """Return the JSON object of one module.

    ``ports`` maps a name to ``(direction, bits)``; ``cells`` maps a name to ``(type, parameters, connections)``, whose
    one-bit pins may be given as a bare bit.
    """
    return {"modules": {name: {
        "attributes": {"top": "1"},
        "ports": {port: {"direction": direction, "bits": bits} for port, (direction, bits) in ports.items()},
        "cells": {cell: {"type": type_, "parameters": parameters, "connections": {
            pin: bits if isinstance(bits, list) else [bits] for pin, bits in connections.items()}}
            for cell, (type_, parameters, connections) in cells.items()},
        "netnames": {net: {"hide_name": 0, "bits": [bit]} for bit, net in (net_names or {}).items()},
    }}}


def lut4(init, inputs, output):
    """Return an iCE40 look-up table of up to four nets."""
    pins = {f"I{index}": bit for index, bit in enumerate(inputs)}
    return ("SB_LUT4", {"LUT_INIT": format(init, "016b")}, {**pins, "O": output})


def ripple_adder(width):
    """Return an adder of iCE40 cells: ``y``, of one bit more, is ``a + b``."""
    cells, carry = {}, "0"
    for bit in range(width):
        a, b = 100 + bit, 200 + bit
        cells[f"sum{bit}"] = lut4(0b10010110, [a, b, carry], 300 + bit)
        cells[f"carry{bit}"] = ("SB_CARRY", {}, {"I0": a, "I1": b, "CI": carry, "CO": 400 + bit})
        carry = 400 + bit
    return design({"a": ("input", [100 + bit for bit in range(width)]),
                   "b": ("input", [200 + bit for bit in range(width)]),
                   "y": ("output", [*(300 + bit for bit in range(width)), carry])}, cells)
