"""A stream circuit at full speed: transfers offered and results taken in every cycle, and when each of them passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes, Stream
from synth.netlist import NetlistError, compile_netlist, make_engine_for, read_netlist
from synth.verify.functions import Report, silent
from synth.verify.ports import pack_fields, unpack_fields

_PATIENCE = 4096
"""Cycles without any transfer after which a netlist counts as stuck."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What passed, and in which cycle, counted from 0.

    Parameters
    ----------
    accepted : int array, one a transfer
    left : int array, one a result
    outputs : mapping of field name to codes of shape ``(results,)`` or ``(results, lanes)``
    """

    accepted: NDArray[np.int64]
    left: NDArray[np.int64]
    outputs: Mapping[str, Codes]

    @property
    def cycles(self) -> int:
        """From the first transfer to the last result, both included."""
        return int(self.left[-1] - self.accepted[0]) + 1


def full_speed(netlist: Mapping[str, Any], model: Stream, inputs: Mapping[str, Codes], results: int, *,
               report: Report = silent) -> Trace:
    """Run one sequence of transfers through a mapped netlist without a stall from outside.

    Parameters
    ----------
    netlist : mapping
        Yosys' JSON.
    model : Stream
        Says which fields there are; what they mean is not checked.
    inputs : mapping of field name to codes of shape ``(transfers,)`` or ``(transfers, lanes)``
    results : int
        How many results to wait for.
    report : callable
        Told of the part that is done, from 0 to 1.

    Raises
    ------
    NetlistError
        If the netlist holds something that cannot be run, or fewer results come.
    """
    count = len(next(iter(inputs.values())))
    program = compile_netlist(read_netlist(netlist))
    simulation = make_engine_for(program, lanes=1, passes=max(count, results)).simulation(1)
    accepted: list[int] = []
    left: list[int] = []
    outputs: dict[str, list[Codes]] = {name: [] for name in model.outputs}
    cycle = moved = 0
    simulation.set("o__ready", 1)
    while len(left) < results or len(accepted) < count:
        number = min(len(accepted), count - 1)
        simulation.set("i__valid", int(len(accepted) < count))
        payload = {name: codes[number:number + 1] for name, codes in inputs.items()}
        simulation.set_planes("i__payload", pack_fields(model.inputs, payload))
        if simulation.get("o__valid")[0]:
            for name, codes in unpack_fields(model.outputs, simulation.get_planes("o__payload"), 1).items():
                outputs[name].append(codes[0])
            left.append(cycle)
            moved = cycle
        if len(accepted) < count and simulation.get("i__ready")[0]:
            accepted.append(cycle)
            moved = cycle
        if cycle - moved > _PATIENCE:
            raise NetlistError(f"Netlist must give {results} results to {count} transfers, not stop after {len(left)} "
                               f"results to {len(accepted)}")
        simulation.step("clk")
        cycle += 1
        report(len(accepted) / count)
    return Trace(accepted=np.array(accepted), left=np.array(left),
                 outputs={name: np.array(codes) for name, codes in outputs.items()})
