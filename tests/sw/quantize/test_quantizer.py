"""Shapes, memory layouts, result types, scales and gradients."""

import numpy as np
import pytest
import torch

from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.quantize import absmax_scale, fake_quantize, from_codes, to_codes
from sw.quantize.blocks import _SERIAL_BLOCK, _Pace, each_block
from tests.sw.quantize.oracle import KINDS, assert_same, corners, same_values

E4M3 = parse("float8_e4m3fn")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch.cuda.is_available() is False: no GPU, or a build without CUDA"))]


def same(got, want):
    return got.dtype == want.dtype and got.shape == want.shape and bool(same_values(got, want).all())


def normal(*shape, seed=0, spread=4.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("name", ["float8_e4m3fn", "tf32", "int8", "bfloat16", "dlfloat8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_tensor_of_many_blocks_is_what_its_parts_are(name, threads):
    fmt, x = parse(name), normal(7 * _SERIAL_BLOCK * 2 + 11, spread=100.0)
    x[::1000] = torch.nan
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = fake_quantize(x, fmt)
        codes = to_codes(x, fmt)
        back = from_codes(codes, fmt)
    finally:
        torch.set_num_threads(before)
    parts = torch.cat([fake_quantize(part, fmt) for part in x.split(1000)])
    assert same(whole, parts)
    assert torch.equal(codes, torch.cat([to_codes(part, fmt) for part in x.split(1000)]))
    assert same(back, whole)


@pytest.mark.parametrize("special", [1.0, 61439.0, 61441.0, -61441.0, torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("overflow", [OverflowPolicy.SATURATE, OverflowPolicy.INFINITY])
def test_one_number_beyond_the_range_of_a_cast(special, overflow):
    fmt, x = parse("float8_e5m2"), normal(3 * _SERIAL_BLOCK)
    x[_SERIAL_BLOCK] = special
    want = from_codes(to_codes(x, fmt, overflow=overflow), fmt)
    assert same(fake_quantize(x, fmt, overflow=overflow), want)
    assert same(fake_quantize(x, fmt, overflow=overflow, out=x), want)


@pytest.mark.parametrize("layout", ["transposed", "channels_last", "strided", "expanded", "reversed_dims", "one_row"])
def test_any_memory_layout(layout):
    base = normal(8, 6, 40, 200)
    x = {"transposed": base.view(48, 8000).t(), "channels_last": base.to(memory_format=torch.channels_last),
         "strided": base[:, ::2, :, 1::3], "expanded": base[:1].expand(8, 6, 40, 200),
         "reversed_dims": base.permute(3, 2, 1, 0), "one_row": base.view(1, 1, -1, 1)}[layout]
    for rounding in (RoundingMode.NEAREST_EVEN, RoundingMode.DOWN):
        want = fake_quantize(x.contiguous(), E4M3, rounding=rounding)
        assert same(fake_quantize(x, E4M3, rounding=rounding), want)
        assert torch.equal(to_codes(x, E4M3, rounding=rounding), to_codes(x.contiguous(), E4M3, rounding=rounding))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_tensors_of_few_elements(shape):
    x = torch.full(shape, 1.06)
    for scale in (None, 1.0, torch.tensor([1.0])):
        assert same(fake_quantize(x, E4M3, scale=scale), torch.full(shape, 1.0))
        assert torch.equal(to_codes(x, E4M3, scale=scale), torch.full(shape, 0x38, dtype=torch.uint8))
    assert same(from_codes(to_codes(x, E4M3), E4M3), torch.full(shape, 1.0))
    y = x.clone().requires_grad_()
    fake_quantize(y, E4M3, scale=1.0).sum().backward()
    assert torch.equal(y.grad, torch.ones(shape))


def test_the_input_is_left_alone():
    x = normal(1000)
    before = x.clone()
    fake_quantize(x, E4M3)
    fake_quantize(x, E4M3, scale=0.3)
    to_codes(x, E4M3, scale=0.3)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "int8", "bfloat16", "tf32", "dlfloat8", "float8_e4m3fnuz"])
def test_output_may_be_given_and_may_be_the_input(name):
    fmt, x = parse(name), normal(3 * _SERIAL_BLOCK, spread=50.0)
    x[5] = torch.nan
    for scale in (None, 0.25):
        want = fake_quantize(x, fmt, scale=scale)
        out = torch.empty_like(x)
        assert fake_quantize(x, fmt, scale=scale, out=out) is out
        assert same(out, want)
        itself = x.clone()
        fake_quantize(itself, fmt, scale=scale, out=itself)
        assert same(itself, want)
    wide = torch.empty_like(x, dtype=torch.float64)
    assert same(fake_quantize(x, fmt, out=wide), fake_quantize(x, fmt, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_result_type_follows_the_input_unless_given(dtype):
    x = normal(100).to(dtype)
    assert fake_quantize(x, E4M3).dtype == dtype
    assert fake_quantize(x, E4M3, scale=0.5).dtype == dtype
    for other in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for scale in (None, 0.5):
            got = fake_quantize(x, E4M3, scale=scale, dtype=other)
            assert got.dtype == other
            assert torch.equal(got.double(), fake_quantize(x.double(), E4M3, scale=scale))


def test_inference_mode_and_no_grad():
    x = normal(4 * _SERIAL_BLOCK).requires_grad_()
    want = fake_quantize(x.detach(), E4M3)
    with torch.inference_mode():
        assert same(fake_quantize(x, E4M3), want)
        assert fake_quantize(x, E4M3).is_inference()
    with torch.no_grad():
        got = fake_quantize(x, E4M3)
    assert not got.requires_grad
    assert same(got, want)
    assert same(fake_quantize(x, E4M3).detach(), want)
    assert not to_codes(x, E4M3, scale=torch.tensor(2.0, requires_grad=True)).requires_grad


# Scales

def test_scale_of_the_tensor():
    x = normal(3, 50)
    want = fake_quantize(x / torch.tensor(0.3), E4M3) * torch.tensor(0.3)
    for scale in (0.3, torch.tensor(0.3), torch.tensor([0.3]), torch.tensor([[0.3]])):
        assert same(fake_quantize(x, E4M3, scale=scale), want)
        assert torch.equal(to_codes(x, E4M3, scale=scale), to_codes(x / torch.tensor(0.3), E4M3))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_scale_of_each_channel(axis):
    x = normal(3, 4, 5)
    scale = torch.rand(x.shape[axis], generator=torch.Generator().manual_seed(1)) + 0.5
    shape = [1, 1, 1]
    shape[axis] = -1
    wide = scale.reshape(shape)
    assert same(fake_quantize(x, E4M3, scale=scale, axis=axis), fake_quantize(x / wide, E4M3) * wide)
    assert torch.equal(to_codes(x, E4M3, scale=scale, axis=axis), to_codes(x / wide, E4M3))


@pytest.mark.parametrize(("axis", "group_size"), [(None, 4), (-1, 12), (0, 3), (1, 1), (1, 2), (-3, 6)])
def test_scale_of_each_group(axis, group_size):
    x = normal(6, 4, 12)
    where = (-1 if axis is None else axis) % 3
    shape = list(x.shape)
    shape[where] //= group_size
    scale = torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 0.5
    wide = scale.repeat_interleave(group_size, where)
    want = fake_quantize(x / wide, E4M3) * wide
    assert same(fake_quantize(x, E4M3, scale=scale, axis=axis, group_size=group_size), want)
    assert torch.equal(to_codes(x, E4M3, scale=scale, axis=axis, group_size=group_size), to_codes(x / wide, E4M3))
    slanted = x.transpose(0, 2).contiguous().transpose(0, 2)
    assert same(fake_quantize(slanted, E4M3, scale=scale, axis=axis, group_size=group_size), want)
    trained = x.clone().requires_grad_()
    got = fake_quantize(trained, E4M3, scale=scale, axis=axis, group_size=group_size)
    assert same(got.detach(), want)
    got.sum().backward()
    assert torch.equal(trained.grad, torch.ones_like(x))


def test_scale_of_many_blocks():
    x = normal(300, 1000)
    for axis, length in ((0, 300), (1, 1000)):
        scale = torch.rand(length, generator=torch.Generator().manual_seed(2)) + 0.5
        wide = scale.unsqueeze(1 - axis)
        assert same(fake_quantize(x, E4M3, scale=scale, axis=axis), fake_quantize(x / wide, E4M3) * wide)


def test_scaled_halves_are_divided_in_float32():
    x = normal(1000).to(torch.bfloat16)
    want = (fake_quantize(x.float() / torch.tensor(0.3), E4M3) * torch.tensor(0.3)).to(torch.bfloat16)
    assert same(fake_quantize(x, E4M3, scale=0.3), want)


def test_scale_with_random_bits():
    x = normal(2, 8)
    random = torch.arange(16).view(2, 8)
    modes = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 4}
    got = fake_quantize(x, E4M3, scale=torch.tensor([[0.5, 2.0], [4.0, 1.0]]), group_size=4, random=random, **modes)
    wide = torch.tensor([[0.5] * 4 + [2.0] * 4, [4.0] * 4 + [1.0] * 4])
    assert same(got, fake_quantize(x / wide, E4M3, random=random, **modes) * wide)


# Random bits

def test_generator_draws_reproducibly_and_without_bias():
    x = torch.full((40_000,), 1.03125)  # a quarter of the way from 1 to 1.125
    def draw(seed):
        return fake_quantize(x, E4M3, rounding=RoundingMode.STOCHASTIC,
                             generator=torch.Generator().manual_seed(seed))
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    up = (draw(1) == 1.125).double().mean().item()
    assert abs(up - 0.25) < 5 * (0.25 * 0.75 / 40_000) ** 0.5


def test_random_bits_broadcast():
    x = normal(4, 6)
    modes = {"rounding": RoundingMode.STOCHASTIC, "random_bits": 3}
    row = torch.arange(6, dtype=torch.uint8)
    assert same(fake_quantize(x, E4M3, random=row, **modes),
                fake_quantize(x, E4M3, random=row.expand(4, 6).to(torch.int32), **modes))


# Gradients

@pytest.mark.parametrize("rounding", [RoundingMode.NEAREST_EVEN, RoundingMode.UP], ids=lambda mode: mode.value)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_gradient_passes_inside_the_range_and_stops_outside(dtype, rounding):
    x = torch.tensor([0.0, -0.0, 1.0, -3.7, 448.0, -448.0, 450.0, -1000.0, torch.inf, -torch.inf, torch.nan],
                     dtype=dtype, requires_grad=True)
    weights = torch.arange(1.0, 12.0, dtype=dtype)
    gradient, = torch.autograd.grad(fake_quantize(x, E4M3, rounding=rounding), x, weights)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, weights * torch.tensor([1.0] * 6 + [0.0] * 5, dtype=dtype))


@pytest.mark.parametrize(("name", "overflow", "low", "high"), [
    ("int8", OverflowPolicy.SATURATE, -128.0, 127.0), ("int8", OverflowPolicy.SATURATE_SYMMETRIC, -127.0, 127.0),
    ("uint4", OverflowPolicy.SATURATE, 0.0, 15.0), ("e8m0", OverflowPolicy.SATURATE, 2.0**-127, 2.0**127),
    ("e5m2", OverflowPolicy.INFINITY, -57344.0, 57344.0),
])
def test_range_of_the_gradient(name, overflow, low, high):
    inf = torch.tensor(torch.inf)
    edges = torch.tensor([low, high])
    x = torch.stack([torch.nextafter(edges[0], -inf), edges[0], edges[1], torch.nextafter(edges[1], inf)])
    x.requires_grad_()
    gradient, = torch.autograd.grad(fake_quantize(x, parse(name), overflow=overflow).sum(), x)
    assert gradient.tolist() == [0, 1, 1, 0]


def test_gradient_where_the_result_type_is_wider():
    x = torch.tensor([1.0, 60000.0, 2.0], dtype=torch.float16, requires_grad=True)
    fake_quantize(x, parse("int16"), dtype=torch.float32).sum().backward()
    assert x.grad.dtype == torch.float16
    assert x.grad.tolist() == [1, 0, 1]


def test_gradient_of_the_scale_is_that_of_lsq():
    x = normal(4, 32, spread=300.0)
    scale = torch.tensor([0.5, 1.0, 2.0, 0.25], requires_grad=True)
    weights = normal(4, 32, seed=5, spread=1.0)
    fake_quantize(x, E4M3, scale=scale, axis=0).backward(weights)
    v = x / scale.detach()[:, None]
    q = fake_quantize(v, E4M3)
    want = torch.where(v.abs() <= 448, q - v, q)
    torch.testing.assert_close(scale.grad, (want * weights).sum(1), rtol=1e-5, atol=1e-4)


def test_gradient_of_the_scaled_input():
    x = torch.tensor([1.0, 100.0, 250.0, -250.0], requires_grad=True)
    fake_quantize(x, E4M3, scale=0.5).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0]


def test_second_gradient_is_zero():
    x = torch.tensor([0.3, 1.7], requires_grad=True)
    first, = torch.autograd.grad((fake_quantize(x, E4M3) ** 2).sum(), x, create_graph=True)
    second, = torch.autograd.grad(first.sum(), x)
    assert second.tolist() == [2, 2]  # of the square alone; quantization itself is straight


# Speed must not depend on what else the machine does, and results must not depend on that decision.

def test_pace_pauses_sharing_that_loses_and_doubles_the_pause():
    pace = _Pace()
    assert pace.shares()
    pace.judge(1e-3, 2e-3)
    assert pace.shares()
    first = pace.pause
    pace.judge(0.5, 1e-3)
    assert not pace.shares()
    assert pace.pause == 2 * first
    for _ in range(30):
        pace.judge(0.5, 1e-3)
    assert pace.pause == 2.0


def test_pace_forgives_a_single_slow_block():
    pace = _Pace()
    pace.judge(2e-3, 1e-3)
    for _ in range(10):
        pace.judge(1e-3, 2e-3)
    pace.judge(2e-3, 1e-3)
    assert pace.shares()


@pytest.mark.parametrize("sharing", [True, False])
def test_every_element_is_in_exactly_one_block(sharing):
    class Always(_Pace):
        def shares(self):
            return sharing

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for shape in ((10 * _SERIAL_BLOCK + 3,), (5, 3, 50_000), (400_000, 2)):
            x, count = normal(*shape), torch.zeros(*shape)
            each_block(lambda x, none, count: count.add_(1), [x, None, count], pace=Always())
            assert torch.equal(count, torch.ones(*shape))
    finally:
        torch.set_num_threads(before)


# The same code elsewhere

@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", KINDS)
def test_devices_agree(name, device):
    fmt = KINDS[name]
    rng = np.random.default_rng(3)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = corners(fmt, dtype, rng, 60)
        random = torch.from_numpy(rng.integers(0, 256, len(x)))
        for rounding in RoundingMode:
            modes = {"rounding": rounding}
            if rounding is RoundingMode.STOCHASTIC:
                modes |= {"random": random, "random_bits": 8}
            there = modes | ({"random": random.to(device)} if "random" in modes else {})
            want, got = to_codes(x, fmt, **modes), to_codes(x.to(device), fmt, **there).cpu()
            assert_same(x, got, want, got == want, f"{name} {rounding}")
            want = fake_quantize(x, fmt, dtype=torch.float64, **modes)
            got = fake_quantize(x.to(device), fmt, dtype=torch.float64, **there).cpu()
            assert_same(x, got, want, same_values(got, want), f"{name} {rounding}")
            got = from_codes(to_codes(x.to(device), fmt, **there), fmt, torch.float64).cpu()
            assert_same(x, got, want, same_values(got, want), f"{name} {rounding} from codes")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "tf32", "bfloat16", "int8"])
def test_devices_agree_on_a_large_tensor_with_scales(name, device):
    fmt, x = parse(name), normal(512, 512, spread=30.0)
    scale = absmax_scale(x, fmt, axis=0)
    want = fake_quantize(x, fmt, scale=scale, axis=0)
    far = x.to(device).requires_grad_()
    got = fake_quantize(far, fmt, scale=scale.to(device), axis=0)
    got.sum().backward()
    assert same(got.detach().cpu(), want)
    assert same(absmax_scale(x.to(device), fmt, axis=0).cpu(), scale)
    generator = torch.Generator(device).manual_seed(1)
    drawn = fake_quantize(x.to(device), fmt, rounding=RoundingMode.STOCHASTIC, generator=generator)
    assert torch.isfinite(drawn).all()
