"""The mapped netlist as a program: read it, compile it, run it.

>>> engine = make_engine(compile_netlist(read_netlist("multiplier.json")))          # doctest: +SKIP
>>> engine.run({"a": a_codes, "b": b_codes})["o"]                                   # doctest: +SKIP
"""

from synth.netlist.cells import Family
from synth.netlist.compiler import compile_netlist
from synth.netlist.engine import Engine
from synth.netlist.errors import NetlistError
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.llvm_engine import LlvmEngine
from synth.netlist.make import make_engine, make_engine_for
from synth.netlist.numpy_engine import NumpyEngine
from synth.netlist.packing import exhaustive_planes, pack_codes, unpack_codes
from synth.netlist.program import (
    Clock,
    Instruction,
    MemoryBlock,
    Operation,
    PortRegisters,
    Program,
    Read,
    StateBit,
    Write,
)
from synth.netlist.read import Cell, Direction, Netlist, Parameter, Port, read_netlist
from synth.netlist.simulation import Simulation

__all__ = [
    "Cell", "Clock", "Direction", "Engine", "Family", "Instruction", "InstructionSet", "LlvmEngine", "MemoryBlock",
    "Netlist", "NetlistError", "NumpyEngine", "Operation", "Parameter", "Port", "PortRegisters", "Program", "Read",
    "Simulation", "StateBit", "Write", "compile_netlist", "exhaustive_planes", "make_engine", "make_engine_for",
    "pack_codes", "read_netlist", "unpack_codes",
]
