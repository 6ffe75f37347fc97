"""An operation from a few names, as the command line makes one."""

from typing import Any

from synth.operations import Operation, Request, find_operation

__all__ = ["operator"]


def operator(op: str, **options: Any) -> Operation:
    """Return the operation that the command line would make of the same options.

    Parameters
    ----------
    op : str
        Name of the operation, as ``--op`` takes it: ``"multiply"``, ``"fma"``, ``"chunked_mac"``.
    **options
        Fields of :class:`~synth.operations.Request`: ``fmt="e4m3"``, ``accumulator="float16_e6m9"``, ``chunk=64``.

    Raises
    ------
    UsageError
        If there is no such operation or format, an option is not one of the operation's, or one is missing.
    TypeError
        If an option is no field of a request.
    """
    return Request(op=op, **options).operation(find_operation(op))
