"""The circuits themselves, compiled from their netlists, beside the references: products, convolutions, networks."""

import copy

import pytest
import torch
from torch import nn

from sw.nn.networks import digits_cnn
from synth.native.matrix import MatrixUnit
from synth.native.operator import operator
from synth.netlist import compile_netlist, read_netlist
from synth.nn import CircuitLinear, circuit_layers, conv2d, convert, linear, matmul, quantize_
from tests.support.mapped import map_component
from tests.support.sampling import sampled
from tests.synth.nn.reference_units import (
    OPERATIONS,
    ReferenceUnit,
    convolution,
    matrix_product,
    random_codes,
    random_convolution,
)
from tests.synth.nn.test_functional import CONVOLUTIONS, PRODUCTS, assert_same, operands

LONG_SYNTHESIS = ("chunked-1-6-9", "fma-e5m10", "emac-e4m3", "mac-fractions", "mac-wide")
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in LONG_SYNTHESIS else ()) for name in OPERATIONS]


@pytest.fixture(scope="module")
def circuit(tmp_path_factory):
    """Return a function from a name to its unit, whose netlists and machine code are made once for this module."""
    units = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NARROWGAUGE_CACHE", str(tmp_path_factory.mktemp("cache")))

        def unit_of(name):
            if name not in units:
                units[name] = MatrixUnit(OPERATIONS[name])
            return units[name]

        yield unit_of


@sampled("name", NAMES, 2)
def test_products_are_the_references(circuit, name):
    for left, right in PRODUCTS.values():
        a, b = operands(OPERATIONS[name], left, right)
        assert_same(matmul(a, b, circuit(name)), matrix_product(OPERATIONS[name], a, b))


@pytest.mark.parametrize("name", NAMES)
def test_sizes_beside_those_of_vectors_are_the_references(circuit, name):
    unit = circuit(name)
    for rows, columns in ((1, 65), (63, 1), (8, 8), (9, 57), (1, 513), (131, 4)):
        x, weight = random_codes(unit.a, (rows, 18), rows), random_codes(unit.b, (columns, 18), columns)
        assert_same(linear(x, weight, unit), matrix_product(OPERATIONS[name], x, weight.mT))


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_are_the_references(circuit, name):
    for x_shape, weight_shape, options, spelled_out in CONVOLUTIONS.values():
        x, weight = operands(OPERATIONS[name], x_shape, weight_shape)
        assert_same(conv2d(x, weight, circuit(name), **options),
                    convolution(OPERATIONS[name], x, weight, **spelled_out))


@pytest.mark.parametrize("name", ["mac-wrapping", "mac-e4m3"])
@pytest.mark.parametrize("seed", range(100, 108))
def test_random_convolutions_are_the_references(circuit, name, seed):
    x_shape, weight_shape, options = random_convolution(seed)
    x, weight = operands(OPERATIONS[name], x_shape, weight_shape)
    padding = options["padding"]
    want = convolution(OPERATIONS[name], x, weight, before=padding, after=padding,
                       **{option: value for option, value in options.items() if option != "padding"})
    assert_same(conv2d(x, weight, circuit(name), **options), want)


@pytest.mark.parametrize("name", NAMES)
def test_attention_is_the_references(circuit, name):
    # Two images, three heads, five tokens of four features: scores, and sums of values weighted by other codes.
    unit, operation = circuit(name), OPERATIONS[name]
    queries, keys = (random_codes(fmt, (2, 3, 5, 4), seed) for seed, fmt in enumerate((unit.a, unit.b)))
    weights, values = random_codes(unit.a, (2, 3, 5, 5), 2), random_codes(unit.b, (2, 3, 5, 4), 3)
    assert_same(matmul(queries, keys.mT, unit), matrix_product(operation, queries, keys.mT))
    assert_same(matmul(weights, values, unit), matrix_product(operation, weights, values))
    shared = random_codes(unit.b, (4, 6), 4)
    assert_same(matmul(queries, shared, unit), matrix_product(operation, queries, shared))


@sampled("name", ["chunked-1-6-9", "emac-posit", "mac-wrapping", "mac-e4m3"], 2)
def test_a_network_is_the_references_in_every_bit(circuit, name):
    torch.manual_seed(0)
    model = digits_cnn(2).eval()
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    quantize_(model, circuit(name), batches=[images])
    other = convert(copy.deepcopy(model), ReferenceUnit(OPERATIONS[name]))
    with torch.no_grad():
        assert torch.equal(model(images), other(images))
    got, want = (torch.autograd.grad(each(images).square().sum(), list(each.parameters())) for each in (model, other))
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine, theirs)


def test_the_netlist_of_a_device_gives_the_same(circuit, tmp_path):
    operation = OPERATIONS["mac-wrapping"]
    netlist, cells = map_component(operation.component(), "ice40", tmp_path)
    assert cells["lut"] > 50
    unit = MatrixUnit(operation, program=compile_netlist(read_netlist(netlist)))
    layer = CircuitLinear(18, 7, unit=unit)
    x = torch.randn(9, 18, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got = layer(x)
        layer.attach_unit(circuit("mac-wrapping"))
        assert torch.equal(layer(x), got)
        layer.attach_unit(ReferenceUnit(operation))
        assert torch.equal(layer(x), got)


def test_a_sum_that_is_too_long_names_its_layer(circuit):
    unit = circuit("emac-posit")
    assert unit.maximum_terms == 256
    with pytest.raises(ValueError, match=r"Sums must have at most the 256 products .* not 257, at layer ''"):
        CircuitLinear(257, 2, unit=unit)
    with pytest.raises(ValueError, match="Terms of a sum must be at most the 256 of the operator, not 257"):
        linear(*(torch.zeros(2, 257, dtype=torch.uint8) for _ in range(2)), unit)


@pytest.mark.slow
def test_a_larger_network_is_the_references_in_every_bit(circuit):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, groups=4),
                          nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 40)).eval()
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    operation = operator("chunked_mac", fmt="e4m3", chunk=64)
    quantize_(model, MatrixUnit(operation), batches=[images])
    assert len(circuit_layers(model)) == 3
    other = convert(copy.deepcopy(model), ReferenceUnit(operation))
    with torch.no_grad():
        assert torch.equal(model(images), other(images))
