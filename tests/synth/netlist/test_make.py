"""Which engine is made, and what is said where it is not the fast one."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from synth.netlist import (
    InstructionSet,
    LlvmEngine,
    NumpyEngine,
    compile_netlist,
    make,
    make_engine,
    make_engine_for,
    read_netlist,
)
from synth.netlist.instruction_set import INSTRUCTION_SET_VARIABLE, host_instruction_sets
from synth.netlist.make import ENGINE_VARIABLE, check_engine, chosen_engine
from synth.netlist.torch_engine import TorchEngine
from tests.synth.netlist.builders import design, lut4

ROOT = Path(__file__).parents[3]
PIP = r"pip install 'narrowgauge\[native\]'"


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch):
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    monkeypatch.delenv(INSTRUCTION_SET_VARIABLE, raising=False)
    make._warn_once.cache_clear()


@pytest.fixture
def no_llvmlite(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)


def program():
    return compile_netlist(read_netlist(design({"a": ("input", [2, 3]), "y": ("output", [4])},
                                               {"u": lut4(0x6666, [2, 3], 4)})))


@pytest.mark.parametrize(("name", "kind"), [
    ("auto", LlvmEngine), ("llvm", LlvmEngine), ("numpy", NumpyEngine), ("torch", TorchEngine)])
def test_every_engine_by_its_name(name, kind):
    engine = make_engine(program(), name)
    assert type(engine) is kind
    assert engine.name.split()[0] == (name if name != "auto" else "llvm")
    assert engine.run({"a": [0, 1, 2, 3]})["y"].tolist() == [0, 1, 1, 0]


def test_instruction_set_and_threads():
    engine = make_engine(program(), isa="word64", threads=3)
    assert engine.name == "llvm word64"
    assert engine.isa is InstructionSet.WORD64
    assert engine.threads == 3


def test_the_environment_names_what_nobody_else_does(monkeypatch):
    monkeypatch.setenv(INSTRUCTION_SET_VARIABLE, "word64")
    assert make_engine(program()).name == "llvm word64"
    monkeypatch.setenv(ENGINE_VARIABLE, "numpy")
    assert make_engine(program()).name == "numpy"
    assert make_engine(program(), "llvm").name == "llvm word64"
    assert make_engine_for(program(), lanes=1 << 30).name == "numpy"
    monkeypatch.setenv(ENGINE_VARIABLE, "llvm")
    assert make_engine_for(program(), lanes=1).name == "llvm word64"
    monkeypatch.setenv(ENGINE_VARIABLE, "cobol")
    with pytest.raises(ValueError, match="Engine must be one of auto, numpy, llvm, torch, not 'cobol'"):
        make_engine(program())


def test_short_runs_are_not_compiled():
    assert make_engine_for(program(), lanes=65536).name == "numpy"
    assert make_engine_for(program(), lanes=100, passes=500).name == "numpy"
    for lanes, passes in ((1 << 24, 1), (100, 10000), (65536, 200)):
        assert make_engine_for(program(), lanes=lanes, passes=passes).name.startswith("llvm"), (lanes, passes)
    assert make_engine_for(program(), "numpy", lanes=1 << 24).name == "numpy"
    assert make_engine_for(program(), "llvm", lanes=1).name.startswith("llvm")
    assert make_engine_for(program(), "torch", lanes=1).name == "torch cpu"


def test_without_llvmlite_numpy_runs_and_says_so(no_llvmlite, capsys):
    for _ in range(2):
        engine = make_engine(program())
        assert type(engine) is NumpyEngine
    assert engine.run({"a": [0, 1, 2, 3]})["y"].tolist() == [0, 1, 1, 0]
    error = capsys.readouterr().err
    assert error == "warning: netlists run on numpy, many times slower, without llvmlite; " \
                    "pip install 'narrowgauge[native]'\n"
    said = []
    make_engine(program(), warn=said.append)
    make_engine_for(program(), lanes=1, warn=said.append)                # numpy in any case: nothing to say
    assert len(said) == 1
    make_engine_for(program(), lanes=1 << 24, warn=said.append)
    assert said[0] in error
    assert said[1:] == said[:1]


def test_without_llvmlite_a_large_array_is_packed_all_the_same(no_llvmlite):
    codes = np.arange(40000) % 4
    assert (NumpyEngine(program()).run({"a": codes})["y"] == (codes ^ codes >> 1) % 2).all()


def test_what_is_asked_for_by_name_must_be_there(no_llvmlite, monkeypatch):
    with pytest.raises(ImportError, match=f"Engine llvm must have llvmlite; {PIP}"):
        make_engine(program(), "llvm")
    with pytest.raises(ImportError, match=f"Engine llvm must have llvmlite; {PIP}"):
        check_engine("llvm")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"Engine torch must have torch; pip install 'narrowgauge\[torch\]'"):
        make_engine(program(), "torch")


def test_a_library_that_cannot_be_loaded_is_named(monkeypatch):
    def broken(name):
        raise OSError("libllvmlite.so: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    said = []
    assert chosen_engine(warn=said.append) == "numpy"
    assert "without llvmlite (libllvmlite.so: cannot open shared object file)" in said[0]


def test_other_byte_orders_run_on_numpy(monkeypatch):
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(ImportError, match="Engine llvm must have a little-endian processor"):
        make_engine(program(), "llvm")


def test_engines_wrong(monkeypatch):
    with pytest.raises(ValueError, match="Engine must be one of auto, numpy, llvm, torch, not 'gpu'"):
        make_engine(program(), "gpu")
    with pytest.raises(ValueError, match="Instruction set must be one of avx512, avx2, neon, word64, not 'mmx'"):
        make_engine(program(), isa="mmx")
    with pytest.raises(ValueError, match="Instruction set must be left out for the engine numpy, not 'avx2'"):
        make_engine(program(), "numpy", isa="avx2")
    with pytest.raises(ValueError, match="Threads must be at least 1, not 0"):
        make_engine(program(), threads=0)
    with pytest.raises(ValueError, match="Threads must be at least 1, not -1"):
        make_engine(program(), "numpy", threads=-1)
    missing = next(isa for isa in InstructionSet if isa not in host_instruction_sets())
    with pytest.raises(ValueError, match=f"on this machine, not '{missing.value}'"):
        make_engine(program(), isa=missing)
    monkeypatch.setenv(INSTRUCTION_SET_VARIABLE, "mmx")
    with pytest.raises(ValueError, match="Instruction set must be one of avx512, avx2, neon, word64, not 'mmx'"):
        check_engine()


def test_the_package_needs_no_llvmlite():
    """A process that cannot import it runs a netlist, and says one line on standard error."""
    text = textwrap.dedent("""
        import sys
        sys.modules["llvmlite"] = None
        from synth.netlist import compile_netlist, make_engine, read_netlist
        from tests.synth.netlist.builders import design, lut4
        ports = {"a": ("input", [2, 3]), "y": ("output", [4])}
        engine = make_engine(compile_netlist(read_netlist(design(ports, {"u": lut4(0x6666, [2, 3], 4)}))))
        print(engine.name, engine.run({"a": [0, 1, 2, 3]})["y"].tolist())
    """)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NARROWGAUGE_ENGINE")}
    done = subprocess.run([sys.executable, "-c", text], env={**environment, "PYTHONPATH": str(ROOT)}, check=True,
                          capture_output=True, text=True, timeout=120)
    assert done.stdout == "numpy [0, 1, 1, 0]\n"
    assert done.stderr.count("\n") == 1
    assert "pip install 'narrowgauge[native]'" in done.stderr
