"""Proof that a circuit is its format's arithmetic, on the mapped netlist itself."""

from synth.verify.agreement import Expected, check, describe_value, expect
from synth.verify.functions import Expectation, check_function
from synth.verify.streams import check_stream
from synth.verify.throughput import Trace, full_speed
from synth.verify.transfers import Stimulus, Transfers, stream_transfers
from synth.verify.vectors import Vectors, corner_codes, function_vectors

__all__ = ["Expectation", "Expected", "Stimulus", "Trace", "Transfers", "Vectors", "check", "check_function",
           "check_stream", "corner_codes", "describe_value", "expect", "full_speed", "function_vectors",
           "stream_transfers"]
