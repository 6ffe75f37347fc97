"""The emulations round as they are said to, and their sums are those of the circuit's reference."""

import numpy as np
import pytest
import torch

from sw.formats import parse
from sw.quantize import fake_quantize, from_codes, to_codes
from synth.bench.native_emulation import Ties, by_bits, by_library, chunked_matmul
from synth.native.operator import operator
from synth.native.reference import reference_matmul

FORMATS = ["float16_e6m9", "float16", "float8_e5m2", "e4m5"]


def numbers(fmt, seed=1):
    """Return float32 numbers of all magnitudes around a format's range, and its ties."""
    generator = torch.Generator().manual_seed(seed)
    lowest, highest = fmt.min_exponent - fmt.fraction_bits - 2, int(np.log2(float(fmt.max_finite))) + 2
    exponents = torch.randint(lowest, highest, (20000,), generator=generator)
    x = torch.ldexp(torch.randn(20000, generator=generator), exponents)
    values = from_codes(torch.arange(fmt.max_code, dtype=torch.int32), fmt)
    ties = (values[1:] + values[:-1]) / 2
    return torch.cat([x, values, -values, ties, -ties])


@pytest.mark.parametrize("name", FORMATS)
def test_rounding_by_bits_to_even_is_the_librarys(name):
    fmt = parse(name)
    x = numbers(fmt)
    got, want = by_bits(fmt, Ties.EVEN)(x.clone()), fake_quantize(x, fmt)
    wrong = torch.nonzero(got != want).flatten()
    assert not len(wrong), f"{x[wrong[0]]}: got {got[wrong[0]]}, want {want[wrong[0]]}"


@pytest.mark.parametrize("name", FORMATS)
def test_ties_away_differ_for_ties_alone(name):
    fmt = parse(name)
    x = numbers(fmt)
    away, even = by_bits(fmt, Ties.AWAY)(x.clone()), fake_quantize(x, fmt)
    different = away != even
    assert 0 < int(different.sum()) < len(x) // 2
    # Where they differ, both are as near, and the one away from zero is the larger.
    assert torch.equal((away - x)[different], (x - even)[different])
    assert (away.abs() > even.abs())[different].all()


def test_the_librarys_rounding_works_in_place():
    x = torch.tensor([1.0009765625, -3.0])
    rounded = by_library(parse("float8_e5m2"))(x)
    assert rounded is x
    assert x.tolist() == [1.0, -3.0]


@pytest.mark.parametrize(("terms", "chunk"), [(1, 4), (7, 1), (8, 4), (9, 4), (5, 64)])
@pytest.mark.parametrize("rounding", ["library", "bits"])
def test_products_are_those_of_the_reference(terms, chunk, rounding):
    accumulator, operand = parse("e4m5"), parse("float8_e4m3fn")
    operation = operator("chunked_mac", fmt="e4m3", accumulator="e4m5", chunk=chunk)
    generator = torch.Generator().manual_seed(terms)
    a, b = (to_codes(torch.randn(shape, generator=generator), operand) for shape in ((6, terms), (terms, 5)))
    rounded = by_library(accumulator) if rounding == "library" else by_bits(accumulator, Ties.EVEN)
    got = to_codes(chunked_matmul(from_codes(a, operand), from_codes(b, operand), chunk, rounded), accumulator)
    assert got.tolist() == reference_matmul(operation, a.numpy(), b.numpy()).tolist()
