# amaranth: UnusedElaboratable=no
"""Exact accumulation over blocks with stalls and resets, as gates."""

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.accumulate.block import BlockMultiplyAccumulator, BlockSum
from sw.formats import OverflowPolicy, RoundingMode, parse, parse_block
from sw.reference.block_accumulate import BlockMultiplyAccumulate
from tests.support import gates
from tests.support.clocked_gates import assert_streams_right, random_codes

MXFP4 = parse_block("mxfp4:block_size=2")


def make(a, b=None, result="float32", **parameters):
    """Return an accumulator of formats by their names."""
    return BlockMultiplyAccumulator(parse_block(a), None if b is None else parse_block(b),
                                    None if result is None else parse(result), **{"terms": 8, **parameters})


def near_scales(port, count, rng):
    """Random codes, but for most scales, which lie around 1: sums then have terms of about the same size."""
    codes = random_codes(port, count, rng)
    if port.lanes is not None or port.format is None or port.format.exponent_bits < 6:
        return codes
    near = int(port.format.bias) + rng.integers(-4, 5, count) << port.format.fraction_bits
    return np.where(rng.random(count) < 0.9, np.minimum(near, port.codes - 1), codes).astype(np.uint64)


def check(components, folder, *, codes=near_scales, lanes=64, cycles=40, minimum=250, **rates):
    for seed, (component, circuit) in enumerate(zip(components, gates.build(components, folder), strict=True)):
        print(component.model, component.pipeline)  # pytest shows it beside a failure
        compared = assert_streams_right(component, circuit, lanes=lanes, cycles=cycles, seed=seed, reset_rate=0.01,
                                        codes=codes, **rates)
        assert compared >= minimum


@pytest.mark.slow
def test_registers_as_wide_as_the_scales_make_them(tmp_path):
    check([make("mxfp4:block_size=3"), make("nvfp4:block_size=2")], tmp_path)


@pytest.mark.slow
def test_blocks_of_every_kind_with_every_kind_of_result(tmp_path):
    check([
        make("mxfp4:block_size=3,scale=e5m0"),
        make("mxint8:block_size=2,scale=e5m0", result="bfloat16", pipeline=1),
        make("mxfp8_e5m2:block_size=2,scale=e4m0", "nvfp4:block_size=2", "e5m2",
             overflow=OverflowPolicy.INFINITY),
        make("nvfp4:block_size=2", "mxfp4:block_size=2", "fixed<9,4>", overflow=OverflowPolicy.WRAP, pipeline=2),
        make("mxfp6_e2m3:block_size=1,scale=e3m0", result="posit<8,1>", pipeline=3, hard_multiplier=True),
    ], tmp_path)


@pytest.mark.slow
def test_every_mode_and_the_register_itself(tmp_path):
    check([
        *(make("mxfp4:block_size=1,scale=e3m0", result="e4m3", rounding=mode, pipeline=index % 5,
               random_bits=3 if mode is RoundingMode.STOCHASTIC else 0) for index, mode in enumerate(RoundingMode)),
        make("mxfp4:block_size=2,scale=e4m0", result=None), make("nvfp4:block_size=1", result=None, pipeline=3),
        make("mxfp8_e5m2:block_size=2,scale=e3m0", result=None, accumulator_width=120),
    ], tmp_path, cycles=25, minimum=150)


@pytest.mark.slow
def test_sums_of_too_many_terms_wrap_as_the_reference_does(tmp_path):
    def extremes(port, count, rng):
        shape = (count,) if port.lanes is None else (count, port.lanes)
        low, high = (port.format.encode(value) for value in (port.format.min_finite, port.format.max_finite))
        if port.lanes and hasattr(port.format, "narrow_range"):
            low = 1 << port.format.width - 1  # the code that the narrow range leaves out
        return np.where(rng.random(shape) < 0.8, low if port.lanes else high, high).astype(np.uint64)

    check([make("mxint8:block_size=2,scale=e2m0", result=None, terms=terms) for terms in (1, 4)]
          + [make("mxfp4:block_size=2,scale=e2m1", result=None, terms=1)], tmp_path, codes=extremes, flag_rate=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "mxint8", "nvfp4",
                                  "mls<2,4>"])
def test_longer_blocks(name, tmp_path):
    check([make(f"{name}:block_size=16", terms=256), make(f"{name}:block_size=8", result="bfloat16", pipeline=4,
                                                          hard_multiplier=True)], tmp_path, cycles=120, minimum=1000)


@pytest.mark.parametrize("parameters", [{}, {"result": "fixed<9,4>", "pipeline": 4}])
def test_elaborating_twice_gives_the_same(parameters):
    component = make("nvfp4:block_size=2", **parameters)
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second


def test_flags_stand_beside_the_sum_where_the_formats_need_them():
    layouts = {name: list(BlockSum(make(name).model).state.shape().members) for name in (
        "mls<2,1>:block_size=1", "mxfp4:block_size=1", "mxfp8_e5m2:block_size=1")}
    assert layouts == {"mls<2,1>:block_size=1": ["sum"], "mxfp4:block_size=1": ["sum", "nan"],
                       "mxfp8_e5m2:block_size=1": ["sum", "nan", "above", "below"]}


def test_properties():
    nvfp4 = parse_block("nvfp4:block_size=2")
    component = BlockMultiplyAccumulator(
        MXFP4, nvfp4, parse("int8"), terms=3, accumulator_width=400, rounding=RoundingMode.STOCHASTIC, random_bits=3,
        overflow=OverflowPolicy.WRAP, pipeline=2, hard_multiplier=True)
    assert (component.pipeline, component.latency, component.hard_multiplier) == (2, 4, True)
    assert component.model == BlockMultiplyAccumulate(
        a=MXFP4, b=nvfp4, result=parse("int8"), terms=3, accumulator_width=400, rounding=RoundingMode.STOCHASTIC,
        random_bits=3, overflow=OverflowPolicy.WRAP)
    assert list(component.i.payload.shape().members) == ["a", "b", "a_scale", "b_scale", "first", "last", "random"]
    plain = BlockMultiplyAccumulator(MXFP4, terms=2)
    assert (plain.model.b, plain.model.result, plain.latency) == (MXFP4, parse("float32"), 2)


@pytest.mark.parametrize(("build", "error", "message"), [
    (lambda: BlockMultiplyAccumulator("mxfp4", terms=2), TypeError, "Format of operand a must be a BlockFormat"),
    (lambda: BlockMultiplyAccumulator(MXFP4, result=1, terms=2), TypeError, r"Result format must be a .* not 1$"),
    (lambda: make("mxfp4", "nvfp4"), ValueError, "Block sizes must be equal, not 32 of mxfp4 and 16 of nvfp4"),
    (lambda: make("mxfp4:block_size=2048"), ValueError, "Block size must be at most 1024 for a circuit, .* not 2048"),
    (lambda: make("mxfp4", terms=0), ValueError, "Term count must be at least 1 product, not 0"),
    (lambda: make("mxfp4", pipeline=65), ValueError, "Pipeline must be between 0 and 64 register stages, not 65"),
    (lambda: make("mxfp4", hard_multiplier=1), TypeError, "Hard multiplier must be True or False, not 1"),
])
def test_wrong_parameters(build, error, message):
    with pytest.raises(error, match=message):
        build()
