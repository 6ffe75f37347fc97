"""Terms, the scripts that they become, and what they are without a solver."""

import numpy as np
import pytest

from synth.prove import terms
from synth.prove.evaluate import evaluate
from synth.prove.solve import Result, satisfy
from synth.prove.terms import BOOL, FALSE, TRUE, bits, constant, script, variable

RNG = np.random.default_rng(1)


def test_a_script_declares_once_and_names_what_is_shared():
    a, b = variable("a", bits(4)), variable("b", bits(4))
    total = terms.add(a, b)
    text = script([terms.equal(total, terms.multiply(total, a))], declared=[variable("c", BOOL)], comments=["why"])
    lines = text.splitlines()
    assert lines[0] == "; why"
    assert [line for line in lines if "declare" in line] == [
        "(declare-const c Bool)", "(declare-const a (_ BitVec 4))", "(declare-const b (_ BitVec 4))"]
    assert sum("bvadd" in line for line in lines) == 1
    assert lines[-1].startswith("(assert t")


def test_deep_terms_need_no_recursion():
    a = variable("a", BOOL)
    chain = a
    for _ in range(20000):
        chain = terms.xor(chain, a)
    assert len(script([chain]).splitlines()) == 20004
    assert evaluate([chain], {"a": np.array([True, False])})[0].tolist() == [True, False]


def test_constants_are_folded():
    a = variable("a", BOOL)
    assert terms.all_of(a, TRUE) is a
    assert terms.all_of(a, FALSE) is FALSE
    assert terms.all_of() is TRUE
    assert terms.any_of(a, FALSE) is a
    assert terms.any_of(a, TRUE) is TRUE
    assert terms.any_of() is FALSE
    assert terms.xor(a, FALSE) is a
    assert terms.xor(TRUE, a).head == "not"
    assert terms.invert(TRUE) is FALSE
    assert terms.choose(TRUE, a, FALSE) is a
    assert terms.choose(FALSE, a, FALSE) is FALSE


def every_function(a, b, width):
    """Return a boolean that looks at a function of each kind."""
    amount = max(1, width // 2)
    return [
        terms.add(a, b), terms.multiply(a, b), terms.negate(a), terms.invert_bits(a),
        terms.choose(terms.less(a, b, signed=True), a, b), terms.choose(terms.less(a, b, signed=False), a, b),
        terms.resized(terms.extract(a, width - 1, amount), width, signed=True),
        terms.resized(terms.extract(a, amount, 0), width, signed=False),
        terms.concat(terms.extract(a, amount - 1, 0), terms.extract(b, width - 1, amount)),
        terms.extract(terms.shift_left(a, 3), width - 1, 0),
        terms.pack([terms.xor(terms.bit(a, index), terms.bit(b, width - 1 - index)) for index in range(width)]),
    ]


@pytest.mark.parametrize("width", [2, 7, 32, 63, 64, 65, 70])
def test_evaluation_agrees_with_a_solver(width):
    # The solver is asked for values for which some function is not what evaluation says: there are none.
    a, b = variable("a", bits(width)), variable("b", bits(width))
    functions = every_function(a, b, width)
    pairs = [(0, 0), ((1 << width) - 1, 1 << (width - 1))] + [
        tuple(int.from_bytes(RNG.bytes(16), "little") % (1 << width) for _ in range(2)) for _ in range(6)]
    values = {name: np.array([pair[index] for pair in pairs], dtype=object) for index, name in enumerate("ab")}
    results = evaluate(functions, values)
    wrong = []
    for row, (x, y) in enumerate(pairs):
        given = terms.all_of(terms.equal(a, constant(x, width)), terms.equal(b, constant(y, width)))
        differs = [terms.not_equal(function, constant(int(result[row]), function.sort.width))
                   for function, result in zip(functions, results, strict=True)]
        wrong.append(terms.all_of(given, terms.any_of(*differs)))
    answer = satisfy([terms.any_of(*wrong)], wanted=[a, b], solver="z3", timeout=60)
    assert answer.result is Result.UNSATISFIABLE, answer.values


def test_floats_are_not_evaluated():
    a = variable("a", bits(8))
    number = terms.operation("fp.isNaN", BOOL, terms.from_bits(a, terms.floating(4, 4)))
    with pytest.raises(ValueError, match="Term must be of booleans and bit-vectors to be evaluated, not "
                                         "'\\(_ to_fp 4 4\\)'"):
        evaluate([number], {"a": np.array([1])})
    nan = terms.operation("(_ NaN 4 4)", terms.floating(4, 4))
    with pytest.raises(ValueError, match="Term must be of booleans and bit-vectors to be evaluated, not '\\(_ NaN"):
        evaluate([nan], {})
