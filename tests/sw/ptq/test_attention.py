"""Attention whose quantizers are off, beside torch's own; and where its projections are."""

import copy
import itertools

import pytest
import torch
from torch import nn

from sw.formats import parse
from sw.ptq.attention import QuantizedMultiheadAttention
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.quantize import calibrate, convert, floating, prepare, quantized_layers

CONFIG = Config(weight=WeightConfig(format=parse("int4")), activation=ActivationConfig(format=parse("int8")))
N, QUERIES, KEYS, WIDTH = 3, 4, 5, 8


def data(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def masks(attention, padding):
    """Return the two masks of these kinds, of one type, as torch wants them."""
    minus = -torch.inf
    chosen = torch.rand(QUERIES, KEYS, generator=torch.Generator().manual_seed(1)) < 0.3
    chosen[:, 0] = False
    late = torch.zeros(N, KEYS, dtype=torch.bool)
    late[0, 3:] = True
    attention_mask = {"none": None, "boolean": chosen, "float": data(QUERIES, KEYS),
                      "heads": data(N * 2, QUERIES, KEYS)}
    padding_mask = {"none": None, "boolean": late, "float": torch.zeros(N, KEYS).masked_fill(late, minus)}
    return attention_mask[attention], padding_mask[padding]


@pytest.mark.parametrize(("batch_first", "kdim", "bias", "add_bias_kv", "add_zero_attn"), [
    (True, None, True, False, False), (False, None, False, True, True), (True, 6, True, True, False),
    (False, 6, False, False, True), (True, 6, True, True, True),
])
@pytest.mark.parametrize("need_weights", [False, True])
def test_without_rounding_it_is_torchs(batch_first, kdim, bias, add_bias_kv, add_zero_attn, need_weights):
    vdim = None if kdim is None else kdim - 2
    theirs = nn.MultiheadAttention(WIDTH, 2, bias=bias, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn, kdim=kdim,
                                   vdim=vdim, batch_first=batch_first).eval()
    ours = prepare(copy.deepcopy(theirs), CONFIG)
    assert isinstance(ours, QuantizedMultiheadAttention)
    batch = [(QUERIES, WIDTH), (KEYS, kdim or WIDTH), (KEYS, vdim or WIDTH)]
    inputs = [data(*((N, n, width) if batch_first else (n, N, width)), seed=seed)
              for seed, (n, width) in enumerate(batch)]
    kinds = itertools.product(("none", "boolean", "float", "heads"), ("none", "boolean", "float"))
    for (attention, padding), average in itertools.product(kinds, (False, True)):
        if {"boolean", "float"} <= {attention, padding} or (attention, padding) == ("heads", "boolean"):
            continue  # torch deprecates a mixture of types
        attention_mask, padding_mask = masks(attention, padding)
        arguments = {"attn_mask": attention_mask, "key_padding_mask": padding_mask, "need_weights": need_weights,
                     "average_attn_weights": average}
        with torch.no_grad(), floating(ours):
            want, got = theirs(*inputs, **arguments), ours(*inputs, **arguments)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    with torch.no_grad(), floating(ours):
        unbatched = [data(*shape, seed=seed) for seed, shape in enumerate(batch)]
        torch.testing.assert_close(ours(*unbatched, need_weights=need_weights),
                                   theirs(*unbatched, need_weights=need_weights))


def test_a_causal_hint_changes_nothing():
    ours = prepare(nn.MultiheadAttention(WIDTH, 2, batch_first=True).eval(), CONFIG)
    x, mask = data(N, KEYS, WIDTH), nn.Transformer.generate_square_subsequent_mask(KEYS)
    with floating(ours):
        for need_weights in (False, True):
            want = ours(x, x, x, attn_mask=mask, need_weights=need_weights)[0]
            assert torch.equal(ours(x, x, x, attn_mask=mask, need_weights=need_weights, is_causal=True)[0], want)


@pytest.mark.parametrize("kdim", [None, 6])
def test_each_projection_rounds_its_weights_and_inputs(kdim):
    theirs = nn.MultiheadAttention(WIDTH, 2, kdim=kdim, vdim=kdim, batch_first=True).eval()
    ours = prepare(copy.deepcopy(theirs), CONFIG)
    inputs = [data(N, n, width, seed=seed) for seed, (n, width) in
              enumerate([(QUERIES, WIDTH), (KEYS, kdim or WIDTH), (KEYS, kdim or WIDTH)])]
    calibrate(ours, [tuple(inputs)])
    layers = quantized_layers(ours)
    assert list(layers) == ["query_projection", "key_projection", "value_projection", "out_proj"]
    with torch.no_grad():
        rounded = [layers[f"{part}_projection"].input_quantizer(x)
                   for part, x in zip(("query", "key", "value"), inputs, strict=True)]
        weights = [layer.quantized_weight() for layer in layers.values()]
        if kdim is None:
            theirs.in_proj_weight.copy_(torch.cat(weights[:3]))
        else:
            for part, weight in zip("qkv", weights[:3], strict=True):
                getattr(theirs, f"{part}_proj_weight").copy_(weight)
        theirs.out_proj.weight.copy_(weights[3])
        layers["out_proj"].input_quantizer.enabled = False
        torch.testing.assert_close(ours(*inputs)[0], theirs(*rounded)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kdim", [None, 6])
def test_projections_are_views_of_the_attentions_parameters(kdim):
    attention = nn.MultiheadAttention(WIDTH, 2, kdim=kdim, vdim=kdim)
    keys = list(attention.state_dict())
    prepare(attention, CONFIG)
    assert [key for key in attention.state_dict() if "quantizer" not in key] == keys
    assert {key for key, _ in attention.named_parameters()} == set(keys)
    projection = attention.value_projection
    projection.set_weight_matrix(torch.full_like(projection.weight_matrix(), 7))
    changed = attention.in_proj_weight[2 * WIDTH:] if kdim is None else attention.v_proj_weight
    assert bool((changed == 7).all())
    with torch.no_grad():
        projection.bias.fill_(3)
    assert attention.in_proj_bias.tolist() == [0] * 2 * WIDTH + [3] * WIDTH
    x = data(2, 5, projection.weight.shape[1])
    assert torch.equal(projection.input_matrix(x), x.reshape(1, 10, -1))
    assert prepare(nn.MultiheadAttention(WIDTH, 2, bias=False), CONFIG).query_projection.bias is None


@pytest.mark.parametrize("chosen", ["self_attn", "linear1"])
def test_transformer_layers_run_their_quantized_layers(chosen):
    # The padding cuts a nested tensor, the evaluation mode computes with the weights of the layers: unless prevented.
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True), 2,
                                  enable_nested_tensor=False).eval()
    model.use_nested_tensor = True
    x, padding = data(N, KEYS, WIDTH), torch.zeros(N, KEYS, dtype=torch.bool)
    padding[0, 3:] = True
    with torch.no_grad():
        want = model(x)
        prepare(model, CONFIG, lambda _, name: chosen in name)
        calibrate(model, [{"src": x, "src_key_padding_mask": padding}])
        convert(model)
        with floating(model):
            torch.testing.assert_close(model(x), want, rtol=1e-5, atol=1e-5)
        assert (model(x) - want).abs().max() > 1e-3
    assert [layer.execution_index for layer in quantized_layers(model).values()] == (
        list(range(8)) if chosen == "self_attn" else [0, 1])


