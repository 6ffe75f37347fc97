"""LLVM's intermediate language to machine code in this process, kept by content."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from sw.cache import cache_folder, digest_of
from sw.files import write_whole
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_ir import TERNARY

__all__ = ["NativeCode", "compile_functions"]

_LOCK = threading.Lock()
_OPTIMIZATION = 2

_X86_FEATURES = {
    InstructionSet.AVX512: "-prefer-256-bit",
    InstructionSet.AVX2: "-avx512f",
    InstructionSet.WORD64: "-avx512f,-avx2,-avx",
}


class NativeCode:
    """Loaded machine code; its functions live as long as it does."""

    def __init__(self, engine: Any, object_code: bytes) -> None:
        self._engine = engine
        self.object_code = object_code

    def function(self, name: str, *arguments: Any) -> Any:
        """Return a function without result, whose arguments are of these ctypes; it runs without the interpreter's
        lock."""
        prototype = ctypes.CFUNCTYPE(None, *arguments)
        return prototype(self._engine.get_function_address(name))


def compile_functions(text: str, isa: InstructionSet) -> NativeCode:
    """Return the machine code of functions in LLVM's language, from the cache where it has been made before."""
    import llvmlite
    import llvmlite.binding as llvm

    with _LOCK:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        host, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        if isa in _X86_FEATURES and llvm.get_process_triple().startswith("x86_64"):
            features = ",".join(part for part in (features, _X86_FEATURES[isa]) if part)
        if isa is InstructionSet.AVX512:
            text = f"{TERNARY}\n{text}"
        key = digest_of("native code 1", llvmlite.__version__, str(llvm.llvm_version_info), host, features,
                        str(_OPTIMIZATION), text)
        path = cache_folder() / "native" / f"{key}.o"
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=host, features=features, opt=_OPTIMIZATION, jit=True)
        if path.exists():
            code = path.read_bytes()
        else:
            module = llvm.parse_assembly(text)
            code = machine.emit_object(module)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, code)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return NativeCode(engine, code)
