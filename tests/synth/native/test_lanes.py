import numpy as np
import pytest

from synth.native.lanes import Lanes

SHAPES = [(1, 1), (3, 70), (7, 10), (5, 128), (2, 512), (3, 1100), (9, 200), (40, 64)]


def bits(words, place):
    return words[place // 64] >> np.uint64(place % 64) & np.uint64(1)


@pytest.mark.parametrize("words", [1, 2, 4, 8])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("width", [3, 8, 13])
def test_every_lane_has_the_codes_of_its_row_and_column(rows, columns, words, width):
    rng = np.random.default_rng(rows * columns + width)
    lanes, terms = Lanes(rows, columns, words), 5
    storage = np.uint8 if width <= 8 else np.uint16
    a = rng.integers(0, 1 << width, (rows, terms)).astype(storage)
    b = rng.integers(0, 1 << width, (terms, columns)).astype(storage)
    along, across = lanes.along(b, width), lanes.across(a)
    groups, starts = lanes.starts()
    assert along.shape == (terms, width, lanes.plane_words)
    seen = set()
    for block in range(lanes.blocks):
        for word in range(words):
            row, start = divmod((block * words + word) * 64, lanes.row_words * 64)
            if row >= rows or start >= columns:
                continue
            column = start + int(rng.integers(0, min(64, columns - start)))
            for k in range(terms):
                got = sum(int(across[groups[block], k, bit] >> word & 1) << bit for bit in range(width))
                assert got == a[row, k], f"row {row}, term {k}: got {got}, want {a[row, k]}"
                place = (starts[block] + word) * 64 + column - start
                got = sum(int(bits(along[k, bit], place)) << bit for bit in range(width))
                assert got == b[k, column], f"column {column}, term {k}: got {got}, want {b[k, column]}"
            seen.add(row)
    assert seen == set(range(rows))


@pytest.mark.parametrize("words", [1, 4, 8])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_results_come_back_in_rows_and_columns(rows, columns, words):
    lanes, width = Lanes(rows, columns, words), 9
    rng = np.random.default_rng(rows)
    want = rng.integers(0, 1 << width, (rows, columns)).astype(np.uint16)
    planes = rng.integers(0, 1 << 63, (lanes.blocks, width, words)).astype(np.uint64)   # garbage in unused lanes
    for row in range(rows):
        for column in range(columns):
            word, place = divmod(row * lanes.row_words * 64 + column, 64)
            for bit in range(width):
                where = word // words, bit, word % words
                mask = np.uint64(1 << place)
                planes[where] = planes[where] | mask if want[row, column] >> bit & 1 else planes[where] & ~mask
    got = lanes.codes(planes)
    assert got.dtype == np.uint16
    assert (got == want).all()


@pytest.mark.parametrize(("rows", "columns", "used"), [(8, 64, 1.0), (2, 256, 1.0), (1, 1, 1 / 512), (1, 512, 1.0),
                                                       (8, 10, 10 / 64), (3, 600, 1800 / 2048)])
def test_used_lanes(rows, columns, used):
    assert Lanes(rows, columns, 8).used == pytest.approx(used)
