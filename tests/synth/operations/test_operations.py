# amaranth: UnusedElaboratable=no
"""Requests become operations: what each takes, what it is called, and what is refused."""

import json
import re

import pytest
from amaranth.lib import wiring

from synth import flow
from synth.errors import UsageError
from synth.operations import FLAGS, OPERATIONS, Request, find_operation, slug
from tests.support.library import SMALL, label, operation, operations
from tests.support.sampling import sampled

CASES = operations()


@pytest.mark.parametrize("case", CASES, ids=label)
def test_every_operation_has_a_component_with_its_model(case):
    asked = operation(*case)
    component = asked.component()
    assert isinstance(component, wiring.Component)
    assert component.model == asked.model
    assert isinstance(component.latency, int)
    assert component.__doc__


@sampled("case", CASES, 10, ids=label)
def test_elaborating_twice_gives_the_same_circuit(case):
    asked = operation(*case)
    assert flow.elaborate(asked.component()).rtlil == flow.elaborate(asked.component()).rtlil


PIPELINES = {"deformable_conv": 4, "line_buffer": 0, "packed_mac": 0}
"""How many pipelines stand one behind the other; one unless said here."""


@pytest.mark.parametrize("case", [case for case in CASES if PIPELINES.get(case[0].name, 1)], ids=label)
def test_a_pipeline_states_its_latency(case):
    kind, fields = case
    flat, deep = (operation(kind, fields | {"pipeline": stages}).component() for stages in (0, 3))
    assert deep.latency - flat.latency == 3 * PIPELINES.get(kind.name, 1)


@pytest.mark.parametrize("name", [name for name, count in PIPELINES.items() if not count])
def test_stages_are_refused_where_the_registers_follow_from_the_structure(name):
    with pytest.raises(UsageError, match="Option --pipeline must be left out for .*, whose registers follow from its"):
        operation(find_operation(name), SMALL[name][0] | {"pipeline": 1}).component()


@pytest.mark.parametrize("name", [name for name, kind in OPERATIONS.items() if not kind.rounded])
@pytest.mark.parametrize(("option", "value"), [("rounding", "down"), ("overflow", "wrap"), ("random_bits", 3)])
def test_a_manner_of_rounding_is_refused_where_none_is_chosen(name, option, value):
    with pytest.raises(UsageError, match=f"Option --{option.replace('_', '-')} must be left out for {name}, whose "
                                         f"results are exact or rounded by its definition, not {value!r}"):
        operation(find_operation(name), SMALL[name][0] | {option: value})


@pytest.mark.parametrize("case", CASES, ids=label)
def test_parameters_are_json_and_say_which_formats_there_are(case):
    asked = operation(*case)
    parameters = json.loads(json.dumps(asked.parameters()))
    assert {"pipeline", "dsp"} <= set(parameters)
    assert asked.formats().items() <= parameters.items()
    assert asked.describe().startswith(f"{asked.name}: ")


def test_folder_names_are_plain_and_differ_with_the_request():
    names = [operation(*case).folder_name() for case in CASES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)


@pytest.mark.parametrize(("fields", "name"), [
    ({"fmt": "e4m3"}, "multiply_float8_e4m3fn"),
    ({"fmt": "e4m3", "fmt_b": "int4"}, "multiply_float8_e4m3fn_int4_to_float8_e4m3fn"),
    ({"fmt": "fixed<8,-2>", "out_fmt": "int16", "rounding": "down", "pipeline": 2, "dsp": True},
     "multiply_fixed8_m2_to_int16_down_pipeline2_dsp"),
    ({"fmt": "posit<8,1>", "rounding": "stochastic", "random_bits": 3}, "multiply_posit8_1_stochastic_random3"),
])
def test_a_folder_is_named_for_what_is_in_it(fields, name):
    assert operation(find_operation("multiply"), fields).folder_name() == name


def test_every_operation_is_among_the_cases():
    assert set(SMALL) == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_options_that_an_operation_does_not_take_are_refused(name):
    kind = OPERATIONS[name]
    for option in sorted(set(FLAGS) - set(kind.options)):
        with pytest.raises(UsageError, match=f"Option {FLAGS[option]} must be left out for {name}"):
            operation(kind, SMALL[name][0] | {option: 3})


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_summary_fits_a_line(name):
    assert 10 < len(OPERATIONS[name].summary) < 80
    assert set(OPERATIONS[name].options) <= set(FLAGS)


def test_an_unknown_operation_is_refused_with_the_choices():
    with pytest.raises(UsageError, match=r"Operation must be one of multiply, .*, not 'multiplyy'; did you mean mult"):
        find_operation("multiplyy")


def test_a_needed_option_is_asked_for():
    with pytest.raises(UsageError, match="Option --out-fmt must be given for convert, not left out"):
        Request(op="convert", fmt="e4m3").operation(find_operation("convert"))


@pytest.mark.parametrize(("fields", "text"), [
    ({"rounding": "up-ish"}, "Rounding mode must be one of nearest-even, "),
    ({"overflow": "trap"}, "Overflow policy must be one of saturate, "),
    ({"fmt": "e4m33"}, "Format must have at most 16 bits"),
    ({"fmt": "mxfp4"}, "Format must be a scalar one"),
])
def test_names_that_mean_nothing_are_refused(fields, text):
    with pytest.raises(UsageError, match=text):
        operation(find_operation("multiply"), {"fmt": "e4m3"} | fields)


