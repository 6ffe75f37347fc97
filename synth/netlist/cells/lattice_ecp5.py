"""Lattice ECP5 (``synth_ecp5``).

Source: ``lattice/common_sim.vh``, ``ccu2c_sim.vh``, ``cells_sim_ecp5.v`` and ``cells_io.vh`` of Yosys.
"""

from __future__ import annotations

from collections.abc import Mapping

from synth.netlist.cells.common import (
    IGNORED_PAD_PARAMETERS,
    buffer_model,
    constant_model,
    lut_model,
    mux_model,
    tristate_model,
)
from synth.netlist.cells.ecp5_dsp import MULT18X18D_MODEL
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
from synth.netlist.cells.lattice_ram import ECP5_RAM_CELLS
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
    "MULT18X18D": MULT18X18D_MODEL,
    "TRELLIS_IO": CellModel(dict.fromkeys("BITO", 1), _expand_io, ("DIR",), IGNORED_PAD_PARAMETERS),
    "IB": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OB": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OBZ": tristate_model("I", "T", "O", active_low=True),
    "BB": tristate_model("I", "T", "B", active_low=True, output="O"),
    "DCCA": CLOCK_BUFFER_MODEL,
    **ECP5_RAM_CELLS,
}
