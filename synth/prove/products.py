"""The proof of a wide floating-point multiplier in two parts: the product of significands, and everything else.

The product is run on every pair (:mod:`synth.prove.significands`). The rest, from any product that there can be to the
code, is a solver's: signs, exponents, rounding and special values.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from sw.formats import FloatingPointFormat, RoundingMode, Subnormals
from sw.reference import Multiplication
from synth.netlist import Program
from synth.prove.circuit import netlist_terms
from synth.prove.equivalence import Status
from synth.prove.float_arithmetic import result_specification
from synth.prove.floating import Place, float_is, highest_bit, lowest_bit, minimal_place, natural_place, rounding_term
from synth.prove.functions import confirmed
from synth.prove.proof import Proof
from synth.prove.significands import MAX_PRODUCT_BITS, find_cut, product_runs
from synth.prove.solve import Result, satisfy
from synth.prove.specification import Specification
from synth.prove.terms import (
    Sort,
    Term,
    add,
    all_of,
    any_of,
    bit,
    bits,
    boolean,
    choose,
    concat,
    constant,
    equal,
    extract,
    floating,
    from_bits,
    invert,
    less,
    negate,
    not_equal,
    operation,
    resized,
    shift_left,
    variable,
    xor,
)

__all__ = ["product_facts", "prove_product", "suits"]

_MIN_PRODUCT_BITS = 14
"""Bits of two significands from which a product is proved in two parts: below, a solver does it at once."""


def suits(model: Any, latency: int) -> bool:
    """Whether an operation is a product that is worth two parts."""
    if not isinstance(model, Multiplication) or latency:
        return False
    formats = [fmt for fmt in (model.a, model.b, model.result) if isinstance(fmt, FloatingPointFormat)
               and fmt.subnormals is Subnormals.SUPPORTED and fmt.signed]
    return len(formats) == 3 and _MIN_PRODUCT_BITS <= sum(fmt.fraction_bits + 1 for fmt in formats[:2]) \
        <= MAX_PRODUCT_BITS


def prove_product(program: Program, model: Multiplication, *, solver: str, timeout: float | None) -> Proof | None:
    """Prove a multiplier's netlist in two parts; None where the netlist does not come apart like that.

    Raises
    ------
    ToolMissing, ToolError
        If the solver is missing or fails.
    """
    a, b = model.a, model.b
    assert isinstance(a, FloatingPointFormat)
    assert isinstance(b, FloatingPointFormat)
    begin = time.monotonic()
    cut = find_cut(program, a, b)
    pairs = None if cut is None else product_runs(program, cut, a, b)
    if cut is None or pairs is None:
        return None
    product = variable("product", bits(a.fraction_bits + b.fraction_bits + 2))
    inputs = {name: variable(f"in_{name}", bits(fmt.width)) for name, fmt in (("a", a), ("b", b))}
    given = {register: xor(bit(product, index), boolean(inverted))
             for register, (index, inverted) in cut.product.items()}
    specification = _specification(model, inputs, product)
    whole, rest = netlist_terms(program, inputs), netlist_terms(program, inputs, cut=given)
    wrong = [not_equal(rest.outputs["o"], specification.outputs["o"])]
    for name, fmt in (("a", a), ("b", b)):
        register, inverted = cut.hidden[name]
        wrong.append(xor(xor(whole.registers[register], boolean(inverted)), _is_normal(inputs[name], fmt)))
    left = None if timeout is None else max(timeout - (time.monotonic() - begin), 0.1)
    answer = satisfy([*specification.definitions, any_of(*wrong)], wanted=list(inputs.values()), solver=solver,
                     timeout=left)
    common: dict[str, Any] = {
        "solver": solver, "version": answer.version, "seconds": time.monotonic() - begin,
        "method": f"equal to {specification.theory}, for every input; the product itself was run for all {pairs:,} "
                  "pairs of significands", "assumptions": specification.assumptions}
    if answer.result is Result.UNSATISFIABLE:
        return Proof(status=Status.PROVED, **common)
    if answer.result is Result.UNDECIDED:
        status = Status.TIMED_OUT if answer.expired else Status.UNDECIDED
        return Proof(status=status, left="signs, exponents, rounding and special values for any product of "
                     "significands, which itself is right; a longer --timeout or another --solver may end", **common)
    found = {name: answer.values[term.head] for name, term in inputs.items()}
    counterexample = confirmed(program, model, [found])
    if counterexample is None:  # of a product that these operands do not have
        return None
    return Proof(status=Status.REFUTED, counterexample=counterexample, **common)


def _is_normal(code: Term, fmt: FloatingPointFormat) -> Term:
    return not_equal(_field(code, fmt), constant(0, fmt.exponent_bits))


def _field(code: Term, fmt: FloatingPointFormat) -> Term:
    return extract(code, fmt.fraction_bits + fmt.exponent_bits - 1, fmt.fraction_bits)


def _specification(model: Multiplication, inputs: Mapping[str, Term], product: Term) -> Specification:
    """Return the code of ``product`` times the power of two that the operands' exponents say."""
    a, b, result = model.a, model.b, model.result
    assert isinstance(a, FloatingPointFormat)
    assert isinstance(b, FloatingPointFormat)
    assert isinstance(result, FloatingPointFormat)
    place = natural_place(result) or minimal_place(result)
    formats = {"a": a, "b": b}
    sort = _exact_sort(formats.values(), place, product.sort.width)
    number = operation(f"(_ to_fp_unsigned {sort.exponent_bits} {sort.significand_bits})", sort,
                       rounding_term(RoundingMode.NEAREST_EVEN), product)
    number = operation("fp.mul", sort, rounding_term(RoundingMode.NEAREST_EVEN), number,
                       _power(formats, inputs, sort, place.scale))
    negative = xor(*(bit(inputs[name], fmt.width - 1) for name, fmt in formats.items()))
    number = choose(negative, operation("fp.neg", sort, number), number)
    values = [(natural_place(fmt) or minimal_place(fmt)).value(inputs[name]) for name, fmt in formats.items()]
    number = _with_specials(values, negative, number, sort)
    rounded = operation(f"(_ to_fp {place.sort.exponent_bits} {place.sort.significand_bits})", place.sort,
                        rounding_term(model.rounding), number)
    theory = (f"the product of the significands, scaled in {sort.text}, where it is exact, and rounded to "
              f"{place.sort.text}")
    specification = result_specification(place, rounded, model.rounding, model.overflow, inputs=inputs, theory=theory,
                                         operands=list(formats.values()))
    return Specification(inputs=inputs, outputs=specification.outputs, theory=theory,
                         definitions=(*specification.definitions, *product_facts(formats, inputs, product)),
                         assumptions=(*specification.assumptions, "fp.mul is the exact product of the significands "
                                      "times a power of two, rounded once"))


