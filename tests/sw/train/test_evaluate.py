"""Accuracy and predictions, on models whose answers are known."""

import pytest
import torch
from torch import nn

from sw.train import Samples, accuracy, logits, predictions

SAMPLES = Samples(torch.arange(20.0).reshape(20, 1, 1, 1), torch.arange(20) % 4)


class Remainder(nn.Module):
    """Says of a number its remainder by ``modulus``; of a batch of another mode it says nothing."""

    def __init__(self, modulus):
        super().__init__()
        self.modulus = modulus
        self.norm = nn.BatchNorm2d(1)
        self.dropout = nn.Dropout()

    def forward(self, x):
        assert not self.norm.training
        assert not torch.is_grad_enabled()
        return nn.functional.one_hot(self.dropout(x).flatten().long() % self.modulus, 4).float()


@pytest.mark.parametrize(("modulus", "want"), [(4, 1.0), (2, 0.5), (1, 0.25)])
@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_accuracy(modulus, want, batch_size):
    assert accuracy(Remainder(modulus), SAMPLES, batch_size) == want


def test_predictions_and_logits_are_in_order():
    model = Remainder(2)
    assert predictions(model, SAMPLES, 3).tolist() == [0, 1] * 10
    assert torch.equal(logits(model, SAMPLES, 3), logits(model, SAMPLES))
    assert logits(model, SAMPLES).shape == (20, 4)


def test_modes_are_left_as_they_were():
    model = Remainder(4)
    model.train()
    model.norm.eval()
    accuracy(model, SAMPLES)
    assert model.training
    assert model.dropout.training
    assert not model.norm.training


class Says(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(("function", "error", "text"), [
    (lambda x: (x,), TypeError, "Model output must be a torch.Tensor of logits, not 'tuple'"),
    (lambda x: x, ValueError, r"Model output must be of shape \(8, classes\), not \(8, 1, 1, 1\)"),
    (lambda x: x[:1, 0, 0], ValueError, r"Model output must be of shape \(8, classes\), not \(1, 1\)"),
    (lambda x: x[:, 0, 0].where(x[:, 0, 0] != 13, torch.nan), ValueError,
     r"Model output must be finite, not \[nan\] for sample 13"),
])
def test_wrong_outputs(function, error, text):
    with pytest.raises(error, match=text):
        accuracy(Says(function), SAMPLES, 8)
