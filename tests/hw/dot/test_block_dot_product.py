# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.back import rtlil

from hw.dot.block_dot_product import BlockDotProduct
from sw.formats import OverflowPolicy, RoundingMode, parse, parse_block
from sw.reference.block import BlockDot
from tests.support import gates
from tests.support.clocked_gates import assert_function_right, random_codes
from tests.support.sampling import sampled

FLOAT32 = parse("float32_e8m23")


def make(a, b=None, result="float32_e8m23", **parameters):
    """Return a block dot product of formats by their names."""
    return BlockDotProduct(parse_block(a), None if b is None else parse_block(b), parse(result), **parameters)


def random_blocks(model, vectors, seed):
    """Random codes; most scales lie around 1, where results are in range, and few around both ends."""
    rng = np.random.default_rng(seed)
    inputs = {name: random_codes(port, vectors, rng) for name, port in model.inputs.items()}
    for name, port in model.inputs.items():
        if name.endswith("_scale") and port.format.fraction_bits == 0:
            near = int(port.format.bias) + rng.integers(-12, 13, vectors)
            inputs[name] = np.where(rng.random(vectors) < 0.6, near, inputs[name]).astype(np.uint64)
    return inputs


def check(components, folder, vectors, seed=1):
    for component, circuit in zip(components, gates.build(components, folder), strict=True):
        assert_function_right(component, circuit, random_blocks(component.model, vectors, seed), str(component.model))


@pytest.mark.slow
def test_blocks_of_every_kind_with_every_kind_of_result(tmp_path):
    check([
        make("mxfp4:block_size=4"), make("mxfp8_e4m3:block_size=3"), make("mxint8:block_size=4"),
        make("mxfp8_e5m2:block_size=2", "mxfp6_e3m2:block_size=2", "bfloat16", overflow=OverflowPolicy.INFINITY),
        make("nvfp4:block_size=4"), make("nvfp4:block_size=3", "mxfp4:block_size=3", "float16", random_bits=4,
                                         rounding=RoundingMode.STOCHASTIC),
        make("mxfp4:block_size=2", result="int8"), make("mxfp6_e2m3:block_size=2", result="posit<16,2>"),
        make("mxfp4:block_size=2", result="fixed<8,4>", overflow=OverflowPolicy.WRAP),
        make("nvfp4:block_size=3", result="fixed<8,4>", rounding=RoundingMode.UP),
        make("mxfp6_e2m3:block_size=2", result="float8_e5m2:subnormals=flushed"),
        make("mls<2,4>:block_size=2", result="float16"), make("mxfp8_e5m2:block_size=1", hard_multiplier=True),
    ], tmp_path, vectors=400)


def test_the_code_that_a_narrow_range_leaves_out(tmp_path):
    """Eight products of -2 and -2 are 32, one more than the sum of eight products of rounded MXINT8 ever needs."""
    component = make("mxint8:block_size=8")
    circuit, = gates.build([component], tmp_path)
    rng = np.random.default_rng(1)
    blocks = {name: np.where(rng.random((200, 8)) < 0.95, 128, rng.integers(0, 256, (200, 8))).astype(np.uint64)
              for name in ("a", "b")}
    blocks["a"][0] = blocks["b"][0] = 128
    inputs = blocks | {name: np.full(200, 127, np.uint64) for name in ("a_scale", "b_scale")}
    assert component.model.evaluate(inputs)["o"][0] == FLOAT32.encode(32)
    assert_function_right(component, circuit, inputs)


@pytest.mark.parametrize("name", ["mxfp4", "mxint8:element=int4"])
def test_every_pair_of_blocks_of_two_small_elements(name, tmp_path):
    component = make(f"{name}{',' if ':' in name else ':'}block_size=2")
    index = np.arange(1 << 16, dtype=np.uint64)
    columns = [index >> np.uint64(place) & np.uint64(15) for place in (0, 4, 8, 12)]
    blocks = {"a": np.stack(columns[:2], axis=1), "b": np.stack(columns[2:], axis=1)}
    circuit, = gates.build([component], tmp_path)
    for a_scale, b_scale in ((127, 127), (0, 120), (255, 3)):
        scales = {"a_scale": np.full(1 << 16, a_scale, np.uint64), "b_scale": np.full(1 << 16, b_scale, np.uint64)}
        assert_function_right(component, circuit, blocks | scales, f"{name}, scales {a_scale} and {b_scale}")


