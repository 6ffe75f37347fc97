"""Equalization: closed forms, the function that must stay, and the weights that Brevitas comes to."""

import copy

import pytest
import torch
from torch import nn

from sw.nn.networks import digits_cnn, digits_residual, digits_vit
from sw.nn.resnet import resnet18
from sw.ptq.equalize import BiasRatios, Equalization, bias_shrink, equalize_, equalizing_factors
from sw.ptq.merge_batch_norm import merge_batch_norm_
from sw.ptq.scaled_layer import ScaledLayer, input_range
from tests.sw.ptq.networks import (
    THEIRS,
    RandomNetwork,
    Transformer,
    assert_same_function,
    brevitas_traced,
    images,
    spread_,
)

PLAIN = Equalization(merge_bias=False, threshold=0.0)


def two_layers(*, bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return spread_(nn.Sequential(nn.Linear(5, 8, bias=bias), nn.ReLU(), nn.Linear(8, 3)).double())


def test_the_ranges_of_two_layers_meet():
    model = two_layers()
    sources, sinks = model[0].weight.abs().amax(1), model[2].weight.abs().amax(0)
    bias = model[0].bias.detach().clone()
    done = equalize_(model, PLAIN)
    want = (sources * sinks).sqrt()
    torch.testing.assert_close(model[0].weight.abs().amax(1), want, rtol=1e-14, atol=0)
    torch.testing.assert_close(model[2].weight.abs().amax(0), want, rtol=1e-14, atol=0)
    torch.testing.assert_close(model[0].bias.detach(), bias * (sinks / sources).sqrt().detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(done.factors[0], (sinks / sources).sqrt().detach(), rtol=1e-14, atol=0)
    assert [region.source_names for region in done.regions] == [("0",)]


def test_a_merged_bias_joins_the_range():
    model = two_layers()
    sources = torch.maximum(model[0].weight.abs().amax(1), model[0].bias.abs() / 4)
    sinks = model[2].weight.abs().amax(0)
    done = equalize_(model, Equalization(bias_shrink=4.0))
    torch.testing.assert_close(done.factors[0], (sinks / sources).sqrt().detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(torch.maximum(model[0].weight.abs().amax(1), model[0].bias.abs() / 4),
                               model[2].weight.abs().amax(0), rtol=1e-14, atol=0)


def test_a_chain_comes_to_rest():
    """Every region's ranges meet when nothing changes any more, however many layers share them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(6, 8, 3), nn.LeakyReLU(), nn.Conv2d(8, 4, 3), nn.LeakyReLU(),
                              nn.Conv2d(4, 7, 3), nn.LeakyReLU(), nn.Conv2d(7, 3, 3))
    model = spread_(model.double())
    done = equalize_(model, Equalization(sweeps=500, threshold=1e-12, merge_bias=False))
    assert done.sweeps < 500
    for first, second in ((0, 2), (2, 4), (4, 6)):
        torch.testing.assert_close(model[first].weight.detach().abs().amax((1, 2, 3)),
                                   input_range(ScaledLayer.of(model[second]).weights()), rtol=1e-9, atol=0)


def test_a_sweep_within_the_threshold_is_the_last():
    assert equalize_(two_layers(), PLAIN).sweeps == 20
    # The second sweep finds ranges that have met; the first one alone is never within the threshold.
    assert equalize_(two_layers(), Equalization(merge_bias=False, threshold=1e-6)).sweeps == 2
    assert equalize_(two_layers(), Equalization(merge_bias=False, threshold=1e-6, sweeps=1)).sweeps == 1
    assert equalize_(nn.Sequential(nn.Linear(3, 3), nn.GELU(), nn.Linear(3, 3))).sweeps == 0


def test_negligible_channels_stay():
    model = two_layers()
    with torch.no_grad():
        model[0].weight[2] = 0.0
        model[2].weight[:, 4] = 1e-10
    before = copy.deepcopy(model)
    done = equalize_(model, PLAIN)
    assert done.factors[0][[2, 4]].tolist() == [1, 1]
    assert (done.factors[0] != 1).sum() == 6
    assert torch.equal(model[0].weight[[2, 4]], before[0].weight[[2, 4]])
    assert torch.equal(model[2].weight[:, [2, 4]], before[2].weight[:, [2, 4]])


def test_factors_in_closed_form():
    sources, sinks = torch.tensor([4.0, 1e-9, 1.0, 16.0]), torch.tensor([1.0, 5.0, 0.0, 81.0])
    assert equalizing_factors(sources, sinks).tolist() == [0.5, 1, 1, 2.25]
    assert equalizing_factors(sources, sinks, alpha=1.0).tolist() == [0.25, 1, 1, 1 / 16]
    assert equalizing_factors(sources, sinks, alpha=0.0).tolist() == [1, 1, 1, 81]


@pytest.mark.parametrize(("weights", "bias", "want"), [
    ([1, 1, 1], 3, 2), ([1, 1e-3, 1e-3], 0.5, 5), ([1, 1, 1e-4], 0.9, 5), ([1, 1, 1e-5], 0.5, 5),
    ([1, 1, 1], 11, 5), ([1, 0.5, 1], 20, 10), ([1, 1, 0.015], 12, 10), ([1, 0.3, 0.3], 11, 20),
    ([1, 1, 0.005], 12, 20), ([1, 1, 1], 25, 10), ([0.1, 0.1, 0.1], 3, 10),
])
def test_the_rule_of_the_bias(weights, bias, want):
    """Each line turns one of the rule's conditions."""
    assert rule(torch.tensor([weights]), torch.tensor([float(bias)])) == want


def rule(weights, bias):
    ratios = BiasRatios(weights.abs()[None, ..., None], bias.abs())
    return bias_shrink(float(weights.abs().max()), float(bias.abs().max()), ratios)


@THEIRS
@pytest.mark.parametrize("seed", range(30))
def test_the_rule_of_the_bias_is_that_of_brevitas(seed):
    from brevitas.graph.equalize import _combine_weights_bias
    generator = torch.Generator().manual_seed(seed)
    bias = torch.exp(5 * torch.rand((), generator=generator) - 2) * torch.randn(6, generator=generator)
    weights = torch.randn(6, 9, generator=generator) ** (1 + seed % 5)
    theirs = _combine_weights_bias(weights, "vaiq", bias)[:, -1]
    torch.testing.assert_close(bias / rule(weights, bias), theirs)


@pytest.mark.parametrize("seed", range(10))
def test_ratios_follow_the_factors(seed):
    """As if the weights themselves had been divided, in groups and with several taps."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64).abs()
    bias = 10 * torch.rand(6, generator=generator, dtype=torch.float64)
    ratios = BiasRatios(weights, bias)
    for _ in range(3):
        factors = torch.exp(torch.randn(8, generator=generator, dtype=torch.float64))
        ratios.divide_inputs(factors)
        weights = weights / factors.reshape(2, 1, 4, 1)
    want = bias.reshape(2, 3, 1, 1) / weights
    assert ratios.mean() == pytest.approx(float(want.mean()), rel=1e-12)
    median = float(want.median())
    for bound in (1e-3, 1.0, 0.999 * median, 1.001 * median, 100.0):
        assert ratios.median_exceeds(bound) is (median > bound), bound


class Residual(nn.Module):
    """A stem, two residual blocks of which one has a convolution on its side path, and a classifier."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.a, self.b = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.c, self.d = nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.side = nn.Conv2d(6, 8, 1)
        self.relu, self.pool, self.head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.b(self.relu(self.a(x))) + x)
        x = self.relu(self.d(self.relu(self.c(x))) + self.side(x))
        return self.head(torch.flatten(self.pool(x), 1))


class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, bias=False),
                         nn.LeakyReLU(), nn.Dropout(), nn.ConvTranspose2d(8, 5, 2), nn.ReLU(), nn.Conv2d(5, 4, 1))


