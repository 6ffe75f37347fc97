"""The bytes of an operation."""

import json

import numpy as np
import pytest

from platforms.protocol import FRAME_BITS, LinkProtocol, Port, byte_count

THREE = LinkProtocol(operands=(Port(name="a", width=5), Port(name="b", width=16), Port(name="random", width=9)),
                     result=Port(name="o", width=11))


@pytest.mark.parametrize(("width", "count"), [(1, 1), (7, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_byte_count(width, count):
    assert byte_count(width) == Port(name="a", width=width).bytes == count


def test_frame_bits():
    assert FRAME_BITS == 10


def test_encode_is_little_endian_in_declared_order():
    assert THREE.request_bytes == 5
    assert THREE.encode([0x1F, 0xABCD, 0x102]) == bytes([0x1F, 0xCD, 0xAB, 0x02, 0x01])
    assert THREE.encode([np.uint8(3), np.int64(4), 5]) == bytes([3, 4, 0, 5, 0])


def test_decode():
    assert THREE.decode(b"\xfe\x07") == 0x7FE


def test_json_round_trip():
    assert LinkProtocol.from_json(json.loads(json.dumps(THREE.to_json()))) == THREE


def test_port_wrong():
    with pytest.raises(ValueError, match=r"^Width of port 'a' must be at least 1 bit, not 0$"):
        Port(name="a", width=0)
    for width in (True, "8", 8.0):
        with pytest.raises(TypeError, match=rf"^Width of port 'a' must be an integer, not {width!r}$"):
            Port(name="a", width=width)


def test_protocol_wrong():
    port = Port(name="o", width=8)
    with pytest.raises(ValueError, match=r"^Operands must be at least one port, not \(\)$"):
        LinkProtocol(operands=(), result=port)
    with pytest.raises(ValueError, match=r"^Idle time must be at least 16 bit times, not 15; a byte alone"):
        LinkProtocol(operands=(port,), result=port, idle_bits=15)
    with pytest.raises(TypeError, match=r"^Idle time must be an integer number of bit times, not '99'$"):
        LinkProtocol(operands=(port,), result=port, idle_bits="99")


def test_encode_wrong():
    with pytest.raises(TypeError, match=r"^Codes must be 3 \(a, b, random\), not 2$"):
        THREE.encode([1, 2])
    with pytest.raises(TypeError, match=r"^Code of b must be an integer, not 1\.5$"):
        THREE.encode([1, 1.5, 2])
    with pytest.raises(ValueError, match=r"^Code of a must be 0 to 0x1f \(5 bits\), not 32$"):
        THREE.encode([32, 0, 0])
    with pytest.raises(ValueError, match=r"^Code of random must be 0 to 0x1ff \(9 bits\), not -1$"):
        THREE.encode([0, 0, -1])


def test_decode_wrong():
    with pytest.raises(ValueError, match=r"^Answer must be 2 bytes, not 1$"):
        THREE.decode(b"\x00")
    with pytest.raises(ValueError, match=r"^Answer must be a code of 11 bits, not 0x800; is another design loaded"):
        THREE.decode(b"\x00\x08")


@pytest.mark.parametrize("document", [{}, {"operands": 3, "result": {"name": "o", "width": 8}, "idle_bits": 64},
                                      {**THREE.to_json(), "idle_bits": 2}, [1]])
def test_from_json_wrong(document):
    with pytest.raises(ValueError, match=r"^Link description must have operands, a result and idle_bits, not .*; "
                                         r"build the board again"):
        LinkProtocol.from_json(document)
