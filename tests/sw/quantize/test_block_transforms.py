"""Block quantization under torch.compile and torch.func, and as a layer."""

import io
import re
import shutil

import pytest
import torch
from torch import nn

from sw.formats import RoundingMode, parse, parse_block
from sw.quantize import FakeQuantize, FakeQuantizeBlocks, fake_quantize_blocks, from_block_codes, to_block_codes
from tests.support.sampling import sampled
from tests.sw.quantize.oracle import same_values

# torch's own, from inside the compiler.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated.*:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore:.*torch\.jit\..* is deprecated.*:DeprecationWarning"),
]

COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
NAMES = ["mxfp8_e4m3", "mxint8:scale_rule=even", "nvfp4", "mls<2,4>"]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def inputs(shape=(6, 70), dtype=torch.float32):
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(shape, generator=generator) * torch.exp2(torch.randint(-30, 30, shape, generator=generator).float())
    rows = x.view(-1, shape[-1])
    rows[0, 0], rows[1], rows[2, 39], rows[3, 5] = torch.inf, 0, torch.nan, -0.0
    return x.to(dtype)


# torch.compile

@sampled("name", NAMES, 2)
def test_compiled_results_are_the_same(name):
    fmt, x = parse_block(name), inputs()
    for dim, dtype in ((0, torch.float32), (-1, torch.bfloat16)):
        def quantize(x, dim=dim, dtype=dtype):
            return fake_quantize_blocks(x, fmt, dim=dim, dtype=dtype)
        got = torch.compile(quantize, fullgraph=True, backend="aot_eager")(x)
        assert same_values(got, quantize(x)).all(), (dim, dtype)


@pytest.mark.skipif(not COMPILER, reason="torch.compile for the CPU needs a C++ compiler, and none is on PATH")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mxfp4", "nvfp4"])
def test_kernels_give_the_same_results(name):
    fmt, x = parse_block(name), inputs()
    got = torch.compile(lambda x: fake_quantize_blocks(x, fmt), fullgraph=True)(x)
    assert same_values(got, fake_quantize_blocks(x, fmt)).all()


@pytest.mark.slow
def test_compiled_codes_and_gradients_are_the_same():
    fmt, x = parse_block("nvfp4"), inputs()

    def codes(x):
        result = to_block_codes(x, fmt, dim=0)
        return result, from_block_codes(result.elements, result.scales, fmt, dim=0, tensor_scale=result.tensor_scale)
    (got, values), (want, expected) = torch.compile(codes, fullgraph=True, backend="aot_eager")(x), codes(x)
    assert all(torch.equal(one, other) for one, other in zip(got, want, strict=True))
    assert same_values(values, expected).all()

    gradients = []
    for wrap in (lambda f: f, lambda f: torch.compile(f, fullgraph=True, backend="aot_eager")):
        leaf = inputs().requires_grad_()
        y = wrap(lambda x: fake_quantize_blocks(x, fmt, tensor_scale=0.5, clip_gradient=True))(leaf)
        y.nan_to_num().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)
    assert 0 < gradients[0].sum() < gradients[0].numel()


def test_compiled_stochastic_rounding_is_the_same():
    fmt, x = parse_block("mxfp4"), inputs()
    random = torch.arange(x.numel()).reshape(x.shape) % 256

    def quantize(x, random):
        return fake_quantize_blocks(x, fmt, rounding=RoundingMode.STOCHASTIC, random=random, random_bits=8)
    got = torch.compile(quantize, fullgraph=True, backend="aot_eager")(x, random)
    assert same_values(got, quantize(x, random)).all()


# torch.func

