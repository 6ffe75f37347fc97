"""What is evaluated: a network, from a seed, quantized in given formats by a technique; and who evaluates it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from synth.cost.layer import LayerShape
from synth.explore.space import Choice

EVERY_LAYER = "*"
"""Name that stands for all layers in an assignment."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One evaluation.

    Parameters
    ----------
    seed : int
        Of training and calibration.
    assignment : tuple of (str, Choice)
        Formats by layer name; ``(("*", choice),)`` for the same ones everywhere.
    technique : str
    """

    seed: int
    assignment: tuple[tuple[str, Choice], ...]
    technique: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return {"seed": self.seed, "technique": self.technique,
                "assignment": [[layer, choice.to_json()] for layer, choice in self.assignment]}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A float network, ready to be quantized.

    Parameters
    ----------
    digest : str
        Of its parameters and its data.
    accuracy : float
        Of the float network, 0 to 1.
    layers : tuple of LayerShape
        Its layers with weights, for their cost.
    owners : tuple of str
        The quantized layer that each of them belongs to: itself, or an attention for its projections.
    """

    digest: str
    accuracy: float
    layers: tuple[LayerShape, ...]
    owners: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers to which formats can be assigned, each once."""
        return tuple(dict.fromkeys(self.owners))


class Evaluator(Protocol):
    """Trains or loads networks and tells their accuracy; can be pickled, to do so in other processes."""

    def identity(self) -> Mapping[str, Any]:
        """Return all that its answers depend on beside the network: versions, digests of code. Ready for JSON."""

    def prepare(self, seed: int) -> Prepared:
        """Return the network of a seed, trained now if it never was."""

    def accuracy(self, task: Task) -> float:
        """Return the share of test samples that the quantized network gets right.

        Raises
        ------
        ValueError
            If the network cannot be quantized so; the message names the layer.
        """


def uniform(choice: Choice) -> tuple[tuple[str, Choice], ...]:
    """Return the assignment of the same formats to every layer."""
    return ((EVERY_LAYER, choice),)


def canonical(document: object) -> str:
    """Return the one JSON text of a document, to be hashed."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
