"""Proofs by SMT solvers: that a mapped netlist is its format's arithmetic, and that two netlists are equal."""

from synth.prove.equivalence import Status, Verdict, equivalent
from synth.prove.machines import unobservable

__all__ = ["Status", "Verdict", "equivalent", "unobservable"]
