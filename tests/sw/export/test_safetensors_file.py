"""Saving a quantized model and loading it into the float one."""

import copy
import hashlib
import importlib.metadata
import json
import os

import jsonschema
import pytest
import safetensors.torch
import torch
from torch import nn

from sw.export import SCHEMA_FILE, load_safetensors, save_safetensors
from sw.export.safetensors_file import METADATA_KEY, _add_parts, read_safetensors
from sw.formats import parse_any
from sw.ptq.config import Granularity, ScaleRule, ScaleSearch, ScaleStatistic
from sw.ptq.quantize import prepare, quantize_, quantized_layers
from sw.ptq.recipe import Recipe
from sw.ptq.smoothquant import SmoothQuant
from sw.ptq.tensor_quantizer import TensorQuantizer
from tests.sw.export.networks import Small, assert_equal, config, images, output_of, plain, quantized, small

SCHEMA = json.loads(SCHEMA_FILE.read_text())

PAIRS = [("int3", "int8"), ("int5:narrow_range=true", "uint4"), ("fixed<6,4>", "fixed<7,2>"), ("e2m1", "e4m3"),
         ("e3m1", "e2m3"), ("float8_e5m2fnuz", "p3109_k6p3se"), ("posit<5,1>", "posit<8,2>"), ("mxfp4", "mxfp8_e4m3"),
         ("nvfp4", "int6"), ("mxint8", "mxfp6_e2m3"), ("e4m3", None), (None, "e3m4")]


class Transposed(nn.Module):
    """A transposed convolution in groups, whose weights lie inputs first, and one in 1D."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
        self.line = nn.Conv1d(16, 3, 3)

    def forward(self, x):
        return self.line(self.up(x.expand(-1, 4, -1, -1)).flatten(1, 2)[:, ::6].mT)


@pytest.mark.parametrize("packed", [False, True], ids=["floats", "packed"])
@pytest.mark.parametrize("formats", PAIRS, ids=str)
def test_a_loaded_model_computes_the_same_bits(formats, packed, tmp_path):
    model = quantized(small(), config(*formats))
    x, path = images(3, seed=5), tmp_path / "model.safetensors"
    save_safetensors(model, path, packed=packed)
    loaded = load_safetensors(Small(), path)
    assert_equal(output_of(loaded, x), output_of(model, x), formats)
    assert not loaded.training
    assert quantized_layers(loaded).keys() == quantized_layers(model).keys()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    manifest = json.loads((tmp_path / "model.safetensors.json").read_text())
    jsonschema.validate(manifest, SCHEMA)
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    if not packed:
        for key, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], tensor), key


@pytest.mark.parametrize("packed", [False, True])
def test_other_layers_and_granularities(packed, tmp_path):
    torch.manual_seed(0)
    configs = {"up": config("e3m2", "int6", granularity=Granularity.GROUP, group_size=2),
               "line": config("int4", "e4m3", granularity=Granularity.TENSOR, dynamic=True)}
    model = quantized(Transposed(), configs)
    save_safetensors(model, tmp_path / "a.safetensors", packed=packed)
    x = images()
    assert_equal(output_of(load_safetensors(Transposed(), tmp_path / "a.safetensors"), x), output_of(model, x))


def test_attention_with_weights_of_different_widths(tmp_path):
    torch.manual_seed(0)

    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, kdim=5, vdim=3, batch_first=True, bias=False)

        def forward(self, x):
            return self.attention(x, x[..., :5], x[..., :3])[0]

    model = quantized(Cross(), config("int4", "e4m3"), [torch.randn(2, 3, 8)])
    save_safetensors(model, tmp_path / "a.safetensors", packed=True)
    assert "attention.q_proj_weight" not in safetensors.torch.load_file(tmp_path / "a.safetensors")
    x = torch.randn(2, 3, 8)
    assert_equal(output_of(load_safetensors(Cross(), tmp_path / "a.safetensors"), x), output_of(model, x))


def test_a_model_that_is_a_layer_itself(tmp_path):
    model = quantized(nn.Linear(6, 3), config("int4", "int8"), [torch.randn(4, 6)])
    save_safetensors(model, tmp_path / "a.safetensors", packed=True)
    x = torch.randn(5, 6)
    assert_equal(output_of(load_safetensors(nn.Linear(6, 3), tmp_path / "a.safetensors"), x), output_of(model, x))


class Repeated(nn.Module):
    """A block that runs three times under two names, and a layer between."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.middle = nn.Linear(8, 8)
        self.again = nn.ModuleList([self.first, self.first])

    def forward(self, x):
        return self.again[1](self.again[0](self.middle(self.first(x))))


