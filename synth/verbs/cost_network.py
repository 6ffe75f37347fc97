"""``cost --network``: a whole network's layers, formats and parallelism, and which devices and boards hold it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.console import Console
from synth.errors import ExitCode, UsageError, usage_errors
from synth.targets import Target

if TYPE_CHECKING:  # the help of the command line needs no numpy
    from synth.cost.layer import LayerShape
    from synth.cost.network import LayerFormats, NetworkCost

DEFAULT_MACS = 16

ACCUMULATORS = {
    "law": "wide enough for any operands (no model is trained for it)",
    "weights": "wide enough for the trained weights and any activations",
    "calibration": "wide enough for the trained weights on the calibration data, which is no guarantee beyond it",
}


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for networks."""
    from synth.__main__ import positive

    group = parser.add_argument_group("network")
    group.add_argument("--network", metavar="NAME|FILE",
                       help="cost a whole network: digits-cnn, digits-residual, digits-vit, or a JSON file of layers "
                            '({"layers": [{"name", "channels", "positions", "terms", "inputs", "groups"}]}); --fmt is '
                            "that of its weights, --fmt-b that of its activations")
    group.add_argument("--layer", metavar="NAME=FMT[,FMT_B]", action="append", default=[],
                       help="other formats for one layer; may be repeated")
    group.add_argument("--macs", metavar="N", type=positive("MACs"), default=DEFAULT_MACS,
                       help=f"multiply-accumulators in all (default: {DEFAULT_MACS})")
    group.add_argument("--shared", action="store_true",
                       help="one array for all layers in turn, rather than hardware for each layer")
    group.add_argument("--back-conversion", action="store_true",
                       help="round each sum to the activations' format in hardware")
    group.add_argument("--accumulators", metavar="RULE", default="law",
                       help="width of the accumulators: " + "; ".join(f"{name}: {text}"
                                                                      for name, text in ACCUMULATORS.items()))


def run_network(arguments: argparse.Namespace, targets: list[Target], console: Console, coster: Any) -> int:
    """Cost the network on the targets, and report.

    Raises
    ------
    UsageError
        If the network, a format, or a layer is unknown, or the options do not go together.
    """
    from synth.cost.network import Arrangement, network_cost

    if arguments.accumulators not in ACCUMULATORS:
        raise UsageError(f"Accumulators must be one of {', '.join(ACCUMULATORS)}, not {arguments.accumulators!r}")
    if arguments.fmt is None:
        raise UsageError("Option --fmt must be given for --network, not left out")
    layers, model, example = _network(arguments, console)
    formats = _formats(arguments, layers)
    if arguments.accumulators != "law":
        _narrow(arguments, model, example, formats)
    arrangement = Arrangement.SHARED if arguments.shared else Arrangement.DATAFLOW
    costs = [network_cost(layers, formats, target=target.name, macs=arguments.macs, coster=coster,
                          arrangement=arrangement, pipeline=arguments.pipeline, dsp=arguments.dsp)
             for target in targets]
    boards = {cost.target: _boards(cost) for cost in costs}
    console.json({"network": arguments.network, "macs": arguments.macs, "arrangement": arrangement.value,
                  "accumulators": arguments.accumulators,
                  "targets": [{**cost.to_json(), "boards": {name: not shortage for name, shortage
                                                           in boards[cost.target].items()}} for cost in costs]})
    _report(costs, boards, arguments, console)
    return ExitCode.DONE


def _network(arguments: argparse.Namespace, console: Console) -> tuple[list[LayerShape], Any, Any]:
    """Return the layers, and for a network that we can train, the model and its calibration data."""
    from synth.cost.layer import read_layers

    name = arguments.network
    if name.endswith(".json") or "/" in name:
        if arguments.accumulators != "law":
            raise UsageError("Accumulators must be 'law' for a network of which only the shapes are known, "
                             f"not {arguments.accumulators!r}")
        return read_layers(Path(name)), None, None
    from synth.cost.models import named_model

    model, example = named_model(name, trained=arguments.accumulators != "law", seed=arguments.seed,
                                 progress=console.progress)
    from synth.cost.shapes import layer_shapes

    return layer_shapes(model, example[:1]), model, example


