"""CoDeNet: the line buffer of its square deformable convolution, and the multipliers of its engine."""

from functools import partial
from typing import Any

import numpy as np

from sw.formats import FixedPointFormat
from sw.reference.bounded_line_buffer import BoundedLineBuffer, bank_cycles
from sw.reference.line_buffer import DeformableLineBuffer
from sw.reference.model import Codes
from synth.papers.laboratory import Laboratory, answers
from synth.papers.record import Demand, Paper, Part, Provenance, Row

INT8 = FixedPointFormat(width=8)
OFFSET, GROUPS, SIZE = 7, 16, 64
"""Largest offset that the paper names; 256 channels by 16; the map of its table 2."""

CLOCK_MHZ = 100
"""At which the paper's table 2 fits its engine's cycles: derived, the paper does not say it."""

TARGETS = ("xcup", "xc7", "ecp5", "ice40", "gowin")
"""Families of which one DSP block was found to hold two of the paper's products."""

PUBLISHED, DERIVED = Provenance.PUBLISHED, Provenance.DERIVED


def _pixels(model: DeformableLineBuffer, maps: int, generator: np.random.Generator) -> dict[str, Codes]:
    count = maps * model.height * model.width * model.channel_groups
    return {name: generator.integers(0, port.codes, (count, port.lanes) if port.lanes else count, dtype=np.uint64)
            for name, port in model.inputs.items()}


def _wrong(lab: Laboratory, component: Any, generator: np.random.Generator) -> int:
    """Return how many windows of two maps of random offsets a buffer's netlist gets wrong."""
    inputs = _pixels(component.model, 2, generator)
    trace = lab.trace("ecp5", component, inputs)
    return int(np.any(trace.outputs["window"] != answers(component.model, inputs), axis=1).sum())


def _sizing(lab: Laboratory, generator: np.random.Generator) -> list[Row]:
    from hw.conv.line_buffer import DeformableLineBuffer as Buffer
    from synth.papers.published_line_buffer import LINES, PublishedLineBuffer

    ours = Buffer(INT8, lanes=1, height=24, width=12, max_offset=OFFSET)
    theirs = _wrong(lab, PublishedLineBuffer(ours.model), generator)
    row = partial(Row, paper=0, provenance=DERIVED, unit="of 576 windows",
                  source="v1 names offsets to 7: none may be wrong")
    return [
        row(quantity=f"wrong windows, {LINES} lines, offsets to {OFFSET}", ours=theirs, demand=Demand.COMPARED,
            note="the published size, on our buffer: the paper names offsets to 7, the lines hold those to 6"),
        row(quantity=f"wrong windows, {ours.rows} lines, offsets to {OFFSET}", ours=_wrong(lab, ours, generator),
            demand=Demand.EQUAL)]


def _speed(lab: Laboratory, generator: np.random.Generator) -> list[Row]:
    from hw.conv.line_buffer import DeformableLineBuffer as Buffer

    buffer = Buffer(INT8, lanes=1, height=SIZE, width=SIZE, channel_groups=GROUPS, max_offset=OFFSET)
    trace = lab.trace("ecp5", buffer, _pixels(buffer.model, 1, generator))
    # Between the first and the last window of the rows that are read while others are written.
    steady = trace.left[trace.left <= trace.accepted[-1]]
    per_pixel = float(steady[-1] - steady[0]) / (len(steady) - 1) * GROUPS
    return [
        Row(quantity="cycles a pixel, 256 channels, in steady state", unit="cycles", ours=per_pixel, paper=46,
            provenance=DERIVED, source="v1, table 2: 1.9 ms for 64 x 64 pixels at 100 MHz",
            demand=Demand.AT_MOST, note="theirs reads 16 groups, emits 16 and flushes; ours does both at a time. One "
            "lane of ours was run: lanes share their control"),
        Row(quantity="deformable 3x3, 64 x 64 x 256, bounded and square", unit="ms", paper=2.1, provenance=PUBLISHED,
            ours=trace.cycles / CLOCK_MHZ / 1000, source="v1, table 2", demand=Demand.AT_MOST,
            note=f"one map, first pixel in to last window out, at {CLOCK_MHZ} MHz, the clock that the table implies")]


