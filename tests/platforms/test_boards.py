# amaranth: UnusedElaboratable=no
"""The boards' data against amaranth-boards, and the complete design's pins."""

import re

import pytest

from platforms.boards import BOARDS, find_board
from platforms.flash import INSTALL
from platforms.flows import FLOWS
from platforms.top import BoardTop
from platforms.uart import divisor_for
from synth.cost.capacity import CAPACITIES
from synth.errors import UsageError
from synth.targets import TARGETS
from synth.toolchain import TOOLS
from tests.support.link_operators import Multiply

PINS = {
    # Pins of the boards' own documentation: iCEBreaker's pcf and ULX3S' lpf of their makers.
    "icebreaker": {"uart_0__rx__io": "6", "uart_0__tx__io": "9", "clk12_0__io": "35"},
    "ulx3s-25f": {"uart_0__rx__io": "M1", "uart_0__tx__io": "L4", "clk25_0__io": "G2", "esp32_0__gpio0__io": "L2"},
}


@pytest.fixture(params=BOARDS.values(), ids=lambda board: board.name)
def board(request):
    return request.param


def test_facts_are_those_of_the_platform(board):
    platform = board.create_platform()
    assert platform.default_clk_frequency == board.clock_hz
    size = {"iCE40UP5K": "--up5k", "LFE5U-25F": "--25k"}[platform.device]
    package = {"SG48": "sg48", "BG381": "CABGA381"}[platform.package]
    assert board.device_arguments[:3] == (size, "--package", package)
    assert "--speed" not in board.device_arguments or board.device_arguments[-1] == platform.speed


def test_everything_it_names_exists(board):
    assert FLOWS[board.target].packer in TOOLS
    rules = TARGETS[board.target].place_and_route
    assert rules.tool in TOOLS
    assert set(rules.devices[board.device].arguments) <= set(board.device_arguments)
    assert board.device in CAPACITIES[board.target]
    assert all(programmer.name in INSTALL for programmer in board.programmers)
    assert board.name == board.name.lower()


def test_baud_rate_is_within_half_a_percent(board):
    actual = board.clock_hz / divisor_for(board.clock_hz, board.baud)
    assert abs(actual / board.baud - 1) < 0.005


def test_pins(board):
    plan = board.create_platform().prepare(BoardTop(Multiply(), board), "top")
    text = plan.files["top" + FLOWS[board.target].constraints]
    pins = dict(re.findall(r"set_io (\S+) (\S+)", text) or re.findall(r'LOCATE COMP "(\S+)" SITE "(\S+)"', text))
    assert pins == PINS[board.name]


def test_clock_constraint(board):
    plan = board.create_platform().prepare(BoardTop(Multiply(), board), "top")
    text = plan.files["top" + FLOWS[board.target].constraints]
    assert re.search({"icebreaker": r"set_frequency clk12_0__io 12\.0$",
                      "ulx3s-25f": r'FREQUENCY PORT "clk25_0__io" 25000000\.0 HZ;$'}[board.name], text, re.MULTILINE)


def test_top_facts(board):
    top = BoardTop(Multiply(), board, baud=1_000_000, idle_bits=64)
    assert (top.board, top.divisor, top.protocol.idle_bits) == (board, board.clock_hz // 1_000_000, 64)
    with pytest.raises(ValueError, match=r"^Baud rate must be within 2 %"):
        BoardTop(Multiply(), board, baud=2_200_000 if board.clock_hz == 12_000_000 else 2_380_000)


@pytest.mark.parametrize("name", ["icebreaker", " ICEBreaker ", "iCEBREAKER"])
def test_find_board(name):
    assert find_board(name) is BOARDS["icebreaker"]


@pytest.mark.parametrize(("name", "hint"), [
    ("ulx3s", r"not 'ulx3s'; did you mean 'ulx3s-25f'\?$"),
    ("icebraker", r"not 'icebraker'; did you mean 'icebreaker'\?$"),
    ("", "not ''$"), ("arty", "not 'arty'$"), (None, "not None$"), ("$(rm -rf)\n", r"not '\$\(rm -rf\)\\n'$"),
])
def test_find_board_wrong(name, hint):
    with pytest.raises(UsageError, match=r"^Board must be one of icebreaker, ulx3s-25f, " + hint):
        find_board(name)
