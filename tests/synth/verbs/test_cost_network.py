"""``cost --network``: layers, formats, accumulators, and what fits where."""

import json
import re

import pytest
import torch

from sw.formats import parse
from synth.cost.models import accumulator_widths, named_model
from synth.cost.network import LayerFormats
from synth.errors import ExitCode
from tests.support.cli import call

LAYERS = {"layers": [{"name": "conv", "channels": 8, "positions": 64, "terms": 9, "inputs": 64},
                     {"name": "fc", "channels": 10, "positions": 1, "terms": 512, "inputs": 512}]}


@pytest.fixture
def shapes(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(LAYERS))
    return str(path)


def cost(capsys, *arguments):
    result = call(capsys, "cost", *arguments, "--json", "--quiet")
    assert result.code == ExitCode.DONE, result.err
    return json.loads(result.out)


def test_a_file_of_layers_is_costed_on_each_target(capsys, shapes):
    document = cost(capsys, "--network", shapes, "--fmt", "int8", "--macs", "9", "--target", "ecp5", "--target", "xc7")
    assert [target["target"] for target in document["targets"]] == ["ecp5", "xc7"]
    first = document["targets"][0]
    assert first["macs"] == 9
    assert first["lut"] == sum(layer["lut"] for layer in first["layers"]) > 9 * 30
    assert [layer["weight"] for layer in first["layers"]] == ["int8", "int8"]
    assert first["boards"] == {"ulx3s-25f": True}
    assert document["targets"][1]["fits"] == {}


def test_targets_without_measured_accumulators_are_left_out_unless_asked_for(capsys, shapes, tmp_path, monkeypatch):
    from synth.cost.model import CostModel, load_model

    model = load_model()
    file = tmp_path / "model.json"
    CostModel(sections={place: section for place, section in model.sections.items() if place[1] == "ecp5"},
              table_digest=model.table_digest).save(file)
    arguments = ("cost", "--network", shapes, "--fmt", "int8", "--model", str(file))
    result = call(capsys, *arguments)
    assert result.code == ExitCode.DONE, result.err
    assert re.search("warning: ice40, .*: left out, as too few circuits of emac were measured there to predict others",
                     result.err)
    assert [target["target"] for target in cost(capsys, *arguments[1:])["targets"]] == ["ecp5"]


def test_what_goes_beyond_the_measured_is_said(capsys, shapes):
    arguments = ("--network", shapes, "--fmt", "int8", "--layer", "fc=int16", "--target", "ecp5")
    conv, fc = cost(capsys, *arguments)["targets"][0]["layers"]
    assert conv["extrapolates"] == []
    assert any("significand bits" in reason for reason in fc["extrapolates"])
    assert ("warning: ecp5: the predictions for fc go beyond what was measured, and their intervals are guesses ("
            in call(capsys, "cost", *arguments).err)


def test_a_layer_may_have_formats_of_its_own(capsys, shapes):
    document = cost(capsys, "--network", shapes, "--fmt", "int4", "--fmt-b", "int8", "--layer", "fc=fixed<6,2>,int6",
                    "--macs", "2", "--target", "ecp5")
    conv, fc = document["targets"][0]["layers"]
    assert (conv["weight"], conv["activation"]) == ("int4", "int8")
    assert (fc["weight"], fc["activation"]) == ("fixed<6,2>", "int6")


def test_sums_may_be_converted_back(capsys, shapes):
    plain, back = (cost(capsys, "--network", shapes, "--fmt", "minifloat_e4m3", "--macs", "2", "--target", "ecp5",
                        *extra)["targets"][0] for extra in ((), ("--back-conversion",)))
    assert plain["layers"][0]["result"] is None
    assert back["layers"][0]["result"] == "minifloat_e4m3"
    assert back["lut"] > plain["lut"]


def test_hardware_may_be_shared(capsys, shapes):
    dataflow, shared = (cost(capsys, "--network", shapes, "--fmt", "int8", "--macs", "8", "--target", "ecp5", *extra)
                        ["targets"][0] for extra in ((), ("--shared",)))
    assert shared["macs"] == 8
    assert shared["interval_cycles"] == sum(layer["cycles"] for layer in shared["layers"])
    assert dataflow["interval_cycles"] == max(layer["cycles"] for layer in dataflow["layers"])


