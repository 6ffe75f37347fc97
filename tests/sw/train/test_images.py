"""Folders of images, beside torchvision's loader and transform where that is installed."""

import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sw.train import accuracy, image_folder

image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

SIZES = ((40, 30), (30, 41), (32, 32), (28, 77))


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images each; width and height differ."""
    generator = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        path = tmp_path / ("cat" if index < 2 else "dog") / f"{index}.{'png' if index % 2 else 'JPEG'}"
        path.parent.mkdir(exist_ok=True)
        image_module.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "dog" / "._3.png").write_bytes(b"a desktop's leftover")
    return tmp_path


def test_classes_and_labels_are_sorted_by_name(folder):
    found = image_folder(folder, 28)
    assert found.classes == ("cat", "dog")
    assert [(path.name, label) for path, label in found.files] == [("0.JPEG", 0), ("1.png", 0), ("2.JPEG", 1),
                                                                   ("3.png", 1)]
    assert found.path == folder
    assert repr(found) == f"ImageFolder({str(folder)!r}, size=28, 4 images, 2 classes)"


def test_images_are_cut_and_normalised(folder):
    image_module.new("RGB", (64, 32), (255, 0, 51)).save(folder / "cat" / "0.JPEG", quality=100, subsampling=0)
    image, label = image_folder(folder, 16, resize=20)[0]
    assert label == 0
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.float32
    want = (torch.tensor([1, 0, 0.2]) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(image.mean((1, 2)), want, atol=0.02)


def test_an_image_of_the_size_itself_is_not_changed(folder):
    pixels = np.asarray(image_module.open(folder / "cat" / "1.png"))
    image, _ = image_folder(folder, 30, resize=30, mean=(0, 0, 0), std=(1, 1, 1))[1]
    want = torch.from_numpy(pixels[round((41 - 30) / 2):][:30].copy()).permute(2, 0, 1) / 255
    assert torch.equal(image, want)


def test_grey_and_palette_images_become_rgb(folder):
    for mode in ("L", "P", "CMYK"):
        image_module.new(mode, (40, 40)).save(folder / "dog" / "0.tif")
        assert image_folder(folder, 28)[2][0].shape == (3, 28, 28)


def test_the_shorter_side_is_256_for_224(folder):
    found = image_folder(folder)
    assert found._resize == 256
    assert found[0][0].shape == (3, 224, 224)
    assert image_folder(folder, 112)._resize == 128


def test_batches_and_loader(folder):
    found = image_folder(folder, 28)
    batches = list(found.batches(3))
    assert [len(images) for images, _ in batches] == [3, 1]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 0, 1, 1]
    (images, labels), = DataLoader(found, batch_size=4)
    assert torch.equal(images, torch.cat([images for images, _ in batches]))
    assert labels.tolist() == [0, 0, 1, 1]


def test_a_sample_is_chosen_by_its_seed(folder):
    found = image_folder(folder, 28)
    assert torch.equal(found.sample(3, 1).images, found.sample(3, 1).images)
    assert sorted(found.sample(4).labels.tolist()) == [0, 0, 1, 1]
    assert len({tuple(found.sample(2, seed).labels.tolist()) for seed in range(20)}) == 3


def test_accuracy_on_a_folder(folder):
    class First(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([1.0, 0.0]).expand(len(x), 2)

    assert accuracy(First(), image_folder(folder, 28), batch_size=3) == 0.5


def test_equals_torchvision(folder):
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed, or not for this torch",
                                   exc_type=(ImportError, RuntimeError))
    from torchvision.transforms import _presets

    (folder / ".hidden").rmdir()  # which it would take for a class
    for size, resize in ((28, 32), (24, 24), (224, 256)):
        theirs = datasets.ImageFolder(folder, _presets.ImageClassification(crop_size=size, resize_size=resize),
                                      is_valid_file=lambda name: "._" not in name and not name.endswith("txt"))
        ours = image_folder(folder, size, resize=resize)
        assert len(ours) == len(theirs)
        for (image, label), (want, target) in zip(ours, theirs, strict=True):
            assert label == target
            assert torch.allclose(image, want, atol=1e-6), (size, resize)


def test_a_damaged_image_is_named(folder):
    path = folder / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="Image must be a readable picture, not .*3.png.* replace or remove the file"):
        list(image_folder(folder, 28).batches())
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="Image must be a readable picture, not .*3.png"):
        image_folder(folder, 28)[3]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Image folder must be a folder, not .*nowhere"):
        image_folder(tmp_path / "nowhere")


def test_folders_without_classes_or_images(folder, tmp_path):
    with pytest.raises(ValueError, match="Image folder must hold one folder a class, not none: .*cat"):
        image_folder(folder / "cat")
    (folder / "emu").mkdir()
    with pytest.raises(ValueError, match=r"Class folder must hold images \(.jpg, .*\), not none: .*emu"):
        image_folder(folder)


def test_the_folder_above_train_and_val_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match="not 'train' and 'val': .*; name one of the two, such as .*val"):
        image_folder(tmp_path)


@pytest.mark.parametrize(("arguments", "error", "text"), [
    ({"size": 0}, ValueError, "Image size must be at least 1, not 0"),
    ({"size": 28, "resize": 27}, ValueError, "Resized size must be at least the image size 28, not 27"),
    ({"resize": 300.0}, TypeError, "Resized size must be an integer, not 300.0"),
    ({"mean": (1, 2)}, ValueError, r"Mean must be three numbers, not \(1, 2\)"),
    ({"mean": "rgb"}, ValueError, "Mean must be three numbers, not 'rgb'"),
    ({"std": (1, 1, None)}, TypeError, r"Standard deviation must be three numbers, not \(1, 1, None\)"),
    ({"std": (1, 0, 1)}, ValueError, r"Standard deviation must be above 0, not \(1, 0, 1\)"),
])
def test_wrong_arguments(folder, arguments, error, text):
    with pytest.raises(error, match=text):
        image_folder(folder, **arguments)


def test_wrong_samples(folder):
    found = image_folder(folder, 28)
    with pytest.raises(ValueError, match="Image count must be at most 4, the images in .*, not 5"):
        found.sample(5)
    with pytest.raises(ValueError, match=r"Image indices must not be empty, not \[\]"):
        found.load([])
    with pytest.raises(IndexError):
        found[4]


def test_without_pillow_the_pip_line_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"Pillow is not installed; it reads images: "
                                          r"pip install 'narrowgauge\[train\]'"):
        image_folder(folder)
