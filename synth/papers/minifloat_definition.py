"""What the minifloat paper's formats are: its quantizer, and the widths of its accumulators, against ours."""

import numpy as np

from sw.formats import ScalarFormat, parse
from sw.reference.accumulator_width import integer_width, minifloat_width, sum_grid
from synth.cost.checks import TERMS
from synth.papers.laboratory import Laboratory
from synth.papers.record import Demand, Provenance, Row

SPLITS = ((2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 1), (3, 2), (3, 3), (3, 4), (4, 1), (4, 2), (4, 3), (5, 1),
          (5, 2))
"""Exponent and fraction bits of the paper's minifloats."""

BITS = range(3, 9)
MINIFLOATS = tuple(f"minifloat_e{x}m{y}" for x, y in SPLITS)

NOTES = "notes on arXiv 2311.12359 v3"
"""Second-hand: the paper's full text was not available."""


def _defined(x: int, y: int, value: np.ndarray) -> np.ndarray:
    """Return values rounded as the published quantizer defines it, in float64."""
    bias = 2 ** (x - 1) - 1
    exponent = np.floor(np.log2(np.abs(value), where=value != 0, out=np.full_like(value, -999.0)))
    step = 2.0 ** np.maximum(exponent - y, 1 - bias - y)
    largest = (2 - 2.0 ** -y) * 2.0 ** (2 ** x - 1 - bias)
    rounded: np.ndarray = np.clip(step * np.round(value / step), -largest, largest)
    return rounded


def _inputs(fmt: ScalarFormat) -> np.ndarray:
    """Return all values of a format, what lies halfway between two, and what lies a little beside each."""
    import torch

    from sw.quantize import from_codes

    values = np.unique(from_codes(torch.arange(1 << fmt.width), fmt, torch.float64).numpy())
    halves = (values[1:] + values[:-1]) / 2
    points = np.concatenate([values, halves, [2 * values[-1], 2 * values[0]]])
    return np.unique(np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)]))


def definitions(lab: Laboratory) -> list[Row]:
    """Return how many values and widths differ from the paper's."""
    import torch

    from sw.quantize import fake_quantize

    wrong = count = 0
    for (x, y), name in zip(SPLITS, MINIFLOATS, strict=True):
        lab.step(name)
        points = _inputs(parse(name))
        got = fake_quantize(torch.from_numpy(points), parse(name)).numpy()
        wrong, count = wrong + int((got != _defined(x, y, points)).sum()), count + len(points)
    exact = [sum_grid(parse(name), parse(name), terms=4096).width - minifloat_width((x, x), (y, y), 4096)
             for (x, y), name in zip(SPLITS, MINIFLOATS, strict=True)]
    loose = [integer_width(bits, bits, TERMS) - sum_grid(parse(f"int{bits}"), parse(f"int{bits}"), terms=TERMS).width
             for bits in BITS]
    return [
        Row(quantity=f"values that the quantizer rounds differently, of {count:,}", unit="values", ours=wrong, paper=0,
            provenance=Provenance.PUBLISHED, source="Brevitas, core/quant/float.py", demand=Demand.EQUAL,
            note="every value of all 14 formats, every midpoint, both neighbours of each, and beyond the range"),
        Row(quantity="formats whose exact width for 4,096 terms is not the formula's", unit="formats",
            ours=sum(bool(difference) for difference in exact), paper=0, provenance=Provenance.SECOND_HAND,
            source=f"{NOTES}: accumulator width", demand=Demand.EQUAL),
        Row(quantity=f"least bits that the integer formula is too wide, {TERMS:,} terms", unit="bits", ours=min(loose),
            paper=2, provenance=Provenance.DERIVED, source="brute force against the formula", demand=Demand.COMPARED,
            note="full-range integers here; the notes count 2 to 3 bits for narrow ranges")]
