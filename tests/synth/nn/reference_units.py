"""Operators that sum products, a unit that computes them by their exact references, and convolutions pair by pair."""

import itertools
import math
import random

import numpy as np
import torch

from sw.quantize.plan import code_dtype
from synth.native.operator import operator

OPERATIONS = {
    "mac-saturating": operator("mac", fmt="int8", out_fmt="int8"),
    "mac-wrapping": operator("mac", fmt="int8", accumulator="int16", out_fmt="int16"),
    "mac-wide": operator("mac", fmt="int8", terms=1024, out_fmt="int32"),
    "mac-fractions": operator("mac", fmt="fixed<6,3>", fmt_b="fixed<5,4>", terms=64, out_fmt="fixed<7,2>"),
    "mac-e4m3": operator("mac", fmt="e4m3"),
    "emac-posit": operator("emac", fmt="posit8_1"),
    "emac-e4m3": operator("emac", fmt="e4m3", terms=600, out_fmt="bfloat16"),
    "chunked-1-6-9": operator("chunked_mac", fmt="e5m2", chunk=4),
    "fma-e5m10": operator("fma", fmt="e5m10"),
}


class ReferenceUnit:
    """Computes as a matrix unit does, by the reference of an operation; counts what it is asked for."""

    def __init__(self, operation):
        self.operation = operation
        self.a, self.b = (operation.model.inputs[name].format for name in "ab")
        self.result = operation.model.outputs["o"].format
        self.maximum_terms = getattr(operation.model, "terms", None)
        self.shapes = []

    def matmul(self, a, b):
        assert a.dtype.kind == b.dtype.kind == "u"
        self.shapes.append((*a.shape, b.shape[1]))
        rows, columns = np.divmod(np.arange(len(a) * b.shape[1]), max(b.shape[1], 1))
        return sums(self.operation, a[rows], b.T[columns]).reshape(len(a), b.shape[1])


def sums(operation, a, b):
    """Return the codes of one sum of products for each row of ``a`` and ``b``, the first column first."""
    model, (count, terms) = operation.model, a.shape
    zero = 0 if (fmt := operation.result) is None else fmt.encode(0)
    if not count or not terms:
        return np.full(count, zero, np.uint64)
    a, b = a.astype(np.uint64), b.astype(np.uint64)
    if not operation.is_stream:
        total = np.full(count, model.c.encode(0), np.uint64)
        for k in range(terms):
            total = model.evaluate({"a": a[:, k], "b": b[:, k], "c": total})["o"]
        return total
    run, everywhere = model.start(count), np.ones(count, bool)
    for k in range(terms):
        first, last = (np.full(count, value, np.uint64) for value in (k == 0, k == terms - 1))
        answers = run.accept({"a": a[:, k], "b": b[:, k], "first": first, "last": last}, everywhere)
    (_, outputs), = answers
    return outputs["o"]


def random_codes(fmt, shape, seed=0):
    """Return codes of numbers in the middle of a format's range, a few of any kind among them."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(1 << fmt.width, size=shape)
    values = generator.normal(size=shape)
    near = np.array([fmt.encode(float(value)) for value in values.ravel()], dtype=np.int64).reshape(shape)
    return torch.from_numpy(np.where(generator.random(shape) < 0.75, near, codes)).to(code_dtype(fmt))


def random_convolution(seed):
    """Return shapes of an input and a weight, and options of a convolution that suit them; no padding of one side."""
    choose = random.Random(seed)
    groups = choose.choice((1, 1, 2, 3))
    size, stride, dilation, padding = (tuple(choose.randint(low, high) for _ in range(2))
                                       for low, high in ((1, 4), (1, 3), (1, 3), (0, 3)))
    least = [max(1, gap * (taps - 1) + 1 - 2 * pad) for taps, gap, pad in zip(size, dilation, padding, strict=True)]
    x = (choose.randint(1, 3), groups * choose.randint(1, 3), *(low + choose.randint(0, 6) for low in least))
    weight = (groups * choose.randint(1, 4), x[1] // groups, *size)
    return x, weight, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def matrix_product(operation, a, b):
    """Return the matrix products of codes (..., M, K) and (..., K, N): a sum of its own for each element."""
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = a.expand(*batch, *a.shape[-2:]).numpy(), b.expand(*batch, *b.shape[-2:]).numpy()
    rows, terms, columns = *a.shape[-2:], b.shape[-1]
    shape = (*batch, rows, columns)
    left = np.broadcast_to(a[..., :, None, :], (*shape, terms)).reshape(math.prod(shape), terms)
    right = np.broadcast_to(np.swapaxes(b, -1, -2)[..., None, :, :], (*shape, terms)).reshape(math.prod(shape), terms)
    return as_tensor(operation, sums(operation, left, right).reshape(shape))


def convolution(operation, x, weight, *, stride=(1, 1), before=(0, 0), after=(0, 0), dilation=(1, 1), groups=1):
    """Return a convolution of codes (N, C, H, W), by the definition: pair after pair of each output's window."""
    x, weight = x.numpy(), weight.numpy()
    zero = operation.model.inputs["a"].format.encode(0)
    outputs, per_group, *size = weight.shape
    height, width = ((length + b + a - gap * (taps - 1) - 1) // step + 1 for length, b, a, gap, taps, step in
                     zip(x.shape[2:], before, after, dilation, size, stride, strict=True))
    shape = (len(x), outputs, height, width)
    left = np.full((*shape, per_group, *size), zero, np.int64)
    right = np.zeros_like(left)
    for n, o, i, j, c, u, v in itertools.product(*map(range, left.shape)):
        row, column = i * stride[0] - before[0] + u * dilation[0], j * stride[1] - before[1] + v * dilation[1]
        channel = o // (outputs // groups) * per_group + c
        if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
            left[n, o, i, j, c, u, v] = x[n, channel, row, column]
        right[n, o, i, j, c, u, v] = weight[o, c, u, v]
    terms = per_group * size[0] * size[1]
    return as_tensor(operation, sums(operation, left.reshape(-1, terms), right.reshape(-1, terms)).reshape(shape))


def as_tensor(operation, codes):
    return torch.from_numpy(codes.astype(np.int64)).to(code_dtype(operation.result))
