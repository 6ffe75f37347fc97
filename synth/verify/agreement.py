"""The check that everything else leans on: a mapped netlist against the exact reference and the torch quantizer."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from sw.formats import ScalarFormat, Special, is_zero
from sw.reference.model import Function, Stream
from synth.verify.functions import Expectation, Report, check_function, silent
from synth.verify.streams import check_stream
from synth.verify.transfers import Stimulus, Transfers, stream_transfers
from synth.verify.vectors import Inputs, function_vectors

Json = dict[str, Any]

Expected: TypeAlias = Expectation | Transfers
"""What a circuit without memory has to answer, or one with streams."""


def expect(model: Function | Stream, *, seed: int, exhaustive_bits: int, samples: int,
           cancelling: Callable[[np.random.Generator, int], Inputs] | None = None,
           stimulus: Stimulus | None = None) -> Expected:
    """Choose the inputs of a circuit and let its reference answer them.

    Parameters
    ----------
    model : Function or Stream
    seed : int
        Of everything that is picked at random.
    exhaustive_bits : int
        Operand bits up to which every combination is run.
    samples : int
        Random vectors, where not every combination is run; transfers of a stream operation.
    cancelling : callable, optional
        Returns operands whose sum loses its leading digits.
    stimulus : Stimulus, optional
        What the transfers of a stream operation have to look like where not any will do.
    """
    if isinstance(model, Stream):
        return stream_transfers(model, seed=seed, samples=samples, stimulus=stimulus)
    return Expectation(model, function_vectors(model, seed=seed, exhaustive_bits=exhaustive_bits, samples=samples,
                                               cancelling=cancelling))


def check(netlist: Mapping[str, Any], expected: Expected, *, latency: int, seed: int, interval: int | None = 1,
          report: Report = silent, engine: str = "auto") -> Json:
    """Run a mapped netlist on all inputs and count the answers that differ.

    ``report`` is told of the part that is done, from 0 to 1. ``engine`` names what runs the netlist, one of
    :data:`synth.netlist.make.ENGINES`.

    Returns
    -------
    dict
        As :func:`synth.verify.functions.check_function` and :func:`synth.verify.streams.check_stream` say.

    Raises
    ------
    NetlistError
        If the netlist holds something that cannot be run.
    """
    if isinstance(expected, Transfers):
        return check_stream(netlist, expected, latency=latency, interval=interval, seed=seed, report=report,
                            engine=engine)
    return check_function(netlist, expected, latency=latency, report=report, engine=engine)


def describe_value(fmt: ScalarFormat | None, code: int) -> str:
    """Write a code and its value, for a message about a mismatch; plain bits as a number."""
    if fmt is None:
        return str(code)
    value = fmt.decode(code)
    text = value.value if isinstance(value, Special) else f"{float(value):g}"
    return f"0x{code:0{-(-fmt.width // 4)}x} ({'0' if value == 0 or (is_zero(value) and text == '0') else text})"
