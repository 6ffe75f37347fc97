"""The shape of a layer with weights: how many products, outputs and operands it has."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sw.formats.check import check_integer
from synth.errors import StorageError, UsageError, usage_errors


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """A linear or convolutional layer, for one input of the network.

    Parameters
    ----------
    name : str
    channels : int
        Output channels (features).
    positions : int
        Outputs of a channel: pixels, or tokens, or 1.
    terms : int
        Products that are summed for one output.
    inputs : int
        Activations that it reads.
    groups : int
        Of channels that read different activations; as many as there are channels for a depthwise convolution.

    Raises
    ------
    TypeError, ValueError
        If a count is no integer, or less than 1, or ``groups`` does not divide ``channels``.
    """

    name: str
    channels: int
    positions: int
    terms: int
    inputs: int
    groups: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "name":
                if not isinstance(value, str) or not value:
                    raise TypeError(f"Layer name must be a text, not {value!r}")
                continue
            noun = f"Layer's count of {field.name}"
            check_integer(noun, value)
            if value < 1:
                raise ValueError(f"{noun} must be at least 1, not {value!r}")
        if self.channels % self.groups:
            raise ValueError(f"Layer's count of groups must divide its {self.channels} channels, not {self.groups!r}")

    @property
    def weights(self) -> int:
        """Weights, each used at every position."""
        return self.channels * self.terms

    @property
    def outputs(self) -> int:
        """Outputs."""
        return self.channels * self.positions

    @property
    def products(self) -> int:
        """Products."""
        return self.outputs * self.terms

    def split(self, macs: int) -> tuple[int, int]:
        """Return how many channels, and how many positions of each, so many multiply-accumulators work on at a time.

        They are given to channels first, which share an activation, and to positions when there is one for each
        channel.
        """
        channels = min(macs, self.channels)
        return channels, min(max(1, macs // self.channels), self.positions)

    def cycles(self, macs: int) -> int:
        """Return the cycles that the layer takes with so many multiply-accumulators."""
        channels, positions = self.split(macs)
        return -(-self.channels // channels) * -(-self.positions // positions) * self.terms

    def useful(self, macs: int) -> Iterator[int]:
        """Yield the greater numbers of multiply-accumulators that leave none of them without work all the time."""
        yield from range(macs + 1, self.channels + 1)
        yield from range(max(macs // self.channels + 1, 2) * self.channels, self.outputs + 1, self.channels)


def read_layers(path: Path) -> list[LayerShape]:
    """Read layer shapes from a JSON file: ``{"layers": [{"name": …, "channels": …, …}, …]}``.

    Raises
    ------
    StorageError
        If the file cannot be read.
    UsageError
        If it is no such file; the message names the layer.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"Network file must be readable, not {str(path)!r} ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"Network file must be JSON, not {str(path)!r} ({error})") from error
    entries = document.get("layers") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"Network file must hold a list of layers under \"layers\", not {str(path)!r}")
    layers, names = [], {field.name for field in fields(LayerShape)}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not names - {"groups"} <= set(entry) <= names:
            raise UsageError(f"Layer {number} of a network file must have {', '.join(sorted(names - {'groups'}))} and "
                             f"may have groups, not {entry!r}")
        with usage_errors():
            layers.append(LayerShape(**entry))
    check_names(layers)
    return layers


def check_names(layers: Sequence[LayerShape]) -> None:
    """Refuse two layers of one name.

    Raises
    ------
    UsageError
        If there are any.
    """
    seen: set[str] = set()
    for layer in layers:
        if layer.name in seen:
            raise UsageError(f"Layer names must differ, not {layer.name!r} twice")
        seen.add(layer.name)
