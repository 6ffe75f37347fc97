"""The one exception of the netlist engine."""

from __future__ import annotations

from synth.errors import SynthError


class NetlistError(SynthError, ValueError):
    """A netlist that the engine refuses to run: unreadable, ambiguous, or with cells it does not model.

    The message names the cell, port or net, the constraint and the value.
    """
