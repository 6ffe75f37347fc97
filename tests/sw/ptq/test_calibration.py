"""Sums over calibration inputs against the formulas on all of them at once."""

import pytest
import torch
from torch import nn

from sw.ptq import Calibration, calibrating


def inputs_of(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_batches_add_up_to_the_whole():
    x = inputs_of(60, 7)
    calibration = Calibration(7)
    calibration.add(x[:10])
    calibration.add(x[10:50].reshape(2, 20, 7))
    calibration.add(x[50])
    calibration.add(x[51:].to(torch.float64))
    assert calibration.samples == 60
    assert calibration.features == 7
    whole = x.to(torch.float64)
    torch.testing.assert_close(calibration.norms, whole.norm(dim=0), rtol=1e-13, atol=0)
    torch.testing.assert_close(calibration.second_moments, whole.T @ whole, rtol=0, atol=1e-12)
    assert calibration.norms.dtype == calibration.second_moments.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_are_in_float64_whatever_the_type_of_the_inputs(dtype):
    """A float16 square of 300 is infinite, and 4096 + 1 is 4096 in bfloat16."""
    calibration = Calibration(1)
    calibration.add(torch.full((4097, 1), 300, dtype=dtype))
    assert calibration.second_moments.item() == 4097 * 300**2


def test_a_layer_is_watched_while_its_model_runs():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    x = inputs_of(20, 5)
    with calibrating(model[2]) as calibration:
        model(x)
        model(x[:4])
    model(x)
    assert calibration.samples == 24
    hidden = torch.relu(model[0](x)).detach().to(torch.float64)
    moments = hidden.T @ hidden + hidden[:4].T @ hidden[:4]
    torch.testing.assert_close(calibration.second_moments, moments, rtol=1e-6, atol=1e-6)


def test_the_hook_goes_even_when_the_model_fails():
    layer = nn.Linear(4, 2)
    with pytest.raises(ValueError, match="Calibration inputs must be finite"), calibrating(layer):
        layer(torch.full((1, 4), torch.nan))
    assert layer(torch.full((1, 4), torch.nan)).shape == (1, 2)


def test_norms_alone():
    calibration = Calibration(3, second_moments=False)
    calibration.add(torch.tensor([[3.0, 0, 5], [4, 0, 12]]))
    assert calibration.norms.tolist() == [5, 0, 13]
    with pytest.raises(ValueError, match="Calibration must have second moments, not the norms alone; make it with"):
        _ = calibration.second_moments


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: Calibration(0), ValueError, "Feature count must be at least 1, not 0"),
    (lambda: Calibration(3.0), TypeError, "Feature count must be an integer, not 3.0"),
    (lambda: Calibration(3, second_moments=1), TypeError, "Second moments must be True or False, not 1"),
    (lambda: Calibration(3).norms, ValueError, "Calibration must have samples, not 0; give it"),
    (lambda: Calibration(3).second_moments, ValueError, "Calibration must have samples, not 0; give it"),
    (lambda: Calibration(3).add([1, 2, 3]), TypeError, "Calibration inputs must be a torch.Tensor, not 'list'"),
    (lambda: Calibration(3).add(torch.ones(3, dtype=torch.int32)), TypeError,
     "Calibration inputs must be of a floating-point dtype, not torch.int32"),
    (lambda: Calibration(3).add(torch.ones(3, 4)), ValueError,
     r"Calibration inputs must be of shape \(..., 3\), not \(3, 4\)"),
    (lambda: Calibration(3).add(torch.tensor(1.0)), ValueError,
     r"Calibration inputs must be of shape \(..., 3\), not \(\)"),
    (lambda: calibrating(nn.Conv2d(1, 1, 1)).__enter__(), TypeError, "Layer must be a torch.nn.Linear, not 'Conv2d'"),
])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
