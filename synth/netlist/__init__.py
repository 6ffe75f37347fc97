"""The mapped netlist as a program: read, compile, run."""

from .cells import Family
from .errors import NetlistError
from .program import Clock, Instruction, Operation, PortRegisters, Program, StateBit, compile_netlist
from .read import Cell, Direction, Netlist, Parameter, Port, read_netlist
