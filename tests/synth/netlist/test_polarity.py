from itertools import permutations

import pytest

from synth.netlist.cover import Piece
from synth.netlist.lookup import COPY, Basis, Lookup
from synth.netlist.polarity import SELECT_TABLE, TooManyLookups, can_select, lookups_of

A, B, C, D, N = 1, 2, 3, 4, 5                            # nodes
SOURCES = {A: 12, B: 13, C: 14}


def written(cover, wanted, basis, spare=()):
    return lookups_of(cover, SOURCES, wanted, iter(spare), basis)


def test_result_is_written_in_the_polarity_that_is_wanted():
    nand = {N: Piece(0b1000, (A, B))}
    assert written(nand, {20: 2 * N + 1}, Basis.TERNARY) == [Lookup(0b0111, 20, (12, 13))]
    assert written(nand, {20: 2 * N}, Basis.TERNARY) == [Lookup(0b1000, 20, (12, 13))]
    assert written(nand, {20: 2 * N + 1, 21: 2 * N}, Basis.TERNARY) == [
        Lookup(0b1000, 21, (12, 13)), Lookup(0b01, 20, (21,))]
    assert written({N: Piece(0b0001, (A, B))}, {20: 2 * N + 1}, Basis.BINARY) == [Lookup(0b1110, 20, (12, 13))]
    assert written({N: Piece(0b1011, (A, B))}, {20: 2 * N}, Basis.SELECT) == [Lookup(0b1011, 20, (12, 13))]


def test_complement_held_is_undone_in_the_next_table():
    cover = {D: Piece(0b0001, (A, B)), N: Piece(0b1000, (D, C))}             # ~(a | b) & c
    assert written(cover, {20: 2 * N}, Basis.BINARY, [30]) == [
        Lookup(0b1110, 30, (12, 13)), Lookup(0b0100, 20, (30, 14))]


def test_wanted_complement_of_a_source_is_used():
    cover = {N: Piece(0b1011, (A, B))}                                       # a | ~b
    assert written(cover, {20: 2 * N, 21: 2 * B + 1}, Basis.BINARY) == [
        Lookup(0b01, 21, (13,)), Lookup(0b1110, 20, (12, 21))]


def test_selection_has_one_form():
    for places in permutations(range(3)):
        other, condition, chosen = places
        table = sum((k >> (chosen if k >> condition & 1 else other) & 1) << k for k in range(8))
        want = tuple(12 + place for place in places)
        assert written({N: Piece(table, (A, B, C))}, {20: 2 * N}, Basis.SELECT) == [Lookup(SELECT_TABLE, 20, want)]


def test_selection_of_complements_needs_one_complement():
    """``a ? ~b : c``: no instruction computes it or its complement."""
    table = sum((1 - (k >> 1 & 1) if k & 1 else k >> 2 & 1) << k for k in range(8))
    lookups = written({N: Piece(table, (A, B, C))}, {20: 2 * N}, Basis.SELECT, [30])
    assert [lookup.table for lookup in lookups] == [0b01, SELECT_TABLE]


def test_results_of_one_literal_are_copies():
    assert written({N: Piece(0b0110, (A, B))}, {20: 2 * N, 21: 2 * N, 22: 2 * A, 23: 0, 24: 1}, Basis.BINARY) == [
        Lookup(0b0110, 20, (12, 13)), Lookup(COPY, 21, (20, 20)), Lookup(COPY, 22, (12, 12)), Lookup(COPY, 23, (0, 0)),
        Lookup(COPY, 24, (1, 1))]


def test_selections_and_their_complements_alone_can_be_selected():
    assert all(can_select(table, 2) for table in range(16))
    assert sum(can_select(table, 3) for table in range(256)) == 12
    assert can_select(SELECT_TABLE, 3)
    assert can_select(SELECT_TABLE ^ 0xFF, 3)


def test_too_few_registers_wrong():
    with pytest.raises(TooManyLookups):
        written({D: Piece(0b1000, (A, B)), N: Piece(0b1000, (D, C))}, {20: 2 * N}, Basis.BINARY)
