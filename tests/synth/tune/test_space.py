"""What is tuned: every reference once, where there is a choice, and what a selection leaves of it."""

from collections import Counter

import pytest

from hw.recorded import model_key
from sw.formats import FixedPointFormat, FloatingPointFormat, PositFormat
from synth.bench.area_table import EQUALS
from synth.cost.space import Family
from synth.cost.space import Selection as CostSelection
from synth.errors import UsageError
from synth.operations.structures import structures_of
from synth.tune.space import Selection, compared_subjects, default_subjects, subjects_of
from synth.tune.subject import Subject


def keys(subjects):
    return [model_key(subject.operation().model) for subject in subjects]


def test_a_subject_is_a_request():
    subject = Subject.of("multiply", fmt="e4m3", fmt_b=None, overflow="infinity")
    assert str(subject) == "multiply fmt=e4m3 overflow=infinity"
    assert Subject.from_json(subject.to_json()) == subject
    assert subject.to_json() == {"op": "multiply", "fmt": "e4m3", "overflow": "infinity"}
    assert subject.operation("normalise-product").parameters()["structure"] == "normalise-product"
    assert subject.operation().model.overflow.value == "infinity"


def test_every_subject_of_the_space_can_be_built():
    subjects = list(dict.fromkeys(default_subjects()))
    models = [subject.operation().model for subject in subjects]
    assert len(subjects) > 600
    counts = Counter(subject.op for subject in subjects)
    assert min(counts[op] for op in ("multiply", "add", "fma", "convert", "emac", "dot", "mac")) >= 12
    formats = {type(model.a) for model in models if hasattr(model, "a")}
    assert {FloatingPointFormat, FixedPointFormat, PositFormat} <= formats


def test_the_space_has_each_reference_once_and_a_choice_for_it():
    subjects = Selection().subjects()
    names = keys(subjects)
    assert len(names) == len(set(names)) > 200
    assert all(len(structures_of(subject.operation().model)) > 1 for subject in subjects)


def test_the_space_holds_what_the_table_of_costs_does():
    points = [point for point in CostSelection().points() if not point.dsp and not point.pipeline]
    models = [model for point in points if structures_of(model := point.operation().model)]
    assert {model_key(model) for model in models} <= set(keys(Selection().subjects()))


def test_the_space_begins_with_what_is_compared_with_published_circuits():
    compared = [subject for subject in dict.fromkeys(compared_subjects())
                if structures_of(subject.operation().model)]
    assert len(compared) > 30
    names = list(dict.fromkeys(keys(compared)))
    assert keys(Selection().subjects())[:len(names)] == names
    assert {model_key(equal.circuit.operation().model) for equal in EQUALS.values()} == set(keys(compared_subjects()))


@pytest.mark.parametrize("fmt", ["float8_e4m3", "int5", "posit<6,0>"])
def test_a_format_is_tuned_in_every_operation_that_takes_it(fmt):
    found = list(subjects_of(fmt))
    assert {"multiply", "add", "fma", "emac", "dot"} <= {subject.op for subject in found}
    assert {subject.op for subject in found} >= ({"mac"} if fmt == "int5" else set())
    infinite = {subject.op for subject in found if dict(subject.options).get("overflow") == "infinity"}
    assert infinite == ({"multiply", "add", "fma"} if fmt == "float8_e4m3" else set())


def test_a_format_goes_by_any_of_its_names():
    assert keys(Selection(formats=("e4m3",)).subjects()) == keys(Selection(formats=("float8_e4m3fn",)).subjects())


def test_a_format_that_the_space_has_not_is_tuned_all_the_same():
    found = Selection(ops=("multiply",), formats=("e5m6",)).subjects()
    assert [str(subject) for subject in found] == ["multiply fmt=float12_e5m6",
                                                   "multiply fmt=float12_e5m6 overflow=infinity"]


def test_selections_leave_what_they_hold():
    everything = Selection().subjects()
    for selection in (Selection(ops=("fma",)), Selection(families=(Family.POSIT,)),
                      Selection(ops=("multiply", "convert"), families=(Family.FLOAT, Family.FIXED))):
        assert selection.subjects() == [subject for subject in everything if selection.holds(subject)]
    assert {subject.op for subject in Selection(ops=("fma",)).subjects()} == {"fma"}
    posits = Selection(families=(Family.POSIT,)).subjects()
    assert all(isinstance(subject.operation().model.a, PositFormat) for subject in posits)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="Operation must be one of multiply, .*, not 'divide'"):
        Selection(ops=("divide",))
    with pytest.raises(UsageError, match="e9000"):
        Selection(formats=("e9000",)).subjects()
