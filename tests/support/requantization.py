"""Inputs that tell a requantizer's faults apart: results at and around the ends of their range, and halves."""

import numpy as np


def telling_inputs(model, vectors, seed):
    """Return ``vectors`` inputs with results about the range, some at a half or an end, and as many random ones."""
    rng = np.random.default_rng(seed)
    acc, bias = model.accumulator, model.bias
    shape = (vectors, model.lanes)
    scale = rng.integers(1, 1 << model.scale_bits, shape)
    low, high = model.result.min_integer - model.offset, model.result.max_integer - model.offset
    wanted = rng.integers(low - 2, high + 3, shape)
    wanted = np.where(rng.random(shape) < 0.3, rng.choice([low - 1, low, -1, 0, 1, high, high + 1], shape), wanted)
    added = rng.integers(bias.min_integer // 4, bias.max_integer // 4 + 1, shape)
    halves = (wanted - added + 0.5) * 2.0**model.shift / scale
    sums = np.clip(halves, acc.min_integer, acc.max_integer).astype(np.int64) + rng.integers(-1, 2, shape)
    sums = np.clip(sums, acc.min_integer, acc.max_integer)
    exact = rng.random(shape) < 0.2  # a scale of one last place of the result makes halves
    place = max(model.shift - 1, 0)
    if place < model.scale_bits:
        scale = np.where(exact, 1 << place, scale)
        sums = np.where(exact, np.clip(2 * (wanted - added) + rng.integers(-1, 2, shape), acc.min_integer,
                                       acc.max_integer), sums)
    near = {"acc": sums & ((1 << acc.width) - 1), "scale": scale, "bias": added & ((1 << bias.width) - 1)}
    return {name: np.concatenate([codes.astype(np.uint64), rng.integers(0, port.codes, shape).astype(np.uint64)])
            for (name, port), codes in zip(model.inputs.items(), near.values(), strict=True)}
