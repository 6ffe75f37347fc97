"""Images in folders, one folder a class, read and normalised one batch at a time."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sw.formats.check import check_integer
from sw.ptq.checks import check_count
from sw.train.samples import Batch, Samples

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Endings of files that are taken for images, in any case: those that torchvision's ``ImageFolder`` takes."""

_RESIZE = (256, 224)


class ImageFolder:
    """The images of a folder; see :func:`sw.train.image_folder`, which documents the arguments.

    A sequence of pairs of an image, float32 of shape (3, size, size), and its class, an int: a ``DataLoader`` takes
    it as a data set.
    """

    def __init__(self, path: str | PathLike[str], *, size: int = 224, resize: int | None = None,
                 mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        check_count("Image size", size)
        if resize is None:
            resize = size * _RESIZE[0] // _RESIZE[1]
        check_integer("Resized size", resize)
        if resize < size:
            raise ValueError(f"Resized size must be at least the image size {size}, not {resize!r}")
        self._size, self._resize = size, resize
        self._mean, self._std = _channels("Mean", mean), _channels("Standard deviation", std)
        if float(self._std.min()) <= 0:
            raise ValueError(f"Standard deviation must be above 0, not {std!r}")
        _pillow()
        self._path = Path(path)
        self._classes, self._files = _found(self._path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, each at the index that is its label."""
        return self._classes

    @property
    def files(self) -> tuple[tuple[Path, int], ...]:
        """The images' files with their labels, in order of class and name."""
        return self._files

    def __repr__(self) -> str:
        return f"ImageFolder({str(self._path)!r}, size={self._size}, {len(self)} images, {len(self._classes)} classes)"

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image and its label.

        Raises
        ------
        IndexError
            If there is no such image.
        ValueError
            If its file is damaged, with the path of it.
        """
        file, label = self._files[index]
        pixels = _read(file, self._size, self._resize)
        return (pixels.permute(2, 0, 1).float() / 255 - self._mean) / self._std, label

    def batches(self, batch_size: int = 256) -> Iterator[Batch]:
        """Yield images and labels in order, ``batch_size`` at a time; the last batch may be smaller."""
        check_count("Batch size", batch_size)
        for first in range(0, len(self), batch_size):
            part = self.load(range(first, min(first + batch_size, len(self))))
            yield part.images, part.labels

    def load(self, indices: Sequence[int]) -> Samples:
        """Return the images at ``indices`` in memory, ``size**2 * 12`` bytes each.

        Raises
        ------
        IndexError, ValueError
            If there is no such image, none at all, or one is damaged.
        """
        if not len(indices):
            raise ValueError(f"Image indices must not be empty, not {indices!r}")
        pairs = [self[index] for index in indices]
        return Samples(torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs]))

    def sample(self, count: int, seed: int = 0) -> Samples:
        """Return ``count`` different images in memory, chosen by a seed: what scales are calibrated on.

        Raises
        ------
        TypeError, ValueError
            If there are not so many, or an image is damaged.
        """
        check_count("Image count", count)
        check_integer("Seed", seed)
        if count > len(self):
            raise ValueError(f"Image count must be at most {len(self)}, the images in {str(self._path)!r}, "
                             f"not {count!r}")
        generator = np.random.Generator(np.random.PCG64(seed))
        return self.load(sorted(generator.permutation(len(self))[:count].tolist()))


def _channels(noun: str, values: Sequence[float]) -> Tensor:
    """Return three numbers as a tensor of shape (3, 1, 1)."""
    if isinstance(values, str) or len(values) != 3:
        raise ValueError(f"{noun} must be three numbers, not {values!r}")
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise TypeError(f"{noun} must be three numbers, not {values!r}")
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Package Pillow is not installed; it reads images: "
                          "pip install 'narrowgauge[train]'") from error
    return Image


def _found(folder: Path) -> tuple[tuple[str, ...], tuple[tuple[Path, int], ...]]:
    """Return the names of the classes, and the files with their labels."""
    if not folder.is_dir():
        raise FileNotFoundError(f"Image folder must be a folder, not {str(folder)!r}")
    # What a desktop or an archiver leaves behind begins with a dot; it is no class.
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if {"train", "val"} <= {entry.name for entry in classes}:
        raise ValueError(f"Image folder must hold one folder a class, not 'train' and 'val': {str(folder)!r}; "
                         f"name one of the two, such as {str(folder / 'val')!r}")
    if not classes:
        raise ValueError(f"Image folder must hold one folder a class, not none: {str(folder)!r}")
    files: list[tuple[Path, int]] = []
    for label, entry in enumerate(classes):
        images = sorted(path for path in entry.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
                        and not path.name.startswith("."))
        if not images:
            raise ValueError(f"Class folder must hold images ({', '.join(SUFFIXES)}), not none: {str(entry)!r}")
        files += [(image, label) for image in images]
    return tuple(entry.name for entry in classes), tuple(files)


def _read(file: Path, size: int, resize: int) -> Tensor:
    """Return an image as a uint8 tensor of shape (size, size, 3)."""
    pillow = _pillow()
    try:
        with pillow.open(file) as image:
            rgb = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise ValueError(f"Image must be a readable picture, not {str(file)!r} ({error}); replace or remove the "
                         "file") from error
    width, height = rgb.size
    shorter = min(width, height)
    # The longer side is rounded down and the cut is rounded to even, as torchvision does: other pixels, other accuracy.
    scaled = (resize * width // shorter, resize * height // shorter)
    if scaled != rgb.size:
        rgb = rgb.resize(scaled, pillow.Resampling.BILINEAR)
    left, top = (round((length - size) / 2) for length in scaled)
    cut = rgb.crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(cut, dtype=np.uint8))