def _conflicts(lab: Laboratory, generator: np.random.Generator) -> list[Row]:
    """Return what independent offsets cost where square ones need no more than three rows."""
    from hw.conv.bounded_line_buffer import BoundedLineBuffer as Bounded
    from hw.conv.line_buffer import DeformableLineBuffer as Square

    model = BoundedLineBuffer(element=INT8, lanes=1, height=SIZE, width=SIZE, max_offset=OFFSET)
    offsets = generator.integers(0, OFFSET + 1, (SIZE * SIZE, model.inputs["offset"].lanes or 1), dtype=np.uint64)
    y, x = (place.reshape(-1, 1) for place in np.divmod(np.arange(SIZE * SIZE), SIZE))
    dy, dx = model.displacements(offsets)
    rows, columns = y + dy, x + dx
    inside = (rows >= 0) & (rows < SIZE) & (columns >= 0) & (columns < SIZE)
    buffers = [kind(INT8, lanes=4, height=SIZE, width=SIZE, channel_groups=4, max_offset=OFFSET, read_ports=3)
               for kind in (Square, Bounded)]
    square, bounded = (lab.count("ecp5", buffer, dsp=False)["lut"] for buffer in buffers)
    cycles = float(bank_cycles(rows, inside, banks=buffers[1].rows, read_ports=3).mean())
    row = partial(Row, unit="1", paper=3.0 / 2.1, provenance=PUBLISHED, demand=Demand.COMPARED,
                  source="v1, table 2, depthwise: 3.0 ms against 2.1 ms")
    return [
        row(quantity="cycles of independent offsets, by those of square ones", ours=cycles,
            note="random offsets of 0 to 7, three words a bank and cycle; square ones always take one cycle. Theirs "
                 f"are learned. In LUTs, of which the paper says nothing: {bounded:,} against {square:,} on ECP5")]


def _multipliers(lab: Laboratory) -> list[Row]:
    rows = []
    engine = [lab.build("xcup", op="pointwise", lanes=16, output_lanes=16, dsp=True, samples=1 << 10),
              lab.build("xcup", op="depthwise", lanes=16, dsp=True, pipeline=2, samples=1 << 10)]
    rows.append(Row(quantity="DSP blocks of 256 + 144 MACs", unit="blocks", ours=sum(part["dsp"] for part in engine),
                    paper=360, provenance=PUBLISHED, source="v1, resources", demand=Demand.AT_MOST,
                    note="theirs are all of the device's, and some MACs are in LUTs; two int4 weights share an "
                         "activation on one of ours in the 1x1 convolution"))
    for target in TARGETS:
        built = lab.build(target, op="pointwise", lanes=1, output_lanes=2, dsp=True, samples=1 << 12)
        rows.append(Row(quantity=f"DSP blocks of two int8 x int4 MACs, {target}", unit="blocks", ours=built["dsp"],
                        paper=1, provenance=DERIVED, source="pilot measurement with Yosys 0.23 and 0.70",
                        demand=Demand.EQUAL))
    return rows


def line_buffer(lab: Laboratory) -> list[Row]:
    """Return the rows that need no network."""
    generator = np.random.default_rng(lab.seed)
    return [*_sizing(lab, generator), *_speed(lab, generator), *_conflicts(lab, generator), *_multipliers(lab)]


PAPER = Paper(
    name="codenet", title="CoDeNet: Efficient Deployment of Input-Adaptive Object Detection on Embedded FPGAs",
    citation="FPGA'21, arXiv 2006.08357", parts={"line-buffer": Part(
        name="line-buffer", steps=12, run=line_buffer,
        summary="the line buffer of the square deformable convolution, and the engine's multipliers")})
