"""Xilinx 7 series and UltraScale+ (``synth_xilinx``).

Source: ``xilinx/cells_sim.v`` of Yosys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from synth.netlist.cells.common import (
    IGNORED_PAD_PARAMETERS,
    buffer_model,
    constant_model,
    function_model,
    lut_model,
    mux_model,
    tristate_model,
)
from synth.netlist.cells.model import CellModel, CellView, Controls
from synth.netlist.cells.xilinx_dsp48 import DSP48E1_MODEL, DSP48E2_MODEL
from synth.netlist.cells.xilinx_ram import XILINX_RAM_CELLS
from synth.netlist.network import FALSE, TRUE, Signal


def _expand_dual_lut(view: CellView) -> None:
    table = view.integer("INIT", 0, 64)
    pins = [view.input(f"I{index}") for index in range(6)]
    view.output("O6", view.lut(table, pins))
    view.output("O5", view.lut(table & 0xFFFFFFFF, pins[:5]))


def _carry_stages(view: CellView, carry: Signal, first: int, count: int) -> tuple[list[Signal], list[Signal]]:
    """Return O and CO of ``count`` stages: ``O = S ^ carry``, ``CO = S ? carry : DI``."""
    sums, carries = [], []
    for index in range(first, first + count):
        select = view.input("S", index)
        sums.append(view.xor(select, carry))
        carry = view.mux(select, view.input("DI", index), carry)
        carries.append(carry)
    return sums, carries


def _expand_carry4(view: CellView) -> None:
    carry = view.or_(view.input("CI", default=FALSE), view.input("CYINIT", default=FALSE))
    sums, carries = _carry_stages(view, carry, 0, 4)
    view.output("O", sums)
    view.output("CO", carries)


def _expand_carry8(view: CellView) -> None:
    split = view.choice("CARRY_TYPE", "SINGLE_CY8", ("SINGLE_CY8", "DUAL_CY4")) == "DUAL_CY4"
    low_sums, low_carries = _carry_stages(view, view.input("CI"), 0, 4)
    middle = view.input("CI_TOP") if split else low_carries[-1]
    high_sums, high_carries = _carry_stages(view, middle, 4, 4)
    view.output("O", [*low_sums, *high_sums])
    view.output("CO", [*low_carries, *high_carries])


def _flip_flop_model(argument: str, pin: str, *, rising: bool = True) -> CellModel:
    """Return a flip-flop with enable and one set or reset; INIT of x means the cell's default, as in the device."""
    default = argument.endswith("_set")
    inversions = ("IS_C_INVERTED", "IS_D_INVERTED", f"IS_{pin}_INVERTED") if rising else ()

    def expand(view: CellView) -> None:
        controls = Controls(**{argument: view.invert_if(view.flag(f"IS_{pin}_INVERTED"), view.input(pin))})
        initial = bool(view.integer("INIT", int(default), 1, undefined=default))
        view.output("Q", view.flip_flop(
            view.invert_if(view.flag("IS_D_INVERTED"), view.input("D")), view.input("C"), enable=view.input("CE"),
            rising=rising != view.flag("IS_C_INVERTED"), initial=initial, controls=controls))

    return CellModel(dict.fromkeys(("Q", "C", "CE", "D", pin), 1), expand, ("INIT", *inversions))


def _flip_flop_models() -> dict[str, CellModel]:
    models = {}
    for name, argument, pin in (("FDRE", "sync_reset", "R"), ("FDSE", "sync_set", "S"),
                                ("FDCE", "async_reset", "CLR"), ("FDPE", "async_set", "PRE")):
        models[name] = _flip_flop_model(argument, pin)
        models[f"{name}_1"] = _flip_flop_model(argument, pin, rising=False)
    return models


def _shift_register(view: CellView, length: int, address: list[Signal]) -> tuple[Signal, Signal]:
    """Return the tap at ``address`` and the last bit of a shift register; INIT bit 0 is the newest bit."""
    initial = view.integer("INIT", 0, length, undefined=False)
    rising = not view.flag("IS_CLK_INVERTED")
    clock, enable, bit = view.input("CLK"), view.input("CE", default=TRUE), view.input("D")
    bits = []
    for index in range(length):
        bit = view.flip_flop(bit, clock, enable=enable, rising=rising, initial=bool(initial >> index & 1))
        bits.append(bit)
    last = bits[-1]
    for select in address:
        bits = [view.mux(select, low, high) for low, high in zip(bits[::2], bits[1::2], strict=True)]
    return bits[0], last


