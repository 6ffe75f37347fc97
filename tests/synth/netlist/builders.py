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
