"""Networks of others: from the package that is there, with weights from a file, and never fetched unasked."""

import importlib
import importlib.util
import io
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sw.nn.resnet import resnet18
from sw.train import PUBLISHED, NetworkSource, accuracy, image_folder, pretrained


class Package:
    """Stands in for torchvision and timm, and notes what it was asked for."""

    def __init__(self):
        self.asked = []
        self.models = SimpleNamespace(get_model=lambda name, weights: self.make(name, weights))

    def make(self, name, weights):
        self.asked.append((name, weights))
        return nn.Linear(2, 3)

    def create_model(self, name, pretrained):
        return self.make(name, pretrained)


@pytest.fixture
def packages(monkeypatch):
    """Both packages are there, and neither is the real one."""
    found = {"torchvision": Package(), "timm": Package()}
    find, load = importlib.util.find_spec, importlib.import_module
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: found.get(name) or find(name, *rest))
    monkeypatch.setattr(importlib, "import_module", lambda name, *rest: found.get(name) or load(name, *rest))
    return found


@pytest.fixture
def without(monkeypatch):
    """Return a function that takes packages away."""
    def take(*names):
        find = importlib.util.find_spec
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setattr(importlib.util, "find_spec",
                            lambda name, *rest: None if name in names else find(name, *rest))
    return take


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvision_comes_first_and_nothing_is_fetched(name, packages):
    assert not pretrained(name).training
    assert packages["torchvision"].asked == [(name, None)]
    assert packages["timm"].asked == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_asked_for_is_fetched(name, packages):
    pretrained(name, download=True)
    assert packages["torchvision"].asked == [(name, "IMAGENET1K_V1")]
    pretrained(name, download=True, source=NetworkSource.TIMM)
    assert packages["timm"].asked == [(PUBLISHED[name].timm, True)]


def test_without_packages_our_own_resnet_is_taken(without):
    without("torchvision", "timm")
    model = pretrained("resnet18")
    assert list(model.state_dict()) == list(resnet18().state_dict())
    assert not model.training


def test_timm_is_taken_where_it_is_all_there_is(packages, without):
    without("torchvision")
    pretrained("mobilenet_v2")
    assert packages["timm"].asked == [(PUBLISHED["mobilenet_v2"].timm, False)]


@pytest.mark.parametrize(("name", "mend"), [
    ("vit_b_32", "it brings vit_b_32: pip install torchvision$"),
    ("mobilenet_v2", "it brings mobilenet_v2: pip install torchvision$"),
])
def test_without_packages_the_pip_line_is_said(name, mend, without):
    without("torchvision", "timm")
    with pytest.raises(ImportError, match=f"Package torchvision is not installed, or not for this torch; {mend}"):
        pretrained(name)


def test_our_own_is_named_where_there_is_one(without):
    without("torchvision", "timm")
    with pytest.raises(ImportError, match="or take source=NetworkSource.OWN, which needs no package"):
        pretrained("resnet18", source=NetworkSource.TIMM)


@pytest.mark.parametrize("form", ["plain", "training", "safetensors"])
def test_weights_from_a_file(form, tmp_path):
    torch.manual_seed(5)
    state = resnet18().state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "training" else state, path)
    model = pretrained("resnet18", weights=str(path), source=NetworkSource.OWN)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_counters_of_batch_normalisation_may_be_missing(tmp_path):
    """Files from before they were introduced lack them."""
    state = {key: value for key, value in resnet18().state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "w.pth")
    model = pretrained("resnet18", weights=tmp_path / "w.pth", source=NetworkSource.OWN)
    assert torch.equal(model.fc.weight, state["fc.weight"])


