"""Images with labels: what is refused, and how they are divided into batches."""

import pytest
import torch

from sw.train import Samples

IMAGES = torch.arange(10.0).reshape(10, 1, 1, 1)
LABELS = torch.arange(10)


def test_batches_hold_every_sample_once_and_in_order():
    samples = Samples(IMAGES, LABELS)
    for size in (1, 3, 10, 99):
        batches = list(samples.batches(size))
        assert all(len(images) == len(labels) <= size for images, labels in batches)
        assert torch.equal(torch.cat([images for images, _ in batches]), IMAGES)
        assert torch.equal(torch.cat([labels for _, labels in batches]), LABELS)
        assert torch.equal(torch.cat(samples.inputs(size)), IMAGES)


def test_inputs_can_be_gone_through_again():
    inputs = Samples(IMAGES, LABELS).inputs(4)
    assert [len(batch) for batch in inputs] == [len(batch) for batch in inputs] == [4, 4, 2]


def test_subset():
    part = Samples(IMAGES, LABELS).subset([7, 2])
    assert len(part) == 2
    assert part.images.flatten().tolist() == [7, 2]
    assert part.labels.tolist() == [7, 2]


@pytest.mark.parametrize(("images", "labels", "error", "text"), [
    ([1.0], LABELS, TypeError, "Images must be a torch.Tensor, not 'list'; convert with torch.as_tensor"),
    (IMAGES, [1], TypeError, "Labels must be a torch.Tensor, not 'list'"),
    (IMAGES.int(), LABELS, TypeError, "Images must be of a floating-point dtype, not torch.int32"),
    (IMAGES, LABELS.int(), TypeError, "Labels must be of dtype torch.int64, not torch.int32"),
    (IMAGES[:, 0], LABELS, ValueError, r"Images must be of shape .*, not \(10, 1, 1\)"),
    (IMAGES[:0], LABELS[:0], ValueError, r"each at least 1, not \(0, 1, 1, 1\)"),
    (IMAGES, LABELS[:9], ValueError, r"Labels must be of shape \(10,\), one an image, not \(9,\)"),
    (IMAGES, LABELS - 1, ValueError, "Labels must be at least 0, not -1"),
    (IMAGES.where(IMAGES != 4, torch.nan), LABELS, ValueError, "Images must be finite, .* NaN in image 4"),
])
def test_wrong_samples(images, labels, error, text):
    with pytest.raises(error, match=text):
        Samples(images, labels)


@pytest.mark.parametrize("call", [lambda samples: list(samples.batches(0)), lambda samples: samples.inputs(0)])
def test_wrong_batch_size(call):
    with pytest.raises(ValueError, match="Batch size must be at least 1, not 0"):
        call(Samples(IMAGES, LABELS))
