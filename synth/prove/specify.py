"""From an exact reference to the terms that say the same, for the references that have such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sw.formats import FixedPointFormat, FloatingPointFormat, ScalarFormat
from sw.reference import Addition, Conversion, FusedMultiplyAdd, Multiplication
from sw.reference.cast import Cast
from sw.reference.dot import Dot
from synth.errors import UsageError
from synth.prove.fixed_arithmetic import Integer, fixed_specification, fixed_value, product_of, sum_of
from synth.prove.float_arithmetic import FloatOperation, float_specification
from synth.prove.specification import Specification
from synth.prove.terms import Term, bits, extract, negate, resized, variable

__all__ = ["PROVABLE", "specify"]

PROVABLE = ("multiply, add, fma and convert of floating-point or of fixed-point formats, dot and mac of fixed-point "
            "formats")
"""What can be proved, for messages."""

_FLOAT_NAMES = {Multiplication: "fp.mul", Addition: "fp.add", FusedMultiplyAdd: "fp.fma", Conversion: None}


def specify(model: Any) -> Specification:
    """Return the terms of an operation without memory.

    Raises
    ------
    UsageError
        If the operation, a format or the rounding mode has no such terms.
    """
    if type(model) not in _FIXED or model.result is None:
        raise UsageError(f"Operation must be one of {PROVABLE} to be proved, not {type(model).__name__}"
                         f"{'' if type(model) not in _FIXED else ' without a result format'}; without --prove it is "
                         "run against the exact reference")
    operands = {name: port.format for name, port in model.inputs.items() if port.format is not None}
    formats: list[ScalarFormat] = [*operands.values(), model.result]
    if all(isinstance(fmt, FixedPointFormat) for fmt in formats):
        inputs = {name: variable(f"in_{name}", bits(port.bits)) for name, port in model.inputs.items()}
        cast = Cast(result=model.result, rounding=model.rounding, overflow=model.overflow,
                    random_bits=model.random_bits)
        return fixed_specification(_FIXED[type(model)](model, inputs), inputs, cast)
    if type(model) in _FLOAT_NAMES and all(isinstance(fmt, FloatingPointFormat) for fmt in formats):
        return float_specification(_float_operation(model, operands))
    other = next((fmt for fmt in formats if not isinstance(fmt, (FixedPointFormat, FloatingPointFormat))), None)
    what = f"not have {other.name}" if other is not None else f"not mix families in {type(model).__name__}"
    raise UsageError(f"Formats must be all floating point, or all fixed point, to be proved, {what}; without --prove "
                     "it is run against the exact reference")


def _float_operation(model: Any, operands: dict[str, Any]) -> FloatOperation:
    name = _FLOAT_NAMES[type(model)]
    if getattr(model, "subtract", False):
        name = "fp.sub"
    return FloatOperation(name=name, operands=tuple(operands.items()), result=model.result, rounding=model.rounding,
                          overflow=model.overflow)


def _value(model: Any, inputs: dict[str, Term], name: str) -> Integer:
    return fixed_value(getattr(model, name), inputs[name])


def _fixed_product(model: Any, inputs: dict[str, Term]) -> Integer:
    return product_of(_value(model, inputs, "a"), _value(model, inputs, "b"))


def _fixed_sum(model: Any, inputs: dict[str, Term]) -> Integer:
    a, b = (_value(model, inputs, name) for name in "ab")
    if model.subtract:
        b = Integer(negate(resized(b.term, b.width + 1, signed=True)), b.exponent)
    return sum_of([a, b])


def _fixed_fused(model: Any, inputs: dict[str, Term]) -> Integer:
    return sum_of([_fixed_product(model, inputs), _value(model, inputs, "c")])


def _fixed_conversion(model: Any, inputs: dict[str, Term]) -> Integer:
    return _value(model, inputs, "a")


def _fixed_dot(model: Any, inputs: dict[str, Term]) -> Integer:
    products = []
    for lane in range(model.lanes):
        a, b = (fixed_value(fmt, extract(inputs[name], (lane + 1) * fmt.width - 1, lane * fmt.width))
                for name, fmt in (("a", model.a), ("b", model.b)))
        products.append(product_of(a, b))
    return sum_of(products)


_FIXED: dict[type, Callable[[Any, dict[str, Term]], Integer]] = {
    Multiplication: _fixed_product, Addition: _fixed_sum, FusedMultiplyAdd: _fixed_fused,
    Conversion: _fixed_conversion, Dot: _fixed_dot}
