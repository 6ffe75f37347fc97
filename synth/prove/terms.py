"""Terms of SMT-LIB 2, booleans, bit-vectors and floating point, and the script that says them to any solver.

A proof obligation leaves this package as text in the standard language, so that every solver reads the same one, and a
reader who trusts neither of ours can give it to a third. Source: the SMT-LIB standard 2.6, theories Core,
FixedSizeBitVectors and FloatingPoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "BOOL", "FALSE", "TRUE", "Sort", "Term", "add", "all_of", "any_of", "bit", "bits", "boolean", "choose", "concat",
    "constant", "equal", "extract", "floating", "from_bits", "implies", "in_order", "invert", "invert_bits",
    "less", "multiply", "negate", "not_equal", "operation", "pack", "resized", "script", "shift_left", "variable",
    "xor",
]


@dataclass(frozen=True)
class Sort:
    """A sort: its name in a script, and its size where it has one.

    Parameters
    ----------
    text : str
    width : int, bits
        Of a bit-vector; 0 for every other sort.
    exponent_bits, significand_bits : int, bits
        Of a floating-point sort, the hidden bit counted; 0 for every other one.
    """

    text: str
    width: int = 0
    exponent_bits: int = 0
    significand_bits: int = 0


BOOL = Sort("Bool")


def bits(width: int) -> Sort:
    """Return the sort of bit-vectors of ``width`` bits."""
    return Sort(f"(_ BitVec {width})", width=width)


def floating(exponent_bits: int, significand_bits: int) -> Sort:
    """Return a floating-point sort; the hidden bit is one of the significand's."""
    return Sort(f"(_ FloatingPoint {exponent_bits} {significand_bits})", exponent_bits=exponent_bits,
                significand_bits=significand_bits)


@dataclass(frozen=True, eq=False, slots=True)
class Term:
    """A variable, a constant, or a function of terms; one and the same object where it is shared.

    Parameters
    ----------
    head : str
        Name of the variable or function, or the constant, as a script has it.
    sort : Sort
    arguments : tuple of Term
    free : bool
        Whether it is a variable.
    """

    head: str
    sort: Sort
    arguments: tuple[Term, ...] = ()
    free: bool = False


TRUE, FALSE = Term("true", BOOL), Term("false", BOOL)


def variable(name: str, sort: Sort) -> Term:
    """Return a variable; two of one name are the same to a solver."""
    return Term(name, sort, free=True)


def operation(head: str, sort: Sort, *arguments: Term) -> Term:
    """Return a function of terms that has no name of its own here, such as ``fp.mul``."""
    return Term(head, sort, arguments)


# Booleans

def boolean(value: bool) -> Term:
    """Return a constant."""
    return TRUE if value else FALSE


def invert(a: Term) -> Term:
    """Return the negation of a boolean."""
    if a is TRUE or a is FALSE:
        return boolean(a is FALSE)
    return Term("not", BOOL, (a,))


def all_of(*terms: Term) -> Term:
    """Return whether all booleans hold; true for none."""
    if any(term is FALSE for term in terms):
        return FALSE
    rest = tuple(term for term in terms if term is not TRUE)
    return Term("and", BOOL, rest) if len(rest) > 1 else (rest[0] if rest else TRUE)


def any_of(*terms: Term) -> Term:
    """Return whether one of the booleans holds; false for none."""
    if any(term is TRUE for term in terms):
        return TRUE
    rest = tuple(term for term in terms if term is not FALSE)
    return Term("or", BOOL, rest) if len(rest) > 1 else (rest[0] if rest else FALSE)


def implies(a: Term, b: Term) -> Term:
    """Return whether ``b`` holds where ``a`` does."""
    return any_of(invert(a), b)


def xor(a: Term, b: Term) -> Term:
    """Return whether exactly one of two booleans holds."""
    if a is TRUE or a is FALSE:
        a, b = b, a
    if b is TRUE or b is FALSE:
        return invert(a) if b is TRUE else a
    return Term("xor", BOOL, (a, b))


# Of every sort

def equal(a: Term, b: Term) -> Term:
    """Return whether two terms of one sort are the same; among floats, NaN is itself and the zeros differ."""
    assert a.sort == b.sort, (a.sort, b.sort)
    return Term("=", BOOL, (a, b))


def not_equal(a: Term, b: Term) -> Term:
    """Return whether two terms of one sort differ."""
    return invert(equal(a, b))


def choose(condition: Term, a: Term, b: Term) -> Term:
    """Return ``a`` where the condition holds, ``b`` elsewhere."""
    assert a.sort == b.sort, (a.sort, b.sort)
    if condition is TRUE or condition is FALSE or a is b:
        return b if condition is FALSE else a
    return Term("ite", a.sort, (condition, a, b))


# Bit-vectors

