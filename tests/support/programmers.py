"""Stand-ins for programmers, and files that pass for bitstreams."""

import stat
import sys

from platforms.flows import FLOWS


def install(folder, name, body):
    """Put a program called ``name`` into ``folder``: a Python script, started through a batch file on Windows."""
    script = folder / f"{name}-script.py"
    script.write_text(body)
    if sys.platform == "win32":
        (folder / f"{name}.bat").write_text(f'@"{sys.executable}" "{script}" %*\n')
        return folder / f"{name}.bat"
    program = folder / name
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def write_bitstream(board, folder):
    """Write what looks like a bitstream of the board's family into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("bitstream" + FLOWS[board.target].suffix)
    file.write_bytes(b"\xff\x00\x00" + FLOWS[board.target].preamble + bytes(100))
    return file
