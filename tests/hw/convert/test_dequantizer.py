# amaranth: UnusedElaboratable=no
"""Every lane of the dequantizer on every code, zero point and width, as gates, beside its reference."""

import random
import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.convert.dequantizer import Dequantizer, DequantizerStructure
from sw.reference.dequantize import Dequantization
from tests.support import gates
from tests.support.lanes import all_inputs, assert_delayed, assert_right

STRUCTURES = list(DequantizerStructure)


class Halves(wiring.Component):
    """A dequantizer of 16 lanes with its 128-bit ports in two halves each: gates take and give 64 bits at once."""

    def __init__(self, dequantizer):
        self.dequantizer = dequantizer
        members = {name: In(len(Value.cast(getattr(dequantizer, name)))) for name in dequantizer.model.inputs}
        word = members.pop("word").shape
        point = members.pop("zero_point").shape
        members |= {"low": In(min(word, 64)), "high": In(max(word - 64, 1)), "upper": In(1), "o": Out(64),
                    "low_point": In(min(point, 64)), "high_point": In(max(point - 64, 1))}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dequantizer = inner = self.dequantizer
        o = Value.cast(inner.o)
        m.d.comb += [inner.word.eq(Cat(self.low, self.high)),
                     Value.cast(inner.zero_point).eq(Cat(self.low_point, self.high_point)),
                     self.o.eq(Mux(self.upper, o[64:], o[:64]))]
        if len(inner.model.code_widths) > 1:
            m.d.comb += inner.width.eq(self.width)
        return m


def every_lane_on_everything(model):
    """Return inputs in which every lane meets every code with every zero point under every width.

    The lanes hold different codes in each vector, so that a bit taken from a neighbour shows; above the last code is
    noise.
    """
    widest, lanes, rng = model.code_widths[-1], model.lanes, np.random.default_rng(1)
    vectors = {name: [] for name in model.inputs}
    for index, width in enumerate(model.code_widths):
        codes, points = (grid.ravel() for grid in np.meshgrid(np.arange(1 << width), np.arange(1 << widest)))
        columns = [(codes + shift) % (1 << width) for shift in rng.integers(0, 1 << width, lanes)]
        noise = rng.integers(0, 1 << 62, (2, len(codes))).astype(object)
        words = (noise[0] << 62 | noise[1]) << width * lanes
        for lane, column in enumerate(columns):
            words |= column.astype(object) << lane * width
        if model.zero_point_per_lane:
            points = np.stack([points + shift & (1 << widest) - 1 for shift in rng.integers(0, 1 << widest, lanes)], 1)
        vectors["word"].append(words & (1 << widest * lanes) - 1)
        vectors["zero_point"].append(points.astype(np.uint64))
        if "width" in vectors:
            vectors["width"].append(np.full(len(codes), index, np.uint64))
    return {name: np.concatenate(parts) for name, parts in vectors.items()}


def assert_halves_right(operators, folder):
    for operator, circuit in zip(operators, gates.build([Halves(operator) for operator in operators], folder),
                                 strict=True):
        model = operator.model
        inputs = every_lane_on_everything(model)
        points = inputs["zero_point"]
        if model.zero_point_per_lane:
            points = sum(points[:, lane].astype(object) << lane * model.code_widths[-1] for lane in range(model.lanes))
        ports = {"width": inputs["width"]} if "width" in inputs else {}
        for name, whole in (("{}", inputs["word"]), ("{}_point", points)):
            whole = whole.astype(object)
            ports |= {name.format("low"): (whole & (1 << 64) - 1).astype(np.uint64),
                      name.format("high"): (whole >> 64).astype(np.uint64)}
        want, count = model.evaluate(inputs)["o"], len(points)
        got = np.stack([circuit.run(upper=np.full(count, half, np.uint64), **ports) for half in (0, 1)], axis=1)
        got = (got[:, :, None] >> np.arange(0, 64, 8, dtype=np.uint64) & np.uint64(255)).reshape(count, 16)
        wrong = np.argwhere(got != want)
        examples = [({name: codes[vector] for name, codes in inputs.items()}, int(lane), hex(got[vector, lane]),
                     hex(want[vector, lane])) for vector, lane in wrong[:5]]
        assert not len(wrong), f"{model}: {len(wrong)} wrong, (inputs, lane, got, want): {examples}"


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_input_of_every_lane(structure, tmp_path):
    assert_halves_right([Dequantizer(structure=structure),
                         Dequantizer(structure=structure, zero_point_per_lane=True)], tmp_path)