def constant(value: int, width: int) -> Term:
    """Return a bit-vector constant; a negative value stands for its two's complement."""
    return Term(f"#b{value & ((1 << width) - 1):0{width}b}", bits(width))


def bit(a: Term, index: int) -> Term:
    """Return one bit as a boolean."""
    return equal(extract(a, index, index), constant(1, 1))


def pack(booleans: Sequence[Term]) -> Term:
    """Return the bit-vector of some booleans, least significant first."""
    ones, zeros = constant(1, 1), constant(0, 1)
    pieces = [choose(item, ones, zeros) for item in reversed(booleans)]
    return pieces[0] if len(pieces) == 1 else Term("concat", bits(len(pieces)), tuple(pieces))


def extract(a: Term, high: int, low: int) -> Term:
    """Return the bits ``high`` down to ``low``."""
    assert 0 <= low <= high < a.sort.width, (high, low, a.sort)
    return a if high - low + 1 == a.sort.width else Term(f"(_ extract {high} {low})", bits(high - low + 1), (a,))


def concat(*pieces: Term) -> Term:
    """Return bit-vectors side by side, the most significant first; those of no bits may be there."""
    pieces = tuple(piece for piece in pieces if piece.sort.width)
    return pieces[0] if len(pieces) == 1 else Term("concat", bits(sum(piece.sort.width for piece in pieces)), pieces)


def resized(a: Term, width: int, *, signed: bool) -> Term:
    """Return a bit-vector with as many bits: extended by its sign or by zeros, or cut."""
    more = width - a.sort.width
    if more <= 0:
        return extract(a, width - 1, 0)
    return Term(f"(_ {'sign' if signed else 'zero'}_extend {more})", bits(width), (a,))


def invert_bits(a: Term) -> Term:
    """Return every bit negated."""
    return Term("bvnot", a.sort, (a,))


def _of_one_width(head: str, a: Term, b: Term) -> Term:
    assert a.sort == b.sort, (a.sort, b.sort)
    return Term(head, a.sort, (a, b))


def add(a: Term, b: Term) -> Term:
    """Return the sum modulo two to the width."""
    return _of_one_width("bvadd", a, b)


def multiply(a: Term, b: Term) -> Term:
    """Return the product modulo two to the width."""
    return _of_one_width("bvmul", a, b)


def negate(a: Term) -> Term:
    """Return the two's complement."""
    return Term("bvneg", a.sort, (a,))


def shift_left(a: Term, places: int) -> Term:
    """Return a bit-vector that many places wider, with zeros below."""
    return concat(a, constant(0, places)) if places else a


def less(a: Term, b: Term, *, signed: bool) -> Term:
    """Return whether ``a`` is below ``b``."""
    assert a.sort == b.sort, (a.sort, b.sort)
    return Term("bvslt" if signed else "bvult", BOOL, (a, b))


# Floating point

def from_bits(a: Term, sort: Sort) -> Term:
    """Return the float of the IEEE 754 interchange encoding ``a``."""
    assert a.sort.width == sort.exponent_bits + sort.significand_bits, (a.sort, sort)
    return Term(f"(_ to_fp {sort.exponent_bits} {sort.significand_bits})", sort, (a,))


# Scripts

def script(assertions: Sequence[Term], *, comments: Sequence[str] = (), declared: Sequence[Term] = ()) -> str:
    """Return a script that declares every variable, names every term once, and asserts some booleans.

    It has no ``check-sat``, which whoever runs it adds.

    Parameters
    ----------
    declared : sequence of Term
        Variables to declare even if no assertion has them.
    """
    lines = [f"; {line}" for line in comments]
    lines += ["(set-option :produce-models true)", "(set-logic QF_BVFP)"]
    names: dict[int, str] = {}
    known: set[str] = set()
    for term in in_order([*declared, *assertions]):
        if term.free:
            if term.head not in known:
                lines.append(f"(declare-const {term.head} {term.sort.text})")
                known.add(term.head)
            names[id(term)] = term.head
        elif not term.arguments:
            names[id(term)] = term.head
        else:
            names[id(term)] = name = f"t{len(names)}"
            inner = " ".join(names[id(argument)] for argument in term.arguments)
            lines.append(f"(define-fun {name} () {term.sort.text} ({term.head} {inner}))")
    lines += [f"(assert {names[id(term)]})" for term in assertions]
    return "\n".join(lines) + "\n"


def in_order(roots: Sequence[Term]) -> Iterator[Term]:
    """Return every term below the roots once, arguments first, without recursion: netlists are deep."""
    done: set[int] = set()
    pending: list[tuple[Term, bool]] = [(root, False) for root in reversed(roots)]
    while pending:
        term, entered = pending.pop()
        if id(term) in done:
            continue
        if entered or not term.arguments:
            done.add(id(term))
            yield term
        else:
            pending.append((term, True))
            pending += [(argument, False) for argument in reversed(term.arguments) if id(argument) not in done]