def changed(**changes):
    state = {**resnet18().state_dict(), **changes}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(("changes", "text"), [
    ({"fc.bias": None}, r"Weights must be those of resnet18, not of another network \('fc.bias' is missing; "
                        r"1 missing and 0 unknown in all\): .*torchvision's and timm's differ"),
    ({"head.bias": torch.zeros(1), "fc.bias": None}, "'fc.bias' is missing and 'head.bias' is unknown"),
    ({"fc.bias": torch.zeros(10)}, r"Weights 'fc.bias' must be of shape \(1000,\), not \(10,\)"),
    ({"fc.bias": torch.full((1000,), torch.nan)}, "Weights 'fc.bias' must be finite, not with an infinity or a NaN"),
])
def test_weights_of_another_network(changes, text, tmp_path):
    torch.save(changed(**changes), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=text):
        pretrained("resnet18", weights=tmp_path / "w.pth", source=NetworkSource.OWN)


@pytest.mark.parametrize(("suffix", "content", "text"), [
    (".pth", b"nothing of the kind", "Weights must be a file of torch.save or safetensors, not .*w.pth"),
    (".pth", b"", "Weights must be a file of torch.save or safetensors, not .*w.pth"),
    (".safetensors", b"nothing of the kind", "Weights must be a file of torch.save or safetensors, not .*w.safetens"),
    (".pth", [1, 2], "Weights must be a mapping from names to tensors, not 'list'.*; save the model's state_dict"),
])
def test_files_that_are_no_weights(suffix, content, text, tmp_path):
    path = tmp_path / f"w{suffix}"
    if not isinstance(content, bytes):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        content = buffer.getvalue()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        pretrained("resnet18", weights=path, source=NetworkSource.OWN)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Weights must be a file, not .*none.pth"):
        pretrained("resnet18", weights=tmp_path / "none.pth", source=NetworkSource.OWN)


def test_without_safetensors_the_pip_line_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(ImportError, match="safetensors is not installed; .*: pip install safetensors"):
        pretrained("resnet18", weights=tmp_path / "w.safetensors", source=NetworkSource.OWN)


@pytest.mark.parametrize(("arguments", "error", "text"), [
    ({"name": "resnet50"}, ValueError, "Network name must be one of resnet18, mobilenet_v2, vit_b_32, not 'resnet50'"),
    ({"name": 18}, TypeError, "Network name must be a str, not 18"),
    ({"name": "resnet18", "download": 1}, TypeError, "Download must be True or False, not 1"),
    ({"name": "resnet18", "source": "timm"}, TypeError, "Source must be a NetworkSource, not 'timm'"),
    ({"name": "resnet18", "download": True, "weights": "w"}, ValueError,
     "Weights must be None where they are downloaded, not 'w'"),
    ({"name": "vit_b_32", "source": NetworkSource.OWN}, ValueError, "Source must be TORCHVISION or TIMM for vit_b_32"),
    ({"name": "resnet18", "source": NetworkSource.OWN, "download": True}, ValueError,
     "Source must be TORCHVISION or TIMM for a download, not .*OWN; or name a file of weights"),
])
def test_wrong_requests(arguments, error, text):
    with pytest.raises(error, match=text):
        pretrained(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize("source", [NetworkSource.TORCHVISION, NetworkSource.TIMM])
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_networks_of_the_packages_run_on_a_folder_of_images(name, source, tmp_path):
    """Random weights, two classes of one image each."""
    pytest.importorskip(source.value, reason=f"{source.value} is not installed, or not for this torch",
                        exc_type=(ImportError, RuntimeError))
    image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for index, colour in enumerate(("red", "green")):
        (tmp_path / colour).mkdir()
        image_module.new("RGB", (300, 260 + index), colour).save(tmp_path / colour / "image.png")
    torch.manual_seed(0)
    model = pretrained(name, source=source)
    samples = image_folder(tmp_path)
    assert 0 <= accuracy(model, samples) <= 1
    torch.save(model.state_dict(), tmp_path / "w.pth")
    again = pretrained(name, source=source, weights=tmp_path / "w.pth")
    (images, _), = samples.batches()
    with torch.no_grad():
        assert torch.equal(model(images), again(images))
