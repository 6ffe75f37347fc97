"""What ``build`` and ``verify`` have in common: from arguments to an operation and targets, and how both report."""

import argparse
from collections.abc import Sequence
from typing import Any

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat, number, resolve
from sw.reference import Multiplication
from synth.errors import UsageError, usage_errors
from synth.operations import Operation
from synth.targets import TARGETS, Target, find_device, find_target

DEFAULT_RANDOM_BITS = 8
"""Random bits of a stochastic rounding unless asked otherwise."""


def add_operation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that describe an operator."""
    from synth.__main__ import natural, positive

    group = parser.add_argument_group("operator")
    group.add_argument("--fmt", metavar="NAME", required=True,
                       help="format of the operands and the result, such as e4m3, int8 or 'fixed<8,4>'")
    group.add_argument("--fmt-b", metavar="NAME", help="format of the second operand (default: as the first)")
    group.add_argument("--out-fmt", metavar="NAME", help="format of the result (default: as the first operand)")
    group.add_argument("--op", metavar="NAME", default="multiply", help="operation (default: multiply)")
    group.add_argument("--rounding", metavar="MODE", default="nearest-even",
                       help=f"one of {', '.join(mode.value for mode in RoundingMode)} (default: nearest-even)")
    group.add_argument("--overflow", metavar="POLICY", default="saturate",
                       help=f"one of {', '.join(policy.value for policy in OverflowPolicy)} (default: saturate)")
    group.add_argument("--random-bits", metavar="N", type=positive("Random bits"),
                       help=f"random bits of a stochastic rounding (default: {DEFAULT_RANDOM_BITS})")
    group.add_argument("--pipeline", metavar="N", type=natural("Pipeline"), default=0,
                       help="register stages (default: 0, combinational)")
    group.add_argument("--dsp", action="store_true", help="allow hard multipliers")


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
        find_device(target, getattr(arguments, "device", None))  # refuses one of another family before any work
    return targets


def operation_from(arguments: argparse.Namespace) -> Operation:
    """Return the operation that the arguments describe.

    Raises
    ------
    UsageError
        If an argument names nothing, or the parameters do not go together.
    """
    if arguments.op != "multiply":
        raise UsageError(f"Operation must be multiply, the only one of this version, not {arguments.op!r}")
    with usage_errors():
        a = resolve(arguments.fmt).format
        b = a if arguments.fmt_b is None else resolve(arguments.fmt_b).format
        result = a if arguments.out_fmt is None else resolve(arguments.out_fmt).format
        rounding = _member(RoundingMode, "Rounding mode", arguments.rounding)
        random_bits = arguments.random_bits or (DEFAULT_RANDOM_BITS if rounding is RoundingMode.STOCHASTIC else 0)
        model = Multiplication(a=a, b=b, result=result, rounding=rounding, random_bits=random_bits,
                               overflow=_member(OverflowPolicy, "Overflow policy", arguments.overflow))
    return Operation(name=arguments.op, model=model, pipeline=arguments.pipeline, dsp=arguments.dsp)


def _member(kind: Any, noun: str, text: str) -> Any:
    values = [member.value for member in kind]
    if text not in values:
        raise UsageError(f"{noun} must be one of {', '.join(values)}, not {text!r}")
    return kind(text)


def describe(arguments: argparse.Namespace, operation: Operation) -> str:
    """Say which formats were understood and how to ask for others, and which circuit is meant."""
    model = operation.model
    notes = [resolve(name).note for name in (arguments.fmt, arguments.fmt_b, arguments.out_fmt) if name is not None]
    lines = list(dict.fromkeys(note for note in notes if note))
    overflow = {
        OverflowPolicy.SATURATE: f"saturating at {_range(model.result)}",
        OverflowPolicy.SATURATE_SYMMETRIC: f"saturating at ±{number(model.result.max_finite)}",
        OverflowPolicy.INFINITY: "overflowing to "
                                 + ("infinity" if model.result.has_infinity else "NaN"),
        OverflowPolicy.WRAP: "wrapping",
    }[model.overflow]
    other = next((policy for policy in (OverflowPolicy.INFINITY, OverflowPolicy.WRAP)
                  if policy is not model.overflow and _applies(model.result, policy)), None)
    if other is not None:
        overflow += f" (--overflow {other.value} asks otherwise)"
    plural = "s" if operation.pipeline > 1 else ""
    stages = f"{operation.pipeline} pipeline stage{plural}" if operation.pipeline else "combinational"
    lines.append(f"{operation.name}: {model.a.name} × {model.b.name} → {model.result.name}, "
                 f"rounding {model.rounding.value}, {overflow}, {stages}")
    return "\n".join(lines)


def _range(fmt: ScalarFormat) -> str:
    if fmt.min_finite == -fmt.max_finite:
        return f"±{number(fmt.max_finite)}"
    return f"{number(fmt.min_finite)} and {number(fmt.max_finite)}"


def _applies(fmt: ScalarFormat, policy: OverflowPolicy) -> bool:
    try:
        fmt.check_overflow(policy)
    except ValueError:
        return False
    return True


def verdict(operation: Operation, results: Sequence[dict[str, Any]]) -> list[str]:
    """Say how many vectors agree, in one line for all targets of which the same holds."""
    from synth.verify import describe_value

    lines: dict[str, list[str]] = {}
    for result in results:
        verification = result.get("verification")
        if not verification:
            continue
        vectors, wrong = verification["vectors"], verification["mismatches"]
        kind = "operand pairs" if verification["method"] == "exhaustive" and not operation.model.random_bits \
            else "vectors"
        against = " and with ".join(f"the {name}" for name in verification["against"])
        line = f"{vectors - wrong:,} of {vectors:,} {kind} ({verification['method']}) of the mapped netlist agree " \
               f"with {against}"
        if verification["skipped"]:
            line += f" (torch quantizer not asked: {verification['skipped']})"
        first = verification["first_mismatch"]
        if first:
            model = operation.model
            line += (f"; first mismatch: {describe_value(model.a, first['a'])} × "
                     f"{describe_value(model.b, first['b'])} gives {describe_value(model.result, first['got'])}, "
                     f"not {describe_value(model.result, first['want'])}")
        lines.setdefault(line, []).append(TARGETS[result["target"]].title)
    return [f"{', '.join(titles)}: {line}" for line, titles in lines.items()]
