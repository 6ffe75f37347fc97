"""Hard multipliers that have no simulation model in Yosys, against integer arithmetic."""

import itertools
import random

import numpy as np
import pytest

from synth.netlist import Family, NumpyEngine, compile_netlist, read_netlist
from tests.synth.netlist.builders import design

VECTORS = 256


def signed(code, width):
    return code - (1 << width) if code >> width - 1 & 1 else code


def operand_bits(first, width, pins, extension):
    """Connect a port of ``pins`` bits to a bus of ``width``: extended by zeros or by its sign, as Yosys does."""
    fill = {"zero": "0", "sign": first + width - 1}[extension]
    return [first + bit if bit < width else fill for bit in range(pins)]


def product_design(cell, pins, product_width, widths, extensions, *, signs, extra=None, scalar=False):
    """Return a netlist of one multiplier and its operands' ports."""
    a = operand_bits(100, widths[0], pins[0], extensions[0])
    b = operand_bits(200, widths[1], pins[1], extensions[1])
    p = list(range(300, 300 + product_width))
    connections = {**signs, **(extra or {})}
    if scalar:
        for name, bits in (("A", a), ("B", b), ("P", p)):
            connections.update({f"{name}{index}": bit for index, bit in enumerate(bits)})
    else:
        connections.update({"A": a, "B": b, "DOUT" if cell.startswith("MULT") else "P": p})
    zero = ("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "INMODEREG", "OPMODEREG", "AREG", "BREG", "CREG", "DREG",
            "ADREG", "MREG", "PREG")
    return design({"a": ("input", list(range(100, 100 + widths[0]))),
                   "b": ("input", list(range(200, 200 + widths[1]))), "sign": ("input", [2, 3]), "p": ("output", p)},
                  {"u": (cell, dict.fromkeys(zero, 0) if cell.startswith("DSP") else {}, connections)})


def codes(rng, width):
    corners = [0, 1, (1 << width) - 1, 1 << width - 1, (1 << width - 1) - 1]
    return corners + [rng.getrandbits(width) for _ in range(VECTORS - len(corners))]


def check(document, family, widths, reading, product_width, name):
    """Compare with integers; ``reading(code_a, code_b, signs)`` returns the two values multiplied."""
    engine = NumpyEngine(compile_netlist(read_netlist(document), family))
    rng = random.Random(name)
    for signs in range(4):
        a, b = codes(rng, widths[0]), codes(rng, widths[1])
        rng.shuffle(b)
        offered = {port.name for port in engine.program.data_inputs}
        inputs = {"a": np.array(a), "b": np.array(b), "sign": signs}
        got = engine.run({port: value for port, value in inputs.items() if port in offered})["p"]
        for index in range(VECTORS):
            x, y = reading(a[index], b[index], signs)
            want = x * y & (1 << product_width) - 1
            assert int(got[index]) == want, (name, signs, a[index], b[index], int(got[index]), want)


MULTIPLIERS = [
    ("MULT18X18D", Family.ECP5, 18, ("SIGNEDA", "SIGNEDB"), {"SOURCEA": "0", "SOURCEB": "0"}),
    ("MULT9X9", Family.GOWIN, 9, ("ASIGN", "BSIGN"), {"ASEL": "0", "BSEL": "0"}),
    ("MULT18X18", Family.GOWIN, 18, ("ASIGN", "BSIGN"), {"ASEL": "0", "BSEL": "0"}),
    ("MULT36X36", Family.GOWIN, 36, ("ASIGN", "BSIGN"), {}),
]


@pytest.mark.parametrize(("cell", "family", "width", "sign_pins", "extra"), MULTIPLIERS)
def test_signs_may_come_from_logic(cell, family, width, sign_pins, extra):
    document = product_design(cell, (width, width), 2 * width, (width, width), ("zero", "zero"),
                              signs=dict(zip(sign_pins, (2, 3), strict=True)), extra=extra,
                              scalar=family is Family.ECP5)
    check(document, family, (width, width), lambda a, b, signs: (
        signed(a, width) if signs & 1 else a, signed(b, width) if signs & 2 else b), 2 * width, cell)


@pytest.mark.parametrize(("cell", "family", "width", "sign_pins", "extra"), MULTIPLIERS[:3])
def test_narrow_operands_of_every_signedness(cell, family, width, sign_pins, extra):
    for a_width, b_width, a_sign, b_sign in itertools.product((1, 5), (4, 8), (0, 1), (0, 1)):
        extensions = ["sign" if sign else "zero" for sign in (a_sign, b_sign)]
        document = product_design(
            cell, (width, width), 2 * width, (a_width, b_width), extensions,
            signs=dict(zip(sign_pins, (str(a_sign), str(b_sign)), strict=True)), extra=extra,
            scalar=family is Family.ECP5)
        check(document, family, (a_width, b_width), lambda a, b, _, w=(a_width, b_width), s=(a_sign, b_sign): (
            signed(a, w[0]) if s[0] else a, signed(b, w[1]) if s[1] else b), 2 * width,
            f"{cell} {a_width} {b_width} {a_sign} {b_sign}")


def test_zero_extended_operand_of_a_signed_multiplier_is_positive():
    document = product_design("MULT9X9", (9, 9), 18, (5, 9), ("zero", "zero"), signs={"ASIGN": "1", "BSIGN": "1"},
                              extra={"ASEL": "0", "BSEL": "0"})
    check(document, Family.GOWIN, (5, 9), lambda a, b, _: (a, signed(b, 9)), 18, "zero extended")


@pytest.mark.parametrize("widths", [(27, 18), (8, 8), (3, 12)])
def test_dsp48e2_product(widths):
    control = {"OPMODE": list("101000000"), "ALUMODE": ["0"] * 4, "INMODE": ["0"] * 5, "CARRYINSEL": ["0"] * 3,
               "CARRYIN": "0"}
    document = product_design("DSP48E2", (30, 18), 48, widths, ("sign", "sign"), signs={}, extra=control)
    check(document, Family.XILINX, widths, lambda a, b, _: (signed(a, widths[0]), signed(b, widths[1])), 48,
          f"DSP48E2 {widths}")
