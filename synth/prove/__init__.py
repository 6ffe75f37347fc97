"""Proofs by SMT solvers: that a mapped netlist is its format's arithmetic, and that two netlists are equal."""

from synth.prove.equivalence import Status, Verdict, equivalent
from synth.prove.invariants import Held, exclusions, following
from synth.prove.machines import unobservable
from synth.prove.masking import masked

__all__ = ["Held", "Status", "Verdict", "equivalent", "exclusions", "following", "masked", "unobservable"]
