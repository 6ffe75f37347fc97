"""Regions: what is found in networks that show one thing each, and that scaling them changes no function."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from sw.ptq import operations
from sw.ptq.operations import Kind
from sw.ptq.regions import find_regions
from tests.sw.ptq.networks import RandomNetwork, Transformer, assert_same_function, images, spread_


def named(model, **kwargs):
    return [(region.source_names, region.sink_names) for region in find_regions(model, **kwargs)]


def scale_(regions, seed=0):
    """Scale every channel of every region by something else."""
    generator = torch.Generator().manual_seed(seed)
    for region in regions:
        factors = torch.exp(torch.randn(region.channels, generator=generator, dtype=torch.float64))
        for source in region.sources:
            source.weights.rescale(outputs=source.factors(factors))
        for sink in region.sinks:
            sink.weights.rescale(inputs=1 / sink.factors(factors))


def check(model, want, x):
    """Find the wanted regions, scale them, and compare what the model computes."""
    model = spread_(model.double(), deviation=0.3)
    before = copy.deepcopy(model)
    assert named(model) == want
    scale_(find_regions(model))
    if want:
        assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert_same_function(before, model, x)


class Written(nn.Module):
    """Convolutions ``a``, ``b``, ``c`` of 4 channels, a linear layer ``d``, and a function of them and the input."""

    def __init__(self, function, **layers):
        super().__init__()
        torch.manual_seed(0)
        for name in "abc":
            setattr(self, name, layers.pop(name, None) or nn.Conv2d(4, 4, 1))
        self.d = layers.pop("d", None) or nn.Linear(4, 3)
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


X = images(3, 4, 4, 4)
AB, BC, ABC = (("a",), ("b",)), (("b",), ("c",)), (("a", "b"), ("c",))

CASES = {
    # What is handed on.
    "chain": (lambda m, x: m.c(m.b(m.a(x))), [AB, BC]),
    "relu": (lambda m, x: m.b(F.relu(m.a(x), inplace=True)), [AB]),
    "methods": (lambda m, x: m.b(m.a(x).relu().contiguous().abs()), [AB]),
    "pool": (lambda m, x: m.b(F.avg_pool2d(F.max_pool2d(m.a(x), 2), 2)), [AB]),
    "pad": (lambda m, x: m.b(F.pad(m.a(x), (1, 1, 2, 0))), [AB]),
    "resize": (lambda m, x: m.b(F.interpolate(m.a(x), scale_factor=2, mode="bilinear")), [AB]),
    "numbers": (lambda m, x: m.b(-2 * m.a(x) / 3), [AB]),
    "flatten": (lambda m, x: m.d(torch.flatten(F.adaptive_avg_pool2d(m.a(x), 1), 1)), [(("a",), ("d",))]),
    "view": (lambda m, x: m.d((y := F.adaptive_avg_pool2d(m.a(x), 1)).view(y.size(0), -1)), [(("a",), ("d",))]),
    "shape": (lambda m, x: m.d((y := F.adaptive_avg_pool2d(m.a(x), 1)).reshape(y.shape[0], -1)), [(("a",), ("d",))]),
    "mean": (lambda m, x: m.d(m.a(x).mean((2, 3))), [(("a",), ("d",))]),
    "permute": (lambda m, x: m.d(m.a(x).permute(0, 2, 3, 1)), [(("a",), ("d",))]),
    "tokens": (lambda m, x: m.d(m.a(x).flatten(2).transpose(1, 2)), [(("a",), ("d",))]),
    "index": (lambda m, x: m.d(m.a(x)[:, :, 0, 1]), [(("a",), ("d",))]),
    "gate": (lambda m, x: m.c((y := m.a(x)) * torch.sigmoid(m.b(y))), [(("a",), ("b", "c"))]),
    "gate-in-place": (lambda m, x: m.c(m.a(x).mul_(torch.sigmoid(m.b(x)))), [(("a",), ("c",))]),
    "quotient": (lambda m, x: m.c(m.a(x) / torch.sigmoid(m.b(x))), [(("a",), ("c",))]),
    # What must have one factor.
    "residual": (lambda m, x: m.c((y := m.a(x)) + m.b(F.relu(y))), [(("a", "b"), ("b", "c"))]),
    "residual-in-place": (lambda m, x: m.c(m.a(x).add_(m.b(x))), [ABC]),
    "difference": (lambda m, x: m.c(m.a(x) - m.b(x)), [ABC]),
    "maximum": (lambda m, x: m.c(torch.maximum(m.a(x), m.b(x))), [ABC]),
    "pixels-side-by-side": (lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], -1)), [ABC]),
    "called-twice": (lambda m, x: m.c(m.b(m.b(m.a(x)))), [(("a", "b"), ("b", "c"))]),
    # What is fixed.
    "gelu": (lambda m, x: m.c(m.b(F.gelu(m.a(x)))), [BC]),
    "relu6": (lambda m, x: m.c(m.b(F.relu6(m.a(x)))), [BC]),
    "hardtanh": (lambda m, x: m.c(m.b(F.hardtanh(m.a(x)))), [BC]),
    "output": (lambda m, x: (y := m.a(x)) + m.b(y), []),
    "input": (lambda m, x: m.b(m.a(x) + x), []),
    "constant": (lambda m, x: m.b(m.a(x) + 1), []),
    "divisor": (lambda m, x: m.c(m.b(m.a(x)) / m.a(x).abs()), []),
    "divisor-and-a-number": (lambda m, x: m.c(m.b(x) / (1 + m.a(x).abs())), [BC]),
    "reciprocal": (lambda m, x: m.b(1 / (m.a(x).abs() + 0)), []),
    "product": (lambda m, x: m.c(m.a(x) * m.b(x)), []),
    "square": (lambda m, x: m.b((y := m.a(x)) * y), []),
    "other-keywords": (lambda m, x: m.b(torch.mul(m.a(x), other=3.0)), [AB]),
    "numpy-names": (lambda m, x: m.d(torch.concatenate((m.a(x), m.b(x)), axis=1).permute(0, 2, 3, 1)[..., :4]), []),
    "numpy-names-of-operands": (lambda m, x: m.c(torch.mul(m.a(x), x2=m.b(x))), []),
    "kept-dimensions": (lambda m, x: m.b(m.a(x).mean((2, 3), keepdims=True)), []),
    "shape-of-another": (lambda m, x: m.b(m.a(x).reshape(x.shape)), []),
    "unknown": (lambda m, x: m.b(torch.softmax(m.a(x), 1)), []),
    "unknown-method": (lambda m, x: m.b(m.a(x).cumsum(1)), []),
    "rounded-quotient": (lambda m, x: m.b(torch.div(m.a(x), 2, rounding_mode="floor")), []),
    "transposed-attribute": (lambda m, x: m.b(m.a(x).mT), []),
    "padded-with-ones": (lambda m, x: m.b(F.pad(m.a(x), (1, 1), value=1.0)), []),
    "mean-of-channels": (lambda m, x: m.b(m.a(x) * m.a(x).mean(1, keepdim=True)), []),
    "pooled-channels": (lambda m, x: m.b(F.avg_pool3d(m.a(x), (3, 1, 1), 1, (1, 0, 0))), []),
    "another-axis": (lambda m, x: m.d(m.a(x)), []),
    "functional-layer": (lambda m, x: F.conv2d(m.b(m.a(x)), m.b.weight), []),
    "parameter-elsewhere": (lambda m, x: m.b(m.a(x)) * m.a.weight.sum(), []),
    "reshaped": (lambda m, x: m.b(m.a(x).reshape(3, 4, 4, 4)), []),
    "flattened-by-another": (lambda m, x: m.d(F.adaptive_avg_pool2d(m.a(x), 1).view(x.size(0), -1)), []),
}


@pytest.mark.parametrize("name", CASES)
def test_one_thing_at_a_time(name):
    function, want = CASES[name]
    check(Written(function), want, X)


PIECES = {
    "concatenation": ({"c": nn.Conv2d(8, 4, 1)}, lambda m, x: m.c(torch.cat([m.a(x), F.relu(m.b(x))], 1)), [ABC]),
    "concatenation-with-a-fixed-part": (
        {"c": nn.Conv2d(8, 4, 1)}, lambda m, x: m.c(torch.cat([F.gelu(m.a(x)), m.b(x)], dim=1)), [(("b",), ("c",))]),
    "concatenation-with-the-input": (
        {"c": nn.Conv2d(8, 4, 1)}, lambda m, x: m.c(torch.cat([x, m.b(m.a(x))], dim=1)), [AB]),
    "dense": ({"c": nn.Conv2d(8, 4, 1)}, lambda m, x: m.c(torch.cat([(y := m.a(x)), m.b(y)], 1)),
              [(("a", "b"), ("b", "c"))]),
    "nested": ({"c": nn.Conv2d(12, 4, 1)},
               lambda m, x: m.c(torch.cat([torch.cat([m.a(x), m.b(x)], 1), m.a(x)], 1)), [ABC]),
    "chunks": ({"b": nn.Conv2d(2, 4, 1)}, lambda m, x: m.b((y := m.a(x).chunk(2, 1))[0]) + m.b(y[-1]), [AB]),
    "split": ({"b": nn.Conv2d(1, 4, 1), "c": nn.Conv2d(3, 4, 1)},
              lambda m, x: m.b((y := torch.split(m.a(x), [1, 3], dim=1))[0]) + m.c(y[1]), [(("a",), ("b", "c"))]),
    "rejoined": ({}, lambda m, x: m.b(torch.cat(list(reversed([(y := m.a(x))[:, :1], y[:, 1:]])), 1)), [AB]),
    "untaken-pieces": ({}, lambda m, x: m.b(torch.cat(m.a(x).chunk(2, 1), 1)), []),
    "split-pixels": ({}, lambda m, x: m.b(m.a(x).chunk(2, 2)[0]), []),
    "flattened": ({"d": nn.Linear(64, 3), "flat": nn.Flatten()}, lambda m, x: m.d(m.flat(m.a(x))), [(("a",), ("d",))]),
    "flattened-tokens": ({"d": nn.Linear(64, 3)}, lambda m, x: m.d(m.a(x).flatten(2).transpose(1, 2).flatten(1)),
                         [(("a",), ("d",))]),
    "flattened-residual": ({"d": nn.Linear(64, 3)},
                           lambda m, x: m.d(m.a(x).flatten(1) + m.b(x).flatten(1)), [(("a", "b"), ("d",))]),
    "flattened-both-ways": ({"d": nn.Linear(64, 3)}, lambda m, x: m.d(
        m.a(x).flatten(1) + m.b(x).flatten(2).transpose(1, 2).flatten(1)), []),
    "one-channel-for-all": ({"b": nn.Conv2d(4, 1, 1)}, lambda m, x: m.c(m.a(x) * m.b(x)), []),
    "mask-of-one-channel": ({"b": nn.Conv2d(4, 1, 1)}, lambda m, x: m.c(m.b(m.a(x)) * x), [AB]),
    "gate-of-one-channel": ({"b": nn.Conv2d(4, 1, 1)}, lambda m, x: m.c(m.a(x) * torch.sigmoid(m.b(x))),
                            [(("a",), ("c",))]),
    "depthwise": ({"b": nn.Conv2d(4, 8, 3, groups=4), "c": nn.Conv2d(8, 4, 1)},
                  lambda m, x: m.c(m.b(m.a(x))), [AB, BC]),
    "grouped": ({"b": nn.Conv2d(4, 4, 1, groups=2)}, lambda m, x: m.c(m.b(m.a(x))), [AB, BC]),
    "transposed": ({"a": nn.ConvTranspose2d(4, 6, 2), "b": nn.ConvTranspose2d(6, 4, 2, groups=2)},
                   lambda m, x: m.c(m.b(m.a(x))), [AB, BC]),
    "indices": ({"pool": nn.MaxPool2d(2, return_indices=True)}, lambda m, x: m.b(m.pool(m.a(x))[0]), []),
    "batch-norm": ({"norm": nn.BatchNorm2d(4)}, lambda m, x: m.b(m.norm(m.a(x))), [(("norm",), ("b",))]),
    "group-norm": ({"norm": nn.GroupNorm(2, 4)}, lambda m, x: m.b(m.norm(m.a(x))), [(("norm",), ("b",))]),
    "instance-norm": ({"norm": nn.InstanceNorm2d(4)}, lambda m, x: m.b(m.norm(m.a(x))), []),
    "layer-norm": ({"norm": nn.LayerNorm(4)}, lambda m, x: m.d(m.norm(m.a(x).permute(0, 2, 3, 1))),
                   [(("norm",), ("d",))]),
    "layer-norm-of-pixels": ({"norm": nn.LayerNorm(4)}, lambda m, x: m.b(m.norm(m.a(x))), []),
    "batch-norm-of-unknown-rank": ({"norm": nn.BatchNorm1d(4)},
                                   lambda m, x: m.d(m.norm(m.d2(x.mean((2, 3))))), []),
    "tokens-of-known-rank": (
        {"norm": nn.LayerNorm(4)},
        lambda m, x: m.d(m.norm(m.a(x).reshape(x.size(0), 4, -1).permute(0, 2, 1))[:, 0]), [(("norm",), ("d",))]),
    "tokens-of-unknown-rank": ({"norm": nn.LayerNorm(4)}, lambda m, x: m.d(m.norm(x)[:, 0]), []),
    "prelu": ({"act": nn.PReLU(4)}, lambda m, x: m.b(m.act(m.a(x))), [AB]),
    "prelu-of-a-layer": ({}, lambda m, x: m.c(F.prelu(m.a(x), m.b(x).mean((0, 2, 3)))), [(("a",), ("c",))]),
}


@pytest.mark.parametrize("name", PIECES)
def test_channels_in_pieces(name):
    layers, function, want = PIECES[name]
    layers = copy.deepcopy(layers)
    if name == "batch-norm-of-unknown-rank":
        layers["d2"] = nn.Linear(4, 4)
    check(Written(function, **layers), want, X)


def test_convolutions_of_other_dimensions():
    for dimensions, conv in ((1, nn.Conv1d), (3, nn.Conv3d)):
        model = nn.Sequential(conv(4, 6, 1), nn.ReLU(), conv(6, 4, 1))
        check(model, [(("0",), ("2",))], images(2, 4, *[3] * dimensions))


def test_a_transformer():
    model = Transformer()
    before = copy.deepcopy(model)
    regions = find_regions(model)
    assert [(region.source_names, region.sink_names) for region in regions] == [
        (("blocks.0.norm",), ("blocks.0.attention",)), (("blocks.0.second_norm",), ("blocks.0.up",)),
        (("blocks.1.norm",), ("blocks.1.attention",)), (("blocks.1.second_norm",), ("blocks.1.up",)),
        (("norm",), ("head",))]
    scale_(regions)
    assert_same_function(before, model, images(3, 3, 4, 4))


class CrossAttention(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, kwargs.get("kdim", 4))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **kwargs)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        memory = self.second(x)
        return self.last(self.attention(self.first(x), key=memory, value=memory)[0])


def test_attention_to_something_else():
    """One matrix projects the query and the memory: their channels have one factor."""
    x = images(2, 5, 4)
    check(CrossAttention(), [(("second", "first"), ("attention",)), (("attention",), ("last",))], x)
    check(CrossAttention(kdim=6, vdim=6), [(("attention",), ("last",))], x)


def test_shared_weights_are_left_alone():
    model = Written(lambda m, x: m.c(m.b(m.a(x))))
    model.c.weight = model.b.weight
    check(model, [], X)


def test_derived_layers_are_left_alone():
    class Standardized(nn.Conv2d):
        """A traced forward that reads the weight."""

        def forward(self, x):
            return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)

    check(Written(lambda m, x: m.c(m.b(m.a(x))), b=Standardized(4, 4, 1)), [], X)


def test_partial_regions_leave_the_other_channels_alone():
    """A part of the concatenation comes from a source, the other is fixed: the sink's channels are told apart."""
    model = Written(PIECES["concatenation-with-a-fixed-part"][1], c=nn.Conv2d(8, 4, 1))
    region, = find_regions(model)
    assert region.channels == 4
    assert region.sinks[0].index.tolist() == [4, 4, 4, 4, 0, 1, 2, 3]
    assert region.sinks[0].factors(torch.tensor([2.0, 3, 4, 5])).tolist() == [1, 1, 1, 1, 2, 3, 4, 5]
    largest = torch.tensor([1.0, 9, 0, 0])
    region.sinks[0].merge_range(largest, torch.tensor([7.0, 7, 7, 7, 2, 3, 4, 5]))
    assert largest.tolist() == [2, 9, 4, 5]


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_compute_the_same_with_every_region_scaled(seed):
    model = RandomNetwork(seed)
    before = copy.deepcopy(model)
    regions = find_regions(model)
    assert regions
    scale_(regions, seed)
    assert_same_function(before, model, images(3, 4, 4, 4))


CURVES = [kind for kind, family in operations.MODULES.items() if family is Kind.VARYING]


@pytest.mark.parametrize("kind", CURVES)
def test_a_wrongly_chosen_pair_is_noticed(kind, monkeypatch):
    """The check that every test here makes fails if an activation is taken for one that keeps a factor."""
    model = nn.Sequential(nn.Conv2d(4, 8, 1), kind(), nn.Conv2d(8, 4, 1))
    check(model, [], X)
    monkeypatch.setitem(operations.MODULES, kind, Kind.SAME)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(model, [(("0",), ("2",))], X)


def test_wrongly_chosen_pairs_in_random_networks_are_noticed(monkeypatch):
    for kind in CURVES:
        monkeypatch.setitem(operations.MODULES, kind, Kind.SAME)
    noticed = 0
    for seed in range(20):
        model = RandomNetwork(seed)
        before = copy.deepcopy(model)
        scale_(find_regions(model), seed)
        try:
            assert_same_function(before, model, images(3, 4, 4, 4))
        except AssertionError:
            noticed += 1
    assert noticed >= 3