@pytest.mark.parametrize("packed", [False, True])
def test_a_layer_in_several_places(packed, tmp_path):
    torch.manual_seed(0)
    model, path, x = Repeated(), tmp_path / "a.safetensors", torch.randn(16, 8)
    quantize_(model, config("int4", "e4m3"), batches=[x])
    save_safetensors(model, path, packed=packed)
    assert not any(key.startswith("again.") for key in read_safetensors(path)[1])
    loaded = load_safetensors(Repeated(), path)
    assert loaded.again[0] is loaded.first
    assert_equal(output_of(loaded, x), output_of(model, x))
    assert loaded.state_dict().keys() == model.state_dict().keys()


def test_what_techniques_added_is_loaded(tmp_path):
    """Merged batch normalization took the keys of one module away and gave another a bias; smoothing added buffers."""
    model = quantize_(small(), config("int4", "int6"), batches=[images()],
                      recipe=Recipe(smooth=SmoothQuant(folded=False), bias_correction=True))
    assert isinstance(model.norm, nn.Identity)
    save_safetensors(model, tmp_path / "a.safetensors")
    loaded, x = load_safetensors(Small(), tmp_path / "a.safetensors"), images(2, seed=9)
    assert_equal(output_of(loaded, x), output_of(model, x))
    assert isinstance(loaded.norm, nn.Identity)
    assert loaded.last.smoothing.shape == (8,)


def test_an_added_bias_is_where_the_weights_are():
    model = nn.Sequential(nn.Linear(4, 3, bias=False, device="meta"))
    _add_parts(model, {"0.bias": torch.ones(3)})
    assert model[0].bias.device.type == "meta"


def test_a_model_with_batch_normalization_that_was_not_merged(tmp_path):
    model = quantize_(small(), config("int4", "int6"), batches=[images()], recipe=Recipe(merge_batch_norm=False))
    save_safetensors(model, tmp_path / "a.safetensors")
    x = images(2, seed=9)
    assert_equal(output_of(load_safetensors(Small(), tmp_path / "a.safetensors"), x), output_of(model, x))


def test_packed_codes_take_their_real_width(tmp_path):
    torch.manual_seed(0)
    float_model = nn.Linear(256, 64, bias=False)
    for name, bits in (("int3", 3), ("e2m1", 4), ("e3m1", 5), ("posit<6,1>", 6), ("int7", 7)):
        model = quantized(copy.deepcopy(float_model), config(name, None), [torch.randn(1, 256)])
        save_safetensors(model, tmp_path / "a.safetensors", packed=True)
        tensors = safetensors.torch.load_file(tmp_path / "a.safetensors")
        assert tensors["weight_quantizer.codes"].numel() == 256 * 64 * bits // 8, name
        assert "weight" not in tensors
    model = quantized(copy.deepcopy(float_model), config("mxfp4", None), [torch.randn(1, 256)])
    save_safetensors(model, tmp_path / "a.safetensors", packed=True)
    tensors = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert tensors["weight_quantizer.scale_codes"].numel() == 64 * 256 // 32  # E8M0: a byte for each block
    assert "weight_quantizer.scale" not in tensors


