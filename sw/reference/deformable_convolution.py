"""A depthwise deformable 3x3 and a 1x1 convolution in integers, pixels in and pixels out, with their parameters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat
from sw.formats.check import check_boolean, check_integer
from sw.reference.accumulation import FLAG
from sw.reference.accumulator_width import sum_grid
from sw.reference.deformable_run import DeformableRun, check_between_maps
from sw.reference.depthwise_conv import DepthwiseConvolution
from sw.reference.emac import ExactMultiplyAccumulate
from sw.reference.line_buffer import DeformableLineBuffer
from sw.reference.map_stimulus import map_stimulus
from sw.reference.map_windows import MAX_LANES, TAPS
from sw.reference.model import Codes, Function, Port, Stream
from sw.reference.parameter_memory import ParameterMemory
from sw.reference.pointwise_conv import PointwiseConvolution
from sw.reference.requantize import Requantization

INT4, INT8, INT24 = (FixedPointFormat(width=width) for width in (4, 8, 24))

MAX_CHANNELS = 1 << 12


@dataclass(frozen=True, kw_only=True)
class DeformableConvolution:
    """The operator of CoDeNet on whole feature maps: square deformable depthwise 3x3, requantized, then 1x1.

    A transfer of the one input stream is a word of parameters (``load`` is 1) or a group of ``lanes`` channels of one
    pixel (``load`` is 0). Pixels come in raster order, the groups of a pixel's channels one after the other, each with
    its offset, as :class:`sw.reference.line_buffer.DeformableLineBuffer` has it. There is a result for each group of
    ``lanes`` output channels of each position ``(y, x)`` whose coordinates are multiples of ``stride``, in the same
    order; it is caused by the transfer that causes the windows of its position.

    The words of parameters fill the :attr:`memories` in their order, of each memory the rows in order, of each row the
    low bits first; after the last word comes the first one again. A load is legal only between maps. What is loaded
    holds from the next map on; what is not keeps its value, which is zero before the first load. A reset drops the map
    that has begun and makes the next word the first one; it does not touch what has been loaded.

    Parameters
    ----------
    lanes : int
        Channels of a transfer, and of a result: 1 to 64.
    height, width : int
        Rows and columns of a map.
    channels, output_channels : int
        Of the map that comes in, and of the one that goes out: multiples of ``lanes``, at most 4096.
    stride : int
        Rows and columns from one result to the next.
    max_offset : int
        Largest offset.
    deformable : bool
        Whether transfers bring offsets; without them the convolution is an ordinary one.
    activation, weight, accumulator : FixedPointFormat
        Of the pixels, of the weights, and of the sums: signed integers of full range.
    zero_point : int, optional
        Activation that stands for zero: what lies outside a map, and the offset of a requantization. By default the
        least one, as for activations that are not negative.
    relu_depthwise, relu_pointwise : bool
        Whether a ReLU follows the depthwise, and the pointwise convolution.
    requantized : bool
        Whether the results are activations; otherwise they are the sums of the pointwise convolution.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, the channels are no multiple of the lanes, the accumulator
        does not hold every sum, or there is a ReLU where nothing is requantized.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), and the accelerator that its authors released
    (github.com/hqjenny/CoDeNet): int8 activations with a zero point of -128, int4 weights, 24-bit sums, 16-bit scales
    and biases.
    """

    lanes: int
    height: int
    width: int
    channels: int
    output_channels: int
    stride: int = 1
    max_offset: int = 7
    deformable: bool = True
    activation: FixedPointFormat = INT8
    weight: FixedPointFormat = INT4
    accumulator: FixedPointFormat = INT24
    zero_point: int | None = None
    relu_depthwise: bool = False
    relu_pointwise: bool = False
    requantized: bool = True

    def __post_init__(self) -> None:
        check_integer("Lanes", self.lanes)
        if not 1 <= self.lanes <= MAX_LANES:
            raise ValueError(f"Lanes must be between 1 and {MAX_LANES}, not {self.lanes!r}")
        for noun, count in (("Channels", self.channels), ("Output channels", self.output_channels)):
            check_integer(noun, count)
            if not 1 <= count <= MAX_CHANNELS:
                raise ValueError(f"{noun} must be between 1 and {MAX_CHANNELS}, not {count!r}")
            if count % self.lanes:
                raise ValueError(f"{noun} must be a multiple of the {self.lanes} lanes, not {count!r}; add some with "
                                 "weights of zero")
        for noun, fmt in (("Activation", self.activation), ("Weight", self.weight), ("Accumulator", self.accumulator)):
            if not isinstance(fmt, FixedPointFormat):
                raise TypeError(f"{noun} must be a FixedPointFormat, not {fmt!r}")
            if fmt.fraction_bits or not fmt.signed or fmt.narrow_range:
                raise ValueError(f"{noun} must be of signed integers of full range, not {fmt.name}")
        check_integer("Zero point", self.zero)
        if not self.activation.min_integer <= self.zero <= self.activation.max_integer:
            raise ValueError(f"Zero point must be between {self.activation.min_integer} and "
                             f"{self.activation.max_integer}, not {self.zero_point!r}")
        for noun, flag in (("Depthwise ReLU", self.relu_depthwise), ("Pointwise ReLU", self.relu_pointwise),
                           ("Requantized", self.requantized)):
            check_boolean(noun, flag)
        if self.relu_pointwise and not self.requantized:
            raise ValueError("Pointwise ReLU must be False where the sums are not requantized, not True")
        terms = max(len(TAPS), self.channels)
        needed = sum_grid(self.activation, self.weight, terms=terms).width
        if self.accumulator.width < needed:
            raise ValueError(f"Accumulator must have at least {needed} bits for sums of {terms} products of "
                             f"{self.activation.name} and {self.weight.name}, not {self.accumulator.width!r}")
        _ = self.line_buffer, self.depthwise_requantization  # which check the rest

    # What it is made of.

    @property
    def zero(self) -> int:
        """Activation that stands for zero."""
        return self.activation.min_integer if self.zero_point is None else self.zero_point

    @property
    def channel_groups(self) -> int:
        """Transfers of a pixel."""
        return self.channels // self.lanes

    @property
    def output_groups(self) -> int:
        """Results of a position."""
        return self.output_channels // self.lanes

    @property
    def output_height(self) -> int:
        """Rows of the map that goes out."""
        return -(-self.height // self.stride)

    @property
    def output_width(self) -> int:
        """Columns of the map that goes out."""
        return -(-self.width // self.stride)

    @property
    def map_transfers(self) -> int:
        """Transfers of a map that comes in."""
        return self.height * self.width * self.channel_groups

    @property
    def map_results(self) -> int:
        """Results of a map."""
        return self.output_height * self.output_width * self.output_groups

    @cached_property
    def line_buffer(self) -> DeformableLineBuffer:
        """From pixels to windows."""
        return DeformableLineBuffer(
            element=self.activation, lanes=self.lanes, height=self.height, width=self.width,
            channel_groups=self.channel_groups, stride=self.stride, max_offset=self.max_offset,
            padding=self.zero % (1 << self.activation.width), deformable=self.deformable)

    @cached_property
    def depthwise(self) -> DepthwiseConvolution:
        """From the window of a group of channels to its sums."""
        return DepthwiseConvolution(lanes=self.lanes, a=self.activation, b=self.weight, result=self.accumulator)

    @cached_property
    def depthwise_requantization(self) -> Requantization:
        """From those sums to activations."""
        return Requantization(lanes=self.lanes, accumulator=self.accumulator, result=self.activation,
                              offset=self.zero, relu=self.relu_depthwise)

    @cached_property
    def pointwise(self) -> PointwiseConvolution:
        """From the activations of all channels to the sums of a group of output channels."""
        return PointwiseConvolution(output_lanes=self.lanes, cell=ExactMultiplyAccumulate(
            a=self.activation, b=self.weight, result=self.accumulator, terms=self.channels, lanes=self.lanes))

    @cached_property
    def pointwise_requantization(self) -> Requantization | None:
        """From those sums to activations; None if they go out as they are."""
        if not self.requantized:
            return None
        return Requantization(lanes=self.lanes, accumulator=self.accumulator, result=self.activation,
                              offset=self.zero, relu=self.relu_pointwise)

    @cached_property
    def memories(self) -> Mapping[str, ParameterMemory]:
        """Where the parameters are, in the order in which they are loaded.

        ``depthwise`` has a row of ``weights`` for each group of channels, ``depthwise_requantization`` one of ``scale``
        and ``bias``; ``pointwise`` has a row of weights ``b`` for each group of output channels and, within these, of
        channels; ``pointwise_requantization`` a row for each group of output channels, where sums are requantized.
        """
        stages: dict[str, tuple[Function | Stream, tuple[str, ...], int]] = {
            "depthwise": (self.depthwise, ("weights",), self.channel_groups),
            "depthwise_requantization": (self.depthwise_requantization, ("scale", "bias"), self.channel_groups),
            "pointwise": (self.pointwise, ("b",), self.channel_groups * self.output_groups)}
        if self.pointwise_requantization is not None:
            stages["pointwise_requantization"] = (self.pointwise_requantization, ("scale", "bias"), self.output_groups)
        return {name: ParameterMemory(rows=rows, fields=tuple((field, stage.inputs[field]) for field in fields),
                                      word=self.inputs["data"]) for name, (stage, fields, rows) in stages.items()}

    @property
    def parameter_words(self) -> int:
        """Transfers that load all parameters."""
        return sum(memory.words for memory in self.memories.values())

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``load``; ``data``, a group of channels or a word; ``offset``, where there are offsets."""
        return {"load": FLAG, "data": Port.of(self.activation, self.lanes),
                **{name: port for name, port in self.line_buffer.inputs.items() if name == "offset"}}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """``o``, a lane an output channel."""
        return {"o": Port.of(self.activation if self.requantized else self.accumulator, self.lanes)}

    # The definition, one result at a time.

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
        """Return the results that transfers cause after power-up.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to code, or to a sequence of codes where the port has lanes.

        Raises
        ------
        ValueError
            If a load comes within a map.
        """
        words: list[Sequence[int]] = [[0] * self.lanes] * self.parameter_words
        codes, loaded, taken = list[list[int]](), 0, list[Mapping[str, Any]]()
        for transfer in transfers:
            if transfer["load"]:
                check_between_maps(len(taken), self.map_transfers)
                words[loaded] = transfer["data"]
                loaded = (loaded + 1) % len(words)
                continue
            taken.append({**transfer, "pixel": transfer["data"]})
            if len(taken) == self.map_transfers:
                codes += self._results_of_map(words, taken)
                taken = []
        return [*codes, *self._results_of_map(words, taken)]

    def _results_of_map(self, words: Sequence[Sequence[int]], taken: Sequence[Mapping[str, Any]]
                        ) -> Iterator[list[int]]:
        rows, start = {}, 0
        for name, memory in self.memories.items():
            rows[name] = [memory.row(words[start:start + memory.words], index) for index in range(memory.rows)]
            start += memory.words
        windows, groups = self.line_buffer.results(taken), range(self.channel_groups)
        for position in range(0, len(windows), self.channel_groups):
            pixel = []
            for group in groups:
                sums = self.depthwise(windows[position + group], **rows["depthwise"][group])
                pixel.append(self.depthwise_requantization(sums, **rows["depthwise_requantization"][group]))
            for output in range(self.output_groups):
                [sums] = self.pointwise.results(
                    {"a": pixel[group], "first": group == 0, "last": group == groups[-1],
                     **rows["pointwise"][output * self.channel_groups + group]} for group in groups)
                yield sums if self.pointwise_requantization is None else self.pointwise_requantization(
                    sums, **rows["pointwise_requantization"][output])

    # The same for many sequences at once.

    def start(self, sequences: int) -> DeformableRun:
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return DeformableRun(self, sequences)

    def stimulus(self, generator: np.random.Generator, transfers: int, resets: NDArray[np.bool_]) -> dict[str, Codes]:
        """Return random transfers that are legal: parameters, then maps, and now and then parameters in between.

        Parameters
        ----------
        generator : numpy.random.Generator
        transfers : int
            Of each sequence; :attr:`parameter_words` and a few times :attr:`map_transfers` show something of it all.
        resets : bool array of shape ``(transfers, sequences)``
            Whether a reset falls before a transfer.

        Returns
        -------
        dict of field name to codes, ``(transfers, sequences)`` or ``(transfers, sequences, lanes)``
        """
        return map_stimulus(self, generator, transfers, resets)
