"""Cell libraries: what every primitive that Yosys' flows emit computes, a family a library.

The facts come from the simulation models that Yosys ships (``share/yosys/<family>/cells_sim.v``), against which the
tests check every model here; where Yosys has none (ECP5 and Gowin multipliers, DSP48E2) from the vendor's guide.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from .gowin import GOWIN_CELLS
from .lattice_ecp5 import ECP5_CELLS
from .lattice_ice40 import ICE40_CELLS
from .lattice_nexus import NEXUS_CELLS
from .model import CellModel
from .xilinx import XILINX_CELLS
from .yosys_gates import GATE_CELLS


class Family(enum.Enum):
    """Whose primitives a netlist is made of. All of them also know Yosys' own gates (``$_AND_``, ``$_DFF_P_``)."""

    ICE40 = "ice40"
    ECP5 = "ecp5"
    NEXUS = "nexus"
    GOWIN = "gowin"
    XILINX = "xilinx"


_LIBRARIES: Mapping[Family, Mapping[str, CellModel]] = {
    Family.ICE40: ICE40_CELLS | GATE_CELLS,
    Family.ECP5: ECP5_CELLS | GATE_CELLS,
    Family.NEXUS: NEXUS_CELLS | GATE_CELLS,
    Family.GOWIN: GOWIN_CELLS | GATE_CELLS,
    Family.XILINX: XILINX_CELLS | GATE_CELLS,
}


def library(family: Family) -> Mapping[str, CellModel]:
    """Return the cell models of a family by cell type."""
    return _LIBRARIES[family]


__all__ = ["CellModel", "Family", "library"]
