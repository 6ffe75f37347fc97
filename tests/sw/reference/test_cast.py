"""The cast with which operations end."""

import re
from fractions import Fraction

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RandomBits, RoundingMode, parse
from sw.reference.cast import Cast, observed
from sw.reference.model import Port
from sw.reference.value_array import from_values

E4M3 = parse("e4m3")
VALUES = [Fraction(17, 16), Fraction(-19, 16), Fraction(1000), Fraction(1, 4096)]


@pytest.mark.parametrize("mode", RoundingMode)
def test_one_value_and_an_array_of_them_round_alike(mode):
    bits = 4 if mode is RoundingMode.STOCHASTIC else 0
    cast = Cast(result=E4M3, rounding=mode, overflow=OverflowPolicy.INFINITY, random_bits=bits)
    random = np.arange(len(VALUES)) * 5
    want = [E4M3.encode(value, rounding=mode, overflow=OverflowPolicy.INFINITY,
                        random=RandomBits(value=draw, count=4) if bits else None)
            for value, draw in zip(VALUES, random.tolist(), strict=True)]
    assert [cast.encode(value, draw) for value, draw in zip(VALUES, random.tolist(), strict=True)] == want
    assert cast.codes(from_values(VALUES), random).tolist() == want


def test_random_ports():
    assert Cast(result=E4M3).random_ports == {}
    assert Cast(result=E4M3, rounding=RoundingMode.STOCHASTIC, random_bits=7).random_ports == {"random": Port(width=7)}


@pytest.mark.parametrize(("name", "fields", "wanted"), [
    ("e4m3", {}, False), ("float16", {"rounding": RoundingMode.STOCHASTIC, "random_bits": 45}, False),
    ("float16", {"rounding": RoundingMode.STOCHASTIC, "random_bits": 46}, True), ("fixed<55,3>", {}, False),
    ("fixed<56,3>", {}, True), ("fixed<8,3>", {"overflow": OverflowPolicy.WRAP}, True), ("posit<16,1>", {}, False),
])
def test_exact_values_are_asked_for_where_58_bits_could_mislead(name, fields, wanted):
    assert Cast(result=parse(name), **fields).needs_exact is wanted


def test_an_observer_is_told_of_every_rounding_within_its_block():
    cast, seen = Cast(result=E4M3), []
    values = from_values(VALUES)
    with observed(lambda *event: seen.append(event)):
        codes = cast.codes(values)
    cast.codes(values)
    (told, given, random, result), = seen
    assert (told, given, random, result.tolist()) == (cast, values, None, codes.tolist())


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"rounding": RoundingMode.STOCHASTIC}, ValueError,
     "Random bit count must be between 1 and 64 for stochastic rounding, not 0"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
    ({"random_bits": 1.5}, TypeError, "Random bit count must be an integer, not 1.5"),
    ({"rounding": "up"}, TypeError, "Rounding mode must be a RoundingMode, not 'up'"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn"),
    ({"overflow": None}, TypeError, "Overflow policy must be an OverflowPolicy, not None"),
])
def test_wrong_parameters_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Cast(**{"result": E4M3, **fields})


def test_encode_wrong():
    cast = Cast(result=E4M3, rounding=RoundingMode.STOCHASTIC, random_bits=4)
    with pytest.raises(ValueError, match="Random bits must be between 0 and 15, not 16"):
        cast.encode(Fraction(1), 16)
    with pytest.raises(TypeError):
        cast.encode(Fraction(1), 1.0)
    with pytest.raises(ValueError, match="Random bits must be given for stochastic rounding, not None"):
        cast.codes(from_values(VALUES))
