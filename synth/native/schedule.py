"""What a circuit does in each cycle of a sum of so many pairs, as far as it is the same in all copies of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.native.mac_interface import MacInterface
from synth.native.machine import Machine
from synth.netlist.kernel import IntegerKernel
from synth.netlist.memory_state import MemoryState
from synth.netlist.program import PortRegisters

__all__ = ["MAXIMUM_WAIT", "Cycles", "Schedule"]

MAXIMUM_WAIT = 4096
"""Cycles without a transfer after which a circuit counts as stuck."""


_KEPT_ANSWERS = 1 << 14


@dataclass(frozen=True)
class Cycles:
    """The cycles from the first pair of a sum to its result.

    Parameters
    ----------
    given : uint8 array of shape (cycles, number of given registers)
        What :attr:`Machine.given` holds in each.
    accepted : bool array, one a cycle
        Whether a pair is taken; the next one stands there from the next cycle on, the last one for good. The sum
        stands at the result in the last cycle.
    """

    given: NDArray[np.uint8]
    accepted: NDArray[np.bool_]


@dataclass(frozen=True)
class _Answer:
    """What the control does in a cycle: the given registers, its flags, and its next state."""

    given: tuple[int, ...]
    ready: bool
    valid: bool
    state: tuple[int, ...]


class Schedule:
    """Runs the control of a machine.

    Parameters
    ----------
    machine : Machine
    interface : MacInterface
    """

    def __init__(self, machine: Machine, interface: MacInterface) -> None:
        self._machine, self._interface = machine, interface
        program = machine.control
        outputs = [register for port in program.outputs for register in port.registers]
        self._kernel = IntegerKernel(program, [*outputs, *(bit.next for bit in program.state)], 1,
                                     MemoryState(program, 1))
        self._initial = tuple(int(bit.initial) for bit in program.state)
        self._answers: dict[tuple[tuple[int, ...], tuple[bool, bool, bool]], _Answer] = {}

    def cycles(self, terms: int) -> Cycles:
        """Return the cycles of sums of ``terms`` pairs, at least one.

        Raises
        ------
        ValueError
            If the circuit is stuck.
        """
        if not self._interface.is_stream:
            answer = self._answer(self._initial, (False, False, False))
            return Cycles(np.repeat(np.array([answer.given], np.uint8), terms, axis=0), np.ones(terms, bool))
        given, accepted = [], []
        state, k, waited = self._initial, 0, 0
        while waited < MAXIMUM_WAIT:
            offered = k < terms
            answer = self._answer(state, (offered, k == 0, k >= terms - 1))
            takes = offered and answer.ready
            given.append(answer.given)
            accepted.append(takes)
            if not offered and answer.valid:
                return Cycles(np.array(given, np.uint8).reshape(len(given), -1), np.array(accepted))
            state, k, waited = answer.state, k + takes, 0 if takes else waited + 1
        raise ValueError(f"Program must give a result within {MAXIMUM_WAIT} cycles, not none after {k} of {terms} "
                         "pairs")

    def _answer(self, state: tuple[int, ...], flags: tuple[bool, bool, bool]) -> _Answer:
        key = state, flags
        if key not in self._answers:
            if len(self._answers) >= _KEPT_ANSWERS:      # a counter that counts far makes ever new ones
                self._answers.clear()
            program = self._machine.control
            sources = [bit for port in program.inputs for bit in self._input(port, flags)] + list(state)
            results = [value & 1 for value in self._kernel.evaluate([-bit for bit in sources])]
            count = len(self._machine.given)
            stream = self._machine.ready is not None
            self._answers[key] = _Answer(tuple(results[:count]), bool(stream and results[count]),
                                         bool(stream and results[count + 1]), tuple(results[count + 2 * stream:]))
        return self._answers[key]

    def _input(self, port: PortRegisters, flags: tuple[bool, bool, bool]) -> Sequence[int]:
        """Return the bits of an input port; operands are 0, as nothing here depends on them."""
        offered, first, last = flags
        if port.name == "i__payload":
            values: Mapping[str, int] = {"first": first, "last": last, "c": self._interface.start or 0}
            return [values.get(name, 0) >> bit & 1 for name, field in self._interface.fields.items()
                    for bit in range(field.bits)]
        return [int(offered if port.name == "i__valid" else port.name == "o__ready")] * port.width
