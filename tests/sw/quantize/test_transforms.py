"""torch.compile and torch.func."""

import shutil

import numpy as np
import pytest
import torch

from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.quantize import FakeQuantize, absmax_scale, fake_quantize, from_codes, to_codes
from tests.support.sampling import sampled
from tests.sw.quantize.oracle import assert_same, corners, same_values

# torch's own, from inside the compiler.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated.*:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore:.*torch\.jit\..* is deprecated.*:DeprecationWarning"),
]

COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.skipif(
    not COMPILER, reason="torch.compile for the CPU needs a C++ compiler, and none is on PATH"))]
needs_compiler = pytest.mark.skipif(not COMPILER, reason="torch.compile for the CPU needs a C++ compiler, and none is "
                                                         "on PATH")

E4M3 = parse("float8_e4m3fn")


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def inputs(fmt, dtype=torch.float32):
    return corners(fmt, dtype, np.random.default_rng(9), 150)


def check(function, x, backend):
    want = function(x)
    got = torch.compile(function, fullgraph=True, backend=backend)(x)
    assert got.dtype == want.dtype
    assert_same(x, got, want, same_values(got, want), backend)


# One format for each road through the code.
@sampled("name", ["float8_e4m3fn", "tf32", "float16", "bfloat16", "int8", "dlfloat8"], 1)
@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_results_are_the_same(name, backend):
    fmt = parse(name)
    check(lambda x: fake_quantize(x, fmt), inputs(fmt), backend)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_compiled_results_of_other_types(dtype):
    check(lambda x: fake_quantize(x, E4M3), inputs(E4M3, dtype), "aot_eager")
    check(lambda x: fake_quantize(x, E4M3, scale=0.3, dtype=torch.float64), inputs(E4M3, dtype), "aot_eager")


@sampled("rounding", RoundingMode, 1, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["float8_e5m2", "fixed<8,4>", "radix4_fp4_even"])
def test_compiled_rounding_modes(name, rounding):
    fmt = parse(name)
    x = inputs(fmt)
    random = torch.arange(len(x)) % 256
    modes = {"rounding": rounding}
    if rounding is RoundingMode.STOCHASTIC:
        modes |= {"random": random, "random_bits": 8}
    check(lambda x: fake_quantize(x, fmt, **modes), x, "aot_eager")


@needs_compiler
def test_compiled_codes_overflow_and_random_bits():
    x = inputs(E4M3)
    random = torch.arange(len(x)) % 256
    check(lambda x: from_codes(to_codes(x, E4M3, rounding=RoundingMode.STOCHASTIC, random=random, random_bits=8,
                                        overflow=OverflowPolicy.INFINITY), E4M3), x, "inductor")


@needs_compiler
def test_compiled_gradients_with_scale_are_the_same():
    layer = FakeQuantize(E4M3, scale=torch.tensor([0.5, 2.0]), axis=0, learn_scale=True)
    x = torch.randn(2, 400, generator=torch.Generator().manual_seed(0)) * 300
    x.requires_grad_()
    want = torch.autograd.grad(layer(x).square().sum(), [x, layer.scale])
    compiled = torch.compile(layer, fullgraph=True)
    assert_same(x.detach().flatten(), compiled(x).detach().flatten(), layer(x).detach().flatten(),
                same_values(compiled(x).detach(), layer(x).detach()).flatten(), "compiled layer")
    got = torch.autograd.grad(compiled(x).square().sum(), [x, layer.scale])
    assert torch.equal(got[0], want[0])
    torch.testing.assert_close(got[1], want[1], rtol=1e-5, atol=0)


@needs_compiler
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.cuda.is_available() is False: no GPU, or a build "
                                                          "without CUDA")
@pytest.mark.parametrize("name", ["float8_e4m3fn", "tf32", "bfloat16", "int8", "dlfloat8"])
def test_compiled_results_are_the_same_on_a_gpu(name):
    fmt = parse(name)
    x = inputs(fmt).cuda()
    check(lambda x: fake_quantize(x, fmt), x, "inductor")
    check(lambda x: fake_quantize(x, fmt, scale=0.3), x, "inductor")


@pytest.mark.parametrize("backend", ["aot_eager"])
def test_one_compiled_function_serves_several_formats(backend):
    compiled = torch.compile(fake_quantize, fullgraph=True, backend=backend)
    x = inputs(E4M3)
    for name in ("e4m3", "e5m2", "int8", "e4m3", "e3m2", "e5m2"):
        want = fake_quantize(x, parse(name))
        assert bool(same_values(compiled(x, parse(name)), want).all()), name


