"""SmoothQuant: closed forms, the function that must stay, and the weights that Brevitas comes to."""

import copy

import pytest
import torch
from torch import nn

from sw.formats import resolve
from sw.nn.networks import digits_cnn, digits_residual, digits_vit
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.quantize import calibrate, convert, prepare
from sw.ptq.smoothing import is_smoothed
from sw.ptq.smoothquant import SmoothQuant, smooth_
from tests.sw.ptq.networks import (
    THEIRS,
    RandomNetwork,
    Transformer,
    assert_same_function,
    brevitas_traced,
    images,
    spread_,
)

LAYERWISE = SmoothQuant(folded=False)


def two_layers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return spread_(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double())


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_folded_factors_in_closed_form(alpha):
    model = two_layers()
    batches = [images(7, 5, seed=seed) for seed in range(3)]
    hidden = torch.cat([torch.relu(model[0](batch)) for batch in batches]).detach().amax(0)
    weights = model[2].weight.detach().abs().amax(0)
    done = smooth_(model, batches, SmoothQuant(alpha=alpha))
    want = torch.where(hidden > 1e-9, weights ** (1 - alpha) / hidden ** alpha, 1.0)
    torch.testing.assert_close(done.factors["2"], want, rtol=1e-12, atol=0)
    assert set(done.factors) == {"2"}
    assert [region.source_names for region in done.regions] == [("0",)]
    assert not is_smoothed(model[2])
    now = torch.cat([torch.relu(model[0](batch)) for batch in batches]).detach().amax(0)
    torch.testing.assert_close(now, hidden * want, rtol=1e-12, atol=1e-12)
    if alpha == 0.5:  # the ranges of activations and weights meet
        torch.testing.assert_close(now[hidden > 1e-9], model[2].weight.detach().abs().amax(0)[hidden > 1e-9],
                                   rtol=1e-12, atol=0)


def test_layerwise_factors_in_closed_form():
    model = two_layers()
    x = images(7, 5)
    inputs, weights = x.abs().amax(0), model[0].weight.detach().abs().amax(0)
    before = model[0].weight.detach().clone()
    done = smooth_(model, [x], LAYERWISE)
    want = (weights / inputs).sqrt()
    torch.testing.assert_close(done.factors["0"], want, rtol=1e-12, atol=0)
    torch.testing.assert_close(model[0].smoothing, want, rtol=1e-12, atol=0)
    torch.testing.assert_close(model[0].weight.detach(), before / want, rtol=1e-12, atol=0)
    assert list(done.factors) == ["0", "2"]
    assert done.regions == ()


@pytest.mark.parametrize("options", [SmoothQuant(), LAYERWISE, SmoothQuant(alpha=0.8)],
                         ids=["folded", "layerwise", "folded-0.8"])
@pytest.mark.parametrize(("network", "x"), [
    (digits_cnn, (3, 1, 8, 8)), (digits_residual, (3, 1, 8, 8)), (digits_vit, (3, 1, 8, 8)),
    (Transformer, (3, 3, 4, 4)), (two_layers, (3, 5)),
])
def test_networks_compute_the_same(network, x, options):
    model = spread_(network().double(), deviation=0.3)
    before = copy.deepcopy(model)
    keys = set(model.state_dict())
    done = smooth_(model, [images(*x, seed=1), images(*x, seed=2)], options)
    assert done.factors
    assert set(model.state_dict()) - keys == ({f"{name}.smoothing" for name in done.factors}
                                              if options is LAYERWISE else set())
    assert keys <= set(model.state_dict())
    assert_same_function(before, model, images(*x, seed=3))
    assert any(not torch.equal(value, model.state_dict()[key]) for key, value in before.state_dict().items())


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_compute_the_same(seed):
    model = RandomNetwork(seed)
    before = copy.deepcopy(model)
    x = images(3, 4, 4, 4)
    assert smooth_(model, [x]).regions
    assert_same_function(before, model, x)
    smooth_(model, [x], LAYERWISE)
    assert_same_function(before, model, x)


