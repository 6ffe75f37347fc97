"""What a transfer brings to the multipliers of a sparse chain: chosen activations, weights, and where sums end."""

from amaranth.hdl import *

from hw.convert.number import named
from hw.dot.packed_lanes import borrow_lanes, join_lanes
from hw.pipeline import delay

__all__ = ["SparseOperands"]


class SparseOperands:
    """The operands of each multiplier as they were so many cycles ago; every register and multiplexer is built once.

    A multiplexer's output is in a register at the least, so that activations are a cycle old or more.

    Parameters
    ----------
    m : Module
    model : sw.reference.sparse_chain.SparseDspChain
        Of fixed-point formats.
    payload : View
        The transfer of this cycle.
    """

    def __init__(self, m, model, payload):
        self._m, self._model, self._payload, self._lines = m, model, payload, {}
        self.a_width, self.b_width = (fmt.width + (not fmt.signed) for fmt in (model.a, model.b))

    def factor(self, packing, vectors, place, cycles):
        """Return the activations of some vectors, packed, that the multiplier in a place takes.

        Without a packing (None), it is that of one vector.

        Where there are more multipliers than activations in a block, these borrow from each other before the
        multiplexers, which take a bit more for each lane but the first; otherwise behind them.
        """
        parts, name = [], f"packed_{vectors[0]}_{place}"
        borrow_first = packing is not None and self._model.length > self._model.block
        for index in range(self._model.block):
            lanes = [self._signed(self._payload.activations[vector * self._model.block + index], self._model.a)
                     for vector in vectors]
            parts.append(self._borrowed(vectors[0], index, lanes) if borrow_first else lanes)
        chosen = [self._chosen([part[lane] for part in parts], place, cycles, f"activation_{vector}_{place}")
                  for lane, vector in enumerate(vectors)]
        if packing is None:
            return chosen[0]
        return join_lanes(packing, chosen if borrow_first else borrow_lanes(self._m, chosen, name=name))

    def _borrowed(self, vector, index, lanes):
        key = f"borrowed_{vector}_{index}"
        if key not in self._lines:
            self._lines[key] = borrow_lanes(self._m, lanes, name=key)
        return self._lines[key]

    def _chosen(self, block, place, cycles, name):
        if name not in self._lines:
            index = place % self._model.block
            self._lines[name] = [named(self._m, block[index] if self._model.is_dense else _select(
                self._m, block, self._payload.indices[place], name=name), name)]
        return self._delayed(name, cycles).as_signed()

    def weight(self, place, cycles):
        """Return the weight of the multiplier in a place, signed."""
        name = f"weight_{place}"
        self._lines.setdefault(name, [self._payload.weights[place]])
        return self._signed(self._delayed(name, cycles), self._model.b)

    def keeps_at_most(self, count, cycles):
        """Return whether N is ``count`` at most."""
        if count >= self._model.largest:
            return C(1, 1)
        if count < self._model.smallest:
            return C(0, 1)
        name, steps = f"at_most_{count}", (count // self._model.smallest).bit_length()
        if name not in self._lines:
            self._lines[name] = [named(self._m, self._payload.density < steps, name)]
        return self._delayed(name, cycles)

    def _delayed(self, name, cycles):
        line = self._lines[name]
        while len(line) <= cycles:
            line.append(delay(self._m, line[-1], 1, name=f"{name}_{len(line)}"))
        return line[cycles]

    @staticmethod
    def _signed(code, fmt):
        return code.as_signed() if fmt.signed else Cat(code, C(0, 1)).as_signed()


def _select(m, block, index, *, name):
    """Return the one of a power of two of values that an index names, by a tree of multiplexers."""
    for depth, bit in enumerate(index):
        block = [named(m, Mux(bit, above, below), f"{name}_{depth}_{place}")
                 for place, (below, above) in enumerate(zip(block[::2], block[1::2], strict=True))]
    selected, = block
    return selected
