# amaranth: UnusedElaboratable=no
import pytest
from amaranth.hdl import C, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pipeline import delay, distribute
from tests.support import gates


class Delay(wiring.Component):
    """A delay between ports."""

    def __init__(self, cycles):
        self._cycles = cycles
        super().__init__({"a": In(4), "o": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(delay(m, self.a, self._cycles))
        return m


@pytest.mark.parametrize("cycles", [0, 1, 3])
def test_delay(cycles, tmp_path):
    circuit, = gates.build([Delay(cycles)], tmp_path)
    codes = [(5 * index + 3) % 16 for index in range(12)]
    assert circuit.run(12, a=codes).tolist()[cycles:] == codes[:12 - cycles]
    assert circuit.register_count == 4 * cycles


def test_constants_and_empty_values_take_no_register():
    m = Module()
    assert delay(m, C(3, 2), 5).value == 3
    assert len(delay(m, Signal(0), 5)) == 0
    assert not m._statements


@pytest.mark.parametrize(("pipeline", "cycles"), [
    (0, {"first": 0, "second": 0, "output": 0}), (1, {"first": 1, "second": 0, "output": 0}),
    (2, {"first": 1, "second": 1, "output": 0}), (5, {"first": 1, "second": 1, "output": 3}),
])
def test_distribute(pipeline, cycles):
    assert distribute(pipeline, ("first", "second")) == cycles
