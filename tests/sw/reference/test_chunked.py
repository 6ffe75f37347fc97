"""Chunked accumulation against numpy, against its definition, and against the figures of papers/fp8_training.md."""

import math

import numpy as np
import pytest

from sw.formats import OverflowPolicy, RoundingMode, as_float, parse
from sw.reference.chunked import ChunkedMultiplyAccumulate
from tests.support.clocked_gates import random_codes
from tests.support.sampling import sampled

E4M3, E5M2, E6M9, ONE = parse("e4m3"), parse("e5m2"), parse("float16_e6m9"), parse("uint1")
STOCHASTIC = RoundingMode.STOCHASTIC
VALUES = [as_float(E6M9.decode(code)) for code in range(1 << 16)]


def _transfers(model, count, sequences, seed, flag_rate=0.3):
    """Random transfers: for each port an array of shape (count, sequences)."""
    rng = np.random.default_rng(seed)
    return {name: random_codes(port, count * sequences, rng).reshape(count, sequences) if port.width > 1 else
            (rng.random((count, sequences)) < flag_rate).astype(np.uint64) for name, port in model.inputs.items()}


def _run(model, transfers, accepted, resets=None):
    """Results of each sequence from the vectorised model."""
    count, sequences = accepted.shape
    run, results = model.start(sequences), [[] for _ in range(sequences)]
    for row in range(count):
        if resets is not None:
            run.reset(resets[row])
        for produced, outputs in run.accept({name: codes[row] for name, codes in transfers.items()}, accepted[row]):
            for sequence in np.flatnonzero(produced):
                results[sequence].append(int(outputs["o"][sequence]))
    return results


@pytest.mark.parametrize("parameters", [
    {}, {"chunk": 1}, {"chunk": 100}, {"a": E5M2, "accumulator": E6M9},
    {"accumulator": parse("dlfloat16"), "rounding": RoundingMode.NEAREST_AWAY},
    {"accumulator": parse("posit<8,1>"), "a": parse("posit<6,0>")},
    {"accumulator": E5M2, "rounding": RoundingMode.DOWN, "overflow": OverflowPolicy.INFINITY},
    {"accumulator": parse("fixed<9,3>"), "overflow": OverflowPolicy.WRAP, "result": parse("fixed<6,1>")},
    {"accumulator": E6M9, "result": E5M2}, {"rounding": STOCHASTIC, "random_bits": 4},
    {"accumulator": E6M9, "result": E5M2, "rounding": STOCHASTIC, "random_bits": 5},
    {"accumulator": E6M9, "result": E5M2, "rounding": STOCHASTIC, "random_bits": 5, "lfsr_bits": 17, "seed": 77},
])
def test_arrays_agree_with_the_definition(parameters):
    model = ChunkedMultiplyAccumulate(**{"a": E4M3, "b": E4M3, "accumulator": E4M3, "chunk": 3} | parameters)
    transfers, rng = _transfers(model, 60, 8, seed=1), np.random.default_rng(2)
    accepted = rng.random((60, 8)) < 0.8
    got = _run(model, transfers, accepted)
    for sequence in range(8):
        rows = np.flatnonzero(accepted[:, sequence])
        want = model.results({name: int(codes[row, sequence]) for name, codes in transfers.items()} for row in rows)
        assert got[sequence] == want, f"sequence {sequence}"


def test_reset_starts_over():
    model = ChunkedMultiplyAccumulate(a=E4M3, b=E4M3, accumulator=E6M9, chunk=3, rounding=STOCHASTIC, random_bits=6,
                                      lfsr_bits=12, seed=5)
    transfers, accepted = _transfers(model, 40, 2, seed=3), np.ones((40, 2), bool)
    resets = np.zeros((40, 2), bool)
    resets[17, 1] = True
    got = _run(model, transfers, accepted, resets)[1]
    columns = [{name: int(codes[row, 1]) for name, codes in transfers.items()} for row in range(40)]
    assert got == model.results(columns[:17]) + model.results(columns[17:])


@pytest.mark.parametrize("parameters", [
    {"chunk": 1}, {"chunk": 4}, {"chunk": 7}, {"chunk": 50}, {"chunk": 4, "result": E5M2},
    {"chunk": 3, "result": E5M2, "rounding": STOCHASTIC, "random_bits": 5},
    {"chunk": 5, "rounding": STOCHASTIC, "random_bits": 5, "lfsr_bits": 20, "seed": 9}])
def test_dot_is_one_sum_of_transfers(parameters):
    model = ChunkedMultiplyAccumulate(a=E4M3, b=E5M2, accumulator=E6M9, **parameters)
    transfers = _transfers(model, 23, 6, seed=4)
    transfers["first"], transfers["last"] = np.zeros((2, 23, 6), np.uint64)
    transfers["last"][-1] = 1
    want = [results[0] for results in _run(model, transfers, np.ones((23, 6), bool))]
    fields = {name: codes.T for name, codes in transfers.items() if name not in ("first", "last")}
    assert model.dot(**fields).tolist() == want


