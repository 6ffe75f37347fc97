"""The operations that can be built, by name, and what a request for one says in full."""

from synth.operations.kinds import OPERATIONS, find_operation
from synth.operations.operation import Operation, OperationKind, describe_overflow, slug
from synth.operations.request import DEFAULT_RANDOM_BITS, FLAGS, Request

__all__ = ["DEFAULT_RANDOM_BITS", "FLAGS", "OPERATIONS", "Operation", "OperationKind", "Request", "describe_overflow",
           "find_operation", "slug"]
