import dataclasses
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from synth.native import native_product
from synth.native.matrix import MatrixUnit
from synth.native.native_product import NativeProduct
from synth.native.operator import operator
from synth.native.reference import reference_matmul
from synth.native.simulated import SimulatedProduct
from synth.netlist import compile_netlist, read_netlist
from synth.netlist.instruction_set import host_instruction_sets
from synth.netlist.program import MemoryBlock, PortRegisters
from synth.operations.components import component_of
from tests.support.macs import MACS, mac, mac_program, operands
from tests.support.mapped import map_component
from tests.support.sampling import sampled

SHAPES = [(1, 1, 1), (3, 1, 5), (2, 7, 70), (11, 7, 3), (5, 13, 130), (2, 7, 600), (130, 13, 2), (1, 13, 1)]
WIDEST, *OTHERS = host_instruction_sets()


def unit(name, **options):
    return MatrixUnit(mac(name), program=mac_program(name), **options)


def assert_equal(got, want, context):
    wrong = np.argwhere(got != want)
    assert not len(wrong), (f"{context}: {len(wrong)} of {want.size} wrong, first at {wrong[0].tolist()}: got "
                            f"{got[tuple(wrong[0])]}, want {want[tuple(wrong[0])]}")


@sampled(("name", "isa"), [
    *((name, WIDEST) for name in MACS),
    *((name, isa) for name in ("mac-wraps", "emac-e3m2", "fma-posit") for isa in OTHERS)], 8)
def test_products_are_those_of_the_reference(name, isa):
    tested, rng = unit(name, isa=isa, threads=2), np.random.default_rng(1)
    assert isinstance(tested._product, NativeProduct)
    for shape in SHAPES:
        a, b = operands(mac(name), *shape, rng)
        got = tested.matmul(a, b)
        assert got.shape == (shape[0], shape[2])
        assert_equal(got, reference_matmul(mac(name), a, b), f"{name} {shape} on {isa.value}")


@pytest.mark.parametrize("name", MACS)
def test_products_by_numpy_are_those_of_the_reference(name):
    tested, rng = unit(name, engine="numpy"), np.random.default_rng(2)
    assert isinstance(tested._product, SimulatedProduct)
    for shape in SHAPES[:5]:
        a, b = operands(mac(name), *shape, rng)
        assert_equal(tested.matmul(a, b), reference_matmul(mac(name), a, b), f"{name} {shape}")


def test_corner_codes_overflow_and_cancel_as_in_the_reference():
    operation = operator("chunked_mac", fmt="e4m3", fmt_b="e5m2", accumulator="float16_e6m9", chunk=5)
    tested = MatrixUnit(operation)
    corners = np.array([0x00, 0x80, 0x01, 0x81, 0x08, 0x78, 0x7E, 0xFE, 0x7F, 0x7C, 0xFC, 0x7D, 0x3C, 0xBC], np.uint8)
    rng = np.random.default_rng(3)
    a, b = rng.choice(corners, (7, 64)), rng.choice(corners, (64, 512))
    assert_equal(tested.matmul(a, b), reference_matmul(operation, a, b), "corners")


def test_every_pair_of_codes_as_a_sum_of_its_own():
    tested = MatrixUnit(operator("emac", fmt="e4m3", terms=40))
    codes = np.arange(256, dtype=np.uint8)
    got = tested.matmul(codes[:, None], codes[None, :])
    values = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    products = values[:, None] * values[None, :]         # exact in float32
    with np.errstate(invalid="ignore"):
        want = np.clip(products, -448, 448).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    want = np.where(products == 0, 0, np.where(np.isnan(products), 0x7F, want))
    assert_equal(got, want, "e4m3")


def test_int8_products_are_those_of_numpy():
    operation = operator("mac", fmt="int8", out_fmt="int32", accumulator="int32")
    rng = np.random.default_rng(6)
    a, b = rng.integers(-128, 128, (37, 300)), rng.integers(-128, 128, (300, 65))
    got = MatrixUnit(operation).matmul(a & 255, b & 255)
    assert got.dtype == np.uint32
    assert (got.view(np.int32) == a @ b).all()


