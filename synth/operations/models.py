"""From a request to the exact reference of an operation, one function each."""

import dataclasses
import importlib
from typing import Any

from sw.formats import FixedPointFormat, parse
from synth.errors import UsageError
from synth.operations.request import FLAGS, Request

# References are imported where they are made: the help of the command line needs none.

DEFAULT_TERMS = 256
"""Longest sum of an accumulator unless asked otherwise: eight bits above one product."""

DEFAULT_LANES = 4
DEFAULT_CHUNK = 64
DEFAULT_SIZE = 4
DEFAULT_HOT = 2

DEFAULT_CHUNK_FORMAT = "float16_e6m9"
"""1-6-9 as IEEE 754 would have it (Wang et al. 2018 accumulate in 1-6-9)."""

_REGISTER_OPTIONS = ("fmt_c", "out_fmt", "terms")
"""What only an accumulator with a register of its own takes."""

MIN_LFSR_BITS = 2
LFSR = "lfsr"
RANDOM_SOURCES = ("port", LFSR)


def _reference(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"sw.reference.{module}"), name)


def _two_operands(request: Request) -> dict[str, Any]:
    a = request.scalar("fmt")
    return {"a": a, "b": request.scalar("fmt_b", a), "result": request.scalar("out_fmt", a), **request.casting()}


def multiplication(request: Request) -> Any:
    """``multiply``."""
    return _reference("multiply", "Multiplication")(**_two_operands(request))


def addition(request: Request) -> Any:
    """``add``."""
    return _reference("add", "Addition")(**_two_operands(request))


def fused_multiply_add(request: Request) -> Any:
    """``fma``."""
    fields = _two_operands(request)
    return _reference("fused_multiply_add", "FusedMultiplyAdd")(c=request.scalar("fmt_c", fields["a"]), **fields)


def _has_lfsr(request: Request) -> bool:
    """Whether random bits come from a shift register of the circuit's own.

    Raises
    ------
    UsageError
        If there is no such source, or nothing is rounded stochastically.
    """
    source = request.either("random_source", RANDOM_SOURCES[0])
    if source not in RANDOM_SOURCES:
        raise UsageError(f"Random source must be one of {', '.join(RANDOM_SOURCES)}, not {source!r}")
    if source == LFSR and not request.casting()["random_bits"]:
        raise UsageError(f"Random source must be left out unless --rounding is stochastic, not {source!r} with "
                         f"{request.rounding!r}")
    return source == LFSR


def conversion(request: Request) -> Any:
    """``convert``, with random bits from a port or a shift register."""
    request.needed("out_fmt")
    fields = {"a": request.scalar("fmt"), "result": request.scalar("out_fmt"), **request.casting()}
    if _has_lfsr(request):
        fields.pop("rounding")
        return _reference("stochastic_convert", "StochasticConversion")(**fields)
    return _reference("convert", "Conversion")(**fields)


def multiply_accumulate(request: Request) -> Any:
    """``mac`` in fixed point, and the cell of an array."""
    a = request.fixed("fmt")
    accumulator = None if request.accumulator is None else request.fixed("accumulator")
    terms = DEFAULT_TERMS if request.terms is None and accumulator is None else request.terms
    return _reference("mac", "MultiplyAccumulate")(
        a=a, b=request.fixed("fmt_b", a), result=request.fixed("out_fmt", a), terms=terms, accumulator=accumulator,
        c=None if request.fmt_c is None else request.fixed("fmt_c"), **request.casting())


def accumulation(request: Request) -> Any:
    """``mac``: a fixed-point register that takes a stream of pairs, or where a format is none, an accumulator's step.

    A register of fixed point adds exactly and is cast at the end; one of another kind rounds each sum, so that its
    whole arithmetic is one function: a pair and the sum so far to the next one.
    """
    a = request.scalar("fmt")
    b, accumulator = request.scalar("fmt_b", a), request.optional_scalar("accumulator")
    if all(isinstance(fmt, FixedPointFormat) for fmt in (a, b, accumulator or a)):
        return multiply_accumulate(request)
    accumulator = accumulator or a
    for option in _REGISTER_OPTIONS:
        if getattr(request, option) is not None:
            raise UsageError(f"Option {FLAGS[option]} must be left out for mac in {accumulator.name}, which adds one "
                             f"product to a sum and rounds, not {getattr(request, option)!r}")
    return _reference("fused_multiply_add", "FusedMultiplyAdd")(
        a=a, b=b, c=accumulator, result=accumulator, **request.casting())


def exact_multiply_accumulate(request: Request) -> Any:
    """``emac``."""
    a = request.scalar("fmt")
    return _reference("emac", "ExactMultiplyAccumulate")(
        a=a, b=request.scalar("fmt_b", a), result=request.result(a), terms=request.either("terms", DEFAULT_TERMS),
        c=request.optional_scalar("fmt_c"), lanes=request.lanes, accumulator_width=request.accumulator_width,
        **request.casting())


