"""What a choice of formats costs: LUTs of a multiply-accumulator, or resources and bytes of the whole network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from sw.formats import BlockFormat, FixedPointFormat, ScalarFormat, parse, parse_any
from synth.cost.layer import LayerShape
from synth.errors import UsageError
from synth.explore.evaluator import EVERY_LAYER
from synth.explore.space import Choice, bits_per_weight

TERMS = 4608
"""Longest dot product of ResNet-18, for which the paper's accumulators are sized, and for which ours were measured."""

MACS = 64
"""Multiply-accumulators of a network, unless asked otherwise."""

Assignment = tuple[tuple[str, Choice], ...]

Coster = Callable[[Any, str], Any]
"""From a :class:`synth.cost.point.Point` and a target to a :class:`synth.cost.estimate.Estimate`."""


class Axis(Enum):
    """What is held against accuracy."""

    MAC = "lut-per-mac"
    LUT = "lut"
    DSP = "dsp"
    BRAM = "bram"
    BYTES = "bytes"

    @property
    def title(self) -> str:
        """What an axis of a plot is called."""
        return {"lut-per-mac": "LUTs of an exact multiply-accumulator", "lut": "LUTs of the network",
                "dsp": "DSPs of the network", "bram": "block RAMs of the network",
                "bytes": "bytes of the weights"}[self.value]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost and how far it is known.

    Parameters
    ----------
    value : float
    low, high : float
        Where the true cost lies with 90 % confidence; both ``value`` where it was measured or follows by counting.
    provenance : str
        ``measured``, ``predicted``, or ``counted`` for bytes.
    detail : mapping
        Further figures, ready for JSON.
    """

    value: float
    low: float
    high: float
    provenance: str
    detail: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "provenance": self.provenance,
                "detail": dict(self.detail)}


class UnknownCost(Exception):
    """Why a choice has no cost."""


@dataclass(frozen=True, kw_only=True)
class Costing:
    """Costs of assignments on one axis.

    Parameters
    ----------
    axis : Axis
    target : str
    coster : callable
        Of a multiply-accumulator.
    layers : sequence of LayerShape
    owners : sequence of str
        The layer that each of them takes its formats from.
    terms : int
        Products that the multiply-accumulator of :attr:`Axis.MAC` sums.
    macs : int
        Multiply-accumulators of the network, shared out over the layers by their work.
    dsp : bool
        Whether hard multipliers may be used.
    """

    axis: Axis
    target: str
    coster: Coster
    layers: Sequence[LayerShape]
    owners: Sequence[str]
    terms: int = TERMS
    macs: int = MACS
    dsp: bool = False

    def on(self, axis: Axis) -> "Costing":
        """Return the costing of the same network on another axis."""
        return replace(self, axis=axis)

    def cost(self, assignment: Assignment) -> Cost:
        """Return the cost of an assignment.

        Raises
        ------
        UnknownCost
            If a format has no multiply-accumulator, as block formats have none, or one that was neither measured nor
            can be predicted.
        UsageError
            If the multiply-accumulators are fewer than the layers.
        """
        if self.axis is Axis.BYTES:
            return self._bytes(assignment)
        if self.axis is Axis.MAC:
            (_, choice), = assignment
            return self._mac(choice)
        return self._network(assignment)

    def _bytes(self, assignment: Assignment) -> Cost:
        bits = sum(layer.weights * bits_per_weight(choice.weight)
                   for layer, choice in zip(self.layers, self._choices(assignment), strict=True))
        value = -(-bits // 8)
        return Cost(value=value, low=value, high=value, provenance="counted", detail={"weight_bytes": value})

    def _mac(self, choice: Choice) -> Cost:
        from synth.cost.point import Point

        weight, activation = circuit_format(choice.weight), circuit_format(choice.activation)
        estimate = self._estimate(Point(op="emac", fmt=weight.name, fmt_b=activation.name, out_fmt="exact",
                                        terms=self.terms, dsp=self.dsp), self.target)
        detail = {"op": "emac", "terms": self.terms, "ff": estimate.ff, "carry": estimate.carry, "dsp": estimate.dsp,
                  "bram": estimate.bram, "fmax_mhz": estimate.fmax_mhz, "counted_by": estimate.counted_by,
                  "extrapolates": list(estimate.extrapolates)}
        return Cost(value=estimate.lut, low=estimate.low, high=estimate.high, provenance=estimate.provenance.value,
                    detail=detail)

    def _network(self, assignment: Assignment) -> Cost:
        from synth.cost.network import LayerFormats, network_cost

        formats = {layer.name: LayerFormats(weight=circuit_format(choice.weight),
                                            activation=circuit_format(choice.activation))
                   for layer, choice in zip(self.layers, self._choices(assignment), strict=True)}
        network = network_cost(self.layers, formats, target=self.target, macs=self.macs, coster=self._estimate,
                               dsp=self.dsp)
        detail = {"macs": network.macs, "lut": network.lut, "ff": network.ff, "dsp": network.dsp,
                  "bram": network.bram, "cycles": network.interval_cycles, "weight_bytes": network.weight_bytes}
        low, high = network.lut_interval
        if self.axis is not Axis.LUT:
            low = high = detail[self.axis.value]
        return Cost(value=detail[self.axis.value], low=low, high=high, provenance=network.provenance.value,
                    detail=detail)

    def _estimate(self, point: Any, target: str) -> Any:
        try:
            return self.coster(point, target)
        except UsageError as error:  # neither measured nor within what the model can predict
            raise UnknownCost(str(error)) from error

    def _choices(self, assignment: Assignment) -> list[Choice]:
        given = dict(assignment)
        return [given[owner] if owner in given else given[EVERY_LAYER] for owner in self.owners]


def cost_provenance(target: str) -> dict[str, Any]:
    """Return where the costs on a target come from: digests of table and model, versions of tools; ready for JSON.

    Raises
    ------
    StorageError
        If the table or the model cannot be read.
    """
    from synth.cost.estimate import default_model, default_table

    table = default_table()
    tools = {(name, version) for conditions in table.tools.get(target, ()) for name, version, _ in conditions.tools}
    return {"table": table.digest, "model_fitted_on_table": default_model().table_digest,
            "tools": [f"{name} {version}" for name, version in sorted(tools)]}


def circuit_format(name: str) -> ScalarFormat:
    """Return the format whose multiply-accumulator serves one that is called ``name``.

    The place of the binary point does not change a circuit whose sums are exact: fixed point takes the integer's.

    Raises
    ------
    UnknownCost
        If it is a block format.
    """
    fmt = parse_any(name)
    if isinstance(fmt, BlockFormat):
        raise UnknownCost(f"multiply-accumulators are costed for scalar formats, not for the block format {name}; "
                          "--cost bytes counts it")
    if isinstance(fmt, FixedPointFormat) and not fmt.narrow_range:
        return parse(f"{'' if fmt.signed else 'u'}int{fmt.width}")
    return fmt