def test_wrapping_accumulators_wrap():
    operation = operator("mac", fmt="int8", accumulator="int18", out_fmt="int18", overflow="wrap")
    rng = np.random.default_rng(7)
    a, b = rng.integers(64, 128, (6, 90)), rng.integers(64, 128, (90, 70))
    want = a @ b & (1 << 18) - 1
    assert (a @ b >= 1 << 17).any()
    assert (MatrixUnit(operation).matmul(a, b) == want).all()


@pytest.mark.parametrize(("target", "dsp"), [("ice40", False), ("ecp5", True)])
def test_the_netlist_of_an_fpga_gives_the_same(target, dsp, tmp_path):
    operation = mac("mac-int8")
    component = component_of(operation.model, pipeline=0, hard_multiplier=dsp)
    netlist, cells = map_component(component, target, tmp_path, dsp=dsp)
    tested = MatrixUnit(operation, program=compile_netlist(read_netlist(netlist)))
    assert isinstance(tested._product, NativeProduct)
    rng = np.random.default_rng(8)
    for shape in [(3, 17, 70), (5, 32, 9)]:
        a, b = operands(operation, *shape, rng)
        assert_equal(tested.matmul(a, b), reference_matmul(operation, a, b), f"{target} {cells}")


@pytest.mark.slow
@pytest.mark.parametrize("target", [None, "ice40", "ecp5", "xc7"])
def test_long_sums_in_chunks_of_64_through_any_netlist(target, tmp_path):
    operation = operator("chunked_mac", fmt="e4m3", fmt_b="e5m2", accumulator="float16_e6m9", chunk=64)
    program = None
    if target is not None:
        netlist, _ = map_component(component_of(operation.model, pipeline=0, hard_multiplier=False), target, tmp_path,
                                   dsp=False)
        program = compile_netlist(read_netlist(netlist))
    tested, rng = MatrixUnit(operation, program=program), np.random.default_rng(17)
    rows, terms, columns = 37, 500, 65
    a, b = rng.integers(0, 256, (rows, terms)), rng.integers(0, 256, (terms, columns))
    a[:, ::3] &= 0x3F                                    # sums that stay finite for a while
    a[a & 0x7F == 0x7F] = 0
    b[b & 0x7C == 0x7C] = 0
    row, column = np.divmod(np.arange(rows * columns), columns)
    want = operation.model.dot(a[row].astype(np.uint64), b[:, column].T.astype(np.uint64)).reshape(rows, columns)
    assert len(np.unique(want)) > 100
    assert_equal(tested.matmul(a, b), want, str(target))


@pytest.mark.parametrize("engine", ["auto", "numpy"])
@pytest.mark.parametrize("shape", [(3, 0, 4), (0, 3, 4), (3, 4, 0), (0, 0, 0), (0, 0, 5)])
def test_empty_products(shape, engine):
    rows, terms, columns = shape
    got = unit("emac-preload", engine=engine).matmul(np.zeros((rows, terms), np.uint8), np.zeros((terms, columns), int))
    assert (got.shape, got.dtype, got.any()) == ((rows, columns), np.uint8, False)


def test_any_integer_type_and_any_strides_are_taken():
    tested, rng = unit("mac-int8"), np.random.default_rng(9)
    a, b = operands(tested.operation, 5, 12, 7, rng)
    want = tested.matmul(a, b)
    for kind in (np.uint8, np.int16, np.uint32, np.int64):
        assert (tested.matmul(np.asfortranarray(a.astype(kind)), b.astype(kind)[::-1][::-1]) == want).all()
    wide = np.repeat(a, 2, axis=1).astype(np.uint8)
    assert (tested.matmul(wide[:, ::2], b) == want).all()


