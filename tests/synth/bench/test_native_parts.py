"""The parts of the bench of native code at tiny sizes: what they compare, their fields, and what they refuse."""

import dataclasses
import importlib

import numpy as np
import pytest

from sw.formats import parse
from synth.bench import native_matmul, native_others, native_packing, native_series, native_verification
from synth.bench.native_part import Settings
from synth.bench.native_timing import Effort
from synth.bench.quantize import NotMeasured
from synth.native.operator import operator
from synth.native.recipe import native_program
from synth.netlist.instruction_set import InstructionSet, choose_instruction_set
from synth.netlist.packing import pack_codes

WIDEST = choose_instruction_set()
QUICK = Settings(isa=WIDEST, threads=2, quick=True)
ALONE = dataclasses.replace(QUICK, threads=1)
"""Without torch's threads, which wait for each other where a test has no core of its own."""


@pytest.fixture
def tiny(monkeypatch):
    """Measure as little as can be."""
    effort = Effort(rounds=1, seconds=0.0, slot=0.0)
    monkeypatch.setattr(Settings, "effort", effort)
    monkeypatch.setattr(native_matmul, "EFFORT", effort)
    monkeypatch.setattr(native_series, "CODES", 1 << 13)
    monkeypatch.setattr(native_others, "ELEMENTS", 1 << 8)
    monkeypatch.setattr(native_packing, "QUICK_BYTES", {"cache": 1 << 12, "memory": 1 << 14})
    monkeypatch.setattr(native_matmul, "QUICK_SHAPE", (4, 70, 5))


def test_series(tiny):
    told = []
    document = native_series.run(dataclasses.replace(ALONE, formats=("e5m2", "e3m2")), told.append)
    assert told == ["series: float8_e5m2", "series: float6_e3m2fn"]
    assert (document["instruction_set"], document["lanes"], document["threads"]) == (WIDEST.value, WIDEST.lanes, 1)
    assert [row["hobflops"] for row in document["rows"]] == [8, None]
    assert document["reasons"]["float6_e3m2fn"]["torch"] == "torch has no type float6_e3m2fn"
    for row in document["rows"]:
        for kind in native_series.KINDS:
            assert row[kind]["instructions"] > 10
            assert row[kind]["live"] > 5
            for key in ("one_thread", "all_threads"):
                figures = row[kind][key]
                assert list(figures["others"]) == list(native_others.OTHERS)
                assert figures["bound_fraction"] == pytest.approx(
                    figures["planes"] * row[kind]["instructions"] / WIDEST.lanes / document["bound"][key])
                for name, rate in figures["others"].items():
                    ours = figures["codes" if kind == "multiply" else "planes"]
                    assert figures["ratios"][name] == (None if rate is None else pytest.approx(ours / rate))
                assert (figures["others"]["scalar"] is None) == ("scalar" in document["reasons"][row["format"]])
    assert [each["name"].split(",")[0] for each in document["targets"]] == [
        "float8_e5m2 MAC", "part of the bound", "part of the bound"]
    assert document["paper"]["ratio"] == 8


def test_the_series_is_that_of_hobflops():
    assert list(native_series.SERIES.values()) == [8, 8, 8, *range(9, 17)]
    for name, number in native_series.SERIES.items():
        fmt = parse(name)
        assert fmt.width == number
        assert (fmt.exponent_bits, fmt.fraction_bits) == ((4, 3) if "e4m3" in name else (5, number - 6))


def figures(scalar, ml_dtypes, fraction):
    return {"one_thread": {"ratios": {"scalar": scalar, "ml_dtypes": ml_dtypes}, "bound_fraction": fraction}}


def test_targets():
    rows = [{"format": name, "multiply": figures(1.0, 101.0, fraction), "mac": figures(scalar, 1.0, fraction - 0.2)}
            for name, scalar, fraction in (("float16", 12.5, 0.9), ("float8_e5m2", 49.0, 0.7),
                                           ("float8_e4m3fn", 9.0, 1.0))]
    made = native_series.targets(rows, InstructionSet.AVX512)
    assert [(each["target"], each["found"], each["met"]) for each in made] == [
        (12.0, 12.5, True), (50.0, 49.0, False), (100.0, 101.0, True), (0.6, 0.7, True),
        (0.6, pytest.approx(0.5), False)]
    assert "float8_e5m2" in made[-1]["name"]
    assert {each["met"] for each in native_series.targets(rows, InstructionSet.AVX2)} == {None}


