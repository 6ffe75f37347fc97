"""The instruction sets that netlists are compiled for, and which of them this machine has."""

from __future__ import annotations

import enum
import functools

from synth.netlist.logic import Basis

__all__ = ["InstructionSet", "host_instruction_sets"]


class InstructionSet(enum.Enum):
    """How wide a register is, and what one instruction computes."""

    AVX512 = "avx512"
    """512 lanes, any function of three inputs (``vpternlog``)."""
    AVX2 = "avx2"
    """256 lanes; and, or, xor, and-not."""
    NEON = "neon"
    """128 lanes; and, or, xor, not, and-not, or-not, select."""
    WORD64 = "word64"
    """64 lanes in a general register; and, or, xor, not: every machine."""

    @property
    def lanes(self) -> int:
        """Vectors that one register holds a bit of."""
        return {"avx512": 512, "avx2": 256, "neon": 128, "word64": 64}[self.value]

    @property
    def words(self) -> int:
        """64-bit words of a register."""
        return self.lanes // 64

    @property
    def basis(self) -> Basis:
        """What one instruction computes."""
        return Basis.TERNARY if self is InstructionSet.AVX512 else Basis.BINARY

    @property
    def registers(self) -> int:
        """Architectural registers."""
        return {"avx512": 32, "avx2": 16, "neon": 32, "word64": 16}[self.value]


@functools.cache
def host_instruction_sets() -> tuple[InstructionSet, ...]:
    """Return those that this machine runs, the widest first; needs llvmlite, which knows the machine."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    found = []
    if all(features.get(name) for name in ("avx512f", "avx512bw", "avx512vl", "avx512dq")):
        found.append(InstructionSet.AVX512)
    if features.get("avx2"):
        found.append(InstructionSet.AVX2)
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        found.append(InstructionSet.NEON)
    return (*found, InstructionSet.WORD64)