def chunked_multiply_accumulate(request: Request) -> Any:
    """``chunked_mac``; in an array, random bits come from the transfers."""
    a = request.scalar("fmt")
    model = _reference("chunked", "ChunkedMultiplyAccumulate")(
        a=a, b=request.scalar("fmt_b", a), accumulator=request.scalar("accumulator", parse(DEFAULT_CHUNK_FORMAT)),
        chunk=request.either("chunk", DEFAULT_CHUNK), result=request.optional_scalar("out_fmt"), **request.casting())
    if request.mac is not None or not _has_lfsr(request):
        return model
    # Wide enough for every rounding that a transfer may make.
    bits = sum(port.width for name, port in model.inputs.items() if name.startswith("random"))
    return dataclasses.replace(model, lfsr_bits=max(bits, MIN_LFSR_BITS))


def dot(request: Request) -> Any:
    """``dot``."""
    a = request.scalar("fmt")
    return _reference("dot", "Dot")(a=a, b=request.scalar("fmt_b", a), result=request.result(a),
                                    lanes=request.either("lanes", DEFAULT_LANES), **request.casting())


def dot_accumulate(request: Request) -> Any:
    """``dot_accumulate``."""
    a = request.scalar("fmt")
    request.needed("accumulator")
    accumulator, c = request.scalar("accumulator"), request.optional_scalar("fmt_c")
    if c is not None and c != accumulator:
        raise UsageError(f"Format of --fmt-c must be that of the accumulator, {accumulator.name}, from whose codes a "
                         f"sum starts, not {c.name!r}")
    return _reference("dot", "DotAccumulate")(
        a=a, b=request.scalar("fmt_b", a), accumulator=accumulator, preload=c is not None,
        lanes=request.either("lanes", DEFAULT_LANES), **request.casting())


def block_dot(request: Request) -> Any:
    """``mx_dot``."""
    a = request.block_format("fmt")
    result = {} if request.out_fmt is None else {"result": request.scalar("out_fmt")}
    return _reference("block", "BlockDot")(a=a, b=request.block_format("fmt_b", a), **result, **request.casting())


def block_multiply_accumulate(request: Request) -> Any:
    """``block_mac``."""
    a = request.block_format("fmt")
    return _reference("block_accumulate", "BlockMultiplyAccumulate")(
        a=a, b=request.block_format("fmt_b", a), result=request.result(parse("float32")),
        terms=request.either("terms", DEFAULT_TERMS), accumulator_width=request.accumulator_width, **request.casting())


def khot_multiplication(request: Request) -> Any:
    """``khot_multiply``."""
    x = request.fixed("fmt")
    return _reference("khot", "KHotMultiplication")(
        x=x, hot=request.either("hot", DEFAULT_HOT), max_shift=request.either("max_shift", x.width - 1),
        result=request.optional_scalar("out_fmt"), **request.casting())


def int4_fp4_dot(request: Request) -> Any:
    """``int4_fp4_dot``."""
    result = {} if request.out_fmt is None else {"result": request.scalar("out_fmt")}
    return _reference("int4_fp4", "Int4Fp4Dot")(lanes=request.either("lanes", DEFAULT_LANES), **result,
                                                **request.casting())


CELLS = {"mac": multiply_accumulate, "emac": exact_multiply_accumulate, "chunked_mac": chunked_multiply_accumulate}
"""Accumulators that an array can be made of, by the name of their operation."""

CELL_OPTIONS = {
    "mac": ("fmt", "fmt_b", "fmt_c", "out_fmt", "terms", "accumulator"),
    "emac": ("fmt", "fmt_b", "fmt_c", "out_fmt", "terms", "accumulator_width"),
    "chunked_mac": ("fmt", "fmt_b", "out_fmt", "accumulator", "chunk"),
}
"""Options of each of them."""


def systolic_array(request: Request) -> Any:
    """``systolic``."""
    name = request.either("mac", "mac")
    if name not in CELLS:
        raise UsageError(f"Accumulator of --mac must be one of {', '.join(CELLS)}, not {name!r}")
    for option, flag in FLAGS.items():
        if getattr(request, option) is not None and option not in (*CELL_OPTIONS[name], "mac", "size", "random_source"):
            raise UsageError(f"Option {flag} must be left out for an array of {name}, not {getattr(request, option)!r}")
    cell, size = CELLS[name](request), request.either("size", DEFAULT_SIZE)
    # Wide enough for as many seeds as there are columns.
    bits = max(cell.random_bits, MIN_LFSR_BITS, size.bit_length()) if _has_lfsr(request) else None
    return _reference("systolic", "SystolicArray")(cell=cell, size=size, lfsr_bits=bits)
