"""Layers and feature maps as arrays of integers, and the transfers of a convolution that they become."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat
from sw.reference.deformable_convolution import DeformableConvolution
from sw.reference.map_windows import TAPS
from sw.reference.model import Codes, Port


def parameter_transfers(model: DeformableConvolution, parameters: Mapping[str, Mapping[str, NDArray[Any]]]
                        ) -> dict[str, Codes]:
    """Return the transfers that load a layer.

    Parameters
    ----------
    model : DeformableConvolution
    parameters : mapping of memory name to mapping of field name to integer array
        ``depthwise`` has ``weights`` of shape (channels, 9), tap ``3 * (ky + 1) + kx + 1``; ``pointwise`` has ``b`` of
        shape (output channels, channels); ``depthwise_requantization`` and, where there is one,
        ``pointwise_requantization`` have ``scale`` and ``bias``, a number a channel.

    Returns
    -------
    dict of field name to codes, first dimension ``model.parameter_words``

    Raises
    ------
    TypeError, ValueError
        If one is missing or unknown, is not of integers or of another shape, or a number does not fit.
    """
    _require_names("Parameters", model.memories, parameters)
    words = []
    for name, memory in model.memories.items():
        _require_names(f"Parameters {name}", dict(memory.fields), parameters[name])
        fields = {field: _rows(model, memory.rows, f"Parameters {name} {field}", field, port, parameters[name][field])
                  for field, port in memory.fields}
        words.append(memory.pack(fields))
    return _transfers(model, np.concatenate(words), load=1)


def _require_names(noun: str, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    if set(given) != set(wanted):
        raise ValueError(f"{noun} must be {', '.join(wanted)}, not {', '.join(given) or 'none'}")


def _rows(model: DeformableConvolution, rows: int, noun: str, field: str, port: Port, values: NDArray[Any]) -> Codes:
    """Return the codes of a field, (rows, lanes)."""
    lanes, groups = model.lanes, model.channel_groups
    if field == "weights":
        codes = _codes(noun, port, values, (model.channels, len(TAPS)))
        codes = codes.reshape(groups, lanes, len(TAPS)).transpose(0, 2, 1)
    elif field == "b":
        codes = _codes(noun, port, values, (model.output_channels, model.channels))
        codes = codes.reshape(model.output_groups, lanes, groups, lanes).transpose(0, 2, 1, 3)
    else:
        codes = _codes(noun, port, values, (rows * lanes,))
    return codes.reshape(rows, -1)


def pixel_transfers(model: DeformableConvolution, pixels: NDArray[Any], offsets: NDArray[Any] | None = None
                    ) -> dict[str, Codes]:
    """Return the transfers of a map.

    Parameters
    ----------
    model : DeformableConvolution
    pixels : integer array, (channels, height, width)
    offsets : integer array, (channel groups, height, width)
        To be left out where there are none.

    Returns
    -------
    dict of field name to codes, first dimension ``model.map_transfers``

    Raises
    ------
    TypeError, ValueError
        If an array is missing or one too many, is not of integers or of another shape, or a number does not fit.
    """
    groups, size = model.channel_groups, (model.height, model.width)
    codes = _codes("Pixels", model.inputs["data"], pixels, (model.channels, *size))
    data = codes.reshape(groups, model.lanes, *size).transpose(2, 3, 0, 1).reshape(-1, model.lanes)
    if (offsets is None) != ("offset" not in model.inputs):
        raise ValueError("Offsets must be given where transfers have them, and nowhere else, not "
                         f"{'left out' if offsets is None else 'given'}")
    if offsets is None:
        return _transfers(model, data, load=0)
    pitches = _codes("Offsets", model.inputs["offset"], offsets, (groups, *size))
    return {**_transfers(model, data, load=0), "offset": pitches.transpose(1, 2, 0).reshape(-1)}


def feature_map(model: DeformableConvolution, codes: Codes) -> NDArray[np.int64]:
    """Return the results of a map, ``(model.map_results, lanes)``, as integers, (output channels, rows, columns).

    Raises
    ------
    TypeError, ValueError
        If they are not codes of that shape.
    """
    port = model.outputs["o"]
    port.check("Results", codes)
    shape = model.output_height, model.output_width, model.output_groups, model.lanes
    if len(codes) != model.map_results:
        raise ValueError(f"Results must be the {model.map_results} of a map, not {len(codes)}")
    half = 1 << port.width - 1
    integers = (codes.astype(np.int64) ^ half) - half
    return integers.reshape(shape).transpose(2, 3, 0, 1).reshape(model.output_channels, *shape[:2])


def _transfers(model: DeformableConvolution, data: Codes, *, load: int) -> dict[str, Codes]:
    return {"load": np.full(len(data), load, dtype=np.uint64), "data": data,
            **{name: np.zeros(len(data), dtype=np.uint64) for name in model.inputs if name == "offset"}}


def _codes(noun: str, port: Port, values: NDArray[Any], shape: tuple[int, ...]) -> Codes:
    """Return the codes of integers."""
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{noun} must be an array of integers, not of {values.dtype}")
    if values.shape != shape:
        raise ValueError(f"{noun} must be of shape {shape}, not {values.shape}")
    signed = isinstance(port.format, FixedPointFormat) and port.format.signed
    low, high = (-(port.codes >> 1), (port.codes >> 1) - 1) if signed else (0, port.codes - 1)
    if int(values.min()) < low or int(values.max()) > high:
        raise ValueError(f"{noun} must be between {low} and {high}, not {int(values.min())} to {int(values.max())}")
    return (values.astype(np.int64) & ((1 << port.width) - 1)).astype(np.uint64)
