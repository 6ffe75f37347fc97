"""What an assignment of formats may cost and must achieve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from synth.errors import UsageError
from synth.explore.costing import Assignment, Axis, Costing
from synth.explore.space import Choice


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits; None where there is none.

    Parameters
    ----------
    max_lut : int or None
        LUTs of the network's multiply-accumulators.
    max_bytes : int or None
        Bytes of its weights.
    min_accuracy : float or None
        0 to 1, mean over the seeds.
    """

    max_lut: int | None = None
    max_bytes: int | None = None
    min_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.min_accuracy is not None and not 0 <= self.min_accuracy <= 1:
            raise UsageError(f"Minimum accuracy must be between 0 and 1, not {self.min_accuracy!r}")

    def excesses(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return by which share each limit is exceeded, at most 0 where it is kept.

        ``figures`` holds ``lut``, ``bytes`` and ``accuracy``, those that there is a limit for.
        """
        found = {}
        if self.max_lut is not None:
            found["lut"] = (figures["lut"] - self.max_lut) / self.max_lut
        if self.max_bytes is not None:
            found["bytes"] = (figures["bytes"] - self.max_bytes) / self.max_bytes
        if self.min_accuracy is not None:
            found["accuracy"] = self.min_accuracy - figures["accuracy"]
        return found

    def is_met(self, figures: Mapping[str, float]) -> bool:
        """Whether every limit is kept."""
        return all(excess <= 0 for excess in self.excesses(figures).values())

    def axes(self) -> tuple[Axis, ...]:
        """Return the axes of cost that have a limit."""
        limits = ((Axis.LUT, self.max_lut), (Axis.BYTES, self.max_bytes))
        return tuple(axis for axis, limit in limits if limit is not None)

    def limits(self) -> dict[str, float]:
        """Return the limits there are, by option."""
        options = {"--max-lut": self.max_lut, "--max-bytes": self.max_bytes, "--min-accuracy": self.min_accuracy}
        return {option: value for option, value in options.items() if value is not None}


def check_reachable(budget: Budget, layers: Sequence[str], choices: Sequence[Choice], costing: Costing) -> None:
    """Refuse a limit on LUTs or bytes that no assignment keeps, before any search.

    The cost of a network is the sum of its layers', so that each layer's cheapest formats make the cheapest network.

    Parameters
    ----------
    budget : Budget
    layers : sequence of str
    choices : sequence of Choice
    costing : Costing
        Of the network, on any axis.

    Raises
    ------
    UsageError
        If there is such a limit; the nearest that can be kept is named.
    """
    for axis, option, limit in ((Axis.LUT, "--max-lut", budget.max_lut), (Axis.BYTES, "--max-bytes", budget.max_bytes)):
        if limit is None:
            continue
        cheapest = _cheapest(layers, choices, costing.on(axis))
        least = costing.on(axis).cost(cheapest).value
        if least > limit:
            raise UsageError(f"Budget {option} must be at least {least:,.0f}, which the cheapest formats take "
                             f"({', '.join(dict.fromkeys(choice.label for _, choice in cheapest))}), not {limit:,}; "
                             "raise it, or give fewer --bits")


def _cheapest(layers: Sequence[str], choices: Sequence[Choice], costing: Costing) -> Assignment:
    """Return each layer's cheapest formats: one layer is varied at a time, the others staying at the first choice."""
    rest = dict.fromkeys(layers, choices[0])

    def cost(layer: str, choice: Choice) -> float:
        return costing.cost(tuple({**rest, layer: choice}.items())).value

    return tuple((layer, min(choices, key=partial(cost, layer))) for layer in layers)