def test_large_products_go_slice_by_slice(monkeypatch):
    tested, rng = unit("chunked-e3m2", threads=2), np.random.default_rng(10)
    a, b = operands(tested.operation, 90, 8, 200, rng)
    want = tested.matmul(a, b)
    monkeypatch.setattr(native_product, "ACROSS_BYTES", 1000)
    monkeypatch.setattr(native_product, "_CALL_LOOKUPS", 10_000)
    assert (tested.matmul(a, b) == want).all()
    assert_equal(want, reference_matmul(tested.operation, a, b), "whole")


def test_an_interrupt_ends_the_work(monkeypatch):
    tested, rng = unit("emac-e3m2", threads=2), np.random.default_rng(11)
    a, b = operands(tested.operation, 64, 4, 512, rng)
    monkeypatch.setattr(native_product, "_CALL_LOOKUPS", 1)
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(tested._product, "_driver", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tested.matmul(a, b)
    assert len(calls) < 40                               # of 64 blocks, each a call


def test_threads_may_share_a_unit():
    tested, rng = unit("chunked-unchunked", threads=2), np.random.default_rng(12)
    cases = [operands(tested.operation, 9, terms, 40, rng) for terms in (3, 4, 5, 6, 3, 4, 5, 6)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda case: tested.matmul(*case), cases))
    for (a, b), got in zip(cases, results, strict=True):
        assert_equal(got, reference_matmul(tested.operation, a, b), str(a.shape))