@pytest.mark.parametrize("in_dim", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_each_sample_of_a_vmap_is_quantized_by_itself(name, in_dim):
    fmt, x = parse_block(name), inputs((3, 7, 70)).movedim(0, in_dim)
    for dim in (0, -1):
        got = torch.func.vmap(lambda x, dim=dim: fake_quantize_blocks(x, fmt, dim=dim), in_dims=in_dim)(x)
        want = torch.stack([fake_quantize_blocks(sample.contiguous(), fmt, dim=dim) for sample in x.unbind(in_dim)])
        assert same_values(got, want).all(), dim


def test_codes_and_gradients_work_under_vmap():
    fmt, x = parse_block("nvfp4"), inputs((3, 5, 40)).nan_to_num(0, 1, -1)
    got = torch.func.vmap(lambda x: to_block_codes(x, fmt))(x)
    want = [to_block_codes(sample, fmt) for sample in x]
    for field in range(3):
        assert torch.equal(got[field], torch.stack([one[field] for one in want]))

    def loss(x):
        return (fake_quantize_blocks(x, fmt, clip_gradient=True) * x).sum()
    gradients = torch.func.vmap(torch.func.grad(loss))(x)
    assert torch.equal(gradients, torch.stack([torch.func.grad(loss)(sample) for sample in x]))


def test_stochastic_rounding_works_under_vmap():
    fmt, x = parse_block("mxfp4"), inputs((3, 5, 40))
    random = torch.arange(200).reshape(5, 40) % 256

    def quantize(x, random):
        return fake_quantize_blocks(x, fmt, dim=0, rounding=RoundingMode.STOCHASTIC, random=random, random_bits=8)
    got = torch.func.vmap(quantize, in_dims=(0, None))(x, random)
    assert same_values(got, torch.stack([quantize(sample, random) for sample in x])).all()


def test_shapes_are_known_without_values():
    x = torch.empty(3, 70, dtype=torch.bfloat16, device="meta")
    y = fake_quantize_blocks(x, parse_block("nvfp4"), dtype=torch.float32)
    assert (y.shape, y.dtype, y.device.type) == ((3, 70), torch.float32, "meta")
    codes = to_block_codes(x, parse_block("nvfp4"), dim=0)
    assert (codes.elements.shape, codes.scales.shape) == ((3, 70), (1, 70))


# Layers

def test_a_layer_does_what_the_function_does():
    x = inputs()
    layer = FakeQuantizeBlocks(parse_block("nvfp4"), dim=0, dtype=torch.float64)
    assert same_values(layer(x), fake_quantize_blocks(x, layer.format, dim=0, dtype=torch.float64)).all()
    assert same_values(layer(x, tensor_scale=0.25), fake_quantize_blocks(x, layer.format, dim=0, tensor_scale=0.25,
                                                                         dtype=torch.float64)).all()
    assert layer.rounding is RoundingMode.NEAREST_EVEN
    assert repr(layer) == "FakeQuantizeBlocks(nvfp4, dim=0, rounding=nearest-even, dtype=torch.float64)"
    assert repr(FakeQuantizeBlocks(parse_block("mxfp4"), rounding=RoundingMode.STOCHASTIC, random_bits=5,
                                   clip_gradient=True)) == (
        "FakeQuantizeBlocks(mxfp4, dim=-1, rounding=stochastic, random_bits=5, clip_gradient=True)")


def test_a_stochastic_layer_draws_from_the_default_generator_or_takes_bits():
    layer = FakeQuantizeBlocks(parse_block("mxfp4"), rounding=RoundingMode.STOCHASTIC)
    x = torch.full((4000,), 1.25).index_fill(0, torch.arange(0, 4000, 32), 4.0)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    ordinary = first[x == 1.25]
    assert set(ordinary.tolist()) == {1.0, 1.5}
    assert abs(ordinary.mean().item() - 1.25) < 0.02
    random = torch.zeros(4000, dtype=torch.int64)
    assert set(layer(x, random=random)[x == 1.25].tolist()) == {1.0}
    generator = torch.Generator().manual_seed(3)
    assert set(layer(x, generator=generator)[x == 1.25].tolist()) == {1.0, 1.5}


def test_the_state_of_a_layer_names_its_format():
    model = nn.Sequential(FakeQuantizeBlocks(parse_block("mxfp4")), nn.Linear(3, 3))
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    state = torch.load(stored, weights_only=True)
    nn.Sequential(FakeQuantizeBlocks(parse_block("mxfp4")), nn.Linear(3, 3)).load_state_dict(state)
    with pytest.raises(ValueError, match=re.escape("Quantizer must be built as the saved one was, with format='mxfp4' "
                                                   "(here 'nvfp4'), to load its state")):
        nn.Sequential(FakeQuantizeBlocks(parse_block("nvfp4")), nn.Linear(3, 3)).load_state_dict(state)
    with pytest.raises(ValueError, match="Quantizer must be built as the saved one was"):
        FakeQuantizeBlocks(parse_block("mxfp4")).set_extra_state(FakeQuantize(parse("e4m3")).get_extra_state())
    with pytest.raises(ValueError, match="Quantizer state must be a uint8 tensor of JSON, not 3"):
        FakeQuantizeBlocks(parse_block("mxfp4")).set_extra_state(3)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"fmt": parse("e4m3")}, TypeError, "Block format must be a BlockFormat"),
    ({"rounding": "up"}, TypeError, "Rounding must be a RoundingMode, not 'up'"),
    ({"random_bits": 3}, ValueError, "Random bit count must be 0 for nearest-even rounding, not 3"),
    ({"dim": "last"}, TypeError, "Dimension must be an integer, not 'last'"),
    ({"clip_gradient": None}, TypeError, "Gradient clipping must be True or False, not None"),
    ({"dtype": torch.int32}, TypeError, "Result dtype must be torch.float16"),
])
def test_a_layer_refuses_what_its_function_would(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        FakeQuantizeBlocks(**{"fmt": parse_block("mxfp4"), **arguments})
