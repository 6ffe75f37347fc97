"""The check of a circuit without memory: its mapped netlist on every vector, against the exact reference."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from sw.reference.cast import observed
from sw.reference.model import Codes, Function
from synth.netlist import Engine, compile_netlist, make_engine_for, read_netlist
from synth.netlist.packing import WORD_BITS, code_type
from synth.verify.ports import pack_fields, unpack_fields
from synth.verify.torch_check import TorchCheck
from synth.verify.vectors import BLOCK, Inputs, Vectors

Json = dict[str, Any]

Report: TypeAlias = Callable[[float], None]
"""Told of the part of a check that is done, from 0 to 1."""


def silent(_: float) -> None:
    """Report nothing."""


_KEPT_VECTORS = 1 << 26
"""Vectors up to which the reference's answers are kept for the next netlist; beyond it they are computed anew."""

STREAM_CYCLES = 32
"""Cycles over which the vectors of a pipeline are spread; the rest are lanes beside each other."""


class Expectation:
    """What a circuit has to answer: the exact reference's codes, and how the torch quantizer compares with them.

    Parameters
    ----------
    model : Function
        The exact reference.
    vectors : Vectors
    """

    def __init__(self, model: Function, vectors: Vectors) -> None:
        self.model, self.vectors = model, vectors
        self._lock = threading.Lock()
        self._torch = TorchCheck()
        self._answers: dict[int, dict[str, Codes]] = {}
        self._asked: set[int] = set()

    def blocks(self) -> Iterator[tuple[int, Inputs, dict[str, Codes]]]:
        """Return all vectors and answers in blocks, each with the number of its first vector."""
        for start, inputs in self.vectors.blocks():
            yield start, inputs, self._answer(start, inputs)

    def _answer(self, start: int, inputs: Inputs) -> dict[str, Codes]:
        with self._lock:  # several netlists are checked at a time: the first one computes, the others read
            if start in self._answers:
                return self._answers[start]
            if start in self._asked:
                answer = self.model.evaluate(inputs)
            else:
                with observed(self._torch):
                    answer = self.model.evaluate(inputs)
                self._asked.add(start)
            answer = {name: codes.astype(code_type(self.model.outputs[name].width))
                      for name, codes in answer.items()}
            if self.vectors.count <= _KEPT_VECTORS:
                self._answers[start] = answer
            return answer

    def references(self) -> Json:
        """Return what the answers agree with, once all blocks have been asked for."""
        return references(self._torch)


def references(torch_check: TorchCheck) -> Json:
    """Return ``against``, ``quantizer`` (roundings compared and differing) and ``skipped``, for a record."""
    names = (["torch quantizer"] if torch_check.compared else []) + ["exact reference"]
    return {"against": names, "skipped": torch_check.skipped,
            "quantizer": {"compared": torch_check.compared, "differing": torch_check.differing}}


def check_function(netlist: Mapping[str, Any], expectation: Expectation, *, latency: int, report: Report = silent,
                   engine: str = "auto") -> Json:
    """Run a mapped netlist on every vector and count the answers that differ.

    A pipelined netlist is fed new operands every cycle, so that a stage that mixes one pair with the next is found.
    ``report`` is told of the part that is done, from 0 to 1. ``engine`` is the name of what runs the netlist, one of
    :data:`synth.netlist.make.ENGINES`; what it answers is the same for all of them.

    Returns
    -------
    dict
        ``engine`` (what has run the netlist), ``method``, ``vectors``, ``parts`` (vectors by kind), ``mismatches``,
        ``against`` (the names of the references), ``quantizer``, ``skipped`` (why the torch quantizer was not asked, or
        empty) and ``first_mismatch`` (inputs, and got and want by output; or null).

    Raises
    ------
    NetlistError
        If the netlist holds something that cannot be run.
    """
    runner = _engine(netlist, engine, expectation.vectors, latency)
    mismatches, first = 0, None
    for start, inputs, wanted in expectation.blocks():
        report(start / expectation.vectors.count)
        got = _streamed(runner, expectation.model, inputs, latency) if latency else \
            _combinational(runner, expectation.model, inputs)
        wrong = np.zeros(len(next(iter(inputs.values()))), dtype=bool)
        for name, codes in wanted.items():
            different = got[name] != codes
            wrong |= different if different.ndim == 1 else different.any(axis=1)
        mismatches += int(np.count_nonzero(wrong))
        if first is None and wrong.any():
            index = int(np.flatnonzero(wrong)[0])
            first = {"inputs": expectation.vectors.vector(start + index), "got": _integers(got, index),
                     "want": _integers(wanted, index)}
    record = expectation.references()
    vectors = expectation.vectors
    return {"engine": runner.name, "method": vectors.method, "vectors": vectors.count, "parts": dict(vectors.parts),
            "mismatches": mismatches + record["quantizer"]["differing"], **record, "first_mismatch": first}


def _integers(outputs: Mapping[str, Codes], index: int) -> dict[str, int | list[int]]:
    return {name: codes[index].tolist() if codes.ndim > 1 else int(codes[index]) for name, codes in outputs.items()}


def _engine(netlist: Mapping[str, Any], name: str, vectors: Vectors, latency: int) -> Engine:
    program = compile_netlist(read_netlist(netlist))
    if not latency:
        return make_engine_for(program, name, lanes=vectors.count)
    lanes = min(vectors.count, BLOCK) // STREAM_CYCLES
    return make_engine_for(program, name, lanes=lanes, passes=vectors.count // max(lanes, 1) + latency)


def _combinational(engine: Engine, model: Function, inputs: Inputs) -> dict[str, Codes]:
    ports = (*model.inputs.values(), *model.outputs.values())
    if all(port.lanes is None and port.width <= WORD_BITS for port in ports):
        return engine.run({name: inputs[name] for name in model.inputs})
    count = len(next(iter(inputs.values())))
    outputs: dict[str, list[Codes]] = {name: [] for name in model.outputs}
    for start in range(0, count, BLOCK // 8):
        part = {name: codes[start:start + BLOCK // 8] for name, codes in inputs.items()}
        size = len(next(iter(part.values())))
        planes = {name: pack_fields({name: port}, part) for name, port in model.inputs.items()}
        answer = engine.run_packed(planes)
        for name, port in model.outputs.items():
            outputs[name].append(unpack_fields({name: port}, answer[name], size)[name])
    return {name: np.concatenate(parts) for name, parts in outputs.items()}


def _streamed(engine: Engine, model: Function, inputs: Inputs, latency: int) -> dict[str, Codes]:
    """Return a pipeline's answers, each lane fed a new vector every cycle."""
    count = len(next(iter(inputs.values())))
    lanes = -(-count // STREAM_CYCLES)
    fed = {name: np.resize(codes, (STREAM_CYCLES, lanes, *codes.shape[1:])) for name, codes in inputs.items()}
    simulation = engine.simulation(lanes)
    answers: dict[str, list[Codes]] = {name: [] for name in model.outputs}
    for cycle in range(STREAM_CYCLES + latency):
        # The next operands are there before the answer is read, so that too few registers show as well.
        for name, port in model.inputs.items():
            simulation.set_planes(name, pack_fields({name: port}, {name: fed[name][cycle % STREAM_CYCLES]}))
        if cycle >= latency:
            for name, port in model.outputs.items():
                answers[name].append(unpack_fields({name: port}, simulation.get_planes(name), lanes)[name])
        if engine.program.clocks:  # a netlist that lost its registers answers too early, and is found out below
            simulation.step()
    return {name: np.concatenate(parts)[:count] for name, parts in answers.items()}
