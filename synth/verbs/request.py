"""What ``build`` and ``verify`` have in common: from arguments to an operation and targets, and how both report."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from sw.formats import OverflowPolicy, RoundingMode
from synth.errors import ToolMissing, UsageError, usage_errors
from synth.operations import DEFAULT_RANDOM_BITS, FLAGS, OPERATIONS, Operation, Request, find_operation
from synth.targets import TARGETS, Target, find_device, find_target


def add_operation_arguments(parser: argparse.ArgumentParser, *, automatic_pipeline: bool = False) -> None:
    """Add the arguments that describe an operator.

    Parameters
    ----------
    automatic_pipeline : bool
        Whether ``--pipeline auto`` is taken, which is None.
    """
    from synth.__main__ import natural, positive

    width = max(map(len, OPERATIONS))
    parser.epilog = "operations:\n" + "\n".join(
        f"  {kind.name:{width}}  {kind.summary}\n  {'':{width}}  {' '.join(FLAGS[name] for name in kind.options)}"
        for kind in OPERATIONS.values())
    group = parser.add_argument_group("operator")
    group.add_argument("--op", metavar="NAME", default="multiply",
                       help=f"operation: {', '.join(OPERATIONS)} (default: multiply)")
    group.add_argument("--fmt", metavar="NAME",
                       help="format of the operands, and of the result unless --out-fmt says otherwise, such as e4m3, "
                            "int8, 'fixed<8,4>' or 'posit<8,1>'")
    group.add_argument("--fmt-b", metavar="NAME", help="format of the second operand (default: as the first)")
    group.add_argument("--fmt-c", metavar="NAME", help="format of the addend of fma; of what sums start from, for "
                                                       "accumulators (default: none, sums start from zero)")
    group.add_argument("--out-fmt", metavar="NAME", help="format of the result (default: as the first operand)")
    group.add_argument("--accumulator", metavar="NAME",
                       help="format of the accumulator's register; of the sum for a mac whose every step rounds "
                            "(default of the latter: as the first operand)")
    group.add_argument("--accumulator-width", metavar="BITS", type=positive("Accumulator width"),
                       help="width of an exact accumulator (default: as --terms needs)")
    group.add_argument("--terms", metavar="K", type=positive("Terms"), help="longest sum that has to be exact")
    group.add_argument("--lanes", metavar="N", type=positive("Lanes"), help="pairs of operands side by side")
    group.add_argument("--chunk", metavar="N", type=positive("Chunk"), help="terms of a chunk")
    group.add_argument("--hot", metavar="K", type=positive("Hot"), help="most powers of two of a weight")
    group.add_argument("--max-shift", metavar="N", type=natural("Maximum shift"), help="largest power of two")
    group.add_argument("--size", metavar="N", type=positive("Size"), help="rows and columns of the array")
    group.add_argument("--mac", metavar="NAME", help="accumulator in each cell of the array")
    group.add_argument("--random-source", metavar="NAME",
                       help="where random bits come from: port, or lfsr for a register of the circuit's own")
    group.add_argument("--output-lanes", metavar="N", type=positive("Output lanes"), help="sums side by side")
    group.add_argument("--taps", metavar="N", type=positive("Taps"), help="samples of a window")
    for name, help_text in (("height", "rows of a feature map"), ("width", "columns of a feature map"),
                            ("channels", "channels of the feature map that comes in"),
                            ("output-channels", "channels of the one that goes out"),
                            ("channel-groups", "transfers of a pixel"),
                            ("stride", "rows and columns from one position to the next"),
                            ("rows", "image lines that the buffer holds (default: as --max-offset needs)"),
                            ("depth", "words that a line of the buffer holds (default: as a map needs)"),
                            ("read-ports", "reads of a memory bank in a cycle: 3 by copies, or 1 in three cycles"),
                            ("length", "multipliers in the chain"), ("block", "the M of N:M sparsity"),
                            ("vectors", "activation vectors that share the weights"),
                            ("smallest", "least N of N:M sparsity"),
                            ("packed", "most products that share a DSP block"),
                            ("cascade", "multipliers that hand their sums on without an adder between them")):
        noun = name.replace("-", " ").capitalize()
        group.add_argument(f"--{name}", metavar="N", type=positive(noun), help=help_text)
    group.add_argument("--offsets", metavar="KIND", help="of sampling points: none, square, or (line_buffer) bounded")
    group.add_argument("--max-offset", metavar="N", type=natural("Maximum offset"), help="largest offset")
    group.add_argument("--padding", metavar="CODE", type=natural("Padding"), help="code of what lies outside a map")
    group.add_argument("--code-widths", metavar="LIST", help="widths of the weight codes, such as 2,3,4,8")
    group.add_argument("--rounding", metavar="MODE", default="nearest-even",
                       help=f"one of {', '.join(mode.value for mode in RoundingMode)} (default: nearest-even)")
    group.add_argument("--overflow", metavar="POLICY", default="saturate",
                       help=f"one of {', '.join(policy.value for policy in OverflowPolicy)} (default: saturate)")
    group.add_argument("--random-bits", metavar="N", type=positive("Random bits"),
                       help=f"random bits of a stochastic rounding (default: {DEFAULT_RANDOM_BITS})")
    group.add_argument("--structure", metavar="NAME",
                       help="how the circuit is built, where it can be in several ways, such as normalise-product "
                            "(default: the one that won the measurement)")
    group.add_argument("--pipeline", metavar="N", default=0,
                       type=_stages_or_auto if automatic_pipeline else natural("Pipeline"),
                       help="register stages (default: 0, combinational)" + (
                           "; auto finds the fewest that reach --mhz on the one --target" if automatic_pipeline
                           else ""))
    group.add_argument("--dsp", action="store_true", help="allow hard multipliers")


def _stages_or_auto(text: str) -> int | None:
    """Read a number of pipeline stages for argparse, None for ``auto``."""
    from synth.__main__ import natural

    return None if text == "auto" else natural("Pipeline")(text)


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how much of a mapped netlist is run, and by what."""
    from synth.__main__ import positive

    group = parser.add_argument_group("check")
    group.add_argument("--exhaustive", action="store_true",
                       help="run every combination of up to 32 operand bits rather than 24 (2^26 take some 20 s a "
                            "target)")
    group.add_argument("--samples", metavar="N", type=positive("Samples"),
                       help="random vectors where not every combination is run, and transfers through a stream "
                            "operation (default: 1048576)")
    group.add_argument("--engine", metavar="NAME", default="auto",
                       help="what runs the mapped netlist: numpy, llvm, torch, or auto: llvm where it is installed and "
                            "sooner done (default: auto)")


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--target``."""
    parser.add_argument("--target", metavar="NAME", action="append",
                        help=f"one of {', '.join(TARGETS)}; may be repeated (default: all)")


def chosen_targets(arguments: argparse.Namespace, default: Sequence[str] | None = None) -> list[Target]:
    """Return the targets asked for, in the order of the table, each once.

    Raises
    ------
    UsageError
        If a name is unknown, or a device was asked for and not one target.
    """
    names = [part for item in arguments.target or default or TARGETS for part in item.split(",")]
    wanted = {find_target(name).name for name in names}
    if getattr(arguments, "device", None) is not None and len(wanted) != 1:
        raise UsageError(f"Device must come with one --target, not {len(wanted)}: {arguments.device!r}")
    targets = [target for target in TARGETS.values() if target.name in wanted]
    for target in targets:
        # Refuses a device of another family before any work.
        find_device(target, getattr(arguments, "device", None), dsp=arguments.dsp)
    return targets


def operation_from(arguments: argparse.Namespace) -> tuple[Operation, list[str]]:
    """Return the operation that the arguments describe, and which formats were understood and how to ask for others.

    Raises
    ------
    UsageError
        If an argument names nothing, or the parameters do not go together.
    """
    names = ("op", *FLAGS, "rounding", "overflow", "random_bits", "structure", "pipeline", "dsp")
    request = Request(**{name: getattr(arguments, name) for name in names})
    return request.operation(find_operation(arguments.op)), request.notes


def check_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how much is to be checked and by what, as keyword arguments of a plan.

    Raises
    ------
    UsageError
        If there is no such engine.
    ToolMissing
        If it is not installed.
    """
    from synth.build import EXHAUSTIVE_BITS, MAX_EXHAUSTIVE_BITS, SAMPLES
    from synth.netlist.make import check_engine

    try:
        with usage_errors():                             # of the environment variables as well
            check_engine(arguments.engine)
    except ImportError as error:
        raise ToolMissing(arguments.engine, str(error)) from error
    return {"exhaustive_bits": MAX_EXHAUSTIVE_BITS if arguments.exhaustive else EXHAUSTIVE_BITS,
            "samples": arguments.samples or SAMPLES, "engine": arguments.engine}