@pytest.mark.parametrize("chunk", [1, 3, 16, 64])
def test_sums_in_float16_are_those_of_numpy(chunk):
    """Products of e4m3 codes are exact in float16, and numpy rounds each of its sums once."""
    model = ChunkedMultiplyAccumulate(a=E4M3, b=E4M3, accumulator=parse("float16"), chunk=chunk,
                                      overflow=OverflowPolicy.INFINITY)
    rng = np.random.default_rng(chunk)
    magnitudes, signs = rng.integers(0, 0x60, (2, 40, 64)), rng.integers(0, 2, (2, 40, 64))
    codes = (magnitudes | signs << 7).astype(np.uint64)
    a, b = np.array([as_float(E4M3.decode(code)) for code in range(256)])[codes]
    products, total = (a * b).astype(np.float16), np.zeros(40, np.float16)
    assert (products == a * b).all()
    for start in range(0, 64, chunk):
        partial = np.zeros(40, np.float16)
        for column in products[:, start:start + chunk].T:
            partial = partial + column
        total = total + partial
    assert model.dot(*codes).tolist() == total.view(np.uint16).tolist()


@pytest.fixture(scope="module")
def draws():
    """16 trials of 16,384 draws of U(1 - sqrt 3, 1 + sqrt 3), with 10 significant bits, as codes of 1-6-9."""
    values = np.random.default_rng(0).uniform(1 - math.sqrt(3), 1 + math.sqrt(3), (16, 16384))
    fractions, exponents = np.frexp(values)
    values = np.ldexp(np.rint(fractions * 1024), exponents - 10)
    codes = np.searchsorted(VALUES[:E6M9.max_code + 1], np.abs(values)).astype(np.uint64)
    assert (np.array(VALUES)[codes] == np.abs(values)).all()
    return codes | (values < 0).astype(np.uint64) << np.uint64(15)


def _sums(draws, chunk, **parameters):
    model = ChunkedMultiplyAccumulate(a=E6M9, b=ONE, accumulator=E6M9, chunk=chunk, **parameters)
    return np.array(VALUES)[model.dot(draws, np.ones_like(draws))]


@sampled(("chunk", "result"), [(1, 4096), (2, 8192)], 1)
def test_sums_stop_where_the_addend_is_less_than_half_a_place(draws, chunk, result):
    """Target 1 (Fig. 3b): at 4096 the last place is 8, and the largest addend 2.73."""
    assert (_sums(draws, chunk) == result).all()


@pytest.mark.slow
def test_longer_chunks(draws):
    """Target 1 (Fig. 3b); errors relative to the exact sum."""
    assert abs(_sums(draws, 4).mean() - 8889) < 150
    exact = np.array(VALUES)[draws].sum(axis=1)
    errors = {chunk: np.abs(_sums(draws, chunk) / exact - 1).mean() for chunk in (8, 16, 64, 128, 1024, 4096)}
    assert errors[8] == pytest.approx(0.013, abs=0.005)
    assert errors[16] == pytest.approx(0.003, abs=0.0015)
    assert errors[64] == pytest.approx(0.003, abs=0.0015)
    assert errors[128] == pytest.approx(0.0015, abs=0.0007)
    assert errors[1024] == pytest.approx(0.0015, abs=0.0007)
    assert errors[4096] == pytest.approx(0.076, abs=0.01)


@pytest.mark.slow
def test_all_ones():
    """Target 2: min(N, 1024 CL) to nearest even; 2048 with ties away from zero."""
    ones = np.full((1, 5000), E6M9.encode(1), np.uint64)
    for chunk, count in ((1, 1000), (1, 1100), (2, 2500), (4, 4500), (1024, 5000)):
        assert _sums(ones[:, :count], chunk) == min(count, 1024 * chunk)
    assert _sums(ones[:, :2200], 1, rounding=RoundingMode.NEAREST_AWAY) == 2048


def _ideal_stochastic_sums(values, rng):
    """Sequential sums of the rows in float64, each step rounded to 10 significant bits by a uniform random number."""
    total = np.zeros(len(values))
    for column in values.T:
        exact = total + column
        fractions, exponents = np.frexp(exact)
        units = np.floor(np.abs(fractions) * 1024 + rng.random(len(values)))
        total = np.copysign(np.ldexp(units, exponents - 10), exact)
    return total


@pytest.mark.slow
def test_stochastic_sums_are_right_on_average(draws):
    """Target 1: chunk 1, mean error below 0.2 %, rms 2.4 %, of 300 trials: so give or take 0.1 %."""
    rng = np.random.default_rng(3)
    trials = draws[rng.integers(0, 16, 300)]
    bits = {name: rng.integers(0, 1 << 14, trials.shape, np.uint64) for name in ("random", "random_total")}
    model = ChunkedMultiplyAccumulate(a=E6M9, b=ONE, accumulator=E6M9, chunk=1, rounding=STOCHASTIC, random_bits=14)
    sums = np.array(VALUES)[model.dot(trials, np.ones_like(trials), **bits)]
    errors = sums / np.array(VALUES)[trials].sum(axis=1) - 1
    assert abs(errors.mean()) < 0.002
    assert np.sqrt((errors**2).mean()) == pytest.approx(0.024, abs=0.003)
    many = np.array(VALUES)[draws[rng.integers(0, 16, 3000)]]
    ideal = _ideal_stochastic_sums(many, rng) / many.sum(axis=1) - 1
    assert np.sqrt((ideal**2).mean()) == pytest.approx(0.0254, abs=0.001)


