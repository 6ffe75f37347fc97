"""Proof that a circuit is its format's arithmetic, on the mapped netlist itself."""

from synth.verify.agreement import Expectation, check, describe_value, expect
from synth.verify.vectors import Vectors, corner_codes, operand_vectors

__all__ = ["Expectation", "Vectors", "check", "corner_codes", "describe_value", "expect", "operand_vectors"]
