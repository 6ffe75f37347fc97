# amaranth: UnusedElaboratable=no
# The stages belong to a component, which is not always elaborated.
"""The deformable convolution on whole feature maps: line buffer, depthwise, requantize, pointwise, requantize."""

from dataclasses import replace

from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import stream_members
from hw.conv.depthwise_conv import DepthwiseConv
from hw.conv.frame_repeater import FrameRepeater
from hw.conv.line_buffer import DeformableLineBuffer
from hw.conv.parameter_memory import ParameterMemory
from hw.conv.pointwise_conv import PointwiseConv
from hw.conv.requantize import Requantize
from hw.conv.streamed_function import StreamedFunction
from hw.pipeline import MAX_PIPELINE, require_pipeline
from sw.formats import FixedPointFormat
from sw.reference.deformable_convolution import INT4, INT8, INT24, DeformableConvolution

__all__ = ["DeformableConv"]

_MAX_MAPS = 63
"""Most maps in flight: more than a line buffer has lines, so that even maps of one row do not wait for each other."""

_LEAST_PIPELINE = 2
"""Registers of each stage: without those behind products, Yosys 0.70 makes adders of a chain of blocks that it connects
wrongly (Nexus), and without those behind sums, it takes one register into two blocks (iCE40)."""


class DeformableConv(wiring.Component):
    """A square deformable depthwise 3x3 and a 1x1 convolution, from pixels to pixels, with parameters loaded between.

    The stages are streams with handshakes of their own, so that each works while the others do:

    - :class:`hw.conv.line_buffer.DeformableLineBuffer`, a window every ``initiation_interval`` cycles of its own;
    - :class:`hw.conv.depthwise_conv.DepthwiseConv` and :class:`hw.conv.requantize.Requantize`, a group of channels a
      cycle;
    - :class:`hw.conv.frame_repeater.FrameRepeater`, which holds a pixel for each group of output channels while the
      next pixel comes in;
    - :class:`hw.conv.pointwise_conv.PointwiseConv`, ``channel_groups * output_groups`` cycles a pixel, and
      :class:`hw.conv.requantize.Requantize`.

    In steady state a position takes as many cycles as the slowest stage needs for it: its input transfers (``stride``
    squared pixels of ``channel_groups``), its windows, or its ``channel_groups * output_groups`` pointwise products.
    A load waits until no map is in flight; it then takes a word a cycle.

    Maps of 5 x 4 positions and 4 to 4 channels in 2 lanes, offsets to 2, with yosys 0.70, as DSP blocks / LUTs /
    flip-flops; the 26 products of a cycle are 18 of the depthwise convolution, 4 of the pointwise one, of which two
    share a block, and 4 wide ones of the requantizations:

    ===============  ================  ================
    Family           hard multipliers  no multipliers
    ===============  ================  ================
    iCE40            24 / 3190 / 2471  0 / 5480 / 2818
    ECP5             24 / 2229 / 1441  0 / 4682 / 1458
    Nexus            24 / 2381 / 1053  0 / 5278 / 1458
    Gowin            24 / 2608 / 1441  0 / 4972 / 1458
    Xilinx 7         24 / 1072 / 1025  0 / 2192 / 1458
    UltraScale+      24 / 1472 / 1441  0 / 2346 / 1458
    ===============  ================  ================

    On UltraScale+ 16 lanes of 64 x 64 positions, 256 to 256 channels and offsets to 7, the 144 + 256 products of the
    published engine, take 304 blocks, of which 32 are those of the requantizations, 15931 LUTs, 11338 flip-flops and
    209.5 block memories of 36 kbit; with three products on a block and one read port 272, 11931, 11364 and 81.5. The
    published design, memory interfaces and all, takes 360, 34144, 41827 and 216.

    Parameters
    ----------
    lanes : int
        Channels of a transfer, and of a result.
    height, width : int
        Rows and columns of a map.
    channels, output_channels : int
        Multiples of ``lanes``.
    stride : int
        Rows and columns from one result to the next.
    max_offset : int
        Largest offset.
    deformable : bool
        Whether transfers bring offsets; without them the convolution is an ordinary one.
    activation, weight, accumulator : FixedPointFormat
        Signed integers.
    zero_point : int, optional
        Activation that stands for zero; the least one by default.
    relu_depthwise, relu_pointwise : bool
        Whether a ReLU follows the depthwise, and the pointwise convolution.
    requantized : bool
        Whether the results are activations; otherwise they are the sums of the pointwise convolution.
    read_ports : int
        Of the line buffer: 3 for a window a cycle, or 1 for one every three cycles and a third of the memory.
    packed : int
        Most products of the pointwise convolution on one hard multiplier: 1 to 3.
    pipeline : int
        Register stages, 0 to 62, in each of the convolutions and requantizations, besides the two that each has behind
        its products and behind its sums.
    hard_multiplier : bool
        Leave the products to the synthesizer, for DSP blocks.

    Members
    -------
    i : In(stream)
        ``load``, ``data`` and, unless there is none, ``offset``: words of parameters and pixels, as the reference
        says. A load within a map, which the reference refuses, waits for ever or changes parameters in use.
    o : Out(stream)
        ``o``: a group of output channels.

    Raises
    ------
    TypeError, ValueError
        As the reference ``sw.reference.deformable_convolution.DeformableConvolution`` and the stages do.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), whose engine does one stage after the other.
    """

    constant_latency = False
    """Pointwise products come in bursts: results may leave later than ``latency`` cycles after their cause."""

    def __init__(self, lanes, *, height, width, channels, output_channels, stride=1, max_offset=7, deformable=True,
                 activation=INT8, weight=INT4, accumulator=INT24, zero_point=None, relu_depthwise=False,
                 relu_pointwise=False, requantized=True, read_ports=3, packed=2, pipeline=0,
                 hard_multiplier=False):
        self._model = DeformableConvolution(
            lanes=lanes, height=height, width=width, channels=channels, output_channels=output_channels, stride=stride,
            max_offset=max_offset, deformable=deformable, activation=activation, weight=weight, accumulator=accumulator,
            zero_point=zero_point, relu_depthwise=relu_depthwise, relu_pointwise=relu_pointwise,
            requantized=requantized)
        self._pipeline = require_pipeline(pipeline)
        if pipeline > MAX_PIPELINE - _LEAST_PIPELINE:
            raise ValueError(f"Pipeline must be between 0 and {MAX_PIPELINE - _LEAST_PIPELINE} register stages, "
                             f"not {pipeline!r}")
        if not isinstance(hard_multiplier, bool):
            raise TypeError(f"Hard multiplier must be True or False, not {hard_multiplier!r}")
        self._hard_multiplier, self._read_ports, self._packed = hard_multiplier, read_ports, packed
        self._stages = self._built()
        super().__init__(stream_members(self._model))

    def _built(self):
        """Return the stages by the names of their submodules, in order.

        Sums are as wide between the stages as they can get, and not as wide as the accumulator: what would follow from
        a sign that is repeated is left to no synthesizer. (Yosys 0.70 loses the upper bits of a product's register that
        it packs into a DSP48E1 if they repeat the sign.)
        """
        model = self._model
        how = {"pipeline": _LEAST_PIPELINE + self._pipeline, "hard_multiplier": self._hard_multiplier}
        buffer, depthwise = model.line_buffer, DepthwiseConv(model.lanes, model.activation, model.weight, **how)
        pointwise = PointwiseConv(replace(model.pointwise.cell, result=None), model.pointwise.output_lanes,
                                  packed=self._packed, **how)
        stages = {
            "buffer": DeformableLineBuffer(
                buffer.element, lanes=buffer.lanes, height=buffer.height, width=buffer.width,
                channel_groups=buffer.channel_groups, stride=buffer.stride, max_offset=buffer.max_offset,
                padding=buffer.padding, deformable=buffer.deformable, read_ports=self._read_ports),
            "depthwise": StreamedFunction(depthwise),
            "depthwise_requantization": self._requantize(model.depthwise_requantization, depthwise, how),
            "repeater": FrameRepeater(width=model.inputs["data"].bits, length=model.channel_groups,
                                      repeats=model.output_groups),
            "pointwise": pointwise,
        }
        if model.pointwise_requantization is not None:
            stages["pointwise_requantization"] = self._requantize(model.pointwise_requantization, pointwise, how)
        return stages

    def _requantize(self, model, source, how):
        """A stage for the sums of another one."""
        return StreamedFunction(Requantize(
            model.lanes, accumulator=FixedPointFormat(width=source.model.outputs["o"].width), result=model.result,
            offset=model.offset, relu=model.relu, **how))

    @property
    def read_ports(self):
        """Words that a bank of the line buffer gives in a cycle."""
        return self._read_ports

    @property
    def packed(self):
        """Most products of the pointwise convolution on one hard multiplier."""
        return self._packed

    @property
    def pipeline(self):
        """Number of register stages in each of the convolutions and requantizations besides the two."""
        return self._pipeline

    @property
    def hard_multiplier(self):
        """Whether the products are left to the synthesizer."""
        return self._hard_multiplier

    @property
    def latency(self):
        """Least cycles from a transfer to the first result that it causes."""
        # All but the last window of a position, and all but the last of its products, come before the one that counts.
        before, buffer = self._model.channel_groups - 1, self._stages["buffer"]
        return sum(stage.latency for stage in self._stages.values()) + before * (1 + buffer.initiation_interval)

    @property
    def model(self):
        """The exact reference of the same parameters."""
        return self._model

    def elaborate(self, platform):
        m = Module()
        stages, memories = self._stages, self._memories(m)
        for name, stage in stages.items():
            m.submodules[name] = stage
        self._accept(m, stages["buffer"], memories)
        _connect(m, stages["buffer"].o, stages["depthwise"].i, {"window": "window"}, memories["depthwise"])
        _connect(m, stages["depthwise"].o, stages["depthwise_requantization"].i, {"o": "acc"},
                 memories["depthwise_requantization"])
        activations, frames = stages["depthwise_requantization"].o, stages["repeater"].i
        m.d.comb += [frames.payload.eq(activations.payload), frames.valid.eq(activations.valid),
                     activations.ready.eq(frames.ready)]
        _connect(m, stages["repeater"].o, stages["pointwise"].i, {"word": "a", "first": "first", "last": "last"},
                 memories["pointwise"])
        results = stages["pointwise"].o
        if "pointwise_requantization" in stages:
            _connect(m, results, stages["pointwise_requantization"].i, {"o": "acc"},
                     memories["pointwise_requantization"])
            results = stages["pointwise_requantization"].o
        m.d.comb += [self.o.valid.eq(results.valid), results.ready.eq(self.o.ready)]
        m.d.comb += [code.eq(result.as_signed())
                     for code, result in zip(self.o.payload.o, results.payload.o, strict=True)]
        return m

    def _memories(self, m):
        """Add the memories of parameters; return them by name."""
        memories = {}
        for name, model in self._model.memories.items():
            memories[name] = ParameterMemory(rows=model.rows, fields=model.fields, word=model.word)
            m.submodules[f"{name}_parameters"] = memories[name]
        return memories

    def _accept(self, m, buffer, memories):
        """Let words of parameters into the memories, one after the other, and pixels into the line buffer."""
        m.submodules.maps = maps = _MapsInFlight(self._model.map_transfers, self._model.map_results)
        payload, pixel = self.i.payload, buffer.i
        loaded, loads = Signal(range(len(memories))), Signal()
        m.d.comb += [
            loads.eq(self.i.valid & payload.load & maps.none), pixel.payload.pixel.eq(payload.data),
            pixel.valid.eq(self.i.valid & ~payload.load & ~maps.full),
            self.i.ready.eq(Mux(payload.load, maps.none, pixel.ready & ~maps.full)),
            maps.accepted.eq(pixel.valid & pixel.ready), maps.produced.eq(self.o.valid & self.o.ready),
        ]
        if "offset" in self._model.inputs:
            m.d.comb += pixel.payload.offset.eq(payload.offset)
        for number, memory in enumerate(memories.values()):
            m.d.comb += [memory.write.eq(loads & (loaded == number)), memory.word.eq(payload.data)]
            with m.If(memory.write & memory.last):
                m.d.sync += loaded.eq((number + 1) % len(memories))


