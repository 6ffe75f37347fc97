"""Calibration batches: what they may be, and what is said of others."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from sw.ptq.batches import arguments_of, check_batches, each, evaluating, run


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = []
        self.drop = nn.Dropout()

    def forward(self, x, mask=None):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.calls.append((x, mask))
        return x


X = torch.ones(2, 3)


@pytest.mark.parametrize(("batch", "want"), [
    (X, ((X,), {})), ((X, 1), ((X, 1), {})), ([X], ((X,), {})), ({"x": X}, ((), {"x": X})),
])
def test_a_batch_stands_for_arguments(batch, want):
    assert arguments_of(batch) == want


def test_every_batch_runs_in_evaluation_mode():
    model = Pair().train()
    model.drop.eval()
    done = []
    run(model, [X, (X, X), {"x": X}], lambda count, total: done.append((count, total)))
    assert len(model.calls) == 3
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert model.training
    assert not model.drop.training


def test_a_loader_can_be_gone_through_again():
    model, loader = Pair(), DataLoader([torch.ones(3)] * 4, batch_size=2)
    check_batches(loader)
    for _ in range(2):
        run(model, loader)
    assert len(model.calls) == 4


def test_batches_without_a_length_count_what_is_done():
    class Endless:
        def __iter__(self):
            return iter([X, X])

    done = []
    run(Pair(), Endless(), lambda count, total: done.append((count, total)))
    assert done == [(1, 1), (2, 2)]


def test_modes_come_back_after_an_error():
    model = nn.Sequential(nn.Dropout())

    def fail():
        with evaluating(model):
            assert not model[0].training
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert model.training
    assert model[0].training


def test_masks_may_hold_negative_infinities():
    mask, seen = torch.tensor([0, -torch.inf]), []
    model = Pair()
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    run(model, [(X, mask)])
    assert [torch.equal(given, mask) for given in seen] == [True]


@pytest.mark.parametrize(("batches", "error", "message"), [
    (X, TypeError, r"Batches must be a sequence of batches or a DataLoader, not 'Tensor'; give one batch as \[batch\]"),
    ({"x": X}, TypeError, "Batches must be a sequence of batches or a DataLoader, not 'dict'"),
    (3, TypeError, "Batches must be a sequence of batches or a DataLoader, not 'int'"),
    (iter([X]), TypeError,
     r"Batches must be such that they can be gone through again, not 'list_iterator'; give list\(batches\)"),
    ([], ValueError, "Batches must be at least one, not none"),
    ([X, 3], TypeError, "Batch must be a tensor, a tuple of arguments or a mapping of keyword arguments, not 'int'"),
    ([(X, X, X)], TypeError, r"Batch must suit Pair.forward\(x, mask=None\), not be 3 arguments and \[\], in batch 0 "
                             r"\(too many positional arguments\); leave labels out"),
    ([X, torch.empty(0, 3)], ValueError,
     r"Batch must have elements, not a tensor of shape \(0, 3\), in batch 1"),
    ([torch.tensor([[1, 2], [3, torch.nan]])], ValueError,
     r"Batch must be finite, not nan at \[1, 1\], in batch 0"),
    ([{"x": X, "mask": torch.tensor(torch.inf)}], ValueError, r"Batch must be finite, not inf at \[\], in batch 0"),
])
def test_wrong_batches_are_refused(batches, error, message):
    with pytest.raises(error, match=message), torch.no_grad():
        list(each(Pair(), batches))
