"""The deformable convolution of the hardware against the integer path in torch, whole maps in every bit."""

import numpy as np
import pytest

from sw.reference.deformable_convolution import DeformableConvolution
from sw.reference.map_layout import feature_map, parameter_transfers, pixel_transfers
from tests.support.feature_maps import joined, random_layer, random_map, run_in_order

torch = pytest.importorskip("torch")

SMALL = {"lanes": 2, "height": 5, "width": 4, "channels": 4, "output_channels": 4, "max_offset": 2}
CASES = {
    "small": {},
    "odd sizes": {"height": 9, "width": 7, "max_offset": 7, "relu_depthwise": True, "relu_pointwise": True},
    "one row": {"height": 1, "width": 9, "max_offset": 8},
    "one column": {"height": 9, "width": 1},
    "stride 2": {"stride": 2, "height": 7, "width": 6, "output_channels": 8},
    "sums": {"requantized": False, "channels": 6, "output_channels": 2},
    "ordinary": {"deformable": False},
    "zero in the middle": {"zero_point": 5, "relu_depthwise": True, "relu_pointwise": True},
    "wide": {"lanes": 16, "channels": 64, "output_channels": 32, "max_offset": 7, "height": 3},
}


def torch_results(model, layer, pixels, offsets):
    """Return the results of the integer path of ``sw.nn``."""
    from sw.nn.integer import IntegerDepthwise, IntegerPointwise
    from sw.nn.requantize import Requantize

    relus = model.relu_depthwise, model.relu_pointwise
    requantizers = [Requantize(torch.tensor(scale), torch.tensor(bias), relu=relu, offset=model.zero)
                    for scale, bias, relu in zip(layer.scale, layer.bias, relus, strict=True)]
    depthwise = IntegerDepthwise(torch.tensor(layer.depthwise), requantizers[0], stride=model.stride,
                                 padding=model.zero, max_offset=model.max_offset)
    pointwise = IntegerPointwise(torch.tensor(layer.pointwise), requantizers[1])
    between = depthwise(torch.tensor(pixels, dtype=torch.int8)[None],
                        None if offsets is None else torch.tensor(offsets)[None])
    return (pointwise(between) if model.requantized else pointwise.accumulate(between))[0].numpy()


@pytest.mark.parametrize("name", CASES)
def test_whole_maps(name):
    model = DeformableConvolution(**{**SMALL, **CASES[name]})
    rng = np.random.default_rng(3)
    for limit in (None, 0, model.max_offset):
        layer, (pixels, offsets) = random_layer(model, rng), random_map(model, rng)
        if limit is not None and offsets is not None:
            offsets[:] = limit
        codes = run_in_order(model, joined(parameter_transfers(model, layer.fields(model)),
                                           pixel_transfers(model, pixels, offsets)))
        np.testing.assert_array_equal(feature_map(model, codes), torch_results(model, layer, pixels, offsets))
