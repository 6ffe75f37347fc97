"""A built board checked before it is flashed: its complete mapped netlist, asked through the UART pins."""

from typing import Any

from platforms.build import BoardResult
from platforms.simulate import SimulatedBoards
from sw.reference import Multiplication
from synth.verify import operand_vectors

LANES = 1024
"""Boards simulated side by side, each with operands of its own: about a second on iCE40, a few on ECP5."""


def check_board(result: BoardResult, model: Multiplication, *, latency: int, seed: int,
                lanes: int = LANES) -> dict[str, Any]:
    """Send operands to many copies of a board at once, at its real baud rate, and compare what comes back.

    Parameters
    ----------
    result : BoardResult
    model : Multiplication
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
    vectors = operand_vectors({"a": model.a, "b": model.b}, random_bits=model.random_bits, seed=seed, samples=lanes,
                              exhaustive_bits=lanes.bit_length() - 1)
    operands = {name: codes[-lanes:] for name, codes in vectors.operands.items()}
    count = len(operands["a"])
    boards = SimulatedBoards(result.mapped, result.board, lanes=count, baud=result.baud)
    codes = [operands[port.name] for port in result.protocol.operands]
    got = boards.call(result.protocol, codes, latency=latency)
    want = model.codes(operands["a"], operands["b"], operands.get("random"))
    return {"method": "exhaustive" if vectors.method == "exhaustive" else "random", "vectors": count,
            "mismatches": int((got != want).sum()), "bit_cycles": boards.bit_cycles}
