"""LFSRs: the taps proved primitive, the period walked through where that is affordable."""

import math
import re

import numpy as np
import pytest

from sw.reference.lfsr import TAPS, Lfsr

# Prime factors of 2**n - 1, each once, beyond those of 2**d - 1 for the proper divisors d of n (the Cunningham tables);
# `prime_factors` puts them together and the tests multiply them out.
PRIMITIVE_FACTORS = {
    1: (), 2: (3,), 3: (7,), 4: (5,), 5: (31,), 6: (), 7: (127,), 8: (17,), 9: (73,), 10: (11,), 11: (23, 89),
    12: (13,), 13: (8191,), 14: (43,), 15: (151,), 16: (257,), 17: (131071,), 18: (19,), 19: (524287,), 20: (41,),
    21: (337,), 22: (683,), 23: (47, 178481), 24: (241,), 25: (601, 1801), 26: (2731,), 27: (262657,), 28: (29, 113),
    29: (233, 1103, 2089), 30: (331,), 31: (2147483647,), 32: (65537,), 33: (599479,), 34: (43691,),
    35: (71, 122921), 36: (37, 109), 37: (223, 616318177), 38: (174763,), 39: (79, 121369), 40: (61681,),
    41: (13367, 164511353), 42: (5419,), 43: (431, 9719, 2099863), 44: (397, 2113), 45: (631, 23311), 46: (2796203,),
    47: (2351, 4513, 13264529), 48: (97, 673), 49: (4432676798593,), 50: (251, 4051), 51: (103, 2143, 11119),
    52: (53, 157, 1613), 53: (6361, 69431, 20394401), 54: (87211,), 55: (881, 3191, 201961), 56: (15790321,),
    57: (32377, 1212847), 58: (59, 3033169), 59: (179951, 3203431780337), 60: (61, 1321), 61: (2305843009213693951,),
    62: (715827883,), 63: (92737, 649657), 64: (641, 6700417),
}


def prime_factors(width):
    """Return the distinct primes of ``2**width - 1``."""
    return sorted({prime for divisor in range(1, width + 1) if width % divisor == 0
                   for prime in PRIMITIVE_FACTORS[divisor]})


def times(a, b, polynomial):
    """Return the product of two polynomials over GF(2), bits being coefficients, modulo a third."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = a << 1, b >> 1
        if a >> polynomial.bit_length() - 1:
            a ^= polynomial
    return product


def power(exponent, polynomial):
    """Return x**exponent modulo a polynomial."""
    result, square = 1, 2
    while exponent:
        if exponent & 1:
            result = times(result, square, polynomial)
        square, exponent = times(square, square, polynomial), exponent >> 1
    return result


@pytest.mark.parametrize("width", range(2, 65))
def test_every_polynomial_is_primitive(width):
    """x has the order 2**n - 1: its power of that is 1, and no power of that over a prime factor is."""
    primes, order = prime_factors(width), (1 << width) - 1
    rest = order
    for prime in primes:
        assert all(pow(base, prime - 1, prime) == 1 for base in (2, 3, 5, 7, 11, 13) if base % prime)
        while rest % prime == 0:
            rest //= prime
    assert rest == 1, "the factors are not all"
    polynomial = 1 | sum(1 << tap for tap in TAPS[width])
    assert polynomial.bit_length() == width + 1
    assert power(order, polynomial) == 1
    for prime in primes:
        assert power(order // prime, polynomial) != 1, f"the order divides (2**{width} - 1) / {prime}"


@pytest.mark.parametrize("width", [
    *range(2, 16), *(pytest.param(width, marks=pytest.mark.slow) for width in range(16, 21))])
def test_the_period_has_every_state_but_zero(width):
    """Doubled: the map of 2**k steps is that of 2**(k - 1) steps twice."""
    lfsr = Lfsr(width=width)
    steps = lfsr.step_array(np.arange(1 << width, dtype=np.uint64)).astype(np.int64)
    orbit = np.array([lfsr.seed])
    while len(orbit) <= lfsr.period:
        orbit, steps = np.concatenate([orbit, steps[orbit]]), steps[steps]
    assert orbit[lfsr.period] == lfsr.seed
    assert sorted(orbit[:lfsr.period].tolist()) == list(range(1, 1 << width))


@pytest.mark.parametrize("width", [2, 8, 12, 16, 37, 63, 64])
def test_a_step_feeds_back_the_exclusive_or_of_the_taps(width):
    lfsr, states = Lfsr(width=width), []
    state = lfsr.seed
    for _ in range(200):
        bits = [state >> (tap - 1) & 1 for tap in TAPS[width]]
        following = (state << 1 | sum(bits) % 2) % (1 << width)
        assert lfsr.step(state) == following, hex(state)
        states.append(state)
        state = following
    assert lfsr.step_array(np.array(states, dtype=np.uint64)).tolist() == [*states[1:], state]


def test_tables_cover_all_widths():
    assert list(TAPS) == list(range(2, 65))
    assert all(math.prod(PRIMITIVE_FACTORS[width]) <= (1 << width) - 1 for width in PRIMITIVE_FACTORS)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"width": 1}, ValueError, "LFSR width must be between 2 and 64 bits, not 1"),
    ({"width": 65}, ValueError, "LFSR width must be between 2 and 64 bits, not 65"),
    ({"width": 8.0}, TypeError, "LFSR width must be an integer, not 8.0"),
    ({"seed": 0}, ValueError, "LFSR seed must be above 0, the state that it never leaves, not 0"),
    ({"seed": 256}, ValueError, "LFSR seed must be between 1 and 255 for 8 bits, not 256"),
    ({"seed": -1}, ValueError, "LFSR seed must be between 1 and 255 for 8 bits, not -1"),
    ({"seed": True}, TypeError, "LFSR seed must be an integer, not True"),
])
def test_wrong_parameters_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Lfsr(**{"width": 8, **fields})


def test_step_wrong():
    with pytest.raises(ValueError, match="LFSR state must be between 0 and 255, not 256"):
        Lfsr(width=8).step(256)
    with pytest.raises(TypeError):
        Lfsr(width=8).step(1.0)
