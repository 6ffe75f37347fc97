"""LLVM's intermediate language to machine code in this process, kept by content."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sw.cache import cache_folder, digest_of
from sw.files import write_whole
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_ir import STACK, TERNARY

__all__ = ["BLOCK_ARGUMENTS", "NativeCode", "NativeFunction", "assembly_of", "compile_functions"]

NativeFunction = Callable[..., None]

BLOCK_ARGUMENTS = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
"""What a function of :func:`~synth.netlist.llvm_blocks.block_function` takes."""

CACHE_BYTES = 1 << 28
"""Size up to which machine code is kept on disk; beyond it, what was used least recently goes."""

_DIGEST_BYTES = 32
_PRUNED_WRITES = 64                                      # looking through the folder takes longer than a write
_writes = itertools.count()
_LOCK = threading.Lock()                                 # LLVM's global context is one for all threads
_OPTIMIZATION = 2

_X86_FEATURES = {
    InstructionSet.AVX512: "-prefer-256-bit",
    InstructionSet.AVX2: "-avx512f",
    InstructionSet.WORD64: "-avx512f,-avx2,-avx,-sse",
}


class NativeCode:
    """Loaded machine code; its functions keep it alive."""

    def __init__(self, engine: Any, object_code: bytes) -> None:
        self._engine = engine
        self.object_code = object_code

    def function(self, name: str, *arguments: Any) -> NativeFunction:
        """Return a function without result, whose arguments are of these ctypes; it runs without the interpreter's
        lock."""
        function: Any = ctypes.CFUNCTYPE(None, *arguments)(self.address(name))
        function.code = self
        callable_: NativeFunction = function
        return callable_

    def address(self, name: str) -> int:
        """Return where a function is, for code that calls it by itself; it is there as long as this object."""
        address: int = self._engine.get_function_address(name)
        return address


def compile_functions(text: str, isa: InstructionSet) -> NativeCode:
    """Return the machine code of functions in LLVM's language, from the cache where it has been made before.

    The cache is a folder of files beside the other things that can be made again, each named by everything that it
    depends on and starting with its own digest; what is damaged is made anew, and where nothing can be written,
    nothing is kept.

    Raises
    ------
    ImportError
        If llvmlite is not installed.
    """
    import llvmlite
    import llvmlite.binding as llvm

    with _LOCK:
        machine, identity = _host_machine(isa)
        text = _declared(text, isa)
        key = digest_of("native code 2", llvmlite.__version__, str(llvm.llvm_version_info), identity,
                        str(_OPTIMIZATION), text)
        path = cache_folder() / "native" / f"{key}.o"
        code = _kept(path)
        if code is None:
            code = machine.emit_object(llvm.parse_assembly(text))
            _keep(path, code)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return NativeCode(engine, code)


def assembly_of(text: str, isa: InstructionSet, triple: str = "") -> str:
    """Return the assembly text of functions, for this machine or any that LLVM knows by ``triple``."""
    import llvmlite.binding as llvm

    with _LOCK:
        if triple:
            llvm.initialize_all_targets()
            llvm.initialize_all_asmprinters()
            machine = llvm.Target.from_triple(triple).create_target_machine(opt=_OPTIMIZATION)
        else:
            machine, _ = _host_machine(isa)
        assembly: str = machine.emit_assembly(llvm.parse_assembly(_declared(text, isa)))
        return assembly


def _host_machine(isa: InstructionSet) -> tuple[Any, str]:
    """Return LLVM's description of this machine, as far as the instruction set has it, and its name."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    host, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    if isa in _X86_FEATURES and llvm.get_process_triple().startswith("x86_64"):
        features = f"{features},{_X86_FEATURES[isa]}".lstrip(",")
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=host, features=features, opt=_OPTIMIZATION,
                                                                      jit=True)
    return machine, f"{llvm.get_default_triple()} {host} {features}"


def _declared(text: str, isa: InstructionSet) -> str:
    return "\n".join([STACK, *([TERNARY] if isa is InstructionSet.AVX512 else []), text])


def _kept(path: Path) -> bytes | None:
    """Return code from the cache, or None where it is not there, or not whole."""
    try:
        data = path.read_bytes()
        digest, code = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(code).digest() != digest:
            return None
    except OSError:
        return None                                      # it is compiled instead, which is what the cache saves
    with contextlib.suppress(OSError):                   # of another user's file, only that one changes the time
        os.utime(path)                                   # used just now
    return code


def _keep(path: Path, code: bytes) -> None:
    """Put code into the cache and what was used least recently out of it; a cache that cannot be written is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(code).digest() + code)
        if next(_writes) % _PRUNED_WRITES:
            return
        files = sorted(((entry.stat().st_mtime, entry.stat().st_size, entry.path)
                        for entry in os.scandir(path.parent) if entry.name.endswith(".o")), reverse=True)
        size = 0
        for _, length, name in files:
            size += length
            if size > CACHE_BYTES:
                os.unlink(name)
    except OSError:
        return                                           # another process may also have removed the same files
