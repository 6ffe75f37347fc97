"""The mapped netlist as a program: read it, compile it, run it.

>>> engine = NumpyEngine(compile_netlist(read_netlist("multiplier.json")))          # doctest: +SKIP
>>> engine.run({"a": a_codes, "b": b_codes})["o"]                                   # doctest: +SKIP
"""

from .cells import Family
from .errors import NetlistError
from .numpy_engine import NumpyEngine
from .packing import exhaustive_planes, pack_codes, unpack_codes
from .program import Clock, Instruction, Operation, PortRegisters, Program, StateBit, compile_netlist
from .read import Cell, Direction, Netlist, Parameter, Port, read_netlist
from .simulation import Simulation

__all__ = [
    "Cell", "Clock", "Direction", "Family", "Instruction", "Netlist", "NetlistError", "NumpyEngine", "Operation",
    "Parameter", "Port", "PortRegisters", "Program", "Simulation", "StateBit", "compile_netlist", "exhaustive_planes",
    "pack_codes", "read_netlist", "unpack_codes",
]