def describe(operation: Operation, notes: Sequence[str]) -> str:
    """Say which formats were understood and how to ask for others, and which circuit is meant."""
    return "\n".join([*notes, operation.describe()])


def verdict(operation: Operation, results: Sequence[dict[str, Any]]) -> list[str]:
    """Say how many vectors agree, in one line for all targets of which the same holds."""
    lines: dict[str, list[str]] = {}
    for result in results:
        verification = result.get("verification")
        if not verification:
            continue
        line = _coverage(operation, verification)
        line += f" of the mapped netlist agree with {' and with '.join(f'the {n}' for n in verification['against'])}"
        if verification["skipped"]:
            line += f" (torch quantizer not asked: {verification['skipped']})"
        if verification["first_mismatch"]:
            line += f"; first mismatch: {describe_difference(operation, verification['first_mismatch'])}"
        lines.setdefault(line, []).append(TARGETS[result["target"]].title)
    return [f"{', '.join(titles)}: {line}" for line, titles in lines.items()]


def _coverage(operation: Operation, verification: Mapping[str, Any]) -> str:
    count, wrong = verification["vectors"], verification["mismatches"]
    right = max(0, count - wrong)
    if verification["method"] == "sequences":
        return (f"{right:,} of {count:,} results ({verification['transfers']:,} transfers in "
                f"{verification['sequences']:,} sequences with {verification['stalls']:,} stalls and "
                f"{verification['resets']:,} resets; latency measured {verification['latency_checked']:,} times)")
    pairs = list(operation.model.inputs) == ["a", "b"] and verification["method"] == "exhaustive"
    parts = ", ".join(f"{number:,} {kind}" for kind, number in verification["parts"].items())
    method = verification["method"] if verification["method"] == "exhaustive" else f"corners+random: {parts}"
    return f"{right:,} of {count:,} {'operand pairs' if pairs else 'vectors'} ({method})"


def describe_difference(operation: Operation, first: Mapping[str, Any]) -> str:
    """Describe a mismatch of a netlist: ``inputs``, ``got`` and ``want``, and for a stream the ``rule`` it breaks."""
    if "rule" in first:
        where = f" in sequence {first['sequence']} before transfer {first['transfer']}" if "sequence" in first else ""
        text = f"{first['rule']}{where}"
    else:
        text = ", ".join(f"{name} {_value(operation, name, code)}" for name, code in first["inputs"].items())
    if "got" in first:
        text += " gives " + ", ".join(f"{_value(operation, name, code)}, not "
                                      f"{_value(operation, name, first['want'][name])}"
                                      for name, code in first["got"].items())
    return text


def _value(operation: Operation, name: str, code: int | list[int]) -> str:
    from synth.verify import describe_value

    fmt = operation.ports[name].format
    if isinstance(code, list):
        return f"[{', '.join(describe_value(fmt, item) for item in code)}]"
    return describe_value(fmt, code)
