"""Terms of booleans and bit-vectors as numbers, for many values of their variables at a time, without a solver."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.prove.terms import Term, in_order

__all__ = ["Values", "evaluate"]

Values = NDArray[Any]
"""Booleans of a boolean term, unsigned integers of a bit-vector: uint64, or Python integers beyond 64 bits."""

_EXTRACT = re.compile(r"\(_ extract (\d+) (\d+)\)")
_EXTEND = re.compile(r"\(_ (sign|zero)_extend (\d+)\)")


def evaluate(terms: Sequence[Term], values: Mapping[str, Values]) -> list[Values]:
    """Return what some terms are for arrays of what their variables are, all of one length.

    Raises
    ------
    ValueError
        For a term that has floating point in it, which takes a solver.
    """
    known: dict[int, Values] = {}
    length = len(next(iter(values.values()), np.zeros(1)))
    for term in in_order(terms):
        if term.free:
            known[id(term)] = _typed(values[term.head], term)
        elif not term.arguments:
            known[id(term)] = _constant(term, length)
        else:
            known[id(term)] = _apply(term, [known[id(argument)] for argument in term.arguments])
    return [known[id(term)] for term in terms]


def _constant(term: Term, length: int) -> Values:
    if term.head in ("true", "false"):
        return np.full(length, term.head == "true")
    if not term.head.startswith("#b"):
        raise ValueError(f"Term must be of booleans and bit-vectors to be evaluated, not {term.head!r}")
    return np.full(length, int(term.head[2:], 2), dtype=_dtype(term.sort.width))


def _dtype(width: int) -> Any:
    return np.uint64 if width <= 64 else object


def _typed(values: Values, term: Term) -> Values:
    return values.astype(_dtype(term.sort.width) if term.sort.width else bool)


def _cut(values: Values, width: int) -> Values:
    """Return integers modulo two to the width, in the type of that width."""
    if values.dtype == object or width > 64:
        return (values.astype(object) & ((1 << width) - 1)).astype(_dtype(width))
    return values if width == 64 else values & np.uint64((1 << width) - 1)


def _signed(values: Values, width: int) -> Values:
    """Return two's complement integers, as Python's or in 64 bits."""
    if width > 64:
        whole: Values = values.astype(object)
        wide: Values = whole - ((whole >> (width - 1)) << width)
        return wide
    places = np.uint64(64 - width)
    signed: Values = (values << places).view(np.int64) >> places.astype(np.int64)
    return signed


def _apply(term: Term, operands: list[Values]) -> Values:
    width = term.sort.width
    first = term.arguments[0].sort.width
    if term.head in _FUNCTIONS:
        return _FUNCTIONS[term.head](operands)
    if term.head in _MODULAR:
        with np.errstate(over="ignore"):
            return _cut(_MODULAR[term.head](operands), width)
    if term.head == "bvslt":
        a, b = (_signed(operand, first) for operand in operands)
        return np.asarray(a < b, dtype=bool)
    if term.head == "concat":
        return _concatenated(term, operands)
    match = _EXTRACT.fullmatch(term.head)
    if match:
        low = int(match[2])
        shifted = operands[0] >> (low if operands[0].dtype == object else np.uint64(low))
        return _cut(shifted, width)
    match = _EXTEND.fullmatch(term.head)
    if not match:
        raise ValueError(f"Term must be of booleans and bit-vectors to be evaluated, not {term.head!r}")
    if match[1] == "zero":
        return operands[0].astype(_dtype(width))
    extended = _signed(operands[0], first)
    return _cut(extended.astype(object) if width > 64 else extended.view(np.uint64), width)


def _concatenated(term: Term, operands: list[Values]) -> Values:
    dtype = _dtype(term.sort.width)
    total = np.zeros(len(operands[0]), dtype=dtype)
    for argument, operand in zip(term.arguments, operands, strict=True):
        places = argument.sort.width
        total = (total << (places if dtype is object else np.uint64(places))) | operand.astype(dtype)
    return total


_FUNCTIONS: dict[str, Callable[[list[Values]], Values]] = {
    "not": lambda operands: ~operands[0],
    "and": lambda operands: np.logical_and.reduce(operands),
    "or": lambda operands: np.logical_or.reduce(operands),
    "xor": lambda operands: operands[0] ^ operands[1],
    "=": lambda operands: np.asarray(operands[0] == operands[1], dtype=bool),
    "ite": lambda operands: np.where(*operands),
    "bvult": lambda operands: np.asarray(operands[0] < operands[1], dtype=bool),
}

_MODULAR: dict[str, Callable[[list[Values]], Values]] = {
    "bvnot": lambda operands: ~operands[0] if operands[0].dtype != object else -1 - operands[0],
    "bvneg": lambda operands: -operands[0],
    "bvadd": lambda operands: operands[0] + operands[1],
    "bvmul": lambda operands: operands[0] * operands[1],
}
