"""The table of recorded structures: who wins, which structure a component takes, and which files are refused."""

import dataclasses
import json
from dataclasses import dataclass
from enum import Enum

import pytest

from hw import recorded
from hw.function import TABLE_LIMIT, suitable_structures
from hw.recorded import (
    SCHEMA,
    Figures,
    RecordError,
    by_rule,
    choose_structure,
    contenders,
    family_of,
    model_key,
    overall_winner,
    read_records,
    recorded_structure,
    winner,
)
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference import Addition, Multiplication
from sw.reference.model import Port

E4M3, INT4 = parse("e4m3"), parse("int4")
PRODUCT = Multiplication(a=E4M3, b=INT4, result=E4M3)


class Way(Enum):
    """Structures of an operator."""

    EARLY = "early"
    LATE = "late"
    TRUTH_TABLE = "truth-table"


class Board:
    """A platform that names its family."""

    def __init__(self, family):
        self.narrowgauge_family = family


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes the table that is read."""
    path = tmp_path / "recorded.json"

    def write(models, **more):
        path.write_text(json.dumps({"schema": SCHEMA,
                                    "models": {key: {"luts": luts, **more} for key, luts in models.items()}}))
        recorded._records.cache_clear()

    monkeypatch.setattr(recorded, "RECORDS", path)
    recorded._records.cache_clear()
    yield write
    recorded._records.cache_clear()


@pytest.mark.parametrize(("luts", "name"), [
    ({"a": 3, "b": 2, "c": 4}, "b"), ({"a": 2, "b": 2}, "a"), ({"a": "timeout", "b": 7}, "b"), ({"a": 0, "b": 1}, "a"),
    ({"a": "mismatch", "b": "timeout"}, None), ({}, None)])
def test_without_clocks_the_fewest_luts_win_and_the_first_of_as_few(luts, name):
    assert winner(luts, {}) == name


@pytest.mark.parametrize(("luts", "names"), [
    ({"a": 100, "b": 120, "c": 121}, ["a", "b"]), ({"b": 120, "a": 100}, ["b", "a"]), ({"a": 4, "b": 5}, ["a"]),
    ({"a": 20, "b": 24}, ["a", "b"]), ({"a": 0, "b": 1, "c": 0}, ["a", "c"]), ({"a": "timeout", "b": 9}, ["b"]),
    ({"a": "mismatch"}, []), ({}, [])])
def test_what_takes_at_most_20_percent_more_luts_than_the_fewest_contends(luts, names):
    assert contenders(luts) == names


@pytest.mark.parametrize(("luts", "mhz", "name"), [
    # Products: 1.96 against 1.70. The rule's one has more LUTs and wins by its clock.
    ({"a": 111, "b": 106}, {"a": 65.3, "b": 54.0}, "a"),
    ({"a": 111, "b": 106}, {"a": 56.0, "b": 54.0}, "b"),    # 1.982 against 1.963
    ({"a": 100, "b": 120}, {"a": 50.0, "b": 63.0}, "b"),    # 2.0 against 1.905, just within the margin
    ({"a": 100, "b": 121}, {"a": 50.0, "b": 500.0}, "a"),   # and just outside
    ({"a": 100, "b": 121}, {}, "a"),                        # a lone one needs no clock
    ({"a": 100, "b": 110, "c": 104}, {"a": 50.0, "b": 80.0, "c": 60.0}, "b"),
    # Below 2 %: 2.0 against 1.9643 (1.8 %), and above: 2.0 against 1.9592 (2.1 %).
    ({"a": 100, "b": 110}, {"a": 50.0, "b": 56.0}, "a"),
    ({"a": 100, "b": 110}, {"a": 50.0, "b": 56.2}, "b"),
    # Of those within the noise of the best one, the fewest LUTs: c is the best, b within 2 % of it, a is not.
    ({"a": 100, "b": 102, "c": 104}, {"a": 50.0, "b": 60.0, "c": 62.0}, "b"),
    ({"a": 100, "b": 100}, {"a": 50.0, "b": 50.5}, "a"),    # a tie goes to the first
    ({"b": 100, "a": 100}, {"a": 50.0, "b": 50.0}, "b"),
    ({"a": 100, "b": 100}, {"a": 50.0, "b": 60.0}, "b"),
    ({"a": 0, "b": 0}, {"a": 300.0, "b": 400.0}, "a"),      # wires have no product to compare
])
def test_among_those_the_least_product_of_luts_and_period_wins(luts, mhz, name):
    assert winner(luts, mhz) == name


@pytest.mark.parametrize("mhz", [{}, {"a": 50.0}, {"b": 90.0}, {"a": "timeout", "b": 90.0}, {"a": 50.0, "b": "tool"},
                                 {"a": "does not fit", "b": "does not fit"}])
def test_where_a_clock_is_not_known_the_fewest_luts_win(mhz):
    assert winner({"a": 100, "b": 101}, mhz) == "a"
    assert winner({"b": 101, "a": 100, "c": 200}, mhz) == "a"


@pytest.mark.parametrize(("families", "name"), [
    ({"x": {"a": 10, "b": 11}, "y": {"a": 20, "b": 10}}, "b"),     # 200 against 110
    ({"x": {"a": 10, "b": 20}, "y": {"a": 20, "b": 10}}, "a"),     # as many: the first
    ({"x": {"a": 100, "b": 120}, "y": {"a": 3, "b": 2}}, "b"),     # ratios count, not LUTs: 300 against 240
    ({"x": {"a": 9, "b": 1}, "y": {"a": 9, "b": "timeout"}}, "a"), # what failed somewhere is not taken everywhere
    ({"x": {"a": 9, "b": 1}, "y": {"a": 9}}, "a"),
    ({"x": {"a": "mismatch"}, "y": {"a": 2}}, None),
    ({"x": {"a": 0, "b": 1}}, "a"), ({}, None)])
def test_over_all_families_the_geometric_mean_decides(families, name):
    assert overall_winner(families) == name


def test_a_reference_is_known_by_every_field():
    assert model_key(PRODUCT) == ("Multiplication a=float8_e4m3fn b=int4 result=float8_e4m3fn rounding=nearest-even "
                                  "overflow=saturate random_bits=0")
    others = [dataclasses.replace(PRODUCT, b=parse("int5")), dataclasses.replace(PRODUCT, rounding=RoundingMode.DOWN),
              dataclasses.replace(PRODUCT, a=parse("e4m3:subnormals=flushed")),
              dataclasses.replace(PRODUCT, overflow=OverflowPolicy.INFINITY),
              dataclasses.replace(PRODUCT, rounding=RoundingMode.STOCHASTIC, random_bits=3),
              Addition(a=E4M3, b=INT4, result=E4M3)]
    assert len({model_key(model) for model in [PRODUCT, *others]}) == 7


def test_references_within_references_are_known_by_their_fields():
    @dataclass
    class Row:
        cell: object
        size: int

    assert model_key(Row(cell=PRODUCT, size=3)) == f"Row cell=({model_key(PRODUCT)}) size=3"


def test_the_family_of_a_platform_is_what_it_says():
    assert family_of(Board("ecp5")) == "ecp5"
    assert family_of(None) is None
    assert family_of(object()) is None


def test_each_family_has_its_own_winner(table):
    table({model_key(PRODUCT): {"ice40": {"early": 5, "late": 4}, "xc7": {"early": 2, "late": 9}}})
    assert recorded_structure(PRODUCT, "ice40") == "late"
    assert recorded_structure(PRODUCT, "xc7") == "early"


def test_clocks_decide_in_their_family_alone(table):
    luts = {"ice40": {"early": 100, "late": 105}, "xc7": {"early": 100, "late": 105}}
    table({model_key(PRODUCT): luts}, mhz={"ice40": {"early": 50.0, "late": 70.0}})
    assert recorded_structure(PRODUCT, "ice40") == "late"
    assert recorded_structure(PRODUCT, "xc7") == "early"
    assert recorded_structure(PRODUCT, None) == "early"  # no family has no clock
    assert read_records(recorded.RECORDS)[model_key(PRODUCT)] == {
        "ice40": Figures(luts["ice40"], {"early": 50.0, "late": 70.0}), "xc7": Figures(luts["xc7"])}


@pytest.mark.parametrize("family", [None, "ecp5"])
def test_without_a_row_of_the_family_the_winner_over_all_is_taken(table, family):
    table({model_key(PRODUCT): {"ice40": {"early": 5, "late": 4}, "xc7": {"early": 2, "late": 9}}})
    assert recorded_structure(PRODUCT, family) == "early"


def test_a_family_in_which_everything_failed_takes_the_winner_over_the_others(table):
    table({model_key(PRODUCT): {"ice40": {"early": 5, "late": 4}, "xc7": {"early": 2, "late": "timeout"}}})
    assert recorded_structure(PRODUCT, "xc7") == "early"
    table({model_key(PRODUCT): {"ice40": {"early": 5, "late": 4}, "xc7": {"early": "timeout", "late": "timeout"}}})
    assert recorded_structure(PRODUCT, "xc7") is None


def test_what_is_not_recorded_has_no_structure(table):
    table({model_key(PRODUCT): {"ice40": {"early": 5, "late": 4}}})
    assert recorded_structure(dataclasses.replace(PRODUCT, rounding=RoundingMode.DOWN), "ice40") is None


def test_without_a_table_nothing_is_recorded(table):
    assert recorded_structure(PRODUCT, "ice40") is None


def test_a_structure_that_is_asked_for_is_built(table):
    table({model_key(PRODUCT): {"ice40": {"early": 1, "late": 9}}})
    assert choose_structure(Way.LATE, tuple(Way), PRODUCT, Board("ice40")) is Way.LATE


@pytest.mark.parametrize(("family", "want"), [("ice40", Way.LATE), ("xc7", Way.TRUTH_TABLE), (None, Way.TRUTH_TABLE)])
def test_otherwise_the_recorded_one_is(table, family, want):
    table({model_key(PRODUCT): {"ice40": {"early": 5, "late": 4, "truth-table": 6},
                                "xc7": {"early": 5, "late": 9, "truth-table": 1}}})
    assert choose_structure(None, tuple(Way), PRODUCT, Board(family)) is want
    assert choose_structure(None, tuple(Way), PRODUCT, Board(family), recorded=False) is Way.EARLY


def test_and_otherwise_the_first_that_suits(table):
    table({})
    assert choose_structure(None, (Way.LATE, Way.EARLY), PRODUCT, None) is Way.LATE


class Turned(Enum):
    EARLY = "early"
    LATE = "late"

    @staticmethod
    def ordered(suitable, family):
        return suitable[::-1] if family == "xc7" else suitable


def test_the_order_of_a_kind_may_depend_on_the_family(table):
    table({})
    suitable = tuple(Turned)
    for family, first in (("xc7", Turned.LATE), ("ice40", Turned.EARLY), (None, Turned.EARLY)):
        assert by_rule(suitable, family)[0] is first
        assert choose_structure(None, suitable, PRODUCT, Board(family)) is first
    assert choose_structure(None, suitable, PRODUCT, Board("xc7"), recorded=False) is Turned.EARLY
    assert by_rule(tuple(Way), "xc7") == tuple(Way)


def test_a_component_with_one_structure_asks_for_no_family(table):
    class Silent:
        @property
        def narrowgauge_family(self):
            raise AssertionError("it depends on nothing")

    table({})
    assert choose_structure(None, (Way.LATE,), PRODUCT, Silent()) is Way.LATE


def test_a_structure_of_another_version_is_refused(table):
    table({model_key(PRODUCT): {"ice40": {"hand-made": 5}}})
    message = ("Recorded structure must be one of early, late, truth-table, not 'hand-made', as recorded.json has for "
               "Multiplication a=float8_e4m3fn b=int4 .*; 'python -m synth tune' measures it anew")
    with pytest.raises(RecordError, match=message):
        choose_structure(None, tuple(Way), PRODUCT, Board("ice40"))


@pytest.mark.parametrize("text", ["{", "", "\xff", '{"schema": 2}', '{"schema": 2, "models": []}',
                                  '{"schema": 2, "models": {"m": {"luts": {"ice40": {"early": 1.5}}}}}',
                                  '{"schema": 2, "models": {"m": {"luts": {"ice40": {"early": -1}}}}}',
                                  '{"schema": 2, "models": {"m": {"luts": {"ice40": {"early": true}}}}}',
                                  '{"schema": 2, "models": {"m": {"luts": {"ice40": 3}}}}',
                                  '{"schema": 2, "models": {"m": {"luts": {"ice40": {"a": 1}}, "mhz": 3}}}',
                                  '{"schema": 2, "models": {"m": {"luts": {"ice40": {"a": 1}}, "mhz": {"ice40": 3}}}}',
                                  *('{"schema": 2, "models": {"m": {"luts": {"ice40": {"a": 1}}, "mhz": ' + mhz + '}}}'
                                    for mhz in ('{"ice40": {"a": 0.0}}', '{"ice40": {"a": -1.5}}',
                                                '{"ice40": {"a": true}}', '{"ice40": {"a": NaN}}',
                                                '{"ice40": {"a": Infinity}}', '{"ice40": {"a": null}}',
                                                '{"ice40": {"b": 9.5}}', '{"ecp5": {"a": 9.5}}')),
                                  '{"schema": 2, "models": {"m": {}}}', '{"schema": 2, "models": {"m": 3}}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    path = tmp_path / "table.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RecordError, match="Recorded structures must be a file that 'python -m synth tune' wrote, not "
                                          ".*table.json' \\(.*\\); remove it, and 'python -m synth tune' makes one"):
        read_records(path)


@pytest.mark.parametrize(("text", "version"), [('{"schema": 99, "models": {}}', "99"), ("{}", "None"), ("[]", "None")])
def test_a_file_of_another_schema_is_refused(tmp_path, text, version):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=f"Recorded structures must have schema {SCHEMA}, not {version}, as .*table."
                                          "json' has; remove it, and 'python -m synth tune' makes one anew"):
        read_records(path)


class Wide:
    """A reference of so many input bits."""

    def __init__(self, bits):
        self.inputs = {"a": Port(width=bits)}


@pytest.mark.parametrize(("bits", "want"), [
    (TABLE_LIMIT, (Way.LATE, Way.EARLY, Way.TRUTH_TABLE)), (TABLE_LIMIT + 1, (Way.LATE, Way.EARLY))])
def test_structures_that_suit_begin_with_the_rules(bits, want):
    assert suitable_structures(Way, Wide(bits), first=Way.LATE) == want


def test_structures_that_suit_may_be_some_of_all():
    assert suitable_structures((Way.EARLY, Way.TRUTH_TABLE), Wide(8), first=Way.EARLY) == (Way.EARLY, Way.TRUTH_TABLE)
    assert suitable_structures((Way.EARLY,), Wide(8), first=Way.EARLY) == (Way.EARLY,)
