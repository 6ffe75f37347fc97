# amaranth: UnusedElaboratable=no
"""Multipliers against the definition of their formats, many through one Yosys process."""

import numpy as np

from hw.arith.multiply import Multiplier
from sw.formats import OverflowPolicy, RoundingMode
from tests.support import gates
from tests.support.products import expected, pairs


def policies(fmt):
    """Return the overflow policies that apply to a format."""
    applicable = []
    for policy in OverflowPolicy:
        try:
            fmt.check_overflow(policy)
        except ValueError:
            continue
        applicable.append(policy)
    return applicable


def all_modes(a, b=None, result=None, random_bits=2, **parameters):
    """Return a multiplier for every rounding mode and applicable overflow policy."""
    return [Multiplier(a, b, result, rounding=mode, overflow=policy,
                       random_bits=random_bits if mode is RoundingMode.STOCHASTIC else 0, **parameters)
            for mode in RoundingMode for policy in policies(result or a)]


def describe(multiplier):
    """Return the parameters of a multiplier, for a failure's message."""
    return (f"{multiplier.a_format.name} x {multiplier.b_format.name} -> {multiplier.result_format.name} "
            f"{multiplier.rounding.name} {multiplier.overflow.name} random_bits={multiplier.random_bits} "
            f"{multiplier.structure.name} hard_multiplier={multiplier.hard_multiplier}")


def assert_exhaustively_right(multipliers, folder, platform=None):
    """Check every pair of codes, and every value of the random bits, of combinational multipliers."""
    for multiplier, circuit in zip(multipliers, gates.build(multipliers, folder, platform=platform), strict=True):
        a, b = pairs(multiplier.a_format, multiplier.b_format)
        for random, want in enumerate(expected(multiplier.model)):
            extra = {"random": np.full(len(a), random)} if multiplier.random_bits else {}
            _assert_equal(multiplier, a, b, random, circuit.run(a=a, b=b, **extra), want)


def assert_right_on(multipliers, folder, vectors, seed, platform=None):
    """Check corners by corners, and ``vectors`` random pairs of codes."""
    rng = np.random.default_rng(seed)
    for multiplier, circuit in zip(multipliers, gates.build(multipliers, folder, platform=platform), strict=True):
        widths = multiplier.a_format.width, multiplier.b_format.width
        grids = np.meshgrid(*(corners(width) for width in widths))
        a, b = (np.concatenate([grid.ravel(), rng.integers(0, 1 << width, vectors)])
                for grid, width in zip(grids, widths, strict=True))
        extra = {"random": rng.integers(0, 1 << multiplier.random_bits, len(a))} if multiplier.random_bits else {}
        want = multiplier.model.codes(a, b, extra.get("random"))
        _assert_equal(multiplier, a, b, f"seed {seed}", circuit.run(a=a, b=b, **extra), want)


def corners(width):
    """Return the codes around every power of two, and their complements: field boundaries of any format."""
    codes = {(sign * (1 << place) + step) % (1 << width) for place in range(width) for sign in (1, -1)
             for step in (-1, 0, 1)}
    return np.array(sorted(codes | {0}))


def _assert_equal(multiplier, a, b, random, got, want):
    wrong = np.flatnonzero(got != want)
    examples = [f"{a[i]:#x} x {b[i]:#x}: got {got[i]:#x}, want {want[i]:#x}" for i in wrong[:5]]
    assert not len(wrong), f"{describe(multiplier)}, random {random}: {len(wrong)} of {len(a)} wrong: {examples}"
