# amaranth: UnusedElaboratable=no
"""The complete mapped designs through their pins, and the host's side of the simulated line by itself."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from hw.arith.multiply import Multiplier
from platforms.boards import BOARDS
from platforms.host import Link, LinkError, LinkTimeout
from platforms.simulate import SimulatedBoards, SimulatedTransport, decode_waveform
from sw.formats import OverflowPolicy, RoundingMode, parse
from sw.reference import Multiplication
from tests.support.boards import built
from tests.support.link_operators import Multiply

E4M3 = parse("float8_e4m3fn")
REFERENCE = Multiplication(a=E4M3, b=E4M3, result=E4M3, rounding=RoundingMode.NEAREST_EVEN,
                           overflow=OverflowPolicy.SATURATE)
FAST = {"icebreaker": 3_000_000, "ulx3s-25f": 2_500_000}
"""Baud rates of 4 and 10 clock cycles a bit."""


def e4m3_multiplier():
    return Multiplier(E4M3, E4M3, E4M3, rounding=RoundingMode.NEAREST_EVEN, overflow=OverflowPolicy.SATURATE)


def stochastic_multiplier():
    return Multiplier(E4M3, parse("int4"), parse("bfloat16"), rounding=RoundingMode.STOCHASTIC,
                      overflow=OverflowPolicy.SATURATE, random_bits=5, pipeline=2)


def boards_of(result, lanes, **options):
    return SimulatedBoards(result.mapped, result.board, lanes=lanes, baud=result.baud, **options)


def check(boards, protocol, reference, codes, latency=0):
    got = boards.call(protocol, codes, latency=latency)
    want = reference(*codes)
    wrong = np.flatnonzero(got != want)
    first = wrong[:1].tolist()
    assert not first, (f"{wrong.size} of {got.size} wrong; operands {[hex(int(c[first[0]])) for c in codes]}: "
                       f"got 0x{int(got[first[0]]):x}, want 0x{int(want[first[0]]):x}")


@pytest.fixture(params=[
    pytest.param(name, marks=() if name == "icebreaker" else pytest.mark.slow) for name in BOARDS])
def board_name(request):
    return request.param


def pairs(count):
    """Return ``count`` of the 65,536 operand pairs, spread evenly by an odd stride that reaches all."""
    index = np.arange(count) * 40_503 % 65_536
    return index >> 8, index & 0xFF


def test_board_at_its_real_baud_rate(board_name):
    result = built(board_name, e4m3_multiplier)
    assert result.divisor in (104, 217)
    check(boards_of(result, 1024), result.protocol, REFERENCE.codes, pairs(1024))


def test_every_operand_pair_through_the_pins(board_name):
    result = built(board_name, e4m3_multiplier, FAST[board_name])
    assert result.divisor in (4, 10)
    check(boards_of(result, 65_536), result.protocol, REFERENCE.codes, pairs(65_536))


@pytest.mark.slow
def test_every_operand_pair_at_the_real_baud_rate(board_name):
    result = built(board_name, e4m3_multiplier)
    check(boards_of(result, 65_536), result.protocol, REFERENCE.codes, pairs(65_536))


def test_stochastic_pipelined_mixed_formats(board_name):
    """Three operands of 8, 4 and 5 bits, a result of 16, two cycles of latency; several operations one by one."""
    result = built(board_name, stochastic_multiplier, FAST[board_name])
    assert [(port.name, port.width) for port in result.protocol.operands] == [("a", 8), ("b", 4), ("random", 5)]
    reference = Multiplication(a=E4M3, b=parse("int4"), result=parse("bfloat16"), rounding=RoundingMode.STOCHASTIC,
                               overflow=OverflowPolicy.SATURATE, random_bits=5)
    boards, generator = boards_of(result, 1000), np.random.default_rng(2)
    for _ in range(3):
        codes = [generator.integers(0, 1 << width, boards.lanes) for width in (8, 4, 5)]
        check(boards, result.protocol, reference.codes, codes, latency=2)


@pytest.mark.parametrize("mismatch", [0.98, 1.02])
def test_host_two_percent_off(board_name, mismatch):
    result = built(board_name, e4m3_multiplier)
    boards = SimulatedBoards(result.mapped, result.board, lanes=64, baud=result.baud * mismatch)
    check(boards, result.protocol, REFERENCE.codes, pairs(64))


def test_host_ten_percent_off_is_not_understood(board_name):
    result = built(board_name, e4m3_multiplier)
    boards = SimulatedBoards(result.mapped, result.board, lanes=64, baud=result.baud * 0.9)
    a, b = pairs(64)
    answers, counts = boards.exchange(np.stack([a, b], axis=1).astype(np.uint8), 1)
    assert ((counts != 1) | (answers[:, 0] != REFERENCE.codes(a, b))).any()


def test_half_an_operation_is_answered_with_silence(board_name):
    result = built(board_name, e4m3_multiplier, FAST[board_name])
    boards = boards_of(result, 3)
    answers, counts = boards.exchange(np.array([[1], [2], [3]], np.uint8), 1)
    assert (answers.tolist(), counts.tolist()) == ([[0]] * 3, [0] * 3)
    boards.run(round(1100 * boards.bit_cycles))  # longer than the idle time
    narrow = replace(result.protocol, operands=result.protocol.operands[:1])
    with pytest.raises(LinkError, match=r"^Boards must answer with 1 byte\(s\), not 0 \(board 0, 3 of 3 boards\)$"):
        boards.call(narrow, [[1, 2, 3]])


def test_wrong_netlists_are_found(board_name):
    """Look-up tables anywhere in the design inverted, one at a time: nearly all of them matter to some operation.

    Those that do not belong to what a well-behaved host never needs: the idle time and framing errors.
    """
    result = built(board_name, e4m3_multiplier, FAST[board_name])
    document = json.loads(result.mapped.read_text())
    cells = document["modules"]["top"]["cells"]
    table = {"ice40": "LUT_INIT", "ecp5": "INIT"}[result.board.target]
    names = sorted(name for name, cell in cells.items() if cell["type"] in ("SB_LUT4", "LUT4"))
    a, b = pairs(256)
    found = 0
    for name in random.Random(1).sample(names, 8):
        parameters = cells[name]["parameters"]
        original = parameters[table]
        parameters[table] = original.translate(str.maketrans("01", "10"))
        boards = SimulatedBoards(document, result.board, lanes=256, baud=result.baud)
        answers, counts = boards.exchange(np.stack([a, b], axis=1).astype(np.uint8), 1)
        found += ((counts != 1) | (answers[:, 0] != REFERENCE.codes(a, b))).any()
        parameters[table] = original
    assert found >= 6, f"{found} of 8 defects found"


class LossyTransport(SimulatedTransport):
    """Drops the first byte of the ``lose``-th request."""

    lose = 0

    def write(self, data):
        self.lose -= 1
        super().write(data[1:] if self.lose == 0 else data)


def test_host_library_drives_a_simulated_board(board_name):
    """The host's own code, resynchronisation included, against the pins."""
    result = built(board_name, e4m3_multiplier, FAST[board_name])
    transport = LossyTransport(boards_of(result, 1))
    with Link(transport, result.protocol, baud=result.baud, timeout=200e-6) as link:
        for a, b in ((0x38, 0x38), (0x41, 0x3C), (0x7E, 0x7E), (0x7F, 0x00), (0x81, 0x01)):
            assert link(a, b) == REFERENCE(a, b), (a, b)
        transport.lose = 1
        with pytest.raises(LinkTimeout, match=r"not 0; check that it is flashed"):
            link(0x38, 0x40)
        assert link(0x38, 0x40) == REFERENCE(0x38, 0x40)
    transport.write(b"\x55")  # a host that died within an operation; the next host is not misled
    with Link(transport, result.protocol, baud=result.baud, timeout=200e-6) as link:
        assert link(0x41, 0x3C) == REFERENCE(0x41, 0x3C)


