"""Operators without memory whose ports have lanes: inputs for them, and their check as gates."""

import numpy as np

from tests.support import gates
from tests.support.clocked_gates import random_codes


def random_inputs(model, vectors, seed):
    """Return random codes for every port, within its limit."""
    rng = np.random.default_rng(seed)
    return {name: random_codes(port, vectors, rng) for name, port in model.inputs.items()}


def all_inputs(model):
    """Return every combination of the codes that the ports admit, the first port and lane varying fastest."""
    fields = [(name, lane, port.codes) for name, port in model.inputs.items() for lane in range(port.lanes or 1)]
    index = np.arange(np.prod([codes for _, _, codes in fields], dtype=np.int64)).astype(np.uint64)
    columns = {name: [] for name in model.inputs}
    for name, _, codes in fields:
        columns[name].append(index % np.uint64(codes))
        index //= np.uint64(codes)
    return {name: np.stack(columns[name], axis=1) if port.lanes else columns[name][0]
            for name, port in model.inputs.items()}


def joined(model, inputs):
    """Return the inputs with the lanes of each port side by side in one code, the first lane lowest."""
    return {name: inputs[name] if port.lanes is None else
            (inputs[name] << np.arange(0, port.bits, port.width, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
            for name, port in model.inputs.items()}


def expected(model, inputs):
    """Return what the output ``o`` holds, the lanes, if it has any, side by side in one code."""
    codes, port = model.evaluate(inputs)["o"], model.outputs["o"]
    if port.lanes is None:
        return codes
    return (codes << np.arange(0, port.bits, port.width, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)


def assert_same(operator, inputs, got, want):
    """Fail, with examples, unless the codes that an operator gave are those of its reference."""
    wrong = np.flatnonzero(got != want)
    examples = [({name: codes[i].tolist() for name, codes in inputs.items()}, hex(got[i]), hex(want[i]))
                for i in wrong[:5]]
    assert not len(wrong), f"{operator.model}: {len(wrong)} of {len(got)} wrong, (inputs, got, want): {examples}"


def assert_right(operators, folder, inputs_of):
    """Check combinational operators on ``inputs_of(model)``, all through one Yosys process."""
    for operator, circuit in zip(operators, gates.build(operators, folder), strict=True):
        inputs = inputs_of(operator.model)
        assert_same(operator, inputs, circuit.run(**joined(operator.model, inputs)),
                    expected(operator.model, inputs))


def assert_delayed(operators, folder, *, cycles=120, seed=1):
    """Check that pipelines give the right result of every cycle's inputs ``latency`` cycles later."""
    for operator, circuit in zip(operators, gates.build(operators, folder), strict=True):
        inputs, latency = random_inputs(operator.model, cycles, seed), operator.latency
        got = circuit.run(cycles, **joined(operator.model, inputs))[latency:]
        assert_same(operator, inputs, got, expected(operator.model, inputs)[:cycles - latency])
        assert (circuit.register_count > 0) == (latency > 0)


def assert_definition_agrees(model, inputs):
    """Check the vectorised reference against its definition on rationals, call by call."""
    got = model.evaluate(inputs)["o"].tolist()
    calls = zip(*(codes.tolist() for codes in inputs.values()), strict=True)
    wrong = [(codes, answer, model(*codes)) for codes, answer in zip(calls, got, strict=True)
             if model(*codes) != answer]
    assert not wrong, f"{model}: {len(wrong)} of {len(got)} differ, (codes, vectorised, definition): {wrong[:5]}"