def _exact_sort(formats: Iterable[FloatingPointFormat], place: Place, precision: int) -> Sort:
    """Return a sort that has every product, times two to any power on its way, as a normal number."""
    edges = [edge(fmt) for fmt in formats for edge in (lowest_bit, highest_bit)]
    furthest = sum(abs(edge) for edge in edges) + abs(place.scale) + precision + 2
    return floating(furthest.bit_length() + 1, precision)


def _power(formats: Mapping[str, FloatingPointFormat], inputs: Mapping[str, Term], sort: Sort, scale: int) -> Term:
    """Return two to the power that the operands' exponent fields say, times two to ``scale``."""
    width = sort.exponent_bits
    weight = (1 << (width - 1)) - 1 + scale
    total = constant(weight + sum(lowest_bit(fmt) - 1 for fmt in formats.values()), width)
    for name, fmt in formats.items():
        field = resized(_field(inputs[name], fmt), width, signed=False)
        total = add(total, choose(_is_normal(inputs[name], fmt), field, constant(1, width)))
    return from_bits(concat(constant(0, 1), total, constant(0, sort.significand_bits - 1)), sort)


def _with_specials(values: list[Term], negative: Term, number: Term, sort: Sort) -> Term:
    size = f"{sort.exponent_bits} {sort.significand_bits}"
    infinity = choose(negative, Term(f"(_ -oo {size})", sort), Term(f"(_ +oo {size})", sort))
    infinite = any_of(*(float_is("Infinite", value) for value in values))
    nan = any_of(*(float_is("NaN", value) for value in values),
                 all_of(infinite, any_of(*(float_is("Zero", value) for value in values))))
    return choose(nan, Term(f"(_ NaN {size})", sort), choose(infinite, infinity, number))


def product_facts(formats: Mapping[str, FloatingPointFormat], inputs: Mapping[str, Term], product: Term) -> list[Term]:
    """Return what a product of significands is bound to be, whatever they are.

    It lies between what the least and the greatest significand of the one's kind, normal or not, make of the other; it
    is zero where one of them is; and the highest power of two that is a product is the second highest bit.
    """
    width = product.sort.width
    significands = {name: _significand(inputs[name], fmt, width) for name, fmt in formats.items()}
    zeros = any_of(*(equal(term, constant(0, width)) for term in significands.values()))
    found = [xor(zeros, not_equal(product, constant(0, width))),
             not_equal(product, constant(1 << (width - 1), width))]
    for (name, fmt), other in zip(formats.items(), reversed(significands.values()), strict=True):
        normal = _is_normal(inputs[name], fmt)
        once = _times_power(other, fmt.fraction_bits)
        twice = _times_power(other, fmt.fraction_bits + 1)
        lowest = choose(normal, once, choose(zeros, constant(0, width), other))
        highest = add(choose(normal, twice, once), negate(other))
        found += [invert(less(product, lowest, signed=False)), invert(less(highest, product, signed=False))]
    return found


def _significand(code: Term, fmt: FloatingPointFormat, width: int) -> Term:
    hidden = choose(_is_normal(code, fmt), constant(1, 1), constant(0, 1))
    return resized(concat(hidden, extract(code, fmt.fraction_bits - 1, 0)), width, signed=False)


def _times_power(term: Term, places: int) -> Term:
    """Return a term times two to ``places``, modulo two to its width."""
    return extract(shift_left(term, places), term.sort.width - 1, 0)
