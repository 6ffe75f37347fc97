"""Matrix products of floats through circuits, in attention and on their own."""

import copy
import math

import pytest
import torch
from torch import nn

from sw import ptq
from sw.ptq import ScaleRule, ScaleStatistic
from sw.ptq.scale_search import scale_target
from sw.quantize import absmax_scale, from_codes, to_codes
from synth.nn import CircuitMatmul, matmul
from tests.synth.nn.reference_units import OPERATIONS, ReferenceUnit

SHAPES = [((3, 5), (5, 4)), ((2, 3, 5), (5, 4)), ((2, 2, 3, 5), (2, 2, 5, 4)), ((3, 5), (2, 5, 1))]


def data(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit_of(name="mac-wide"):
    return ReferenceUnit(OPERATIONS[name])


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
def test_the_product_is_the_scaled_sum_of_the_operands_codes(name, left, right):
    a, b, unit = data(left, 1), data(right, 2), unit_of(name)
    product = CircuitMatmul(unit, scale=ScaleRule(statistic=ScaleStatistic.ABSMAX))
    scales = [absmax_scale(x, fmt) * float(fmt.max_finite / scale_target(fmt)) for x, fmt in ((a, unit.a), (b, unit.b))]
    sums = matmul(to_codes(a, unit.a, scale=scales[0]), to_codes(b, unit.b, scale=scales[1]), unit)
    work = torch.float64 if unit.result.width == 32 else torch.float32
    want = from_codes(sums, unit.result, work) * (scales[0].to(work) * scales[1].to(work))
    assert torch.equal(product(a, b), want.float())


def test_formats_are_taken_as_they_are_where_sums_have_no_room():
    a, b, unit = data((3, 5), 1), data((5, 4), 2), unit_of("fma-e5m10")
    want = from_codes(matmul(to_codes(a, unit.a), to_codes(b, unit.b), unit), unit.result)
    assert torch.equal(CircuitMatmul(unit)(a, b), want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_products_are_of_the_type_of_the_operands(dtype):
    a, b = data((3, 5), 1, dtype), data((5, 4), 2, dtype)
    got = CircuitMatmul(unit_of())(a, b)
    assert got.dtype == dtype
    torch.testing.assert_close(got, a @ b, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
def test_gradients_are_torchs_on_rounded_operands(left, right):
    a, b = data(left, 1).requires_grad_(), data(right, 2).requires_grad_()
    product = CircuitMatmul(unit_of("chunked-1-6-9"))
    gradient = data(product(a, b).shape, 3)
    got = torch.autograd.grad(product(a, b), (a, b), gradient)
    want = torch.autograd.grad(product.a_quantizer(a) @ product.b_quantizer(b), (a, b), gradient)
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])
    only, = torch.autograd.grad(product(a.detach(), b), b, gradient)
    torch.testing.assert_close(only, want[1])  # torch may take another way to one gradient than to both
    assert not product(a.detach(), b.detach()).requires_grad


def test_without_its_quantizers_it_is_torchs():
    a, b, unit = data((3, 5), 1), data((5, 4), 2), unit_of()
    product = CircuitMatmul(unit)
    with ptq.floating(product):
        assert torch.equal(product(a, b), a @ b)
    assert not unit.shapes


@pytest.mark.parametrize(("left", "right"), [((0, 5), (5, 4)), ((2, 0), (0, 4)), ((2, 5), (5, 0))], ids=str)
def test_empty_operands_give_what_torch_does(left, right):
    a, b = data(left), data(right)
    assert torch.equal(CircuitMatmul(unit_of())(a, b), a @ b)


class Attention(nn.Module):
    """Attention of one head, whose matrix products are a function that it is given."""

    def __init__(self, product):
        super().__init__()
        self.product = product

    def forward(self, queries, keys, values):
        scores = self.product(queries, keys.mT) / math.sqrt(queries.shape[-1])
        return self.product(torch.softmax(scores, -1), values)


@pytest.mark.parametrize(("name", "error"), [("mac-wide", 0.05), ("fma-e5m10", 0.01), ("emac-posit", 0.2)])
def test_attention_takes_it_for_its_products(name, error):
    queries, keys, values = (data((2, 3, 6, 8), seed) for seed in range(3))
    unit = unit_of(name)
    attention = Attention(CircuitMatmul(unit))
    got, want = attention(queries, keys, values), Attention(torch.matmul)(queries, keys, values)
    assert not torch.equal(got, want)
    assert (got - want).abs().max() < error * want.abs().max()
    assert unit.shapes == [(6, 8, 6)] * 6 + [(6, 6, 8)] * 6
    other = copy.deepcopy(attention)
    assert other.product.unit is unit
    assert torch.equal(other(queries, keys, values), got)
    assert f"circuit={unit.a.name} × {unit.b.name} → {unit.result.name}" in repr(attention)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: CircuitMatmul("unit"), TypeError, "Unit must be a matrix unit"),
    (lambda: CircuitMatmul(unit_of(), scale=1.0), TypeError, "Activation scale must be a ScaleRule, not 1.0"),
    (lambda: CircuitMatmul(unit_of())(data((2, 3)), data((4, 3))), ValueError, "Operands must be matrices of shapes"),
    (lambda: CircuitMatmul(unit_of())(data((2, 3)) / 0 * 0, data((3, 3))), ValueError,
     "Operand a must be numbers to go through a circuit, not NaN, at operand a of a matrix product"),
    (lambda: CircuitMatmul(unit_of())(data((2, 3)), data((3, 3)) / 0), ValueError,
     "Inputs must be finite to be scaled dynamically, not with an infinity or a NaN, at operand b"),
    (lambda: CircuitMatmul(unit_of())(data((2, 3)), torch.ones(3, 2, dtype=torch.int64)), TypeError,
     "Inputs must be of a floating-point dtype, not torch.int64, at operand b of a matrix product, to int8"),
])
def test_what_cannot_be_multiplied_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
