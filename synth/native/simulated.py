"""Matrix products by simulating the whole circuit, cycle by cycle, one copy of it for each element of the result.

This runs any program on any engine. It is what :mod:`synth.native.matrix` falls back to, and what the faster way is
checked against: every flip-flop of the netlist is there in every copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes
from synth.native.mac_interface import MacInterface
from synth.native.schedule import MAXIMUM_WAIT
from synth.netlist.engine import Engine
from synth.netlist.packing import Planes, code_type, pack_codes, unpack_codes, words_for

__all__ = ["BLOCK_LANES", "SimulatedProduct"]

BLOCK_LANES = 1 << 16
"""Elements of the result that are computed side by side."""


class SimulatedProduct:
    """Computes matrix products by an engine's simulation.

    Parameters
    ----------
    interface : MacInterface
    engine : Engine
        Of the operator's program.
    """

    def __init__(self, interface: MacInterface, engine: Engine) -> None:
        self._interface, self._engine = interface, engine

    def matmul(self, a: NDArray[Any], b: NDArray[Any]) -> Codes:
        """Return the codes of ``a @ b`` for codes of shapes ``(M, K)`` and ``(K, N)``, none of them 0."""
        rows, columns = len(a), b.shape[1]
        parts = []
        for start in range(0, rows * columns, BLOCK_LANES):
            lanes = np.arange(start, min(start + BLOCK_LANES, rows * columns))
            row, column = np.divmod(lanes, columns)
            parts.append((self._stream if self._interface.is_stream else self._function)(a, b, row, column))
        joined: Codes = np.concatenate(parts).reshape(rows, columns)
        return joined

    # Pairs are taken from the operands one at a time: all those of a block would be as many as a sum has terms.
    def _function(self, a: NDArray[Any], b: NDArray[Any], row: NDArray[Any], column: NDArray[Any]) -> Codes:
        lanes, terms = len(row), a.shape[1]
        fields = self._interface.fields
        assert self._interface.start is not None
        total = pack_codes(np.full(lanes, self._interface.start, code_type(fields["c"].width)), fields["c"].width)
        for k in range(terms):
            planes = {"a": pack_codes(a[row, k], fields["a"].width), "b": pack_codes(b[k, column], fields["b"].width)}
            total = self._engine.run_packed({**planes, "c": total})["o"]
        return unpack_codes(total, lanes)

    def _stream(self, a: NDArray[Any], b: NDArray[Any], row: NDArray[Any], column: NDArray[Any]) -> Codes:
        lanes, terms = len(row), a.shape[1]
        simulation = self._engine.simulation(lanes)
        simulation.set("o__ready", 1)
        k = waited = 0
        while waited < MAXIMUM_WAIT:
            offered = k < terms
            simulation.set("i__valid", int(offered))
            if offered:
                simulation.set_planes("i__payload", self._transfer(a[row, k], b[k, column], first=k == 0,
                                                                       last=k == terms - 1))
            if not offered and _uniform(simulation.get("o__valid")):
                return simulation.get("o__payload")
            accepted = offered and _uniform(simulation.get("i__ready"))
            simulation.step()
            k, waited = k + accepted, 0 if accepted else waited + 1
        raise ValueError(f"Program must give a result within {MAXIMUM_WAIT} cycles, not none after {k} of {terms} "
                         "pairs")

    def _transfer(self, a: NDArray[Any], b: NDArray[Any], *, first: bool, last: bool) -> Planes:
        constants = {"first": int(first), "last": int(last), "c": self._interface.start}
        words = words_for(len(a))
        planes = []
        for name, port in self._interface.fields.items():
            if name in ("a", "b"):
                planes.append(pack_codes(a if name == "a" else b, port.width))
                continue
            value = constants[name]
            assert value is not None
            bits = [~np.uint64(0) if value >> bit & 1 else np.uint64(0) for bit in range(port.width)]
            planes.append(np.repeat(np.array(bits, np.uint64)[:, None], words, axis=1))
        joined: Planes = np.concatenate(planes)
        return joined


def _uniform(flag: Codes) -> bool:
    """Return a flag that is the same in all lanes."""
    if flag.min() != flag.max():
        raise ValueError("Program must take and give transfers in the same cycles whatever the operands are, not in "
                         "some copies earlier than in others")
    return bool(flag[0])