def with_bits_swapped(operation, isa):
    """Return a program whose lowest two bits of the result are in each other's place."""
    program = native_program(operation, isa)
    output, = program.outputs
    low, next_one, *others = output.registers
    return dataclasses.replace(program, outputs=(dataclasses.replace(output, registers=(next_one, low, *others)),))


def test_a_wrong_netlist_is_not_timed(tiny, monkeypatch):
    monkeypatch.setattr(native_series, "native_program", with_bits_swapped)
    with pytest.raises(AssertionError, match=r"multiply in .*e3m2.* must be 0x\w+ for vector \d+, not 0x\w+"):
        native_series.run(dataclasses.replace(QUICK, formats=("e3m2",)), str)


def test_others_multiply_and_accumulate_in_their_formats():
    """What is timed computes the same: products of the same values are equal, and sums within one rounding."""
    import torch

    values = np.random.default_rng(1).standard_normal((2, 64)).astype(np.float32)
    fmt = parse("float8_e5m2")
    a, b = (row.astype(np.float16) for row in values)
    for prepare in (native_others._numpy, native_others._torch_half):
        multiply, accumulate = prepare(fmt, values)
        assert np.array_equal(np.asarray(multiply()), a * b)
        assert np.allclose(np.asarray(accumulate()), a * b + a[::-1], rtol=2**-9, atol=2**-10)
    multiply, accumulate = native_others._ml_dtypes(fmt, values)
    theirs = native_others._torch(fmt, values)
    assert np.array_equal(multiply().astype(np.float32), theirs[0]().to(torch.float32).numpy())
    x, y = (torch.tensor(row).to(torch.float8_e5m2).to(torch.float32) for row in values)
    want = (x * y + x.flip(0)).to(torch.float8_e5m2).to(torch.float32)
    assert torch.equal(theirs[1]().to(torch.float32), want)
    assert np.allclose(accumulate().astype(np.float32), want, rtol=0.5, atol=0.05)


def test_others_that_lack_a_format_say_so():
    fmt, values = parse("e5m4"), np.zeros((2, 4), np.float32)
    for prepare, text in ((native_others._ml_dtypes, "ml_dtypes has no type float10_e5m4"),
                          (native_others._torch, "torch has no type float10_e5m4")):
        with pytest.raises(NotMeasured, match=text):
            prepare(fmt, values)


def test_others_that_are_missing_are_named_with_the_way_to_get_them(monkeypatch):
    import_module = importlib.import_module

    def without(module, *arguments):
        if module in ("torch", "ml_dtypes"):
            raise ImportError(module)
        return import_module(module, *arguments)

    monkeypatch.setattr(importlib, "import_module", without)
    sides, reasons = native_others.array_sides(parse("e5m2"), np.zeros((2, 4), np.float32), threads=2)
    assert set(sides) == {"multiply numpy", "mac numpy"}
    assert all(len(side.workers) == 2 for side in sides.values())
    assert reasons == {"ml_dtypes": "ml_dtypes is not installed: pip install ml_dtypes",
                       "torch": "torch is not installed: pip install torch",
                       "torch float16": "torch is not installed: pip install torch"}
    with native_others.torch_threads(3):
        pass                                             # there is nothing to set


