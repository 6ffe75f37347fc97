"""The host's end against a stand-in for the board, and over a pseudo-terminal for the serial port itself."""

import contextlib
import json
import os
import sys
import threading

import pytest

from platforms.host import Link, LinkError, LinkTimeout, SerialTransport, open_link
from platforms.protocol import LinkProtocol, Port
from synth.errors import ExitCode, UsageError

PROTOCOL = LinkProtocol(operands=(Port(name="a", width=8), Port(name="b", width=12)), result=Port(name="o", width=12))


def add(a, b):
    return (a + b) & 0xFFF


class FakeBoard:
    """A board in the place of a serial line; ``garble`` may change an answer."""

    def __init__(self, garble=lambda answer: answer):
        self.garble, self.held, self.answer, self.log = garble, b"", b"", []

    def write(self, data):
        self.log.append(("write", data))
        self.held += data
        if len(self.held) >= PROTOCOL.request_bytes:
            a, b = self.held[0], int.from_bytes(self.held[1:3], "little") & 0xFFF
            self.held = self.held[3:]
            self.answer += self.garble(add(a, b).to_bytes(2, "little"))

    def read(self, count, timeout):
        self.log.append(("read", count, timeout))
        data, self.answer = self.answer[:count], self.answer[count:]
        return data

    def discard_input(self):
        self.log.append(("discard",))
        self.answer = b""

    def pause(self, seconds):
        self.log.append(("pause", seconds))
        self.held = b""

    def close(self):
        self.log.append(("close",))


def test_call():
    board = FakeBoard()
    with Link(board, PROTOCOL, baud=115_200, timeout=0.5) as link:
        assert link(3, 0x123) == 0x126
        assert link(0xFF, 0xFFF) == 0x0FE
        assert link.protocol is PROTOCOL
    assert board.log == [("pause", 1.5 * 1024 / 115_200), ("discard",), ("write", b"\x03\x23\x01"), ("read", 2, 0.5),
                         ("write", b"\xff\xff\x0f"), ("read", 2, 0.5), ("close",)]


def test_bytes_left_over_from_before_are_forgotten():
    board = FakeBoard()
    board.held, board.answer = b"\x55", b"\xaa\xbb"
    assert Link(board, PROTOCOL, baud=9600)(1, 2) == 3


def test_timeout_then_recovery():
    lost = iter([b"\x01", b""])
    board = FakeBoard(lambda answer: next(lost, answer))
    link = Link(board, PROTOCOL, baud=115_200, timeout=0.25)
    for count in (1, 0):
        with pytest.raises(LinkTimeout, match=rf"^Board must answer with 2 byte\(s\) within 0\.25 s, not {count}; "
                                              r"check that it is flashed") as caught:
            link(1, 2)
        assert caught.value.exit_code is ExitCode.TOOL
    board.answer = b"\x99"  # the rest of the old answer, late
    assert link(1, 2) == 3
    assert [entry[0] for entry in board.log].count("pause") == 3


def test_answer_of_another_design():
    board = FakeBoard(lambda answer: b"\xff\xff")
    with pytest.raises(LinkError, match=r"^Answer must be a code of 12 bits, not 0xffff; is another design loaded"):
        Link(board, PROTOCOL, baud=115_200)(1, 2)


def test_wrong_codes_send_nothing():
    board = FakeBoard()
    link = Link(board, PROTOCOL, baud=115_200)
    with pytest.raises(ValueError, match=r"^Code of b must be 0 to 0xfff \(12 bits\), not 4096$"):
        link(1, 4096)
    with pytest.raises(TypeError, match=r"^Codes must be 2 \(a, b\), not 1$"):
        link(1)
    assert board.log == []


def test_link_wrong():
    with pytest.raises(ValueError, match=r"^Baud rate must be positive, not 0$"):
        Link(FakeBoard(), PROTOCOL, baud=0)
    with pytest.raises(ValueError, match=r"^Timeout must be positive, not -1 s$"):
        Link(FakeBoard(), PROTOCOL, baud=9600, timeout=-1)


def test_port_that_is_not_there():
    with pytest.raises(LinkError, match=r"^Serial port must be one that can be opened, not 'no-such-port' \(.*\); "
                                        r"present: "):
        SerialTransport("no-such-port", baud=115_200)


def test_port_without_permission(monkeypatch):
    import serial

    def refuse(*arguments, **options):
        raise serial.SerialException(13, "could not open port /dev/ttyUSB1: Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(LinkError, match=r"Permission denied.*; on Linux add your user to the group that owns it"):
        SerialTransport("/dev/ttyUSB1", baud=115_200)


@pytest.fixture
def terminal():
    """A pseudo-terminal: our side, and the name of the port that pyserial opens."""
    if sys.platform == "win32":
        pytest.skip("pseudo-terminals are a POSIX affair")
    ours, theirs = os.openpty()
    yield ours, os.ttyname(theirs)
    for handle in (ours, theirs):
        with contextlib.suppress(OSError):  # the test may have closed it
            os.close(handle)


def serve(handle, board):
    """Let ``board`` answer on a pseudo-terminal until its other side is closed."""
    # A handle of its own: the number of a closed one may be given to the next test's terminal.
    own = os.dup(handle)

    def work():
        try:
            while data := os.read(own, 64):
                board.write(data)
                os.write(own, board.read(64, 0))
        except OSError:
            pass  # that is how a terminal says that nobody is there any more
        finally:
            os.close(own)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def describe(folder, **changes):
    path = folder / "link.json"
    path.write_text(json.dumps({**PROTOCOL.to_json(), "board": "icebreaker", "baud": 115_200, **changes}))
    return path


def test_real_serial_port(terminal, tmp_path):
    ours, name = terminal
    describe(tmp_path)
    with open_link(name, tmp_path, timeout=5) as link:
        serve(ours, FakeBoard())
        for a, b in ((0, 0), (3, 0x123), (0xFF, 0xFFF), (0x0A, 0x0D), (0x11, 0x13)):
            assert link(a, b) == add(a, b)


def test_serial_port_timeout(terminal, tmp_path):
    link = open_link(terminal[1], describe(tmp_path), timeout=0.05)
    with link, pytest.raises(LinkTimeout, match="not 0; check"):
        link(1, 2)


@pytest.mark.parametrize("action", [lambda port: port.write(b"x"), lambda port: port.read(1, 0.2),
                                    lambda port: port.discard_input()], ids=["write", "read", "discard"])
def test_serial_port_gone(terminal, action):
    port = SerialTransport(terminal[1], baud=115_200)
    os.close(port._port.fd)  # what pulling the cable does to the handle
    with pytest.raises(LinkError, match=r"^Serial port '.*' must stay connected: "):
        action(port)
    port._port.fd = None


def test_open_link_wrong(tmp_path):
    with pytest.raises(UsageError, match=r"^Link description must be a file, not '.*none': .*; build the board"):
        open_link("x", tmp_path / "none")
    for text in ("{", "[]", "{}", json.dumps(PROTOCOL.to_json()), describe(tmp_path, idle_bits=1).read_text(),
                 describe(tmp_path, baud="fast").read_text()):
        (tmp_path / "link.json").write_text(text)
        with pytest.raises(UsageError, match=r"^Link description '.*link\.json' must be one that build wrote: "):
            open_link("x", tmp_path)
