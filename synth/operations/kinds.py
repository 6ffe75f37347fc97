"""Every operation: which options it takes, and how they become a reference and a component."""

import dataclasses
import importlib
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from sw.formats import ScalarFormat
from synth.errors import UsageError
from synth.operations.operation import Cancelling, OperationKind
from synth.operations.request import Request

# References and components are imported where they are made: the help of the command line needs neither.

DEFAULT_TERMS = 256
"""Longest sum of an accumulator unless asked otherwise: eight bits above one product."""

DEFAULT_LANES = 4
DEFAULT_CHUNK = 64


def _reference(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"sw.reference.{module}"), name)


def _component(module: str, name: str, *implementation: str) -> Callable[..., Any]:
    """Return a maker of a component that takes what its reference does, and these parameters of the implementation."""
    def make(model: Any, **parameters: Any) -> Any:
        component = getattr(importlib.import_module(f"hw.{module}"), name)
        fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
        return component(**fields, **{key: parameters[key] for key in implementation})
    return make


def _cancelling(name: str) -> Callable[[Any], Cancelling]:
    def make(model: Any) -> Cancelling:
        from synth.operations import cancelling

        maker: Cancelling = getattr(cancelling, name)(model)
        return maker
    return make


def _two_operands(request: Request) -> dict[str, Any]:
    a = request.scalar("fmt")
    return {"a": a, "b": request.scalar("fmt_b", a), "result": request.scalar("out_fmt", a), **request.casting()}


def _multiplication(request: Request) -> Any:
    return _reference("multiply", "Multiplication")(**_two_operands(request))


def _addition(request: Request) -> Any:
    return _reference("add", "Addition")(**_two_operands(request))


def _fused_multiply_add(request: Request) -> Any:
    fields = _two_operands(request)
    return _reference("fused_multiply_add", "FusedMultiplyAdd")(c=request.scalar("fmt_c", fields["a"]), **fields)


def _conversion(request: Request) -> Any:
    request.needed("out_fmt")
    fields = {"a": request.scalar("fmt"), "result": request.scalar("out_fmt"), **request.casting()}
    return _reference("convert", "Conversion")(**fields)


def _exact_multiply_accumulate(request: Request) -> Any:
    a = request.scalar("fmt")
    return _reference("emac", "ExactMultiplyAccumulate")(
        a=a, b=request.scalar("fmt_b", a), result=request.result(a), terms=request.either("terms", DEFAULT_TERMS),
        c=request.optional_scalar("fmt_c"), lanes=request.lanes, accumulator_width=request.accumulator_width,
        **request.casting())


def _dot(request: Request) -> Any:
    a = request.scalar("fmt")
    return _reference("dot", "Dot")(a=a, b=request.scalar("fmt_b", a), result=request.result(a),
                                    lanes=request.either("lanes", DEFAULT_LANES), **request.casting())


def _dot_accumulate(request: Request) -> Any:
    a = request.scalar("fmt")
    return _reference("dot", "DotAccumulate")(
        a=a, b=request.scalar("fmt_b", a), accumulator=request.scalar("accumulator"),
        lanes=request.either("lanes", DEFAULT_LANES), **request.casting())


def _block_dot(request: Request) -> Any:
    a = request.block("fmt")
    result = {} if request.out_fmt is None else {"result": request.scalar("out_fmt")}
    return _reference("block", "BlockDot")(a=a, b=request.block("fmt_b", a), **result, **request.casting())


def _khot_multiplication(request: Request) -> Any:
    x = request.fixed("fmt")
    return _reference("khot", "KHotMultiplication")(
        x=x, hot=request.either("hot", 2), max_shift=request.either("max_shift", x.width - 1),
        result=request.optional_scalar("out_fmt"), **request.casting())


def _name(fmt: ScalarFormat | None) -> str:
    return "exact sum" if fmt is None else fmt.name


def _pair(model: Any) -> str:
    return f"{model.a.name} × {model.b.name}"


_KINDS = (
    OperationKind(
        name="multiply", summary="product of two codes, rounded once", options=("fmt", "fmt_b", "out_fmt"),
        model=_multiplication, component=_component("arith.multiply", "Multiplier", "pipeline", "hard_multiplier"),
        formula=lambda model: f"{_pair(model)} → {model.result.name}"),
    OperationKind(
        name="add", summary="sum of two codes, rounded once", options=("fmt", "fmt_b", "out_fmt"),
        model=_addition, component=_component("arith.add", "Adder", "pipeline"),
        formula=lambda model: f"{model.a.name} + {model.b.name} → {model.result.name}",
        cancelling=_cancelling("cancelling_addends")),
    OperationKind(
        name="fma", summary="product of two codes plus a third, rounded once",
        options=("fmt", "fmt_b", "fmt_c", "out_fmt"), model=_fused_multiply_add,
        component=_component("arith.fused_multiply_add", "FusedMultiplyAdd", "pipeline", "hard_multiplier"),
        formula=lambda model: f"{_pair(model)} + {model.c.name} → {model.result.name}",
        cancelling=_cancelling("cancelling_product")),
    OperationKind(
        name="convert", summary="a code of one format rounded to another", options=("fmt", "out_fmt"),
        model=_conversion, component=_component("convert.converter", "Converter", "pipeline"),
        formula=lambda model: f"{model.a.name} → {model.result.name}"),
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
