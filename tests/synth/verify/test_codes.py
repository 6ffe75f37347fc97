"""Codes that operands are picked from: which are special, and how to be rid of most of them."""

import numpy as np
import pytest

from sw.formats import Special, parse
from sw.reference.model import Port
from synth.verify.codes import special_codes, without_specials

SPECIAL = {Special.NAN, Special.POSITIVE_INFINITY, Special.NEGATIVE_INFINITY}


@pytest.mark.parametrize("name", ["e5m2", "e4m3", "posit<8,1>", "int8", "float16"])
def test_special_codes_are_those_of_no_finite_number(name):
    fmt = parse(name)
    values = [fmt.decode(code) for code in range(1 << fmt.width)]
    assert special_codes(fmt).tolist() == [value in SPECIAL for value in values]


def test_finite_numbers_stand_in_for_what_is_none():
    fmt = parse("e5m2")
    generator = np.random.default_rng(1)
    codes = generator.integers(0, 256, (64, 200), dtype=np.uint64)
    special = special_codes(fmt)
    none = without_specials(Port.of(fmt), codes, generator, 0.0)
    assert not special[none].any()
    assert np.array_equal(none[~special[codes]], codes[~special[codes]])
    assert len(set(none[special[codes]].tolist())) > 100, "any of them"
    some = without_specials(Port.of(fmt), codes, generator, 0.25)
    assert 0.15 < special[some].sum() / special[codes].sum() < 0.35


@pytest.mark.parametrize("port", [Port(width=8), Port.of(parse("int8")), Port.of(parse("float32"))],
                         ids=["no format", "no special codes", "too many codes to list"])
def test_other_codes_stay_what_they_are(port):
    generator = np.random.default_rng(1)
    codes = generator.integers(0, port.codes, 1000, dtype=np.uint64)
    assert without_specials(port, codes, generator, 0.0) is codes
