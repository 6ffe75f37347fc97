"""The names that an operator has in C, and its ports there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from synth.native.c_packing import code_width
from synth.native.native_form import NativeForm
from synth.netlist.instruction_set import InstructionSet
from synth.netlist.program import PortRegisters, Program
from synth.operations import Operation

__all__ = ["Interface", "folded", "identifier", "plain_name"]

_KEYWORDS = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|register|"
    "restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|"
    "bool|catch|class|delete|explicit|export|false|friend|mutable|namespace|new|operator|private|protected|public|"
    "template|this|throw|true|try|typename|using|virtual")
"""Of C and C++, as far as they are plain words that a port might be called."""

_OURS = re.compile(
    r"t\d+_|(?:planes|codes|got)_\w*|state|count|start|first|here|word|words|k|data|cycle|cycles|plane|now|differs|"
    r"wrong|lanes|bit|initial")
"""Names that generated functions have for things of their own."""


def identifier(name: str) -> str:
    """Return a name as one of C's: letters, digits and underscores, no keyword, none that generated code has."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if _KEYWORDS.fullmatch(plain) or _OURS.fullmatch(plain) or not re.match("[A-Za-z]", plain):
        return f"port_{plain}"
    return plain


def plain_name(name: str) -> str:
    """Return a name for files and for the beginning of identifiers.

    Raises
    ------
    ValueError
        If it has anything but letters, digits and underscores.
    """
    if not re.fullmatch("[A-Za-z0-9_]+", name):
        raise ValueError(f"Name must be letters, digits and underscores alone, not {name!r}")
    return name


def folded(text: str, indent: int) -> list[str]:
    """Return a statement in lines of a readable length, without breaking a name."""
    return textwrap.wrap(text, 118, initial_indent=" " * indent, subsequent_indent=" " * (indent + 8),
                         break_long_words=False, break_on_hyphens=False)


@dataclass(frozen=True)
class Interface:
    """An operator's functions and their arguments.

    Parameters
    ----------
    prefix : str
        What every name of the operator begins with.
    inputs, outputs : tuple of PortRegisters
        In the order of the arguments; clocks are left out.
    state_bits : int
        Bits of state of a lane; 0 for an operator without memory.
    """

    prefix: str
    inputs: tuple[PortRegisters, ...]
    outputs: tuple[PortRegisters, ...]
    state_bits: int

    @classmethod
    def of(cls, operation: Operation, program: Program, name: str | None = None) -> Interface:
        """Return the interface of an operator; every netlist of it has the same, but for the state bits.

        ``name`` is what stands for the operator in identifiers, by default its folder's name.

        Raises
        ------
        ValueError
            If the name has anything but letters, digits and underscores.
        """
        order = {port: index for index, port in enumerate(operation.ports)}
        own = re.sub("[^A-Za-z0-9]", "_", operation.folder_name()) if name is None else plain_name(name)
        return cls(f"narrowgauge_{own}",
                   tuple(sorted(program.data_inputs, key=lambda port: order.get(port.name, -1))),
                   tuple(sorted(program.outputs, key=lambda port: order.get(port.name, -1))),
                   len(program.state))

    @classmethod
    def of_forms(cls, operation: Operation, forms: Sequence[NativeForm], name: str | None = None) -> Interface:
        """Return the interface that all forms of an operator share.

        Raises
        ------
        ValueError
            If there is no form, or the name is none of C's.
        """
        if not forms:
            raise ValueError("Forms must include at least one instruction set, not none")
        return cls.of(operation, forms[0].program, name)

    @property
    def header(self) -> str:
        """File name of the header."""
        return f"{self.prefix}.h"

    @property
    def ports(self) -> tuple[PortRegisters, ...]:
        """Inputs, then outputs."""
        return (*self.inputs, *self.outputs)

    @property
    def clocked(self) -> bool:
        """Whether it has memory."""
        return self.state_bits > 0

    @property
    def takes_codes(self) -> bool:
        """Whether it has a function from codes to codes: it has no memory, and every code fits one of C's types."""
        return not self.clocked and all(code_width(port.width) for port in self.ports)

    def function(self, isa: InstructionSet) -> str:
        """Return the name of the function, or of what the names of state and step begin with."""
        return f"{self.prefix}_{isa.value}"
