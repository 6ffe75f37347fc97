"""Models as QONNX: run by qonnx's own executor, and loaded again."""

import onnx
import pytest
import torch
from torch import nn

from sw.export import load_onnx, save_qonnx
from sw.export.onnx_file import attributes_of
from sw.formats import parse
from sw.ptq.config import Granularity, ScaleRule
from sw.ptq.quantize import quantized_layers
from tests.sw.export.networks import (
    assert_close,
    assert_equal,
    config,
    images,
    output_of,
    plain,
    quantized,
    small,
)
from tests.sw.export.qonnx_oracle import run_qonnx


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


# Between them all kinds of formats, granularities, and scales that follow the input.
MIXED = {
    "first": config("int4", "int8"),
    "grouped": config("minifloat_e3m2", "e4m3", granularity=Granularity.GROUP, group_size=1),
    "attention": config("fixed<6,3>", "float8_e4m3fnuz", dynamic=True, granularity=Granularity.CHANNEL),
    "last": config("e2m1", "fixed<8,5>", granularity=Granularity.TENSOR, scale=ScaleRule()),
}
DYNAMIC = {
    "first": config("int3:narrow_range=true", "uint5", dynamic=True, scale=ScaleRule()),
    "grouped": config("float8_e5m2", "int6", dynamic=True, scale=ScaleRule()),
    "last": config("e3m1", "fixed<6,2>", dynamic=True, scale=ScaleRule()),
}


def test_every_kind_of_format_runs_in_qonnx_and_comes_back(path):
    model, x = quantized(small(), MIXED), images()
    save_qonnx(model, path, x)
    want = output_of(model, x)
    assert_close(run_qonnx(path, {"input": x.numpy()})["output"], want, "qonnx")
    loaded = load_onnx(path)
    assert_close(output_of(loaded, x), want, "load_onnx")
    layers, own = quantized_layers(loaded), quantized_layers(model)
    assert list(layers) == list(own)
    for name, layer in layers.items():
        # A format stands in the file by its values: fixed point as the integers times a scale.
        fmt = own[name].weight_quantizer.format
        expected = parse("int6") if fmt == parse("fixed<6,3>") else fmt
        assert layer.weight_quantizer.format == expected, name
        assert_equal(layer.quantized_weight().detach(), own[name].quantized_weight().detach(), name)


@pytest.mark.slow
def test_scales_that_follow_the_input_are_computed_in_the_graph(path):
    model = quantized(small(), DYNAMIC)
    save_qonnx(model, path, images())
    for seed in (1, 2):
        x = images(seed=seed) * seed
        want = output_of(model, x)
        assert_close(run_qonnx(path, {"input": x.numpy()})["output"], want, seed)
        assert_close(output_of(load_onnx(path), x), want, seed)
    zeros = torch.zeros_like(images())
    assert_close(output_of(load_onnx(path), zeros), output_of(model, zeros), "zeros")


