"""Quantization of whole models: in place, step by step and at once, and what is left behind by failures."""

import copy
import io
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from sw.formats import parse, parse_block
from sw.ptq.config import ActivationConfig, Config, Granularity, ScaleRule, ScaleStatistic, WeightConfig
from sw.ptq.quantize import (
    calibrate,
    convert,
    floating,
    inputs_only,
    prepare,
    quantize_,
    quantized_layers,
    quantizers,
    weights_only,
)
from sw.ptq.recipe import Recipe
from sw.ptq.scale_search import scale_target
from sw.quantize import fake_quantize, fake_quantize_blocks

INT8, E4M3 = parse("int8"), parse("e4m3")
CONFIG = Config(weight=WeightConfig(format=parse("int4")), activation=ActivationConfig(format=INT8))
PLAIN = Recipe.plain()


def data(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


BATCHES = [data(4, 2, 6, 6, seed=seed) for seed in range(3)]


class Network(nn.Module):
    """Convolutions with a residual connection, attention, and a head that is registered first."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.stem = nn.Conv2d(2, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.middle = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.up = nn.ConvTranspose2d(8, 8, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem(x)))
        x = self.up(x + self.middle(x)).flatten(2).mT
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network().eval()


def test_a_model_is_quantized_in_place():
    model = network()
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    values = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    with torch.no_grad():
        want = model(BATCHES[0])
    assert quantize_(model, CONFIG, batches=BATCHES, recipe=PLAIN) is model
    assert not model.training
    assert all(model.get_submodule(name) is module for name, module in modules.items())
    assert dict(model.named_parameters()) == parameters  # the very same objects
    assert all(torch.equal(parameter, values[name]) for name, parameter in parameters.items())
    with torch.no_grad():
        got = model(BATCHES[0])
        error = (got - want).square().mean() / want.square().mean()
        assert 1e-6 < error < 0.1, error
        with floating(model):
            torch.testing.assert_close(model(BATCHES[0]), want, rtol=1e-5, atol=1e-6)


def test_steps_are_the_whole():
    at_once, step_by_step = network(), network()
    quantize_(at_once, CONFIG, batches=BATCHES, recipe=PLAIN)
    done = []
    prepare(step_by_step, CONFIG)
    calibrate(step_by_step, BATCHES, lambda count, total: done.append((count, total)))
    convert(step_by_step)
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(at_once(BATCHES[0]), step_by_step(BATCHES[0]))


def test_a_prepared_model_can_be_run_by_other_means():
    calibrated, run = network(), network()
    quantize_(calibrated, CONFIG, batches=BATCHES, recipe=PLAIN)
    prepare(run, CONFIG)
    with torch.no_grad():
        for batch in BATCHES:
            assert torch.equal(run(batch), run(batch))
    convert(run)
    assert torch.equal(calibrated(BATCHES[0]), run(BATCHES[0]))


def test_nothing_is_rounded_while_it_is_observed():
    model, want = network(), network()(BATCHES[0])
    config = {"stem": Config(weight=WeightConfig(format=E4M3), activation=ActivationConfig(format=E4M3, dynamic=True)),
              "*": CONFIG}
    prepare(model, config)
    seen = []
    model.head.register_forward_hook(lambda *_: seen.append(_[2].clone()))
    calibrate(model, BATCHES[:1])
    torch.testing.assert_close(seen[0], want, rtol=1e-5, atol=1e-6)


def test_layers_come_in_the_order_of_execution():
    model = network()
    prepare(model, CONFIG)
    assert next(iter(quantized_layers(model))) == "head"
    calibrate(model, BATCHES[:1])
    assert list(quantized_layers(model)) == [
        "stem", "middle", "up", "attention.query_projection", "attention.key_projection", "attention.value_projection",
        "attention.out_proj", "head"]
    assert list(quantized_layers(copy.deepcopy(model))) == list(quantized_layers(model))


def test_layers_that_do_not_run_come_last():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.idle, self.used = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    model = Idle()
    prepare(model, Config(weight=WeightConfig(format=INT8)))
    calibrate(model, [data(1, 2)])
    assert list(quantized_layers(model)) == ["used", "idle"]
    static = prepare(Idle(), CONFIG)
    with pytest.raises(ValueError, match=r"Inputs must be observed before the scales are frozen, not never, at layer "
                                         r"'idle' \(Linear, weights of shape \(2, 2\)\), to int8; run batches that"):
        calibrate(static, [data(1, 2)])


def test_parts_can_be_switched_off_and_come_back():
    model = quantize_(network(), CONFIG, batches=BATCHES, recipe=PLAIN)
    first = model.stem
    x = BATCHES[0]
    before = [quantizer.enabled for quantizer in quantizers(model)]
    with weights_only(model):
        assert torch.equal(first(x), functional.conv2d(x, first.quantized_weight(), first.bias, padding=1))
        assert not torch.equal(first.quantized_weight(), first.weight)
    with inputs_only(model):
        assert first.quantized_weight() is first.weight
        assert not torch.equal(first.quantized_input(x), x)
        with floating(model):
            assert first.quantized_input(x) is x
        assert not first.weight_quantizer.enabled
    with pytest.raises(ZeroDivisionError), floating(model):
        raise ZeroDivisionError
    assert [quantizer.enabled for quantizer in quantizers(model)] == before


# State

def test_a_float_state_goes_into_a_quantized_model():
    model = quantize_(network(), CONFIG, batches=BATCHES, recipe=PLAIN)
    missing, unexpected = model.load_state_dict(network(1).state_dict(), strict=False)
    assert unexpected == []
    assert missing
    assert all("_quantizer." in key for key in missing)
    assert torch.equal(model.stem.weight, network(1).stem.weight)
    assert set(model.state_dict()) - set(missing) == set(network().state_dict())


@pytest.mark.parametrize("config", [
    CONFIG,
    Config(weight=WeightConfig(format=parse_block("nvfp4")),
           activation=ActivationConfig(format=parse_block("mxfp8_e4m3"))),
    Config(weight=WeightConfig(format=E4M3, granularity=Granularity.GROUP, group_size=1)),
])
def test_a_quantized_state_goes_into_a_prepared_model(config):
    model = quantize_(network(), config, batches=BATCHES, recipe=PLAIN)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    fresh = prepare(network(1), config)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    convert(fresh)
    assert torch.equal(fresh(BATCHES[1]), model(BATCHES[1]))
    assert all(torch.equal(value, fresh.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_quantized_model_is_copied_and_pickled():
    model = quantize_(network(), CONFIG, batches=BATCHES, recipe=PLAIN)
    want = model(BATCHES[0])
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(twin(BATCHES[0]), want)
        with torch.no_grad():
            twin.attention.in_proj_weight.zero_()
            twin.stem.weight.zero_()
        assert not torch.equal(twin(BATCHES[0]), want)
    assert torch.equal(model(BATCHES[0]), want)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_quantized_model_changes_its_dtype(dtype):
    model = quantize_(network(), CONFIG, batches=BATCHES, recipe=PLAIN)
    want = model(BATCHES[0])
    scales = [quantizer.scale for quantizer in quantizers(model)]
    model.to(dtype)
    got = model(BATCHES[0].to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), want, rtol=0.1, atol=0.1 * want.abs().max().item())
    assert all(torch.equal(quantizer.scale, scale) for quantizer, scale in zip(quantizers(model), scales, strict=True))
    assert str(next(model.to("meta").parameters()).device) == "meta"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_narrow_model_takes_formats_that_reach_farther(dtype):
    x, fmt = data(4, 12).to(dtype), parse("minifloat_e5m2")  # up to 114688
    layer = nn.Linear(12, 3, dtype=dtype)
    quantize_(layer, Config(weight=WeightConfig(format=fmt), activation=ActivationConfig(format=fmt)), batches=[x],
              recipe=PLAIN)
    wide = copy.deepcopy(layer).float()
    assert torch.equal(layer.quantized_weight(), wide.quantized_weight().to(dtype))
    assert torch.equal(layer.quantized_input(x), wide.quantized_input(x.float()).to(dtype))
    assert layer(x).dtype == dtype


def test_formats_beyond_the_models_type_are_refused():
    config = Config(weight=WeightConfig(format=parse("int28")))
    with pytest.raises(ValueError, match=r"Format must have values that torch.float32 holds, not 'int28', at layer "
                                         r"'head' \(Linear, weights of shape \(3, 8\)\); give a narrower one, or"):
        prepare(network(), config)
    quantize_(network().double(), config, recipe=PLAIN)


def test_a_quantized_model_can_be_trained():
    model = quantize_(network(), CONFIG, batches=BATCHES, recipe=PLAIN).train()
    before = model(BATCHES[0]).square().mean()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        model(BATCHES[0]).square().mean().backward()
        optimizer.step()
    assert model(BATCHES[0]).square().mean() < 0.5 * before


# Formats

FORMATS = [*(f"int{width}" for width in range(3, 9)), *(f"int{width}:narrow_range=true" for width in range(3, 9)),
           *(f"minifloat_e{exponent}m{fraction}" for exponent in range(1, 7) for fraction in range(7)
             if 3 <= 1 + exponent + fraction <= 8),
           "e2m1", "e2m3", "e3m2", "e3m4", "e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "fixed<6,3>", "fixed<8,7>",
           "radix4_fp4_even", *(f"posit<{width},{size}>" for width in range(3, 9) for size in range(min(3, width - 2)))]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_three_to_eight_bits(name):
    fmt, x = parse(name), data(5, 12)
    layer = nn.Linear(12, 4)
    rule = ScaleRule(statistic=ScaleStatistic.ABSMAX)
    config = Config(weight=WeightConfig(format=fmt, scale=rule), activation=ActivationConfig(format=fmt, scale=rule))
    quantize_(layer, config, batches=[x], recipe=PLAIN)
    target = float(scale_target(fmt))
    weight = fake_quantize(layer.weight.detach(), fmt, scale=layer.weight.detach().abs().amax(1) / target, axis=0)
    inputs = fake_quantize(x, fmt, scale=x.abs().max() / target)
    assert torch.equal(layer(x), functional.linear(inputs, weight, layer.bias))


@pytest.mark.parametrize("name", ["mxfp4", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp8_e4m3", "mxfp8_e5m2", "mxint8", "nvfp4"])
def test_every_block_format(name):
    fmt, x = parse_block(name), data(5, 40)
    layer = nn.Linear(40, 4)
    quantize_(layer, Config(weight=WeightConfig(format=fmt), activation=ActivationConfig(format=fmt)), recipe=PLAIN)
    want = functional.linear(fake_quantize_blocks(x, fmt), fake_quantize_blocks(layer.weight, fmt), layer.bias)
    assert torch.equal(layer(x), want)


def test_more_bits_are_nearer():
    x, errors = data(64, 32), []
    for width in range(3, 9):
        layer = nn.Linear(32, 16)
        with torch.no_grad():
            layer.weight.copy_(data(16, 32, seed=1))
            want = layer(x)
            fmt = parse(f"int{width}")
            quantize_(layer, Config(weight=WeightConfig(format=fmt), activation=ActivationConfig(format=fmt)),
                      batches=[x], recipe=PLAIN)
            errors.append((layer(x) - want).square().mean().item())
    assert all(wide < narrow / 2 for narrow, wide in pairwise(errors)), errors


def test_one_model_can_have_many_formats():
    wide = Config(weight=WeightConfig(format=INT8), activation=ActivationConfig(format=INT8))
    model = quantize_(network(), {"stem": wide, "head": wide, "*": CONFIG}, batches=BATCHES, recipe=PLAIN)
    formats = {name: layer.weight_quantizer.format.name for name, layer in quantized_layers(model).items()}
    assert formats["stem"] == formats["head"] == "int8"
    assert {each for name, each in formats.items() if name not in ("stem", "head")} == {"int4"}


# Failures

def test_a_model_stays_whole_when_a_layer_does_not_suit():
    model = network()
    before = {name: type(module) for name, module in model.named_modules()}
    state = list(model.state_dict())
    config = Config(weight=WeightConfig(format=E4M3, granularity=Granularity.GROUP, group_size=8))
    with pytest.raises(ValueError, match=r"Group size must divide the 2 input channels, not 8, at layer 'stem' "
                                         r"\(Conv2d, weights of shape \(8, 2, 3, 3\)\), to float8_e4m3fn; give"):
        prepare(model, config)
    with pytest.raises(ValueError, match=r"Group size must divide the 2 input channels.*at layer 'stem'"):
        prepare(model, {"attention": CONFIG, "head": CONFIG, "stem": config})
    inputs = ActivationConfig(format=INT8, dynamic=True, granularity=Granularity.GROUP, group_size=3)
    with pytest.raises(ValueError, match="Group size must divide the 8 input channels, not 3, at layer "
                                         "'attention.query_projection'"):
        prepare(model, {"attention": Config(weight=None, activation=inputs), "head": CONFIG})
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert list(model.state_dict()) == state
    with pytest.raises(ValueError, match="Group size must divide the 2 input channels"):
        quantize_(model, config)
    with pytest.raises(ValueError, match="Batches must be given to calibrate static activations"):
        quantize_(model, CONFIG)
    assert isinstance(model.norm, nn.BatchNorm2d)
    assert list(model.state_dict()) == state
    quantize_(model, CONFIG, batches=BATCHES, recipe=PLAIN)


def test_weights_that_are_no_numbers_are_refused():
    model = network()
    with torch.no_grad():
        model.middle.weight[3, 0, 1, 1] = torch.nan
    prepare(model, CONFIG)
    with pytest.raises(ValueError, match=r"Weights must be finite to be quantized, not with nan, at layer 'middle' "
                                         r"\(Conv2d, weights of shape \(8, 1, 3, 3\)\), to int4"):
        calibrate(model, BATCHES)


def test_activations_that_are_no_numbers_are_refused():
    model = network()
    with torch.no_grad():
        model.norm.running_var.fill_(-1)
    prepare(model, CONFIG)
    with pytest.raises(ValueError, match="Inputs must be finite to be quantized, not with nan, at layer 'middle'"):
        calibrate(model, BATCHES)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: quantize_(network(), CONFIG, recipe="gptq"), TypeError, "Recipe must be a Recipe, not 'gptq'"),
    (lambda: quantize_(network(), CONFIG, recipe=PLAIN), ValueError,
     r"Batches must be given to calibrate static activations, not None, at layer 'head'; or give dynamic=True"),
    (lambda: calibrate(prepare(network(), CONFIG)), ValueError,
     r"Batches must be given to calibrate static activations, not None, at layer 'head' \(Linear, weights of shape "
     r"\(3, 8\)\); or give dynamic=True"),
    (lambda: quantize_(network(), CONFIG, batches=iter(BATCHES)), TypeError,
     "Batches must be such that they can be gone through again"),
    (lambda: quantize_(network(), CONFIG, batches=[BATCHES[0] * torch.nan]), ValueError,
     "Batch must be finite, not nan at .*, in batch 0"),
    (lambda: calibrate(network(), BATCHES), ValueError,
     "Model must be prepared, not a Network without quantized layers; see sw.ptq.prepare"),
    (lambda: convert(network()), ValueError, "Model must be prepared"),
    (lambda: convert(prepare(network(), CONFIG)), ValueError,
     "Inputs must be observed before the scales are frozen, not never, at layer 'head'"),
    (lambda: prepare(network(), CONFIG)(BATCHES[0][:0]), ValueError, "Inputs must have elements to be observed"),
])
def test_wrong_use_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_refused_conversion_freezes_nothing():
    model = prepare(network(), CONFIG)
    with pytest.raises(ValueError, match="Inputs must be observed before the scales are frozen"):
        convert(model)
    assert not any(quantizer.is_calibrated for quantizer in quantizers(model))


def test_a_refused_batch_leaves_a_float_network():
    model = network().eval()
    want, kinds, keys = model(BATCHES[0]), [type(module) for module in model.modules()], list(model.state_dict())
    with pytest.raises(ValueError, match="Batch must be finite, not nan at .*, in batch 1"):
        quantize_(model, CONFIG, batches=[BATCHES[0], BATCHES[1] * torch.nan], recipe=PLAIN)
    assert [type(module) for module in model.modules()] == kinds
    assert list(model.state_dict()) == keys
    assert torch.equal(model(BATCHES[0]), want)
    assert quantized_layers(quantize_(model, CONFIG, batches=BATCHES, recipe=PLAIN))


def test_weights_alone_need_no_batches():
    model = quantize_(network(), Config(weight=WeightConfig(format=INT8)), recipe=PLAIN)
    assert all(layer.input_quantizer is None for layer in quantized_layers(model).values())
    assert model(BATCHES[0]).isfinite().all()
    dynamic = Config(weight=WeightConfig(format=INT8), activation=ActivationConfig(format=INT8, dynamic=True))
    assert quantize_(network(), dynamic, recipe=PLAIN)(BATCHES[0]).isfinite().all()


def test_a_failed_calibration_leaves_nothing_behind():
    model, fresh = (prepare(network(), CONFIG) for _ in range(2))
    for wrong in ([100 * BATCHES[0], BATCHES[1] * torch.nan], []):
        with pytest.raises(ValueError, match="Batch"):
            calibrate(model, wrong)
        assert all(quantizer.observing and not quantizer.has_observed for quantizer in quantizers(model))
    for each in (model, fresh):
        calibrate(each, BATCHES)
    assert all(torch.equal(ours.scale, theirs.scale)
               for ours, theirs in zip(quantizers(model), quantizers(fresh), strict=True))


def test_frozen_scales_stay_when_more_is_observed():
    model = prepare(network(), CONFIG)
    calibrate(model, BATCHES)
    scales = [quantizer.scale.clone() for quantizer in quantizers(model)]
    calibrate(model, [100 * batch for batch in BATCHES])
    assert all(torch.equal(quantizer.scale, scale) for quantizer, scale in zip(quantizers(model), scales, strict=True))
