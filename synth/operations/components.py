# amaranth: UnusedElaboratable=no
# A component that is refused, or whose elaboration fails, was never meant to be used.
"""From an exact reference to the Amaranth component that is checked against it."""

import dataclasses
import importlib
import inspect
from typing import Any

from synth.errors import UsageError

COMPONENTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "Multiplication": ("arith.multiply", "Multiplier", ("pipeline", "hard_multiplier")),
    "Addition": ("arith.add", "Adder", ("pipeline",)),
    "FusedMultiplyAdd": ("arith.fused_multiply_add", "FusedMultiplyAdd", ("pipeline", "hard_multiplier")),
    "Conversion": ("convert.converter", "Converter", ("pipeline",)),
    "StochasticConversion": ("convert.stochastic_converter", "StochasticConverter", ("pipeline",)),
    "MultiplyAccumulate": ("accumulate.fixed", "MultiplyAccumulator", ("pipeline", "hard_multiplier")),
    "ExactMultiplyAccumulate": ("accumulate.exact", "ExactMultiplyAccumulator", ("pipeline", "hard_multiplier")),
    "ChunkedMultiplyAccumulate": ("accumulate.chunked", "ChunkedMultiplyAccumulator",
                                  ("pipeline", "hard_multiplier")),
    "Dot": ("dot.dot_product", "DotProduct", ("pipeline", "hard_multiplier")),
    "DotAccumulate": ("dot.dot_product", "DotAccumulator", ("pipeline", "hard_multiplier")),
    "BlockMultiplyAccumulate": ("accumulate.block", "BlockMultiplyAccumulator", ("pipeline", "hard_multiplier")),
    "BlockDot": ("dot.block_dot_product", "BlockDotProduct", ("pipeline", "hard_multiplier")),
    "KHotMultiplication": ("arith.khot_multiply", "KHotMultiplier", ("pipeline",)),
    "Int4Fp4Dot": ("dot.int4_fp4_dot", "Int4Fp4DotProduct", ("pipeline",)),
    "SystolicArray": ("dot.systolic_array", "SystolicArray", ("pipeline", "hard_multiplier")),
    "DeformableLineBuffer": ("conv.line_buffer", "DeformableLineBuffer", ()),
    "BoundedLineBuffer": ("conv.bounded_line_buffer", "BoundedLineBuffer", ()),
    "DeformableConvolution": ("conv.deformable_conv", "DeformableConv", ("pipeline", "hard_multiplier")),
    "DepthwiseConvolution": ("conv.depthwise_conv", "DepthwiseConv", ("pipeline", "hard_multiplier")),
    "PointwiseConvolution": ("conv.pointwise_conv", "PointwiseConv", ("pipeline", "hard_multiplier")),
    "Requantization": ("conv.requantize", "Requantize", ("pipeline", "hard_multiplier")),
    "SparseDspChain": ("dot.sparse_dsp_chain", "SparseDspChain", ("pipeline", "hard_multiplier")),
    "PackedMultiplyAccumulate": ("dot.packed_mac", "PackedMac", ("hard_multiplier",)),
    "BlockChain": ("dot.block_chain", "BlockChain", ("pipeline", "hard_multiplier")),
    "SquareOffset": ("conv.offset_generator", "SquareOffsetGenerator", ("pipeline", "hard_multiplier")),
    "Dequantization": ("convert.dequantizer", "Dequantizer", ("pipeline",)),
}
"""Module of ``hw``, class, and parameters of the implementation, by the reference's class."""


def component_class(model: Any) -> Any:
    """Return the class of a reference's component."""
    module, name, _ = COMPONENTS[type(model).__name__]
    return getattr(importlib.import_module(f"hw.{module}"), name)


def takes_pipeline(model: Any) -> bool:
    """Whether the component of a reference takes a number of pipeline stages."""
    return "pipeline" in COMPONENTS[type(model).__name__][2]


def component_of(model: Any, *, pipeline: int, hard_multiplier: bool, **further: Any) -> Any:
    """Return the component of a reference: it takes what the reference does, and how it is implemented.

    Raises
    ------
    UsageError
        If hard multipliers are asked for where there is nothing to multiply, or pipeline stages where the component
        has those that it needs.
    TypeError, ValueError
        As the component.
    """
    _, name, implementation = COMPONENTS[type(model).__name__]
    if hard_multiplier and "hard_multiplier" not in implementation:
        raise UsageError(f"Option --dsp must be left out for {name}, which has no multiplier, not given")
    if pipeline and "pipeline" not in implementation:
        raise UsageError(f"Option --pipeline must be left out for {name}, whose registers follow from its structure, "
                         f"not {pipeline!r}")
    component = component_class(model)
    taken = inspect.signature(component).parameters
    for option, value in further.items():
        if option not in taken:
            raise UsageError(f"Option --{option.replace('_', '-')} must be left out for {name}, not {value!r}")
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    chosen = {"pipeline": pipeline, "hard_multiplier": hard_multiplier}
    return component(**fields, **{key: chosen[key] for key in implementation}, **further)