def _connect(m, source, sink, fields, memory):
    """Connect fields of one stream to fields of another one, which has others from the current row of a memory."""
    for name, field in fields.items():
        m.d.comb += Value.cast(sink.payload[field]).eq(Value.cast(source.payload[name]))
    for name in memory.row.shape().members:
        m.d.comb += sink.payload[name].eq(memory.row[name])
    m.d.comb += [sink.valid.eq(source.valid), source.ready.eq(sink.ready), memory.take.eq(source.valid & sink.ready)]


class _MapsInFlight(wiring.Component):
    """Counts the maps whose first transfer has come and whose last result has not gone.

    Members
    -------
    accepted, produced : In(1)
        Whether there is a transfer of a map, and a result, in this cycle.
    none : Out(1)
    full : Out(1)
        Whether no further map may begin now.
    """

    def __init__(self, map_transfers, map_results):
        self._map_transfers, self._map_results = map_transfers, map_results
        super().__init__({"accepted": In(1), "produced": In(1), "none": Out(1), "full": Out(1)})

    def elaborate(self, platform):
        m = Module()
        maps, transfer = Signal(range(_MAX_MAPS + 1)), Signal(range(self._map_transfers))
        result = Signal(range(self._map_results))
        begins, ends = self.accepted & (transfer == 0), self.produced & (result == self._map_results - 1)
        with m.If(self.accepted):
            m.d.sync += transfer.eq(Mux(transfer == self._map_transfers - 1, 0, transfer + 1))
        with m.If(self.produced):
            m.d.sync += result.eq(Mux(ends, 0, result + 1))
        m.d.sync += maps.eq(maps + begins - ends)
        m.d.comb += [self.none.eq(maps == 0), self.full.eq((maps == _MAX_MAPS) & (transfer == 0))]
        return m
