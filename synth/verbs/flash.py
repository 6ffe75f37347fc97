"""``flash``: program a connected board with a bitstream that ``build --board`` made."""

import argparse
from pathlib import Path

from synth.console import Console
from synth.errors import ExitCode, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--board", metavar="NAME", required=True, help="icebreaker or ulx3s-25f")
    parser.add_argument("--bitstream", metavar="FILE",
                        help="file to write (default: the board's newest build below --out, or ./build)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Program the board; return the exit code."""
    from platforms.boards import find_board
    from platforms.flash import flash, newest_bitstream

    board = find_board(arguments.board)
    if arguments.bitstream == "":
        raise UsageError("Bitstream must be a file, not ''")
    bitstream = Path(arguments.bitstream) if arguments.bitstream else newest_bitstream(
        board, Path(arguments.out or "build"))
    with console.progress(f"programming {board.name}", 1) as progress:
        progress.start(f"programming {board.name} with {bitstream}")
        result = flash(board, bitstream, timeout=arguments.timeout)
        progress.advance()
    kept = "stays" if result.programmer.permanent else "is lost"
    console.print(f"{board.title}\nprogrammed by {result.programmer.name} in {result.seconds:.1f} s with {bitstream}; "
                  f"the design {kept} when the power goes off\nserial port: {board.usb_serial}, {board.baud} baud, 8N1")
    console.json({"board": board.name, "bitstream": str(bitstream), "programmer": result.programmer.name,
                  "permanent": result.programmer.permanent, "seconds": result.seconds, "log": str(result.log)})
    return ExitCode.DONE
