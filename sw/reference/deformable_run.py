"""The deformable convolution on many sequences of transfers at once."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sw.formats import FixedPointFormat
from sw.reference.model import Codes

if TYPE_CHECKING:
    from sw.reference.deformable_convolution import DeformableConvolution

_Transfer: TypeAlias = tuple[NDArray[np.bool_], Mapping[str, Codes]]


def check_between_maps(taken: int, map_transfers: int) -> None:
    """Refuse a load after ``taken`` transfers of a map.

    Raises
    ------
    ValueError
        If there are any.
    """
    if taken:
        raise ValueError(f"Load must be between two maps, not after {taken} of the {map_transfers} transfers of one")


class DeformableRun:
    """Sequences of transfers, each with parameters and a map of its own."""

    def __init__(self, model: "DeformableConvolution", sequences: int) -> None:
        self._model, self._sequences = model, sequences
        self._buffer = model.line_buffer.start(sequences)
        self._words = np.zeros((sequences, model.parameter_words, model.lanes), dtype=np.uint64)
        self._loaded = np.zeros(sequences, dtype=np.int64)  # next word
        self._taken = np.zeros(sequences, dtype=np.int64)   # transfers of the map that has begun
        self._group = np.zeros(sequences, dtype=np.int64)   # windows of the position that has begun
        self._pixel = np.zeros((sequences, model.channel_groups, model.lanes), dtype=np.int64)
        self._stale = np.zeros(sequences, dtype=bool)       # whether words have come that are not in the rows
        self._rows = self._unpacked(np.arange(sequences))

    def accept(self, inputs: Mapping[str, Codes], accepted: NDArray[np.bool_]) -> Sequence[_Transfer]:
        """Take one transfer in every marked sequence: see :class:`sw.reference.model.Run`.

        Raises
        ------
        ValueError
            If a load comes within a map.
        """
        loads = accepted & inputs["load"].astype(bool)
        check_between_maps(int(self._taken[loads].max(initial=0)), self._model.map_transfers)
        rows = np.flatnonzero(loads)
        self._words[rows, self._loaded[rows]] = inputs["data"][rows]
        self._loaded[rows] = (self._loaded[rows] + 1) % self._words.shape[1]
        self._stale[rows] = True
        pixels = accepted & ~loads
        self._refresh(np.flatnonzero(pixels & self._stale))
        self._taken[pixels] = (self._taken[pixels] + 1) % self._model.map_transfers
        fields = {"pixel": inputs["data"], **{name: codes for name, codes in inputs.items() if name == "offset"}}
        return self._results(self._buffer.accept(fields, pixels)) if pixels.any() else []

    def reset(self, which: NDArray[np.bool_]) -> None:
        """Drop the map of the marked sequences; parameters stay, and the next word is the first."""
        self._buffer.reset(which)
        for counter in (self._loaded, self._taken, self._group):
            counter[which] = 0

    def _unpacked(self, rows: NDArray[np.int64]) -> dict[str, dict[str, Codes]]:
        """Return the parameters of some sequences: those of the pointwise convolution as a matrix of integers."""
        model, start = self._model, 0
        fields = dict[str, dict[str, Codes]]()
        for name, memory in model.memories.items():
            fields[name] = memory.unpack(self._words[rows, start:start + memory.words])
            start += memory.words
        blocks = fields["pointwise"]["b"].reshape(len(rows), model.output_groups, model.channel_groups, model.lanes,
                                                  model.lanes)
        matrix = blocks.transpose(0, 1, 3, 2, 4).reshape(len(rows), model.output_channels, model.channels)
        fields["pointwise"] = {"b": _integers(model.weight, matrix)}
        return fields

    def _refresh(self, rows: NDArray[np.int64]) -> None:
        if len(rows):
            for name, fields in self._unpacked(rows).items():
                for field, codes in fields.items():
                    self._rows[name][field][rows] = codes
            self._stale[rows] = False

    def _results(self, windows: Sequence[_Transfer]) -> list[_Transfer]:
        """Return what windows cause: all through the depthwise convolution at once, then position by position."""
        model, batches, groups = self._model, list[NDArray[np.int64]](), list[NDArray[np.int64]]()
        for produced, _ in windows:
            batches.append(np.flatnonzero(produced))
            groups.append(self._group[batches[-1]])
            self._group[batches[-1]] = (groups[-1] + 1) % model.channel_groups
        if not batches:
            return []
        rows, group = np.concatenate(batches), np.concatenate(groups)
        window = np.concatenate([outputs["window"][some] for some, (_, outputs) in zip(batches, windows, strict=True)])
        weights, scaling = self._rows["depthwise"], self._rows["depthwise_requantization"]
        sums = model.depthwise.evaluate({"window": window, "weights": weights["weights"][rows, group]})["o"]
        codes = model.depthwise_requantization.evaluate(
            {"acc": sums, "scale": scaling["scale"][rows, group], "bias": scaling["bias"][rows, group]})["o"]
        ends = np.cumsum([len(some) for some in batches])[:-1]
        transfers = list[_Transfer]()
        for some, place, pixel in zip(batches, groups, np.split(_integers(model.activation, codes), ends), strict=True):
            self._pixel[some, place] = pixel
            transfers += self._outputs(some[place == model.channel_groups - 1])
        return transfers

    def _outputs(self, rows: NDArray[np.int64]) -> list[_Transfer]:
        """Return the results of positions whose channels are complete, one a sequence."""
        if not len(rows):
            return []
        model, transfers = self._model, list[_Transfer]()
        produced = np.zeros(self._sequences, dtype=bool)
        produced[rows] = True
        sums = np.einsum("noc,nc->no", self._rows["pointwise"]["b"][rows],
                         self._pixel[rows].reshape(len(rows), model.channels))
        for output, acc in enumerate(np.split(sums, model.output_groups, axis=1)):
            codes = acc.astype(np.uint64) & np.uint64((1 << model.accumulator.width) - 1)
            if model.pointwise_requantization is not None:
                scaling = self._rows["pointwise_requantization"]
                codes = model.pointwise_requantization.evaluate(
                    {"acc": codes, "scale": scaling["scale"][rows, output], "bias": scaling["bias"][rows, output]})["o"]
            results = np.zeros((self._sequences, model.lanes), dtype=np.uint64)
            results[rows] = codes
            transfers.append((produced, {"o": results}))
        return transfers


def _integers(fmt: FixedPointFormat, codes: Codes) -> NDArray[np.int64]:
    """Return the integers that codes of a signed format stand for."""
    half = 1 << fmt.width - 1
    return (codes.astype(np.int64) ^ half) - half
