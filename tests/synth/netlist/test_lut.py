import random

import pytest

from synth.netlist.gates import GateGraph
from synth.netlist.lut import Move, all_ones, best_step, cofactor, depends_on, variable_table


def evaluate(graph, literal, assignment):
    """Evaluate a literal by recursion; ``assignment`` maps source nodes to 0 or 1."""
    node = literal >> 1
    if node == 0:
        value = 0
    elif graph.gates[node] is None:
        value = assignment[node]
    else:
        is_xor, a, b = graph.gates[node]
        left, right = evaluate(graph, a, assignment), evaluate(graph, b, assignment)
        value = left ^ right if is_xor else left & right
    return value ^ (literal & 1)


def tables():
    rng = random.Random(1)
    for variables in (1, 2, 3):
        for table in range(1 << (1 << variables)):
            yield variables, table
    for variables, count in ((4, 400), (5, 60), (6, 40)):
        for _ in range(count):
            yield variables, rng.getrandbits(1 << variables)
            yield variables, rng.getrandbits(1 << variables) & rng.getrandbits(1 << variables)


def test_gates_of_a_table_compute_it():
    for variables, table in tables():
        graph = GateGraph()
        sources = [graph.source() for _ in range(variables)]
        literal = graph.lut(table, sources)
        for index in range(1 << variables):
            assignment = {source >> 1: index >> position & 1 for position, source in enumerate(sources)}
            assert evaluate(graph, literal, assignment) == table >> index & 1, (variables, bin(table), index)


def test_gates_are_no_more_than_promised():
    for variables, table in tables():
        graph = GateGraph()
        graph.lut(table, [graph.source() for _ in range(variables)])
        gates = sum(gate is not None for gate in graph.gates)
        assert gates <= best_step(table, variables).cost, (variables, bin(table))


@pytest.mark.parametrize(("table", "variables", "cost"), [
    (0, 3, 0), (all_ones(3), 3, 0), (0b10101010, 3, 0), (0b10010110, 3, 2), (0b11101000, 3, 4), (0b11001010, 3, 3),
    (0x8000, 4, 3), (0xFFFE, 4, 3), (0x6996, 4, 3), (0x8000000000000000, 6, 5),
], ids=["false", "true", "variable", "xor3", "majority", "mux", "and4", "or4", "xor4", "and6"])
def test_known_functions_cost(table, variables, cost):
    assert best_step(table, variables).cost == cost


def test_constant_operands_are_folded():
    graph = GateGraph()
    a = graph.source()
    assert graph.lut(0b1000, [a, 1]) == a
    assert graph.lut(0b1000, [a, 0]) == 0
    assert graph.lut(0b0110, [a, 1]) == a ^ 1
    assert graph.lut(0b11001010, [a, 0, 1]) == 0


def test_equal_operands_are_merged():
    graph = GateGraph()
    a = graph.source()
    assert graph.lut(0b0110, [a, a]) == 0
    assert graph.lut(0b0110, [a, a ^ 1]) == 1
    assert graph.lut(0b1000, [a, a]) == a
    assert graph.lut(0b1000, [a ^ 1, a]) == 0
    assert graph.lut(0b10010110, [a, a ^ 1, a]) == a ^ 1


def test_equal_gates_are_shared():
    graph = GateGraph()
    a, b = graph.source(), graph.source()
    assert graph.and_(a, b) == graph.and_(b, a)
    assert graph.xor(a ^ 1, b) == graph.xor(a, b) ^ 1
    assert graph.or_(a, b) == graph.and_(a ^ 1, b ^ 1) ^ 1
    assert (graph.and_(a, a ^ 1), graph.and_(a, a), graph.xor(a, a), graph.xor(a, a ^ 1)) == (0, a, 0, 1)


def test_undefined_operand_spreads_only_where_it_matters():
    graph = GateGraph()
    a, x = graph.source(), graph.undefined("pin")
    assert graph.lut(0b1010, [a, x]) == a                 # the second operand does not matter
    assert graph.lut(0b1000, [0, x]) == 0
    assert graph.lut(0b11001010, [x, a, 1]) == a          # chosen away
    for literal in (graph.lut(0b1000, [a, x]), graph.and_(x, 1), graph.xor(a, x), graph.or_(x, a), graph.not_(x)):
        assert literal < 0
        assert graph.reason(literal) == "pin"
    assert graph.or_(x, 1) == 1
    assert graph.and_(x, 0) == 0


def test_cofactor_and_dependence():
    table = 0b11001010                                    # variable 2 chooses between variables 0 and 1
    assert cofactor(table, 3, 2, False) == variable_table(2, 0)
    assert cofactor(table, 3, 2, True) == variable_table(2, 1)
    assert [depends_on(table, 3, x) for x in range(3)] == [True, True, True]
    assert [depends_on(variable_table(3, 1), 3, x) for x in range(3)] == [False, True, False]
    assert best_step(variable_table(3, 1), 3).move is Move.DROP