@pytest.mark.parametrize("name", ["mac-wraps", "fma-posit"])
def test_simulation_takes_no_memory_for_every_pair(name):
    tested, rng = unit(name, engine="numpy"), np.random.default_rng(18)
    a, b = (codes.astype(np.uint8) for codes in operands(tested.operation, 64, 40, 64, rng))
    tested.matmul(a[:, :2], b[:2])                       # what is made once
    tracemalloc.start()
    got = tested.matmul(a, b)
    _, few = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    many = tested.matmul(np.tile(a, 4), np.tile(b, (4, 1)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < few + 64 * 64 * 3 * 40, f"{peak} bytes for 160 pairs an element, {few} for 40"
    assert_equal(got, reference_matmul(tested.operation, a, b), name)
    assert many.shape == got.shape


def test_torch_simulates():
    tested, rng = unit("mac-int8", engine="torch"), np.random.default_rng(13)
    a, b = operands(tested.operation, 3, 5, 4, rng)
    assert_equal(tested.matmul(a, b), reference_matmul(tested.operation, a, b), "torch")
    assert tested.instructions(5) is None


def test_a_program_that_cannot_be_taken_apart_is_simulated():
    memory = MemoryBlock(cells=("m",), words=2, width=1, initial=b"\0\0", writes=())
    program = dataclasses.replace(mac_program("mac-int8"), memories=(memory,))
    tested, rng = MatrixUnit(mac("mac-int8"), program=program), np.random.default_rng(14)
    assert isinstance(tested._product, SimulatedProduct)
    a, b = operands(tested.operation, 3, 5, 4, rng)
    assert_equal(tested.matmul(a, b), reference_matmul(tested.operation, a, b), "simulated")


def test_without_llvmlite_numpy_simulates_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    said = []
    tested, rng = unit("mac-int8", warn=said.append), np.random.default_rng(15)
    assert isinstance(tested._product, SimulatedProduct)
    assert len(said) == 1
    assert "pip install 'narrowgauge[native]'" in said[0]
    a, b = operands(tested.operation, 3, 5, 4, rng)
    assert_equal(tested.matmul(a, b), reference_matmul(tested.operation, a, b), "numpy")
    with pytest.raises(ImportError, match="Engine llvm must have llvmlite; pip install"):
        unit("mac-int8", engine="llvm")


def test_the_environment_chooses_where_nothing_is_said(monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_ENGINE", "numpy")
    assert isinstance(unit("mac-int8")._product, SimulatedProduct)
    assert isinstance(unit("mac-int8", engine="llvm")._product, NativeProduct)
    monkeypatch.delenv("NARROWGAUGE_ENGINE")
    monkeypatch.setenv("NARROWGAUGE_INSTRUCTION_SET", "word64")
    tested, rng = unit("mac-int8"), np.random.default_rng(16)
    a, b = operands(tested.operation, 3, 5, 4, rng)
    assert_equal(tested.matmul(a, b), reference_matmul(tested.operation, a, b), "word64")


def test_instructions_are_those_of_the_steps():
    tested = unit("emac-e3m2", isa=WIDEST)
    many, few = tested.instructions(1000), tested.instructions(1)
    assert 0 < many < few
    assert many == pytest.approx(sum(run.repeats * len(run.step.logic.lookups)
                                     for run in tested._product.plan(1000).runs) / 1000)


def test_engine_wrong():
    with pytest.raises(ValueError, match="Engine must be one of auto, numpy, llvm, torch, not 'cuda'"):
        unit("mac-int8", engine="cuda")
    with pytest.raises(ValueError, match="Threads must be at least 1, not 0"):
        unit("mac-int8", threads=0)


@pytest.mark.parametrize(("flag", "taken"), [("i__ready", 0), ("o__valid", 3)])
@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_a_circuit_that_is_stuck_wrong(flag, taken, engine):
    program = mac_program("mac-int8")
    outputs = tuple(PortRegisters(port.name, (0,)) if port.name == flag else port for port in program.outputs)
    with pytest.raises(ValueError, match=f"Program must give a result within 4096 cycles, not none after {taken} of 3 "
                                         "pairs"):
        MatrixUnit(mac("mac-int8"), program=dataclasses.replace(program, outputs=outputs),
                   engine=engine).matmul(np.zeros((2, 3), int), np.zeros((3, 2), int))


def test_a_handshake_that_operands_decide_wrong():
    program = mac_program("mac-int8")
    payload = next(port for port in program.inputs if port.name == "i__payload").registers
    outputs = tuple(PortRegisters(port.name, payload[:1]) if port.name == "i__ready" else port
                    for port in program.outputs)
    tested = MatrixUnit(mac("mac-int8"), program=dataclasses.replace(program, outputs=outputs), engine="numpy")
    with pytest.raises(ValueError, match="Program must take and give transfers in the same cycles whatever the "
                                         "operands are, not in some copies earlier than in others"):
        tested.matmul(np.array([[1], [0]]), np.zeros((1, 2), int))


def test_properties():
    tested = unit("mac-wraps")
    assert (tested.a.name, tested.b.name, tested.result.name) == ("fixed<6,3>", "ufixed<5,5>", "fixed<7,2>")
    assert tested.maximum_terms is None
    assert tested.operation is mac("mac-wraps")
    assert tested.program is mac_program("mac-wraps")
    assert unit("emac-exact").result is None
    assert unit("emac-exact").maximum_terms == 64


def test_codes_wrong():
    tested = unit("mac-int8")
    good = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"Codes of a must be a matrix, not of shape \(3,\)"):
        tested.matmul(np.zeros(3, int), good)
    with pytest.raises(TypeError, match="Codes of b must be integers, not float32"):
        tested.matmul(good, np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="Codes of a must be 0 to 255, not -1 to 0; mask two's complement first"):
        tested.matmul(np.array([[0, -1, 0]]), good.T)
    with pytest.raises(ValueError, match="Codes of b must be 0 to 255, not 0 to 256; mask two's complement first"):
        tested.matmul(good, np.array([[0], [256], [0]]))
    with pytest.raises(ValueError, match="Codes of b must have as many rows as a has columns, 3, not 2"):
        tested.matmul(good, good)
    with pytest.raises(ValueError, match="Terms of a sum must be at most the 32 of the operator, not 33; --terms gives "
                                         "it more"):
        tested.matmul(np.zeros((1, 33), int), np.zeros((33, 1), int))