def test_every_input_of_every_lane_of_one_width(tmp_path):
    assert_halves_right([Dequantizer(code_widths=(8,)), Dequantizer(code_widths=(4,), zero_point_per_lane=True)],
                        tmp_path)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_input_of_few_lanes(structure, tmp_path):
    """Every word of two codes and every zero point, not only every code of each lane."""
    assert_right([Dequantizer(code_widths=widths, lanes=2, structure=structure, zero_point_per_lane=per_lane)
                  for widths in ((2,), (3,), (4,), (2, 3, 4), (1, 3)) for per_lane in (False, True)]
                 + [Dequantizer(code_widths=(2, 3, 4, 8), lanes=1, structure=structure),
                    Dequantizer(code_widths=(7,), lanes=1, structure=structure)], tmp_path, all_inputs)



def test_pipeline_delays_every_result_by_its_latency(tmp_path):
    assert_delayed([Dequantizer(lanes=4, pipeline=pipeline, structure=structure, zero_point_per_lane=per_lane)
                    for pipeline, structure, per_lane in ((1, STRUCTURES[0], False), (2, STRUCTURES[1], True),
                                                          (3, STRUCTURES[0], True), (5, STRUCTURES[1], False))]
                   + [Dequantizer(code_widths=(3,), lanes=8, pipeline=2)], tmp_path)


@pytest.mark.parametrize("pipeline", [0, 2])
def test_amaranth_simulator_agrees(pipeline):
    dequantizer, rng = Dequantizer(pipeline=pipeline), random.Random(pipeline)
    calls = [(rng.getrandbits(128), rng.randrange(256), rng.randrange(4)) for _ in range(100)]

    async def testbench(ctx):
        for cycle, (word, point, width) in enumerate(calls):
            ctx.set(dequantizer.word, word)
            ctx.set(dequantizer.zero_point, point)
            ctx.set(dequantizer.width, width)
            if cycle >= pipeline:
                given = calls[cycle - pipeline]
                got = [ctx.get(dequantizer.o[lane]) for lane in range(16)]
                assert got == dequantizer.model(*given), (cycle, given)
            await (ctx.tick() if pipeline else ctx.delay(1e-6))

    simulator = Simulator(dequantizer)
    if pipeline:
        simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_elaborating_twice_gives_the_same(structure):
    dequantizer = Dequantizer(pipeline=3, structure=structure)
    first, second = (rtlil.convert(dequantizer, emit_src=False) for _ in range(2))
    assert first == second
    assert not re.search(r"(connect|switch|assign).*\\rst", first)  # registers have no reset


def test_properties():
    dequantizer = Dequantizer(code_widths=(2, 4), lanes=8, zero_point_per_lane=True, pipeline=1)
    assert dequantizer.model == Dequantization(code_widths=(2, 4), lanes=8, zero_point_per_lane=True)
    assert (dequantizer.pipeline, dequantizer.latency) == (1, 1)
    assert (len(dequantizer.word), len(Value.cast(dequantizer.zero_point)), len(dequantizer.width)) == (32, 32, 1)
    assert len(Value.cast(dequantizer.o)) == 64
    assert not hasattr(Dequantizer(code_widths=(3,)), "width")


@pytest.mark.parametrize(("code_widths", "structure"), [
    ((2, 3, 4, 8), DequantizerStructure.ADD_INVERTED), ((4,), DequantizerStructure.SUBTRACT)])
def test_default_structure(code_widths, structure):
    assert Dequantizer(code_widths=code_widths).structure is structure


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"code_widths": (9,)}, ValueError, "Code width must be between 1 and 8 bits, not 9"),
    ({"lanes": 65}, ValueError, "Lanes must be between 1 and 64, not 65"),
    ({"pipeline": -1}, ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    ({"structure": "subtract"}, TypeError, "Structure must be a DequantizerStructure, not 'subtract'"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        Dequantizer(**parameters)
