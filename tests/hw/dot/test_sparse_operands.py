# amaranth: UnusedElaboratable=no
"""What the multipliers of a sparse chain are given, as gates."""

import numpy as np
from amaranth.hdl import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accumulate.streamed import input_layout
from hw.dot.sparse_operands import SparseOperands
from sw.formats import parse
from sw.reference.packing import Packing
from sw.reference.sparse_chain import SparseDspChain
from tests.support.clocked_gates import ClockedGates, pack_payload, random_codes
from tests.support.gates import build

PACKING = Packing(packed_width=4, shared_width=3, lanes=2)


class Multiplexers(wiring.Component):
    """The factor and the weight of the last multiplier, and the ends of sums, each some cycles late."""

    def __init__(self, length, packing):
        self.model = SparseDspChain(a=parse("int4"), b=parse("int3"), length=length, block=4)
        self.packing, self.width = packing, packing.operand_width if packing else 4
        super().__init__({"i": In(input_layout(self.model.inputs)), "factor": Out(self.width), "weight": Out(3),
                          "ends": Out(4)})

    def elaborate(self, platform):
        m = Module()
        operands, last = SparseOperands(m, self.model, self.i), self.model.length - 1
        vectors = range(self.packing.lanes if self.packing else 1)
        m.d.comb += [self.factor.eq(operands.factor(self.packing, vectors, last, 2)),
                     self.weight.eq(operands.weight(last, 1)),
                     self.ends.eq(Cat(operands.keeps_at_most(count, 1) for count in (0, 1, 2, 4)))]
        return m


def signed(codes, width):
    return (codes.astype(np.int64) ^ 1 << width - 1) - (1 << width - 1)


def test_factors_weights_and_ends_are_those_of_the_transfer(tmp_path):
    """With as many multipliers as activations, and with more, whose activations borrow before the multiplexers."""
    components = [Multiplexers(4, PACKING), Multiplexers(8, PACKING), Multiplexers(4, None)]
    for component, circuit in zip(components, build(components, tmp_path), strict=True):
        model, rng, lanes = component.model, np.random.default_rng(0), 500
        transfer = {name: random_codes(port, lanes, rng) for name, port in model.inputs.items()}
        gates = ClockedGates(circuit, lanes)
        got = {}
        for cycle in range(3):
            shown = transfer if cycle == 0 else {name: np.zeros_like(codes) for name, codes in transfer.items()}
            gates.settle({"i": pack_payload(model.inputs, shown)})
            for name, late in (("factor", 2), ("weight", 1), ("ends", 1)):
                if cycle == late:
                    bits = gates.bits(name)
                    got[name] = bits @ (1 << np.arange(bits.shape[1]))
            gates.clock()
        index = transfer["indices"][:, -1].astype(int)
        chosen = [signed(transfer["activations"][np.arange(lanes), vector * 4 + index], 4) for vector in range(2)]
        want = chosen[0] + (chosen[1] << PACKING.spacing) if component.packing else chosen[0]
        np.testing.assert_array_equal(got["factor"], want & (1 << component.width) - 1)
        np.testing.assert_array_equal(got["weight"], transfer["weights"][:, -1])
        density = transfer["density"].astype(int)
        np.testing.assert_array_equal(got["ends"], 2 * (density <= 0) + 4 * (density <= 1) + 8)