def test_two_compiled_layers_keep_their_formats():
    x = inputs(E4M3)
    layers = [FakeQuantize(parse(name), scale=0.5) for name in ("e5m2", "int4", "e2m1")]
    compiled = [torch.compile(layer, backend="aot_eager") for layer in layers]
    for layer, fast in zip(layers * 2, compiled * 2, strict=True):
        assert bool(same_values(fast(x), layer(x)).all()), layer


def test_compiled_stochastic_layer_draws():
    layer = FakeQuantize(E4M3, rounding=RoundingMode.STOCHASTIC, random_bits=8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = compiled(torch.full((2000,), 1.0625))
    assert set(results.tolist()) == {1.0, 1.125}


# torch.func

ROUNDINGS = [RoundingMode.NEAREST_EVEN, RoundingMode.UP]


@pytest.mark.parametrize("rounding", ROUNDINGS, ids=lambda mode: mode.value)
@pytest.mark.parametrize("in_dim", [0, 1])
def test_vmap(rounding, in_dim):
    x = inputs(E4M3)[:120].view(10, 12)
    def function(row):
        return fake_quantize(row, E4M3, rounding=rounding)
    got = torch.func.vmap(function, in_dims=in_dim)(x)
    want = function(x if in_dim == 0 else x.t())
    assert bool(same_values(got, want).all())


@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (0, 0), (1, 0)])
def test_vmap_over_input_and_random_bits(in_dims):
    x = inputs(E4M3)[:64].view(8, 8)
    random = torch.arange(64).view(8, 8)
    def function(x, random):
        return fake_quantize(x, E4M3, rounding=RoundingMode.STOCHASTIC, random=random, random_bits=6)
    arguments = [tensor[0] if dim is None else tensor for tensor, dim in zip((x, random), in_dims, strict=True)]
    got = torch.func.vmap(function, in_dims=in_dims)(*arguments)
    rows = []
    for index in range(8):
        rows.append(function(*(tensor if dim is None else tensor.select(dim, index)
                               for tensor, dim in zip(arguments, in_dims, strict=True))))
    assert bool(same_values(got, torch.stack(rows)).all())


def test_vmap_over_scales_codes_and_helpers():
    x = torch.randn(6, 20, generator=torch.Generator().manual_seed(0)) * 10
    scales = torch.func.vmap(lambda row: absmax_scale(row, E4M3))(x)
    assert torch.equal(scales, absmax_scale(x, E4M3, axis=0))
    got = torch.func.vmap(lambda row, scale: fake_quantize(row, E4M3, scale=scale))(x, scales)
    assert torch.equal(got, fake_quantize(x, E4M3, scale=scales, axis=0))
    codes = torch.func.vmap(lambda row, scale: to_codes(row, E4M3, scale=scale))(x, scales)
    assert torch.equal(codes, to_codes(x, E4M3, scale=scales, axis=0))
    back = torch.func.vmap(lambda row: from_codes(row, E4M3))(codes)
    assert torch.equal(back, from_codes(codes, E4M3))
    grouped = torch.func.vmap(lambda row: fake_quantize(row, E4M3, scale=torch.ones(5), group_size=4))(x)
    assert torch.equal(grouped, fake_quantize(x, E4M3))


def test_gradients_of_torch_func():
    x = torch.tensor([[0.3, 500.0, -2.0], [1.0, -449.0, torch.inf]])
    want = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    gradient = torch.func.grad(lambda x: fake_quantize(x, E4M3).sum())
    assert torch.equal(gradient(x), want)
    assert torch.equal(torch.func.vmap(gradient)(x), want)
    jacobian = torch.func.jacrev(lambda x: fake_quantize(x, E4M3))(x[0])
    assert torch.equal(jacobian, torch.diag(want[0]))
    _, pull = torch.func.vjp(lambda x: fake_quantize(x, E4M3, scale=2.0), torch.tensor([800.0, 1000.0]))
    assert pull(torch.tensor([3.0, 3.0]))[0].tolist() == [3, 0]


def test_compiled_vmap():
    x = inputs(E4M3)[:60].view(6, 10)
    function = torch.func.vmap(lambda row: fake_quantize(row, E4M3, scale=0.5))
    assert bool(same_values(torch.compile(function, backend="aot_eager")(x), function(x)).all())


def test_fake_and_meta_tensors_have_the_right_shape():
    x = torch.empty(3, 8, device="meta", dtype=torch.bfloat16)
    scale = torch.empty(3, device="meta")
    assert fake_quantize(x, E4M3).shape == (3, 8)
    result = fake_quantize(x, E4M3, scale=scale, axis=0)
    assert (result.shape, result.dtype, result.device.type) == ((3, 8), torch.bfloat16, "meta")
    assert to_codes(x, E4M3).dtype == torch.uint8
