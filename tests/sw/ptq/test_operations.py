"""Every operation that is said to keep a factor is run: what the table says of it is what torch computes."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from sw.ptq.operations import (
    FUNCTIONS,
    METHODS,
    MODULES,
    PROPERTIES,
    SPATIAL_DIMENSIONS,
    Kind,
    kind_of_function,
    kind_of_method,
    kind_of_module,
)

FACTORS = torch.tensor([0.25, 3.0, 1.0], dtype=torch.float64)
MODULE_ARGUMENTS = {nn.MaxPool1d: (2,), nn.MaxPool2d: (2,), nn.MaxPool3d: (2,), nn.AvgPool1d: (2,), nn.AvgPool2d: (2,),
                    nn.AvgPool3d: (2,), nn.Upsample: (None, 2.0), nn.UpsamplingNearest2d: (None, 2.0),
                    nn.UpsamplingBilinear2d: (None, 2.0)}
EXTRA = {F.prelu: (torch.tensor([0.3], dtype=torch.float64),), torch.prelu: (torch.tensor([0.3], dtype=torch.float64),),
         torch.dropout: (0.0, False), F.dropout: (0.0,), F.dropout1d: (0.0,), F.dropout2d: (0.0,), F.dropout3d: (0.0,),
         torch.clamp: (-0.5, 0.5)}


def sample(dimensions, seed=0):
    """Three channels, and ``dimensions`` of size 4 behind them."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(2, 3, *[4] * dimensions, generator=generator, dtype=torch.float64)


def scaled(x):
    return x * FACTORS.reshape(-1, *[1] * (x.ndim - 2))


def keeps(operation, dimensions):
    """Whether a factor on a channel of the input is a factor on that channel of the output."""
    x = sample(dimensions)
    got, want = operation(scaled(x)), scaled(operation(x))
    return got.shape == want.shape and torch.allclose(got, want, rtol=1e-12, atol=1e-12)


def members(table, kind):
    return [pytest.param(key, id=getattr(key, "__name__", str(key))) for key, value in table.items() if value is kind]


@pytest.mark.parametrize("function", members(FUNCTIONS, Kind.SAME))
def test_functions_that_keep_a_factor(function):
    dimensions = {F.dropout1d: 1, F.dropout3d: 3}.get(function, 2)
    assert keeps(lambda x: function(x.clone(), *EXTRA.get(function, ())), dimensions)


@pytest.mark.parametrize("function", members(FUNCTIONS, Kind.VARYING))
def test_functions_that_do_not(function):
    """They are element by element: the layout of the channels stays."""
    argument = (lambda x: x.abs()) if function is torch.sqrt else (lambda x: x)
    x = sample(2)
    call = lambda x: function(argument(x), *EXTRA.get(function, ()))  # noqa: E731
    assert not keeps(call, 2)
    torch.testing.assert_close(call(x)[:, 1:], call(x[:, 1:]))


@pytest.mark.parametrize("name", members(METHODS, Kind.SAME))
def test_methods_that_keep_a_factor(name):
    extra = (torch.tensor([0.3], dtype=torch.float64),) if name == "prelu" else ()
    x = sample(2)
    if name == "float":
        torch.testing.assert_close(scaled(x).float(), scaled(x.float()).float())
        return
    assert keeps(lambda x: getattr(x.clone(), name)(*extra), 2)


@pytest.mark.parametrize("name", members(METHODS, Kind.VARYING))
def test_methods_that_do_not(name):
    assert not keeps(lambda x: getattr(x.abs(), name)(*((-0.5, 0.5) if name == "clamp" else ())), 2)


@pytest.mark.parametrize("kind", members(MODULES, Kind.SAME))
def test_modules_that_keep_a_factor(kind):
    module = kind().double().eval()
    assert keeps(module, 3 if kind is nn.Dropout3d else 1 if kind is nn.Dropout1d else 2)
    assert kind_of_module(module) is Kind.SAME


@pytest.mark.parametrize("kind", members(MODULES, Kind.VARYING))
def test_modules_that_do_not(kind):
    assert not keeps(kind(), 2)


@pytest.mark.parametrize("kind", members(MODULES, Kind.RESIZE))
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area", "nearest-exact"])
def test_resizing_keeps_a_factor(kind, mode):
    assert keeps(kind(*MODULE_ARGUMENTS[kind]), 2)
    assert keeps(lambda x: F.interpolate(x, scale_factor=2, mode=mode), 2)


@pytest.mark.parametrize("operation", [pytest.param(key, id=getattr(key, "__name__", str(key)))
                                       for key in SPATIAL_DIMENSIONS])
def test_pooling_and_padding_mix_the_last_dimensions_alone(operation):
    dimensions = SPATIAL_DIMENSIONS[operation]
    if isinstance(operation, type):
        call = operation(*MODULE_ARGUMENTS.get(operation, (2 if "Adaptive" in operation.__name__ else 1,)))
    else:
        call = lambda x: operation(x, 2)  # noqa: E731
        assert kind_of_function(operation) is Kind.SPATIAL
    assert keeps(call, dimensions)
    if dimensions > 1:  # with one dimension less, the channels are among those that are mixed
        x = sample(dimensions - 1)
        assert call(x).shape[1] != 3 or not torch.allclose(call(scaled(x)), scaled(call(x)))


@pytest.mark.parametrize("function", members(FUNCTIONS, Kind.SUM))
def test_sums_keep_a_factor_of_both(function):
    x, y = sample(2), sample(2, seed=1)
    torch.testing.assert_close(function(scaled(x), scaled(y)), scaled(function(x, y)), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(function(scaled(x), y), scaled(function(x, y)))


@pytest.mark.parametrize("name", members(METHODS, Kind.SUM))
def test_methods_of_sums_keep_a_factor_of_both(name):
    x, y = sample(2), sample(2, seed=1)
    torch.testing.assert_close(getattr(scaled(x), name)(scaled(y)), scaled(getattr(x.clone(), name)(y)), rtol=1e-12,
                               atol=1e-12)


@pytest.mark.parametrize(("table", "kind"), [(FUNCTIONS, Kind.PRODUCT), (FUNCTIONS, Kind.QUOTIENT)])
def test_products_keep_a_factor_of_one(table, kind):
    x, y = sample(2), sample(2, seed=1)
    for function in (key for key, value in table.items() if value is kind):
        torch.testing.assert_close(function(scaled(x), y), scaled(function(x.clone(), y)), rtol=1e-12, atol=1e-12)
        assert not torch.allclose(function(scaled(x), scaled(y)), scaled(function(x.clone(), y)))


@pytest.mark.parametrize("function", members(FUNCTIONS, Kind.REDUCE))
def test_reductions_keep_a_factor(function):
    assert keeps(lambda x: function(x, (2, 3)), 2)
    assert keeps(lambda x: getattr(x, function.__name__)((2, 3), keepdim=True), 2)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_keeps_a_factor(mode):
    assert keeps(lambda x: F.pad(x, (1, 2, 1, 0), mode), 2)


def test_what_is_not_in_the_tables_is_unknown():
    class Own(nn.ReLU):
        """It may do anything in its forward."""

    assert kind_of_function(torch.matmul) is None
    assert kind_of_method("softmax") is None
    assert kind_of_module(Own()) is None
    assert kind_of_module(nn.Softmax(1)) is None


def test_tables_hold_what_torch_has():
    assert all(hasattr(torch.Tensor, name) for name in (*METHODS, *PROPERTIES))
    assert all(inspect.isclass(kind) and issubclass(kind, nn.Module) for kind in MODULES)