def _formats(arguments: argparse.Namespace, layers: list[LayerShape]) -> dict[str, LayerFormats]:
    from sw.formats import resolve
    from synth.cost.network import LayerFormats

    def chosen(weight: str, activation: str) -> LayerFormats:
        with usage_errors():
            operands = [resolve(name).format for name in (weight, activation)]
        return LayerFormats(weight=operands[0], activation=operands[1],
                            result=operands[1] if arguments.back_conversion else None)

    names = [layer.name for layer in layers]
    formats = dict.fromkeys(names, chosen(arguments.fmt, arguments.fmt_b or arguments.fmt))
    for item in arguments.layer:
        name, equals, pair = item.partition("=")
        if not equals or not pair:
            raise UsageError(f"Layer must be NAME=FMT or NAME=FMT,FMT_B, not {item!r}")
        if name not in names:
            raise UsageError(f"Layer must be one of {', '.join(names)}, not {name!r}")
        weight, activation = _pair(pair)
        formats[name] = chosen(weight, activation or arguments.fmt_b or weight)
    return formats


def _pair(text: str) -> tuple[str, str]:
    """Split two formats' names at the comma between them, which is none within angle brackets."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "<") - (character == ">")
        if character == "," and not depth:
            return text[:index], text[index + 1:]
    return text, ""


def _narrow(arguments: argparse.Namespace, model: Any, batches: Any, formats: dict[str, LayerFormats]) -> None:
    """Set the accumulators' widths by the trained weights, or by what comes out on the calibration data."""
    import dataclasses

    from synth.cost.models import accumulator_widths

    for name, width in accumulator_widths(model, batches, formats, observed=arguments.accumulators == "calibration"
                                          ).items():
        formats[name] = dataclasses.replace(formats[name], accumulator_width=width)


def _boards(cost: NetworkCost) -> dict[str, dict[str, tuple[int, int]]]:
    """Return what each board of the target's family lacks."""
    from platforms.boards import BOARDS
    from synth.cost.capacity import CAPACITIES

    return {board.name: cost.shortage(CAPACITIES[board.target][board.device]) for board in BOARDS.values()
            if board.target == cost.target}


def _report(costs: list[NetworkCost], boards: dict[str, dict[str, dict[str, tuple[int, int]]]],
            arguments: argparse.Namespace, console: Console) -> None:
    first = costs[0]
    console.table(f"{arguments.network}, {first.arrangement.value}, accumulators by {arguments.accumulators}", [
        "layer", "weight", "activation", "channels", "positions", "terms", "products", "MACs", "cycles", "accumulator",
        "weight bytes"], [
        [cost.layer.name, cost.formats.weight.name, cost.formats.activation.name, cost.layer.channels,
         cost.layer.positions, cost.layer.terms, f"{cost.layer.products:,}", cost.macs, f"{cost.cycles:,}",
         cost.accumulator_width, f"{cost.weight_bytes:,}"] for cost in first.layers])
    console.table("", ["target", "MACs", "LUT", "interval", "FF", "DSP", "BRAM", "cycles an input", "bytes moved",
                       "LUT × products", "LUTs are"], [
        [cost.target, cost.macs, f"{cost.lut:,}", "–" if cost.lut_interval[0] == cost.lut_interval[1] else
         f"{cost.lut_interval[0]:,}–{cost.lut_interval[1]:,}", f"{cost.ff:,}", cost.dsp, cost.bram,
         f"{cost.interval_cycles:,}", f"{cost.moved_bytes:,}", f"{cost.lut_cycles:,.0f}",
         cost.provenance.value] for cost in costs])
    for cost in costs:
        beyond = [layer for layer in cost.layers if layer.mac.extrapolates]
        if beyond:
            reasons = dict.fromkeys(reason for layer in beyond for reason in layer.mac.extrapolates)
            console.warn(f"{cost.target}: the predictions for {', '.join(layer.layer.name for layer in beyond)} go "
                         f"beyond what was measured, and their intervals are guesses ({'; '.join(reasons)})")
        places = {**{f"device {name}": shortage for name, shortage in cost.devices().items()},
                  **{f"board {name}": shortage for name, shortage in boards[cost.target].items()}}
        fitting = [name for name, shortage in places.items() if not shortage]
        if fitting:
            console.print(f"{cost.target}: fits {', '.join(fitting)}")
        for name, shortage in places.items():
            if shortage:
                lack = ", ".join(f"{resource.upper()} {need:,} of {there:,}" for resource, (need, there)
                                 in shortage.items())
                console.print(f"{cost.target}: does not fit {name} ({lack})")
        if not places:
            console.print(f"{cost.target}: no open placer, so no devices are known here")
    console.print("Counted are multiply-accumulators and memories; control, scaling by factors that are no powers of "
                  "two, and layers without products come on top. LUT × products stands for the arithmetic's energy.")
