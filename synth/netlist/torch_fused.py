"""Programs as generated kernels on NVIDIA GPUs: torch loads and launches what :mod:`synth.netlist.ptx` writes.

Nothing here has run on a GPU yet. What was done instead: the text is assembled by NVIDIA's ``ptxas``, an interpreter of
it agrees with numpy in every bit, and every kernel is compared with torch's own operations before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from synth.netlist.kernel import sources_of
from synth.netlist.logic import Basis, Logic, pieces_of
from synth.netlist.memory_state import MemoryState
from synth.netlist.packing import WORD_BITS
from synth.netlist.program import ONE, ZERO, PortRegisters, Program, Read, Register
from synth.netlist.ptx import THREADS, CodePorts, code_kernel, module, plane_kernel
from synth.netlist.torch_kernel import TableKernel, eager_kernel
from synth.netlist.torch_memory import TorchMemory
from synth.netlist.torch_packing import code_dtype, pack_tensor, unpack_tensor

__all__ = ["CodeFunction", "FusedPieces", "check_fusible", "fused_kernel", "load_kernels", "takes_codes"]

_STORAGE = {8: torch.uint8, 16: torch.int16, 32: torch.int32}

Launch = Callable[[int, Sequence[Any]], None]
"""Starts a kernel: a number of blocks of threads, and its arguments."""


def check_fusible(device: torch.device) -> None:
    """Raise unless torch can load kernels for this device.

    Raises
    ------
    ValueError
        If it is not an NVIDIA GPU, or torch is too old.
    """
    from torch.cuda import _utils

    if device.type != "cuda" or torch.version.hip is not None or not hasattr(_utils, "_cuda_load_module"):
        raise ValueError(f"Device must be an NVIDIA GPU, and torch at least 2.8, for generated kernels, not {device} "
                         f"with torch {torch.__version__}; leave fused out")


def load_kernels(text: str, names: Sequence[str], device: torch.device) -> list[Launch]:
    """Let the driver compile a module of PTX.

    Raises
    ------
    RuntimeError
        If the driver refuses the text.
    """
    from torch.cuda import _utils

    with torch.cuda.device(device):
        loaded: Any = _utils._cuda_load_module(text, list(names))

    def launch_of(kernel: Any) -> Launch:
        def launch(blocks: int, arguments: Sequence[Any]) -> None:
            with torch.cuda.device(device):
                kernel(grid=(blocks, 1, 1), block=(THREADS, 1, 1), args=list(arguments))

        return launch

    return [launch_of(loaded[name]) for name in names]


class FusedPieces:
    """A program's pieces of logic as kernels over planes, for one choice of wanted registers.

    Raises
    ------
    RuntimeError
        If a kernel and torch's own operations do not agree.
    """

    def __init__(self, program: Program, wanted: Sequence[Register], device: torch.device) -> None:
        self.pieces = pieces_of(program, wanted, Basis.TERNARY)
        self.sources, self.wanted = sources_of(program), tuple(wanted)
        registers = [ZERO, ONE, *self.sources]
        for piece in self.pieces:
            registers += piece.wanted if isinstance(piece, Logic) else [register for _, _, register in piece.targets]
        self.rows = {register: row for row, register in enumerate(dict.fromkeys(registers))}
        logics = [piece for piece in self.pieces if isinstance(piece, Logic)]
        names = [f"piece{index}" for index in range(len(logics))]
        text = module([plane_kernel(name, logic, self.rows) for name, logic in zip(names, logics, strict=True)])
        self.launches = load_kernels(text, names, device) if names else []
        self._compare(program, device)

    def _compare(self, program: Program, device: torch.device) -> None:
        words = 8
        sources = list(_random_words(len(self.sources) * words, device).view(-1, words))
        got = fused_kernel(self, words, TorchMemory(program, words, device), device).evaluate(sources)
        want = eager_kernel(program, self.wanted, words, TorchMemory(program, words, device), device).evaluate(sources)
        _assert_equal(got, want)


def fused_kernel(made: FusedPieces, words: int, memory: MemoryState, device: torch.device) -> TableKernel:
    """Return a kernel of generated code, whose rows are those of sources, of memories' data and of results."""
    kernel = TableKernel(made.rows, made.sources, made.wanted, words, device)
    launches = iter(made.launches)
    short_words = 2 * words                              # words of 32 bits, of which a thread takes one of each row

    def launch_step(launch: Launch) -> Callable[[], object]:
        return lambda: launch(-(-short_words // THREADS), [kernel.table, short_words])

    kernel.steps += [kernel.read(piece, memory) if isinstance(piece, Read) else launch_step(next(launches))
                     for piece in made.pieces]
    return kernel


def takes_codes(program: Program) -> bool:
    """Return whether :class:`CodeFunction` can run a program."""
    return not program.clocks and not program.memories and not any(
        port.width > 32 for port in (*program.inputs, *program.outputs))


class CodeFunction:
    """A combinational program as one kernel from codes to codes: no plane is ever in memory.

    Raises
    ------
    RuntimeError
        If the kernel and torch's own operations do not agree.
    """

    def __init__(self, program: Program, device: torch.device) -> None:
        self._program, self._device = program, device
        self._ports = CodePorts.of([port.registers for port in program.inputs],
                                   [port.registers for port in program.outputs])
        self._outputs = [register for port in program.outputs for register in port.registers]
        logic, = pieces_of(program, self._outputs, Basis.TERNARY)
        assert isinstance(logic, Logic)                  # there is no memory
        self._launch, = load_kernels(module([code_kernel("codes", logic, self._ports)]), ["codes"], device)
        self._compare()

    def __call__(self, codes: Mapping[str, Tensor], vectors: int) -> dict[str, Tensor]:
        """Return the codes of every output for inputs of that many codes each, which the caller has checked."""
        blocks = -(-vectors // self._ports.codes_per_block)
        storage, padded = _STORAGE[self._ports.bits], blocks * self._ports.codes_per_block
        tensors = []
        for port in self._program.inputs:
            tensor = torch.zeros(padded, dtype=storage, device=self._device)
            tensor[:vectors] = codes[port.name]
            tensors.append(tensor)
        results = [torch.empty(padded, dtype=storage, device=self._device) for _ in self._program.outputs]
        if blocks:
            self._launch(blocks, [*tensors, *results])
        return {port.name: _unsigned(result[:vectors], port, self._ports.bits)
                for port, result in zip(self._program.outputs, results, strict=True)}

    def _compare(self) -> None:
        vectors = 2 * self._ports.codes_per_block
        codes = {port.name: _random_words(vectors, self._device) & (1 << port.width) - 1
                 for port in self._program.inputs}
        words = vectors // WORD_BITS
        kernel = eager_kernel(self._program, self._outputs, words, TorchMemory(self._program, words, self._device),
                              self._device)
        planes = kernel.evaluate([plane for port in self._program.inputs
                                  for plane in pack_tensor(codes[port.name], port.width)])
        want, place = [], 0
        for port in self._program.outputs:
            want.append(unpack_tensor(kernel.to_planes(planes[place:place + port.width]), vectors))
            place += port.width
        _assert_equal(list(self(codes, vectors).values()), want)


def _unsigned(codes: Tensor, port: PortRegisters, bits: int) -> Tensor:
    """Return stored codes in the type of the port's width."""
    dtype = code_dtype(port.width)
    if port.width == bits and bits > 8:                  # the uppermost bit is no sign
        return codes.to(dtype) & (1 << bits) - 1
    return codes.to(dtype)


def _random_words(count: int, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(1)
    low, high = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    return torch.randint(low, high, (count,), generator=generator, device=device)


def _assert_equal(got: Sequence[Tensor], want: Sequence[Tensor]) -> None:
    wrong = sum(not torch.equal(a, b) for a, b in zip(got, want, strict=True))
    if wrong:
        raise RuntimeError(f"Generated kernels must agree with torch's own operations, not differ in {wrong} of "
                           f"{len(want)} results; pass fused=False")
