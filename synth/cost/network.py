"""What a whole network costs: its layers' shapes, their formats and their parallelism, as multiply-accumulators.

Every layer is computed by exact multiply-accumulators (Kulisch accumulators, quires, wide integers): one for each
product that a cycle takes in. Weights lie in block RAM, one word a cycle; so do a layer's input activations. What is
not counted: the control, the scaling of results by factors that are no powers of two, layers without products, and
the link to the outside.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from sw.formats import ScalarFormat
from sw.reference.accumulator_width import sum_grid
from synth.cost.capacity import CAPACITIES, Capacity, block_rams
from synth.cost.estimate import Estimate, Provenance
from synth.cost.layer import LayerShape
from synth.cost.point import Point
from synth.errors import UsageError

Json = dict[str, Any]

Coster = Callable[[Point, str], Estimate]
"""From a point and a target to its estimate."""


class Arrangement(Enum):
    """How layers share multiply-accumulators."""

    DATAFLOW = "dataflow"
    """Every layer has its own, and all layers work at the same time, each on another input."""
    SHARED = "shared"
    """All layers, one after the other, on the same ones: every layer in the same formats."""


@dataclass(frozen=True, kw_only=True)
class LayerFormats:
    """The formats of a layer.

    Parameters
    ----------
    weight, activation : ScalarFormat
        Of the operands.
    result : ScalarFormat or None
        To which an accumulator's sum is rounded in hardware; None leaves it as it is, for someone else to convert.
    accumulator_width : int, bits, or None
        At most so many, and at least those of one product; None for the width in which no sum can wrap, by the
        formats alone.
    """

    weight: ScalarFormat
    activation: ScalarFormat
    result: ScalarFormat | None = None
    accumulator_width: int | None = None


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one layer costs.

    Parameters
    ----------
    layer : LayerShape
    formats : LayerFormats
    macs : int
        Multiply-accumulators that work on it.
    mac : Estimate
        Of one of them.
    cycles : int
        For one input.
    accumulator_width : int, bits
    weight_rams, activation_rams : int
        Block RAMs.
    """

    layer: LayerShape
    formats: LayerFormats
    macs: int
    mac: Estimate
    cycles: int
    accumulator_width: int
    weight_rams: int
    activation_rams: int

    @property
    def lut(self) -> float:
        """LUTs of its multiply-accumulators."""
        return self.macs * self.mac.lut

    @property
    def weight_bytes(self) -> int:
        """Bytes of its weights, packed."""
        return -(-self.layer.weights * self.formats.weight.width // 8)

    @property
    def moved_bytes(self) -> int:
        """Bytes of its weights and of its input activations, each read once."""
        return self.weight_bytes + -(-self.layer.inputs * self.formats.activation.width // 8)

    @property
    def lut_cycles(self) -> float:
        """LUTs of a multiply-accumulator times the products to compute: a proxy of the energy of the arithmetic."""
        return self.mac.lut * self.layer.products

    def to_json(self) -> Json:
        """Return the cost, ready for JSON."""
        formats = self.formats
        return {"layer": asdict(self.layer), "weight": formats.weight.name, "activation": formats.activation.name,
                "result": None if formats.result is None else formats.result.name, "macs": self.macs,
                "cycles": self.cycles, "accumulator_width": self.accumulator_width, "lut": round(self.lut),
                "lut_a_mac": self.mac.lut, "lut_a_mac_low": self.mac.low, "lut_a_mac_high": self.mac.high,
                "dsp": self.macs * self.mac.dsp, "ff": round(self.macs * self.mac.ff),
                "bram": self.weight_rams + self.activation_rams, "weight_bytes": self.weight_bytes,
                "moved_bytes": self.moved_bytes, "lut_cycles": round(self.lut_cycles),
                "provenance": self.mac.provenance.value, "extrapolates": list(self.mac.extrapolates)}


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """What a network costs on a target.

    Parameters
    ----------
    target : str
    arrangement : Arrangement
    layers : tuple of LayerCost
        In the order of the network; in a shared arrangement each with the same multiply-accumulators.
    """

    target: str
    arrangement: Arrangement
    layers: tuple[LayerCost, ...]

    @property
    def _engines(self) -> Sequence[LayerCost]:
        """The layers whose multiply-accumulators exist: all, or where they are shared, the one with the largest."""
        if self.arrangement is Arrangement.DATAFLOW:
            return self.layers
        return [max(self.layers, key=lambda cost: (cost.accumulator_width, cost.mac.lut))]

    @property
    def macs(self) -> int:
        """Multiply-accumulators."""
        return sum(cost.macs for cost in self._engines)

    @property
    def lut(self) -> int:
        """LUTs of the multiply-accumulators."""
        return round(sum(cost.lut for cost in self._engines))

    @property
    def lut_interval(self) -> tuple[int, int]:
        """LUTs if every predicted multiply-accumulator had its interval's least, and its greatest, value."""
        return (round(sum(cost.macs * cost.mac.low for cost in self._engines)),
                round(sum(cost.macs * cost.mac.high for cost in self._engines)))

    @property
    def ff(self) -> int:
        """Flip-flops of the multiply-accumulators."""
        return round(sum(cost.macs * cost.mac.ff for cost in self._engines))

    @property
    def dsp(self) -> int:
        """Hard multipliers."""
        return round(sum(cost.macs * cost.mac.dsp for cost in self._engines))

    @property
    def bram(self) -> int:
        """Block RAMs: all weights, and the activations of all layers, or where layers take turns, of the largest."""
        weights = sum(cost.weight_rams for cost in self.layers)
        activations = [cost.activation_rams for cost in self.layers]
        return weights + (sum(activations) if self.arrangement is Arrangement.DATAFLOW else max(activations))

    @property
    def interval_cycles(self) -> int:
        """Cycles from one input to the next."""
        cycles = [cost.cycles for cost in self.layers]
        return max(cycles) if self.arrangement is Arrangement.DATAFLOW else sum(cycles)

    @property
    def latency_cycles(self) -> int:
        """Cycles for one input through all layers, each beginning when the one before has ended."""
        return sum(cost.cycles for cost in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights, packed."""
        return sum(cost.weight_bytes for cost in self.layers)

    @property
    def moved_bytes(self) -> int:
        """Bytes of all layers' weights and input activations, each read once for one input."""
        return sum(cost.moved_bytes for cost in self.layers)

    @property
    def lut_cycles(self) -> float:
        """Sum of the layers' proxy of energy."""
        return sum(cost.lut_cycles for cost in self.layers)

    @property
    def provenance(self) -> Provenance:
        """Whether every multiply-accumulator was measured, some as an earlier version built it, or one is predicted."""
        found = {cost.mac.provenance for cost in self._engines}
        return next(kind for kind in (Provenance.PREDICTED, Provenance.EARLIER, Provenance.MEASURED) if kind in found)

    def shortage(self, capacity: Capacity) -> dict[str, tuple[int, int]]:
        """Return what a device has too little of: needed and there, by resource. Empty if the network fits."""
        need = {"lut": self.lut, "ff": self.ff, "dsp": self.dsp, "bram": self.bram}
        return {name: (count, getattr(capacity, name)) for name, count in need.items()
                if count > getattr(capacity, name)}

    def devices(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Return the shortage on each device of the target; empty where none is known."""
        return {name: self.shortage(capacity) for name, capacity in CAPACITIES.get(self.target, {}).items()}

    def to_json(self) -> Json:
        """Return the cost, ready for JSON."""
        low, high = self.lut_interval
        return {"target": self.target, "arrangement": self.arrangement.value, "macs": self.macs, "lut": self.lut,
                "lut_low": low, "lut_high": high, "ff": self.ff, "dsp": self.dsp, "bram": self.bram,
                "interval_cycles": self.interval_cycles, "latency_cycles": self.latency_cycles,
                "weight_bytes": self.weight_bytes, "moved_bytes": self.moved_bytes,
                "lut_cycles": round(self.lut_cycles), "provenance": self.provenance.value,
                "fits": {name: not shortage for name, shortage in self.devices().items()},
                "layers": [cost.to_json() for cost in self.layers]}


def network_cost(layers: Sequence[LayerShape], formats: Mapping[str, LayerFormats], *, target: str, macs: int,
                 coster: Coster, arrangement: Arrangement = Arrangement.DATAFLOW, pipeline: int = 0,
                 dsp: bool = False) -> NetworkCost:
    """Return the cost of a network on a target.

    Parameters
    ----------
    layers : sequence of LayerShape
    formats : mapping of layer name to LayerFormats
        For every layer.
    target : str
    macs : int
        Multiply-accumulators in all. A dataflow gives every layer one, and the others to whichever layer is then the
        slowest; what the slowest layer cannot use is left over.
    coster : callable
        :func:`synth.cost.estimate.estimate`, or what stands for it.
    arrangement : Arrangement
    pipeline : int
        Register stages of a multiply-accumulator.
    dsp : bool
        Whether it may use hard multipliers.

    Raises
    ------
    UsageError
        If there are no layers, fewer multiply-accumulators than a dataflow has layers, a layer has no formats, or
        layers that share hardware have different ones.
    """
    if not layers:
        raise UsageError("Network must have layers with weights to cost, not none")
    for layer in layers:
        if layer.name not in formats:
            raise UsageError(f"Formats must be given for every layer, not left out for {layer.name!r}")
    if macs < 1:
        raise UsageError(f"MACs must be at least 1, not {macs!r}")
    if arrangement is Arrangement.SHARED:
        shared = {(formats[layer.name].weight, formats[layer.name].activation, formats[layer.name].result)
                  for layer in layers}
        if len(shared) > 1:
            raise UsageError(f"Formats of layers that share hardware must be the same, not {len(shared)} different "
                             "ones; the dataflow arrangement has hardware for each layer")
        counts = dict.fromkeys((layer.name for layer in layers), macs)
    else:
        counts = _balanced(layers, macs)

    def cost(layer: LayerShape) -> LayerCost:
        chosen, count = formats[layer.name], counts[layer.name]
        terms, width = _register(layer, chosen)
        point = Point(op="emac", fmt=chosen.weight.name, fmt_b=chosen.activation.name,
                      out_fmt="exact" if chosen.result is None else chosen.result.name, terms=terms,
                      pipeline=pipeline, dsp=dsp)
        channels, positions = layer.split(count)
        streams = min(layer.groups, channels) * positions
        return LayerCost(
            layer=layer, formats=chosen, macs=count, mac=coster(point, target), cycles=layer.cycles(count),
            accumulator_width=width,
            weight_rams=block_rams(target, words=-(-layer.weights // channels), bits=channels * chosen.weight.width),
            activation_rams=block_rams(target, words=-(-layer.inputs // streams),
                                       bits=streams * chosen.activation.width))

    return NetworkCost(target=target, arrangement=arrangement, layers=tuple(cost(layer) for layer in layers))


def _register(layer: LayerShape, formats: LayerFormats) -> tuple[int, int]:
    """Return the terms of the multiply-accumulator that has the register of a layer's sums, and its width.

    A register that is narrower than the formats and the layer's terms demand is that of fewer of the largest products.
    """
    def width(terms: int) -> int:
        return sum_grid(formats.weight, formats.activation, terms=terms).width

    terms = layer.terms
    if formats.accumulator_width is not None:
        terms = max(1, bisect_right(range(1, terms + 1), formats.accumulator_width, key=width))
    return terms, width(terms)


def _balanced(layers: Sequence[LayerShape], macs: int) -> dict[str, int]:
    """Return multiply-accumulators for each layer, the slowest layer served first."""
    if macs < len(layers):
        raise UsageError(f"MACs must be at least {len(layers)}, one for each layer of a dataflow, not {macs!r}; "
                         "the shared arrangement makes do with one")
    counts = {layer.name: 1 for layer in layers}
    left = macs - len(layers)
    while left:
        slowest = max(layers, key=lambda layer: layer.cycles(counts[layer.name]))
        now = counts[slowest.name]
        target = slowest.cycles(now)
        more = next((count for count in slowest.useful(now) if slowest.cycles(count) < target), None)
        if more is None or more - now > left:
            break
        counts[slowest.name], left = more, left - (more - now)
    return counts
