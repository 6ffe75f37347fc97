"""Lattice ECP5 (``synth_ecp5``).

Source: ``lattice/common_sim.vh``, ``ccu2c_sim.vh``, ``cells_sim_ecp5.v`` and ``cells_io.vh`` of Yosys; for MULT18X18D,
which has no model there, Lattice FPGA-TN-02205 (ECP5 sysDSP usage guide).
"""

from __future__ import annotations

from collections.abc import Mapping

from synth.netlist.cells.common import (
    IGNORED_PAD_PARAMETERS,
    buffer_model,
    constant_model,
    lut_model,
    multiply,
    mux_model,
    tristate_model,
)
from synth.netlist.cells.lattice_common import (
    CCU2_PORTS,
    CLOCK_BUFFER_MODEL,
    FLIP_FLOP_PARAMETERS,
    FLIP_FLOP_PORTS,
    GLOBAL_RESET_CELLS,
    expand_ccu2,
    expand_flip_flop,
    vendor_flip_flop_models,
)
from synth.netlist.cells.model import CellModel, CellView
from synth.netlist.network import FALSE


def _expand_ccu2c(view: CellView) -> None:
    first, second = (view.choice(f"INJECT1_{stage}", "YES", ("NO", "YES")) == "YES" for stage in range(2))
    expand_ccu2(view, generate_inputs=2, inject=(first, second))


def _expand_io(view: CellView) -> None:
    direction = view.choice("DIR", "INPUT", ("INPUT", "OUTPUT", "BIDIR"))
    if direction != "INPUT":
        view.drive_pad("B", view.input("I"), view.not_(view.input("T", default=FALSE)))
    if direction != "OUTPUT":
        view.output("O", view.input("B"))
    else:
        view.unsupported_output("O")


_MULTIPLIER_SETTINGS = {                                 # the only value that the model stands for
    "REG_INPUTA_CLK": "NONE", "REG_INPUTB_CLK": "NONE", "REG_INPUTC_CLK": "NONE", "REG_PIPELINE_CLK": "NONE",
    "REG_OUTPUT_CLK": "NONE", "MULT_BYPASS": "DISABLED", "CAS_MATCH_REG": "FALSE", "HIGHSPEED_CLK": "NONE"}
_MULTIPLIER_IGNORED = (                                  # about registers and cascades, which are refused or unused
    *(f"REG_{stage}_{pin}" for stage in ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT") for pin in ("CE", "RST")),
    *(f"CLK{index}_DIV" for index in range(4)), "GSR", "RESETMODE", "SOURCEB_MODE")


def _bit_ports(*names: tuple[str, int]) -> dict[str, int]:
    return {f"{name}{index}": 1 for name, width in names for index in range(width)}


def _expand_multiplier(view: CellView) -> None:
    """Expand the combinational 18x18 multiplier: all that Yosys infers."""
    for name, value in _MULTIPLIER_SETTINGS.items():
        view.choice(name, value, (value,))
    for pin in ("SOURCEA", "SOURCEB"):
        if view.constant(pin, default=FALSE):
            raise view.error(f"Pin {pin} must be 0: the operand from the pins, without a cascade", 1)
    a, b = ([view.input(f"{name}{index}") for index in range(18)] for name in "AB")
    product = multiply(view, a, b, view.input("SIGNEDA"), view.input("SIGNEDB"), 36)
    for index, signal in enumerate(product):
        view.output(f"P{index}", signal)
    view.output("SIGNEDP", view.or_(view.input("SIGNEDA"), view.input("SIGNEDB")))
    for name in ("SROA", "SROB", "ROA", "ROB", "ROC"):
        for index in range(18):
            view.unsupported_output(f"{name}{index}")


_MULTIPLIER_PORTS = {
    **_bit_ports(("A", 18), ("B", 18), ("C", 18), ("P", 36), ("SRIA", 18), ("SRIB", 18), ("SROA", 18), ("SROB", 18),
                 ("ROA", 18), ("ROB", 18), ("ROC", 18), ("CLK", 4), ("CE", 4), ("RST", 4)),
    **dict.fromkeys(("SIGNEDA", "SIGNEDB", "SIGNEDP", "SOURCEA", "SOURCEB"), 1)}

ECP5_CELLS: Mapping[str, CellModel] = {
    "LUT2": lut_model(("A", "B"), "Z", "INIT"),
    "LUT4": lut_model(("A", "B", "C", "D"), "Z", "INIT"),
    "PFUMX": mux_model("BLUT", "ALUT", "C0", "Z"),
    "L6MUX21": mux_model("D0", "D1", "SD", "Z"),
    "CCU2C": CellModel(CCU2_PORTS, _expand_ccu2c, ("INIT0", "INIT1", "INJECT1_0", "INJECT1_1")),
    "TRELLIS_FF": CellModel(FLIP_FLOP_PORTS, expand_flip_flop, FLIP_FLOP_PARAMETERS),
    **vendor_flip_flop_models(default_global_reset="ENABLED"),
    **GLOBAL_RESET_CELLS,
    "INV": buffer_model("A", "Z", inverted=True),
    "VLO": constant_model("Z", value=False),
    "VHI": constant_model("Z", value=True),
    "MULT18X18D": CellModel(_MULTIPLIER_PORTS, _expand_multiplier, tuple(_MULTIPLIER_SETTINGS), _MULTIPLIER_IGNORED),
    "TRELLIS_IO": CellModel(dict.fromkeys("BITO", 1), _expand_io, ("DIR",), IGNORED_PAD_PARAMETERS),
    "IB": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OB": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OBZ": tristate_model("I", "T", "O", active_low=True),
    "BB": tristate_model("I", "T", "B", active_low=True, output="O"),
    "DCCA": CLOCK_BUFFER_MODEL,
}
