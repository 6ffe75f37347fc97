"""Netlist to bit-level network: find the family, expand every cell, settle what no cell drives."""

from __future__ import annotations

from collections.abc import Mapping

from synth.netlist.cells import Family, library
from synth.netlist.cells.model import CellModel, CellView
from synth.netlist.errors import NetlistError
from synth.netlist.network import Network
from synth.netlist.read import Netlist


def expand(netlist: Netlist, family: Family | None = None) -> Network:
    """Expand all cells of ``netlist`` into truth tables and flip-flops.

    Raises
    ------
    NetlistError
        If a cell is unknown or in a configuration that its model does not have, or a net has several drivers.
    """
    models = _models(netlist, family)
    network = Network(netlist)
    views = []
    for cell in netlist.cells:
        model = models[cell.type]
        view = CellView(network, cell, model)
        for port, value in model.constants.items():
            for bit in cell.connections.get(port, ()):
                network.declare_constant(bit, value, view.title)
        views.append((model, view))
    # Cells that set the global reset come first, because the flip-flops ask for it.
    for model, view in sorted(views, key=lambda item: not item[0].first):
        model.expand(view)
    network.define_pads()
    network.define_undriven()
    return network


def _models(netlist: Netlist, family: Family | None) -> Mapping[str, CellModel]:
    """Return the library of ``family``, or of the first family that has the most cells; it must have all."""
    if family is None:
        known = {type_ for candidate in Family for type_ in library(candidate)}
        for cell in netlist.cells:
            if cell.type not in known:
                raise NetlistError(f"Cell type must be one that the netlist engine models, not {cell.type!r} "
                                   f"(cell {cell.name!r})")
        family = max(Family, key=lambda candidate: _accepted(netlist, candidate))
    _check_known(netlist, family)
    return library(family)


def _accepted(netlist: Netlist, family: Family) -> int:
    models = library(family)
    return sum(cell.type in models and models[cell.type].accepts(cell) for cell in netlist.cells)


def _check_known(netlist: Netlist, family: Family) -> None:
    models = library(family)
    for cell in netlist.cells:
        if cell.type not in models:
            raise NetlistError(f"Cell type must be one that the netlist engine models for {family.value}, "
                               f"not {cell.type!r} (cell {cell.name!r})")
        if not models[cell.type].accepts(cell):
            ports = {port: len(bits) for port, bits in cell.connections.items()}
            raise NetlistError(f"Ports of a {family.value} {cell.type} must be {dict(models[cell.type].ports)}, "
                               f"not {ports} (cell {cell.name!r})")