def test_the_manifest_says_formats_scales_and_rules(tmp_path):
    rule = ScaleRule(statistic=ScaleStatistic.PERCENTILE, percentile=99.0, power_of_two=True, search=ScaleSearch.GRID)
    model = quantized(plain(), {"0": config("e3m2", "int8", scale=rule), "5": config("nvfp4", None)})
    save_safetensors(model, tmp_path / "a.safetensors", packed=True)
    manifest = json.loads((tmp_path / "a.safetensors.json").read_text())
    first, last = manifest["layers"]
    assert (first["name"], first["kind"], first["parameters"]) == ("0", "Conv2d", {"weight": [4, 1, 3, 3]})
    assert first["weight"]["format"] == {"name": "float6_e3m2fn", "family": "FloatingPointFormat", "exponent_bits": 3,
                                         "fraction_bits": 2, "bias": 3, "specials": "none", "subnormals": "supported",
                                         "signed": True, "radix": 2, "has_zero": True}
    assert first["activation"]["scale_rule"] == {"statistic": "percentile", "percentile": 99.0, "power_of_two": True,
                                                 "search": "grid"}
    assert (last["weight"]["format"]["name"], last["activation"]) == ("nvfp4", None)
    assert manifest["quantizers"][0] == {
        "name": "0.weight_quantizer", "scale": "0.weight_quantizer.scale", "dynamic": False,
        "codes": {"parameter": "0.weight", "scales": None,
                  "elements": {"tensor": "0.weight_quantizer.codes", "width": 6, "shape": [4, 1, 3, 3]}}}
    assert manifest["versions"]["torch"] == torch.__version__


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.safetensors"
    save_safetensors(quantized(plain(), config("int4", "int8")), path, packed=True)
    return path


