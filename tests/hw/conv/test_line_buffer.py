# amaranth: UnusedElaboratable=no
"""Buffers of lines in simulation and as mapped netlists: every window, and the cycle in which it leaves."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import *
from amaranth.lib import wiring

from hw.accumulate.streamed import stream_members
from hw.conv.line_buffer import DeformableLineBuffer, LineBufferCore
from sw.formats import parse
from sw.reference.line_buffer import DeformableLineBuffer as DeformableLineBufferModel
from synth.flow import elaborate, synthesize
from synth.store import Store
from synth.targets import TARGETS
from synth.verify.streams import check_stream
from synth.verify.transfers import stream_transfers
from tests.support.map_windows import assert_windows_right, random_transfers
from tests.support.streams import simulate_stream

INT8, FP4 = parse("int8"), parse("e2m1")
# Height, width, channel groups, stride, largest offset: odd sizes, one row, one column, one pixel, maps that are
# smaller than the reach, rows that are no power of two, strides beyond the map.
SHAPES = [(5, 6, 2, 1, 2), (1, 1, 1, 1, 7), (1, 9, 1, 1, 3), (7, 1, 2, 1, 7), (9, 7, 1, 2, 4), (3, 3, 1, 2, 0),
          (6, 5, 1, 3, 1), (4, 4, 2, 8, 1), (2, 2, 1, 2, 0), (18, 5, 1, 1, 8), (3, 4, 3, 2, 8), (2, 17, 1, 1, 15)]


def buffer(height, width, groups, stride, reach, *, lanes=1, **parameters):
    return DeformableLineBuffer(INT8, lanes=lanes, height=height, width=width, channel_groups=groups, stride=stride,
                                max_offset=reach, padding=128, **parameters)


def windows_of(model, maps):
    return maps * -(-model.height // model.stride) * -(-model.width // model.stride) * model.channel_groups


@pytest.mark.parametrize("read_ports", [3, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_windows_are_right_and_leave_when_they_should(shape, read_ports):
    component = buffer(*shape, read_ports=read_ports)
    transfers = random_transfers(component.model, 3, seed=sum(shape))
    run = simulate_stream(component, transfers, results=windows_of(component.model, 3))
    previous = -100
    for (_, cause), left in zip(assert_windows_right(component, transfers, run), run.left, strict=True):
        due = max(run.accepted[cause] + component.latency, previous + component.initiation_interval)
        assert left == due, f"left in cycle {left}, due in {due}"
        previous = left


@pytest.mark.parametrize(("offers", "takes"), [(1.0, 0.3), (0.6, 0.6)])
@pytest.mark.parametrize("read_ports", [3, 1])
def test_windows_are_right_under_stalls(read_ports, offers, takes):
    for number, shape in enumerate(SHAPES[:5]):
        component = buffer(*shape, read_ports=read_ports, lanes=2, rows=2 * shape[4] + 2 + number % 3)
        transfers = random_transfers(component.model, 2, seed=number)
        run = simulate_stream(component, transfers, results=windows_of(component.model, 2), offers=offers, takes=takes,
                              seed=number)
        assert_windows_right(component, transfers, run)


def test_other_elements_and_an_ordinary_convolution():
    for fields in ({"deformable": False}, {"max_offset": 0}, {"max_offset": 1, "padding": 5}):
        component = DeformableLineBuffer(FP4, lanes=3, height=4, width=5, channel_groups=2, **fields)
        transfers = random_transfers(component.model, 2, seed=1)
        run = simulate_stream(component, transfers, results=80, offers=0.8, takes=0.8)
        assert_windows_right(component, transfers, run)


class Numbered(wiring.Component):
    """The core with any numbers of rows and rows ahead, for one shape."""

    def __init__(self, model, **parameters):
        self.model, self._parameters = model, parameters
        super().__init__(stream_members(model))

    def elaborate(self, platform):
        m = Module()
        model = self.model
        m.submodules.core = core = LineBufferCore(model, depth=model.width, read_ports=3, **self._parameters)
        wiring.connect(m, core.i, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.o), core.o)
        m.d.comb += [core.shape[name].eq(getattr(model, name)) for name in core.shape.shape().members]
        return m


@pytest.mark.parametrize(("rows", "reach", "right"), [(15, 7, False), (15, 6, True), (16, 7, True), (17, 8, False),
                                                      (18, 8, True)])
def test_the_published_sizing_is_wrong_at_its_largest_offset(rows, reach, right):
    """15 lines of which 8 are written ahead: row r + 8 replaces row r - 7 while that is still wanted."""
    model = DeformableLineBufferModel(element=INT8, lanes=1, height=20, width=6, max_offset=reach)
    component = Numbered(model, rows=rows, lookahead=8 if rows < 17 else 9)
    transfers = random_transfers(model, 1, seed=1)
    for transfer in transfers:
        transfer["offset"] = reach
    run = simulate_stream(component, transfers, results=120, takes=0.3)
    if right:
        assert_windows_right(component, transfers, run)
    else:
        with pytest.raises(AssertionError, match="window"):
            assert_windows_right(component, transfers, run)
        with pytest.raises(ValueError, match=f"Rows must be at least {2 * reach + 2} for offsets to {reach}"):
            buffer(20, 6, 1, 1, reach, rows=rows)


@pytest.mark.parametrize(("shape", "parameters", "cycles"), [
    ((10, 12, 1, 1, 7), {}, 120),                 # one in, one out
    ((5, 12, 2, 1, 7), {}, 120),                  # maps lower than the reach: several are there at once
    ((1, 16, 1, 1, 7), {}, 16),
    ((8, 6, 1, 1, 3), {}, 48),                    # the shortest rows that the fewest banks serve without a pause
    ((8, 5, 1, 1, 3), {"rows": 9}, 40),           # shorter ones with another bank
    ((8, 12, 1, 1, 2), {"read_ports": 1}, 288),   # three cycles a window
    ((8, 12, 2, 2, 4), {}, 192),                  # a quarter of the positions
    ((8, 12, 2, 2, 4), {"read_ports": 1}, 192),   # three quarters of the cycles that writing takes
])
def test_a_map_takes_the_cycles_of_writing_or_reading_whichever_are_more(shape, parameters, cycles):
    component = buffer(*shape, **parameters)
    model, maps = component.model, 5
    transfers = random_transfers(model, maps, seed=2)
    run = simulate_stream(component, transfers, results=windows_of(model, maps))
    per_map = windows_of(model, 1)
    assert len(transfers) // maps <= cycles == max(len(transfers) // maps, per_map * component.initiation_interval)
    assert np.diff(run.left[::per_map]).tolist() == [cycles] * (maps - 1)


def test_one_core_serves_maps_of_any_shape():
    """Shape and stride are signals of the core."""
    largest = DeformableLineBufferModel(element=INT8, lanes=1, height=9, width=8, channel_groups=4, stride=2,
                                        max_offset=3, padding=7)
    core = LineBufferCore(largest, rows=8, lookahead=4, depth=16, queue_depth=5 * 16, read_ports=3)
    core.model = largest
    for shape in ((9, 8, 2, 1), (5, 4, 4, 2), (1, 1, 1, 1), (4, 5, 3, 1), (7, 8, 1, 2)):
        names = dict(zip(("height", "width", "channel_groups", "stride"), shape, strict=True))
        core.model = DeformableLineBufferModel(element=INT8, lanes=1, max_offset=3, padding=7, **names)
        transfers = random_transfers(core.model, 2, seed=3)
        run = simulate_stream(core, transfers, results=windows_of(core.model, 2), offers=0.9, takes=0.8,
                              settings=[(core.shape[name], number) for name, number in names.items()])
        assert_windows_right(core, transfers, run)


def check_netlist(component, target, folder, *, samples, seed=0):
    """Compare the mapped netlist of a component with its model: stalls, resets, and the cycles of the windows."""
    design = elaborate(component)
    mapped = synthesize(design, TARGETS[target], store=Store(folder / "store", warn=print), folder=folder, dsp=False,
                        timeout=600)
    report = check_stream(mapped.document(), stream_transfers(component.model, seed=seed, samples=samples),
                          latency=design.latency, interval=design.interval, seed=seed)
    assert (report["mismatches"], report["violations"]) == (0, {}), report["first_mismatch"]
    assert report["vectors"] > samples // 2
    assert report["resets"] > 5
    assert report["latency_checked"] > 100
    return mapped.cells


@pytest.mark.parametrize(("target", "read_ports", "memory"), [
    ("ecp5", 3, "TRELLIS_DPR16X4"),
    *(pytest.param(target, ports, memory, marks=pytest.mark.slow) for target, ports, memory in (
        ("ecp5", 1, "TRELLIS_DPR16X4"), ("ice40", 3, "SB_DFFE"), ("ice40", 1, "SB_RAM40_4K"),
        ("nexus", 3, "DPR16X4"), ("nexus", 1, "DPR16X4"),
        ("gowin", 3, "RAM16SDP4"), ("gowin", 1, "RAM16SDP4"), ("xc7", 3, "RAM32M"), ("xc7", 1, "RAM32M"),
        ("xcup", 3, "RAM32M16"), ("xcup", 1, "RAM32M16")))])
def test_mapped_netlists_are_right(tmp_path, target, read_ports, memory):
    component = buffer(5, 4, 2, 1, 2, lanes=2, read_ports=read_ports)
    assert check_netlist(component, target, tmp_path, samples=2000)[memory] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("target", "memory"), [
    ("ecp5", "DP16KD"), ("ice40", "SB_RAM40_4K"), ("nexus", "PDPSC16K"), ("gowin", "SDPX9B"), ("xc7", "RAMB18E1"),
    ("xcup", "RAMB18E2")])
def test_mapped_netlists_with_block_memories_are_right(tmp_path, target, memory):
    """Banks of a size at which every family takes its block memories, and one wide enough for several of them."""
    component = DeformableLineBuffer(INT8, lanes=3, height=3, width=9, channel_groups=8, max_offset=2, padding=128,
                                     depth=512)
    assert check_netlist(component, target, tmp_path, samples=16_000)[memory] >= 18


def test_elaborating_twice_gives_the_same_design():
    component = buffer(5, 6, 2, 2, 3, read_ports=1)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = DeformableLineBuffer(INT8, lanes=4, height=9, width=5, channel_groups=3, stride=2, max_offset=7,
                                     padding=128)
    assert component.model == DeformableLineBufferModel(
        element=INT8, lanes=4, height=9, width=5, channel_groups=3, stride=2, max_offset=7, padding=128)
    assert (component.rows, component.depth, component.read_ports) == (16, 15, 3)
    assert (component.latency, component.initiation_interval) == (5, 1)
    single = buffer(9, 5, 3, 8, 1, rows=20, depth=32, read_ports=1)
    assert (single.rows, single.depth, single.latency, single.initiation_interval) == (20, 32, 7, 3)
    assert buffer(9, 5, 3, 8, 1).rows == 8
    assert DeformableLineBuffer(INT8, lanes=4, height=9, width=5, deformable=False).rows == 4


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"channel_groups": 0}, ValueError, "Channel groups must be between 1 and 4096, not 0"),
    ({"rows": 15}, ValueError, "Rows must be at least 16 for offsets to 7 and a stride of 1, not 15"),
    ({"rows": 6, "max_offset": 1, "stride": 7}, ValueError,
     "Rows must be at least 7 for offsets to 1 and a stride of 7, not 6"),
    ({"rows": 16.0}, TypeError, "Rows must be an integer, not 16.0"),
    ({"depth": 11}, ValueError, "Depth must be at least 12 words for 4 columns of 3 channel groups, not 11"),
    ({"depth": "12"}, TypeError, "Depth must be an integer, not '12'"),
    ({"read_ports": 2}, ValueError, "Read ports must be 1 or 3, not 2"),
    ({"read_ports": True}, TypeError, "Read ports must be an integer, not True"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        DeformableLineBuffer(INT8, **{"lanes": 2, "height": 4, "width": 4, "channel_groups": 3, **parameters})
