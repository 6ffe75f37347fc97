"""Tracing: what is seen of a model, and what is said of one that cannot be traced."""

import pytest
import torch
from torch import nn

from sw.formats import resolve
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.equalize import Equalization, equalize_
from sw.ptq.graph import check_float, trace
from sw.ptq.merge_batch_norm import merge_batch_norm_
from sw.ptq.quantize import prepare
from sw.ptq.regions import find_regions


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        if y.sum() > 0:  # depends on data
            return y
        return -y


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.inner = nn.Sequential(nn.ReLU(), Branching())
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        return self.last(self.inner(self.first(x)))


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, mask=None, *, curve=False, names=("a", "b")):
        x = self.first(x)
        if mask is not None:
            x = x * mask
        if curve:
            x = torch.tanh(x)
        return self.second(x)


def test_calls_are_seen_by_their_names_in_the_model():
    traced = trace(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))))
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1.0", "1.1"]
    assert traced.calls("1.1") == 1
    assert traced.calls("2") == 0


def test_arguments_with_a_default_keep_it():
    """A symbol in place of None would take the branch that no call without a mask takes."""
    model = Optional()
    assert [(region.source_names, region.sink_names) for region in find_regions(model)] == [(("first",), ("second",))]
    assert "mul" not in str(trace(model).graph)


@pytest.mark.parametrize(("model", "where"), [
    (Outer(), "layer 'inner.1' of type Branching"),
    (Branching(), "its own forward, of type Branching"),
])
@pytest.mark.parametrize("transform", [trace, find_regions, equalize_, merge_batch_norm_])
def test_what_cannot_be_traced_is_named(transform, model, where):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    line = Branching.forward.__code__.co_firstlineno + 2
    with pytest.raises(ValueError, match=rf"Model must be traceable by torch.fx, not stopped in {where}, line {line} "
                       r"of test_graph.py by TraceError: symbolically traced variables cannot .*; name the "
                       r"type of a module that holds this line in leaves=, or leave merging and equalization out: "
                       r"SmoothQuant\(folded=False\) needs no graph"):
        transform(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.seen = None

    def forward(self, x):
        self.seen = self.first(x)
        self.count = 1
        return self.second(self.seen)


def test_no_symbols_stay_in_the_model():
    model = Remembering()
    trace(model)
    assert model.seen is None
    assert not hasattr(model, "count")
    model(torch.ones(2, 4))
    kept = model.seen
    equalize_(model)
    assert model.seen is kept


def test_leaves_are_not_looked_into():
    traced = trace(Outer(), leaves=(Branching,))
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["first", "inner.0", "inner.1",
                                                                                         "last"]
    assert find_regions(Outer(), leaves=(Branching,)) == []
    assert equalize_(Outer(), Equalization(leaves=(Branching,))).sweeps == 0


def test_shared_parameters():
    model = Outer()
    model.last.weight = model.first.weight
    shared = trace(model, leaves=(Branching,)).shared_parameters()
    assert {id(model.first.weight), *(id(p) for p in model.inner.parameters())} == shared


@pytest.mark.parametrize(("call", "message"), [
    (lambda: trace(torch.ones(2)), "Model must be a torch.nn.Module, not 'Tensor'"),
    (lambda: trace(Outer(), leaves=[Branching]), "Leaves must be a tuple of types of modules, not "),
    (lambda: trace(Outer(), leaves=(Branching(),)), "Leaves must be a tuple of types of modules, not "),
    (lambda: Equalization(leaves=(3,)), r"Leaves must be a tuple of types of modules, not \(3,\)"),
])
def test_wrong_arguments(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(("transform", "purpose"), [
    (equalize_, "equalized"), (merge_batch_norm_, "merged with its batch normalizations"),
    (lambda model: check_float(model, "tested"), "tested"),
])
def test_prepared_models_are_refused(transform, purpose):
    fmt = resolve("e3m2").format
    model = prepare(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)),
                    Config(weight=WeightConfig(format=fmt), activation=ActivationConfig(format=fmt)))
    with pytest.raises(ValueError, match=f"Model must be of float layers to be {purpose}, not prepared for "
                       "quantization already as '0' is; do it before prepare"):
        transform(model)


class Positioned(nn.Module):
    """Adds a table, as transformers do: a part of it, which is an attribute of no module."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.register_buffer("gates", torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0]))
        self.register_buffer("positions", torch.linspace(-1, 1, 12).reshape(3, 4))

    def forward(self, x):
        x = self.first(x + self.positions[:2].unsqueeze(0))
        return self.second(x * self.gates.reshape(1, 1, 6))


@torch.no_grad()
def test_tensors_that_a_forward_computes_without_its_arguments_are_constants():
    model = Positioned().eval()
    model.first.weight[0] *= 50
    x = torch.linspace(-2, 2, 16).reshape(2, 2, 4)
    before, attributes = model(x), set(vars(model))
    assert merge_batch_norm_(model) == ()
    equalized = equalize_(model)
    assert [region.source_names for region in equalized.regions] == [("first",)]
    torch.testing.assert_close(model(x), before)
    assert set(vars(model)) == attributes
