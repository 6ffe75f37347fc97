"""Cell libraries: what every primitive that Yosys' flows emit computes, a family a library.

The facts come from the simulation models that Yosys ships (``share/yosys/<family>/cells_sim.v``), against which the
tests check every model here; where Yosys has none (ECP5 and Gowin multipliers, DSP48E2) from the vendor's guide.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from synth.netlist.cells.gowin import GOWIN_CELLS
from synth.netlist.cells.lattice_ecp5 import ECP5_CELLS
from synth.netlist.cells.lattice_ice40 import ICE40_CELLS
from synth.netlist.cells.lattice_nexus import NEXUS_CELLS
from synth.netlist.cells.model import CellModel
from synth.netlist.cells.xilinx import XILINX_CELLS
from synth.netlist.cells.yosys_gates import GATE_CELLS


class Family(enum.Enum):
    """Whose primitives a netlist is made of. All of them also know Yosys' own gates (``$_AND_``, ``$_DFF_P_``)."""

    ICE40 = "ice40"
    ECP5 = "ecp5"
    NEXUS = "nexus"
    GOWIN = "gowin"
    XILINX = "xilinx"


_FAMILY_CELLS: Mapping[Family, Mapping[str, CellModel]] = {
    Family.ICE40: ICE40_CELLS,
    Family.ECP5: ECP5_CELLS,
    Family.NEXUS: NEXUS_CELLS,
    Family.GOWIN: GOWIN_CELLS,
    Family.XILINX: XILINX_CELLS,
}
_LIBRARIES = {family: {**cells, **GATE_CELLS} for family, cells in _FAMILY_CELLS.items()}


def library(family: Family) -> Mapping[str, CellModel]:
    """Return the cell models of a family by cell type."""
    return _LIBRARIES[family]


__all__ = ["CellModel", "Family", "library"]
