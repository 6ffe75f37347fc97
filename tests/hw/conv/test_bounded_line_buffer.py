# amaranth: UnusedElaboratable=no
"""Buffers with nine offsets: every window, and the cycles that samples of the same bank cost it."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.conv.bounded_line_buffer import BoundedLineBuffer
from sw.formats import parse
from sw.reference.bounded_line_buffer import BoundedLineBuffer as BoundedLineBufferModel
from sw.reference.bounded_line_buffer import bank_cycles
from synth.flow import elaborate, synthesize
from synth.store import Store
from synth.targets import TARGETS
from synth.verify.streams import check_stream
from synth.verify.transfers import stream_transfers
from tests.support.map_windows import assert_windows_right, random_transfers
from tests.support.sampling import sampled
from tests.support.streams import simulate_stream

INT8 = parse("int8")
# Height, width, channel groups, stride, least and largest offset.
SHAPES = [(5, 6, 1, 1, 0, 2), (4, 5, 2, 1, -1, 1), (1, 1, 1, 1, 0, 1), (1, 5, 2, 1, 0, 1), (5, 1, 1, 2, -2, 0),
          (7, 6, 1, 2, 0, 4)]


def buffer(height, width, groups, stride, lowest, highest, **parameters):
    return BoundedLineBuffer(INT8, lanes=1, height=height, width=width, channel_groups=groups, stride=stride,
                             min_offset=lowest, max_offset=highest, padding=128, **parameters)


def windows_of(model, maps):
    return maps * -(-model.height // model.stride) * -(-model.width // model.stride) * model.channel_groups


def window_cycles(component, transfers):
    """Return in how many cycles the banks give each window of some maps."""
    model, rows, inside = component.model, [], []
    for number, transfer in enumerate(transfers):
        y, x = divmod(number // model.channel_groups % (model.height * model.width), model.width)
        if y % model.stride or x % model.stride:
            continue
        samples = [(y + dy, x + dx) for dy, dx in model.samples(transfer)]
        rows.append([row for row, _ in samples])
        inside.append([0 <= row < model.height and 0 <= column < model.width for row, column in samples])
    return bank_cycles(np.array(rows), np.array(inside), banks=component.rows, read_ports=component.read_ports)


@sampled("read_ports", [2, 3], 1)
def test_windows_are_right_and_take_the_cycles_of_their_busiest_bank(read_ports):
    for number, shape in enumerate(SHAPES):
        component = buffer(*shape, read_ports=read_ports)
        transfers = random_transfers(component.model, 2, seed=number)
        run = simulate_stream(component, transfers, results=windows_of(component.model, 2))
        windows, cycles = assert_windows_right(component, transfers, run), window_cycles(component, transfers)
        previous = -1
        for (_, cause), taken, left in zip(windows, cycles, run.left, strict=True):
            assert left == max(run.accepted[cause] + component.latency - 1, previous) + taken
            previous = left


@pytest.mark.parametrize("read_ports", [1, 3])
def test_windows_are_right_under_stalls(read_ports):
    for number, shape in enumerate(SHAPES[::2]):
        component = buffer(*shape, read_ports=read_ports)
        transfers = random_transfers(component.model, 2, seed=10 + number)
        run = simulate_stream(component, transfers, results=windows_of(component.model, 2), offers=0.7, takes=0.6,
                              seed=number)
        assert_windows_right(component, transfers, run)


def check_netlist(component, target, folder):
    design = elaborate(component)
    assert design.interval is None
    mapped = synthesize(design, TARGETS[target], store=Store(folder / "store", warn=print), folder=folder, dsp=False,
                        timeout=600)
    report = check_stream(mapped.document(), stream_transfers(component.model, seed=1, samples=2000),
                          latency=design.latency, interval=design.interval, seed=1)
    assert (report["mismatches"], report["violations"]) == (0, {}), report["first_mismatch"]
    assert report["vectors"] > 1000
    assert report["resets"] > 5


@pytest.mark.slow
@pytest.mark.parametrize(("target", "read_ports"), [("ecp5", 3), ("ecp5", 1), ("xc7", 3), ("ice40", 1)])
def test_mapped_netlists_are_right(tmp_path, target, read_ports):
    check_netlist(buffer(5, 4, 2, 1, -1, 2, read_ports=read_ports), target, tmp_path)


def test_elaborating_twice_gives_the_same_design():
    component = buffer(5, 4, 1, 2, 0, 2)
    assert rtlil.convert(component, emit_src=False) == rtlil.convert(component, emit_src=False)


def test_properties():
    component = buffer(9, 5, 3, 2, -3, 7, read_ports=1)
    assert component.model == BoundedLineBufferModel(element=INT8, lanes=1, height=9, width=5, channel_groups=3,
                                                     stride=2, min_offset=-3, max_offset=7, padding=128)
    assert (component.rows, component.read_ports, component.latency, component.constant_latency) == (14, 1, 5, False)
    assert buffer(9, 5, 3, 8, 0, 1).rows == 8
    assert buffer(9, 5, 3, 1, 0, 1, rows=20).rows == 20


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"max_offset": 16}, ValueError, "Max offset must be between 0 and 15, not 16"),
    ({"rows": 10}, ValueError, "Rows must be at least 11 for offsets from 0 to 7 and a stride of 1, not 10"),
    ({"rows": None, "min_offset": -7, "read_ports": 0}, ValueError, "Read ports must be between 1 and 9, not 0"),
    ({"read_ports": 10}, ValueError, "Read ports must be between 1 and 9, not 10"),
    ({"read_ports": "3"}, TypeError, "Read ports must be an integer, not '3'"),
    ({"rows": 16.0}, TypeError, "Rows must be an integer, not 16.0"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        BoundedLineBuffer(INT8, **{"lanes": 2, "height": 4, "width": 4, **parameters})
