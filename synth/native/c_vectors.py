"""What a generated driver runs: inputs of an operator for every lane and cycle, and what has to come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synth.native.c_interface import Interface
from synth.native.native_form import NativeForm
from synth.netlist import NumpyEngine
from synth.netlist.packing import WORD_BITS, Planes
from synth.netlist.program import PortRegisters
from synth.operations import Operation
from synth.verify.ports import pack_fields
from synth.verify.vectors import function_vectors

__all__ = ["SAMPLES", "DriverVectors", "driver_vectors"]

SAMPLES = 1 << 17
"""Random vectors of an operator without memory, where there are too many to run all of them."""

EXHAUSTIVE_BITS = 18
LANES = 512
"""Lanes of an operator with memory; the number of lanes is always a multiple of it."""

CYCLES = 96
_OFTEN, _SELDOM = 0.75, 1 / 64


@dataclass(frozen=True)
class DriverVectors:
    """Planes of all ports, cycle by cycle.

    Parameters
    ----------
    method : str
        How the inputs were chosen.
    lanes, cycles : int
    planes : array of uint64, shape (cycles, bits of all ports, words)
        The ports' bits in the order of the arguments, inputs first.
    """

    method: str
    lanes: int
    cycles: int
    planes: npt.NDArray[np.uint64]

    def to_bytes(self) -> bytes:
        """Return the file: words of 64 bits, the lowest byte first: words of a plane, cycles, then the planes."""
        head = np.array([self.lanes // WORD_BITS, self.cycles], dtype="<u8")
        return head.tobytes() + self.planes.astype("<u8").tobytes()


def driver_vectors(operation: Operation, interface: Interface, form: NativeForm, *, seed: int) -> DriverVectors:
    """Choose inputs and return them with the right outputs.

    An operator without memory is answered by its exact reference. One with memory is given random bits, in which
    ``valid`` and ``ready`` are mostly 1 and ``rst`` seldom is, and its netlist is simulated by numpy alone: the
    check of that netlist against the reference is ``verify``'s.
    """
    if interface.clocked:
        return _simulated(interface, form, seed)
    vectors = function_vectors(operation.model, seed=seed, exhaustive_bits=EXHAUSTIVE_BITS, samples=SAMPLES,
                               cancelling=operation.cancelling())
    lanes = -(-vectors.count // LANES) * LANES
    index = np.arange(lanes) % vectors.count             # the last lanes repeat the first
    inputs = {name: codes[index] for name, codes in vectors.block(0, vectors.count).items()}
    outputs = operation.model.evaluate(inputs)
    codes: Mapping[str, Any] = {**inputs, **outputs}
    planes = np.concatenate([_planes(operation, port, codes) for port in interface.ports])
    return DriverVectors(vectors.method, lanes, 1, planes[np.newaxis])


def _planes(operation: Operation, port: PortRegisters, codes: Mapping[str, Any]) -> Planes:
    return pack_fields({port.name: operation.ports[port.name]}, codes)


def _simulated(interface: Interface, form: NativeForm, seed: int) -> DriverVectors:
    generator = np.random.default_rng(seed)
    simulation = NumpyEngine(form.program).simulation(LANES)
    cycles = []
    for _ in range(CYCLES):
        planes = []
        for port in interface.inputs:
            chance = _SELDOM if port.name == "rst" else _OFTEN if port.name.endswith(("valid", "ready")) else 0.5
            bits = generator.random((port.width, LANES)) < chance
            packed = np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)
            simulation.set_planes(port.name, packed)
            planes.append(packed)
        planes += [simulation.get_planes(port.name) for port in interface.outputs]
        cycles.append(np.concatenate(planes))
        simulation.step()
    return DriverVectors("random cycles", LANES, CYCLES, np.stack(cycles))
