# amaranth: UnusedElaboratable=no
"""What operators without memory share: members, structures and truth tables."""

from enum import Enum

import pytest
from amaranth.hdl import *
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.arith.add import Adder, AdderStructure
from hw.function import TABLE_LIMIT, function_members, require_structure, table_of
from sw.formats import RoundingMode, parse
from sw.reference import Addition
from sw.reference.model import Port

E4M3, INT4 = parse("e4m3"), parse("int4")


class Lanes:
    """A reference with lanes."""

    def __init__(self):
        self.inputs = {"a": Port.of(INT4, 3), "flag": Port(width=1)}
        self.outputs = {"o": Port.of(E4M3)}


def test_members_are_the_references_ports():
    model = Addition(a=E4M3, b=INT4, result=INT4, rounding=RoundingMode.STOCHASTIC, random_bits=5)
    members = function_members(model)
    assert {name: (member.flow, member.shape) for name, member in members.items()} == {
        "a": (In, unsigned(8)), "b": (In, unsigned(4)), "random": (In, unsigned(5)), "o": (Out, unsigned(4))}
    assert function_members(Lanes())["a"].shape == data.ArrayLayout(unsigned(4), 3)


class Other(Enum):
    """A structure of another operator."""

    TRUTH_TABLE = 1


def test_structures_that_do_not_suit_are_refused():
    tiny, small = Addition(a=INT4, b=INT4, result=INT4), Addition(a=E4M3, b=INT4, result=INT4)
    assert TABLE_LIMIT == 12
    assert require_structure(AdderStructure.TRUTH_TABLE, AdderStructure, small) is AdderStructure.TRUTH_TABLE
    with pytest.raises(TypeError, match="Structure must be an AdderStructure, not <Other.TRUTH_TABLE: 1>"):
        require_structure(Other.TRUTH_TABLE, AdderStructure, tiny)
    with pytest.raises(TypeError, match="Structure must be an Other, not 1"):
        require_structure(1, Other, tiny)
    with pytest.raises(ValueError, match="more than 12 input bits, not AdderStructure.TRUTH_TABLE for 16"):
        require_structure(AdderStructure.TRUTH_TABLE, AdderStructure, Addition(a=E4M3, b=E4M3, result=INT4))


def test_no_structure_asks_for_the_best_one():
    assert require_structure(None, AdderStructure, Addition(a=E4M3, b=E4M3, result=E4M3)) is None


def test_a_table_of_an_operator_is_as_wide_as_its_output():
    m = Module()
    assert len(table_of(m, Adder(INT4, structure=AdderStructure.TRUTH_TABLE))) == 4
