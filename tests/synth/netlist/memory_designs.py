"""Memories of many shapes as Amaranth components, and what they must do: plain Python lists.

The semantics are those of ``amaranth.lib.memory``: a clocked read port shows the word as it was before the writes of
its cycle, unless it is transparent; an asynchronous one the word as it is; a disabled one keeps what it showed.
"""

import enum
import random
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Kind(enum.Enum):
    """Kind of a read port."""

    CLOCKED = "clocked"
    TRANSPARENT = "transparent"
    ASYNCHRONOUS = "asynchronous"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A memory: its size, the read ports, the bits that a bit of the write enable covers, and whether it is preset.

    ``shared``: the first read port reads at the write address. ``reset``: an asynchronous read port's word goes through
    a register that is cleared, which the flows move into the memory.
    """

    width: int
    depth: int
    reads: tuple = (Kind.CLOCKED,)
    writes: int = 1
    granularity: int = 0
    preset: bool = False
    enabled: bool = True
    shared: bool = False
    reset: bool = False

    @property
    def initial(self):
        rng = random.Random(repr(self))
        return [rng.getrandbits(self.width) if self.preset else 0 for _ in range(self.depth)]

    @property
    def step(self):
        """Bits of the word that one bit of the write enable covers."""
        return self.granularity or self.width

    @property
    def ports(self):
        """Inputs and outputs, by name, in bits."""
        address = max(1, (self.depth - 1).bit_length())
        inputs, outputs = {}, {}
        if self.writes:
            inputs |= {"write_address": address, "write_data": self.width, "write_enable": self.width // self.step}
        if self.reset:
            inputs["clear"] = 1
        for index, kind in enumerate(self.reads):
            if index or not self.shared:
                inputs[f"address{index}"] = address
            if kind is not Kind.ASYNCHRONOUS and self.enabled:
                inputs[f"enable{index}"] = 1
            outputs[f"data{index}"] = self.width
        return inputs, outputs


class MemoryBank(wiring.Component):
    """Memories side by side, so that one run of a flow maps them all; members are named ``<index>_<port>``."""

    latency = 1

    def __init__(self, shapes):
        self._shapes = tuple(shapes)
        members = {}
        for number, shape in enumerate(self._shapes):
            inputs, outputs = shape.ports
            members |= {f"m{number}_{name}": In(width) for name, width in inputs.items()}
            members |= {f"m{number}_{name}": Out(width) for name, width in outputs.items()}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for number, shape in enumerate(self._shapes):
            self._add(m, number, shape)
        return m

    def _add(self, m, number, shape):
        def pin(name):
            return getattr(self, f"m{number}_{name}")

        m.submodules[f"memory{number}"] = memory = Memory(shape=shape.width, depth=shape.depth, init=shape.initial)
        writes = []
        if shape.writes:
            write = memory.write_port(granularity=shape.granularity or None)
            m.d.comb += [write.addr.eq(pin("write_address")), write.data.eq(pin("write_data")),
                         write.en.eq(pin("write_enable"))]
            writes.append(write)
        for index, kind in enumerate(shape.reads):
            if kind is Kind.ASYNCHRONOUS:
                read = memory.read_port(domain="comb")
            else:
                read = memory.read_port(transparent_for=writes if kind is Kind.TRANSPARENT else ())
                if shape.enabled:
                    m.d.comb += read.en.eq(pin(f"enable{index}"))
            m.d.comb += read.addr.eq(pin("write_address" if shape.shared and not index else f"address{index}"))
            if shape.reset:
                register = Signal(shape.width, reset_less=True)
                m.d.sync += register.eq(Mux(pin("clear"), 0, read.data))
                m.d.comb += pin(f"data{index}").eq(register)
            else:
                m.d.comb += pin(f"data{index}").eq(read.data)


class Expected:
    """One memory in one lane."""

    def __init__(self, shape):
        self._shape = shape
        self._words = shape.initial
        self._shown = [0] * len(shape.reads)

    def outputs(self, inputs):
        """Return what each read port shows before the clock edge."""
        return [self._words[self._address(index, inputs)]
                if kind is Kind.ASYNCHRONOUS and not self._shape.reset else self._shown[index]
                for index, kind in enumerate(self._shape.reads)]

    def clock(self, inputs):
        shape = self._shape
        mask = sum((1 << shape.step) - 1 << index * shape.step for index in range(shape.width // shape.step)
                   if inputs.get("write_enable", 0) >> index & 1)
        target = inputs.get("write_address", -1)
        written = self._words[target] & ~mask | inputs["write_data"] & mask if shape.writes else 0
        for index, kind in enumerate(shape.reads):
            address = self._address(index, inputs)
            if shape.reset:
                self._shown[index] = 0 if inputs["clear"] else self._words[address]
            elif kind is not Kind.ASYNCHRONOUS and inputs.get(f"enable{index}", 1):
                self._shown[index] = (
                    written if kind is Kind.TRANSPARENT and address == target else self._words[address])
        if shape.writes:
            self._words[target] = written

    def _address(self, index, inputs):
        return inputs["write_address" if self._shape.shared and not index else f"address{index}"]


def stimulus(rng, shape, lanes):
    """Return one cycle's inputs, a list of ``lanes`` codes a port: few addresses, so that ports often meet."""
    few = [rng.randrange(shape.depth) for _ in range(3)]

    def code(name, width):
        if "address" in name:
            return rng.choice(few) if rng.random() < 0.7 else rng.randrange(shape.depth)
        return rng.getrandbits(width)

    return {name: [code(name, width) for _ in range(lanes)] for name, width in shape.ports[0].items()}


def compare(simulation, shapes, *, cycles, seed):
    """Run a simulation of a :class:`MemoryBank` beside :class:`Expected` with random inputs."""
    rng = random.Random(seed)
    lanes = simulation.lanes
    expected = [[Expected(shape) for _ in range(lanes)] for shape in shapes]
    for cycle in range(cycles):
        given = [stimulus(rng, shape, lanes) for shape in shapes]
        for number, inputs in enumerate(given):
            for name, codes in inputs.items():
                simulation.set(f"m{number}_{name}", np.array(codes, np.uint64 if max(codes) >> 64 == 0 else object))
        for number, (shape, inputs) in enumerate(zip(shapes, given, strict=True)):
            got = [simulation.get(f"m{number}_data{index}") for index in range(len(shape.reads))]
            for lane, model in enumerate(expected[number]):
                here = {name: codes[lane] for name, codes in inputs.items()}
                want = model.outputs(here)
                for index, value in enumerate(want):
                    assert int(got[index][lane]) == value, (
                        f"{shape} cycle {cycle} lane {lane} inputs {here} data{index}: "
                        f"got {int(got[index][lane]):#x}, want {value:#x}")
                model.clock(here)
        simulation.step("clk")
