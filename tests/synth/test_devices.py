"""Every device that a user may name can be placed on, and holds what our table says it holds."""

import re

import pytest

from synth.build import Builder, Plan
from synth.console import SilentProgress
from synth.cost.capacity import CAPACITIES, Capacity
from synth.operations import Request, find_operation
from synth.store import Store
from synth.targets import TARGETS
from synth.toolchain import is_installed

DEVICES = [(target.name, device) for target in TARGETS.values() if target.place_and_route
           for device in target.place_and_route.devices]

RESOURCES = {
    "ice40": ("ICESTORM_LC", "ICESTORM_LC", "ICESTORM_DSP", "ICESTORM_RAM"),
    "ecp5": ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD"),
    "nexus": ("OXIDE_COMB", "OXIDE_FF", "MULT18_CORE", "OXIDE_EBR"),
    "gowin": ("LUT4", "DFF", "MULT18X18", "BSRAM"),
}
"""What nextpnr calls LUTs, flip-flops, multipliers and block RAMs."""


@pytest.mark.slow
@pytest.mark.parametrize(("target", "device"), DEVICES, ids=lambda value: value)
def test_device_is_placed_on_and_holds_what_the_table_says(target, device, tmp_path):
    rules = TARGETS[target].place_and_route
    if not is_installed(rules.tool):
        pytest.skip(f"{rules.tool} is not installed")
    operation = Request(fmt="int2").operation(find_operation("multiply"))
    store = Store(tmp_path / "store", warn=pytest.fail)
    plan = Plan(operation=operation, targets=[TARGETS[target]], device=device, seeds=(1,), vector_seed=1, jobs=1,
                timeout=None)
    work = tmp_path / "work"
    work.mkdir()
    outcome, = Builder(plan, store=store).run(work, SilentProgress())
    store.close()
    assert outcome.error is None
    log = (work / target / "nextpnr-1.log").read_text()
    there = {name: int(count) for name, count in re.findall(r"^Info:\s+(\w+):\s*\d+/\s*(\d+)\s+\d+%", log, re.M)}
    counts = [there.get(name, 0) for name in RESOURCES[target]]
    assert Capacity(lut=counts[0], ff=counts[1], dsp=counts[2], bram=counts[3]) == CAPACITIES[target][device]


def test_every_device_has_a_capacity():
    assert sorted(DEVICES) == sorted((target, device) for target, devices in CAPACITIES.items() for device in devices)
