"""The bench on children that only pretend, and each side's steps on a network of a few layers."""

import json
import math
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from sw.formats import parse
from synth.bench import child, ptq, ptq_child, ptq_sides
from synth.console import SilentProgress
from synth.errors import ToolError, ToolTimeout


class Told(SilentProgress):
    """Notes what it is told."""

    def __init__(self):
        self.lines, self.done = [], 0

    def start(self, description):
        self.lines.append(description)

    def advance(self, description=""):
        self.done += 1


def pretend(request, seconds=1.0, **more):
    """Return what a child would have said: ours takes ``seconds`` a step, Brevitas twice that."""
    factor = 1 if request["side"] == "ours" else 2
    noise = 0.01 * factor
    np.savez(request["outputs"], float=np.ones((4, 5), np.float32), quantized=np.full((4, 5), 1 + noise, np.float32))
    return {"steps": {step: {"step": step, "seconds": seconds * factor, "cpu_seconds": 2 * seconds * factor}
                      for step in ptq.STEPS},
            "start_bytes": 2**20, "peak_bytes": factor * 2**30, "threads": 2, "version": request["side"], **more}


@pytest.fixture
def children(monkeypatch):
    """Children that pretend; returns the requests that they were given."""
    requests = []

    def child(request, timeout, label, progress):
        requests.append(request)
        return pretend(request, seconds=float(len(requests)))

    monkeypatch.setattr(ptq, "_child", child)
    return requests


def test_rows(children):
    told = Told()
    row, = ptq.run(formats=["minifloat_e2m1"], images=8, size=32, repeats=3, seed=5, timeout=9, progress=told)
    assert (row["format"], row["first_last_format"]) == ("float4_e2m1fn", "minifloat_e3m4")
    assert (row["images"], row["size"], row["batch_size"], row["repeats"], row["threads"]) == (8, 32, 64, 3, 2)
    # The sides take turns, and who begins alternates.
    assert [request["side"] for request in children] == ["ours", "brevitas", "brevitas", "ours", "ours", "brevitas"]
    assert all(request["seed"] == 5 for request in children)
    assert list(row["steps"]) == [*ptq.STEPS, "total"]
    # Ours took 1, 4 and 5 s a step; Brevitas twice 2, 3 and 6.
    assert row["steps"]["GPTQ"] == {"ratio": 6 / 4, "ours_s": 4, "ours_cpu_s": 8, "brevitas_s": 6, "brevitas_cpu_s": 12}
    assert row["steps"]["total"]["ours_s"] == 6 * 4
    assert row["steps"]["total"]["ratio"] == 6 / 4
    assert row["memory"] == {"ours": {"start_mib": 1, "peak_mib": 1024}, "brevitas": {"start_mib": 1, "peak_mib": 2048}}
    assert row["sqnr_db"]["ours"] == pytest.approx(40, abs=0.01)
    assert row["sqnr_db"]["brevitas"] == pytest.approx(20 * math.log10(50), abs=0.01)
    assert row["sqnr_db"]["between"] == pytest.approx(20 * math.log10(101), abs=0.02)
    assert row["versions"] == {"ours": "ours", "brevitas": "brevitas"}
    assert row["reason"] is None
    assert told.done == ptq.runs(1, 3) == 6
    assert told.lines[0] == "float4_e2m1fn, 1 of 3, ours"


def test_without_brevitas_ours_is_measured_alone(monkeypatch):
    requests = []

    def child(request, timeout, label, progress):
        requests.append(request["side"])
        reason = {"steps": {}, "not_measured": "brevitas is not installed: pip install brevitas"}
        return pretend(request) if request["side"] == "ours" else reason

    monkeypatch.setattr(ptq, "_child", child)
    told = Told()
    row, = ptq.run(formats=["int4"], images=8, size=32, repeats=2, seed=0, timeout=9, progress=told)
    assert requests == ["ours", "brevitas", "ours"]
    assert told.done == 4
    assert row["reason"] == "brevitas is not installed: pip install brevitas"
    assert row["steps"]["total"] == {"ratio": None, "ours_s": 6, "ours_cpu_s": 12, "brevitas_s": None,
                                     "brevitas_cpu_s": None}
    assert list(row["memory"]) == ["ours"]
    assert row["sqnr_db"]["between"] is None


def test_memory_that_the_system_does_not_tell_is_unknown(monkeypatch):
    monkeypatch.setattr(ptq, "_child", lambda request, *_: pretend(request, peak_bytes=None))
    row, = ptq.run(formats=["int4"], images=8, size=32, repeats=1, seed=0, timeout=9, progress=SilentProgress())
    assert row["memory"]["ours"] == {"start_mib": 1, "peak_mib": None}


def test_equal_outputs_have_no_noise():
    x = np.ones((2, 2), np.float32)
    assert ptq._sqnr(x, x) == math.inf


@pytest.mark.parametrize(("name", "want"), [
    ("int8", "int8:narrow_range=true"), ("int4", "int4:narrow_range=true"), ("minifloat_e4m3", "minifloat_e4m3"),
    ("e2m1", "float4_e2m1fn"), ("e3m2", "float6_e3m2fn"),
])
def test_formats(name, want):
    fmt = ptq.check_format(name)
    assert fmt.name == want
    assert parse(fmt.name) == fmt


