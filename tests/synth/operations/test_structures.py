# amaranth: UnusedElaboratable=no
"""Structures by name: which there are, which is asked for, which is built for a family, and why."""

import pytest
from amaranth.lib import wiring

from hw import recorded
from hw.function import TABLE_LIMIT
from hw.recorded import by_rule
from synth import flow
from synth.build import Builder, Plan
from synth.errors import ExitCode, StorageError, UsageError
from synth.operations import Request, find_operation
from synth.operations.structures import built_structure, structure_choice, structures_of
from synth.outputs import measurement
from synth.primitives import LookupPlatform, platform_of
from synth.store import Store
from synth.targets import TARGETS
from tests.support.cli import call
from tests.support.library import label, operation, operations
from tests.support.records import use_records
from tests.support.sampling import sampled


def input_bits(model):
    return sum(port.bits for port in model.inputs.values())


CASES = [case for case in operations() if structures_of(model := operation(*case).model)
         and input_bits(model) != TABLE_LIMIT]  # the largest truth tables take seconds each to elaborate


def request(**fields):
    asked = Request(**fields)
    return asked.operation(find_operation(asked.op))


@pytest.fixture(autouse=True)
def records(tmp_path, monkeypatch):
    """No table, until a test writes one."""
    def write(*luts):
        use_records(monkeypatch, tmp_path / "recorded.json", luts)

    use_records(monkeypatch, tmp_path / "recorded.json")
    yield write
    recorded._records.cache_clear()


def test_several_operations_have_several_structures():
    assert {"multiply", "add", "fma", "convert"} <= {kind.name for kind, _ in CASES} | {"add"}
    assert len({item.value for item in structures_of(request(fmt="e2m1").model)}) >= 3


@sampled("case", CASES, 4, ids=label)
def test_structures_of_a_component_differ_in_nothing_but_how_they_are_built(case):
    kind, fields = case
    plain = operation(kind, fields).component()
    designs = set()
    for structure in structures_of(operation(kind, fields).model):
        asked = operation(kind, fields | {"structure": structure.value})
        component = asked.component()
        assert isinstance(component, wiring.Component)
        assert (component.model, component.latency) == (plain.model, plain.latency)
        assert component.signature == plain.signature
        assert component.structure is structure
        design = flow.elaborate(component)
        assert design == flow.elaborate(component)
        # One family's carry cells may be all that a structure is about.
        designs.add((design.rtlil, flow.elaborate(component, LookupPlatform("ice40")).rtlil))
    assert len(designs) == len(structures_of(plain.model))


@sampled("case", CASES, 8, ids=label)
def test_without_a_table_the_rule_decides(case):
    asked = operation(*case)
    first = structures_of(asked.model)[0]
    assert asked.component().structure is first
    assert structure_choice(asked, None) == {"name": first.value, "origin": "rule"}
    of_family = by_rule(structures_of(asked.model), "xc7")[0]
    assert structure_choice(asked, "xc7") == {"name": of_family.value, "origin": "rule"}
    fixed = operation(case[0], case[1] | {"structure": first.value})
    assert flow.elaborate(asked.component()).rtlil == flow.elaborate(fixed.component()).rtlil


@sampled("case", CASES, 6, ids=label)
def test_the_recorded_structure_is_built_for_its_family(case, records):
    asked = operation(*case)
    first, *_, last = (item.value for item in structures_of(asked.model))
    records((asked.model, {"ice40": {first: 5, last: 9}, "xc7": {first: 9, last: 1}}))
    for family, name in (("ice40", first), ("xc7", last), (None, last)):
        fixed = operation(case[0], case[1] | {"structure": name})
        platform = None if family is None else LookupPlatform(family)
        assert flow.elaborate(asked.component(), platform).rtlil == flow.elaborate(fixed.component(), platform).rtlil
        assert structure_choice(asked, family) == {"name": name, "origin": "recorded"}
    assert asked.component().structure.value == last


def test_with_hard_multipliers_the_rule_decides(records):
    asked = request(fmt="e4m3", dsp=True)
    first, *_, last = (item.value for item in structures_of(asked.model))
    records((asked.model, {"xc7": {first: 9, last: 1}}))
    assert structure_choice(asked, "xc7") == {"name": first, "origin": "rule"}
    assert asked.component().structure.value == first
    plain = request(fmt="e4m3")
    assert flow.elaborate(plain.component(), platform_of("xc7", dsp=False)).rtlil != flow.elaborate(
        request(fmt="e4m3", structure=first).component()).rtlil


def test_with_hard_multipliers_the_structure_is_the_one_that_is_built():
    asked = request(fmt="e5m2", dsp=True)
    assert structures_of(asked.model)[0].value == "significand-tables"  # which leave nothing to multiply
    assert structure_choice(asked, "xc7") == {"name": "normalise-operands", "origin": "rule"}
    assert asked.component().structure.value == "normalise-operands"