class Shared(nn.Module):
    """Three layers behind a normalization, one of them called twice; one that nothing calls; and tied weights."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.unused, self.tied, self.tied_too = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.tied_too.weight = self.tied.weight

    def forward(self, x):
        x = self.norm(x)
        y = torch.tanh(self.a(x) + self.b(x))
        return self.tied(torch.tanh(self.tied_too(torch.tanh(self.c(y) * self.c(5 * y)))))


def test_a_region_takes_all_that_its_sinks_see():
    model = spread_(Shared().double(), deviation=0.3)
    before = copy.deepcopy(model)
    x = images(6, 4)
    inputs = model.norm(x).detach().abs().amax(0)
    weights = torch.maximum(model.a.weight.abs().amax(0), model.b.weight.abs().amax(0)).detach()
    done = smooth_(model, [x])
    assert [(region.source_names, region.sink_names) for region in done.regions] == [(("norm",), ("a", "b"))]
    for name in ("a", "b"):
        torch.testing.assert_close(done.factors[name], (weights / inputs).sqrt(), rtol=1e-12, atol=0)
    assert_same_function(before, model, x)


def test_layers_that_share_weights_or_see_nothing_are_left_alone():
    model = spread_(Shared().double(), deviation=0.3)
    before = copy.deepcopy(model)
    x = images(6, 4)
    y = torch.tanh(model.a(model.norm(x)) + model.b(model.norm(x))).detach()
    done = smooth_(model, [x], LAYERWISE)
    assert set(done.factors) == {"a", "b", "c"}
    weights, inputs = before.c.weight.detach().abs().amax(0), (5 * y).abs().amax(0)
    torch.testing.assert_close(done.factors["c"], (weights / inputs).sqrt(), rtol=1e-12, atol=0)
    assert_same_function(before, model, x)


def test_a_second_time_there_is_nothing_left_to_do():
    for options in (SmoothQuant(), LAYERWISE):
        model = two_layers()
        x = images(7, 5)
        smooth_(model, [x], options)
        kept = copy.deepcopy(model.state_dict())
        for factors in smooth_(model, [x], options).factors.values():
            torch.testing.assert_close(factors, torch.ones_like(factors), rtol=1e-12, atol=0)
        for key, value in model.state_dict().items():
            torch.testing.assert_close(value, kept[key], rtol=1e-12, atol=0)


def test_filtered_layers():
    x = images(3, 1, 8, 8, dtype=torch.float32)
    model = digits_cnn().eval()
    assert set(smooth_(model, [x], LAYERWISE, filter_fn=lambda module, name: name in ("2", "7")).factors) == {"2", "7"}
    assert set(smooth_(digits_cnn(), [x], filter_fn=lambda module, name: isinstance(module, nn.Conv2d)).factors) == {
        "2", "4"}
    # A region whose sinks are not all wanted is left.
    assert smooth_(Shared(), [x[:, 0, 0, :4]], filter_fn=lambda module, name: name == "a").regions == ()


def test_progress_is_told():
    told = []
    smooth_(two_layers(), [images(2, 5)] * 3, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_quantization_is_closer_with_outliers_smoothed():
    """What it is for: one channel is a hundred times larger and counts no more, and one scale must hold all of them."""
    fmt = resolve("int4").format
    errors = []
    for options in (None, SmoothQuant(), LAYERWISE):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8)).eval()
        with torch.no_grad():
            model[0].weight[3] *= 100
            model[2].weight[:, 3] /= 100
        x = images(64, 16, dtype=torch.float32)
        want = model(x).detach()
        if options is not None:
            smooth_(model, [x], options)
        prepare(model, {"2": Config(weight=WeightConfig(format=fmt), activation=ActivationConfig(format=fmt))})
        calibrate(model, [x])
        errors.append(float((convert(model)(x).detach() - want).square().mean()))
    assert max(errors[1:]) < errors[0] / 5, errors


@THEIRS
@pytest.mark.parametrize("alpha", [0.5, 0.8])
@pytest.mark.parametrize("network", [
    lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(), nn.Conv2d(6, 4, 1)),
    lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.LeakyReLU(), nn.ConvTranspose2d(6, 4, 3), nn.MaxPool2d(2),
                          nn.Conv2d(4, 5, 1)),
    lambda: Block(nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 4, 1)),
    lambda: nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)),
], ids=["depthwise", "transposed", "residual", "layer-norm"])
@pytest.mark.parametrize("layerwise", [False, True], ids=["folded", "layerwise"])
def test_weights_are_those_of_brevitas(network, alpha, layerwise):
    from brevitas.graph.equalize import activation_equalization_mode
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = spread_(network())
    batches = [images(4, 3, 6, 6, seed=seed, dtype=torch.float32) for seed in range(3)]
    theirs = copy.deepcopy(model) if layerwise else brevitas_traced(model)
    with torch.no_grad(), activation_equalization_mode(theirs, alpha, add_mul_node=layerwise, layerwise=layerwise):
        for batch in batches:
            theirs(batch)
    done = smooth_(model, batches, SmoothQuant(alpha=alpha, folded=not layerwise))
    assert len(done.factors) >= 2
    expected = theirs.state_dict()
    for key, value in model.state_dict().items():
        name, _, last = key.rpartition(".")
        other = {"smoothing": f"{name}.scale.weight"}.get(last, f"{name}.layer.{last}")
        other = other if layerwise and name in done.factors else key
        torch.testing.assert_close(value.flatten(), expected[other].flatten(), rtol=1e-5, atol=1e-6, msg=key)


class Block(nn.Module):
    def __init__(self, first, second, last):
        super().__init__()
        self.first, self.second, self.last, self.relu = first, second, last, nn.ReLU()

    def forward(self, x):
        x = self.relu(self.first(x))
        return self.last(self.relu(self.second(x)) + x)


def test_activations_that_are_not_finite_are_refused_and_nothing_changed():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.fill_(1e30)
    before = copy.deepcopy(model.state_dict())
    for options in (SmoothQuant(), LAYERWISE):
        with pytest.raises(ValueError, match=r"Input of layer '2' must be finite to be smoothed, not with an infinity "
                           r"or a NaN, in shape \(1, 2\)"):
            smooth_(model, [torch.full((1, 2), 1e30)], options)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert not model[2]._forward_pre_hooks


def test_weights_that_are_not_finite_are_refused_and_nothing_changed():
    for options in (SmoothQuant(), LAYERWISE):
        model = two_layers()
        with torch.no_grad():
            model[2].weight[1, 2] = torch.nan
        before = model[0].weight.detach().clone()
        with pytest.raises(ValueError, match=r"Weights of layer '2' must be finite to be smoothed, not with an "
                           r"infinity or a NaN, in shape \(3, 8\)"):
            smooth_(model, [images(2, 5)], options)
        assert torch.equal(model[0].weight, before)


def prepared():
    fmt = resolve("e3m2").format
    return prepare(two_layers(), Config(weight=WeightConfig(format=fmt)))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: smooth_(two_layers(), [images(2, 5)], 0.5), TypeError, "Options must be a SmoothQuant, not 0.5"),
    (lambda: smooth_(torch.ones(3), []), TypeError, "Model must be a torch.nn.Module, not 'Tensor'"),
    (lambda: smooth_(two_layers(), []), ValueError, "Batches must be at least one, not none"),
    (lambda: smooth_(two_layers(), images(2, 5)), TypeError, "Batches must be a sequence of batches or a DataLoader"),
    (lambda: smooth_(two_layers(), [torch.full((1, 5), torch.nan)], LAYERWISE), ValueError,
     r"Batch must be finite, not nan at \[0, 0\], in batch 0"),
    (lambda: smooth_(two_layers(), [images(2, 5)], filter_fn="2"), TypeError,
     "Layer filter must be callable with a module and its name, not '2'"),
    (lambda: smooth_(prepared(), [images(2, 5)]), ValueError,
     "Model must be of float layers to be smoothed, not prepared for quantization already as '0' is"),
    (lambda: SmoothQuant(alpha="0.5"), TypeError, "Alpha must be a number, not '0.5'"),
    (lambda: SmoothQuant(alpha=1.5), ValueError, "Alpha must be between 0 and 1, not 1.5"),
    (lambda: SmoothQuant(folded=1), TypeError, "Folding must be True or False, not 1"),
    (lambda: SmoothQuant(leaves=[nn.Linear]), TypeError, "Leaves must be a tuple of types of modules"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_factors_beyond_the_type_of_the_weights_are_refused_and_nothing_changed():
    model = nn.Sequential(nn.Linear(4, 4)).half()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="Smoothing factors must be positive and finite in torch.float16, not inf"):
        smooth_(model, [torch.full((3, 4), 1e-6).half()], SmoothQuant(alpha=1.0, folded=False))
    assert model.state_dict().keys() == before.keys()
    assert torch.equal(model[0].weight, before["0.weight"])