def _shift_register_model(length: int, last_output: str | None, *, enabled: bool) -> CellModel:
    width = length.bit_length() - 1
    scalar = width == 4                                  # SRL16 has pins A0 to A3, SRLC32E a bus A

    def expand(view: CellView) -> None:
        address = [view.input(f"A{index}") for index in range(width)] if scalar else view.bus("A", width)
        tap, last = _shift_register(view, length, address)
        view.output("Q", tap)
        if last_output is not None:
            view.output(last_output, last)

    ports = {"Q": 1, "CLK": 1, "D": 1, **({f"A{index}": 1 for index in range(width)} if scalar else {"A": width})}
    ports |= {port: 1 for port, present in (("CE", enabled), (last_output or "", last_output is not None)) if present}
    return CellModel(ports, expand, ("INIT", "IS_CLK_INVERTED"))


def _latch_logic_model(function: Callable[[CellView, Signal, Signal], Signal]) -> CellModel:
    def expand(view: CellView) -> None:
        control = view.invert_if(view.flag("IS_SRI_INVERTED"), view.input("SRI"))
        view.output("O", function(view, view.input("DI"), control))

    return CellModel(dict.fromkeys(("O", "DI", "SRI"), 1), expand, ("IS_SRI_INVERTED",))


def _expand_clock_enable_buffer(view: CellView) -> None:
    if view.constant("CE", default=TRUE) == view.flag("IS_CE_INVERTED"):
        raise view.error("Pin CE must be active: a clock that always runs", "inactive")
    view.output("O", view.input("I"))


XILINX_CELLS: Mapping[str, CellModel] = {
    **{f"LUT{size}": lut_model([f"I{index}" for index in range(size)], "O", "INIT") for size in range(1, 7)},
    "LUT6_2": CellModel(dict.fromkeys(("O6", "O5", *(f"I{index}" for index in range(6))), 1), _expand_dual_lut,
                        ("INIT",)),
    **{f"MUXF{level}": mux_model("I0", "I1", "S", "O") for level in range(5, 10)},
    "MUXCY": mux_model("DI", "CI", "S", "O"),
    "XORCY": function_model(("CI", "LI"), "O", 0b0110),
    "ORCY": function_model(("CI", "I"), "O", 0b1110),
    "MULT_AND": function_model(("I0", "I1"), "LO", 0b1000),
    "CARRY4": CellModel({"CO": 4, "O": 4, "CI": 1, "CYINIT": 1, "DI": 4, "S": 4}, _expand_carry4),
    "CARRY8": CellModel({"CO": 8, "O": 8, "CI": 1, "CI_TOP": 1, "DI": 8, "S": 8}, _expand_carry8, ("CARRY_TYPE",)),
    "AND2B1L": _latch_logic_model(lambda view, data, control: view.and_(data, view.not_(control))),
    "OR2L": _latch_logic_model(lambda view, data, control: view.or_(data, control)),
    **_flip_flop_models(),
    "SRL16": _shift_register_model(16, None, enabled=False),
    "SRL16E": _shift_register_model(16, None, enabled=True),
    "SRLC16E": _shift_register_model(16, "Q15", enabled=True),
    "SRLC32E": _shift_register_model(32, "Q31", enabled=True),
    "DSP48E1": DSP48E1_MODEL,
    "DSP48E2": DSP48E2_MODEL,
    **XILINX_RAM_CELLS,
    "INV": buffer_model("I", "O", inverted=True),
    "GND": constant_model("G", value=False),
    "VCC": constant_model("P", value=True),
    "IBUF": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "IBUFG": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OBUF": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OBUFT": tristate_model("I", "T", "O", active_low=True),
    "IOBUF": tristate_model("I", "T", "IO", active_low=True, output="O"),
    "BUFG": buffer_model("I", "O"),
    "BUFH": buffer_model("I", "O"),
    "BUFHCE": CellModel(dict.fromkeys(("O", "I", "CE"), 1), _expand_clock_enable_buffer, ("IS_CE_INVERTED",),
                        ("INIT_OUT", "CE_TYPE")),
}
