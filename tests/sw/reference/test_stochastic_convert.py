"""Conversion with a shift register: the law of Gupta et al. 2015, and the vectorised run against the definition."""

import re
from fractions import Fraction

import numpy as np
import pytest

from sw.formats import FixedPointFormat, OverflowPolicy, RoundingMode, parse
from sw.reference.lfsr import Lfsr
from sw.reference.model import Stream
from sw.reference.stochastic_convert import StochasticConversion


def run_all(model, sequences):
    """Return what sequences of codes of one length give, all at once, with no sequence ever left out."""
    run, results = model.start(len(sequences)), []
    for codes in np.array(sequences, dtype=np.uint64).T:
        (produced, outputs), = run.accept({"a": codes}, np.full(len(codes), True))
        assert produced.all()
        results.append(outputs["o"])
    return np.array(results).T


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_exactly_r_states_of_the_period_round_a_residue_of_r_up(bits):
    model = StochasticConversion(a=FixedPointFormat(width=bits + 2, fraction_bits=bits, signed=False),
                                 result=FixedPointFormat(width=2, signed=False), random_bits=bits)
    period = model.lfsr.period
    assert period == (1 << bits) - 1
    residues = np.arange(1 << bits)
    results = run_all(model, np.repeat(residues[:, None] + (1 << bits), period, axis=1))
    assert ((results == 1) | (results == 2)).all()
    assert (results == 2).sum(axis=1).tolist() == residues.tolist()


def test_a_wider_register_rounds_up_in_proportion():
    model = StochasticConversion(a=parse("ufixed<4,3>"), result=parse("uint2"), random_bits=3, lfsr_bits=7)
    results = run_all(model, [[residue] * 127 for residue in range(8)])
    assert results.sum(axis=1).tolist() == [residue * 16 for residue in range(8)]


@pytest.mark.parametrize(("a", "result", "fields"), [
    ("e5m2", "e2m1", {"random_bits": 5, "seed": 19}), ("fixed<8,4>", "int3", {"random_bits": 1}),
    ("float16", "fixed<8,4>", {"random_bits": 12, "lfsr_bits": 16, "overflow": OverflowPolicy.WRAP, "seed": 0xACE1}),
    ("posit<8,1>", "e3m2", {"random_bits": 4}),
])
def test_runs_are_the_definition(a, result, fields):
    model = StochasticConversion(a=parse(a), result=parse(result), **fields)
    rng = np.random.default_rng(12)
    sequences = rng.integers(0, 1 << model.a.width, (7, 60))
    accepted, resets = rng.random((60, 7)) < 0.7, rng.random((60, 7)) < 0.05
    run, got = model.start(7), [[[]] for _ in range(7)]
    given = [[[]] for _ in range(7)]
    for step, codes in enumerate(sequences.T.astype(np.uint64)):
        run.reset(resets[step])
        (produced, outputs), = run.accept({"a": codes}, accepted[step])
        assert produced.tolist() == accepted[step].tolist()
        for row in range(7):
            if resets[step, row]:
                got[row].append([])
                given[row].append([])
            if accepted[step, row]:
                given[row][-1].append({"a": int(codes[row])})
                got[row][-1].append({"o": int(outputs["o"][row])})
    assert got == [[model.results(transfers) for transfers in row] for row in given]


def test_the_first_transfer_meets_the_seed():
    model = StochasticConversion(a=parse("ufixed<4,3>"), result=parse("uint2"), random_bits=3, seed=5)
    assert [model.results([{"a": code}])[0]["o"] for code in range(8)] == [int(code + 5 >= 8) for code in range(8)]
    states, lfsr = [5], Lfsr(width=3, seed=5)
    while len(states) < 8:
        states.append(lfsr.step(states[-1]))
    assert [output["o"] for output in model.results([{"a": 4}] * 8)] == [int(state >= 4) for state in states]


def test_describes_a_stream():
    model = StochasticConversion(a=parse("e4m3"), result=parse("int4"), random_bits=1)
    assert isinstance(model, Stream)
    assert (model.inputs["a"].format, model.outputs["o"].format) == (parse("e4m3"), parse("int4"))
    assert (model.lfsr.width, model.rounding) == (2, RoundingMode.STOCHASTIC)
    assert StochasticConversion(a=parse("e4m3"), result=parse("int4"), random_bits=9).lfsr.width == 9
    assert model.a.decode(model.a.encode(Fraction(1))) == 1


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"a": 8}, TypeError, "Format a must be a scalar format, not 8"),
    ({"random_bits": 0}, ValueError, "Random bit count must be between 1 and 64 for stochastic rounding, not 0"),
    ({"random_bits": 65}, ValueError, "Random bit count must be between 1 and 64 for stochastic rounding, not 65"),
    ({"lfsr_bits": 3}, ValueError, "LFSR bits must be between 4 and 64 for 4 random bits, not 3"),
    ({"random_bits": 1, "lfsr_bits": 1}, ValueError, "LFSR bits must be between 2 and 64 for 1 random bits, not 1"),
    ({"lfsr_bits": 65}, ValueError, "LFSR bits must be between 4 and 64 for 4 random bits, not 65"),
    ({"lfsr_bits": 8.5}, TypeError, "LFSR bits must be an integer, not 8.5"),
    ({"seed": 0}, ValueError, "LFSR seed must be above 0, the state that it never leaves, not 0"),
    ({"seed": 16}, ValueError, "LFSR seed must be between 1 and 15 for 4 bits, not 16"),
    ({"overflow": OverflowPolicy.WRAP}, ValueError, "Overflow policy must be saturate or infinity for float8_e4m3fn"),
])
def test_wrong_parameters_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        StochasticConversion(**{"a": parse("e5m2"), "result": parse("e4m3"), "random_bits": 4, **fields})
