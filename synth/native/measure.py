"""How fast an operator's native form is on one core of this machine, beside the bound of its instructions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth.bench.native_timing import CPU, Effort, Side, rates
from synth.native.native_form import NativeForm
from synth.native.throughput import BoundLoop, TileLoop
from synth.netlist.packing import code_type
from synth.operations import Operation

__all__ = ["Speed", "measure"]

_TILES = 4
"""Tiles that are run in turn: few enough for all their planes to stay in the first-level cache."""

_WORD_BITS = 64


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one core does.

    Parameters
    ----------
    operations : float
        A second; of an operator with memory, clock cycles of a lane.
    instructions : float
        Of the operator's look-ups, a second.
    bound : float
        Instructions of this kind a second, on registers alone.
    """

    operations: float
    instructions: float
    bound: float

    @property
    def fraction(self) -> float:
        """Part of the bound that is reached."""
        return self.instructions / self.bound


def measure(operation: Operation, form: NativeForm, *, seed: int, effort: Effort | None = None) -> Speed:
    """Time planes in the cache: the logic alone, without packing. An accumulator's step feeds its sum back.

    Raises
    ------
    ImportError
        If llvmlite is not installed.
    """
    feedback = {"o": "c"} if operation.name == "mac" and not operation.is_stream else {}
    loop = TileLoop(form.program, form.isa, feedback=feedback)
    generator, count = np.random.default_rng(seed), _TILES * form.isa.lanes
    inputs = {port.name: _random(generator, port.width, count) for port in form.program.data_inputs
              if port.name not in feedback.values()}
    tiles, bound = loop.prepared(inputs), BoundLoop(form.isa)
    measured = rates({"operations": Side.of(tiles.vectors, tiles.run, CPU),
                      "bound": Side.of(bound.instructions, bound.run, CPU)}, effort or Effort())
    return Speed(operations=measured["operations"], bound=measured["bound"],
                 instructions=measured["operations"] / form.isa.lanes * loop.instructions)


def _random(generator: np.random.Generator, width: int, count: int) -> np.ndarray:
    """Return random codes of a width; of more than 64 bits as Python's integers."""
    words = generator.integers(0, 1 << _WORD_BITS, (-(-width // _WORD_BITS), count), dtype=np.uint64)
    if len(words) == 1:
        narrow: np.ndarray = (words[0] & np.uint64((1 << width) - 1)).astype(code_type(width))
        return narrow
    codes = sum(word.astype(object) << (_WORD_BITS * place) for place, word in enumerate(words))
    wide: np.ndarray = codes & ((1 << width) - 1)
    return wide
