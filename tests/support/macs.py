"""Multiply-accumulate operators of every kind, small enough to be synthesized in a second or two, with programs."""

import functools

from synth.native.operator import operator
from synth.native.recipe import native_program
from synth.netlist.instruction_set import InstructionSet

MACS = {
    "mac-int8": {"op": "mac", "fmt": "int8", "out_fmt": "int16", "terms": 32},
    "mac-wraps": {"op": "mac", "fmt": "fixed<6,3>", "fmt_b": "ufixed<5,5>", "accumulator": "fixed<14,8>",
                  "fmt_c": "fixed<8,2>", "out_fmt": "fixed<7,2>", "rounding": "nearest-zero",
                  "overflow": "wrap-sign-magnitude"},
    "mac-pipelined": {"op": "mac", "fmt": "int4", "fmt_b": "uint3", "out_fmt": "int5", "terms": 64, "pipeline": 3},
    "mac-float": {"op": "mac", "fmt": "e3m2", "accumulator": "e4m5"},
    "fma-posit": {"op": "fma", "fmt": "posit<6,0>"},
    "emac-e3m2": {"op": "emac", "fmt": "e3m2", "terms": 40},
    "emac-exact": {"op": "emac", "fmt": "int4", "terms": 64, "out_fmt": "exact"},
    "emac-preload": {"op": "emac", "fmt": "e4m3", "terms": 40, "fmt_c": "e5m2", "pipeline": 2},
    "chunked-e3m2": {"op": "chunked_mac", "fmt": "e3m2", "accumulator": "e4m5", "chunk": 4},
    "chunked-unchunked": {"op": "chunked_mac", "fmt": "e2m1", "fmt_b": "int5", "accumulator": "e4m3", "chunk": 1,
                          "out_fmt": "e3m2", "pipeline": 1},
    "chunked-lfsr": {"op": "chunked_mac", "fmt": "e2m1", "accumulator": "e3m4", "chunk": 3, "rounding": "stochastic",
                     "random_bits": 4, "random_source": "lfsr"},
}
"""Requests by a name for the test."""


@functools.cache
def mac(name):
    """Return one of the operators."""
    return operator(**MACS[name])


@functools.cache
def mac_program(name):
    """Return its netlist for general registers, whose program runs on every instruction set."""
    return native_program(mac(name), InstructionSet.WORD64)


def operands(operation, rows, terms, columns, rng):
    """Return matrices of random codes for an operator."""
    a, b = (1 << operation.ports[name].width for name in "ab")
    return rng.integers(0, a, (rows, terms)), rng.integers(0, b, (terms, columns))
