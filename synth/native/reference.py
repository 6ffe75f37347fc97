"""Matrix products by the exact reference of an operator: slow, and the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.reference.model import Codes
from synth.native.mac_interface import MacInterface
from synth.netlist.packing import code_type
from synth.operations import Operation

__all__ = ["reference_matmul"]


def reference_matmul(operation: Operation, a: NDArray[Any], b: NDArray[Any]) -> Codes:
    """Return the codes of ``a @ b`` as ``operation.model`` defines them: see :meth:`MatrixUnit.matmul`.

    Raises
    ------
    ValueError
        If the operation has no matrix product.
    """
    interface = MacInterface.of(operation)
    (rows, terms), columns = a.shape, b.shape[1]
    codes: NDArray[Any] = np.full(rows * columns, interface.zero, code_type(interface.result.bits))
    if not terms or not codes.size:
        return codes.reshape(rows, columns)
    row, column = np.divmod(np.arange(rows * columns), columns)
    if interface.is_stream:
        codes[:] = _stream(operation.model, interface, a[row], b[:, column])
    else:
        codes[:] = interface.start
        for k in range(terms):
            codes = operation.model.evaluate({"a": a[row, k].astype(np.uint64), "b": b[k, column].astype(np.uint64),
                                              "c": codes.astype(np.uint64)})["o"]
    return codes.astype(code_type(interface.result.bits)).reshape(rows, columns)


def _stream(model: Any, interface: MacInterface, a: NDArray[Any], b: NDArray[Any]) -> Codes:
    lanes, terms = a.shape
    run, every = model.start(lanes), np.ones(lanes, dtype=bool)
    results: list[Codes] = []
    for k in range(terms):
        transfer = {"a": a[:, k], "b": b[k], "first": np.full(lanes, k == 0), "last": np.full(lanes, k == terms - 1)}
        if interface.start is not None:
            transfer["c"] = np.full(lanes, interface.start)
        results += [outputs["o"] for _, outputs in run.accept(
            {name: codes.astype(np.uint64) for name, codes in transfer.items()}, every)]
    (codes,) = results
    return codes
