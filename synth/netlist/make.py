"""Which engine runs a program: the fastest that is installed, or the one that was asked for."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable

from synth.netlist.engine import Engine
from synth.netlist.instruction_set import (
    INSTRUCTION_SET_VARIABLE,
    InstructionSet,
    choose_instruction_set,
    find_instruction_set,
)
from synth.netlist.numpy_engine import NumpyEngine
from synth.netlist.program import Program
from synth.netlist.threads import check_threads

__all__ = ["ENGINES", "ENGINE_VARIABLE", "check_engine", "chosen_engine", "engine_key", "has_llvm", "make_engine",
           "make_engine_for", "uses_llvm"]

ENGINES = ("auto", "numpy", "llvm", "torch")
"""Names of engines; ``auto`` is llvm where it is installed, otherwise numpy."""

ENGINE_VARIABLE = "NARROWGAUGE_ENGINE"
"""The environment variable that names the engine where a caller leaves it open."""

NATIVE = "pip install 'narrowgauge[native]'"

NUMPY_SECONDS, NUMPY_LANE_SECONDS = 5e-8, 1.5e-11
"""What numpy takes for an instruction of a pass, and for each of its lanes: measured, within a factor of three."""

COMPILE_SECONDS = 1e-4
"""What making native code takes an instruction, without looking for few look-ups."""

COVERED_VECTORS = 1 << 30
"""Vectors from which on looking for few look-ups takes less time than they save."""

Warn = Callable[[str], None]


def make_engine(program: Program, name: str = "auto", *, isa: InstructionSet | str | None = None,
                threads: int | None = None, warn: Warn | None = None) -> Engine:
    """Return an engine for a program.

    Parameters
    ----------
    program : Program
    name : str
        One of :data:`ENGINES`. Where it is ``auto``, the environment variable ``NARROWGAUGE_ENGINE`` may name another.
    isa : InstructionSet or str, optional
        Of the llvm engine: by default the one that ``NARROWGAUGE_INSTRUCTION_SET`` names, or the widest there is.
    threads : int, optional
        Of the llvm engine: by default one a core.
    warn : callable, optional
        Told in one line where the llvm engine would be there but for something that is missing; by default standard
        error is, once.

    Raises
    ------
    ValueError
        If there is no such engine or instruction set, or the machine does not have it.
    ImportError
        If an engine that was asked for by name is not installed.
    """
    chosen = chosen_engine(name, warn=warn)
    if isinstance(isa, str):
        isa = find_instruction_set(isa)
    if chosen == "llvm":
        from synth.netlist.llvm_engine import LlvmEngine

        return LlvmEngine(program, isa=isa, threads=threads)
    check_threads(threads)
    if isa is not None and name != "auto":
        raise ValueError(f"Instruction set must be left out for the engine {chosen}, not {isa.value!r}")
    if chosen == "torch":
        from synth.netlist.torch_engine import TorchEngine

        return TorchEngine(program)
    return NumpyEngine(program)


def make_engine_for(program: Program, name: str = "auto", *, lanes: int, passes: int = 1, warn: Warn | None = None
                    ) -> Engine:
    """Return an engine for a netlist that is run once, where compiling it may take longer than running it on numpy.

    Parameters
    ----------
    program : Program
    name : str
        As for :func:`make_engine`; ``auto`` is numpy where that is sooner done.
    lanes, passes : int
        How many vectors are run at a time, and how many times.
    warn : callable, optional
        As for :func:`make_engine`.

    Raises
    ------
    ValueError, ImportError
        As :func:`make_engine`.
    """
    if name == "auto" and not os.environ.get(ENGINE_VARIABLE):
        if passes * (NUMPY_SECONDS + lanes * NUMPY_LANE_SECONDS) < COMPILE_SECONDS:
            return NumpyEngine(program)
        name = chosen_engine(name, warn=warn)
    if chosen_engine(name, warn=warn) == "llvm":
        from synth.netlist.llvm_engine import LlvmEngine

        return LlvmEngine(program, covered=passes * lanes >= COVERED_VECTORS)
    return make_engine(program, name, warn=warn)


def chosen_engine(name: str = "auto", *, warn: Warn | None = None) -> str:
    """Return which engine :func:`make_engine` makes for that name: ``numpy``, ``llvm`` or ``torch``.

    Raises
    ------
    ValueError, ImportError
        As :func:`make_engine`.
    """
    asked = name
    if name == "auto":
        asked = os.environ.get(ENGINE_VARIABLE) or name
    if asked not in ENGINES:
        raise ValueError(f"Engine must be one of {', '.join(ENGINES)}, not {asked!r}")
    if asked in ("auto", "llvm"):
        missing = _missing_llvm()
        if not missing:
            return "llvm"
        if asked == "llvm":
            raise ImportError(f"Engine llvm must have {missing}; {NATIVE}")
        (warn or _warn_once)(f"netlists run on numpy, many times slower, without {missing}; {NATIVE}")
        return "numpy"
    if asked == "torch":
        try:
            importlib.import_module("torch")
        except ImportError as error:
            raise ImportError("Engine torch must have torch; pip install 'narrowgauge[torch]'") from error
    return asked


def check_engine(name: str = "auto") -> str:
    """Return :func:`chosen_engine`, without a warning, once it is sure that the engine can be made.

    Raises
    ------
    ValueError, ImportError
        As :func:`make_engine`.
    """
    chosen = chosen_engine(name, warn=lambda _: None)
    if chosen == "llvm":
        choose_instruction_set()
    return chosen


def engine_key(name: str = "auto") -> str:
    """Return what is asked for by a name and by the environment: part of the key of what is kept of a run."""
    asked = os.environ.get(ENGINE_VARIABLE) or name if name == "auto" else name
    return f"{asked} {os.environ.get(INSTRUCTION_SET_VARIABLE, '')}".rstrip()


def has_llvm() -> bool:
    """Return whether the llvm engine can be used here."""
    return not _missing_llvm()


def uses_llvm() -> bool:
    """Return whether the llvm engine is what is used where nobody says anything."""
    return os.environ.get(ENGINE_VARIABLE, "auto") in ("", "auto", "llvm") and has_llvm()


def _missing_llvm() -> str:
    """Return what the llvm engine lacks on this machine, or nothing."""
    if sys.byteorder != "little":
        return "a little-endian processor"
    try:
        importlib.import_module("llvmlite.binding")
    except (ImportError, OSError) as error:              # not installed, or a library of it that cannot be loaded
        return "llvmlite" if isinstance(error, ModuleNotFoundError) else f"llvmlite ({error})"
    return ""


@functools.cache
def _warn_once(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
