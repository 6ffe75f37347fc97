# amaranth: UnusedElaboratable=no
"""Multiply-add slices with every port on the outside, what they are expected to show, and a run of both."""

import numpy as np
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.multiply_add import MultiplyAdd
from tests.support.clocked_gates import ClockedGates
from tests.support.gates import _pack


def chain(length, *, first=None, **parameters):
    """Return slices one behind the other, for a :class:`Bank`; ``first`` are other parameters of the first one."""
    return [MultiplyAdd(**(parameters | (first or {})), cascaded=False),
            *(MultiplyAdd(**parameters, cascaded=True) for _ in range(length - 1))]


class Bank(wiring.Component):
    """Slices with ports ``a0``, ``b0``, ``begin0``, ``o0`` and so on; one that is cascaded follows the one before it.

    The port ``enable`` is that of all of them.
    """

    latency = 3

    def __init__(self, slices):
        self.slices = slices
        members = {"enable": In(1)}
        for index, slice_ in enumerate(slices):
            members |= {f"a{index}": In(signed(slice_.a_width)), f"b{index}": In(signed(slice_.b_width)),
                        f"o{index}": Out(slice_.width)}
            if slice_.cascaded or slice_.accumulate:
                members[f"begin{index}"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for index, slice_ in enumerate(self.slices):
            m.submodules[f"slice_{index}"] = slice_
            m.d.comb += [slice_.enable.eq(self.enable), slice_.a.eq(getattr(self, f"a{index}")),
                         slice_.b.eq(getattr(self, f"b{index}")), getattr(self, f"o{index}").eq(slice_.o)]
            if slice_.cascaded or slice_.accumulate:
                m.d.comb += slice_.begin.eq(getattr(self, f"begin{index}"))
            if slice_.cascaded:
                m.d.comb += slice_.cascade.eq(self.slices[index - 1].cascade_out)
        return m


class ExpectedBank:
    """The sums of a bank's slices on Python integers, many lanes at once, from the docstring of MultiplyAdd alone."""

    def __init__(self, slices, lanes):
        self._slices = slices
        zeros = np.zeros(lanes, object)
        self._operands = [(zeros, zeros, zeros) for _ in slices]
        self._products = [(zeros, zeros) for _ in slices]
        self.totals = [zeros for _ in slices]

    def clock(self, inputs, enable):
        """Go on by a cycle in the lanes that ``enable`` selects; ``inputs`` holds ``a``, ``b``, ``begin`` a slice."""
        totals = []
        for index, slice_ in enumerate(self._slices):
            product, begin = self._products[index]
            before = np.full(len(enable), slice_.start, object)
            if slice_.cascaded or slice_.accumulate:
                taken = self.totals[index - 1] if slice_.cascaded else self.totals[index]
                before = np.where(begin.astype(bool), before, taken)
            totals.append((product + before) % (1 << slice_.width))
        products = [(a * b, begin) for a, b, begin in self._operands]
        self.totals = [np.where(enable, new, old) for new, old in zip(totals, self.totals, strict=True)]
        self._products = self._kept(products, self._products, enable)
        self._operands = self._kept(inputs, self._operands, enable)

    @staticmethod
    def _kept(new, old, enable):
        return [tuple(np.where(enable, one, other) for one, other in zip(*pair, strict=True))
                for pair in zip(new, old, strict=True)]


class GatesSimulation:
    """Gates of :mod:`tests.support.gates` with the interface of :class:`synth.netlist.Simulation`."""

    def __init__(self, circuit, lanes):
        self._gates, self._planes, self._widths = ClockedGates(circuit, lanes), {}, {
            name: len(bits) for name, bits in circuit._inputs.items()}
        self._settled = False

    def set(self, port, codes):
        """Give an input its code in each lane."""
        self._planes[port] = [_pack(codes, position) for position in range(self._widths[port])]
        self._settled = False

    def get(self, port):
        """Return the codes of an output of less than 64 bits."""
        self._settle()
        bits = self._gates.bits(port)
        return bits.astype(np.int64) @ (np.int64(1) << np.arange(bits.shape[1], dtype=np.int64))

    def step(self, clock):
        """Take one rising edge of the only clock."""
        self._settle()
        self._gates.clock()
        self._settled = False

    def _settle(self):
        if not self._settled:
            self._gates.settle(self._planes)
            self._settled = True


def random_operands(rng, width, lanes):
    """Return signed numbers as objects: the corners often, else uniform."""
    corners = np.array([-(1 << width - 1), -(1 << width - 1) + 1, -1, 0, (1 << width - 1) - 1], object)
    uniform = rng.integers(-(1 << width - 1), 1 << width - 1, lanes).astype(object)
    return np.where(rng.random(lanes) < 0.2, corners[rng.integers(0, len(corners), lanes)], uniform)


def assert_bank_right(slices, simulation, *, lanes, cycles, seed, operands=random_operands, enable_rate=0.8,
                      begin_rate=0.4):
    """Drive a bank with random operands, and compare every sum in every cycle once the first sums have begun.

    Parameters
    ----------
    slices : list of MultiplyAdd
    simulation : synth.netlist.Simulation, or what has its ``set``, ``get`` and ``step``
        Of the bank.
    lanes, cycles, seed : int
    operands : callable
        ``operands(rng, width, lanes)``.
    enable_rate, begin_rate : float
        Probabilities of ``enable`` and ``begin``.
    """
    rng, expected = np.random.default_rng(seed), ExpectedBank(slices, lanes)
    for cycle in range(cycles):
        starting = cycle < slices[0].latency
        enable = (rng.random(lanes) < enable_rate) | starting
        simulation.set("enable", enable.astype(np.int64))
        inputs = []
        for index, slice_ in enumerate(slices):
            a, b = operands(rng, slice_.a_width, lanes), operands(rng, slice_.b_width, lanes)
            begin = ((rng.random(lanes) < begin_rate) | starting).astype(int).astype(object)
            for name, value, width in (("a", a, slice_.a_width), ("b", b, slice_.b_width)):
                simulation.set(f"{name}{index}", (value % (1 << width)).astype(np.int64))
            if slice_.cascaded or slice_.accumulate:
                simulation.set(f"begin{index}", begin.astype(np.int64))
            inputs.append((a, b, begin))
        for index, want in enumerate(expected.totals) if not starting else ():
            got = simulation.get(f"o{index}")
            wrong = np.flatnonzero(got != want)
            assert not len(wrong), (f"seed {seed}, cycle {cycle}, slice {index}, lane {wrong[0]}: got "
                                    f"{got[wrong[0]]:#x}, want {want[wrong[0]]:#x}")
        simulation.step("clk")
        expected.clock(inputs, enable)
