"""Every operation, by the name that the command line knows it by."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from sw.formats import ScalarFormat
from synth.errors import UsageError
from synth.operations import dataflow, models
from synth.operations.operation import Cancelling, OperationKind


def _cancelling(name: str) -> Callable[[Any], Cancelling | None]:
    def make(model: Any) -> Cancelling:
        from synth.operations import cancelling

        maker: Cancelling = getattr(cancelling, name)(model)
        return maker
    return make


def _name(fmt: ScalarFormat | None) -> str:
    return "the exact sum" if fmt is None else fmt.name


def _pair(model: Any) -> str:
    return f"{model.a.name} × {model.b.name}"


def _map(model: Any) -> str:
    """Describe the maps of an operation in front of which there is a line buffer."""
    offsets = f"offsets up to {model.max_offset}" if getattr(model, "deformable", True) else "no offsets"
    stride = f", stride {model.stride}" if model.stride > 1 else ""
    return f"{model.height} × {model.width} maps, {model.lanes} channels side by side, {offsets}{stride}"


def _conversion(model: Any) -> str:
    source = " by a shift register's random bits" if hasattr(model, "lfsr_bits") else ""
    return f"{model.a.name} → {model.result.name}{source}"


def _has_register(model: Any) -> bool:
    """Whether a ``mac`` keeps its sum; otherwise it is one step, and is given the sum."""
    return hasattr(model, "accumulator")


def _accumulation(model: Any) -> str:
    if _has_register(model):
        return f"sum of {_pair(model)} in {model.accumulator.name} → {model.result.name}"
    return f"{_pair(model)} + {model.c.name}, the sum so far → {model.result.name}"


_KINDS = (
    OperationKind(
        name="multiply", summary="product of two codes, rounded once", options=("fmt", "fmt_b", "out_fmt"),
        model=models.multiplication, formula=lambda model: f"{_pair(model)} → {model.result.name}"),
    OperationKind(
        name="add", summary="sum of two codes, rounded once", options=("fmt", "fmt_b", "out_fmt"),
        model=models.addition, formula=lambda model: f"{model.a.name} + {model.b.name} → {model.result.name}",
        cancelling=_cancelling("cancelling_addends")),
    OperationKind(
        name="fma", summary="product of two codes plus a third, rounded once",
        options=("fmt", "fmt_b", "fmt_c", "out_fmt"), model=models.fused_multiply_add,
        formula=lambda model: f"{_pair(model)} + {model.c.name} → {model.result.name}",
        cancelling=_cancelling("cancelling_product")),
    OperationKind(
        name="convert", summary="a code of one format rounded to another",
        options=("fmt", "out_fmt", "random_source"), model=models.conversion, formula=_conversion),
    OperationKind(
        name="mac", summary="fixed-point multiply-accumulate, cast at the end; a float's step, rounded",
        options=models.CELL_OPTIONS["mac"], model=models.accumulation, formula=_accumulation,
        cancelling=lambda model: None if _has_register(model) else _cancelling("cancelling_product")(model)),
    OperationKind(
        name="emac", summary="exact multiply-accumulate (Kulisch, quire), rounded once at the end",
        options=(*models.CELL_OPTIONS["emac"], "lanes"), model=models.exact_multiply_accumulate,
        formula=lambda model: f"sum of {model.terms} {_pair(model)} in {model.width} bits → "
                              f"{_name(model.result)}"),
    OperationKind(
        name="chunked_mac", summary="multiply-accumulate in a narrow format, chunk by chunk",
        options=(*models.CELL_OPTIONS["chunked_mac"], "random_source"), model=models.chunked_multiply_accumulate,
        formula=lambda model: f"sum of {_pair(model)} in {model.accumulator.name}, chunks of {model.chunk} → "
                              f"{(model.result or model.accumulator).name}"),
    OperationKind(
        name="dot", summary="dot product of lanes, rounded once", options=("fmt", "fmt_b", "out_fmt", "lanes"),
        model=models.dot, formula=lambda model: f"{model.lanes} {_pair(model)} → {_name(model.result)}",
        cancelling=_cancelling("cancelling_lanes")),
    OperationKind(
        name="dot_accumulate", summary="dot products of lanes added to a rounded accumulator",
        options=("fmt", "fmt_b", "fmt_c", "accumulator", "lanes"), model=models.dot_accumulate,
        formula=lambda model: f"sum of {model.lanes} {_pair(model)} in {model.accumulator.name}"),
    OperationKind(
        name="mx_dot", summary="dot product of two blocks with shared scales, rounded once",
        options=("fmt", "fmt_b", "out_fmt"), model=models.block_dot,
        formula=lambda model: f"{model.a.block_size} {_pair(model)} → {model.result.name}",
        cancelling=_cancelling("cancelling_lanes")),
    OperationKind(
        name="block_mac", summary="exact sums of dot products of blocks, rounded once at the end",
        options=("fmt", "fmt_b", "out_fmt", "terms", "accumulator_width"), model=models.block_multiply_accumulate,
        formula=lambda model: f"sum of {model.terms} blocks of {model.a.block_size} {_pair(model)} in {model.width} "
                              f"bits → {_name(model.result)}"),
    OperationKind(
        name="khot_multiply", summary="product by at most K signed powers of two, without a multiplier",
        options=("fmt", "out_fmt", "hot", "max_shift"), model=models.khot_multiplication,
        formula=lambda model: f"{model.x.name} × {model.hot} signed powers of two up to 2^{model.max_shift} → "
                              f"{(model.result or model.exact).name}"),
    OperationKind(
        name="int4_fp4_dot", summary="dot product of INT4 weights and radix-4 FP4 gradients, rounded once",
        options=("out_fmt", "lanes"), model=models.int4_fp4_dot,
        formula=lambda model: f"{model.lanes} int4 × radix-4 FP4 → {model.result.name}"),
    OperationKind(
        name="systolic", summary="output-stationary array of accumulators with rounding units",
        options=("size", "mac", "random_source", *dict.fromkeys(option for options in models.CELL_OPTIONS.values()
                                               for option in options)),
        model=models.systolic_array,
        formula=lambda model: f"{model.size} × {model.size} of {type(model.cell).__name__} of {_pair(model.cell)} → "
                              f"{_name(next(iter(model.outputs.values())).format)}"),
    OperationKind(
        name="line_buffer", summary="image lines in front of a deformable 3x3 convolution: nine samples a position",
        options=("fmt", "lanes", "height", "width", "channel_groups", "stride", "offsets", "max_offset", "padding",
                 "rows", "depth", "read_ports"), rounded=False,
        model=dataflow.line_buffer, formula=lambda model: f"{model.element.name}, {_map(model)}",
        stimulus=dataflow.whole_maps, implementation=("rows", "depth", "read_ports")),
    OperationKind(
        name="deformable_conv", summary="deformable depthwise 3x3 and 1x1 convolution of whole feature maps",
        options=("fmt", "fmt_b", "lanes", "height", "width", "channels", "output_channels", "stride", "offsets",
                 "max_offset", "read_ports", "packed"), rounded=False,
        model=dataflow.deformable_convolution,
        formula=lambda model: f"{model.channels} → {model.output_channels} channels of {model.activation.name} × "
                              f"{model.weight.name}, {_map(model)}",
        stimulus=dataflow.loaded_maps, implementation=("read_ports", "packed")),
    OperationKind(
        name="depthwise", summary="a tap for each of a window's samples, channel by channel",
        options=("fmt", "fmt_b", "out_fmt", "lanes", "taps"), model=dataflow.depthwise_convolution,
        formula=lambda model: f"{model.lanes} × {model.taps} {_pair(model)} → {_name(model.result)}"),
    OperationKind(
        name="pointwise", summary="1x1 convolution: accumulators that share their activations",
        options=("fmt", "fmt_b", "out_fmt", "lanes", "output_lanes", "terms", "packed"),
        implementation=("packed",), model=dataflow.pointwise_convolution,
        formula=lambda model: f"{model.input_lanes} × {model.output_lanes} {_pair(model.cell)} → "
                              f"{_name(model.cell.result)}"),
    OperationKind(
        name="requantize", summary="sums scaled, biased and clamped to activations",
        options=("fmt", "out_fmt", "lanes"), rounded=False, model=dataflow.requantization,
        formula=lambda model: f"{model.lanes} {model.accumulator.name} × {model.scale_bits}-bit scale → "
                              f"{model.result.name}"),
    OperationKind(
        name="sparse_chain", summary="dot products of N:M sparse blocks, N chosen at run time, no multiplier idle",
        rounded=False, options=("fmt", "fmt_b", "length", "block", "vectors", "smallest", "cascade"),
        implementation=("cascade",), model=dataflow.sparse_chain,
        formula=lambda model: f"{model.length} multipliers of {_pair(model)} for {model.vectors} vectors, "
                              f"N from {model.smallest} of {model.block}"),
    OperationKind(
        name="packed_mac", summary="several sums on one multiplier: operands side by side that share another one",
        options=("fmt", "fmt_b", "lanes", "terms"), rounded=False, model=dataflow.packed_multiply_accumulate,
        formula=lambda model: f"{model.lanes} sums of {model.terms} {_pair(model)}, {model.spacing} bits apart"),
    OperationKind(
        name="mx_chain", summary="dot products of vectors with several blocks of weights, each rounded once",
        options=("fmt", "fmt_b", "out_fmt", "length", "vectors"), model=dataflow.block_chain,
        formula=lambda model: f"{model.vectors} × {model.blocks} blocks of {_pair(model)} → {model.result.name}"),
    OperationKind(
        name="square_offset", summary="1x1 convolution to one offset a position, rounded and clamped",
        options=("fmt", "fmt_b", "lanes", "terms", "max_offset"), rounded=False, model=dataflow.square_offset,
        formula=lambda model: f"{model.lanes} {_pair(model)}, sums of {model.terms} → 0 to {model.max_offset}"),
    OperationKind(
        name="dequantize", summary="narrow weight codes with a zero point, unpacked to int8",
        rounded=False, options=("lanes", "code_widths"), model=dataflow.dequantization,
        formula=lambda model: f"{model.lanes} codes of {', '.join(map(str, model.code_widths))} bits → int8"),
)

OPERATIONS = {kind.name: kind for kind in _KINDS}


def find_operation(name: str) -> OperationKind:
    """Return the operation with this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in OPERATIONS:
        close = get_close_matches(name.lower(), OPERATIONS, n=1)
        mend = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"Operation must be one of {', '.join(OPERATIONS)}, not {name!r}{mend}")
    return OPERATIONS[name]
