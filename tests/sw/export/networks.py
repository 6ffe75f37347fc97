"""Small networks, quantized, and other programs that run what was exported."""

import numpy as np
import onnxruntime
import torch
from torch import nn

from sw.formats import parse_any
from sw.ptq.config import ActivationConfig, Config, Granularity, WeightConfig
from sw.ptq.quantize import quantize_


class Small(nn.Module):
    """A convolution with batch normalization, one in groups, pooling, a residual attention, and linear layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 8, 3, groups=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer_norm = nn.LayerNorm(8)
        self.last = nn.Linear(8, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.norm(self.first(x)).relu(), 2)
        tokens = self.grouped(x).flatten(2).mT
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.last(self.layer_norm(tokens).mean(1))


def plain(seed=0):
    """Three layers, for what does not need more."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4), nn.ReLU(),
                         nn.Linear(4, 3)).eval()


def small(seed=0):
    """A network whose batch normalization does something."""
    torch.manual_seed(seed)
    model = Small().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    nn.init.normal_(model.norm.running_mean)
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    return model


def images(count=4, size=8, seed=1):
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def config(weight, activation, *, granularity=Granularity.CHANNEL, group_size=None, **settings):
    """A configuration from names of formats; ``settings`` are those of activations."""
    return Config(
        weight=None if weight is None else WeightConfig(format=parse_any(weight), granularity=granularity,
                                                        group_size=group_size),
        activation=None if activation is None else ActivationConfig(format=parse_any(activation), **settings))


def quantized(model, configs, batches=None):
    return quantize_(model, configs, batches=[images()] if batches is None else batches)


@torch.no_grad()
def output_of(model, x):
    return model(x).numpy()


def run_onnxruntime(path, x):
    """Run a file node by node, as it is: onnxruntime's optimizer would fuse layers into integer arithmetic."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def assert_equal(got, want, what=""):
    got, want = np.asarray(got), np.asarray(want)
    wrong = np.flatnonzero(got != want) if got.shape == want.shape else None
    assert got.shape == want.shape, (what, got.shape, want.shape)
    assert not len(wrong), (what, len(wrong), got.flat[wrong[0]], want.flat[wrong[0]])


def assert_close(got, want, what=""):
    """Sums in another order differ in the last places of float32."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=2e-5, atol=2e-6, err_msg=str(what))
