"""Which layers a configuration reaches, and what it says of those that it cannot."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sw.formats import parse
from sw.ptq.config import Config, WeightConfig
from sw.ptq.quantize import prepare
from sw.ptq.select import select

A, B = (Config(weight=WeightConfig(format=parse(name))) for name in ("int4", "int8"))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(2))
        self.attention = nn.MultiheadAttention(4, 1)
        self.head = nn.Linear(4, 2)


ALL = ["stem", "blocks.0.0", "blocks.0.2", "blocks.1.0", "blocks.1.2", "attention", "head"]


def test_one_config_is_for_all_layers():
    assert list(select(Network(), A, None)) == ALL
    assert {config for _, _, config in select(Network(), A, None).values()} == {A}


def test_the_first_pattern_that_matches_counts():
    chosen = select(Network(), {"head": B, "blocks.*.0": B, "*": A}, None)
    assert list(chosen) == ALL
    assert [name for name, (_, _, config) in chosen.items() if config is B] == ["blocks.0.0", "blocks.1.0", "head"]


def test_layers_without_a_pattern_stay_float():
    assert list(select(Network(), {"blocks.1.*": A, "stem": B}, None)) == ["stem", "blocks.1.0", "blocks.1.2"]


def test_the_filter_sees_layers_and_names():
    chosen = select(Network(), A, lambda module, name: isinstance(module, nn.Linear) and name != "head")
    assert list(chosen) == ["blocks.0.0", "blocks.0.2", "blocks.1.0", "blocks.1.2"]


def test_a_model_can_be_a_layer():
    assert list(select(nn.Linear(2, 2), A, None)) == [""]


def test_a_module_used_twice_is_one_layer():
    layer = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": layer, "b": layer})
    assert list(select(model, A, None)) == ["a"]
    assert list(select(model, {"b": A}, None)) == ["b"]
    with pytest.raises(ValueError, match="Layer 'a' must have one config, not another as 'b', which is the same "):
        select(model, {"a": A, "b": B}, None)


def test_a_name_with_brackets_matches_itself():
    model = nn.ModuleDict({"conv[0]": nn.Linear(2, 2)})
    assert list(select(model, {"conv[0]": A}, None)) == ["conv[0]"]


def _tied():
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6))
    model[1].weight = model[0].weight
    return model


def _pruned(layer, name):
    return prune.l1_unstructured(layer, name, amount=1)


def _with_pruned_output(attention):
    _pruned(attention.out_proj, "weight")
    return attention


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(("model", "config", "error", "message"), [
    (3, A, TypeError, "Model must be a torch.nn.Module, not 'int'"),
    (Network(), "int4", TypeError, "Config must be a Config, or a mapping of layers' names to them, not 'int4'"),
    (Network(), {"head": "int4"}, TypeError,
     "Config must map the name of a layer or a pattern to a Config, not 'head' to 'int4'"),
    (Network(), {3: A}, TypeError, "Config must map the name of a layer or a pattern to a Config, not 3"),
    (Network(), {"*": A, "haed": B}, ValueError,
     "Config pattern must match a layer, not none as 'haed' does; the nearest name is 'head'"),
    (nn.Sequential(nn.ReLU()), {"x*": A}, ValueError, r"Config pattern must match a layer.*; the model has none"),
    (Network(), {"norm": A}, TypeError,
     "Layer 'norm' must be one of Linear, Conv1d, Conv2d, Conv3d, ConvTranspose2d, MultiheadAttention to be quantized, "
     "not BatchNorm2d; take it out of the configs"),
    (nn.Sequential(nn.ReLU()), A, ValueError, r"Model must have layers to quantize \(Linear, .*\), not none"),
    (nn.Sequential(nn.LazyLinear(3)), A, ValueError,
     "Layer '0' must have its shape to be quantized, not be a LazyLinear that has seen no input; run a batch"),
    (nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))), A, ValueError,
     "Layer '0' must have plain parameters to be quantized, not parametrized ones"),
    (nn.Sequential(_pruned(nn.Linear(2, 2), "weight")), A, ValueError,
     "Layer '0' must have weights of its own to be quantized, not a 'weight' that a hook computes for each call; see "
     "torch.nn.utils.prune.remove"),
    (nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(2, 2, 1))), A, ValueError,
     "Layer '0' must have weights of its own to be quantized, not a 'weight' that a hook computes"),
    (nn.Sequential(_pruned(nn.MultiheadAttention(2, 1), "in_proj_weight")), A, ValueError,
     "Layer '0' must have weights of its own to be quantized, not a 'in_proj_weight' that a hook"),
    (nn.Sequential(_pruned(nn.MultiheadAttention(2, 1, kdim=3), "k_proj_weight")), A, ValueError,
     "Layer '0' must have weights of its own to be quantized, not a 'k_proj_weight' that a hook"),
    (nn.Sequential(_with_pruned_output(nn.MultiheadAttention(2, 1))), A, ValueError,
     "Layer '0' must have weights of its own to be quantized, not a 'out_proj.weight' that a hook"),
    (nn.Sequential(Scaled(2, 2)), A, TypeError,
     "Layer '0' must be exactly one of Linear, .* to be quantized, not their subclass Scaled, which may compute"),
    (prepare(nn.Sequential(nn.Linear(2, 2)), A), A, ValueError,
     "Layer '0' must be float to be prepared, not quantized already"),
    (prepare(nn.Sequential(nn.MultiheadAttention(2, 1)), A), A, ValueError, "Layer '0' must be float to be prepared"),
    (_tied(), A, ValueError, "Layer '1' must have weights of its own to be quantized, not share them as 0.weight and "
                             "1.weight; leave it out with filter_fn, or give it a copy"),
])
def test_what_cannot_be_quantized_is_refused(model, config, error, message):
    with pytest.raises(error, match=message):
        select(model, config, None)


def test_what_cannot_be_quantized_can_be_left_out():
    model = nn.Sequential(Scaled(2, 2), nn.Linear(2, 2))
    assert list(select(model, A, lambda module, _: type(module) is nn.Linear)) == ["1"]


def test_a_lazy_layer_that_has_run_is_like_others():
    model = nn.Sequential(nn.LazyLinear(3))
    model(torch.ones(1, 2))
    assert list(select(model, A, None)) == ["0"]


def test_a_wrong_filter_is_refused():
    with pytest.raises(TypeError, match="Layer filter must be callable with a module and its name, not 'head'"):
        select(Network(), A, "head")


def test_a_layer_whose_pruning_is_made_permanent_is_like_others():
    model = nn.Sequential(prune.remove(_pruned(nn.Linear(2, 2), "weight"), "weight"))
    assert list(select(model, A, None)) == ["0"]
