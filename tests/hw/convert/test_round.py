# amaranth: UnusedElaboratable=no
from fractions import Fraction

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.convert.round import fraction_bits_needed, rounds_up, shift_right, stochastic_up
from sw import formats
from sw.formats import RandomBits, RoundingMode
from tests.support import gates

DETERMINISTIC = [mode for mode in RoundingMode if mode is not RoundingMode.STOCHASTIC]


class Function(wiring.Component):
    """A function of one port's bits."""

    def __init__(self, inputs, outputs, function):
        self._function = function
        super().__init__({"a": In(inputs), "o": Out(outputs)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self._function(m, self.a))
        return m


@pytest.mark.parametrize("on_magnitude", [False, True])
def test_decision_is_that_of_the_formats(on_magnitude, tmp_path):
    def decision(mode):
        # A directed mode is shown no guard bit: whatever lies below the last place arrives as sticky.
        return Function(4, 1, lambda m, a: Value.cast(rounds_up(
            mode, odd=a[0], guard=a[1], sticky=a[2], negative=a[3], on_magnitude=on_magnitude)))

    for mode, circuit in zip(DETERMINISTIC, gates.build([decision(mode) for mode in DETERMINISTIC], tmp_path),
                             strict=True):
        for bits, got in enumerate(circuit.run(a=np.arange(16)).tolist()):
            odd, guard, sticky, negative = (bool(bits >> place & 1) for place in range(4))
            fraction = Fraction(guard, 2) + Fraction(sticky, 4)
            if on_magnitude:
                want = formats.rounds_up(mode.mirrored if negative else mode, fraction, odd=odd)
            else:
                want = formats.rounds_up(mode, fraction, odd=odd, negative=negative)
            assert got == want, (mode, odd, guard, sticky, negative)


def test_stochastic_decision_is_that_of_the_formats(tmp_path):
    circuit, = gates.build([Function(6, 1, lambda m, a: stochastic_up(a[:3], a[3:]))], tmp_path)
    for bits, got in enumerate(circuit.run(a=np.arange(64)).tolist()):
        fraction, random = Fraction(bits & 7, 8), RandomBits(value=bits >> 3, count=3)
        assert got == formats.rounds_up(RoundingMode.STOCHASTIC, fraction, odd=False, random=random), bits


def test_bits_looked_at():
    assert fraction_bits_needed(RoundingMode.NEAREST_ZERO, 0) == 1
    assert fraction_bits_needed(RoundingMode.TO_ODD, 0) == 0
    assert fraction_bits_needed(RoundingMode.STOCHASTIC, 7) == 7


@pytest.mark.parametrize("largest", [1, 3, 6, 7])
def test_shift_right_keeps_track_of_what_it_loses(largest, tmp_path):
    def shift(m, a):
        return Cat(*shift_right(m, a[:5], a[5:], largest=largest, name="grid"))

    circuit, = gates.build([Function(8, 6, shift)], tmp_path)
    codes = np.array([code for code in range(256) if code >> 5 <= largest])
    for code, got in zip(codes.tolist(), circuit.run(a=codes).tolist(), strict=True):
        value, places = code & 31, code >> 5
        assert got == value >> places | (value & (1 << places) - 1 != 0) << 5, (value, places)
