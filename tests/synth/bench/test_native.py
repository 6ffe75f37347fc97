"""The bench of native code as a whole: parts in processes of their own, and what is printed of their documents."""

import json

import pytest

from synth.bench import child, native, native_child, native_matmul, native_report, native_series
from synth.console import Console, SilentProgress
from synth.errors import ToolError
from synth.netlist.instruction_set import choose_instruction_set
from tests.synth.bench.native_documents import DOCUMENTS

REQUEST = {"parts": ["packing", "series"], "formats": ["e5m2"], "isa": "word64", "threads": 3, "seed": 7, "quick": True,
           "timeout": 9.0}


class Told(SilentProgress):
    """Notes what it is told."""

    def __init__(self):
        self.lines, self.done = [], 0

    def start(self, description):
        self.lines.append(description)

    def advance(self, description=""):
        self.done += 1


def test_each_part_is_measured_in_a_process_of_its_own(monkeypatch):
    requests = []

    def run_child(module, request, *, tool, what, mend, timeout, message):
        requests.append(request)
        assert (module, tool, mend, timeout) == ("synth.bench.native_child", "bench native", "--quick takes less", 9.0)
        message({"begins": f"{what} begins"})
        message({"document": {"rows": []}, "start": 2**20, "peak": None if request["part"] == "series" else 3 * 2**20})

    monkeypatch.setattr(native, "run_child", run_child)
    told = Told()
    documents = native.run(**REQUEST, progress=told)
    assert documents == {"packing": {"rows": [], "memory": {"start_mib": 1.0, "peak_mib": 3.0}},
                         "series": {"rows": [], "memory": {"start_mib": 1.0, "peak_mib": None}}}
    assert told.lines == ["the part packing begins", "the part series begins"]
    assert told.done == 2
    assert requests == [{"part": part, "formats": ["e5m2"], "isa": "word64", "threads": 3, "seed": 7, "quick": True}
                        for part in REQUEST["parts"]]


def test_the_child_measures_as_it_is_asked(monkeypatch, capsys):
    asked = []

    class Part:
        @staticmethod
        def run(settings, progress):
            asked.append(settings)
            progress("halfway")
            return {"rows": [1]}

    monkeypatch.setattr(native_child, "part_module", lambda part: Part)
    native_child.main({"part": "series", "formats": ["e5m2"], "isa": "avx2", "threads": 3, "seed": 7, "quick": True})
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"begins": "halfway"}
    assert last["document"] == {"rows": [1]}
    assert set(last) == {"document", "start", "peak"}
    settings, = asked
    assert (settings.isa.value, settings.threads, settings.seed, settings.quick, settings.formats) == (
        "avx2", 3, 7, True, ("e5m2",))


def test_every_part_has_its_module():
    for part in native.PARTS:
        assert callable(native.part_module(part).run)


def test_a_part_that_fails_is_quoted():
    request = {"part": "none", "formats": None, "isa": "word64", "threads": 1, "seed": 1, "quick": True}
    with pytest.raises(ToolError, match="Child of the bench must end well, not with 1, for the part none; its last "
                                        "words: ModuleNotFoundError: No module named 'synth.bench.native_none'"):
        native._measured(request, 60, SilentProgress())


def test_a_child_without_a_last_word(monkeypatch):
    started = child.subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", lambda command, **options: started(
        [command[0], "-c", "raise SystemExit(5)"], **options))
    with pytest.raises(ToolError, match="Child of the bench must end well, not with 5, for it; its last words: "
                                        "nothing"):
        child.run_child("module", {}, tool="bench", what="it", mend="less", timeout=60, message=print)


@pytest.mark.parametrize("part", DOCUMENTS)
def test_reports(part, capsys):
    native_report.report(part, DOCUMENTS[part], Console(color=False))
    said = capsys.readouterr().out
    wanted = {
        "series": ["avx512 (512 lanes)", "the bound is 7.9 × 10⁹ instructions a second",
                   "414 against 50 million MACs a second, 8×",
                   "ours are 2,000 against 80 million, 25.0×, on one thread",
                   "ml_dtypes has no figure for float16 (it has no such type)", "found 25: met", "found 0.4: MISSED"],
        "matmul": ["256×512×256, float8_e4m3fn operands", "a pair takes 480 instructions for 512 elements",
                   "one thread would take 6.0 ms, and be 10 times faster than the emulation with torch",
                   "QPyTorch 7 of 65,536", "ties go elsewhere",
                   "found 5: MISSED"],
        "verification": ["all 65,536 products of float8_e4m3fn", "verilator has no figure: it is not installed",
                         "67,108,864 pairs against numpy's float16 in 7.0 s on 2 threads (0.4 s of CPU time are "
                         "numpy's); 1 differ", "first difference: a 0x0001, want 0x0002", "found 7: not judged here"],
        "packing": ["10⁹ bytes of codes a second", "43.3"],
    }[part]
    for text in wanted:
        assert text in " ".join(said.split()), said
    assert f"peak memory of {part}: 1,200 MiB (40 before it measured)" in said


def test_a_report_of_one_thread_has_no_other():
    document = DOCUMENTS["series"] | {"threads": 1}
    assert list(native_report._threads(document)) == ["one_thread"]


def test_reports_without_what_is_missing(capsys):
    series = json.loads(json.dumps(DOCUMENTS["series"]))
    row, = series["rows"]
    for key in ("one_thread", "all_threads"):
        row["mac"][key]["others"]["scalar"] = row["mac"][key]["ratios"]["scalar"] = None
    series["targets"] = [{"name": "speed", "target": 12.0, "found": None, "met": None}]
    series["memory"] = {"start_mib": None, "peak_mib": None}
    native_report.report("series", series, Console(color=False))
    said = capsys.readouterr().out
    assert "ours are 2,000 million, on one thread" in said
    assert "target: speed: 12; found no figure: not judged here" in said
    assert "peak memory" not in said
    row["format"] = "float8_e5m2"
    native_report.report("series", series, Console(color=False))
    assert "ours are not measured, since float16 was not asked for" in capsys.readouterr().out


@pytest.mark.slow
def test_everything_at_tiny_sizes():
    documents = native.run(parts=list(native.PARTS), formats=["e5m2"], isa=choose_instruction_set().value, threads=2,
                           seed=1, quick=True, timeout=900, progress=SilentProgress())
    assert list(documents) == list(native.PARTS)
    assert documents["verification"]["binary16"]["different"] == 0
    assert documents["verification"]["binary16"]["pairs"] == 1 << 26
    assert documents["matmul"]["shape"] == list(native_matmul.QUICK_SHAPE)
    assert documents["series"]["paper"] == native_series.PAPER
    for part, document in documents.items():
        assert document["memory"]["peak_mib"] is None or document["memory"]["peak_mib"] > 30
        native_report.report(part, document, Console(as_json=True))
