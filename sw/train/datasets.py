"""Where images come from: the digits of scikit-learn, and folders in the manner of ImageNet."""

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch

from sw.formats.check import check_integer
from sw.train.images import IMAGENET_MEAN, IMAGENET_STD, ImageFolder
from sw.train.samples import Samples, Split

TEST_SAMPLES = 450
CALIBRATION_SAMPLES = 256
LEVELS = 16


def digits(seed: int = 0) -> Split:
    """Return the digits of scikit-learn as a split that is stratified by class.

    Of the 1,797 images of 8×8 pixels, 1,347 are for training, 256 of those for calibration, and 450 for testing. A
    network trained on the split of one seed is to be tested on that split: another's test images were trained on.

    Parameters
    ----------
    seed : int
        Decides which images are in which part; at least 0.

    Returns
    -------
    Split
        Images of shape (samples, 1, 8, 8), float32 from 0 to 1 in sixteenths; labels from 0 to 9.

    Raises
    ------
    TypeError, ValueError
        If the seed is not an integer of at least 0.
    ImportError
        If scikit-learn is not installed.

    Source
    ------
    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998
    (DOI 10.24432/C50P49), its test set, as ``sklearn.datasets.load_digits`` returns it.
    """
    check_integer("Seed", seed)
    if seed < 0:
        raise ValueError(f"Seed must be at least 0, not {seed!r}")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("Package scikit-learn is not installed; it brings the digits: "
                          "pip install 'narrowgauge[train]'") from error
    data = load_digits()
    everything = Samples(torch.as_tensor(data.images / LEVELS, dtype=torch.float32)[:, None],
                         torch.as_tensor(data.target, dtype=torch.int64))
    # numpy promises the bit stream of a named generator; scikit-learn's and torch's own splits may change.
    generator = np.random.Generator(np.random.PCG64(seed))
    test, train = _stratified(everything.labels.numpy(), TEST_SAMPLES, generator)
    training = everything.subset(train)
    calibration, _ = _stratified(training.labels.numpy(), CALIBRATION_SAMPLES, generator)
    return Split(train=training, calibration=training.subset(calibration), test=everything.subset(test))


def image_folder(path: str | PathLike[str], size: int = 224, *, resize: int | None = None,
                 mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> ImageFolder:
    """Return the images of a folder that has one folder a class, as ImageNet's validation set is usually kept.

    Each image is made RGB, resized so that its shorter side is ``resize`` pixels, cut to its central square, and
    normalised. They are read as they are asked for.

    Parameters
    ----------
    path : str or path
        The folder; its sub-folders, sorted by name, are the classes 0, 1, ….
    size : int
        Height and width of the images returned.
    resize : int, optional
        Shorter side before the cut, at least ``size``; ``size * 256 / 224``, rounded down, if None.
    mean, std : three numbers
        Of the channels red, green and blue from 0 to 1; ImageNet's unless the network was trained with others.

    Returns
    -------
    ImageFolder

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or the folder holds no classes or no images.
    FileNotFoundError
        If there is no such folder.
    ImportError
        If Pillow is not installed.

    Source
    ------
    ``torchvision.transforms.ImageClassification``, with which its published accuracies were measured.
    """
    return ImageFolder(path, size=size, resize=resize, mean=mean, std=std)


def _stratified(labels: "np.ndarray", count: int, generator: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return the indices of ``count`` samples that keep the shares of the classes, and those of the rest."""
    order = generator.permutation(len(labels))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        # A class's samples lie evenly between 0 and 1, so that any first part of all holds its share of each class.
        rank[of_class] = (np.arange(len(of_class)) + generator.random()) / len(of_class)
    ordered = np.argsort(rank, kind="stable")
    return sorted(ordered[:count].tolist()), sorted(ordered[count:].tolist())
