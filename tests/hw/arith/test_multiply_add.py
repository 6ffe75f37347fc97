# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.accumulate.streamed import connect_streams
from hw.arith.multiply_add import MultiplyAdd
from tests.support import gates
from tests.support.slices import Bank, GatesSimulation, assert_bank_right, chain

SLICE = {"a_width": 8, "b_width": 8, "width": 20}

BANKS = {
    "chain": chain(4, a_width=8, b_width=8, width=20),
    "chain with a start": chain(3, a_width=27, b_width=8, width=36, start=(1 << 35) + (1 << 17)),
    "one bit": chain(2, a_width=1, b_width=1, width=1, start=1),
    "accumulators": [MultiplyAdd(a_width=16, b_width=5, width=40, accumulate=True, start=0x81),
                     MultiplyAdd(a_width=3, b_width=12, width=9, accumulate=True)],
    "products": [MultiplyAdd(a_width=9, b_width=7, width=30, start=77), MultiplyAdd(a_width=30, b_width=20, width=50),
                 MultiplyAdd(a_width=30, b_width=20, width=11)],
}


def test_sums_of_every_kind_in_every_cycle(tmp_path):
    circuits = gates.build([Bank(slices) for slices in BANKS.values()], tmp_path)
    for (name, slices), circuit in zip(BANKS.items(), circuits, strict=True):
        assert_bank_right(slices, GatesSimulation(circuit, 256), lanes=256, cycles=40, seed=len(name))


def simulate(component, transfers, *, platform=None):
    """Return ``o`` of each cycle for a list of ``{port: value}``, one a cycle."""
    shown = []

    async def bench(ctx):
        for transfer in transfers:
            for port, value in transfer.items():
                ctx.set(getattr(component, port), value)
            shown.append(ctx.get(component.o))
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return shown


def test_widest_sum_with_the_enable_left_alone():
    component = MultiplyAdd(a_width=64, b_width=64, width=128, accumulate=True, start=(1 << 128) - 1)
    rng = np.random.default_rng(1)
    pairs = [tuple(int.from_bytes(rng.bytes(8), "little", signed=True) for _ in "ab") for _ in range(10)]
    begins = [index % 4 == 0 for index in range(10)]
    transfers = [{"a": a, "b": b, "begin": begin} for (a, b), begin in zip(pairs, begins, strict=True)]
    shown = simulate(component, [*transfers, *[{}] * component.latency])
    total = None
    for index, ((a, b), begin) in enumerate(zip(pairs, begins, strict=True)):
        total = component.model(a, b, None if begin else total)
        assert shown[index + component.latency] == total, (index, a, b)


def test_model_is_the_sum_modulo_the_width():
    component = MultiplyAdd(**SLICE, start=3, cascaded=True)
    assert component.model(-128, -128) == 16387
    assert component.model(-1, 5) == (1 << 20) - 2
    assert component.model(2, 3, (1 << 20) - 6) == 0


def test_parameters_are_kept():
    component = MultiplyAdd(a_width=9, b_width=7, width=20, start=5, cascaded=True)
    assert (component.a_width, component.b_width, component.width, component.start) == (9, 7, 20, 5)
    assert (component.cascaded, component.accumulate, component.latency) == (True, False, 3)
    assert MultiplyAdd(**SLICE, accumulate=True).accumulate


def test_ports_follow_the_kind_of_sum():
    alone, taking = MultiplyAdd(**SLICE), MultiplyAdd(**SLICE, cascaded=True)
    own = MultiplyAdd(**SLICE, accumulate=True)
    assert set(alone.signature.members) == {"enable", "a", "b", "o", "cascade_out"}
    assert set(own.signature.members) == set(alone.signature.members) | {"begin"}
    assert set(taking.signature.members) == set(own.signature.members) | {"cascade"}
    assert len(taking.cascade) == len(alone.cascade_out) == 48
    assert len(MultiplyAdd(a_width=30, b_width=30, width=60).cascade_out) == 60


