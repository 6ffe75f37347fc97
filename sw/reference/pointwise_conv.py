"""Pointwise convolution: a group of input channels times a matrix of weights, summed group by group."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.formats.check import check_integer
from sw.reference.dot import MAX_LANES
from sw.reference.model import Codes, Port
from sw.reference.systolic import Cell

_SHARED = ("a", "a_scale", "first", "last")


@dataclass(frozen=True, kw_only=True)
class PointwiseConvolution:
    """``outputs`` accumulators that take the same activations, each with weights of its own: a 1x1 convolution.

    A transfer holds a group of input channels of one pixel and the weights from these to a group of output channels.
    The groups of input channels come one after the other, ``first`` on the first and ``last`` on the last of them, and
    all again for every further group of output channels. Flags mean to every accumulator what
    :mod:`sw.reference.accumulation` says; each transfer with ``last`` has one transfer of results.

    Parameters
    ----------
    cell : reference of an accumulator
        What each output sums: formats, rounding and all, such as an ``ExactMultiplyAccumulate`` whose lanes are the
        input channels of a group; a cell without lanes takes one input channel a transfer. It draws no random bits from
        a register of its own. A ``BlockMultiplyAccumulate`` takes a block of channels a transfer, whose scale all
        outputs share as they do its elements. Of the cell's fields, those besides ``a``, its scale, ``b`` and the
        flags (a preload, the scale of the weights, random bits) are given to each output by itself.
    output_lanes : int
        Output channels of a group: 1 to 65,536, and no more than that of weights.

    Raises
    ------
    TypeError, ValueError
        If ``cell`` is no such reference, or the number of outputs is no integer or out of range.

    Source: Dong et al. 2021, CoDeNet (arXiv 2006.08357), 1x1 kernel: 16 by 16 products of int8 and int4 a cycle, in
    24-bit sums.
    """

    cell: Cell
    output_lanes: int

    def __post_init__(self) -> None:
        if not isinstance(self.cell, Cell):
            raise TypeError("Cell must be the reference of an accumulator, such as an ExactMultiplyAccumulate, "
                            f"not {self.cell!r}")
        if getattr(self.cell, "lfsr_bits", None) is not None:
            raise ValueError("Cell must take its random bits from the transfers, not from a register of its own, which "
                             "would be the same in all outputs")
        check_integer("Output count", self.output_lanes)
        most = MAX_LANES // self.input_lanes
        if not 1 <= self.output_lanes <= most:
            raise ValueError(f"Output count must be between 1 and {most} for {self.input_lanes} input lanes, "
                             f"not {self.output_lanes!r}")

    @property
    def input_lanes(self) -> int:
        """Input channels of a group."""
        return self.cell.inputs["a"].lanes or 1

    @property
    def inputs(self) -> Mapping[str, Port]:
        """``a`` and its scale as the cell takes them, the weights ``b``, the flags; of others a lane for each output.

        The weight of input lane i and output j is lane ``j * input_lanes + i`` of ``b``.
        """
        lanes = {"b": self.input_lanes * self.output_lanes}
        return {name: port if name in _SHARED else replace(port, lanes=lanes.get(name, self.output_lanes))
                for name, port in self.cell.inputs.items()}

    @property
    def outputs(self) -> Mapping[str, Port]:
        """``o``, one lane an output."""
        return {name: replace(port, lanes=self.output_lanes) for name, port in self.cell.outputs.items()}

    def results(self, transfers: Iterable[Mapping[str, Any]]) -> list[list[int]]:
        """Return the groups of results that transfers ask for, each accumulator by its own definition.

        Parameters
        ----------
        transfers : iterable of mapping
            Field name to code, or to a sequence of codes where the port has lanes.
        """
        taken = list(transfers)
        sums = [self.cell.results([self._of_cell(transfer, output) for transfer in taken])
                for output in range(self.output_lanes)]
        return [list(group) for group in zip(*sums, strict=True)]

    def _of_cell(self, transfer: Mapping[str, Any], output: int) -> dict[str, Any]:
        lanes = self.input_lanes
        fields = {name: code if name in _SHARED else code[output] for name, code in transfer.items() if name != "b"}
        weights = transfer["b"][output * lanes:(output + 1) * lanes]
        return {**fields, "b": weights[0] if self.cell.inputs["b"].lanes is None else weights}

    def start(self, sequences: int) -> "_Run":
        """Return fresh sequences: see :class:`sw.reference.model.Stream`."""
        return _Run(self, sequences)


class _Run:
    """Sequences of transfers, each output of each sequence being a sequence of the cell's reference."""

    def __init__(self, model: PointwiseConvolution, sequences: int) -> None:
        self._model, self._sequences = model, sequences
        self._cells = model.cell.start(sequences * model.output_lanes)

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[
            tuple[NDArray[np.bool_], Mapping[str, Codes]]]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`."""
        model, outputs = self._model, self._model.output_lanes
        fields = {}
        for name, port in model.cell.inputs.items():
            codes = inputs[name]
            shared = name in _SHARED
            lanes = () if port.lanes is None else (port.lanes,)
            fields[name] = np.repeat(codes, outputs, axis=0) if shared else codes.reshape(-1, *lanes)
        shape = self._sequences, outputs
        return [(produced[::outputs], {name: codes.reshape(shape) for name, codes in results.items()})
                for produced, results in self._cells.accept(fields, np.repeat(accepted, outputs))]

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Put the marked sequences back to the state after power-up."""
        self._cells.reset(np.repeat(which, self._model.output_lanes))
