"""What every exact reference offers: its ports, and its answers for arrays of codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat
from sw.formats.check import check_integer

Codes: TypeAlias = NDArray[Any]
"""Unsigned integers: uint64, or Python integers (``object``) for ports of more than 64 bits. Shape ``(vectors,)``, or
``(vectors, lanes)`` for a port with lanes."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of an operation, and the field of the same name in its hardware.

    Parameters
    ----------
    width : int, bits
        Of one lane.
    format : ScalarFormat, optional
        What the codes stand for; None for plain bits such as random bits and flags.
    lanes : int, optional
        How many codes stand side by side, the first one in the lowest bits; None for a single code.
    limit : int, optional
        Codes lie below it; ``2**width`` by default. A port without a format may admit fewer.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer, or out of range.
    """

    width: int
    format: ScalarFormat | None = None
    lanes: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        check_integer("Port width", self.width)
        if self.width < 1:
            raise ValueError(f"Port width must be at least 1 bit, not {self.width!r}")
        if self.lanes is not None:
            check_integer("Port lanes", self.lanes)
            if self.lanes < 1:
                raise ValueError(f"Port lanes must be at least 1, not {self.lanes!r}")
        if self.limit is not None and not 1 <= self.limit <= 1 << self.width:
            raise ValueError(f"Port limit must be between 1 and {1 << self.width}, not {self.limit!r}")

    @classmethod
    def of(cls, fmt: ScalarFormat, lanes: int | None = None) -> "Port":
        """Return a port for codes of ``fmt``."""
        return cls(width=fmt.width, format=fmt, lanes=lanes)

    @property
    def codes(self) -> int:
        """How many codes a lane can have."""
        return 1 << self.width if self.limit is None else self.limit

    @property
    def bits(self) -> int:
        """Bits of all lanes together."""
        return self.width * (self.lanes or 1)

    def check(self, noun: str, codes: Codes) -> None:
        """Refuse codes that do not fit.

        Raises
        ------
        TypeError
            If they are not integers.
        ValueError
            If one is out of range, or the shape is not that of the lanes.
        """
        if not (np.issubdtype(codes.dtype, np.integer) or codes.dtype == object):
            raise TypeError(f"{noun} must be an array of integers, not of {codes.dtype}")
        shape = (len(codes),) if self.lanes is None else (len(codes), self.lanes)
        if codes.shape != shape:
            raise ValueError(f"{noun} must be of shape {shape}, not {codes.shape}")
        if codes.size and not (int(codes.min()) >= 0 and int(codes.max()) < self.codes):
            raise ValueError(f"{noun} must be between 0 and {self.codes - 1}, "
                             f"not {int(codes.min())} to {int(codes.max())}")


@runtime_checkable
class Function(Protocol):
    """The reference of an operation without memory."""

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Input ports, in the order in which a call takes them."""

    @property
    def outputs(self) -> Mapping[str, Port]:
        """Output ports."""

    def evaluate(self, inputs: Mapping[str, Codes]) -> dict[str, Codes]:
        """Return the codes of every output for arrays of input codes."""


class Run(Protocol):
    """Independent sequences of one stream operation, side by side."""

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every sequence that ``accepted`` marks.

        Parameters
        ----------
        inputs : mapping of port name to codes, first dimension the sequences
            Codes of sequences that are not marked mean nothing.
        accepted : bool array, one a sequence

        Returns
        -------
        sequence of (produced, outputs)
            The transfers that this one causes on the output, in order; ``produced`` marks the sequences that make it.
        """

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked sequences back to the state after power-up."""


@runtime_checkable
class Stream(Protocol):
    """The reference of an operation with memory, whose ports are a stream of inputs and a stream of outputs."""

    @property
    def inputs(self) -> Mapping[str, Port]:
        """Fields of an input transfer."""

    @property
    def outputs(self) -> Mapping[str, Port]:
        """Fields of an output transfer."""

    def start(self, sequences: int) -> Run:
        """Return fresh sequences."""


def check_inputs(ports: Mapping[str, Port], inputs: Mapping[str, Codes]) -> int:
    """Refuse inputs that are not one array of fitting codes for every port; return how many vectors they hold.

    Raises
    ------
    TypeError, ValueError
        As :meth:`Port.check`, and if a port is missing, unknown, or of another length.
    """
    if set(inputs) != set(ports):
        raise ValueError(f"Inputs must be {', '.join(ports)}, not {', '.join(inputs) or 'none'}")
    count = len(next(iter(inputs.values())))
    for name, port in ports.items():
        port.check(f"Input {name}", inputs[name])
        if len(inputs[name]) != count:
            raise ValueError(f"Input {name} must have as many vectors as the others, {count}, "
                             f"not {len(inputs[name])}")
    return count
