"""Machine code and where it is kept: what is there is used, what is damaged is not, and no cache is no error."""

import ctypes
import hashlib
import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from synth.netlist import llvm_compile
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_compile import compile_functions

ROOT = Path(__file__).parents[3]
TEXT = "define void @answer(ptr %out) {\nstore i64 42, ptr %out\nret void\n}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path))
    return tmp_path / "native"


def answer(text=TEXT, isa=InstructionSet.WORD64):
    result = ctypes.c_int64()
    compile_functions(text, isa).function("answer", ctypes.c_void_p)(ctypes.addressof(result))
    return result.value


def test_code_is_made_once(folder, monkeypatch):
    assert answer() == 42
    path, = folder.iterdir()
    data = path.read_bytes()
    assert hashlib.sha256(data[32:]).digest() == data[:32]
    monkeypatch.setattr(llvm_compile, "_keep", lambda path, code: pytest.fail("compiled again"))
    assert answer() == 42


def test_code_of_another_user_is_used(folder, monkeypatch):
    answer()

    def refused(path):
        raise PermissionError(path)

    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(llvm_compile, "_keep", lambda path, code: pytest.fail("compiled again"))
    assert answer() == 42


def test_other_text_and_other_sets_are_other_files(folder):
    assert answer() == 42
    assert answer(TEXT.replace("42", "43")) == 43
    assert answer(isa=InstructionSet.NEON) == 42         # plain code, which any machine runs
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"short", "truncated", "changed"])
def test_damaged_files_are_made_anew(folder, damage):
    answer()
    path, = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-9], "changed": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]}.get(
        damage, damage))
    assert answer() == 42
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_no_error(folder):
    folder.write_text("a file where the folder should be")
    assert answer() == 42
    assert folder.is_file()


def test_what_was_used_least_recently_goes(folder, monkeypatch):
    texts = [TEXT.replace("42", str(number)) for number in range(4)]
    files = []
    for text in texts[:3]:
        answer(text)
        files.append(({*folder.iterdir()} - {*files}).pop())
    for age, path in enumerate(reversed(files)):         # the first one is the oldest, but is used again
        os.utime(path, (1000 - age, 1000 - age))
    answer(texts[0])
    monkeypatch.setattr(llvm_compile, "CACHE_BYTES", 3 * files[0].stat().st_size + 5)
    monkeypatch.setattr(llvm_compile, "_writes", itertools.count(63))
    answer(TEXT.replace("42", "7"))
    assert len(list(folder.iterdir())) == 4              # the folder is not looked through at every write
    answer(texts[3])
    left = {*folder.iterdir()}
    assert len(left) == 3
    assert files[0] in left
    assert not {files[1], files[2]} & left


def test_functions_outlive_what_made_them(folder):
    functions = [compile_functions(TEXT.replace("42", str(number)), InstructionSet.WORD64).function(
        "answer", ctypes.c_void_p) for number in range(20)]
    result = ctypes.c_int64()
    for number, function in enumerate(functions):
        function(ctypes.addressof(result))
        assert result.value == number


def test_addresses_are_for_callers_of_their_own(folder):
    code = compile_functions(TEXT, InstructionSet.WORD64)
    result = ctypes.c_int64()
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("answer"))(ctypes.addressof(result))
    assert result.value == 42


def test_processes_share_the_folder(folder):
    program = textwrap.dedent("""
        import ctypes
        from synth.netlist.instruction_set import InstructionSet
        from synth.netlist.llvm_compile import compile_functions
        result = ctypes.c_int64()
        for number in range(10):
            text = "define void @f(ptr %out) { store i64 " + str(number) + ", ptr %out ret void }"
            compile_functions(text, InstructionSet.WORD64).function("f", ctypes.c_void_p)(ctypes.addressof(result))
            assert result.value == number
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(list(folder.iterdir())) == 10
