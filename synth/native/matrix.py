"""Matrix products through a multiply-accumulate circuit: every sum is what the netlist makes of it, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats import ScalarFormat
from sw.reference.model import Codes, Port
from synth.native.mac_interface import MacInterface
from synth.native.machine import Machine, is_plain
from synth.native.native_product import NativeProduct
from synth.native.recipe import native_program
from synth.native.simulated import SimulatedProduct
from synth.netlist.instruction_set import InstructionSet, choose_instruction_set
from synth.netlist.make import chosen_engine, make_engine
from synth.netlist.packing import code_type
from synth.netlist.program import Program
from synth.netlist.threads import check_threads
from synth.operations import Operation

__all__ = ["MatrixUnit"]


class MatrixUnit:
    """Hardware-exact matrix products on codes.

    Element ``[m, n]`` of a product is the sum that one copy of the operator makes of the pairs ``a[m, k], b[k, n]``,
    one pair after the other, ``k`` rising from 0: rounded, wrapped or saturated where the circuit does it.

    Parameters
    ----------
    operation : Operation
        ``mac``, ``emac``, ``chunked_mac`` or ``fma``: see :class:`~synth.native.mac_interface.MacInterface`.
    program : Program, optional
        Any netlist of the operation, such as one mapped to an FPGA's cells; by default one made for the processor.
    engine : str
        See :func:`synth.netlist.make.make_engine`. With ``"llvm"``, which ``"auto"`` stands for where it is installed,
        what matters of the circuit runs as native code; every other engine simulates the whole circuit, some hundred
        times slower. So does ``"llvm"`` where the program has memories or asynchronous controls.
    isa : InstructionSet, optional
        Of native code; by default the widest that this machine has.
    threads : int, optional
        Of native code; by default one for each core that this process may use.
    warn : callable, optional
        Told in one line where ``"auto"`` has to do without native code; by default standard error is.

    Raises
    ------
    ValueError
        If the operation does not sum products of one pair a transfer, the program is not of this operation, takes or
        gives transfers when operands decide, or there is no such engine or instruction set.
    ImportError
        If an engine that was asked for by name is not installed.
    """

    def __init__(self, operation: Operation, *, program: Program | None = None, engine: str = "auto",
                 isa: InstructionSet | None = None, threads: int | None = None,
                 warn: Callable[[str], None] | None = None) -> None:
        self._operation = operation
        self._interface = MacInterface.of(operation)
        engine = chosen_engine(engine, warn=warn)
        isa = choose_instruction_set(isa) if engine == "llvm" else isa or InstructionSet.WORD64
        if program is None:
            program = native_program(operation, isa)
        self._interface.check_program(program)
        self._program = program
        self._product = _make_product(self._interface, program, engine, isa, threads)

    @property
    def operation(self) -> Operation:
        """The operator."""
        return self._operation

    @property
    def program(self) -> Program:
        """Its netlist."""
        return self._program

    @property
    def a(self) -> ScalarFormat:
        """Format of the left operand's codes."""
        return _format(self._interface.fields["a"])

    @property
    def b(self) -> ScalarFormat:
        """Format of the right operand's codes."""
        return _format(self._interface.fields["b"])

    @property
    def result(self) -> ScalarFormat | None:
        """Format of the result's codes; None for an exact register, whose codes are two's complement integers."""
        return self._interface.result.format

    @property
    def maximum_terms(self) -> int | None:
        """How many products a sum may have; None for any number."""
        return self._interface.maximum_terms

    def instructions(self, terms: int) -> float | None:
        """Return how many bitwise instructions native code takes for a pair, in sums of ``terms`` pairs on average.

        Each serves as many elements of the result as a register has lanes. None where the circuit is simulated.
        """
        return None if isinstance(self._product, SimulatedProduct) else self._product.instructions(terms)

    def matmul(self, a: NDArray[Any], b: NDArray[Any]) -> Codes:
        """Return the codes of the matrix product.

        Beside operands and result, native code takes memory for the bit planes of one operand, a bit for each of its
        bits (but whole registers for a row), and up to some 100 MB for the other one, which goes slice by slice.

        Parameters
        ----------
        a : integer array of shape (M, K)
        b : integer array of shape (K, N)

        Returns
        -------
        array of shape (M, N)
            Codes in the smallest unsigned type that holds them (``object`` above 64 bits); codes of the positive zero
            where K is 0.

        Raises
        ------
        TypeError
            If the codes are not integers.
        ValueError
            If the shapes do not fit each other, a code does not fit its format, or K is more than a sum may have.
        """
        a, b = self._codes("a", a), self._codes("b", b)
        if a.shape[1] != b.shape[0]:
            raise ValueError(f"Codes of b must have as many rows as a has columns, {a.shape[1]}, not {b.shape[0]}")
        limit = self.maximum_terms
        if limit is not None and a.shape[1] > limit:
            raise ValueError(f"Terms of a sum must be at most the {limit} of the operator, not {a.shape[1]}; "
                             "--terms gives it more")
        shape = a.shape[0], b.shape[1]
        if not a.size or not b.size:
            return np.full(shape, self._interface.zero, code_type(self._interface.result.bits))
        return self._product.matmul(a, b)

    def _codes(self, name: str, codes: NDArray[Any]) -> NDArray[Any]:
        array, port = np.asarray(codes), self._interface.fields[name]
        if array.ndim != 2:
            raise ValueError(f"Codes of {name} must be a matrix, not of shape {array.shape}")
        if array.dtype.kind not in "ui":
            raise TypeError(f"Codes of {name} must be integers, not {array.dtype}")
        if array.size and not (int(array.min()) >= 0 and int(array.max()) < port.codes):
            raise ValueError(f"Codes of {name} must be 0 to {port.codes - 1}, not {int(array.min())} to "
                             f"{int(array.max())}; mask two's complement first")
        return array.astype(code_type(port.width), copy=False)


def _make_product(interface: MacInterface, program: Program, engine: str, isa: InstructionSet,
                  threads: int | None) -> NativeProduct | SimulatedProduct:
    """Return the fastest way that the engine and the program allow."""
    if engine == "llvm" and is_plain(program):
        return NativeProduct(interface, Machine.of(program, interface), isa, check_threads(threads))
    return SimulatedProduct(interface, make_engine(program, engine, isa=isa if engine == "llvm" else None,
                                                   threads=threads))


def _format(port: Port) -> ScalarFormat:
    assert port.format is not None                       # of operands, which MacInterface has looked at
    return port.format