def _gradient_products(pairs, outputs):
    """FP8 codes of ReLU(Gaussian) and Gaussian + 0.5, and their exact sums of products."""
    from ml_dtypes import float8_e5m2
    rng = np.random.default_rng(11)
    activations = np.maximum(rng.standard_normal((outputs, pairs)), 0).astype(np.float32).astype(float8_e5m2)
    gradients = (rng.standard_normal((outputs, pairs)) + 0.5).astype(np.float32).astype(float8_e5m2)
    exact = (activations.astype(np.float64) * gradients.astype(np.float64)).sum(axis=1)
    return activations.view(np.uint8).astype(np.uint64), gradients.view(np.uint8).astype(np.uint64), exact


def _relative_error(a, b, exact, chunk):
    codes = ChunkedMultiplyAccumulate(a=E5M2, b=E5M2, accumulator=E6M9, chunk=chunk).dot(a, b)
    sums = np.array(VALUES)[codes]
    return np.linalg.norm(sums - exact) / np.linalg.norm(exact)


def test_one_chunk_is_sequential_as_chunks_of_one_are():
    a, b, _ = _gradient_products(2000, 32)
    one, whole = (ChunkedMultiplyAccumulate(a=E5M2, b=E5M2, accumulator=E6M9, chunk=chunk).dot(a, b)
                  for chunk in (1, 2000))
    assert (one == whole).all()


@pytest.mark.slow
def test_gradient_error_over_chunk_length():
    """Target 3: the U-curve of the gradient product, N = 32768, 256 outputs."""
    a, b, exact = _gradient_products(32768, 256)
    errors = {chunk: _relative_error(a, b, exact, chunk) for chunk in
              (1, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 32768)}
    assert errors[1] == errors[32768]
    assert errors[1] == pytest.approx(0.355, abs=0.02)
    assert errors[8] == pytest.approx(0.157, abs=0.02)
    assert errors[1] >= 30 * errors[64]
    assert 64 <= min(errors, key=errors.get) <= 1024


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"a": "e4m3"}, TypeError, "Format a must be a scalar format, not 'e4m3'"),
    ({"accumulator": 16}, TypeError, "Accumulator format must be a scalar format, not 16"),
    ({"result": "e4m3"}, TypeError, "Result format must be a scalar format, not 'e4m3'"),
    ({"chunk": 0}, ValueError, "Chunk must be between 1 and 1073741824 pairs, not 0"),
    ({"chunk": 2.0}, TypeError, r"Chunk must be an integer, not 2\.0"),
    ({"accumulator": parse("e8m0")}, ValueError,
     "Accumulator format must have a zero, in which every sum starts, not float8_e8m0fnu"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn"),
    ({"result": parse("int8"), "overflow": OverflowPolicy.INFINITY}, ValueError, "Overflow policy must be saturate"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
    ({"lfsr_bits": 8}, ValueError, "LFSR bits must be left out for nearest-even rounding, not 8"),
    ({"seed": 2}, ValueError, "LFSR seed must be left out without LFSR bits, not 2"),
    ({"seed": "2"}, TypeError, "LFSR seed must be an integer, not '2'"),
    ({"rounding": STOCHASTIC, "random_bits": 5, "lfsr_bits": 9}, ValueError,
     "LFSR bits must be between 10 and 64 for 2 times 5 random bits, not 9"),
    ({"rounding": STOCHASTIC, "random_bits": 5, "lfsr_bits": 10.0}, TypeError, r"LFSR bits must be an integer, not 10"),
    ({"rounding": STOCHASTIC, "random_bits": 5, "lfsr_bits": 10, "seed": 0}, ValueError, "LFSR seed must be above 0"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        ChunkedMultiplyAccumulate(**{"a": E4M3, "b": E4M3, "accumulator": E4M3, "chunk": 3} | parameters)


def test_wrong_sums():
    model, codes = ChunkedMultiplyAccumulate(a=E4M3, b=E4M3, accumulator=E4M3, chunk=3), np.zeros((2, 5), np.uint64)
    with pytest.raises(ValueError, match=r"Codes must be arrays of one shape \(sums, pairs\) with at least one pair, "
                                         r"not \(2, 5\), \(5, 2\)"):
        model.dot(codes, codes.T)
    with pytest.raises(ValueError, match=r"not \(2, 0\), \(2, 0\)"):
        model.dot(codes[:, :0], codes[:, :0])
    with pytest.raises(ValueError, match="Inputs must be a, b, not a, b, random"):
        model.dot(codes, codes, random=codes)
    with pytest.raises(ValueError, match="Input b must be between 0 and 255, not 300 to 300"):
        model.dot(codes, codes + np.uint64(300))
