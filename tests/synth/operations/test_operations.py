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

CASES = operations()


@pytest.mark.parametrize("case", CASES, ids=label)
def test_every_operation_has_a_component_with_its_model(case):
    asked = operation(*case)
    component = asked.component()
    assert isinstance(component, wiring.Component)
    assert component.model == asked.model
    assert isinstance(component.latency, int)
    assert component.__doc__


@pytest.mark.parametrize("case", CASES, ids=label)
def test_elaborating_twice_gives_the_same_circuit(case):
    asked = operation(*case)
    assert flow.elaborate(asked.component()).rtlil == flow.elaborate(asked.component()).rtlil


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_pipeline_states_its_latency(case):
    kind, fields = case
    flat, deep = (operation(kind, fields | {"pipeline": stages}).component() for stages in (0, 3))
    assert deep.latency - flat.latency == 3


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


@pytest.mark.parametrize(("name", "text"), [
    ("fixed<8,4>", "fixed8_4"), ("ufixed<8,-2>", "ufixed8_m2"), ("posit<8,1>", "posit8_1"), ("mls<2,4>", "mls2_4"),
    ("e4m3:subnormals=flushed", "e4m3-subnormals-flushed"), ("int8", "int8"),
])
def test_slugs_are_the_shell_safe_twins(name, text):
    assert slug(name) == text