def changed(path, change, *, manifest=True):
    """Write the file again with something changed: in its manifest, or in its tensors."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    content = json.loads(metadata[METADATA_KEY])
    change(content if manifest else tensors)
    metadata[METADATA_KEY] = json.dumps(content)
    safetensors.torch.save_file(tensors, path, metadata)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: nn.Sequential(nn.Linear(4, 3)),
     r"Layer '0' must be a Conv2d with weight of shape \(4, 1, 3, 3\), as in the saved model, not a Linear with weight "
     r"of shape \(3, 4\); build the float model that was quantized"),
    (lambda: nn.Sequential(*list(plain())[:-1]),
     r"Layer '5' must be a Linear with weight of shape \(3, 4\), as in the saved model, not missing"),
    (lambda: nn.Sequential(*list(plain())[:-1], nn.Linear(4, 5)),
     r"Layer '5' must be a Linear with weight of shape \(3, 4\), .* not a Linear with weight of shape \(5, 4\)"),
    (lambda: nn.Sequential(*plain(), nn.PReLU()),
     "Tensor '6.weight' must be one of the saved model, as it is of the model, not missing"),
    (lambda: plain().double(), r"Tensor '0.bias' must be of shape \(4,\) and torch.float32, as in the saved model, not "
                               r"\(4,\) and torch.float64"),
    (lambda: quantized(plain(), config("int4", "int8")),
     "Model must be float to be loaded into, not quantized already; build a new one"),
])
def test_another_model_is_refused_and_left_as_it_is(build, message, saved):
    model = build()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_safetensors(model, saved)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(("change", "message"), [
    (lambda manifest: manifest.update(schema=2), "Manifest must be of schema version 1, not 2; save the model again"),
    (lambda manifest: manifest.pop("layers"), "Manifest must have the fields of schema version 1, not lack 'layers'"),
    (lambda manifest: manifest.update(layers=None),
     "Manifest must have the fields of schema version 1 in their types, not in others: 'NoneType'"),
    (lambda manifest: manifest.update(quantizers=[1]),
     "Manifest must have the fields of schema version 1 in their types, not in others: 'int'"),
    (lambda manifest: manifest["layers"][1]["weight"]["format"].update(width=5),
     r"Layer '3' cannot be read: Format description must be that of int4 .* not with width=5 \(here 4\)"),
    (lambda manifest: manifest["layers"][0]["weight"].update(granularity="row"),
     "Layer '0' cannot be read: 'row' is not a valid Granularity"),
    (lambda manifest: manifest["layers"].pop(0), "Tensor '0.input_quantizer.*' of the saved model must be one of the "
                                                 "model, not missing"),
    (lambda manifest: manifest["quantizers"][0].update(name="9.weight_quantizer"),
     "Codes of '9.weight_quantizer' must be those of a layer's weights: the manifest is damaged"),
    (lambda manifest: manifest["layers"][0]["weight"]["scale_rule"].update(statistic="absmax"),
     "Tensors must be those of the manifest's layers, not others: .*statistic='mse'"),
])
def test_a_manifest_that_does_not_fit_is_refused(change, message, saved):
    changed(saved, change)
    with pytest.raises(ValueError, match=message):
        load_safetensors(plain(), saved)


@pytest.mark.parametrize(("change", "message"), [
    (lambda tensors: tensors.pop("0.weight_quantizer.codes"),
     "Codes '0.weight_quantizer.codes' must be in the file, not missing: it is damaged"),
    (lambda tensors: tensors.pop("0.weight_quantizer.scale"),
     "Tensors must be those of the manifest's layers, not with 0.weight_quantizer.scale missing or added"),
    (lambda tensors: tensors.pop("0.bias"), "Tensor '0.bias' must be one of the saved model"),
    (lambda tensors: tensors.update({"extra.weight": torch.ones(1)}),
     "Tensor 'extra.weight' of the saved model must be one of the model, not missing"),
])
def test_tensors_that_do_not_fit_are_refused(change, message, saved):
    changed(saved, change, manifest=False)
    with pytest.raises(ValueError, match=message):
        load_safetensors(plain(), saved)


def test_files_that_are_none_are_refused(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match="Safetensors file must exist, not .*missing"):
        load_safetensors(plain(), tmp_path / "missing.safetensors")
    with pytest.raises(TypeError, match="Path must be a string or a path, not 3"):
        read_safetensors(3)
    saved.write_bytes(saved.read_bytes()[:-5])
    with pytest.raises(ValueError, match="File must be a safetensors file, not .*a.safetensors"):
        load_safetensors(plain(), saved)
    safetensors.torch.save_file({"weight": torch.ones(1)}, saved)
    with pytest.raises(ValueError, match="File must be one that save_safetensors wrote, not .* which has no manifest"):
        load_safetensors(plain(), saved)
    safetensors.torch.save_file({"weight": torch.ones(1)}, saved, {METADATA_KEY: "{"})
    with pytest.raises(ValueError, match="Manifest must be JSON, not '{'"):
        load_safetensors(plain(), saved)


def test_models_that_cannot_be_saved_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="Model must have quantized layers to be saved, not none"):
        save_safetensors(plain(), path)
    with pytest.raises(ValueError, match="Model must be calibrated to be saved, not without scales of the "
                                         r"layer '0' \(Conv2d, weights of shape \(4, 1, 3, 3\)\)"):
        save_safetensors(prepare(plain(), config("int4", "int8")), path)
    with pytest.raises(TypeError, match="Packing must be True or False, not 1"):
        save_safetensors(quantized(plain(), config("int4", None)), path, packed=1)
    assert not os.listdir(tmp_path)


def test_codes_are_compared_with_the_weights_before_they_replace_them(tmp_path, monkeypatch):
    codes = TensorQuantizer.codes
    monkeypatch.setattr(TensorQuantizer, "codes", lambda self, x: codes(self, x) ^ 1)
    with pytest.raises(ValueError, match="Weights of the layer '0' .* must stay the same when they are packed, not "
                                         "become others in int4; save with packed=False"):
        save_safetensors(quantized(plain(), config("int4", None)), tmp_path / "a.safetensors", packed=True)
    assert not os.listdir(tmp_path)


def test_a_source_tree_has_no_version(tmp_path, monkeypatch):
    def version(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    save_safetensors(quantized(plain(), config("int4", None)), tmp_path / "a.safetensors")
    manifest = json.loads((tmp_path / "a.safetensors.json").read_text())
    assert set(manifest["versions"].values()) == {"unknown"}
    jsonschema.validate(manifest, SCHEMA)


def test_an_interrupted_save_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_safetensors(quantized(plain(seed=3), config("int4", "int8")), saved)
    assert saved.read_bytes() == before
    assert sorted(path.name for path in saved.parent.iterdir()) == ["a.safetensors", "a.safetensors.json"]


def test_the_published_schema_is_valid_and_strict(saved):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    manifest = json.loads(saved.with_name("a.safetensors.json").read_text())
    manifest["layers"][0]["weight"]["colour"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, SCHEMA)


@pytest.mark.parametrize("name", ["e4m3", "int8", "posit<8,1>", "mxfp4"])
def test_formats_of_every_family_are_in_the_schema(name):
    from sw.export import format_to_json

    jsonschema.validate(format_to_json(parse_any(name)), {"$ref": "#/$defs/format", "$defs": SCHEMA["$defs"]})
