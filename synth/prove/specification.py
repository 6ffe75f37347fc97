"""What a netlist is proved to be: outputs as terms of inputs, and what the terms stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from synth.prove.terms import Term

__all__ = ["Specification"]


@dataclass(frozen=True, kw_only=True)
class Specification:
    """An operation without memory as terms.

    Parameters
    ----------
    inputs, outputs : mapping of port name to Term
        Bit-vectors; the inputs are variables.
    definitions : tuple of Term
        What defines the variables in the outputs that are no inputs; true for some value of these whatever the inputs.
    theory : str
        In whose terms, for a reader.
    assumptions : tuple of str
        What a reader has to know to agree that the terms are the operation.
    """

    inputs: Mapping[str, Term]
    outputs: Mapping[str, Term]
    definitions: tuple[Term, ...]
    theory: str
    assumptions: tuple[str, ...]
