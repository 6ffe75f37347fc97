"""From a request to the exact reference of an operation on feature maps or streamed weights, one function each."""

import importlib
from enum import StrEnum
from typing import Any

from sw.formats import FixedPointFormat
from synth.errors import UsageError
from synth.operations import models
from synth.operations.request import FLAGS, Request, member

# References are imported where they are made: the help of the command line needs none.

DEFAULT_LANES = 4
DEFAULT_MAP = 8
DEFAULT_OFFSET = 7
DEFAULT_TAPS = 9
DEFAULT_CODE_WIDTHS = "2,3,4,8"

MAPS_OF_A_SEQUENCE = 3
"""Feature maps that each sequence of a check holds at least: one map's end meets the next one's beginning."""

INT4, INT8, INT24 = (FixedPointFormat(width=width) for width in (4, 8, 24))
"""Formats unless asked otherwise: those of CoDeNet."""


class OffsetKind(StrEnum):
    """What is free in a deformable convolution's sampling points."""

    NONE = "none"
    SQUARE = "square"
    BOUNDED = "bounded"


def _reference(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"sw.reference.{module}"), name)


def _offsets(request: Request, allowed: tuple[OffsetKind, ...]) -> OffsetKind:
    kind: OffsetKind = member(OffsetKind, "Kind of offsets", request.either("offsets", OffsetKind.SQUARE.value))
    if kind not in allowed:
        raise UsageError(f"Kind of offsets must be one of {', '.join(allowed)} for {request.op}, not {kind.value!r}")
    if kind is OffsetKind.NONE and request.max_offset is not None:
        raise UsageError(f"Option {FLAGS['max_offset']} must be left out without offsets, not {request.max_offset!r}")
    return kind


def _map(request: Request) -> dict[str, int]:
    return {"lanes": request.either("lanes", DEFAULT_LANES), "height": request.either("height", DEFAULT_MAP),
            "width": request.either("width", DEFAULT_MAP), "stride": request.either("stride", 1)}


def line_buffer(request: Request) -> Any:
    """``line_buffer``: square offsets, none, or independent ones within bounds."""
    kind = _offsets(request, tuple(OffsetKind))
    element = request.scalar("fmt", INT8)
    fields = {"element": element, "channel_groups": request.either("channel_groups", 1),
              "padding": request.either("padding", 0), **_map(request)}
    bound = request.either("max_offset", DEFAULT_OFFSET)
    if kind is OffsetKind.BOUNDED:
        return _reference("bounded_line_buffer", "BoundedLineBuffer")(max_offset=bound, **fields)
    return _reference("line_buffer", "DeformableLineBuffer")(
        max_offset=bound, deformable=kind is OffsetKind.SQUARE, **fields)


def deformable_convolution(request: Request) -> Any:
    """``deformable_conv``: line buffer, depthwise 3x3, requantization, 1x1, requantization."""
    kind = _offsets(request, (OffsetKind.NONE, OffsetKind.SQUARE))
    fields = _map(request)
    channels = request.either("channels", 2 * fields["lanes"])
    return _reference("deformable_convolution", "DeformableConvolution")(
        activation=request.fixed("fmt", INT8), weight=request.fixed("fmt_b", INT4),
        channels=channels, output_channels=request.either("output_channels", channels),
        max_offset=request.either("max_offset", DEFAULT_OFFSET), deformable=kind is OffsetKind.SQUARE, **fields)


def requantization(request: Request) -> Any:
    """``requantize``."""
    formats = {"accumulator": request.fixed("fmt", INT24), "result": request.fixed("out_fmt", INT8)}
    return _reference("requantize", "Requantization")(lanes=request.either("lanes", DEFAULT_LANES), **formats)


def depthwise_convolution(request: Request) -> Any:
    """``depthwise``."""
    return _reference("depthwise_conv", "DepthwiseConvolution")(
        a=request.scalar("fmt", INT8), b=request.scalar("fmt_b", INT4),
        lanes=request.either("lanes", DEFAULT_LANES), taps=request.either("taps", DEFAULT_TAPS),
        result=None if request.out_fmt is None else request.scalar("out_fmt"), **request.casting())


def pointwise_convolution(request: Request) -> Any:
    """``pointwise``: exact accumulators, with as many input as output channels unless asked otherwise."""
    a, lanes = request.scalar("fmt", INT8), request.either("lanes", DEFAULT_LANES)
    cell = _reference("emac", "ExactMultiplyAccumulate")(
        a=a, b=request.scalar("fmt_b", INT4), lanes=lanes, result=request.optional_scalar("out_fmt"),
        terms=request.either("terms", models.DEFAULT_TERMS), **request.casting())
    return _reference("pointwise_conv", "PointwiseConvolution")(
        cell=cell, output_lanes=request.either("output_lanes", lanes))


def sparse_chain(request: Request) -> Any:
    """``sparse_chain``."""
    a = request.scalar("fmt", INT8)
    fields = {name: getattr(request, name) for name in ("length", "block", "vectors", "smallest")
              if getattr(request, name) is not None}
    return _reference("sparse_chain", "SparseDspChain")(a=a, b=request.scalar("fmt_b", a), **fields)


def packed_multiply_accumulate(request: Request) -> Any:
    """``packed_mac``."""
    a = request.fixed("fmt")
    fields = {name: getattr(request, name) for name in ("lanes", "terms") if getattr(request, name) is not None}
    return _reference("packed_mac", "PackedMultiplyAccumulate")(a=a, b=request.fixed("fmt_b", a), **fields)


def block_chain(request: Request) -> Any:
    """``mx_chain``."""
    a = request.block_format("fmt")
    fields = {name: getattr(request, name) for name in ("length", "vectors") if getattr(request, name) is not None}
    if request.out_fmt is not None:
        fields["result"] = request.scalar("out_fmt")
    casting = {name: value for name, value in request.casting().items() if name != "random_bits"}
    return _reference("block_chain", "BlockChain")(a=a, b=request.block_format("fmt_b", a), **fields, **casting)


def square_offset(request: Request) -> Any:
    """``square_offset``."""
    return _reference("square_offset", "SquareOffset")(
        a=request.fixed("fmt", INT8), b=request.fixed("fmt_b", INT4), lanes=request.either("lanes", DEFAULT_LANES),
        terms=request.either("terms", models.DEFAULT_TERMS), max_offset=request.either("max_offset", DEFAULT_OFFSET))


def dequantization(request: Request) -> Any:
    """``dequantize``.

    Raises
    ------
    UsageError
        If the code widths are no list of whole numbers.
    """
    text = request.either("code_widths", DEFAULT_CODE_WIDTHS)
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"Code widths must be whole numbers with commas between them, such as 2,3,4,8, "
                         f"not {text!r}") from None
    return _reference("dequantize", "Dequantization")(
        code_widths=widths, **{} if request.lanes is None else {"lanes": request.lanes})


def whole_maps(model: Any) -> Any:
    """Return the stimulus of a line buffer: any transfers, some maps long."""
    from synth.verify import Stimulus

    return Stimulus(transfers=MAPS_OF_A_SEQUENCE * model.height * model.width * model.channel_groups)


def loaded_maps(model: Any) -> Any:
    """Return the stimulus of a convolution: parameters, then maps."""
    from sw.reference.map_stimulus import map_stimulus
    from synth.verify import Stimulus

    words = sum(memory.words for memory in model.memories.values())
    return Stimulus(transfers=words + MAPS_OF_A_SEQUENCE * model.map_transfers,
                    make=lambda generator, resets: map_stimulus(model, generator, len(resets), resets))