class Depthwise(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU(),
                         nn.Conv2d(6, 10, 1), nn.Conv2d(10, 10, 3, groups=10), nn.ReLU(), nn.Conv2d(10, 4, 1))


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(10, 4, 1)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.a(x))
        return self.c(torch.cat([x, self.relu(self.b(x))], 1))


class Residuals(nn.Module):
    """The body of the residual digits network, whose head Brevitas does not look through, and two convolutions."""

    def __init__(self):
        super().__init__()
        self.body = digits_residual()[:-3]
        self.last, self.relu, self.head = nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.head(self.relu(self.last(self.body(x))))


class Tokens(nn.Module):
    """Layer normalizations before an attention and a linear layer, as Brevitas knows both."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.second, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 4)
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.norm(self.first(x))
        y = self.attention(y, y, y, need_weights=False)[0]
        return self.down(self.relu(self.up(self.second(y))))


@THEIRS
@pytest.mark.parametrize("network", [Plain, Residual, Depthwise, Dense, Residuals, Tokens])
@pytest.mark.parametrize(("options", "theirs"), [
    (Equalization(), {"iterations": 20, "threshold": 0.05}),
    (Equalization(merge_bias=False, sweeps=7, threshold=0.0), {"iterations": 7, "threshold": 0.0, "merge_bias": False}),
    (Equalization(bias_shrink=3.0, sweeps=3, threshold=0), {"iterations": 3, "threshold": 0.0, "bias_shrinkage": 3.0}),
], ids=["default", "weights-alone", "fixed-shrink"])
@pytest.mark.parametrize("seed", [0, 1])
def test_weights_are_those_of_brevitas(network, options, theirs, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = spread_(network(), seed)
    merge_batch_norm_(model)
    compare(model, options, theirs)


@THEIRS
def test_resnet_18_is_that_of_brevitas_and_computes_the_same():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet18(10)
    model.flatten, model.fc = nn.Identity(), nn.Conv2d(512, 10, 1)  # Brevitas looks through torch.flatten alone
    spread_(model, deviation=0.3)
    merge_batch_norm_(model)
    before = copy.deepcopy(model)
    assert len(compare(model, Equalization(), {"iterations": 20, "threshold": 0.05}).regions) == 12
    assert_same_function(before, model, images(1, 3, 32, 32, dtype=torch.float32), rtol=1e-5)


def compare(model, options, theirs):
    """Equalize, and compare regions and weights with those of Brevitas."""
    from brevitas.graph.equalize import EqualizeGraph
    traced, regions = EqualizeGraph(return_regions=True, **theirs).apply(brevitas_traced(model))
    done = equalize_(model, options)
    assert ({(frozenset(region.srcs_names), frozenset(region.sinks_names)) for region in regions}
            == {(frozenset(region.source_names), frozenset(region.sink_names)) for region in done.regions})
    expected = traced.state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=2e-5, atol=1e-6 * float(value.abs().max()), msg=key)
    return done


@pytest.mark.parametrize(("network", "x"), [
    (digits_cnn, (2, 1, 8, 8)), (digits_residual, (2, 1, 8, 8)), (digits_vit, (2, 1, 8, 8)), (Residual, (2, 3, 4, 4)),
    (Transformer, (2, 3, 4, 4)), (Tokens, (2, 5, 4)), (Dense, (2, 3, 4, 4)),
])
def test_networks_compute_the_same(network, x):
    model = spread_(network().double(), deviation=0.3)
    merge_batch_norm_(model)
    before = copy.deepcopy(model)
    keys = list(model.state_dict())
    done = equalize_(model)
    assert done.regions
    assert list(model.state_dict()) == keys
    assert_same_function(before, model, images(*x))


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_compute_the_same(seed):
    model = RandomNetwork(seed)
    before = copy.deepcopy(model)
    done = equalize_(model, Equalization(merge_bias=bool(seed % 2)))
    assert done.regions
    assert_same_function(before, model, images(3, 4, 4, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_of_narrow_types(dtype):
    model = two_layers().to(dtype)
    want = equalize_(copy.deepcopy(model).float()).factors[0]
    done = equalize_(model)
    torch.testing.assert_close(done.factors[0], want, rtol=1e-6, atol=0)
    assert model[0].weight.dtype == dtype


def test_gradients_and_objects_stay():
    model = two_layers()
    weight = model[0].weight
    equalize_(model)
    assert model[0].weight is weight
    assert weight.requires_grad
    assert weight.grad_fn is None


def test_weights_that_are_not_finite_are_refused_and_nothing_changed():
    model = two_layers()
    with torch.no_grad():
        model[2].weight[1, 2] = torch.inf
    before = model[0].weight.detach().clone()
    with pytest.raises(ValueError, match=r"Parameters of layer '2' must be finite to be equalized, not with an "
                       r"infinity or a NaN, in shape \(3, 8\)"):
        equalize_(model)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: equalize_(two_layers(), 20), TypeError, "Options must be an Equalization, not 20"),
    (lambda: equalize_(torch.ones(3)), TypeError, "Model must be a torch.nn.Module, not 'Tensor'"),
    (lambda: Equalization(sweeps=0), ValueError, "Sweep count must be at least 1, not 0"),
    (lambda: Equalization(sweeps=2.0), TypeError, "Sweep count must be an integer, not 2.0"),
    (lambda: Equalization(threshold="0"), TypeError, "Threshold must be a number, not '0'"),
    (lambda: Equalization(threshold=-0.1), ValueError, "Threshold must be at least 0 and finite, not -0.1"),
    (lambda: Equalization(merge_bias=1), TypeError, "Bias merging must be True or False, not 1"),
    (lambda: Equalization(bias_shrink=True), TypeError, "Bias shrink must be a number, not True"),
    (lambda: Equalization(bias_shrink=0), ValueError, "Bias shrink must be greater than 0 and finite, not 0; "
     "give merge_bias=False to leave biases out"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