@pytest.mark.parametrize(("name", "fields", "text"), [
    ("line_buffer", {"offsets": "round"}, "Kind of offsets must be one of none, square, bounded, not 'round'"),
    ("packed_mac", {"fmt": "e4m3"}, "Format of --fmt must be fixed point for packed_mac"),
    ("deformable_conv", {"offsets": "bounded"},
     "Kind of offsets must be one of none, square for deformable_conv, not 'bounded'"),
    ("line_buffer", {"offsets": "none", "max_offset": 3},
     "Option --max-offset must be left out without offsets, not 3"),
    ("line_buffer", {"max_offset": 16}, "Max offset must be between 0 and 15, not 16"),
    ("deformable_conv", {"lanes": 4, "channels": 6}, "Channels must be a multiple of the 4 lanes, not 6"),
    ("deformable_conv", {"fmt": "e4m3"}, "Format of --fmt must be fixed point for deformable_conv"),
    ("sparse_chain", {"length": 16, "block": 12}, "Block must be a power of two between 2 and 64 activations, not 12"),
    ("sparse_chain", {"fmt": "e4m3"}, "Smallest N must be the whole block, 16, for float8_e4m3fn and float8_e4m3fn"),
    ("dequantize", {"code_widths": "2;3"}, "Code widths must be whole numbers with commas between them, such as"),
    ("dequantize", {"code_widths": "4,3"}, "Code widths must rise, not (4, 3)"),
])
def test_dataflow_that_cannot_be_is_refused(name, fields, text):
    with pytest.raises(UsageError, match=re.escape(text)):
        operation(find_operation(name), fields)


@pytest.mark.parametrize(("name", "fields", "text"), [
    ("line_buffer", {"max_offset": 7, "rows": 15}, "Rows must be at least 16"),
    ("line_buffer", {"read_ports": 2}, "Read ports must be 1 or 3, not 2"),
    ("line_buffer", {"width": 9, "depth": 8}, "Depth must be at least 9 words"),
    ("sparse_chain", {"length": 4, "block": 4, "cascade": 3, "dsp": True}, "Cascade must be a power of two"),
    ("pointwise", {"packed": 4}, "Packed products must be between 1 and 3 on a multiplier, not 4"),
])
def test_circuits_that_cannot_be_are_refused(name, fields, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        operation(find_operation(name), fields).component()


def test_a_mac_of_floats_is_a_step_of_an_accumulator():
    kind = find_operation("mac")
    step = operation(kind, {"fmt": "e5m10", "rounding": "toward-zero"})
    assert (step.is_stream, list(step.model.inputs), list(step.model.outputs)) == (False, ["a", "b", "c"], ["o"])
    assert step.model.c == step.model.result == step.model.a
    assert step.model == operation(find_operation("fma"), {"fmt": "e5m10", "rounding": "toward-zero"}).model
    assert step.cancelling() is not None
    wide = operation(kind, {"fmt": "e4m3", "fmt_b": "int4", "accumulator": "float16_e6m9"})
    assert {name: port.format.name for name, port in wide.ports.items()} == {
        "a": "float8_e4m3fn", "b": "int4", "c": "float16_e6m9", "o": "float16_e6m9"}
    assert wide.describe().startswith("mac: float8_e4m3fn × int4 + float16_e6m9, the sum so far → float16_e6m9")
    assert not operation(kind, {"fmt": "int8", "accumulator": "bfloat16"}).is_stream
    fixed = operation(kind, {"fmt": "int8"})
    assert (fixed.is_stream, fixed.cancelling()) == (True, None)


@pytest.mark.parametrize("option", ["fmt_c", "out_fmt", "terms"])
def test_a_step_takes_nothing_that_only_a_register_has(option):
    value = 8 if option == "terms" else "e4m3"
    with pytest.raises(UsageError, match=f"Option {FLAGS[option]} must be left out for mac in float8_e4m3fn, which "
                                         f"adds one product to a sum and rounds, not {value!r}"):
        operation(find_operation("mac"), {"fmt": "e4m3", option: value})


def test_how_it_is_built_is_a_parameter_and_part_of_the_name():
    asked = operation(find_operation("line_buffer"), SMALL["line_buffer"][0] | {"rows": 9, "read_ports": 1})
    assert (asked.parameters()["rows"], asked.parameters()["read_ports"]) == (9, 1)
    assert asked.folder_name().endswith("_rows9_read_ports1")
    assert (asked.component().rows, asked.component().read_ports) == (9, 1)


@pytest.mark.parametrize(("name", "text"), [
    ("fixed<8,4>", "fixed8_4"), ("ufixed<8,-2>", "ufixed8_m2"), ("posit<8,1>", "posit8_1"), ("mls<2,4>", "mls2_4"),
    ("e4m3:subnormals=flushed", "e4m3-subnormals-flushed"), ("int8", "int8"),
])
def test_slugs_are_the_shell_safe_twins(name, text):
    assert slug(name) == text