def test_tokens_and_groups_have_scales_of_their_own(path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(3, 5, 8)
    quantized(model, {"0": config("int4", "e4m3", dynamic=True, granularity=Granularity.CHANNEL),
                      "2": config("int4", "int6"), "4": config("e2m1", "int5")}, [x])
    model[0].input_quantizer, model[2].input_quantizer = (
        quantized(nn.Sequential(nn.Linear(width, 1)), tokens, [torch.randn(2, 5, width)])[0].input_quantizer
        for width, tokens in ((8, activation("e4m3", Granularity.TOKEN)),
                              (6, activation("int6", Granularity.GROUP, 3))))
    save_qonnx(model, path, x, dynamic_batch=True)
    assert_close(run_with_batch(path, x), output_of(model, x))
    other = torch.randn(7, 5, 8)
    assert_close(output_of(load_onnx(path), other), output_of(model, other))


def activation(name, granularity, group_size=None):
    from sw.ptq.config import ActivationConfig, Config

    return Config(weight=None, activation=ActivationConfig(format=parse(name), granularity=granularity, dynamic=True,
                                                           group_size=group_size))


def run_with_batch(path, x):
    """qonnx wants all shapes known."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = len(x)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = len(x)
    del model.graph.value_info[:]
    onnx.save(model, path.with_name("fixed.onnx"))
    return run_qonnx(path.with_name("fixed.onnx"), {"input": x.numpy()})["output"]


def test_the_nodes_say_what_the_formats_are(path):
    configs = {"0": config("e3m2", "fixed<8,5>"), "3": config("float8_e5m2", "uint4")}
    save_qonnx(quantized(plain(), configs), path, images())
    proto = onnx.load(path)
    nodes = {node.name: node for node in proto.graph.node}
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}

    def parts(name):
        node = nodes[name]
        return node.op_type, attributes_of(node), [values[part].item() for part in node.input[2:]]

    common = {"has_subnormal": 1, "saturation": 1, "rounding_mode": "ROUND"}
    assert parts("0.weight_quantizer.FloatQuant") == ("FloatQuant", {**common, "has_inf": 0, "has_nan": 0},
                                                      [3, 2, 3, 28])
    assert parts("3.weight_quantizer.FloatQuant") == ("FloatQuant", {**common, "has_inf": 1, "has_nan": 1},
                                                      [5, 2, 15, 57344])
    integer = {"narrow": 0, "rounding_mode": "ROUND"}
    assert parts("0.input_quantizer.IntQuant") == ("IntQuant", {**integer, "signed": 1}, [0, 8])
    assert parts("3.input_quantizer.IntQuant") == ("IntQuant", {**integer, "signed": 0}, [0, 4])
    assert values["0.weight_quantizer.scale"].shape == (4, 1, 1, 1)
    assert {node.domain for node in proto.graph.node} == {"", "qonnx.custom_op.general"}
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": 20, "qonnx.custom_op.general": 2}
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)


@pytest.mark.parametrize(("weight", "activation_format", "message"), [
    ("posit<8,1>", "int8", r"Format must be an integer, fixed point or a minifloat in QONNX, not 'posit<8,1>', in the "
                           r"layer '0' \(Conv2d, weights of shape \(4, 1, 3, 3\)\); save with save_safetensors"),
    ("mxfp4", "int8", r"Format of the layer '0' \(Conv2d, .*\) must be scalar in QONNX, not mxfp4; save with "
                      "save_safetensors, which takes every format"),
    ("int4", "mxfp8_e4m3", r"Format of the layer '0' \(Conv2d, .*\) must be scalar in QONNX, not mxfp8_e4m3"),
    ("e4m3:subnormals=flushed", None, "Format must be signed, of radix 2, and with subnormals in QONNX"),
])
def test_formats_without_a_node_are_refused_naming_the_layer(weight, activation_format, message, path):
    with pytest.raises(ValueError, match=message):
        save_qonnx(quantized(plain(), config(weight, activation_format)), path, images())
    assert not path.exists()


def test_a_scale_beyond_float32_is_refused(path):
    model = quantized(plain(), config("fixed<8,120>", None))
    with torch.no_grad():
        model[0].weight_quantizer.scale.fill_(1e-5)
    with pytest.raises(ValueError, match="Scale times the weight of the last place must be a normal float32 number, "
                                         "not .*in the layer '0' .*; use the integer format of the same width"):
        save_qonnx(model, path, images())
    assert not path.exists()


def test_paths_are_checked_first(tmp_path):
    with pytest.raises(ValueError, match="Path must end in '.onnx', not 'a.pt'"):
        save_qonnx(plain(), tmp_path / "a.pt", images())


class Lines(nn.Module):
    """A convolution along one dimension that pads by reflection, and a transposed one in groups."""

    def __init__(self):
        super().__init__()
        self.line = nn.Conv1d(3, 4, 3, padding="same", padding_mode="reflect")
        self.up = nn.ConvTranspose2d(4, 2, 3, stride=2, output_padding=1, groups=2)

    def forward(self, x):
        return self.up(self.line(x)[:, :, None])


def encoder():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    for parameter in model.parameters():  # its layers begin as copies of one
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("build", "shape"), [
    (Lines, (2, 3, 8)), (encoder, (2, 5, 16)), (lambda: nn.Linear(4, 3), (2, 4))],
    ids=["convolutions", "encoder", "layer"])
def test_other_layers_and_a_second_journey(build, shape, path):
    """What was loaded can be written again, if its layers quantize."""
    torch.manual_seed(0)
    x = torch.randn(shape)
    model = quantized(build().eval(), config("int4", "e4m3"), [x])
    want = output_of(model, x)
    save_qonnx(model, path, x)
    loaded = load_onnx(path)
    assert_close(output_of(loaded, x), want)
    if build is encoder:
        assert quantized_layers(loaded).keys() == quantized_layers(model).keys()
    if build is Lines:  # a Pad, and a transposed convolution whose weights are turned around, are no part of a layer
        with pytest.raises(ValueError, match="Model must be quantized in its layers alone to be exported, not by the "
                                             "ScaledQuantizer 'line_.*', which a file had; keep that file"):
            save_qonnx(loaded, path, x)
        return
    save_qonnx(loaded, path, x)
    assert_close(output_of(load_onnx(path), x), want)
