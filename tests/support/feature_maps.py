"""Whole feature maps through the deformable convolution: random layers, plain numpy, and what each part makes of them.

:func:`convolve` is written from the published formulae and shares nothing with ``sw.reference`` or ``sw.nn``.
"""

from dataclasses import dataclass

import numpy as np

from sw.reference.map_layout import parameter_transfers, pixel_transfers


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Parameters as integers: ``depthwise`` (channels, 9), ``pointwise`` (outputs, channels), and for both of them
    ``scale`` and ``bias``, a number a channel.
    """

    depthwise: np.ndarray
    pointwise: np.ndarray
    scale: tuple
    bias: tuple

    def fields(self, model):
        """Return the parameters by memory and field."""
        fields = {"depthwise": {"weights": self.depthwise},
                  "depthwise_requantization": {"scale": self.scale[0], "bias": self.bias[0]},
                  "pointwise": {"b": self.pointwise}}
        if model.requantized:
            fields["pointwise_requantization"] = {"scale": self.scale[1], "bias": self.bias[1]}
        return fields


def random_layer(model, rng):
    """Return random parameters, such that most results lie within the range of an activation."""
    channels, outputs = model.channels, model.output_channels
    return Layer(
        depthwise=rng.integers(-8, 8, (channels, 9)), pointwise=rng.integers(-8, 8, (outputs, channels)),
        scale=(rng.integers(0, 12000, channels), rng.integers(0, 20000 // int(channels**0.5), outputs)),
        bias=tuple(rng.integers(64, 192, count) - 128 - model.zero for count in (channels, outputs)))


def random_map(model, rng):
    """Return random pixels, (channels, height, width), and offsets, (channel groups, height, width) or None."""
    pixels = rng.integers(-128, 128, (model.channels, model.height, model.width))
    offsets = rng.integers(0, model.max_offset + 1, (model.channel_groups, model.height, model.width))
    if rng.random() < 0.3:
        offsets[:] = rng.choice([0, model.max_offset])
    return pixels, offsets if "offset" in model.inputs else None


def convolve(model, layer, pixels, offsets):
    """Return the map of results as integers, (output channels, rows, columns)."""
    height, width, stride, lanes = model.height, model.width, model.stride, model.lanes
    out = np.zeros((model.output_channels, -(-height // stride), -(-width // stride)), dtype=np.int64)
    for y in range(0, height, stride):
        for x in range(0, width, stride):
            between = np.zeros(model.channels, dtype=np.int64)
            for channel in range(model.channels):
                if offsets is not None:
                    d = offsets[channel // lanes, y, x]
                else:
                    d = 1 if not model.deformable else 0
                total = 0
                for tap in range(9):
                    row, column = y + (tap // 3 - 1) * d, x + (tap % 3 - 1) * d
                    inside = 0 <= row < height and 0 <= column < width
                    total += layer.depthwise[channel, tap] * (pixels[channel, row, column] if inside else model.zero)
                between[channel] = requantize(total, layer.scale[0][channel], layer.bias[0][channel],
                                              model.relu_depthwise, model.zero)
            for output in range(model.output_channels):
                total = int(layer.pointwise[output] @ between)
                out[output, y // stride, x // stride] = requantize(
                    total, layer.scale[1][output], layer.bias[1][output], model.relu_pointwise, model.zero
                ) if model.requantized else total
    return out


def requantize(total, scale, bias, relu, zero):
    """Return ``clamp_int8(relu?(((total * scale + 2^15) >> 16) + bias) + zero)``."""
    number = (int(total) * int(scale) + (1 << 15) >> 16) + int(bias)
    return min(max((max(number, 0) if relu else number) + zero, -128), 127)


def joined(*parts):
    """Return transfers one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def session(model, rng, *, maps=2, loads=1):
    """Return the transfers of ``loads`` layers with ``maps`` maps each, and the maps of results."""
    parts, results = [], []
    for _ in range(loads):
        layer = random_layer(model, rng)
        parts.append(parameter_transfers(model, layer.fields(model)))
        for _ in range(maps):
            pixels, offsets = random_map(model, rng)
            parts.append(pixel_transfers(model, pixels, offsets))
            results.append(convolve(model, layer, pixels, offsets))
    return joined(*parts), results


def run_in_order(model, transfers):
    """Return the results of one sequence of transfers, (results, lanes), by the vectorised reference."""
    run, results = model.start(1), []
    for index in range(len(transfers["load"])):
        answers = run.accept({name: codes[index:index + 1] for name, codes in transfers.items()}, np.ones(1, bool))
        results += [outputs["o"][0] for produced, outputs in answers if produced[0]]
    return np.array(results)
