"""Every engine beside every other: the same random planes, the same results in every bit."""

import numpy as np
import torch

from synth.netlist import NumpyEngine
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.kernel import ArrayKernel
from synth.netlist.llvm_engine import LlvmEngine
from synth.netlist.lookup import Basis
from synth.netlist.packing import WORD_BITS
from synth.netlist.torch_engine import TorchEngine

LARGE = 600
"""Instructions beyond which the search for look-ups takes most of a test's time."""

STALLING = ("valid", "ready")


class ArrayEngine(NumpyEngine):
    """Numpy's engine on arrays, whatever the number of vectors."""

    def make_kernel(self, wanted, words, memory):
        return ArrayKernel(self.program, wanted, words, memory)


def every_engine(program, *, fused=False, quick=False):
    """Return every way of running a program that this machine has, by name; Python integers are the first.

    ``fused``: with the generated GPU kernels, for which the interpreter of PTX must have been put in place.
    ``quick``: large programs run as they are rather than as look-ups that were searched for, and on plain words any.
    """
    direct = {isa for isa in host_instruction_sets() if quick and (
        isa is InstructionSet.WORD64 or len(program.instructions) > LARGE * (10 if isa.basis is Basis.TERNARY else 1))}
    engines = {"integers": NumpyEngine(program), "arrays": ArrayEngine(program), "torch": TorchEngine(program)}
    engines |= {f"llvm {isa.value}": LlvmEngine(program, isa=isa, threads=2, covered=isa not in direct)
                for isa in host_instruction_sets()}
    if torch.cuda.is_available():
        engines["cuda"] = TorchEngine(program, device="cuda")
    if fused:
        engines["ptx"] = TorchEngine(program, fused=True)
    return engines


def assert_engines_agree(engines, rng, *, words=5, cycles=20, codes=True):
    """Run a program on all engines: at once where it has no clock, and cycle by cycle where it has."""
    program = next(iter(engines.values())).program
    if program.clocks:
        _assert_simulations_agree(engines, rng, words, cycles)
        return
    planes = {port.name: _random_planes(rng, port.width, words) for port in program.inputs}
    _assert_same(program, {name: engine.run_packed(planes, words=words) for name, engine in engines.items()}, planes)
    if codes:
        _assert_codes_agree(engines, program, rng, WORD_BITS * words - 5)


def _assert_codes_agree(engines, program, rng, vectors):
    """From codes to codes, which engines have ways of their own for; the last word is not full."""
    inputs = {port.name: _random_codes(rng, port.width, vectors) for port in program.inputs}
    results = {name: engine.run(inputs) for name, engine in engines.items()}
    _assert_same(program, results, inputs)
    wide = any(port.width > WORD_BITS for port in (*program.inputs, *program.outputs))
    if wide or not inputs:
        return
    tensors = {port: torch.from_numpy(codes.astype(np.uint64).view(np.int64)) for port, codes in inputs.items()}
    for name, engine in engines.items():
        if isinstance(engine, TorchEngine):
            on_device = {port: codes.to(engine.device) for port, codes in tensors.items()}
            got = {port: codes.cpu().to(torch.int64).numpy().view(np.uint64)
                   for port, codes in engine.run_tensors(on_device).items()}
            _assert_same(program, {"integers": results["integers"], f"{name} tensors": got}, inputs)


def _assert_simulations_agree(engines, rng, words, cycles):
    program = next(iter(engines.values())).program
    simulations = {name: engine.simulation(WORD_BITS * words) for name, engine in engines.items()}
    clock_ports = {edge.port for edge in program.edges}
    for cycle in range(cycles):
        if cycle == cycles - 4:                          # and once more from the start
            for simulation in simulations.values():
                simulation.reset()
        planes = {port.name: _input_planes(rng, port, words) for port in program.inputs if port.name not in clock_ports}
        for simulation in simulations.values():
            for port, array in planes.items():
                simulation.set_planes(port, array)
        _assert_same(program, {name: {port.name: simulation.get_planes(port.name) for port in program.outputs}
                               for name, simulation in simulations.items()}, planes, f"cycle {cycle}")
        for simulation in simulations.values():
            for clock in program.clocks:
                simulation.step(clock)


def _assert_same(program, results, inputs, when="at once"):
    (first, wanted), *others = results.items()
    for name, got in others:
        for port in (port.name for port in program.outputs):
            wrong = np.argwhere(np.asarray(got[port] != wanted[port]))
            if got[port].shape != wanted[port].shape or wrong.size:
                place = tuple(map(int, wrong[0])) if wrong.size else ()
                raise AssertionError(f"{program.name} {when}: {name} and {first} differ at {port}{list(place)}: got "
                                     f"{got[port][place]}, want {wanted[port][place]}; inputs {inputs}")


def _random_planes(rng, width, words):
    return rng.integers(0, 1 << 64, (width, words), dtype=np.uint64)


def _input_planes(rng, port, words):
    """Return a cycle's planes: resets are rare, and what stalls a stream is there three times of four."""
    planes = _random_planes(rng, port.width, words)
    if port.name == "rst":
        for _ in range(3):
            planes &= _random_planes(rng, port.width, words)
    elif port.name.endswith(STALLING):
        planes |= _random_planes(rng, port.width, words)
    return planes


def _random_codes(rng, width, vectors):
    """Return codes in the smallest type that holds the width, as :meth:`synth.netlist.engine.Engine.run` takes them."""
    if width > WORD_BITS:
        return np.array([int.from_bytes(rng.bytes(-(-width // 8)), "little") % (1 << width) for _ in range(vectors)],
                        object)
    dtype = next(dtype for dtype in (np.uint8, np.uint16, np.uint32, np.uint64) if width <= 8 * dtype().itemsize)
    return rng.integers(0, 1 << width, vectors, dtype=dtype)