def test_elaborating_twice_gives_the_same_circuit():
    component = MultiplyAdd(**SLICE, start=5, cascaded=True)
    assert rtlil.convert(component) == rtlil.convert(component)


class Form:
    """A platform whose block shows a constant; or none where it is told to have none."""

    def __init__(self, *, has_form):
        self.has_form, self.asked = has_form, []

    def get_multiply_add(self, slice_):
        self.asked.append(slice_)
        if not self.has_form:
            return None
        m = Module()
        m.d.comb += slice_.o.eq(0x5A5A5)
        return m


def test_platform_is_asked_for_its_form():
    component, platform = MultiplyAdd(**SLICE), Form(has_form=True)
    text = rtlil.convert(Fragment.get(component, platform), ports=[component.o])
    assert platform.asked == [component]
    assert "$mul" not in text
    assert f"{0x5A5A5:020b}" in text


@pytest.mark.parametrize("platform", [None, object(), Form(has_form=False)], ids=["none", "no method", "no form"])
def test_generic_form_without_one_of_the_platform(platform):
    component = MultiplyAdd(**SLICE)
    ports = [component.enable, component.a, component.b, component.o]
    fragment = Fragment.get(component, platform)
    fragment.add_domains(ClockDomain("sync"))
    assert "$mul" in rtlil.convert(fragment, ports=ports)


PAIR, SUM = data.StructLayout({"a": 8, "b": 8}), data.StructLayout({"o": 20})


class Core(wiring.Component):
    """A slice under streams, whose form on a platform has registers that only ``enable`` stops."""

    def __init__(self):
        self.slice = MultiplyAdd(**SLICE)
        super().__init__({"valid": In(1), "enable": In(1), "i": In(PAIR), "o": Out(SUM)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.slice = self.slice
        m.d.comb += [self.slice.enable.eq(self.enable), self.slice.a.eq(self.i.a), self.slice.b.eq(self.i.b),
                     self.o.o.eq(self.slice.o)]
        return m


def test_streams_stop_a_core_by_its_enable():
    class Streamed(wiring.Component):
        i: In(stream.Signature(PAIR))
        o: Out(stream.Signature(SUM))

        def elaborate(self, platform):
            m = Module()
            connect_streams(m, self.i, self.o, core=core, latency=3)
            return m

    core, component = Core(), Streamed()
    seen = []

    async def bench(ctx):
        ctx.set(component.i.valid, 1)
        for cycle in range(12):
            ctx.set(component.o.ready, cycle > 7)
            ctx.set(component.i.payload, {"a": cycle + 1, "b": 1})
            seen.append((ctx.get(component.o.valid), ctx.get(core.enable), ctx.get(component.o.payload.o)))
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert [enable for _, enable, _ in seen] == [1, 1, 1, *[0] * 5, *[1] * 4]
    assert [payload for valid, enable, payload in seen if valid and enable] == [1, 2, 3, 9]


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"a_width": 0}, ValueError, "A width must be between 1 and 64 bits, not 0"),
    ({"b_width": 65}, ValueError, "B width must be between 1 and 64 bits, not 65"),
    ({"width": 129}, ValueError, "Width must be between 1 and 128 bits, not 129"),
    ({"a_width": 8.0}, TypeError, "A width must be an integer, not 8.0"),
    ({"b_width": "8"}, TypeError, "B width must be an integer, not '8'"),
    ({"width": True}, TypeError, "Width must be an integer, not True"),
    ({"start": 1 << 20}, ValueError, "Start must be an unsigned number of 20 bits, not 1048576"),
    ({"start": -1}, ValueError, "Start must be an unsigned number of 20 bits, not -1"),
    ({"start": None}, TypeError, "Start must be an integer, not None"),
    ({"cascaded": 1}, TypeError, "Cascaded must be True or False, not 1"),
    ({"accumulate": "yes"}, TypeError, "Accumulate must be True or False, not 'yes'"),
    ({"cascaded": True, "accumulate": True}, ValueError,
     "Accumulate must be False for a slice that takes over another's sum, not True"),
])
def test_wrong_parameters(changes, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        MultiplyAdd(**(SLICE | changes))
