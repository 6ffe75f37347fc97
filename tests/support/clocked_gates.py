"""Components between two streams, run as gates: many sequences at once, with random stalls and resets.

One bit of a uint64 word is one sequence, which has stalls and resets of its own. The reference takes the transfers that
the gates accept, in the same cycles, and what it answers is what has to come out, in this order.
"""

import numpy as np

from hw.accumulate.streamed import input_layout
from tests.support.gates import _pack


class ClockedGates:
    """A :class:`tests.support.gates.Gates` with registers that start at zero, for ``lanes`` independent runs."""

    def __init__(self, gates, lanes):
        self._gates, self._lanes, self._words = gates, lanes, -(-lanes // 64)
        self._state = {q: np.zeros(self._words, np.uint64) for _, q in gates._registers}
        self._wires = None

    def settle(self, planes):
        """Let the gates settle for the bits of the inputs: port name to packed words, one a bit."""
        wires = self._gates._constants(self._words) | self._state
        for name, bits in self._gates._inputs.items():
            for bit, plane in zip(bits, planes.get(name, [wires["0"]] * len(bits)), strict=True):
                wires[bit] = plane
        self._gates._settle(wires)
        self._wires = wires

    def bits(self, port):
        """Return an output as a bool array, (lanes, bits)."""
        planes = [np.unpackbits(self._wires[bit].view(np.uint8), bitorder="little")[:self._lanes]
                  for bit in self._gates._outputs[port]]
        return np.array(planes, dtype=bool).T

    def clock(self):
        """Take one rising edge."""
        self._state = {q: self._wires[d] for d, q in self._gates._registers}


def random_codes(port, count, rng):
    """Return random codes for a port, ``(count,)`` or ``(count, lanes)``."""
    shape = (count,) if port.lanes is None else (count, port.lanes)
    if port.width <= 62:
        return rng.integers(0, port.codes, shape).astype(np.uint64)
    words = rng.integers(0, 1 << 32, (*shape, -(-port.width // 32))).astype(object)
    return sum(words[..., index] << 32 * index for index in range(words.shape[-1])) & ((1 << port.width) - 1)


def pack_payload(ports, codes):
    """Return the payload with these fields as packed words, one a bit, the first port lowest."""
    planes = []
    for name, port in ports.items():
        values = codes[name].reshape(len(codes[name]), -1)
        for lane in range(values.shape[1]):
            column = values[:, lane]
            for position in range(port.width):
                planes.append(_pack((column >> (position if column.dtype == object else np.uint64(position))) & 1, 0))
    assert len(planes) == input_layout(ports).size
    return planes


def unpack_payload(ports, bits):
    """Return the codes of each port from the bits of a payload, (lanes, bits)."""
    codes, start = {}, 0
    for name, port in ports.items():
        lanes = []
        for _ in range(port.lanes or 1):
            kind = np.int64 if port.width < 63 else object
            weights = np.array([1 << position for position in range(port.width)], dtype=kind)
            lanes.append((bits[:, start:start + port.width].astype(kind) @ weights).astype(object))
            start += port.width
        codes[name] = lanes[0] if port.lanes is None else np.array(lanes, dtype=object).T
    return codes


def evaluate(component, circuit, inputs):
    """Return what a combinational component with a function's model gives for arrays of codes, as the model would."""
    vectors = len(next(iter(inputs.values())))
    gates, ports = ClockedGates(circuit, vectors), component.model.inputs
    gates.settle({name: pack_payload({name: ports[name]}, inputs) for name in ports})
    return {name: unpack_payload({name: port}, gates.bits(name))[name]
            for name, port in component.model.outputs.items()}


def assert_function_right(component, circuit, inputs, label=""):
    """Compare a combinational component with its model."""
    got, want = evaluate(component, circuit, inputs), component.model.evaluate(inputs)
    for name, codes in want.items():
        wrong = np.flatnonzero(got[name] != codes.astype(object))
        examples = [f"{ {port: values[i].tolist() for port, values in inputs.items()} }: got {got[name][i]:#x}, "
                    f"want {int(codes[i]):#x}" for i in wrong[:3]]
        assert not len(wrong), f"{label}: {len(wrong)} of {len(codes)} wrong: {examples}"


def assert_streams_right(component, circuit, *, lanes, cycles, seed, flag_rate=0.3, valid_rate=0.7, ready_rate=0.7,
                         reset_rate=0.0, codes=random_codes):
    """Feed random transfers to the gates of a component between streams ``i`` and ``o``, and compare every result.

    Parameters
    ----------
    component : Component
        With ``model``, a :class:`sw.reference.model.Stream`.
    circuit : Gates
    lanes, cycles, seed : int
    flag_rate, valid_rate, ready_rate, reset_rate : float
        Probabilities that a flag of a transfer is set, that there is a transfer, that a result is taken, and of a
        reset, in each cycle of each lane.
    codes : callable
        ``codes(port, count, rng)`` for the ports that are no flags.

    Returns
    -------
    int
        How many results were compared.
    """
    model, rng = component.model, np.random.default_rng(seed)
    gates, run = ClockedGates(circuit, lanes), model.start(lanes)
    waiting = [[] for _ in range(lanes)]
    compared, previous = 0, None
    for cycle in range(cycles):
        resets = rng.random(lanes) < (reset_rate if cycle else 1.0)
        valid = (rng.random(lanes) < valid_rate) & ~resets
        ready = (rng.random(lanes) < ready_rate) & ~resets
        inputs = {name: (rng.random(lanes) < flag_rate).astype(np.uint64) if port.width == 1 and port.format is None
                  else codes(port, lanes, rng) for name, port in model.inputs.items()}
        gates.settle({"i__valid": [_pack(valid, 0)], "o__ready": [_pack(ready, 0)], "rst": [_pack(resets, 0)],
                      "i__payload": pack_payload(model.inputs, inputs)})
        offered, payload = gates.bits("o__valid")[:, 0], gates.bits("o__payload")
        if previous is not None:  # a result that was not taken stays as it is
            held, was = previous
            assert offered[held].all(), f"seed {seed}, cycle {cycle}: a result was withdrawn"
            assert (payload[held] == was[held]).all(), f"seed {seed}, cycle {cycle}: a result changed while it waited"
        accepted = valid & gates.bits("i__ready")[:, 0]
        for produced, outputs in run.accept(inputs, accepted) if accepted.any() else ():
            for lane in np.flatnonzero(produced):
                waiting[lane].append({name: codes[lane].tolist() if codes.ndim > 1 else int(codes[lane])
                                      for name, codes in outputs.items()})
        taken = np.flatnonzero(offered & ready)
        got = unpack_payload(model.outputs, payload[taken]) if len(taken) else {}
        for index, lane in enumerate(taken):
            assert waiting[lane], f"seed {seed}, cycle {cycle}, lane {lane}: a result that nothing asked for"
            want = waiting[lane].pop(0)
            have = {name: codes[index].tolist() if codes.ndim > 1 else codes[index] for name, codes in got.items()}
            assert have == want, f"seed {seed}, cycle {cycle}, lane {lane}: got {have}, want {want}"
            compared += 1
        if resets.any():
            run.reset(resets)
            for lane in np.flatnonzero(resets):
                waiting[lane].clear()
        previous = offered & ~ready & ~resets, payload
        gates.clock()
    return compared
