"""Operands that nearly cancel: where a sum loses its leading digits, and every bit below them comes to light."""

from dataclasses import replace
from typing import Any

import numpy as np

from sw.formats import ScalarFormat
from sw.reference.cast import Cast
from sw.reference.model import Codes, Port
from sw.reference.value_array import ValueArray, decode_array, multiply_arrays
from synth.operations.operation import Cancelling
from synth.verify.vectors import random_codes, random_corners


def cancelling_addends(model: Any) -> Cancelling:
    """Return a maker of operands of a sum ``a ± b``: ``b`` is the code nearest to what makes zero, or a neighbour."""
    def make(generator: np.random.Generator, count: int) -> dict[str, Codes]:
        a = _mixed(Port.of(model.a), generator, count)
        inputs = {"a": a, "b": _opposite(decode_array(model.a, a), model.b, generator, negate=not model.subtract)}
        return inputs | _rest(model, inputs, generator, count)
    return make


def cancelling_product(model: Any) -> Cancelling:
    """Return a maker of operands of ``a * b + c``: ``c`` is the code nearest to ``-a * b``, or a neighbour."""
    def make(generator: np.random.Generator, count: int) -> dict[str, Codes]:
        a, b = (_mixed(Port.of(fmt), generator, count) for fmt in (model.a, model.b))
        exact = multiply_arrays(decode_array(model.a, a), decode_array(model.b, b))
        inputs = {"a": a, "b": b, "c": _opposite(exact, model.c, generator, negate=True)}
        return inputs | _rest(model, inputs, generator, count)
    return make


def cancelling_lanes(model: Any) -> Cancelling:
    """Return a maker of operands of a dot product: every second lane undoes the one before, but for one lane."""
    a_format, b_format = (getattr(fmt, "element", fmt) for fmt in (model.a, model.b))

    def make(generator: np.random.Generator, count: int) -> dict[str, Codes]:
        ports = model.inputs
        a, b = (_mixed(ports[name], generator, count) for name in ("a", "b"))
        lanes = a.shape[1]
        for lane in range(1, lanes, 2):
            a[:, lane] = a[:, lane - 1]
            b[:, lane] = _opposite(decode_array(b_format, b[:, lane - 1]), b_format, generator, negate=True)
        odd = generator.integers(0, lanes, count)
        a[np.arange(count), odd] = random_codes(Port.of(a_format), generator, count)
        inputs = {"a": a, "b": b}
        return inputs | _rest(model, inputs, generator, count)
    return make


def _mixed(port: Port, generator: np.random.Generator, count: int) -> Codes:
    """Return codes of which half are corners."""
    codes, corners = random_codes(port, generator, count), random_corners(port, generator, count)
    chosen = generator.random(count) < 0.5
    codes[chosen] = corners[chosen]
    return codes


def _opposite(values: ValueArray, fmt: ScalarFormat, generator: np.random.Generator, *, negate: bool) -> Codes:
    """Return the codes nearest to the values, or to their negatives; half of them one code beside."""
    values = replace(values, negative=~values.negative & ~values.nan) if negate else values
    codes = Cast(result=fmt).codes(values)
    steps = generator.choice(np.array([0, 0, 1, (1 << fmt.width) - 1], dtype=np.uint64), len(codes))
    beside: Codes = (codes + steps) & np.uint64((1 << fmt.width) - 1)
    return beside


def _rest(model: Any, inputs: dict[str, Codes], generator: np.random.Generator, count: int) -> dict[str, Codes]:
    """Return random codes of the ports that are left."""
    return {name: random_codes(port, generator, count) for name, port in model.inputs.items() if name not in inputs}