@pytest.mark.parametrize("name", ["uint4", "int12", "fixed<8,4>", "float8_e4m3fn", "float16", "posit<8,1>", "e8m0"])
def test_formats_that_brevitas_script_lacks(name):
    with pytest.raises(ValueError, match=f"Format must be a signed integer or an all-finite mini.*, not '{name}'"):
        ptq.check_format(name)


def test_a_small_image_is_refused():
    with pytest.raises(ValueError, match="Image size must be at least 32, not 31"):
        ptq.run(formats=["int4"], images=8, size=31, repeats=1, seed=0, timeout=9, progress=SilentProgress())


def child_that(monkeypatch, tmp_path, source):
    """Have the bench start this program instead of its child."""
    program = tmp_path / "child.py"
    program.write_text(source)
    start = child.subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", lambda command, **options: start([sys.executable, str(program)],
                                                                                 **options))


REQUEST = {"side": "ours", "format": "int4"}


def test_what_a_child_says(monkeypatch, tmp_path):
    lines = [{"start_bytes": 5, "threads": 1}, {"begins": "GPTQ"}, {"step": "GPTQ", "seconds": 2.0}, {"peak_bytes": 7}]
    child_that(monkeypatch, tmp_path, f"for line in {[json.dumps(line) for line in lines]!r}: print(line)")
    told = Told()
    assert ptq._child(REQUEST, 60, "int4, ours", told) == {
        "steps": {"GPTQ": {"step": "GPTQ", "seconds": 2.0}}, "start_bytes": 5, "threads": 1, "peak_bytes": 7}
    assert told.lines == ["int4, ours: GPTQ"]


def test_a_child_that_fails_is_quoted(monkeypatch, tmp_path):
    child_that(monkeypatch, tmp_path, "raise RuntimeError('no such layer')")
    with pytest.raises(ToolError, match="Child of the bench must end well, not with 1, for ours on int4; "
                                        "its last words: RuntimeError: no such layer"):
        ptq._child(REQUEST, 60, "", SilentProgress())


def test_a_child_that_runs_on_is_stopped(monkeypatch, tmp_path):
    child_that(monkeypatch, tmp_path, "import time; time.sleep(300)")
    with pytest.raises(ToolTimeout, match="Child of the bench must end within 0.2 s, .* --timeout sets another limit"):
        ptq._child(REQUEST, 0.2, "", SilentProgress())


def test_an_interruption_stops_the_child(monkeypatch, tmp_path):
    child_that(monkeypatch, tmp_path, "import time; print('{\"begins\": \"GPTQ\"}', flush=True); time.sleep(300)")
    started = []
    popen = child.subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", lambda *arguments, **options: started.append(
        popen(*arguments, **options)) or started[-1])

    class Interrupting(SilentProgress):
        def start(self, description):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ptq._child(REQUEST, 60, "", Interrupting())
    assert started[0].returncode is not None


def small_network():
    """Three convolutions with batch normalisation around a residual, named as the bench expects."""
    torch.manual_seed(0)
    model = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 8, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(8), relu=nn.ReLU(),
        conv2=nn.Conv2d(8, 8, 3, padding=1, bias=False), bn2=nn.BatchNorm2d(8), relu2=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(8, 5)))
    images = torch.randn(24, 3, 8, 8)
    for norm in (model.bn1, model.bn2):
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    model.train()(images)
    return model.eval(), images


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "edge"), [("int4", "int8"), ("minifloat_e2m2", "minifloat_e3m4")])
def test_both_sides_do_the_same_steps(name, edge):
    """The quantized outputs are near the float ones, and nearer still to each other's."""
    fmt, edge = ptq.check_format(name), ptq.check_format(edge)
    outputs = {}
    for side, make in ptq_sides.SIDES.items():
        model, images = small_network()
        want = model(images).detach()
        candidate = make(model, images.split(8), fmt, edge)
        actions = candidate.steps()
        assert tuple(actions) == ptq.STEPS
        for step, action in actions.items():
            action()
            if step in ptq.STEPS[:2]:
                # As candidates are, not quantized yet: both keep what the network computes.
                got = candidate.run(images) if side == "ours" else candidate._model(images).detach()
                assert torch.allclose(got, want, atol=1e-4), (side, step)
        outputs[side] = candidate.run(images).numpy()
        assert ptq._sqnr(want.numpy(), outputs[side]) > 12, side
    assert ptq._sqnr(outputs["ours"], outputs["brevitas"]) > 12


def test_without_brevitas_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "brevitas", None)
    with pytest.raises(ptq_sides.NotMeasured, match="brevitas is not installed, or lacks brevitas: pip install brevi"):
        ptq_sides.SIDES["brevitas"](nn.Identity(), [], parse("int4"), parse("int8"))


def test_the_network_of_the_bench_is_the_same_for_a_seed_and_neither_dies_nor_explodes():
    model, images = ptq_child.network(3, 8, 32)
    again, same_images = ptq_child.network(3, 8, 32)
    assert torch.equal(images, same_images)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        spread = model(images).std(0).mean()
    assert 0.01 < spread < 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_real_run_of_both_sides():
    pytest.importorskip("brevitas")
    row, = ptq.run(formats=["int8"], images=8, size=32, repeats=1, seed=0, timeout=1200, progress=SilentProgress())
    assert row["steps"]["total"]["ratio"] > 0
    assert row["sqnr_db"]["ours"] > 15
    assert row["sqnr_db"]["between"] > 15
