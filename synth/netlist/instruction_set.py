"""The instruction sets that netlists are compiled for, and which of them this machine has."""

from __future__ import annotations

import enum
import functools
import os

from synth.netlist.lookup import Basis

__all__ = ["INSTRUCTION_SET_VARIABLE", "InstructionSet", "choose_instruction_set", "find_instruction_set",
           "host_instruction_sets"]

INSTRUCTION_SET_VARIABLE = "NARROWGAUGE_INSTRUCTION_SET"
"""The environment variable that names the instruction set where a caller leaves it open."""


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
        return _LANES[self]

    @property
    def words(self) -> int:
        """64-bit words of a register."""
        return self.lanes // 64

    @property
    def bytes(self) -> int:
        """Bytes of a register."""
        return self.lanes // 8

    @property
    def basis(self) -> Basis:
        """What one instruction computes."""
        return {"avx512": Basis.TERNARY, "neon": Basis.SELECT}.get(self.value, Basis.BINARY)

    @property
    def registers(self) -> int:
        """Architectural registers."""
        return {"avx512": 32, "avx2": 16, "neon": 32, "word64": 16}[self.value]


_LANES = {InstructionSet.AVX512: 512, InstructionSet.AVX2: 256, InstructionSet.NEON: 128, InstructionSet.WORD64: 64}

_AVX512_FEATURES = ("avx512f", "avx512bw", "avx512vl", "avx512dq")


@functools.cache
def host_instruction_sets() -> tuple[InstructionSet, ...]:
    """Return those that this machine and its operating system run, the widest first.

    Raises
    ------
    ImportError
        If llvmlite, which knows the machine, is not installed.
    """
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()              # what the operating system does not save is off
    triple = llvm.get_process_triple()
    found = []
    if triple.startswith("x86_64"):
        if all(features.get(name) for name in _AVX512_FEATURES):
            found.append(InstructionSet.AVX512)
        if features.get("avx2"):
            found.append(InstructionSet.AVX2)
    if triple.startswith(("aarch64", "arm64")):
        found.append(InstructionSet.NEON)                # part of every 64-bit ARM
    return (*found, InstructionSet.WORD64)


def find_instruction_set(name: str) -> InstructionSet:
    """Return the instruction set of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    try:
        return InstructionSet(name)
    except ValueError:
        raise ValueError(f"Instruction set must be one of {', '.join(isa.value for isa in InstructionSet)}, "
                         f"not {name!r}") from None


def choose_instruction_set(isa: InstructionSet | str | None = None) -> InstructionSet:
    """Return the instruction set to compile for on this machine.

    Where ``isa`` is None it is the one that the environment variable ``NARROWGAUGE_INSTRUCTION_SET`` names, or the
    widest that the machine has.

    Raises
    ------
    ValueError
        If there is no such instruction set, or this machine does not have it.
    ImportError
        If llvmlite is not installed.
    """
    known = host_instruction_sets()
    chosen = isa or os.environ.get(INSTRUCTION_SET_VARIABLE) or known[0]
    if not isinstance(chosen, InstructionSet):
        chosen = find_instruction_set(chosen)
    if chosen not in known:
        raise ValueError(f"Instruction set must be one of {', '.join(each.value for each in known)} on this machine, "
                         f"not {chosen.value!r}")
    return chosen