def frame(byte, bit, *, stop=1):
    """Return the levels of a byte, cycle by cycle, for a bit of any real length."""
    bits = [0, *((byte >> index) & 1 for index in range(8)), stop]
    return [bits[min(9, int(cycle / bit))] for cycle in range(round(10 * bit))]


def waveform(lines):
    """Return levels of up to 64 lines as the simulation records them."""
    length = max(map(len, lines))
    padded = [line + [1] * (length - len(line)) for line in lines]
    return np.array([sum(line[cycle] << lane for lane, line in enumerate(padded)) for cycle in range(length)],
                    np.uint64)[:, None]


@pytest.mark.parametrize("bit", [4, 10.4, 104.17])
def test_decode_waveform(bit):
    gap = [1] * 7
    lines = [
        gap + frame(0x00, bit) + frame(0xFF, bit) + gap,           # back to back
        gap * 5 + frame(0xA5, bit) + gap * 9 + frame(0x3C, bit) + gap,  # later, with a pause
        gap + frame(0x12, bit),                                    # one byte only
        gap + frame(0x12, bit, stop=0) + gap * 9 + frame(0x34, bit) + gap,  # framing error: nothing after it counts
        gap * 40,                                                  # silence
        gap + [0] + gap * 30 + frame(0x55, bit),                   # glitch in the place of a start bit
    ]
    data, counts = decode_waveform(waveform(lines), 6, bit, 2)
    assert counts.tolist() == [2, 2, 1, 0, 0, 0]
    assert data[:3].tolist() == [[0x00, 0xFF], [0xA5, 0x3C], [0x12, 0x00]]


