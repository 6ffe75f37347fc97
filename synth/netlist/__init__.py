"""The mapped netlist as a program: read it, compile it, run it.

>>> engine = NumpyEngine(compile_netlist(read_netlist("multiplier.json")))          # doctest: +SKIP
>>> engine.run({"a": a_codes, "b": b_codes})["o"]                                   # doctest: +SKIP
"""

from synth.netlist.cells import Family
from synth.netlist.errors import NetlistError
from synth.netlist.numpy_engine import NumpyEngine
from synth.netlist.packing import exhaustive_planes, pack_codes, unpack_codes
from synth.netlist.program import Clock, Instruction, Operation, PortRegisters, Program, StateBit, compile_netlist
from synth.netlist.read import Cell, Direction, Netlist, Parameter, Port, read_netlist
from synth.netlist.simulation import Simulation

__all__ = [
    "Cell", "Clock", "Direction", "Family", "Instruction", "Netlist", "NetlistError", "NumpyEngine", "Operation",
    "Parameter", "Port", "PortRegisters", "Program", "Simulation", "StateBit", "compile_netlist", "exhaustive_planes",
    "pack_codes", "read_netlist", "unpack_codes",
]
