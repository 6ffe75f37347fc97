import random

import pytest

from synth.netlist.cover import complemented, cover
from synth.netlist.gates import FALSE_LITERAL, TRUE_LITERAL, GateGraph
from synth.netlist.polarity import can_select
from tests.synth.netlist.logic_cases import all_inputs


def random_graph(seed, sources, gates):
    rng = random.Random(seed)
    graph = GateGraph()
    literals = [graph.source() for _ in range(sources)]
    for _ in range(gates):
        a, b = (rng.choice(literals[-10:]) ^ rng.getrandbits(1) for _ in range(2))
        literals.append(graph.xor(a, b) if rng.random() < 0.3 else graph.and_(a, b))
    return graph, [literal ^ rng.getrandbits(1) for literal in literals[-4:]]


def graph_planes(graph, planes, ones):
    """Return the plane of every node; ``planes`` are those of the sources, in order."""
    given = iter(planes)
    values = [0]
    for gate in graph.gates[1:]:
        if gate is None:
            values.append(next(given))
            continue
        a, b = (values[literal >> 1] ^ (ones if literal & 1 else 0) for literal in gate[1:])
        values.append(a ^ b if gate[0] else a & b)
    return values


def cover_planes(pieces, graph, planes, ones):
    given = iter(planes)
    values = {node: next(given) for node, gate in enumerate(graph.gates) if node and gate is None}
    for node, piece in pieces.items():
        terms = 0
        for k in range(1 << len(piece.leaves)):
            if piece.table >> k & 1:
                term = ones
                for place, leaf in enumerate(piece.leaves):
                    term &= values[leaf] ^ (0 if k >> place & 1 else ones)
                terms |= term
        values[node] = terms
    return {0: 0, **values}


def literal_plane(values, literal, ones):
    return values[literal >> 1] ^ (ones if literal & 1 else 0)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("seed", range(30))
def test_cover_computes_the_roots(seed, size):
    graph, roots = random_graph(seed, 4 + seed % 4, 20 + seed)
    pieces, covered_roots = cover(graph, roots, size)
    planes, ones = all_inputs(4 + seed % 4)
    want = graph_planes(graph, planes.values(), ones)
    got = cover_planes(pieces, graph, planes.values(), ones)
    for root, covered_root in zip(roots, covered_roots, strict=True):
        assert literal_plane(got, covered_root, ones) == literal_plane(want, root, ones), (seed, root, pieces)
    used = {leaf for piece in pieces.values() for leaf in piece.leaves} | {root >> 1 for root in covered_roots}
    assert set(pieces) <= used
    for piece in pieces.values():
        assert 2 <= len(set(piece.leaves)) == len(piece.leaves) <= size
        assert all(complemented(piece.table, len(piece.leaves), place) != piece.table
                   for place in range(len(piece.leaves)))


@pytest.mark.parametrize("seed", range(10))
def test_cover_of_allowed_tables_alone(seed):
    graph, roots = random_graph(seed, 6, 60)
    pieces, _ = cover(graph, roots, 3, can_select)
    assert all(can_select(piece.table, len(piece.leaves)) for piece in pieces.values())


def test_sizes_that_are_known():
    """A three-input function is one look-up, however many gates it has; parity of nine is four."""
    graph = GateGraph()
    inputs = [graph.source() for _ in range(9)]
    for table in range(1, 255):
        pieces, _ = cover(graph, [graph.lut(table, inputs[:3])], 3)
        assert len(pieces) <= 1, hex(table)
    parity, majority = inputs[0], inputs[0]
    for literal in inputs[1:]:
        parity = graph.xor(parity, literal)
    assert len(cover(graph, [parity], 3)[0]) == 4
    for first, second in zip(inputs[1::2], inputs[2::2], strict=True):
        majority = graph.lut(0b11101000, [majority, first, second])
    assert len(cover(graph, [majority], 3)[0]) == 4


def test_gate_that_others_need_is_computed_again_inside_their_lookups():
    graph = GateGraph()
    a, b, c, d, e = (graph.source() for _ in range(5))
    shared = graph.and_(a, b)
    roots = [graph.xor(shared, literal) for literal in (c, d, e)]
    pieces, _ = cover(graph, roots, 3)
    assert [piece.leaves for piece in pieces.values()] == [(a >> 1, b >> 1, literal >> 1) for literal in (c, d, e)]


def test_roots_that_are_constants_and_sources():
    graph = GateGraph()
    a, b = graph.source(), graph.source()
    nothing = graph.and_(graph.and_(a, b), graph.and_(a ^ 1, b))
    same = graph.or_(graph.and_(a, b), graph.and_(a, b ^ 1))
    assert cover(graph, [nothing, nothing ^ 1, same, same ^ 1, a, b ^ 1, 0, 1], 3) == (
        {}, [FALSE_LITERAL, TRUE_LITERAL, a, a ^ 1, a, b ^ 1, 0, 1])


def test_deep_graphs_need_no_recursion():
    graph = GateGraph()
    literal = graph.source()
    for _ in range(5000):
        literal = graph.and_(graph.xor(literal, graph.source()), graph.source())
    pieces, _ = cover(graph, [literal], 3)
    assert len(pieces) == 5000


def test_deep_functions_of_few_inputs_need_no_recursion():
    """Three sources, thousands of levels: everything is a function of the three."""
    rng = random.Random(6)
    graph = GateGraph()
    sources = [graph.source() for _ in range(3)]
    literal = sources[0]
    for _ in range(3000):
        literal = graph.lut(rng.choice((0b0110, 0b1001, 0b1000, 0b1110)), [literal, rng.choice(sources)])
        literal = graph.xor(literal, graph.and_(rng.choice(sources), rng.choice(sources)))
    planes, ones = all_inputs(3)
    want = literal_plane(graph_planes(graph, planes.values(), ones), literal, ones)
    pieces, (root,) = cover(graph, [literal], 3)
    assert len(pieces) <= 1
    assert literal_plane(cover_planes(pieces, graph, planes.values(), ones), root, ones) == want


def test_complemented_table():
    for table in range(256):
        for place in range(3):
            for k in range(8):
                assert complemented(table, 3, place) >> k & 1 == table >> (k ^ 1 << place) & 1
