"""Agreement with the reference implementation of ONNX's DeformConv."""

import numpy as np
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator

from sw.nn import deformable_conv2d


def onnx_deform_conv(x, offset, weight, bias, *, stride, padding, dilation, groups, sets):
    node = helper.make_node("DeformConv", ["x", "weight", "offset", "bias"], ["y"], kernel_shape=weight.shape[2:],
                            strides=stride, pads=[*padding, *padding], dilations=dilation, group=groups,
                            offset_group=sets)
    arrays = {"x": x, "weight": weight, "offset": offset, "bias": bias}
    return ReferenceEvaluator(node).run(None, {name: array.numpy() for name, array in arrays.items()})[0]


def random_case(seed):
    """Sizes first, then as many numbers as they ask for."""
    random = np.random.default_rng(seed)
    groups, sets = (int(number) for number in random.choice([1, 2, 4], 2))
    channels = int(np.lcm(groups, sets)) * int(random.integers(1, 3 if max(groups, sets) < 4 else 2))
    outputs = groups * int(random.integers(1, 3 if groups < 4 else 2))
    kernel = [int(number) for number in random.integers(1, 4, 2)]
    stride, dilation = ([int(number) for number in random.integers(1, 3, 2)] for _ in range(2))
    padding = [int(number) for number in random.integers(0, 3, 2)]
    size = [int(number) for number in random.integers(2, 7, 2)]
    # The window must fit.
    size = [max(length, step * (taps - 1) + 1 - 2 * pad)
            for length, taps, step, pad in zip(size, kernel, dilation, padding, strict=True)]
    outcome = [(length + 2 * pad - step * (taps - 1) - 1) // jump + 1
               for length, taps, step, pad, jump in zip(size, kernel, dilation, padding, stride, strict=True)]
    spread = random.choice([0.5, 2.0, 8.0])
    tensors = [random.normal(size=shape) for shape in (
        (1 + seed % 2, channels, *size), (1 + seed % 2, sets * 2 * kernel[0] * kernel[1], *outcome),
        (outputs, channels // groups, *kernel), (outputs,))]
    tensors[1] *= spread
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return [torch.from_numpy(tensor) for tensor in tensors], geometry, sets


@pytest.mark.parametrize("seed", range(40))
def test_random_cases_agree(seed):
    tensors, geometry, sets = random_case(seed)
    want = torch.from_numpy(onnx_deform_conv(*tensors, **geometry, sets=sets))
    pairs = {name: tuple(value) if isinstance(value, list) else value for name, value in geometry.items()}
    got = deformable_conv2d(*tensors, **pairs)
    # The reference holds positions in float32, so the tolerances are those of that type.
    torch.testing.assert_close(got.float(), want.float(),
                               msg=lambda text: f"seed {seed}, {geometry}, {sets} sets: {text}")


def test_the_cases_hold_every_kind():
    cases = [random_case(seed) for seed in range(40)]
    for name, choice in (("groups", {1, 2, 4}), ("sets", {1, 2, 4})):
        assert {case[1]["groups"] if name == "groups" else case[2] for case in cases} == choice
    for name in ("stride", "padding", "dilation"):
        assert len({tuple(case[1][name]) for case in cases}) >= 4
    assert len({tuple(case[0][2].shape[2:]) for case in cases}) >= 5
