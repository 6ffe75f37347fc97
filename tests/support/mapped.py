"""Components as the netlists of device families, with the families' own DSP blocks."""

from synth import flow
from synth.primitives import platform_of
from synth.store import Store
from synth.targets import TARGETS
from synth.verify import check_stream, stream_transfers


def map_component(component, target, folder, *, dsp=True):
    """Return a component's mapped netlist as Yosys' JSON object, and what it takes of each kind of cell.

    Parameters
    ----------
    component : wiring.Component
    target : str
        Name of the device family.
    folder : Path
        Empty folder to work in.
    dsp : bool
        Whether hard multipliers may be used.
    """
    family = TARGETS[target]
    design = flow.elaborate(component, platform_of(target, dsp=dsp))
    store = Store(folder / "store", warn=print)
    try:
        mapped = flow.synthesize(design, family, store=store, folder=folder, dsp=dsp, timeout=600)
    finally:
        store.close()
    return mapped.document(), flow.count_cells(family, mapped.cells)


def assert_stream_right(component, netlist, *, samples=2048, seed=1):
    """Run the netlist of a component between streams through random sequences, with stalls and resets."""
    transfers = stream_transfers(component.model, seed=seed, samples=samples)
    report = check_stream(netlist, transfers, latency=component.latency, seed=seed + 1)
    assert report["mismatches"] == 0, report["first_mismatch"] | report["violations"]
    assert report["vectors"] > samples // 8
    assert report["latency_checked"] > 0
    assert report["resets"] > 0
    return report
