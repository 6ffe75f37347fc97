"""The exact products of two formats, formed once and rounded as often as a test needs."""

from functools import cache

import numpy as np

from sw.formats import RandomBits
from sw.reference import product


@cache
def _all_products(a, b):
    """Return the distinct products, and which of them each pair of codes has (a varies fastest)."""
    values, places = {}, np.empty(1 << (a.width + b.width), np.int64)
    decoded = [a.decode(code) for code in range(1 << a.width)]
    rows = {}
    for code_b in range(1 << b.width):
        factor = b.decode(code_b)
        if factor not in rows:
            rows[factor] = [values.setdefault(product(other, factor), len(values)) for other in decoded]
        places[code_b << a.width:(code_b + 1) << a.width] = rows[factor]
    return list(values), places


def pairs(a, b):
    """Return every pair of codes, as two arrays."""
    index = np.arange(1 << (a.width + b.width))
    return index & ((1 << a.width) - 1), index >> a.width


def expected(model):
    """Return the definition's result for every pair of codes: array (2**random_bits, pairs), one row a random value.

    ``encode`` of the exact product, as ``sw.reference.Multiplication`` has it, without that class's own caches.
    """
    values, places = _all_products(model.a, model.b)
    count = model.random_bits
    draws = [RandomBits(value=value, count=count) for value in range(1 << count)] if count else [None]
    return np.array([[model.result.encode(value, rounding=model.rounding, overflow=model.overflow, random=bits)
                      for value in values] for bits in draws],
                    dtype=np.uint64)[:, places]
