"""The minifloat paper's recipe, on tables and accuracies whose outcome is known."""

import pytest

from sw.formats import parse
from synth.console import SilentProgress
from synth.cost.checks import TERMS
from synth.cost.point import Point
from synth.papers import minifloat_definition, minifloat_ptq
from synth.papers.laboratory import Laboratory
from synth.store import Store
from tests.support.measured import row as measured
from tests.support.measured import table

FORMATS = (*minifloat_ptq.INTEGERS, *minifloat_ptq.MINIFLOATS)


@pytest.fixture
def lab(tmp_path):
    store = Store(tmp_path / "cache", warn=pytest.fail)
    yield Laboratory(store=store, folder=tmp_path, progress=SilentProgress(), seed=1, timeout=60, warn=pytest.fail)
    store.close()


def luts():
    """Return LUTs that grow with the width, and with the exponent's bits within it."""
    return {name: 20 * fmt.width + (10 * fmt.exponent_bits if "minifloat" in name else 0)
            for name in FORMATS for fmt in [parse(name)]}


def table_of(target, counts):
    return table(*(measured(Point(op="emac", fmt=name, out_fmt="exact", terms=TERMS), lut=lut, target=target)
                   for name, lut in counts.items()))


def test_the_quantizer_is_the_published_one(lab):
    rows = minifloat_definition.definitions(lab)
    assert [row.ours for row in rows] == [0, 0, 2]
    assert all(row.holds for row in rows)


def test_another_bias_would_be_noticed(lab, monkeypatch):
    defined = minifloat_definition._defined
    monkeypatch.setattr(minifloat_definition, "_defined", lambda x, y, value: defined(x, y, 2 * value) / 2)
    assert minifloat_definition.definitions(lab)[0].ours > 100


def test_orders_and_overheads_are_read_from_the_table(lab, monkeypatch):
    monkeypatch.setattr(minifloat_ptq, "load_table", lambda: table_of("xcup", luts()))
    rows = {row.quantity: row for row in minifloat_ptq._cost(lab)}
    order = rows["xcup: steps that do not rise in minifloat_e3m4 < minifloat_e4m3 < minifloat_e5m2"]
    assert (order.ours, order.holds) == (0, True)
    least = next(row for name, row in rows.items() if name.startswith("xcup: least overhead without"))
    assert least.ours == pytest.approx(20 / 160)
    assert not least.holds  # 12.5 % is less than the published 20 %
    assert least.paper == pytest.approx(0.2)
    most = next(row for name, row in rows.items() if name.startswith("xcup: greatest overhead without"))
    assert (most.ours, most.paper) == (pytest.approx(50 / 140), pytest.approx(1.8))
    assert "lie within +20% to +180%" in least.note
    assert not any(name.startswith("ecp5") for name in rows)  # nothing measured there: nothing said


def test_an_overhead_beyond_the_published_one_fails(lab, monkeypatch):
    monkeypatch.setattr(minifloat_ptq, "load_table", lambda: table_of("xcup", {**luts(), "minifloat_e5m2": 500}))
    most = next(row for row in minifloat_ptq._cost(lab) if row.quantity.startswith("xcup: greatest overhead without"))
    assert (most.ours, most.holds) == (pytest.approx(500 / 160 - 1), False)


def test_an_order_says_what_was_not_measured(lab, monkeypatch):
    counts = {name: lut for name, lut in luts().items() if name != "minifloat_e4m3"}
    monkeypatch.setattr(minifloat_ptq, "load_table", lambda: table_of("xcup", counts))
    order = next(row for row in minifloat_ptq._cost(lab) if row.quantity.endswith("in minifloat_e3m4 < minifloat_e5m2"))
    assert order.note == "LUTs 190, 210; not measured: minifloat_e4m3"


def test_a_step_down_fails(lab, monkeypatch):
    monkeypatch.setattr(minifloat_ptq, "load_table", lambda: table_of("xcup", {**luts(), "minifloat_e4m3": 999}))
    order = next(row for row in minifloat_ptq._cost(lab) if "e3m4 < minifloat_e4m3 <" in row.quantity)
    assert (order.ours, order.holds) == (1, False)


def accuracies(minifloat):
    """Return accuracies of integers that grow with their width, and of minifloats that are better by a constant."""
    return {name: {technique: tuple(0.8 + 0.02 * parse(name).width + 0.001 * seed + minifloat * ("mini" in name)
                                    for seed in minifloat_ptq.SEEDS) for technique in minifloat_ptq.TECHNIQUES}
            for name in FORMATS}


@pytest.mark.parametrize(("gain", "wins"), [(0.005, True), (-0.005, False)])
def test_who_wins_and_who_stays_on_the_front(lab, monkeypatch, gain, wins):
    monkeypatch.setattr(minifloat_ptq, "load_table", lambda: table_of("xcup", luts()))
    monkeypatch.setattr(minifloat_ptq, "_accuracies", lambda _lab, _network: accuracies(gain))
    first, *rows = minifloat_ptq._front(lab)
    assert first.ours == pytest.approx(100 * gain)
    assert first.holds is wins
    front = {row.quantity: row for row in rows if "front" in row.quantity}
    xcup = [row for name, row in front.items() if "xcup" in name]
    assert len(xcup) == 3
    assert all(row.ours == 6 for row in xcup)  # each is the cheapest of its width
    assert all(row.ours == 0 and not row.holds for name, row in front.items() if "ecp5" in name)


def test_a_format_that_cannot_be_quantized_is_an_error(lab):
    from synth.explore.evaluations import Outcome

    with pytest.raises(ValueError, match="no such layer"):
        minifloat_ptq._known(Outcome(accuracy=None, error="no such layer"))
