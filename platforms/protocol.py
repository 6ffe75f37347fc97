"""What goes over the wire: which bytes an operation is, known to the gateware and to the host alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

IDLE_BITS = 1024
"""Bit times of a quiet line after which a board forgets a half-received operation."""

FRAME_BITS = 10
"""Bit times of a byte on the wire: start bit, eight data bits, stop bit (8N1)."""


def byte_count(width: int) -> int:
    """Return how many bytes carry a code of ``width`` bits."""
    return (width + 7) // 8


@dataclass(frozen=True, kw_only=True)
class Port:
    """An operand or the result: its name, and its width in bits.

    Raises
    ------
    ValueError
        If ``width`` is less than 1.
    """

    name: str
    width: int

    def __post_init__(self) -> None:
        if isinstance(self.width, bool) or not isinstance(self.width, int):
            raise TypeError(f"Width of port {self.name!r} must be an integer, not {self.width!r}")
        if self.width < 1:
            raise ValueError(f"Width of port {self.name!r} must be at least 1 bit, not {self.width!r}")

    @property
    def bytes(self) -> int:
        """Bytes on the wire."""
        return byte_count(self.width)


@dataclass(frozen=True, kw_only=True)
class LinkProtocol:
    """The plain protocol of one operator behind a UART.

    The host sends each operand, in order, as ``ceil(width / 8)`` bytes, least significant first; bits above the width
    are ignored. The board answers with ``ceil(width / 8)`` bytes of the result, least significant first, bits above
    the width zero. One operation at a time: the host waits for the answer before it sends the next operands. A line
    that stays quiet for ``idle_bits`` bit times within an operation makes the board forget the bytes it holds, so a
    host that lost count waits that long and starts again.

    Parameters
    ----------
    operands : sequence of Port
    result : Port
    idle_bits : int, bit times

    Raises
    ------
    ValueError
        If there is no operand, or ``idle_bits`` is less than 16: a byte alone keeps the line high for up to 10.
    """

    operands: tuple[Port, ...]
    result: Port
    idle_bits: int = IDLE_BITS

    def __post_init__(self) -> None:
        object.__setattr__(self, "operands", tuple(self.operands))
        if not self.operands:
            raise ValueError("Operands must be at least one port, not ()")
        if isinstance(self.idle_bits, bool) or not isinstance(self.idle_bits, int):
            raise TypeError(f"Idle time must be an integer number of bit times, not {self.idle_bits!r}")
        if self.idle_bits < 16:
            raise ValueError(f"Idle time must be at least 16 bit times, not {self.idle_bits!r}; "
                             "a byte alone keeps the line high for up to 10")

    @property
    def request_bytes(self) -> int:
        """Bytes the host sends for an operation."""
        return sum(port.bytes for port in self.operands)

    def encode(self, codes: Sequence[int]) -> bytes:
        """Return the bytes of an operation.

        Raises
        ------
        TypeError
            If there are more or fewer codes than operands, or one is not an integer.
        ValueError
            If a code does not fit its operand's width.
        """
        names = ", ".join(port.name for port in self.operands)
        if len(codes) != len(self.operands):
            raise TypeError(f"Codes must be {len(self.operands)} ({names}), not {len(codes)}")
        return b"".join(_code_bytes(port, code) for port, code in zip(self.operands, codes, strict=True))

    def decode(self, data: bytes) -> int:
        """Return the result's code from the bytes of an answer.

        Raises
        ------
        ValueError
            If the number of bytes is wrong, or a bit above the result's width is set: the answer of another design.
        """
        if len(data) != self.result.bytes:
            raise ValueError(f"Answer must be {self.result.bytes} bytes, not {len(data)}")
        code = int.from_bytes(data, "little")
        if code >> self.result.width:
            raise ValueError(f"Answer must be a code of {self.result.width} bits, not 0x{code:x}; "
                             "is another design loaded on the board?")
        return code

    def to_json(self) -> dict[str, Any]:
        """Return the description that ``build`` leaves beside a bitstream."""
        return {"operands": [{"name": port.name, "width": port.width} for port in self.operands],
                "result": {"name": self.result.name, "width": self.result.width}, "idle_bits": self.idle_bits}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the protocol that :meth:`to_json` described.

        Raises
        ------
        ValueError
            If the document is not such a description.
        """
        try:
            operands = tuple(Port(name=str(port["name"]), width=port["width"]) for port in document["operands"])
            result = Port(name=str(document["result"]["name"]), width=document["result"]["width"])
            return cls(operands=operands, result=result, idle_bits=document["idle_bits"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"Link description must have operands, a result and idle_bits, not {document!r} "
                             f"({error}); build the board again to renew it") from error


def _code_bytes(port: Port, code: int) -> bytes:
    # Integers of numpy are welcome: whatever can be an index.
    try:
        value = code.__index__()
    except AttributeError:
        raise TypeError(f"Code of {port.name} must be an integer, not {code!r}") from None
    if not 0 <= value < 1 << port.width:
        raise ValueError(f"Code of {port.name} must be 0 to 0x{(1 << port.width) - 1:x} ({port.width} bits), "
                         f"not {value!r}")
    return value.to_bytes(port.bytes, "little")