def test_torch_has_so_many_threads_meanwhile():
    import torch

    before = torch.get_num_threads()
    with native_others.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_matmul(tiny):
    document = native_matmul.run(ALONE, str)
    assert document["shape"] == [4, 70, 5]
    assert document["elements"] == 20
    assert document["differences"]["torch"] == document["differences"]["bits"] == 0
    assert document["differences"]["QPyTorch"] > 0
    for key in ("one_thread", "all_threads"):
        measured = document[key]
        assert measured["macs"] == pytest.approx(4 * 70 * 5 / measured["ms"] * 1e3)
        assert measured["bound_fraction"] == pytest.approx(
            measured["macs"] / WIDEST.lanes * document["instructions"] / measured["bound"])
        assert measured["bound_ms"] == pytest.approx(measured["ms"] * measured["bound_fraction"])
        for each in measured["emulations"].values():
            assert each["ratio"] == pytest.approx(each["ms"] / measured["ms"])
    wanted, = document["targets"]
    assert wanted["found"] == document["one_thread"]["emulations"]["torch"]["ratio"]
    assert wanted["met"] is None


def test_the_target_of_matmul_is_judged_at_its_own_size(tiny, monkeypatch):
    monkeypatch.setattr(native_matmul, "SHAPE", native_matmul.QUICK_SHAPE)
    wanted, = native_matmul.run(ALONE, str)["targets"]
    assert wanted["met"] is (wanted["found"] >= 100)


def test_an_emulation_that_differs_is_not_timed(tiny, monkeypatch):
    monkeypatch.setitem(native_matmul.EMULATIONS, "torch", native_matmul.EMULATIONS["QPyTorch"])
    with pytest.raises(AssertionError, match="Emulation torch must agree with the circuit in all 20 elements, not "
                                             "differ in "):
        native_matmul.run(ALONE, str)


def test_packing(tiny):
    rows = native_packing.run(QUICK, str)["rows"]
    assert [(row["width"], row["where"], row["bytes"]) for row in rows] == [
        (width, where, size) for width in (8, 16, 32) for where, size in (("cache", 1 << 12), ("memory", 1 << 14))]
    for row in rows:
        for name in ("pack", "unpack"):
            assert row[f"{name}_fraction"] == pytest.approx(row[name] / row["copy"])


def test_packing_that_is_wrong_is_not_timed(tiny, monkeypatch):
    monkeypatch.setattr(native_packing, "pack_codes", lambda codes, width: pack_codes(codes ^ np.uint8(1), width))
    with pytest.raises(AssertionError, match="Codes of 8 bits must come back from their planes as they were"):
        native_packing.run(QUICK, str)


@pytest.fixture(scope="module")
def float16():
    return native_program(operator("multiply", fmt="float16", overflow="infinity"), WIDEST)


STEPS = [0, 0x03F0, 0x3C00, 0x7BF0, 0x7C00, 0x7E10]
"""Zeros and subnormals, around one, the largest numbers, infinity and NaN."""


def test_binary16_is_compared_with_numpy(float16, monkeypatch):
    monkeypatch.setattr(native_verification, "SAMPLE", 1 << 16)
    told = []
    found = native_verification.check_binary16(float16, STEPS, QUICK, told.append)
    assert (found["pairs"], found["different"], found["first_difference"]) == (6 * 16 * 2 << 16, 0, None)
    assert (found["sample"], found["complete"], found["threads"]) == (1 << 16, False, 2)
    assert told[-1] == "verification: binary16, 12,582,912 of 12,582,912 pairs"


def test_a_wrong_bit_is_found_in_every_sign(float16, monkeypatch):
    """The sign of zero products alone is wrong: a fault that magnitudes do not show."""
    monkeypatch.setattr(native_verification, "SAMPLE", 1 << 10)
    output, = float16.outputs
    unsigned = dataclasses.replace(output, registers=(*output.registers[:-1], 0))
    found = native_verification.check_binary16(dataclasses.replace(float16, outputs=(unsigned,)), [0x3C00], QUICK, str)
    # Half of all products are negative, NaN aside: 31,745 codes of each sign are numbers or infinities.
    assert found["different"] >= 16 * 2 * 31745
    first = found["first_difference"]
    assert int(first["want"], 16) == int(first["got"], 16) | 0x8000


def test_an_exhaustive_check_that_fails_is_not_timed():
    class Work:
        @staticmethod
        def program(operation):
            return with_bits_swapped(operation, WIDEST)

    with pytest.raises(AssertionError, match="Netlist of float8_e4m3fn multiplication must give every product right"):
        native_verification._exhaustive(Work, QUICK, str)