def test_built_structures(records):
    asked = request(fmt="e4m3")
    assert built_structure(asked, "xc7") == structure_choice(asked, "xc7")["name"]
    assert built_structure(request(fmt="float8_e8m0fnu"), "xc7") == "normalise-operands"
    assert structures_of(request(fmt="float8_e8m0fnu").model) == ()
    assert built_structure(request(op="systolic", fmt="int4", size=2, terms=16, out_fmt="int8"), "xc7") is None


def test_a_request_says_its_structure():
    asked = request(fmt="e4m3", structure="normalise-product", pipeline=2)
    assert asked.parameters()["structure"] == "normalise-product"
    assert asked.folder_name() == "multiply_float8_e4m3fn_normalise-product_pipeline2"
    assert asked.describe().endswith("2 pipeline stages, structure normalise-product")
    assert structure_choice(asked, "ice40") == {"name": "normalise-product", "origin": "asked"}
    assert "structure" not in request(fmt="e4m3").parameters()


def test_operators_that_are_built_in_one_way_have_no_choice():
    asked = request(op="systolic", fmt="int4", size=2, terms=16, out_fmt="int8")
    assert structures_of(asked.model) == ()
    assert structure_choice(asked, "ice40") is None


@pytest.mark.parametrize(("fields", "message"), [
    ({"fmt": "e4m3", "structure": "best"},
     "Structure must be one of normalise-operands, .*normalise-product.* for Multiplier of these formats, not 'best'"),
    ({"fmt": "e4m3", "structure": "truth-table"}, "Structure must be one of .* not 'truth-table'"),
    ({"op": "systolic", "fmt": "int4", "size": 2, "terms": 16, "out_fmt": "int8", "structure": "square"},
     "Option --structure must be left out for SystolicArray of these formats, which is built in one way, "
     "not 'square'")])
def test_structures_that_there_are_not_are_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        request(**fields)


def plan(asked, *targets):
    return Plan(operation=asked, targets=[TARGETS[name] for name in targets], device=None, seeds=(), vector_seed=1,
                jobs=1, timeout=60)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store", warn=pytest.fail)
    yield store
    store.close()


def test_each_target_gets_its_own_structure(records, store):
    asked = request(fmt="e4m3")
    first, *_, last = (item.value for item in structures_of(asked.model))
    records((asked.model, {"ice40": {first: 5, last: 9}, "xc7": {first: 9, last: 1}}))
    builder = Builder(plan(asked, "ice40", "xc7"), store=store)
    texts = {(name, family): flow.elaborate(request(fmt="e4m3", structure=name).component(),
                                            family and platform_of(family, dsp=False)).rtlil
             for name, family in ((first, "ice40"), (last, "xc7"), (last, None))}
    assert builder.designs["ice40"].rtlil == texts[first, "ice40"]
    assert builder.designs["xc7"].rtlil == texts[last, "xc7"]
    assert builder.design.rtlil == texts[last, None]
    assert [target["structure"] for target in measurement(builder, plan(asked, "ice40", "xc7"))["targets"]] == [
        {"name": first, "origin": "recorded"}, {"name": last, "origin": "recorded"}]


def test_a_design_that_asks_for_no_family_is_elaborated_once(store, monkeypatch):
    count = []
    elaborate = flow.elaborate
    monkeypatch.setattr(flow, "elaborate", lambda *arguments: (count.append(1), elaborate(*arguments))[1])
    asked = request(op="dequantize", lanes=2)
    builder = Builder(plan(asked, "ice40", "ecp5", "xc7"), store=store)
    assert len(count) == 1
    assert all(design is builder.design for design in builder.designs.values())


def test_a_design_is_elaborated_for_families_that_gate_sums(store):
    asked = request(op="systolic", fmt="int4", size=2, terms=16, out_fmt="int8")
    builder = Builder(plan(asked, "ice40", "ecp5", "nexus", "xc7"), store=store)
    assert len({design.rtlil for design in builder.designs.values()}) == 3
    assert builder.designs["nexus"] == builder.design
    assert "CCU2C" in builder.designs["ecp5"].rtlil


def test_a_damaged_table_is_said(tmp_path, store, monkeypatch):
    (tmp_path / "recorded.json").write_text('{"schema": 7}')
    use_records(monkeypatch, tmp_path / "recorded.json")
    with pytest.raises(StorageError, match="Recorded structures must have schema 2, not 7, as .*recorded.json' has; "
                                           "remove it"):
        Builder(plan(request(fmt="e4m3"), "ice40"), store=store)
    with pytest.raises(StorageError, match="Recorded structures must have schema 2, not 7"):
        structure_choice(request(fmt="e4m3"), "ice40")


def test_a_builder_takes_anothers_expected_results(store):
    first = Builder(plan(request(fmt="e2m1"), "ice40"), store=store)
    other = Builder(plan(request(fmt="e2m1", structure="truth-table"), "ice40"), store=store, like=first)
    assert other.expected() is first.expected()


@pytest.mark.parametrize("verb", ["build", "verify", "native"])
def test_the_command_line_takes_a_structure(capsys, verb):
    result = call(capsys, verb, "--fmt", "e4m3", "--structure", "best")
    assert result.code == ExitCode.USAGE
    assert "error: Structure must be one of normalise-operands, " in result.err
