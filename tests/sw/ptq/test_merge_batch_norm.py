"""Merged batch normalizations: the same function, and the weights that Brevitas merges."""

import copy

import pytest
import torch
from torch import nn

from sw.nn.networks import digits_residual
from sw.ptq.merge_batch_norm import MergedBatchNorm, batch_norm_affine, merge_batch_norm_, merge_into
from tests.sw.ptq.networks import THEIRS, RandomNetwork, assert_same_function, brevitas_traced, images, spread_

LAYERS = {
    "linear": (nn.Linear(4, 6), nn.BatchNorm1d(6), (5, 4)),
    "linear-no-bias": (nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), (5, 4)),
    "conv1d": (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 5)),
    "conv2d": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "conv3d": (nn.Conv3d(4, 6, 2), nn.BatchNorm3d(6), (2, 4, 3, 3, 3)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, affine=False), (2, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8, eps=0.1), (2, 4, 5, 5)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "transposed-grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), (2, 4, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_merged_layer_computes_both(name):
    layer, norm, shape = copy.deepcopy(LAYERS[name])
    model = spread_(nn.Sequential(layer, norm, nn.ReLU()).double())
    before = copy.deepcopy(model)
    assert merge_batch_norm_(model) == (MergedBatchNorm(layer="0", norm="1"),)
    assert type(model[1]) is nn.Identity
    assert model[0] is layer
    assert_same_function(before, model, images(*shape), rtol=1e-13)


def test_keys_of_all_else_stay():
    model = digits_residual().eval()
    keys = set(model.state_dict())
    merged = merge_batch_norm_(model)
    assert len(merged) == 13
    gone = {key for key in keys if key.rpartition(".")[0] in {pair.norm for pair in merged}}
    new = {f"{pair.layer}.bias" for pair in merged}
    assert set(model.state_dict()) == (keys - gone) | new
    other = digits_residual().eval()
    merge_batch_norm_(other)
    other.load_state_dict(model.state_dict())
    x = images(2, 1, 8, 8, dtype=torch.float32)
    assert torch.equal(other(x), model(x))


@THEIRS
@pytest.mark.parametrize("network", [digits_residual, lambda: nn.Sequential(*copy.deepcopy(LAYERS["conv2d"][:2])),
                                     lambda: nn.Sequential(*copy.deepcopy(LAYERS["depthwise"][:2])),
                                     lambda: nn.Sequential(*copy.deepcopy(LAYERS["transposed"][:2]))])
def test_weights_are_those_of_brevitas(network):
    model = spread_(network())
    from brevitas.graph.fixed_point import MergeBatchNorm
    theirs = MergeBatchNorm().apply(brevitas_traced(model)).state_dict()
    merged = merge_batch_norm_(model)
    assert set(theirs) == set(model.state_dict())
    assert merged
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-5, atol=1e-6 * float(value.abs().max()), msg=key)


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_compute_the_same(seed):
    model = RandomNetwork(seed)
    before = copy.deepcopy(model)
    merge_batch_norm_(model)
    assert_same_function(before, model, images(3, 4, 4, 4))


class Written(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize("function", [
    lambda m, x: m.norm(y := m.a(x)) + y,
    lambda m, x: m.norm(m.a(m.a(x))),
    lambda m, x: m.norm(m.b(m.norm(m.a(x)))),
    lambda m, x: m.norm(m.a(x) + m.b(x)),
    lambda m, x: m.norm(x),
    lambda m, x: m.norm(m.a(x)) * m.a.weight.sum(),
    lambda m, x: m.norm(m.a(x)) * m.norm.bias.sum(),
    lambda m, x: m.norm(torch.relu(m.a(x))),
], ids=["output-used", "layer-twice", "norm-twice", "sum", "input", "weight-read", "norm-read", "relu-between"])
def test_what_must_not_be_merged_stays(function):
    model = spread_(Written(function).double())
    before = copy.deepcopy(model.state_dict())
    assert merge_batch_norm_(model) == ()
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_normalizations_over_something_else_stay():
    class Tokens(nn.Module):
        """A linear layer over channels, then a normalization of as many tokens."""

        def __init__(self):
            super().__init__()
            self.patches, self.layer, self.norm = nn.Conv2d(4, 4, 1), nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            return self.norm(self.layer(self.patches(x).flatten(2).transpose(1, 2)))

    assert merge_batch_norm_(Tokens().eval()) == ()
    assert merge_batch_norm_(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(5)).eval()) == ()
    assert merge_batch_norm_(nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, track_running_stats=False))) == ()
    shared = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    shared[2].weight = shared[0].weight
    assert merge_batch_norm_(shared.eval()) == ()


def test_factor_and_offset_in_closed_form():
    norm = nn.BatchNorm1d(2, eps=0.5).eval()
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1.0, -2]))
        norm.running_var.copy_(torch.tensor([0.5, 3.5]))
        norm.weight.copy_(torch.tensor([3.0, 4]))
        norm.bias.copy_(torch.tensor([10.0, 20]))
    factor, offset = batch_norm_affine(norm)
    assert factor.tolist() == [3, 2]
    assert offset.tolist() == [7, 24]
    assert factor.dtype == offset.dtype == torch.float64


def test_training_mode_is_refused_and_nothing_changed():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).eval()
    model[3].train()
    with pytest.raises(ValueError, match="Layer '3' must be in evaluation mode to be merged into '2', not in training: "
                       r"its statistics would still change; call model.eval\(\) first"):
        merge_batch_norm_(model)
    assert type(model[1]) is nn.BatchNorm2d


@pytest.mark.parametrize(("layer", "norm", "error", "message"), [
    (nn.ReLU(), nn.BatchNorm2d(4), TypeError, "Layer must be a linear layer or a convolution with weights of its own, "
     "not 'ReLU'"),
    (nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), TypeError, "Normalization must be a batch normalization, not 'GroupNorm'"),
    (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(4), ValueError, "Normalization must have the 6 output channels of the layer, "
     "not 4"),
    (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False), ValueError,
     "Normalization must keep running statistics to be merged, not track_running_stats=False"),
])
def test_what_cannot_be_merged(layer, norm, error, message):
    with pytest.raises(error, match=message):
        merge_into(layer, norm)
