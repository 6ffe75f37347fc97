"""Real networks are trained once, quantized as the task says, and the user's own are taken with their own data."""

import dataclasses
import sys

import pytest

from synth.errors import StorageError, ToolMissing, UsageError
from synth.explore.evaluator import Task, uniform
from synth.explore.network_evaluator import NETWORKS, NetworkEvaluator, check_model, own_model
from synth.explore.space import Choice

torch = pytest.importorskip("torch", reason="torch is not installed")


def choice(name, **changes):
    return Choice(weight=name, activation=name, **changes)


def task(name, technique="plain", seed=1):
    return Task(seed=seed, assignment=uniform(choice(name)), technique=technique)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """An evaluator of a network that was trained for three epochs only."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sw.train import recipes
    from synth.explore import network_evaluator

    patch = pytest.MonkeyPatch()
    patch.setenv("NARROWGAUGE_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in NETWORKS:
        patch.setitem(recipes.RECIPES, name, dataclasses.replace(recipes.RECIPES[name], epochs=3))
    network_evaluator._load.cache_clear()
    yield NetworkEvaluator(model="digits-cnn")
    network_evaluator._load.cache_clear()
    patch.undo()


def test_the_names_are_those_of_the_library():
    from sw.train import NAMES

    assert NETWORKS == NAMES


def test_a_network_is_prepared_with_its_layers_and_digest(digits):
    first, again, other = digits.prepare(1), digits.prepare(1), digits.prepare(2)
    assert first == again
    assert first.digest != other.digest
    assert 0.5 < first.accuracy <= 1
    assert [(layer.name, layer.terms) for layer in first.layers] == [("0", 9), ("2", 72), ("4", 144), ("7", 64)]
    assert first.names == first.owners == ("0", "2", "4", "7")


def test_wide_formats_keep_the_accuracy_and_narrow_ones_do_not(digits):
    float_accuracy = digits.prepare(1).accuracy
    wide, narrow = digits.accuracy(task("float16")), digits.accuracy(task("int2"))
    assert wide == pytest.approx(float_accuracy, abs=0.003)
    assert narrow < float_accuracy - 0.1


def test_the_accuracy_is_that_of_the_library(digits):
    import copy

    from sw.formats import parse
    from sw.ptq.config import ActivationConfig, Config, WeightConfig
    from sw.ptq.quantize import quantize_
    from sw.ptq.recipe import Recipe
    from sw.train import accuracy, trained
    from sw.train import digits as digits_of

    split, int4 = digits_of(1), parse("int4")
    model = copy.deepcopy(trained("digits-cnn", seed=1))
    quantize_(model, Config(weight=WeightConfig(format=int4), activation=ActivationConfig(format=int4)),
              batches=split.calibration.inputs(), recipe=Recipe.paper())
    assert digits.accuracy(task("int4", "paper")) == accuracy(model, split.test)


def test_layers_have_formats_of_their_own(digits):
    mixed = Task(seed=1, technique="plain", assignment=(
        ("0", choice("int8")), ("2", choice("int8")), ("4", choice("int8")), ("7", choice("int2"))))
    assert digits.accuracy(task("int2")) != digits.accuracy(mixed) != digits.accuracy(task("int8"))


def test_scales_may_be_powers_of_two(digits):
    assignment = uniform(choice("fixed<3,2>", power_of_two=True))
    got = digits.accuracy(Task(seed=1, assignment=assignment, technique="plain"))
    assert got != digits.accuracy(task("fixed<3,2>"))


def test_evaluations_leave_no_trace(digits):
    before = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    first = digits.accuracy(task("int3", "gptq"))
    assert digits.accuracy(task("int3", "gptq")) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_projections_belong_to_their_attention(digits):
    prepared = NetworkEvaluator(model="digits-vit").prepare(1)
    attention = [owner for layer, owner in zip(prepared.layers, prepared.owners, strict=True)
                 if "attention." in layer.name]
    assert len(attention) == 8
    assert {owner.rpartition(".")[2] for owner in attention} == {"attention"}
    assert len(prepared.names) == len(prepared.layers) - 6
    everywhere = Task(seed=1, technique="plain", assignment=tuple((name, choice("int3")) for name in prepared.names))
    evaluator = NetworkEvaluator(model="digits-vit")
    assert evaluator.accuracy(everywhere) == evaluator.accuracy(task("int3"))


def test_the_identity_names_code_and_libraries():
    identity = NetworkEvaluator(model="digits-cnn").identity()
    assert set(identity) == {"library", "libraries"}
    assert len(identity["library"]) == 64
    assert identity["libraries"]["torch"] == torch.__version__.partition("+")[0] or "torch" in identity["libraries"]


# Models of the user's own

_MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))

def net():
    return Net()

def number():
    return 7

def lame():
    net = Net()
    nn.init.constant_(net.head.weight, float("nan"))
    return net

def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(7, 2))

def twisted():
    class Twisted(Net):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else super().forward(-x)
    return Twisted()

def broken():
    raise RuntimeError("no weights here")

value = 3
"""


@pytest.fixture
def own(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / "model.py").write_text(_MODEL)
    for index, kind in enumerate(("dark", "light")):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(4):
            grey = image.new("RGB", (40, 40), (60 + 120 * index + number,) * 3)
            grey.save(tmp_path / "data" / kind / f"{number}.png")
    return NetworkEvaluator(model=f"{tmp_path / 'model.py'}:net", data=str(tmp_path / "data"), size=32)


def test_a_model_of_the_users_own(own):
    prepared = own.prepare(3)
    assert prepared.names == ("conv", "head")
    assert prepared.digest == own.prepare(3).digest != own.prepare(4).digest
    assert 0 <= own.accuracy(task("int8", seed=3)) <= 1


