"""What ECP5 and Nexus share: two-LUT carry cells and the configurable flip-flop.

Source: ``lattice/common_sim.vh``, ``ccu2c_sim.vh``, ``cells_sim_nexus.v``, ``cells_ff.vh`` of Yosys.
"""

from __future__ import annotations

from collections.abc import Mapping

from synth.netlist.cells.model import CellModel, CellView, Controls
from synth.netlist.network import FALSE, TRUE, Signal

CCU2_PORTS = dict.fromkeys(
    ("CIN", "A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1", "S0", "S1", "COUT"), 1)


def expand_ccu2(view: CellView, *, generate_inputs: int, inject: tuple[bool, bool]) -> None:
    """Expand two carry stages: ``S = LUT4 ^ carry``, ``carry' = LUT4 ? carry : generate``.

    ``generate`` is the low corner of the look-up table, seen as a table of the first ``generate_inputs`` inputs.
    ``inject`` tells for each stage that it neither adds the incoming carry nor generates one.
    """
    carry = view.input("CIN")
    for stage in range(2):
        pins = [view.input(f"{pin}{stage}") for pin in "ABCD"]
        table = view.integer(f"INIT{stage}", 0, 16)
        propagate = view.lut(table, pins)
        generate = FALSE
        if not inject[stage]:
            generate = view.lut(table & ((1 << (1 << generate_inputs)) - 1), pins[:generate_inputs])
        view.output(f"S{stage}", propagate if inject[stage] else view.xor(propagate, carry))
        carry = view.mux(propagate, generate, carry)
    view.output("COUT", carry)


FLIP_FLOP_PORTS = dict.fromkeys(("CLK", "LSR", "CE", "DI", "M", "Q"), 1)
FLIP_FLOP_PARAMETERS = ("GSR", "CEMUX", "CLKMUX", "LSRMUX", "SRMODE", "REGSET", "LSRMODE", "REGDDR")


def expand_flip_flop(view: CellView) -> None:
    """Expand TRELLIS_FF and OXIDE_FF.

    The local set/reset wins over the enable; the state after configuration is that of REGSET. The preload mode
    (LSRMODE PRLD) and clocking on both edges are refused.
    """
    view.choice("LSRMODE", "LSR", ("LSR",))
    view.choice("REGDDR", "DISABLED", ("DISABLED",))
    enable_mode = view.choice("CEMUX", "1", ("0", "1", "CE", "INV"))
    enable = {"0": FALSE, "1": TRUE}.get(enable_mode)
    if enable is None:
        enable = view.invert_if(enable_mode == "INV", view.input("CE"))
    reset = view.input("LSR", default=FALSE)
    reset = view.invert_if(view.choice("LSRMUX", "LSR", ("LSR", "INV")) == "INV", reset)
    to_one = view.choice("REGSET", "RESET", ("RESET", "SET")) == "SET"
    asynchronous = view.choice("SRMODE", "LSR_OVER_CE", ("LSR_OVER_CE", "ASYNC")) == "ASYNC"
    view.output("Q", set_reset_flip_flop(
        view, view.input("DI"), view.input("CLK"), enable=enable, control=reset, to_one=to_one,
        asynchronous=asynchronous, rising=view.choice("CLKMUX", "CLK", ("CLK", "INV")) == "CLK",
        global_reset=view.choice("GSR", "ENABLED", ("ENABLED", "DISABLED", "AUTO")) != "DISABLED"))


def set_reset_flip_flop(view: CellView, data: Signal, clock: Signal, *, enable: Signal, control: Signal, to_one: bool,
                        asynchronous: bool, rising: bool, global_reset: bool) -> Signal:
    """Return a flip-flop whose ``control`` sets it to ``to_one``, as does the design's global reset if asked for."""
    sync = FALSE if asynchronous else control
    async_ = control if asynchronous else FALSE
    if global_reset:
        async_ = view.or_(async_, view.global_reset)
    controls = (Controls(sync_set=sync, async_set=async_) if to_one
                else Controls(sync_reset=sync, async_reset=async_))
    return view.flip_flop(data, clock, enable=enable, rising=rising, initial=to_one, controls=controls)


def vendor_flip_flop_models(default_global_reset: str) -> dict[str, CellModel]:
    """Return the Diamond flip-flops FD1P3xX (with enable SP) and FD1S3xX (without).

    Letter: A none, B asynchronous preset, D asynchronous clear, I synchronous clear, J synchronous preset; ``AY``
    starts at one.
    """
    models = {}
    for kind in ("AX", "AY", "BX", "DX", "IX", "JX"):
        for enabled in (True, False):
            models[f"FD1{'P' if enabled else 'S'}3{kind}"] = _vendor_model(kind, enabled, default_global_reset)
    return models


def _vendor_model(kind: str, enabled: bool, default_global_reset: str) -> CellModel:
    pin = {"A": None, "B": "PD", "D": "CD", "I": "CD", "J": "PD"}[kind[0]]
    to_one = kind in ("AY", "BX", "JX")

    def expand(view: CellView) -> None:
        control = FALSE if pin is None else view.input(pin)
        view.output("Q", set_reset_flip_flop(
            view, view.input("D"), view.input("CK"), enable=view.input("SP") if enabled else TRUE, control=control,
            to_one=to_one, asynchronous=kind[0] in "BD", rising=True,
            global_reset=view.choice("GSR", default_global_reset, ("ENABLED", "DISABLED", "AUTO")) != "DISABLED"))

    ports = ("D", "CK", "Q", *(("SP",) if enabled else ()), *(() if pin is None else (pin,)))
    return CellModel(dict.fromkeys(ports, 1), expand, ("GSR",))


def _expand_global_reset(view: CellView) -> None:
    view.set_global_reset(view.not_(view.input("GSR")))


def _expand_synchronous_global_reset(view: CellView) -> None:
    released = view.flip_flop(view.input("GSR"), view.input("CLK"))
    view.set_global_reset(view.not_(released))


GLOBAL_RESET_CELLS: Mapping[str, CellModel] = {
    # An active-low global set/reset; SGSR takes it at a clock edge. Without such a cell there is no global reset.
    "GSR": CellModel({"GSR": 1}, _expand_global_reset, ignored=("SYNCMODE",), first=True),
    "SGSR": CellModel({"GSR": 1, "CLK": 1}, _expand_synchronous_global_reset, first=True),
}


def _expand_clock_buffer(view: CellView) -> None:
    if not view.constant("CE", default=TRUE):
        raise view.error("Pin CE must be 1: a clock that always runs", 0)
    view.output("CLKO", view.input("CLKI"))


CLOCK_BUFFER_MODEL = CellModel(dict.fromkeys(("CLKI", "CLKO", "CE"), 1), _expand_clock_buffer, ignored=("DCCEN",))
