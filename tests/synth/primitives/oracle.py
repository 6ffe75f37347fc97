"""The forms of a bank on the vendors' cells as Yosys simulates them: nothing of the netlist engine is involved."""

import json

from synth.flow import TOP, elaborate
from synth.primitives import platform_of
from tests.support.gates import Gates
from tests.support.slices import Bank
from tests.synth.netlist.oracle import library_text, run_yosys

LIBRARIES = {"ice40": ("ice40/cells_sim.v", "SB_MAC16"), "nexus": ("lattice/cells_sim_nexus.v", "MULTADDSUB18X18"),
             "xc7": ("xilinx/cells_sim.v", "DSP48E1")}
"""The families for whose block Yosys ships a simulation model: its library, and the block."""


def write_form(bank, family, folder):
    """Write a bank in a family's form as ``design.il``, and Yosys' simulation model of its block as ``cells.v``."""
    library, block = LIBRARIES[family]
    text = elaborate(bank, platform_of(family)).rtlil
    assert text.count(f"cell \\{block} ") == len(bank.slices), "every slice must be a block"
    (folder / "design.il").write_text(text)
    (folder / "cells.v").write_text(library_text([library], [block]))


def build_on_yosys_models(bank, family, folder):
    """Return the gates of a bank in a family's form, each block replaced by Yosys' simulation model."""
    write_form(bank, family, folder)
    run_yosys(folder, "\n".join([
        "read_verilog -sv cells.v", "read_rtlil design.il", f"hierarchy -top {TOP}", "proc", "flatten", "opt_clean",
        "async2sync", "setundef -init -zero", "opt -nodffe -nosdff", "techmap", "opt -nodffe -nosdff -fast",
        "dfflegalize -cell $_DFF_P_ 0", "opt_clean", "write_json gates.json"]) + "\n")
    return Gates(json.loads((folder / "gates.json").read_text())["modules"][TOP])


def prove_equal(generic, slices, family, folder):
    """Prove that ``slices`` in a family's form, on Yosys' model, show the same as ``generic`` ones in generic form.

    By induction over time from power-up, so for every sequence of operands and of beginnings; ``enable`` is 1.

    Raises
    ------
    synth.errors.ToolError
        If that is not so.
    """
    write_form(Bank(slices), family, folder)
    (folder / "generic.il").write_text(elaborate(Bank(generic)).rtlil)
    prepare = [f"hierarchy -top {TOP}", "proc", "flatten", "opt_clean", "async2sync", "setundef -init -zero", "opt",
               "attrmap -modattr -remove top"]
    run_yosys(folder, "\n".join([
        "read_rtlil generic.il", *prepare, f"rename {TOP} generic", "write_rtlil generic_flat.il", "design -reset",
        "read_verilog -sv cells.v", "read_rtlil design.il", *prepare, f"rename {TOP} form", "write_rtlil form_flat.il",
        "design -reset", "read_rtlil generic_flat.il", "read_rtlil form_flat.il",
        "miter -equiv -flatten -make_outputs generic form miter", "hierarchy -top miter", "flatten", "opt -full",
        "dffunmap", "opt -full",
        "sat -verify -tempinduct -prove trigger 0 -set in_enable 1 -set-def-inputs -maxsteps 10 miter"]) + "\n")
