"""The bench on a small tensor: the shape of its rows, and what it says of those it cannot measure."""

import importlib

import pytest
import torch

from sw.formats import parse
from sw.quantize import fake_quantize
from synth.bench import quantize

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning",
                                        "ignore:overflow encountered in cast:RuntimeWarning")

PREPARE = {"torch": quantize._torch, "ml_dtypes": quantize._ml_dtypes, "gfloat": quantize._gfloat,
           "brevitas": quantize._brevitas}


def test_rows():
    told = []
    rows = quantize.run(elements=4096, seed=1, formats=["e4m3", "fixed<8,4>"], progress=told.append)
    assert [row["format"] for row in rows] == ["float8_e4m3fn", "fixed<8,4>"]
    assert told == ["e4m3: 4096 elements", "fixed<8,4>: 4096 elements"]
    for row in rows:
        assert row["elements"] == 4096
        assert row["threads"] >= 1
        assert all(row[f"{name}_ms"] > 0 for name in ("ours", "ours_out", "copy", "clone"))
        assert list(row["competitors"]) == list(quantize.COMPETITORS)
        for entry in row["competitors"].values():
            assert (entry["ms"] is None) == (entry["reason"] is not None)
            if entry["ms"] is not None:
                assert entry["ratio"] == pytest.approx(entry["ms"] / row["ours_ms"])
    assert rows[0]["competitors"]["gfloat"]["elements"] == 256
    assert rows[1]["competitors"]["torch"]["reason"] == "torch rounds to no type of the format fixed<8,4>"
    measured = {name: entry["ratio"] for name, entry in rows[0]["competitors"].items() if entry["ratio"]}
    assert rows[0]["fastest"] == min(measured, key=measured.get)
    assert rows[0]["ratio"] == min(measured.values())


def prepared(competitor, fmt, x):
    try:
        return PREPARE[competitor](fmt, x)
    except quantize.NotMeasured:
        return None


@pytest.mark.parametrize("name", quantize.FORMATS)
def test_competitors_do_the_same_work(name):
    """What is timed is the same rounding: on numbers within the range, all results are equal."""
    fmt = parse(name)
    x = torch.randn(2048, generator=torch.Generator().manual_seed(2))
    want = fake_quantize(x, fmt)
    for competitor in PREPARE:
        action = prepared(competitor, fmt, x)
        if action is not None:
            assert torch.equal(torch.as_tensor(action(), dtype=torch.float32), want), competitor


@pytest.mark.parametrize(("name", "missing"), [("ml_dtypes", "ml_dtypes"), ("gfloat", "gfloat"),
                                               ("brevitas", "brevitas.core.quant.float")])
def test_a_missing_competitor_is_named_with_the_way_to_get_it(name, missing, monkeypatch):
    import_module = importlib.import_module

    def without(module, *arguments):
        if module == missing:
            raise ImportError(module)
        return import_module(module, *arguments)

    monkeypatch.setattr(importlib, "import_module", without)
    row, = quantize.run(elements=64, seed=1, formats=["e5m2"], progress=str)
    assert row["competitors"][name] == {"ms": None, "ratio": None, "elements": row["competitors"][name]["elements"],
                                        "reason": f"{name} is not installed: pip install {name}"}


def test_formats_that_a_competitor_lacks():
    row, = quantize.run(elements=64, seed=1, formats=["e8m0"], progress=str)
    reasons = {name: entry["reason"] for name, entry in row["competitors"].items()}
    assert reasons["brevitas"] == "brevitas has no format float8_e8m0fnu"
    assert reasons["gfloat"] == "gfloat has no format float8_e8m0fnu by that definition"
    row, = quantize.run(elements=64, seed=1, formats=["radix4_fp4_even"], progress=str)
    assert row["fastest"] is None
    assert row["ratio"] is None


def test_element_count_wrong():
    with pytest.raises(ValueError, match="Element count must be at least 1, not 0"):
        quantize.run(elements=0, seed=1, formats=None, progress=str)


def test_format_name_wrong():
    with pytest.raises(ValueError, match="Format must be a known name, not 'e4'"):
        quantize.run(elements=16, seed=1, formats=["e4"], progress=str)
