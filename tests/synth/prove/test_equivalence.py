"""Two netlists beside each other."""

import numpy as np
import pytest

from sw.formats import parse
from sw.reference import Multiplication
from synth.netlist import NumpyEngine
from synth.netlist.errors import NetlistError
from synth.prove import Status, equivalent
from synth.prove.solve import SOLVERS
from tests.synth.prove.circuits import tabulated, tabulated_model

E2M1 = parse("float4_e2m1fn")
PRODUCT = Multiplication(a=E2M1, b=E2M1, result=E2M1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_netlist_equals_another_way_to_compute_the_same(solver):
    # One product with its operands in the other order, which is another table.
    first = tabulated_model(PRODUCT)
    rows = [PRODUCT(number >> 4, number & 15) for number in range(256)]
    second = tabulated({"b": 4, "a": 4}, {"o": 4}, [rows[(number & 15) << 4 | number >> 4] for number in range(256)])
    verdict = equivalent(first, second, solver=solver, timeout=60)
    assert (verdict.status, verdict.solver, verdict.inputs) == (Status.PROVED, solver, None)
    assert verdict.seconds > 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("place", [0, 77, 255])
def test_one_different_bit_is_found(solver, place):
    first = tabulated_model(PRODUCT)
    second = tabulated_model(PRODUCT, change=lambda number, code: code ^ (4 if number == place else 0))
    verdict = equivalent(first, second, solver=solver, timeout=60)
    assert verdict.status is Status.REFUTED
    assert verdict.inputs == {"a": place & 15, "b": place >> 4}
    codes = {name: np.array([code]) for name, code in verdict.inputs.items()}
    assert NumpyEngine(first).run(codes)["o"] != NumpyEngine(second).run(codes)["o"]


def test_other_ports_are_refused():
    with pytest.raises(NetlistError, match="Netlists must have the same ports to be compared, not differ in b, c"):
        equivalent(tabulated({"a": 1, "b": 2}, {"o": 1}, [0] * 8), tabulated({"a": 1, "c": 2}, {"o": 1}, [1] * 8))


def test_flip_flops_are_refused():
    with pytest.raises(NetlistError, match="Netlists must have no flip-flops to be compared, not stage 0 bit 0"):
        equivalent(*(tabulated({"a": 1}, {"o": 1}, [0, 1], stages=1) for _ in range(2)))


def test_netlists_may_differ_where_something_else_does_not_hold():
    first = tabulated_model(PRODUCT)
    second = tabulated_model(PRODUCT, change=lambda number, code: code ^ (4 if number == 77 else 0))
    # Over one of their operands and something of its own: 77 has 13 as its first.
    never = tabulated({"a": 4, "own": 1}, {"holds": 1}, [int(number & 15 != 13) for number in range(32)])
    assert equivalent(first, second, given=never, timeout=60).status is Status.PROVED
    sometimes = tabulated({"a": 4, "own": 1}, {"holds": 1}, [int(number != 13) for number in range(32)])
    verdict = equivalent(first, second, given=sometimes, timeout=60)
    assert (verdict.status, verdict.inputs) == (Status.REFUTED, {"a": 13, "b": 4})
