"""The product of significands inside a multiplier's netlist: found, run on every pair, and then taken as given.

A solver hardly proves two multipliers equal that are built differently, from some ten bits on. All pairs of two
significands of eleven bits are four million, though, which take a second to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sw.formats import FloatingPointFormat
from synth.netlist import Instruction, PortRegisters, Program, make_engine
from synth.prove.circuit import input_variables, netlist_terms
from synth.prove.evaluate import Values, evaluate

__all__ = ["MAX_PRODUCT_BITS", "Cut", "find_cut", "product_runs"]

MAX_PRODUCT_BITS = 26
"""Bits of two significands of which every pair is run: 67 million vectors."""

_SAMPLES = 4096
_SEED = 1
_BLOCK = 1 << 18

Place = tuple[int, bool]
"""A bit of the product, and whether a register holds its complement."""


@dataclass(frozen=True)
class Cut:
    """Where a netlist has the hidden bits of its operands and the product of their significands.

    Parameters
    ----------
    hidden : mapping of port name to (register, whether it holds the complement)
    product : mapping of register to (bit, whether it holds the complement)
        Each bit of the product is in one register at least.
    """

    hidden: Mapping[str, tuple[int, bool]]
    product: Mapping[int, Place]


def find_cut(program: Program, a: FloatingPointFormat, b: FloatingPointFormat) -> Cut | None:
    """Return the registers that hold the product in random runs; None if a bit of it is nowhere, or none is looked for.

    The program has ports ``a`` and ``b`` of these formats, and no flip-flops.
    """
    inputs = input_variables(program.data_inputs)
    values = {inputs[name].head: _samples(fmt, seed) for seed, (name, fmt) in enumerate((("a", a), ("b", b)))}
    terms = netlist_terms(program, inputs).registers
    computed = [step.target for step in program.instructions if isinstance(step, Instruction)]
    seen: dict[bytes, list[tuple[int, bool]]] = {}
    for register, result in zip(computed, evaluate([terms[register] for register in computed], values), strict=True):
        for inverted in (False, True):
            seen.setdefault((result ^ inverted).tobytes(), []).append((register, inverted))
    hidden: dict[str, tuple[int, bool]] = {}
    significands = []
    for name, fmt in (("a", a), ("b", b)):
        codes = values[inputs[name].head]
        normal = _exponent(codes, fmt) != 0
        if normal.tobytes() not in seen:
            return None
        hidden[name] = seen[normal.tobytes()][0]
        significands.append(_significand(codes, normal, fmt))
    product: dict[int, Place] = {}
    for index in range(a.fraction_bits + b.fraction_bits + 2):
        wanted = (significands[0] * significands[1] >> np.uint64(index) & np.uint64(1)).astype(bool)
        if wanted.tobytes() not in seen:
            return None
        product |= {register: (index, inverted) for register, inverted in seen[wanted.tobytes()]}
    return Cut(hidden, product)


def _samples(fmt: FloatingPointFormat, seed: int) -> Values:
    """Return random codes, of which a third are subnormal, not of the same vectors for both operands."""
    codes = np.random.default_rng(_SEED + seed).integers(0, 1 << fmt.width, _SAMPLES, dtype=np.uint64)
    codes[seed::3] &= np.uint64(~(((1 << fmt.exponent_bits) - 1) << fmt.fraction_bits) & ((1 << fmt.width) - 1))
    return codes


def _exponent(codes: Values, fmt: FloatingPointFormat) -> Values:
    field: Values = codes >> np.uint64(fmt.fraction_bits) & np.uint64((1 << fmt.exponent_bits) - 1)
    return field


def _significand(codes: Values, normal: Values, fmt: FloatingPointFormat) -> Values:
    fraction = codes & np.uint64((1 << fmt.fraction_bits) - 1)
    significand: Values = fraction | normal.astype(np.uint64) << np.uint64(fmt.fraction_bits)
    return significand


def product_runs(program: Program, cut: Cut, a: FloatingPointFormat, b: FloatingPointFormat) -> int | None:
    """Run the part of the netlist that makes the product on every pair of significands.

    Returns
    -------
    int or None
        How many pairs were run and found right; None if one was wrong, or if the product depends on more than the
        significands.
    """
    part = _part(program, cut, a, b)
    if part is None:
        return None
    engine = make_engine(part, "numpy")
    widths = a.fraction_bits + 1, b.fraction_bits + 1
    places = np.array([index for index, _ in cut.product.values()], dtype=np.uint64)
    flips = sum(inverted << row for row, (_, inverted) in enumerate(cut.product.values()))
    # A register may hold the complement of a hidden bit.
    turned = {name: np.uint64(inverted << (width - 1))
              for (name, (_, inverted)), width in zip(cut.hidden.items(), widths, strict=True)}
    total = 1 << sum(widths)
    for start in range(0, total, _BLOCK):
        count = min(_BLOCK, total - start)
        index = np.arange(start, start + count, dtype=np.uint64)
        exact = (index >> np.uint64(widths[1]) ^ turned["a"]) * (index & np.uint64((1 << widths[1]) - 1) ^ turned["b"])
        wanted = np.zeros(count, dtype=np.uint64)
        for row, place in enumerate(places):
            wanted |= (exact >> place & np.uint64(1)) << np.uint64(row)
        got = engine.run_range(start, count, ["a", "b"])["o"]
        if not np.array_equal(got, wanted ^ np.uint64(flips)):
            return None
    return total


def _part(program: Program, cut: Cut, a: FloatingPointFormat, b: FloatingPointFormat) -> Program | None:
    """Return the program from the significands to the registers of the product; None if these look at other inputs."""
    if len(cut.product) > 64:
        return None
    ports = {port.name: port.registers for port in program.data_inputs}
    given = {name: (*ports[name][:fmt.fraction_bits], cut.hidden[name][0]) for name, fmt in (("a", a), ("b", b))}
    known = {0, 1, *given["a"], *given["b"]}
    steps: dict[int, Instruction] = {step.target: step for step in program.instructions
                                     if isinstance(step, Instruction)}
    needed = _cone(steps, list(cut.product), known)
    if needed is None:
        return None
    instructions = tuple(step for step in program.instructions if isinstance(step, Instruction)
                         and step.target in needed)
    return Program(name="product", inputs=tuple(PortRegisters(name, registers) for name, registers in given.items()),
                   outputs=(PortRegisters("o", tuple(cut.product)),), state=(), instructions=instructions,
                   register_count=program.register_count)


def _cone(steps: Mapping[int, Instruction], wanted: Sequence[int], known: set[int]) -> set[int] | None:
    """Return the registers between the known ones and those wanted; None if another input is among them."""
    found: set[int] = set()
    pending = [register for register in wanted if register not in known]
    while pending:
        register = pending.pop()
        if register in found or register in known:
            continue
        if register not in steps:
            return None
        found.add(register)
        pending += [steps[register].a, steps[register].b]
    return found
