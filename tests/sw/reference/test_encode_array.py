"""Arrays rounded to codes: every mode of fixed point against ``encode``, one value at a time."""

import numpy as np
import pytest

from sw.formats import FixedPointFormat, RandomBits, RoundingMode
from sw.reference.encode_array import encode_array
from sw.reference.value_array import from_integers
from tests.support.multipliers import policies

FORMATS = [FixedPointFormat(width=4), FixedPointFormat(width=5, fraction_bits=2, signed=False),
           FixedPointFormat(width=6, narrow_range=True), FixedPointFormat(width=1), FixedPointFormat(width=40)]


@pytest.mark.parametrize("exponent", [-5, -1, 0, 3, 70])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_every_rounding_mode_and_overflow_policy_is_what_encode_says(fmt, exponent):
    integers = np.concatenate([np.arange(-200, 200), [-(1 << 57), (1 << 57) + 3, (1 << 45) + 21, -(1 << 44) - 5]])
    random = np.arange(len(integers)) % 8
    values = from_integers(integers, exponent)
    for mode in RoundingMode:
        bits = 3 if mode is RoundingMode.STOCHASTIC else 0
        for policy in policies(fmt):
            got = encode_array(fmt, values, rounding=mode, overflow=policy, random=random if bits else None,
                               random_bits=bits)
            want = [fmt.encode(values.value(index), rounding=mode, overflow=policy,
                               random=RandomBits(value=int(random[index]), count=3) if bits else None)
                    for index in range(len(integers))]
            wrong = np.flatnonzero(got != np.array(want, dtype=np.uint64))
            assert not len(wrong), (mode, policy, [(int(integers[i]), int(got[i]), want[i]) for i in wrong[:5]])
