"""Lattice Nexus: CrossLink-NX, Certus-NX (``synth_nexus``).

Source: ``lattice/cells_sim_nexus.v`` of Yosys. Look-up tables are given as strings (``"0x96AA"``).
"""

from __future__ import annotations

from collections.abc import Mapping

from synth.netlist.cells.common import IGNORED_PAD_PARAMETERS, buffer_model, constant_model, lut_model, tristate_model
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
from synth.netlist.cells.lattice_ram import NEXUS_RAM_CELLS
from synth.netlist.cells.model import CellModel, CellView
from synth.netlist.cells.nexus_dsp import NEXUS_DSP_CELLS
from synth.netlist.network import TABLE_MUX


def _expand_ccu2(view: CellView) -> None:
    inject = view.choice("INJECT", "YES", ("NO", "YES")) == "YES"
    expand_ccu2(view, generate_inputs=3, inject=(inject, inject))


def _expand_widefn9(view: CellView) -> None:
    halves = [view.lut(view.integer(f"INIT{half}", 0, 16), [view.input(f"{pin}{half}") for pin in "ABCD"])
              for half in range(2)]
    view.output("Z", view.lut(TABLE_MUX, [*halves, view.input("SEL")]))


NEXUS_CELLS: Mapping[str, CellModel] = {
    "LUT4": lut_model(("A", "B", "C", "D"), "Z", "INIT"),
    "WIDEFN9": CellModel(
        dict.fromkeys(("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1", "SEL", "Z"), 1), _expand_widefn9,
        ("INIT0", "INIT1")),
    "CCU2": CellModel(CCU2_PORTS, _expand_ccu2, ("INIT0", "INIT1", "INJECT")),
    "OXIDE_FF": CellModel(FLIP_FLOP_PORTS, expand_flip_flop, FLIP_FLOP_PARAMETERS),
    **vendor_flip_flop_models(default_global_reset="DISABLED"),
    **GLOBAL_RESET_CELLS,
    **NEXUS_DSP_CELLS,
    **NEXUS_RAM_CELLS,
    "INV": buffer_model("A", "Z", inverted=True),
    "VLO": constant_model("Z", value=False),
    "VHI": constant_model("Z", value=True),
    "IB": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OB": buffer_model("I", "O", ignored=IGNORED_PAD_PARAMETERS),
    "OBZ": tristate_model("I", "T", "O", active_low=True),
    "BB": tristate_model("I", "T", "B", active_low=True, output="O"),
    "DCC": CLOCK_BUFFER_MODEL,
}
