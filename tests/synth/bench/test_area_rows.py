"""Ratios and means of circuits that were never built."""

import dataclasses

import pytest

from synth.bench.area_rows import compare, geometric_mean, same_latency, summarise
from synth.bench.peers import peers


def circuit(name, *, latency=0, fmax=None, **luts):
    """Return the figures of a circuit of ours as the bench would have measured them."""
    columns = {column: {"lut": lut} for column, lut in luts.items()}
    for column, megahertz in (fmax or {}).items():
        columns[column]["fmax_mhz"] = {"median": megahertz}
    return {"name": name, "latency": latency, "columns": columns}


def test_a_row_is_met_where_every_column_is():
    measured = circuit("m", ice40=112, ecp5=127, xc7=80)
    row = compare("hardfloat_e4m3i_mul", measured, ["ice40", "ecp5", "xc7"])
    assert row["limit"] == 0.70
    assert row["luts"] == {
        "ice40": {"ours": 112, "theirs": 161, "ratio": 0.6957, "met": True},
        "ecp5": {"ours": 127, "theirs": 181, "ratio": 0.7017, "met": False},
        "xc7": {"ours": 80, "theirs": 125, "ratio": 0.64, "met": True}}
    assert row["met"] is False
    assert compare("hardfloat_e4m3i_mul", measured, ["ice40", "xc7"])["met"] is True
    assert row["fmax_mhz"] == {}
    assert row["fmax_met"] is None


def test_the_limit_itself_is_met():
    assert compare("raphael_e4m3i_mul", circuit("m", ice40=0.7 * 174), ["ice40"])["met"] is True
    assert compare("tuned_e4m3_mul", circuit("m", ice40=129), ["ice40"])["met"] is True
    assert compare("tuned_e4m3_mul", circuit("m", ice40=130), ["ice40"])["met"] is False


def test_what_computes_something_else_is_not_judged():
    row = compare("v0x_e4m3_mul", circuit("m", ice40=10, fmax={"ice40": 300.0}), ["ice40"])
    assert row["luts"]["ice40"]["ratio"] == round(10 / 83, 4)
    assert row["met"] is None
    assert row["fmax_met"] is None


def test_a_missing_figure_is_left_out():
    assert set(compare("fpnew_fp16_mul",
                       circuit("m", **{"ecp5-wide": 1, "ice40": 2}), ["ecp5-wide", "ice40"])["luts"]) == {"ice40"}
    failed = {"name": "m", "latency": 0, "columns": {"ice40": {"error": "no"}, "xc7": {"lut": 50}}}
    assert set(compare("raphael_e4m3i_mul", failed, ["ice40", "xc7"])["luts"]) == {"xc7"}


def test_clock_rates_are_judged_at_the_same_latency():
    placed = {"ice40": 48.4, "ecp5": 52.6}
    row = compare("hardfloat_e4m3i_mul", circuit("m", ice40=1, ecp5=1, fmax=placed), ["ice40", "ecp5"])
    assert row["fmax_mhz"] == {"ice40": {"ours": 48.4, "theirs": 48, "ratio": round(48.4 / 48, 4), "met": True},
                               "ecp5": {"ours": 52.6, "theirs": 53, "ratio": round(52.6 / 53, 4), "met": True}}
    assert row["fmax_met"] is True
    slower = compare("hardfloat_e4m3i_mul", circuit("m", ice40=1, fmax={"ice40": 47.4}), ["ice40"])
    assert slower["fmax_met"] is False
    later = compare("amd_e4m3_kmac", circuit("m", latency=2, ice40=1, fmax={"ice40": 10.0}), ["ice40"])
    assert later["fmax_mhz"]["ice40"]["met"] is False
    assert later["fmax_met"] is None


@pytest.mark.parametrize(("recorded", "cycles", "same"), [
    ("0", 0, True), ("1", 2, False), ("2-3", 2, True), ("2-3", 3, True), ("2-3", 4, False), ("pipelined", 6, True),
    ("0", None, False)])
def test_same_latency(recorded, cycles, same):
    peer = dataclasses.replace(peers()["raphael_e4m3i_mul"], latency=recorded)
    assert same_latency(peer, cycles) is same


def test_geometric_mean():
    assert geometric_mean([0.5, 2.0]) == 1.0
    assert geometric_mean([0.1, 0.1, 0.8]) == 0.2
    assert geometric_mean([]) is None


def test_summary():
    ours = circuit("multiply", ice40=87, ecp5=101, fmax={"ice40": 94.0})
    columns = ["ice40", "ecp5"]
    rows = [compare("raphael_e4m3i_mul", ours, columns), compare("fpnew_e4m3i_mul", ours, columns),
            compare("sherpa_e4m3_mul", circuit("flushed", ice40=40), ["ice40"]),
            compare("naive_e4m3_mul", circuit("plain", ice40=104), ["ice40"]),
            compare("v0x_e4m3_mul", circuit("flushed", ice40=83), ["ice40"])]
    summary = summarise(rows)
    assert set(summary) == {"kept", "elsewhere", "naive", "beside", "peers"}
    assert {name: (means["rows"], means["met"]) for name, means in summary.items()} == {
        "kept": (2, 2), "elsewhere": (1, 1), "naive": (1, 1), "beside": (1, 0), "peers": (3, 3)}
    assert summary["kept"]["columns"] == {"ice40": round((87 / 174 * 87 / 167) ** 0.5, 4), "ecp5": 0.5}
    assert summary["kept"]["fmax"] == {"rows": 2, "met": 2, "ratio": round((94 / 47 * 94 / 41) ** 0.5, 4)}
    # Against the best of each kind: fpnew's 167, raphael's and fpnew's 202, sherpa's 80.
    assert summary["peers"]["best"] == round((87 / 167 * 0.5 * 0.5) ** (1 / 3), 4)