def test_copies_own_their_projections():
    ours = prepare(nn.MultiheadAttention(WIDTH, 2), CONFIG)
    twin = copy.deepcopy(ours)
    with torch.no_grad():
        twin.in_proj_weight.zero_()
    assert not twin.query_projection.weight.any()
    assert bool(ours.query_projection.weight.any())


def test_detached_attention_is_what_it_was():
    attention = nn.MultiheadAttention(WIDTH, 2)
    before, out = dict(attention.__dict__), type(attention.out_proj)
    prepare(attention, CONFIG)
    attention.detach()
    assert type(attention) is nn.MultiheadAttention
    assert type(attention.out_proj) is out
    assert list(dict(attention.named_modules())) == ["", "out_proj"]
    assert attention.__dict__.keys() == before.keys()


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"is_causal": True}, ValueError, "Attention mask must be given with is_causal=True, not None"),
    ({"attn_mask": torch.ones(KEYS, KEYS, dtype=torch.int64)}, TypeError,
     "Attention mask must be boolean or of a floating-point dtype, not torch.int64"),
    ({"key_padding_mask": torch.ones(N, KEYS, dtype=torch.uint8)}, TypeError,
     "Key padding mask must be boolean or of a floating-point dtype, not torch.uint8"),
])
def test_wrong_masks_are_refused(arguments, error, message):
    ours, x = prepare(nn.MultiheadAttention(WIDTH, 2, batch_first=True), CONFIG), data(N, KEYS, WIDTH)
    with pytest.raises(error, match=message):
        ours(x, x, x, **arguments)
