"""The engine that runs on torch's tensors, on the processor or on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from synth.netlist.engine import KernelEngine
from synth.netlist.kernel import Kernel
from synth.netlist.memory_state import MemoryState, bytes_per_vector
from synth.netlist.packing import WORD_BITS, words_for
from synth.netlist.program import Program, Register
from synth.netlist.simulation import Simulation
from synth.netlist.torch_fused import CodeFunction, FusedPieces, check_fusible, fused_kernel, takes_codes
from synth.netlist.torch_kernel import HostKernel, eager_kernel
from synth.netlist.torch_memory import TorchMemory
from synth.netlist.torch_packing import check_code, check_codes, code_dtype, pack_tensor, unpack_tensor

__all__ = ["TorchEngine"]

_GPU_BLOCKS = 256
"""How many times as many vectors a pass on a GPU takes: 2^24, so that an operation outlasts its launch."""


class TorchEngine(KernelEngine):
    """Executes a program by torch's bitwise operations on ``int64`` tensors, or by generated GPU kernels.

    Besides what every engine offers, :meth:`run_tensors` and :meth:`run_planes` take and return tensors on the device,
    and so does the simulation of :meth:`tensor_simulation`: nothing goes through numpy there.

    Memory, on the device: every register that is live at once is a row of one bit a vector, so a pass takes ``rows /
    8`` bytes a vector, and twice the inputs' and outputs' bits on top; to this come the design's memories, a copy of
    each that is written for every vector. A pass has 65,536 vectors (2^24 on a GPU where no memory is written), or as
    few as keep the memories within 256 MiB. Packing needs about four times the codes' own size for a moment.

    If ``fused``, the logic between memory reads is one generated kernel of an NVIDIA GPU (:mod:`synth.netlist.ptx`),
    with rows for inputs, state and results alone; and :meth:`run_tensors` runs a combinational program without memories
    whose ports have at most 32 bits from codes to codes in one kernel, which needs the codes' memory alone. **These
    kernels have not been run on a GPU yet**: their text is run by an interpreter, bit for bit beside numpy, and
    assembled by NVIDIA's ``ptxas``. Each is compared with torch's own operations on the device when it is made. Nor
    has anything else here been run on a GPU; the operations are those that torch offers on every device.

    Parameters
    ----------
    program : Program
    device : torch.device or str
        Where the planes live.
    fused : bool
        Whether logic is run by generated kernels.

    Raises
    ------
    ValueError
        If ``fused`` and torch cannot load kernels for the device.
    RuntimeError
        If there is no such device.
    """

    def __init__(self, program: Program, *, device: torch.device | str = "cpu", fused: bool = False) -> None:
        super().__init__(program)
        self._device = torch.empty(0, device=device).device      # with its index; raises where there is none
        if fused:
            check_fusible(self._device)
        self._fused = fused
        if self._device.type != "cpu" and not bytes_per_vector(program):
            self._block *= _GPU_BLOCKS
        self._tensors = _TensorEngine(program, self._device, fused)
        self._function: CodeFunction | None = None

    @property
    def name(self) -> str:
        return f"torch {self._device.type}"

    @property
    def device(self) -> torch.device:
        """Where the planes live."""
        return self._device

    @property
    def fused(self) -> bool:
        """Whether logic is run by generated kernels rather than by torch's operations."""
        return self._fused

    def make_kernel(self, wanted: Sequence[Register], words: int, memory: MemoryState) -> Kernel:
        return HostKernel(self._tensors.make_kernel(wanted, words, memory))

    def make_memory(self, words: int) -> MemoryState:
        return self._tensors.make_memory(words)

    def tensor_simulation(self, lanes: int = 1) -> Simulation:
        """Return a fresh clocked simulation on the device.

        Its ``set_planes`` and ``get_planes`` take and return ``int64`` tensors of shape ``(width, words)``; ``get``,
        which returns numpy's arrays, is not for it.
        """
        return self._tensors.simulation(lanes)

    def run_planes(self, planes: Mapping[str, Tensor], *, words: int | None = None, latency: int = 0
                   ) -> dict[str, Tensor]:
        """Return the planes of every output port, as :meth:`run_packed` does, from tensors on the device to such.

        Parameters
        ----------
        planes : port name to ``int64`` tensor of shape ``(width, words)``; bit *k* of word *j* is vector ``64 j + k``
        words : int, needed only where the design has no data input

        Raises
        ------
        ValueError, TypeError
            If a port is missing, unknown, or its planes are of another shape, type or device.
        """
        for port, plane in planes.items():
            if plane.dtype is not torch.int64:
                raise TypeError(f"Planes of {port} must be of dtype int64, not {plane.dtype}")
            self._check_device(f"Planes of {port}", plane)
        given: Mapping[str, Any] = planes
        results: Mapping[str, Any] = self._tensors.run_packed(given, words=words, latency=latency)
        return {port: result if isinstance(result, Tensor) else                        # numpy's, where there is no word
                torch.zeros(result.shape, dtype=torch.int64, device=self._device) for port, result in results.items()}

    def run_tensors(self, inputs: Mapping[str, Tensor | int], *, latency: int = 0) -> dict[str, Tensor]:
        """Return every output port for tensors of codes, on the device.

        Codes are checked, which waits for the device. Nothing here has a gradient.

        Parameters
        ----------
        inputs : port name to codes
            Tensors on the device, all of one shape (any), of one of torch's integer types; or one integer for all
            vectors. All input ports but clocks must be there. The codes of a 64-bit port are patterns of bits in
            ``int64``.
        latency : int, cycles
            How long inputs are held before the outputs are read; the design must have exactly one clock if not 0.

        Returns
        -------
        Port name to codes of that shape, in the smallest of ``uint8``, ``int16``, ``int32`` and ``int64`` that holds
        the port without a sign, as :func:`sw.quantize.to_codes` returns them.

        Raises
        ------
        ValueError, TypeError
            If a port is missing, unknown, of another shape or device, or too wide for a tensor of codes, or a code does
            not fit.
        """
        shape, codes = self._codes(inputs)
        dtypes = {port.name: code_dtype(port.width) for port in self._program.outputs}
        vectors = shape.numel()
        if self._fused and takes_codes(self._program) and not latency:
            self._function = self._function or CodeFunction(self._program, self._device)
            outputs = self._function(codes, vectors)
        else:
            outputs = {port: torch.empty(vectors, dtype=dtype, device=self._device) for port, dtype in dtypes.items()}
            for start in range(0, vectors, self._block):
                self._run_block(codes, outputs, slice(start, min(start + self._block, vectors)), latency)
        return {port: result.view(shape) for port, result in outputs.items()}

    def _run_block(self, codes: Mapping[str, Tensor], outputs: Mapping[str, Tensor], part: slice, latency: int
                   ) -> None:
        """Fill a part of the outputs, in a pass of a power of two of words, so that few kernels serve all sizes."""
        count = part.stop - part.start
        words = min(self._block // WORD_BITS, 1 << (words_for(count) - 1).bit_length())
        planes = {port: pack_tensor(column[part], self._inputs[port], words) for port, column in codes.items()}
        for port, result in self.run_planes(planes, words=words, latency=latency).items():
            outputs[port][part] = unpack_tensor(result, count)

    def _codes(self, inputs: Mapping[str, Tensor | int]) -> tuple[torch.Size, dict[str, Tensor]]:
        """Return the shape of the inputs, and each as a flat tensor of checked codes."""
        self._check_ports(inputs)
        shapes = {port: tuple(codes.shape) for port, codes in inputs.items() if isinstance(codes, Tensor)}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"Inputs must have one shape, not {shapes}")
        shape = torch.Size(next(iter(shapes.values()), (1,)))
        return shape, {port: self._flat(port, codes, shape) for port, codes in inputs.items()}

    def _flat(self, port: str, codes: Tensor | int, shape: torch.Size) -> Tensor:
        width = self._inputs[port]
        dtype = code_dtype(width)                        # which raises for a port that is too wide
        if not isinstance(codes, Tensor):
            number = check_code(codes, width)
            return torch.tensor(number, dtype=dtype, device=self._device).expand(shape.numel())
        self._check_device(f"Codes of {port}", codes)
        check_codes(codes, width)
        return codes.reshape(-1)

    def _check_device(self, noun: str, tensor: Tensor) -> None:
        if tensor.device != self._device:
            raise ValueError(f"{noun} must be on {self._device}, not on {tensor.device}")


class _TensorEngine(KernelEngine):
    """The same with tensors for planes: what :meth:`run_packed` takes and returns stays on the device."""

    def __init__(self, program: Program, device: torch.device, fused: bool) -> None:
        super().__init__(program)
        self._device, self._fused = device, fused
        self._made: dict[tuple[Register, ...], FusedPieces] = {}

    @property
    def name(self) -> str:
        return f"torch {self._device.type}"

    def make_kernel(self, wanted: Sequence[Register], words: int, memory: MemoryState) -> Kernel:
        if not self._fused:
            return eager_kernel(self._program, wanted, words, memory, self._device)
        key = tuple(wanted)
        if key not in self._made:
            self._made[key] = FusedPieces(self._program, key, self._device)
        return fused_kernel(self._made[key], words, memory, self._device)

    def make_memory(self, words: int) -> MemoryState:
        return TorchMemory(self._program, words, self._device)