def test_decode_waveform_in_chunks(monkeypatch):
    from platforms import simulate

    lines = [[1] * (lane % 5) + frame(lane, 4) + [1] * 5 for lane in range(60)]
    whole = decode_waveform(np.tile(waveform(lines), (1, 5)), 300, 4, 1)
    monkeypatch.setattr(simulate, "_CHUNK_SAMPLES", 64 * 50)
    parts = decode_waveform(np.tile(waveform(lines), (1, 5)), 300, 4, 1)
    assert all((a == b).all() for a, b in zip(whole, parts, strict=True))
    assert whole[0][:60, 0].tolist() == list(range(60))


def test_facts():
    result = built("icebreaker", Multiply)
    boards = SimulatedBoards(result.mapped, result.board, lanes=70)
    assert (boards.lanes, boards.clock_hz, boards.cycle) == (70, 12_000_000, 240)
    assert boards.bit_cycles == pytest.approx(12e6 / 115_200)
    assert boards.run(3).shape == (3, 2)


def test_wrong_use():
    result = built("icebreaker", Multiply)
    for baud in (0, 6_000_001):
        with pytest.raises(ValueError, match=rf"^Baud rate must be more than 0 and at most half of the clock's "
                                             rf"12000000 Hz, not {baud}$"):
            SimulatedBoards(result.mapped, result.board, baud=baud)
    boards = SimulatedBoards(result.mapped, result.board, lanes=2, baud=3_000_000)
    with pytest.raises(ValueError, match=r"^Requests must be one a lane, 2, not 3$"):
        boards.exchange(np.zeros((3, 2), np.uint8), 1)
    for codes, error, message in (
            ([[1, 2]], TypeError, r"Codes must be 2 arrays \(a, b\), not 1"),
            ([[1, 2], [3]], ValueError, r"Codes of b must be one a lane, of shape \(2,\), not \(1,\)"),
            ([[1, 2], [3, 256]], ValueError, r"Codes of b must be 0 to 0xff \(8 bits\), not 3 to 256"),
            ([[-1, 2], [3, 4]], ValueError, r"Codes of a must be 0 to 0xff \(8 bits\), not -1 to 2")):
        with pytest.raises(error, match=f"^{message}$"):
            boards.call(result.protocol, codes)
    with pytest.raises(ValueError, match=r"^Number of lanes must be 1 for a transport, not 2$"):
        SimulatedTransport(boards)


def test_answer_wider_than_the_result():
    result = built("icebreaker", Multiply)
    narrow = replace(result.protocol, result=replace(result.protocol.result, width=4))
    boards = SimulatedBoards(result.mapped, result.board, lanes=2)
    with pytest.raises(LinkError, match=r"^Answers must be codes of 4 bits, not 0xe0$"):
        boards.call(narrow, [[0xFF, 0], [0xFF, 0]])