def test_every_pair_of_scales(tmp_path):
    components = [make("mxfp4:block_size=1", result=result) for result in ("float32_e8m23", "bfloat16", "float16")]
    index = np.arange(1 << 16, dtype=np.uint64)
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        for a, b in ((0x7, 0xF), (0x0, 0x9)):
            inputs = {"a": np.full((1 << 16, 1), a, np.uint64), "b": np.full((1 << 16, 1), b, np.uint64),
                      "a_scale": index & np.uint64(255), "b_scale": index >> np.uint64(8)}
            assert_function_right(component, circuit, inputs, f"{component.model.result.name}, {a} x {b}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4", "mxint8", "nvfp4"])
def test_blocks_of_the_full_size(name, tmp_path):
    check([make(name), make(name, result="bfloat16", rounding=RoundingMode.TO_ODD)], tmp_path, vectors=20_000)


@sampled("pipeline", [2, 6], 1)
def test_pipeline_delays_every_result_by_its_latency(pipeline, tmp_path):
    components = [make("mxfp4:block_size=2", result="float16", pipeline=pipeline),
                  make("nvfp4:block_size=2", result="bfloat16", pipeline=pipeline, rounding=RoundingMode.STOCHASTIC,
                       random_bits=3),
                  make("mxfp8_e5m2:block_size=2", result="int8", pipeline=pipeline)]
    for component, circuit in zip(components, gates.build(components, tmp_path), strict=True):
        assert component.latency == pipeline
        cycles = 80
        inputs = random_blocks(component.model, cycles, seed=pipeline)
        packed = {name: codes if codes.ndim == 1 else (codes << np.arange(codes.shape[1], dtype=np.uint64) * np.uint64(
            component.model.inputs[name].width)).sum(axis=1) for name, codes in inputs.items()}
        got = circuit.run(cycles, **packed)[pipeline:]
        assert got.tolist() == component.model.evaluate(inputs)["o"][:cycles - pipeline].tolist()


def test_elaborating_twice_gives_the_same():
    component = make("nvfp4:block_size=3", pipeline=3)
    first, second = (rtlil.convert(component, emit_src=False) for _ in range(2))
    assert first == second


def test_properties():
    mxfp4, nvfp4 = parse_block("mxfp4:block_size=4"), parse_block("nvfp4:block_size=4")
    component = BlockDotProduct(mxfp4, nvfp4, parse("int8"), rounding=RoundingMode.STOCHASTIC, random_bits=3,
                                overflow=OverflowPolicy.WRAP, pipeline=2, hard_multiplier=True)
    assert (component.model.a, component.model.b, component.model.result) == (mxfp4, nvfp4, parse("int8"))
    assert (component.model.rounding, component.model.overflow) == (RoundingMode.STOCHASTIC, OverflowPolicy.WRAP)
    assert (component.model.random_bits, component.pipeline, component.latency) == (3, 2, 2)
    assert component.hard_multiplier is True
    assert component.model == BlockDot(a=mxfp4, b=nvfp4, result=parse("int8"), rounding=RoundingMode.STOCHASTIC,
                                       random_bits=3, overflow=OverflowPolicy.WRAP)
    assert (BlockDotProduct(mxfp4).model.b, BlockDotProduct(mxfp4).model.result) == (mxfp4, FLOAT32)


@pytest.mark.parametrize(("build", "error", "message"), [
    (lambda: BlockDotProduct("mxfp4"), TypeError, "Format of operand a must be a BlockFormat, .* not 'mxfp4'"),
    (lambda: make("mxfp4", "nvfp4"), ValueError, "Block sizes must be equal, not 32 of mxfp4 and 16 of nvfp4"),
    (lambda: BlockDotProduct(parse_block("mxfp4"), result=1), TypeError, r"Result format must be a .* not 1$"),
    (lambda: make("mxfp4:block_size=2048"), ValueError, "Block size must be at most 1024 for a circuit, .* not 2048"),
    (lambda: make("mxfp4", pipeline=-1), ValueError, "Pipeline must be between 0 and 64 register stages, not -1"),
    (lambda: make("mxfp4", hard_multiplier=1), TypeError, "Hard multiplier must be True or False, not 1"),
])
def test_wrong_parameters(build, error, message):
    with pytest.raises(error, match=message):
        build()
