"""Which faults the check of a circuit without memory, or of a pipeline, finds: on exactly the vectors that it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes, Port
from synth.mutate.faults import Fault
from synth.mutate.lanes import BATCH, batches, choice_planes, different, has_choice, program_of, repeated
from synth.mutate.plant import CHOICE
from synth.netlist import Engine, Simulation, make_engine_for
from synth.netlist.packing import WORD_BITS, Planes, pack_codes, words_for
from synth.verify.functions import STREAM_CYCLES, Expectation
from synth.verify.ports import pack_fields

PASS_WORDS = 1 << 13
"""Words of all faults of a pass together, at most, as long as one of them needs no more."""

_FIRST_WORDS = 32
"""Words of the vectors of a first try, which finds most faults."""

_MOSTLY_FOUND = 8
"""One fault in so many is still there after the first tries."""

Told = Callable[[int, int], None]
"""Told how many faults are found, and how many are not."""


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Some of the vectors, as a netlist takes them: for every cycle the planes of every port.

    ``answers`` are those of the outputs, one a cycle from the one of the first answer on, with the lanes ``counted``.
    """

    inputs: list[dict[str, Planes]]
    answers: list[dict[str, Planes]]
    counted: list[NDArray[np.uint64]]

    @property
    def words(self) -> int:
        return len(self.counted[0])

    def part(self, words: NDArray[np.int64]) -> _Block:
        """Return the lanes of some words."""
        return _Block(
            inputs=[{name: planes[:, words] for name, planes in ports.items()} for ports in self.inputs],
            answers=[{name: planes[:, words] for name, planes in ports.items()} for ports in self.answers],
            counted=[mask[words] for mask in self.counted])


def missed_by_vectors(document: Mapping[str, Any], faults: Sequence[Fault], expectation: Expectation, *,
                      latency: int, engine: str = "auto", told: Told = lambda found, left: None) -> list[Fault]:
    """Return the faults that :func:`synth.verify.check_function` does not find.

    Parameters
    ----------
    document : mapping
        The sound netlist, as Yosys' JSON.
    faults : sequence of Fault
    expectation : Expectation
    latency : int, cycles
    engine : str
        As for :func:`synth.verify.check_function`.
    told : callable
    """
    left = list(faults)
    for number, block in enumerate(_blocks(expectation, latency)):
        remaining: list[Fault] = []
        for seen, batch in enumerate(batches(left)):
            passes = len(batch) * block.words // PASS_WORDS // (1 if number else _MOSTLY_FOUND)
            remaining += _missed(document, batch, block, latency, engine, max(passes, 1))
            open_ = len(remaining) + max(len(left) - (seen + 1) * BATCH, 0)
            told(len(faults) - open_, open_)
        left = remaining
        if not left:
            break
    return left


def _missed(document: Mapping[str, Any], faults: list[Fault], block: _Block, latency: int, engine: str, passes: int
            ) -> list[Fault]:
    """Return the faults of one netlist that a block of vectors does not find: tried on few of them first.

    ``passes`` is about how many times all of them are run, which the choice of an engine is based on.
    """
    program = program_of(document, faults)
    if not has_choice(program):
        return faults
    runner = make_engine_for(program, engine, lanes=WORD_BITS * PASS_WORDS, passes=passes * len(block.inputs))
    order = np.random.default_rng(0).permutation(block.words)
    left, start, size = list(range(len(faults))), 0, min(_FIRST_WORDS, max(block.words // 32, 1))
    while left and start < block.words:
        part = block.part(order[start:start + size])
        together = max(1, PASS_WORDS // part.words)
        left = [index for first in range(0, len(left), together)
                for index in _agreeing(runner, len(faults), left[first:first + together], part, latency)]
        start, size = start + size, 8 * size
    return [faults[index] for index in left]


def _agreeing(runner: Engine, width: int, chosen: list[int], block: _Block, latency: int) -> list[int]:
    """Return those of the faults with which every answer is the wanted one."""
    simulation = runner.simulation(WORD_BITS * block.words * len(chosen))
    simulation.set_planes(CHOICE, choice_planes(width, chosen, block.words))
    wrong = np.zeros(len(chosen), dtype=bool)
    for cycle, inputs in enumerate(block.inputs):
        _set(simulation, inputs, len(chosen))
        if cycle >= latency:
            for name, wanted in block.answers[cycle - latency].items():
                wrong |= different(simulation.get_planes(name), wanted, block.counted[cycle - latency], len(chosen))
            if wrong.all():
                return []
        if runner.program.clocks:
            simulation.step()
    return [index for index, bad in zip(chosen, wrong.tolist(), strict=True) if not bad]


def _set(simulation: Simulation, inputs: Mapping[str, Planes], times: int) -> None:
    for name, planes in inputs.items():
        simulation.set_planes(name, repeated(planes, times))


def _blocks(expectation: Expectation, latency: int) -> Iterator[_Block]:
    """Return the vectors as the check feeds them: of a pipeline, each lane a new one every cycle."""
    model = expectation.model
    for _, inputs, answers in expectation.blocks():
        count = len(next(iter(inputs.values())))
        cycles = STREAM_CYCLES if latency else 1
        lanes = -(-count // cycles)
        fed = _planes(model.inputs, inputs, cycles, lanes)
        wanted = _planes(model.outputs, answers, cycles, lanes)
        counted = [pack_codes((np.arange(lanes) + cycle * lanes < count).astype(np.uint8), 1)[0]
                   for cycle in range(cycles)]
        yield _Block(inputs=[fed[cycle % cycles] for cycle in range(cycles + latency)], answers=wanted,
                     counted=counted)


def _planes(ports: Mapping[str, Port], codes: Mapping[str, Codes], cycles: int, lanes: int) -> list[dict[str, Planes]]:
    rows = {name: np.resize(values, (cycles, lanes, *values.shape[1:])) for name, values in codes.items()}
    planes = [{name: pack_fields({name: port}, {name: rows[name][cycle]}) for name, port in ports.items()}
              for cycle in range(cycles)]
    assert all(plane.shape[1] == words_for(lanes) for ports_ in planes for plane in ports_.values())
    return planes
