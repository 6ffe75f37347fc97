"""How an operator is synthesized for a processor: into what one instruction computes, not into an FPGA's cells.

Depth is free in software, where thousands of lanes run side by side and an out-of-order core looks hundreds of
instructions ahead, so that everything here is for the number of instructions. ABC's own scripts map for depth first.
What helped is mapping for area (``if -a``), then resynthesis of every node by the don't-cares around it (``mfs2 -a``,
with wider windows than by default), and both again on what came out: each time another structure is met. What did not,
and is left out: ripple carries in place of Yosys' prefix adders (0 to 0.5 %: ABC undoes these by itself), ``-booth``
(the multipliers of ``hw`` are no ``$mul``), ``-noalumacc`` (worse), ``compress2rs`` (worse), ``&deepsyn`` (2 % on some,
but it stops by the clock, so that no two runs are equal). A netlist of three-input tables serves AVX2 and plain words
as well as one of gates does: the cover takes it apart and finds the gates anew.

Instructions of a pass after the cover, from Yosys' own recipe (``synth -lut 3``, ``abc -g``) to this one; yosys 0.70:

=========================  ==============  ==============  ==============
operator                   AVX-512         AVX2            NEON
=========================  ==============  ==============  ==============
multiply e4m3               138 to 136      251 to 243      243 to 219
multiply float16            612 to 621     1194 to 1186    1066 to 1040
multiply posit<8,1>         214 to 200      421 to 412      358 to 336
mac e5m2                    270 to 272      518 to 505      478 to 471
mac float8_e4m3             347 to 347      650 to 640      585 to 568
mac e5m3                    367 to 357      687 to 669      622 to 602
mac e5m4                    453 to 452      870 to 876      773 to 742
mac e5m5                    564 to 558     1082 to 1075     941 to 908
mac e5m6                    673 to 663     1293 to 1293    1115 to 1071
mac e5m7                    821 to 801     1568 to 1570    1337 to 1275
mac e5m8                    944 to 918     1800 to 1803    1520 to 1472
mac e5m9                   1102 to 1043    2061 to 2077    1779 to 1747
mac e5m10                  1167 to 1124    2223 to 2206    1854 to 1833
chunked_mac e4m3 in 1-6-9  1067 to 1045    2152 to 2077    1620 to 1611
emac e4m3                   652 to 551     1192 to 1095     893 to 879
emac posit<8,1>            1068 to 938     2068 to 1775    1650 to 1605
=========================  ==============  ==============  ==============

The MACs are counted with the sums that they had then. Since :mod:`hw.arith.fused_sum` makes them, this recipe comes to
235 / 434 / 401 for mac e5m2, 430 / 836 / 747 for e5m5, 989 / 1972 / 1682 for e5m10, and 906 for chunked_mac (AVX-512).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from synth import flow
from synth.console import Console
from synth.netlist import Program, compile_netlist, read_netlist
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.logic import Basis
from synth.operations import Operation
from synth.operations.structures import record_errors
from synth.store import Store, cache_folder

__all__ = ["native_netlist", "native_program", "native_script"]

_START = "strash; &get -n; &fraig -x; &put; scorr; dc2"
_RESYNTHESIS = "mfs2 -a -W 6 -F 100 -D 100 -L 200 -C 5000"
_LOOKUPS = f"strash; dch -f; if -a -F 4 -A 8; {_RESYNTHESIS}"
_GATES = "strash; &get -n; &dch -f; &nf; &put"
_TABLES = ("-lut 3", "; ".join((_START, *[_LOOKUPS] * 4, "lutpack -S 1")))

_MAPPINGS = {
    Basis.TERNARY: _TABLES,
    Basis.BINARY: _TABLES,
    Basis.SELECT: ("-g AND,OR,XOR,ANDNOT,ORNOT,MUX", "; ".join((_START, *[f"{_GATES}; {_RESYNTHESIS}"] * 2, _GATES))),
}
"""ABC's library and script, by what an instruction computes. A round more saves less than one in a hundred."""


def native_script(isa: InstructionSet) -> str:
    """Return the Yosys script for an instruction set: reads ``design.il``, writes ``mapped.json``.

    Enables and resets of flip-flops become logic, which ABC shares with what is around it: up to 5 % fewer instructions
    for accumulators. They stay what they are where an instruction selects, which an enable is: up to 9 % fewer there.
    """
    library, script = _MAPPINGS[isa.basis]
    flip_flops = [] if isa.basis is Basis.SELECT else ["dfflegalize -cell $_DFF_P_ 01", "opt -nodffe -nosdff"]
    command = script.replace("; ", ";").replace(" ", ",")        # a comma is a blank in Yosys' option
    return "\n".join((
        "read_rtlil design.il", "synth -flatten -noabc -top top", *flip_flops, f"abc {library} -script +{command}",
        "opt_clean -purge", "check -assert", "write_json mapped.json", ""))


def native_netlist(operation: Operation, isa: InstructionSet, *, store: Store,
                   timeout: float | None = None) -> flow.Mapped:
    """Return the netlist of an operator made for an instruction set, from the store where it has been made before.

    Raises
    ------
    ToolError
        If Yosys fails, or is missing.
    """
    with record_errors():
        design = flow.elaborate(operation.component())  # of no family: the smallest structure over all of them
    with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
        return flow.run_recipe(design, native_script(isa), store=store, folder=Path(folder), timeout=timeout)


def native_program(operation: Operation, isa: InstructionSet, *, store: Store | None = None) -> Program:
    """Return an operator's netlist for an instruction set as a program.

    Parameters
    ----------
    store : Store, optional
        Where netlists are kept; by default the user's, as ``build`` has it.

    Raises
    ------
    ToolError
        If Yosys fails, or is missing.
    """
    if store is not None:
        return _compiled(native_netlist(operation, isa, store=store))
    own = Store(cache_folder(), warn=Console().warn)
    try:
        return _compiled(native_netlist(operation, isa, store=own))
    finally:
        own.close()


def _compiled(mapped: flow.Mapped) -> Program:
    return compile_netlist(read_netlist(json.loads(mapped.netlist)))
