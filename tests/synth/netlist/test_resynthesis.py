import random

import pytest

from synth.netlist.cover import cover
from synth.netlist.gates import GateGraph
from synth.netlist.polarity import can_select
from synth.netlist.resynthesis import split
from tests.synth.netlist.logic_cases import all_inputs
from tests.synth.netlist.test_cover import graph_planes, literal_plane, random_graph


@pytest.mark.parametrize(("size", "allowed"), [(2, None), (3, None), (3, can_select)])
@pytest.mark.parametrize("seed", range(20))
def test_split_keeps_the_functions(seed, size, allowed):
    graph, roots = random_graph(seed, 7, 90)
    planes, ones = all_inputs(7)
    want = [literal_plane(graph_planes(graph, planes.values(), ones), root, ones) for root in roots]
    gates, new_roots = split(graph, *cover(graph, roots, size, allowed), size, allowed)
    got = graph_planes(gates, planes.values(), ones)
    assert [literal_plane(got, root, ones) for root in new_roots] == want


def test_functions_that_were_badly_built_are_built_anew():
    """The parity of four as a sum of products, which no cut of three inputs sees through: two look-ups suffice."""
    graph = GateGraph()
    sources = [graph.source() for _ in range(4)]
    root = 0
    for k in range(16):
        if k.bit_count() & 1:
            term = 1
            for place, source in enumerate(sources):
                term = graph.and_(term, source ^ (not k >> place & 1))
            root = graph.or_(root, term)
    sizes, roots = [], [root]
    for _ in range(3):
        covered = cover(graph, roots, 3)
        sizes.append(len(covered[0]))
        graph, roots = split(graph, *covered, 3)
    assert sizes[0] > 6
    assert sizes[-1] == 2
    planes, ones = all_inputs(4)
    plane = literal_plane(graph_planes(graph, planes.values(), ones), roots[0], ones)
    assert plane == sum(1 << k for k in range(16) if k.bit_count() & 1)


def test_what_several_use_is_kept():
    """A cone holds nothing that is also used elsewhere, so nothing is computed twice."""
    rng = random.Random(4)
    graph = GateGraph()
    sources = [graph.source() for _ in range(5)]
    inner = [graph.lut(rng.getrandbits(8) | 1, rng.sample(sources, 3)) for _ in range(4)]
    roots = [graph.xor(first, second) for first in inner for second in inner if first < second]
    covered = cover(graph, roots, 3)
    again = cover(*split(graph, *covered, 3), 3)
    assert len(again[0]) <= len(covered[0])
