# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.truth_table import truth_table
from tests.support import gates


class Table(wiring.Component):
    """A truth table between ports."""

    def __init__(self, values, inputs, width):
        self._values, self._width = values, width
        super().__init__({"a": In(inputs), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(truth_table(m, self.a, self._values, self._width))
        return m


def test_tables_hold_their_values(tmp_path):
    rng = np.random.default_rng(1)
    tables = [rng.integers(0, 64, 1 << inputs).tolist() for inputs in (1, 2, 5, 8)]
    tables += [[0] * 16, [63] * 16, [index.bit_count() & 1 for index in range(64)]]
    circuits = gates.build([Table(values, len(values).bit_length() - 1, 6) for values in tables], tmp_path)
    for values, circuit in zip(tables, circuits, strict=True):
        assert circuit.run(a=np.arange(len(values))).tolist() == values


def test_parity_takes_no_table():
    m = Module()
    truth_table(m, Signal(5), [index.bit_count() & 1 for index in range(32)], 1)
    assert not m._statements


def test_count_of_values_wrong():
    with pytest.raises(ValueError, match="Values must be 8 for 3 input bits, not 7"):
        truth_table(Module(), Signal(3), [0] * 7, 1)
