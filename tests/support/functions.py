"""Operators without memory against their references: which inputs to try, and how to say what went wrong."""

import numpy as np

from sw.formats import CATALOG, OverflowPolicy, RoundingMode
from tests.support import gates
from tests.support.multipliers import corners

RANDOM_BITS = 2

SMALL = [entry for entry in CATALOG if entry.format.width <= 10
         and (not entry.name.startswith(("int", "uint")) or entry.name in ("int2", "int5", "uint4"))]
"""The entries of the catalog whose pairs are few, and of the many integers three."""


def policies(fmt):
    """Return the overflow policies that apply to a format."""
    applicable = []
    for policy in OverflowPolicy:
        try:
            fmt.check_overflow(policy)
        except ValueError:
            continue
        applicable.append(policy)
    return applicable


def in_all_modes(operator, *formats, random_bits=RANDOM_BITS, **parameters):
    """Return ``operator(*formats, ...)`` for every rounding mode and overflow policy of the last format, the result."""
    return [operator(*formats, rounding=mode, overflow=policy,
                     random_bits=random_bits if mode is RoundingMode.STOCHASTIC else 0, **parameters)
            for mode in RoundingMode for policy in policies(formats[-1])]


def all_inputs(model):
    """Return every combination of input codes, by port; the first port varies fastest."""
    index, place, inputs = np.arange(1 << sum(port.bits for port in model.inputs.values())), 0, {}
    for name, port in model.inputs.items():
        inputs[name] = (index >> place & (1 << port.width) - 1).astype(np.uint64)
        place += port.width
    return inputs


def some_inputs(model, vectors, seed):
    """Return random codes, and as many where each is a corner, a neighbour of another operand's, or its negative."""
    rng = np.random.default_rng(seed)
    inputs = {name: rng.integers(0, 1 << port.width, 2 * vectors, dtype=np.uint64, endpoint=False)
              if port.width < 64 else rng.integers(0, 1 << 64, 2 * vectors, dtype=np.uint64)
              for name, port in model.inputs.items()}
    first = next(iter(inputs))
    for name, port in model.inputs.items():
        points = rng.choice(corners(min(port.width, 62)), vectors).astype(np.uint64)
        near = inputs[first][:vectors] + rng.integers(-2, 3, vectors).astype(np.uint64)
        flipped = near ^ np.uint64(1 << port.width - 1)  # sums cancel
        kinds = rng.integers(0, 3, vectors)
        inputs[name][:vectors] = np.choose(kinds, [points, near, flipped]) & np.uint64((1 << port.width) - 1)
    return inputs


def assert_right(operators, folder, inputs_of):
    """Check combinational operators on ``inputs_of(model)``, all through one Yosys process."""
    for operator, circuit in zip(operators, gates.build(operators, folder), strict=True):
        inputs = inputs_of(operator.model)
        got, want = circuit.run(**inputs), operator.model.evaluate(inputs)["o"]
        wrong = np.flatnonzero(got != want)
        examples = [({name: hex(codes[i]) for name, codes in inputs.items()}, hex(got[i]), hex(want[i]))
                    for i in wrong[:5]]
        assert not len(wrong), (f"{operator.model} {operator.structure}: {len(wrong)} of {len(got)} wrong, "
                                f"(inputs, got, want): {examples}")


def assert_right_on_all(operators, folder):
    """Check every combination of codes of combinational operators, random bits included."""
    assert_right(operators, folder, all_inputs)


def assert_right_on_some(operators, folder, *, vectors, seed):
    """Check ``vectors`` random inputs and as many corners of combinational operators."""
    assert_right(operators, folder, lambda model: some_inputs(model, vectors, seed))


def assert_delayed(operator, folder, *, cycles=200):
    """Check that a pipeline gives the right result of every cycle's inputs ``latency`` cycles later."""
    rng = np.random.default_rng(operator.pipeline)
    inputs = {name: rng.integers(0, 1 << port.width, cycles).astype(np.uint64)
              for name, port in operator.model.inputs.items()}
    circuit, = gates.build([operator], folder)
    got = circuit.run(cycles, **inputs)[operator.latency:]
    want = operator.model.evaluate(inputs)["o"][:cycles - operator.latency]
    wrong = np.flatnonzero(got != want)
    assert not len(wrong), [(cycle, {name: hex(codes[cycle]) for name, codes in inputs.items()}, hex(got[cycle]),
                             hex(want[cycle])) for cycle in wrong[:5]]
    assert (circuit.register_count > 0) == (operator.pipeline > 0)


def assert_scalar_agrees(model, inputs):
    """Check the vectorised reference against its definition on rationals, call by call."""
    got = model.evaluate(inputs)["o"].tolist()
    calls = zip(*(codes.tolist() for codes in inputs.values()), strict=True)
    wrong = [(codes, answer, model(*codes)) for codes, answer in zip(calls, got, strict=True)
             if model(*codes) != answer]
    assert not wrong, f"{model}: {len(wrong)} of {len(got)} differ, (codes, vectorised, definition): {wrong[:5]}"
