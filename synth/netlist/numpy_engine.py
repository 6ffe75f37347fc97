"""The engine that needs numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

from synth.netlist.engine import KernelEngine
from synth.netlist.kernel import Kernel, make_kernel
from synth.netlist.memory_state import MemoryState
from synth.netlist.program import Register


class NumpyEngine(KernelEngine):
    """Executes a program by numpy's bitwise functions, and few vectors on Python integers."""

    @property
    def name(self) -> str:
        return "numpy"

    def make_kernel(self, wanted: Sequence[Register], words: int, memory: MemoryState) -> Kernel:
        return make_kernel(self._program, wanted, words, memory)
