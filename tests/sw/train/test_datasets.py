"""The digits, and how they are divided."""

import sys

import numpy as np
import pytest
import torch

from sw.train import digits


@pytest.fixture(scope="module")
def split():
    return digits(0)


def test_sizes_types_and_range(split):
    assert [len(part) for part in (split.train, split.calibration, split.test)] == [1347, 256, 450]
    for part in (split.train, split.calibration, split.test):
        assert part.images.shape[1:] == (1, 8, 8)
        assert part.images.dtype == torch.float32
        assert float(part.images.min()) == 0
        assert float(part.images.max()) == 1
        assert torch.equal(part.images * 16, (part.images * 16).round())
        assert sorted(set(part.labels.tolist())) == list(range(10))


def rows(samples):
    return {(*image.flatten().tolist(), label) for image, label in zip(samples.images, samples.labels.tolist(),
                                                                      strict=True)}


def test_train_and_test_share_nothing_and_hold_everything(split):
    from sklearn.datasets import load_digits

    data = load_digits()
    everything = {(*(image / 16).flatten().tolist(), label) for image, label in zip(data.images, data.target.tolist(),
                                                                                   strict=True)}
    assert rows(split.train) | rows(split.test) == everything
    assert not rows(split.train) & rows(split.test)
    assert rows(split.calibration) < rows(split.train)


@pytest.mark.parametrize("seed", range(4))
def test_every_part_has_its_share_of_each_class(seed):
    found = digits(seed)
    shares = np.bincount(torch.cat([found.train.labels, found.test.labels]).numpy()) / 1797
    for part in (found.train, found.calibration, found.test):
        counts = np.bincount(part.labels.numpy(), minlength=10)
        assert np.abs(counts - shares * len(part)).max() <= 2, counts


def test_the_seed_decides(split):
    assert torch.equal(digits(0).test.images, split.test.images)
    assert torch.equal(digits(0).calibration.images, split.calibration.images)
    assert not torch.equal(digits(1).test.images, split.test.images)


@pytest.mark.parametrize(("seed", "error", "text"), [
    (-1, ValueError, "Seed must be at least 0, not -1"), (0.5, TypeError, "Seed must be an integer, not 0.5")])
def test_wrong_seed(seed, error, text):
    with pytest.raises(error, match=text):
        digits(seed)


def test_without_scikit_learn_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="scikit-learn is not installed; it brings the digits: "
                                          r"pip install 'narrowgauge\[train\]'"):
        digits()
