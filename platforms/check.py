"""A built board checked before it is flashed: its complete mapped netlist, asked through the UART pins."""

from typing import Any

import numpy as np

from platforms.build import BoardResult
from platforms.simulate import SimulatedBoards
from sw.reference.model import Codes, Function, Port
from synth.verify import function_vectors

LANES = 1024
"""Boards simulated side by side, each with operands of its own: about a second on iCE40, a few on ECP5."""


def check_board(result: BoardResult, model: Function, *, latency: int, seed: int,
                lanes: int = LANES) -> dict[str, Any]:
    """Send operands to many copies of a board at once, at its real baud rate, and compare what comes back.

    Parameters
    ----------
    result : BoardResult
    model : Function
        The exact reference.
    latency : int, cycles
        Of the operator.
    seed : int
        Chooses the operands where there are more than ``lanes`` combinations.
    lanes : int

    Returns
    -------
    dict
        ``method``, ``vectors``, ``mismatches``, ``bit_cycles`` (clock cycles of a bit on the line).

    Raises
    ------
    NetlistError
        If the netlist holds something that cannot be run.
    LinkError
        If a board does not answer.
    """
    vectors = function_vectors(model, seed=seed, samples=lanes, exhaustive_bits=lanes.bit_length() - 1)
    operands = vectors.block(max(0, vectors.count - lanes), vectors.count)
    count = len(next(iter(operands.values())))
    boards = SimulatedBoards(result.mapped, result.board, lanes=count, baud=result.baud)
    codes = [_joined(model.inputs[port.name], operands[port.name]) for port in result.protocol.operands]
    got = boards.call(result.protocol, codes, latency=latency)
    want = _joined(model.outputs["o"], model.evaluate(operands)["o"])
    return {"method": "exhaustive" if vectors.method == "exhaustive" else "random", "vectors": count,
            "mismatches": int((got != want).sum()), "bit_cycles": boards.bit_cycles}


def _joined(port: Port, codes: Codes) -> Codes:
    """Return the codes of all lanes of a port as one number each, as they go over the wire."""
    if port.lanes is None:
        return codes
    wide = codes.astype(object) << (np.arange(port.lanes) * port.width).astype(object)
    joined: Codes = np.bitwise_or.reduce(wide, axis=1)
    return joined.astype(np.uint64) if port.bits <= 64 else joined
