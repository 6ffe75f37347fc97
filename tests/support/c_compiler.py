"""Where a C compiler exists: generated headers compiled, and their drivers run."""

import functools
import platform
import shutil
import subprocess
from pathlib import Path

from synth.native.c_driver import DRIVER, VECTORS, c_driver
from synth.native.c_header import c_header
from synth.native.c_interface import Interface
from synth.native.c_vectors import driver_vectors
from synth.native.native_form import native_form
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets

STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2")
"""Options under which generated C has to compile without a word."""

FLAGS = {InstructionSet.AVX512: "-mavx512f", InstructionSet.AVX2: "-mavx2"}
"""What makes a compiler target an instruction set."""

STAND_IN = Path(__file__).parent.parent / "synth" / "native" / "stand_in"
"""Folder of an ``arm_neon.h`` in portable C."""


@functools.cache
def compiler():
    """Return the path of a C compiler, or None."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def compile_flags():
    """Return what makes the compiler target everything that this machine has, and NEON's stand-in elsewhere."""
    flags = [FLAGS[isa] for isa in host_instruction_sets() if isa in FLAGS]
    return flags if platform.machine().lower() in ("arm64", "aarch64") else [*flags, "-D__ARM_NEON", f"-I{STAND_IN}"]


def write_driver(folder, operation, store, *, sets=tuple(InstructionSet), seed=1, name=None):
    """Write header, driver and vectors of an operation; return its interface and the vectors."""
    forms = [native_form(operation, isa, store=store) for isa in sets]
    interface = Interface.of(operation, forms[0].program, name)
    (folder / interface.header).write_text(c_header(operation, forms, name))
    (folder / DRIVER).write_text(c_driver(operation, forms, name))
    vectors = driver_vectors(operation, interface, forms[0], seed=seed)
    (folder / VECTORS).write_bytes(vectors.to_bytes())
    return interface, vectors


def compile_driver(folder, *flags):
    """Compile a folder's driver; return the compiler's result."""
    return subprocess.run([compiler(), *STRICT, *(flags or compile_flags()), DRIVER, "-o", "driver"], cwd=folder,
                          capture_output=True, text=True, timeout=120)


def run_driver(folder, vectors=VECTORS):
    """Run a compiled driver."""
    return subprocess.run([str(folder / "driver"), str(vectors)], cwd=folder, capture_output=True, text=True,
                          timeout=120)