def test_the_table_says_what_fits_and_what_does_not(capsys, tmp_path):
    path = tmp_path / "wide.json"
    path.write_text(json.dumps({"layers": [{"name": "conv", "channels": 512, "positions": 4, "terms": 9,
                                            "inputs": 64}]}))
    result = call(capsys, "cost", "--network", str(path), "--fmt", "int8", "--macs", "512", "--target", "ecp5",
                  "--quiet")
    assert result.code == ExitCode.DONE
    assert "ecp5: fits device" in result.out
    assert "ecp5: does not fit device 12k (LUT" in result.out
    assert "come on top" in result.out


@pytest.mark.parametrize(("arguments", "text"), [
    (["--fmt", "int8", "--network", "digts-cnn"], "Network must be one of digits-cnn, .* did you mean digits-cnn"),
    (["--network", "digits-cnn"], "Option --fmt must be given for --network, not left out"),
    (["--fmt", "int8", "--network", "digits-cnn", "--accumulators", "lore"],
     "Accumulators must be one of law, weights, calibration, not 'lore'"),
    (["--fmt", "int8", "--network", "resnet18", "--accumulators", "weights"],
     "Accumulators must be 'law' for resnet18, of which only the shapes are known here"),
    (["--fmt", "int8", "--network", "digits-cnn", "--layer", "9=int4"], "Layer must be one of 0, 2, 4, 7, not '9'"),
    (["--fmt", "int8", "--network", "digits-cnn", "--layer", "0"], "Layer must be NAME=FMT or NAME=FMT,FMT_B, not '0'"),
    (["--fmt", "int8", "--network", "digits-cnn", "--macs", "2"],
     "MACs must be at least 4, one for each layer of a dataflow, not 2"),
])
def test_network_requests_wrong(capsys, arguments, text):
    result = call(capsys, "cost", *arguments)
    assert result.code == ExitCode.USAGE
    import re

    assert re.search(text, result.err)


def test_a_file_has_no_weights(capsys, shapes):
    result = call(capsys, "cost", "--network", shapes, "--fmt", "int8", "--accumulators", "weights")
    assert "Accumulators must be 'law' for a network of which only the shapes are known, not 'weights'" in result.err


def test_accumulators_follow_the_weights_and_the_data():
    torch.manual_seed(0)
    from sw.train import untrained

    formats = {name: LayerFormats(weight=parse("int4"), activation=parse("int8")) for name in ("0", "2", "4", "7")}
    images = torch.rand(4, 1, 8, 8)
    by_weights = accumulator_widths(untrained("digits-cnn").eval(), images, formats, observed=False)
    torch.manual_seed(0)
    observed = accumulator_widths(untrained("digits-cnn").eval(), images, formats, observed=True)
    assert list(observed) == list(by_weights) == list(formats)
    assert all(observed[name] <= by_weights[name] for name in formats)
    assert any(observed[name] < by_weights[name] for name in formats)


def test_projections_of_one_attention_share_their_formats():
    from sw.train import untrained
    from synth.cost.shapes import layer_shapes
    from synth.errors import UsageError

    model = untrained("digits-vit").eval()
    names = [layer.name for layer in layer_shapes(model, torch.zeros(1, 1, 8, 8))]
    formats = {name: LayerFormats(weight=parse("int8"), activation=parse("int8")) for name in names}
    assert set(accumulator_widths(untrained("digits-vit").eval(), torch.rand(4, 1, 8, 8), formats, observed=False)
               ) == set(names)
    odd = next(name for name in names if name.endswith("key_projection"))
    formats[odd] = LayerFormats(weight=parse("int4"), activation=parse("int8"))
    with pytest.raises(UsageError, match="Formats must be the same for all projections of an attention"):
        accumulator_widths(model, torch.rand(4, 1, 8, 8), formats, observed=False)


def test_networks_have_models_and_inputs():
    from contextlib import nullcontext

    from synth.console import SilentProgress

    model, example = named_model("resnet18", trained=False, seed=1,
                                 progress=lambda _text, _steps: nullcontext(SilentProgress()))
    assert tuple(example.shape) == (1, 3, 224, 224)
    assert not model.training
