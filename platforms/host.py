"""The host's end of the link: calls an operator on a board as if it were a function."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from platforms.protocol import LinkProtocol
from synth.errors import SynthError, UsageError


class LinkError(SynthError):
    """A board that cannot be reached, or that does not answer as it should."""


class LinkTimeout(LinkError):
    """A board that did not answer in time."""


class Transport(Protocol):
    """A serial line: a real port, or a simulation that stands in for one."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, count: int, timeout: float) -> bytes:
        """Return ``count`` received bytes, or fewer if ``timeout`` seconds pass first."""

    def discard_input(self) -> None:
        """Forget what was received and not read."""

    def pause(self, seconds: float) -> None:
        """Leave the line quiet for a time."""

    def close(self) -> None:
        """Release the line."""


def _port_errors() -> tuple[type[Exception], ...]:
    """Return what pyserial lets through when a port goes away: OSError, and on POSIX the terminal's own error."""
    try:
        import termios
    except ImportError:
        return (OSError,)
    return (OSError, termios.error)


class SerialTransport:
    """A serial port of this machine.

    Parameters
    ----------
    port : str
        Its name, as ``/dev/ttyUSB1`` or ``COM4``.
    baud : int

    Raises
    ------
    LinkError
        If it cannot be opened; the message lists the ports there are.
    """

    def __init__(self, port: str, *, baud: int) -> None:
        import serial  # opens no port at import, but takes 30 ms

        self._name, self._errors = port, _port_errors()
        try:
            self._port = serial.Serial(port, baudrate=baud, timeout=1, write_timeout=5, exclusive=True)
        except (*self._errors, ValueError) as error:
            raise LinkError(_cannot_open(port, error)) from error

    def write(self, data: bytes) -> None:
        """Send bytes. Raises :class:`LinkError` if the port is gone."""
        try:
            self._port.write(data)
            self._port.flush()
        except self._errors as error:
            raise self._gone(error) from error

    def read(self, count: int, timeout: float) -> bytes:
        """Return received bytes. Raises :class:`LinkError` if the port is gone."""
        try:
            self._port.timeout = timeout
            return bytes(self._port.read(count))
        except self._errors as error:
            raise self._gone(error) from error

    def discard_input(self) -> None:
        """Forget what was received. Raises :class:`LinkError` if the port is gone."""
        try:
            self._port.reset_input_buffer()
        except self._errors as error:
            raise self._gone(error) from error

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def close(self) -> None:
        """Release the port."""
        self._port.close()

    def _gone(self, error: Exception) -> LinkError:
        return LinkError(f"Serial port {self._name!r} must stay connected: {error}")


def _cannot_open(port: str, error: Exception) -> str:
    from serial.tools import list_ports

    present = ", ".join(sorted(found.device for found in list_ports.comports())) or "none"
    mend = ""
    if "denied" in str(error).lower():
        mend = "; on Linux add your user to the group that owns it (dialout on Debian) and log in again"
    return f"Serial port must be one that can be opened, not {port!r} ({error}); present: {present}{mend}"


class Link:
    """An operator on a board, called as a function: ``link(a, b)`` returns the result's code.

    One operation at a time. Before the first one, and after one that failed, the line is left quiet for longer than
    the board's idle time and what arrived is thrown away: both ends then agree again on where an operation begins.

    Parameters
    ----------
    transport : Transport
    protocol : LinkProtocol
    baud : int
        Bits per second of the line, which the idle time follows from.
    timeout : float, seconds
        How long to wait for an answer.

    Raises
    ------
    ValueError
        If the baud rate or the timeout is not positive.
    """

    def __init__(self, transport: Transport, protocol: LinkProtocol, *, baud: int, timeout: float = 1.0) -> None:
        if baud <= 0:
            raise ValueError(f"Baud rate must be positive, not {baud!r}")
        if timeout <= 0:
            raise ValueError(f"Timeout must be positive, not {timeout!r} s")
        self._transport, self._protocol = transport, protocol
        self._quiet = 1.5 * protocol.idle_bits / baud
        self._timeout = timeout
        self._in_step = False

    @property
    def protocol(self) -> LinkProtocol:
        """The operands and the result."""
        return self._protocol

    def __call__(self, *codes: int) -> int:
        """Return the result's code for one code per operand.

        Raises
        ------
        TypeError, ValueError
            As :meth:`~platforms.protocol.LinkProtocol.encode`; nothing was sent.
        LinkTimeout
            If the answer did not come in time.
        LinkError
            If it was no code of the result, or the line is gone.
        """
        request = self._protocol.encode(codes)
        if not self._in_step:
            self.resynchronize()
        self._in_step = False
        self._transport.write(request)
        expected = self._protocol.result.bytes
        answer = self._transport.read(expected, self._timeout)
        if len(answer) < expected:
            raise LinkTimeout(f"Board must answer with {expected} byte(s) within {self._timeout:g} s, not "
                              f"{len(answer)}; check that it is flashed with this design, and the port and baud rate")
        try:
            result = self._protocol.decode(answer)
        except ValueError as error:
            raise LinkError(str(error)) from error
        self._in_step = True
        return result

    def resynchronize(self) -> None:
        """Make both ends forget what they hold. Raises :class:`LinkError` if the line is gone."""
        self._transport.pause(self._quiet)
        self._transport.discard_input()
        self._in_step = True

    def close(self) -> None:
        """Release the line."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()


def open_link(port: str, description: Path, *, timeout: float = 1.0) -> Link:
    """Return the link to a board on a serial port, as the ``link.json`` beside its bitstream describes it.

    Parameters
    ----------
    port : str
        As ``/dev/ttyUSB1`` or ``COM4``.
    description : Path
        The file ``link.json``, or the folder that holds it.
    timeout : float, seconds
        How long to wait for an answer.

    Raises
    ------
    UsageError
        If the description cannot be read.
    LinkError
        If the port cannot be opened.
    """
    path = description / "link.json" if description.is_dir() else description
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        protocol, baud = LinkProtocol.from_json(document), int(document["baud"])
    except OSError as error:
        raise UsageError(f"Link description must be a file, not '{path}': {error.strerror}; "
                         "build the board to make it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"Link description '{path}' must be one that build wrote: {error}") from error
    return Link(SerialTransport(port, baud=baud), protocol, baud=baud, timeout=timeout)