def test_digests_are_of_the_bytes_of_any_type():
    from synth.explore.network_evaluator import _digest

    def digest(dtype, value):
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).to(dtype)
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, value)
        return _digest(model).hexdigest()

    found = [digest(dtype, value) for dtype in (torch.float32, torch.bfloat16) for value in (0.5, 0.75)]
    assert len(set(found)) == 4
    assert digest(torch.bfloat16, 0.5) == found[2]


def test_another_forward_is_another_network(own, tmp_path):
    from synth.explore.network_evaluator import _load

    before = own.prepare(3)
    changed = _MODEL.replace("self.conv(x).mean((2, 3))", "self.conv(x).amax((2, 3))")
    assert changed != _MODEL
    (tmp_path / "model.py").write_text(changed + "# another length, so that no compiled file is taken for it\n")
    _load.cache_clear()
    assert own.prepare(3).digest != before.digest


def test_a_model_of_the_users_own_is_tested_on_what_it_was_not_calibrated_on(own):
    from synth.explore.network_evaluator import _load

    loaded = _load(own, 3)
    assert (sum(map(len, loaded.calibration)), len(loaded.test)) == (4, 4)
    images = [image for batch, _ in loaded.test.batches(3) for image in batch]
    assert len(images) == 4
    assert not any(torch.equal(image, other) for image in images for batch in loaded.calibration for other in batch)


@pytest.mark.parametrize(("name", "message"), [
    ("lame", r"Model must give finite logits for images of shape \(1, 3, 32, 32\), not fail: Model output must be "
             "finite"),
    ("narrow", r"not fail: mat1 and mat2 shapes cannot be multiplied .*; --size cuts images to another size"),
])
def test_a_model_that_does_not_run_is_refused(own, name, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(own, model=own.model.replace(":net", f":{name}")).prepare(1)


def test_a_layer_that_cannot_be_quantized_is_named(own):
    lame = Task(seed=1, technique="plain", assignment=(("conv", choice("int8")), ("heed", choice("int8"))))
    with pytest.raises(ValueError, match="head"):
        own.accuracy(lame)


def test_a_technique_that_needs_a_graph_refuses_a_model_without_one(own):
    twisted = dataclasses.replace(own, model=own.model.replace(":net", ":twisted"))
    assert 0 <= twisted.accuracy(task("int8", seed=1)) <= 1
    with pytest.raises(ValueError, match="(?i)trac"):
        twisted.accuracy(task("int8", "equalized", seed=1))


@pytest.mark.parametrize(("name", "message"), [
    ("number", "Model must be a torch.nn.Module, not the int that '.*model.py:number' returns"),
    ("broken", "Model must be made by '.*model.py:broken' without an error, not with RuntimeError: no weights here"),
    ("value", "Model must name a function of '.*model.py', not 'value'"),
    ("missing", "Model must name a function of '.*model.py', not 'missing'"),
])
def test_what_makes_no_model_is_refused(own, name, message):
    with pytest.raises(UsageError, match=message):
        own_model(own.model.replace(":net", f":{name}"))


def test_a_model_file_with_an_error_is_refused(tmp_path):
    (tmp_path / "bad.py").write_text("import nothing_of_this_name")
    with pytest.raises(UsageError, match="without an error, not with ModuleNotFoundError: No module named"):
        own_model(f"{tmp_path / 'bad.py'}:net")


def test_a_missing_model_file_is_refused(tmp_path):
    with pytest.raises(StorageError, match="Model file must be a file that can be read, not '.*gone.py'"):
        own_model(f"{tmp_path / 'gone.py'}:net")


def test_a_folder_without_classes_is_refused(own, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="Image folder must hold one folder a class, not none"):
        dataclasses.replace(own, data=str(tmp_path / "empty")).prepare(1)


def test_a_single_image_is_not_enough(own, tmp_path):
    (tmp_path / "one" / "class").mkdir(parents=True)
    (tmp_path / "data" / "dark" / "0.png").rename(tmp_path / "one" / "class" / "0.png")
    with pytest.raises(UsageError, match="Image folder must hold at least 2 images, some to calibrate on and some to "
                                         "test on, not 1"):
        dataclasses.replace(own, data=str(tmp_path / "one")).prepare(1)


def test_a_damaged_image_is_named(own, tmp_path):
    for path in (tmp_path / "data").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"\.png"):
        own.prepare(1)


def test_without_pillow_the_pip_line_is_said(own, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ToolMissing, match=r"Tool Pillow is not installed; it reads images: pip install "
                                          r"'narrowgauge\[train\]'"):
        own.prepare(77)


@pytest.mark.parametrize(("model", "data", "message"), [
    ("digits-cn", None, "Model must be one of digits-cnn, .*, not 'digits-cn'; did you mean digits-cnn?"),
    ("resnet", None, "Model must be one of digits-cnn, digits-residual, digits-vit, path.py:function, not 'resnet'"),
    ("digits-cnn", "images", "Data must be left out for 'digits-cnn', which has its own, not 'images'"),
    ("net.py:make", None, "Data must be given for a model of your own, not left out: --data FOLDER with one folder of "
                          "images a class, for 'net.py:make'"),
])
def test_a_wrong_model_is_refused(model, data, message):
    with pytest.raises(UsageError, match=message):
        check_model(model, data)


def test_right_models_pass():
    assert check_model("digits-vit", None) == check_model("Digits-ViT", None) == "digits-vit"
    assert check_model("Net.py:make", "images") == "Net.py:make"
