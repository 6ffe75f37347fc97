"""What the references of all operations without memory share: exact values in, one cast, arrays of any shape."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat
from sw.reference.cast import Cast
from sw.reference.model import Codes, Function, Port, check_inputs
from sw.reference.value_array import ValueArray, decode_array

BLOCK = 1 << 14
"""Vectors that are worked on at once: their arrays then stay in the cache of a core."""


def check_format(noun: str, fmt: object) -> None:
    """Raise TypeError unless ``fmt`` is a scalar format."""
    if not isinstance(fmt, ScalarFormat):
        mend = f"write sw.formats.parse({fmt!r})" if isinstance(fmt, str) else "sw.formats.parse gives one"
        raise TypeError(f"{noun} must be a scalar format, not {fmt!r}; {mend}")


def operand_ports(cast: Cast, **operands: ScalarFormat) -> dict[str, Port]:
    """Return the input ports of an operation that ends with a cast: its operands, then random bits if it takes any."""
    return {name: Port.of(fmt) for name, fmt in operands.items()} | cast.random_ports


def evaluate_cast(cast: Cast, ports: Mapping[str, Port], inputs: Mapping[str, Codes],
                  exact: Callable[..., ValueArray]) -> dict[str, Codes]:
    """Return the output ``o`` of an operation: ``exact`` of its decoded operands, rounded once.

    Parameters
    ----------
    cast : Cast
    ports : mapping of name to Port
        The input ports, as :func:`operand_ports` gives them.
    inputs : mapping of port name to codes
    exact : callable
        Takes a ValueArray for each operand, in the order of the ports; returns the exact results, or jammed ones.

    Raises
    ------
    TypeError, ValueError
        As :func:`sw.reference.model.check_inputs` does.
    """
    count = check_inputs(ports, inputs)
    codes = np.empty(count, dtype=np.uint64)
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        operands = [decode_array(port.format, inputs[name][block])
                    for name, port in ports.items() if port.format is not None]
        random = inputs["random"][block] if cast.random_bits else None
        codes[block] = cast.codes(exact(*operands), random)
    return {"o": codes}


def call_on_arrays(model: Function, random_bits: int, operands: Mapping[str, NDArray[Any]],
                   random: NDArray[Any] | None) -> NDArray[np.uint64]:
    """Return the output ``o`` for arrays of codes that have one shape, whatever it is.

    Raises
    ------
    TypeError, ValueError
        If an array does not hold integers, a code does not fit, random bits are missing, or the shapes differ.
    """
    if random_bits and random is None:
        raise ValueError("Random bits must be given for stochastic rounding, not None")
    arrays = dict(operands)
    if random_bits and random is not None:
        arrays["random"] = random
    first, *others = arrays
    shape = arrays[first].shape
    for name in others:
        if arrays[name].shape != shape:
            raise ValueError(f"Input {name} must have the shape of input {first}, {shape}, not {arrays[name].shape}")
    return model.evaluate({name: array.ravel() for name, array in arrays.items()})["o"].reshape(shape)
