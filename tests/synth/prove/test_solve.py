"""Solvers as child processes: their answers, their limits, and what is said where they are missing."""

import threading
import time

import pytest

from synth import toolchain
from synth.errors import ToolError, ToolMissing, UsageError
from synth.prove import solve, terms
from synth.prove.solve import SOLVERS, Result, check_solver, satisfy
from synth.prove.terms import BOOL, bits, constant, variable


@pytest.mark.parametrize("solver", SOLVERS)
def test_values_come_back(solver):
    a, flag, unused = variable("a", bits(70)), variable("flag", BOOL), variable("unused", bits(3))
    wanted = terms.all_of(terms.equal(terms.add(a, constant(1, 70)), constant(1 << 68, 70)), flag)
    answer = satisfy([wanted], wanted=[a, flag, unused], solver=solver, timeout=60)
    assert answer.result is Result.SATISFIABLE
    assert (answer.values["a"], answer.values["flag"]) == ((1 << 68) - 1, 1)
    assert 0 <= answer.values["unused"] < 8
    assert answer.version
    assert not answer.expired


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_contradiction_has_no_solution(solver):
    a = variable("a", bits(8))
    answer = satisfy([terms.less(a, constant(0, 8), signed=False)], wanted=[a], solver=solver, timeout=60)
    assert (answer.result, answer.values) == (Result.UNSATISFIABLE, {})


@pytest.mark.parametrize(("size", "translated"), [((4, 4), True), ((5, 11), False)])
def test_floats_that_bitwuzla_leaves_out_are_translated(size, translated):
    sort = terms.floating(*size)
    a = variable("a", bits(sum(size)))
    number = terms.from_bits(a, sort)
    one = constant(((1 << (size[0] - 1)) - 1) << (size[1] - 1), sum(size))
    is_one = terms.equal(number, terms.from_bits(one, sort))
    answer = satisfy([is_one], wanted=[a], solver="bitwuzla", timeout=60)
    assert answer.values == {"a": int(one.head[2:], 2)}
    assert ("floats by z3" in answer.version) is translated


def hard(bits_each=61):
    """Return a question that no solver answers within a test: the factors of a product of two 61-bit numbers."""
    a, b = variable("a", bits(2 * bits_each)), variable("b", bits(2 * bits_each))
    product = terms.equal(terms.multiply(a, b), constant(1389752640128571493 * 1711905573891562643, 2 * bits_each))
    top = constant(1 << bits_each, 2 * bits_each)
    bounds = [terms.less(x, top, signed=False) for x in (a, b)]
    return [product, *bounds, terms.less(constant(1, 2 * bits_each), a, signed=False)]


def test_a_solver_is_stopped_at_its_limit():
    begin = time.monotonic()
    answer = satisfy(hard(), timeout=0.5)
    assert (answer.result, answer.expired, answer.values) == (Result.UNDECIDED, True, {})
    assert 0.4 < time.monotonic() - begin < 30


def test_an_interruption_ends_a_solver(monkeypatch):
    monkeypatch.setattr(toolchain, "_stopping", threading.Event())
    timer = threading.Timer(0.5, toolchain.stop_all)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        satisfy(hard(), timeout=60)
    timer.join()


def test_a_solver_that_fails_is_quoted():
    broken = terms.operation("bvnonsense", bits(4), variable("a", bits(4)))
    with pytest.raises(ToolError, match=r"Solver bitwuzla failed with exit code 1: .*nonsense"):
        satisfy([terms.equal(broken, constant(0, 4))], timeout=60)


def test_unknown_solvers_are_refused():
    with pytest.raises(UsageError, match="Solver must be one of bitwuzla, z3, not 'cvc5'"):
        check_solver("cvc5")


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_missing_solver_names_the_line_that_brings_it(monkeypatch, solver):
    monkeypatch.setitem(solve.SOLVERS, solver, "no-such-distribution")
    with pytest.raises(ToolMissing, match=rf"Solver {solver} is not installed; it brings proofs of netlists: pip "
                                          r"install 'narrowgauge\[prove\]'"):
        check_solver(solver)
    with pytest.raises(ToolMissing, match=f"Solver {solver} is not installed"):
        satisfy([], solver=solver)
