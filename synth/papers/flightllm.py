"""FlightLLM: the configurable sparse chain of DSP blocks, and two products on one of them."""

from functools import partial

import numpy as np

from sw.formats import FixedPointFormat
from sw.reference.packing import Packing
from sw.reference.sparse_chain import SparseDspChain
from sw.reference.sparse_matrix import matrix_transfers, occupancy
from synth.errors import Mismatch
from synth.papers.laboratory import Laboratory
from synth.papers.record import Demand, Paper, Part, Provenance, Row

INT8 = FixedPointFormat(width=8)
BLOCK = 16
DENSITIES = (16, 8, 4, 2, 1)
"""N of N:16; the paper has 2 and up, and 0 for what takes no cycle."""

LANE_BITS = 18
CORES, MACS = 3, 4096
"""On a U280, and multiply-accumulates a cycle of each."""

PUBLISHED, DERIVED = Provenance.PUBLISHED, Provenance.DERIVED
OURS_TO_PILOT = {"xc7": 1.0, "ecp5": 1.0, "ice40": 1.0, "nexus": 1.0, "gowin": 1.0}
"""DSP blocks an int8 MAC as Yosys infers them for two products that share an operand: nothing is gained there."""


def _masks(model: SparseDspChain, kept: int, generator: np.random.Generator) -> np.ndarray:
    """Return which weights of a random N:16 matrix of 64 columns are kept: enough rows for 64 steps."""
    rows, blocks = 16 * model.length // kept, 4
    order = generator.random((rows, blocks, model.block)).argsort(axis=2)
    mask: np.ndarray = (order < kept).reshape(rows, blocks * model.block)
    return mask


def _occupancy(lab: Laboratory, generator: np.random.Generator) -> list[Row]:
    from hw.dot.sparse_dsp_chain import SparseDspChain as Chain

    chain = Chain(INT8, INT8, length=BLOCK, block=BLOCK, vectors=2, hard_multiplier=True)
    model, rows = chain.model, []
    for kept in DENSITIES:
        mask = _masks(model, kept, generator)
        weights = generator.integers(1, 256, mask.shape, dtype=np.uint64)
        activations = generator.integers(0, 256, (mask.shape[1], 2), dtype=np.uint64)
        inputs = matrix_transfers(model, activations, weights, mask, kept)
        trace = lab.trace("xcup", chain, inputs, dsp=True)
        if np.any(trace.outputs["o"] != model.evaluate(inputs)["o"]):
            raise Mismatch(f"Results of the chain's netlist must be those of its reference, not others, at N = {kept}")
        counted = occupancy(model, mask, kept)
        cycles = int(trace.accepted[-1] - trace.accepted[0]) + 1
        results = len(trace.left) * len(model.result_lanes(kept))
        steady = int(trace.left[-1] - trace.left[0]) + 1
        row = partial(Row, provenance=DERIVED, demand=Demand.EQUAL)
        rows += [
            row(quantity=f"busy multipliers, {kept}:{BLOCK}", unit="1", paper=1.0,
                ours=counted.multiplications / (cycles * counted.lanes),
                source="section 3: what the chain is for; no figure is printed"),
            row(quantity=f"busy multipliers of a fixed chain, {kept}:{BLOCK}", unit="1", paper=kept / BLOCK,
                ours=float(counted.fixed_share), source="section 3: such a chain multiplies the zeros too"),
            row(quantity=f"results a cycle and vector, {kept}:{BLOCK}", unit="1/cycle", paper=BLOCK / kept,
                ours=results / steady, source="section 3, read as M/N results of an M-long chain")]
    return rows


def _lanes(lab: Laboratory) -> list[Row]:
    lab.step("two int8 products in lanes of 18 bits: every triple, and how many may be summed")
    packing = Packing(packed_width=8, shared_width=8, spacing=LANE_BITS, terms=7)
    restricted = Packing(packed_width=8, shared_width=8, spacing=LANE_BITS, terms=8, shared_symmetric=True)
    high, low, shared = np.meshgrid(*[np.arange(-128, 128)] * 3, indexing="ij", sparse=True)
    total = ((high << LANE_BITS) + low) * shared + packing.packed_bias
    mask = (1 << LANE_BITS) - 1
    wrong = int(np.count_nonzero(((total & mask) - packing.bias != low * shared)
                                 | ((total >> LANE_BITS) - packing.bias != high * shared)))
    row = partial(Row, unit="products", paper=8, provenance=PUBLISHED, source="section 3: 8 cannot overflow 18 bits")
    return [
        Row(quantity="wrong lanes of all 2^24 packed products", unit="of 2^24", ours=wrong, paper=0,
            demand=Demand.EQUAL, provenance=DERIVED, source="section 3: the packing is exact"),
        row(quantity="products a signed lane of 18 bits holds", ours=packing.max_signed_terms, demand=Demand.COMPARED,
            note="8 * (-128)^2 is 2^17, which a signed lane of 18 bits does not hold"),
        row(quantity="the same, one operand within -127 to 127", ours=restricted.max_signed_terms,
            demand=Demand.AT_LEAST),
        row(quantity="the same, any operands, lanes with a bias", ours=packing.max_terms, demand=Demand.AT_LEAST,
            note="ours: a bias keeps lanes from being negative, so that all of 18 bits is theirs")]


def _blocks(lab: Laboratory) -> list[Row]:
    chain = {"op": "sparse_chain", "fmt": "int8", "length": 4, "block": 4, "vectors": 2, "dsp": True}
    counted = lab.build("xcup", samples=1 << 12, **chain)
    rows = [
        Row(quantity="DSP blocks a MAC, xcup", unit="blocks", ours=counted["dsp"] / 8, paper=0.5, provenance=PUBLISHED,
            source="section 3; WP486", demand=Demand.AT_MOST),
        Row(quantity=f"DSP blocks of {CORES} cores of {MACS} MACs", unit="blocks",
            ours=int(counted["dsp"] / 8 * MACS * CORES), paper=6345, provenance=Provenance.SECOND_HAND,
            source="a survey's U280 utilisation", demand=Demand.AT_MOST,
            note="ours by multiplication: what is measured is a chain of four; theirs has the other units' blocks too")]
    for target, pilot in OURS_TO_PILOT.items():
        counted = lab.build(target, samples=1 << 12, **chain)
        rows.append(Row(quantity=f"DSP blocks a MAC, {target}", unit="blocks", ours=counted["dsp"] / 8, paper=pilot,
                        provenance=DERIVED, source="pilot measurement of the packed product", demand=Demand.AT_MOST))
    return rows


def chain(lab: Laboratory) -> list[Row]:
    """Return the rows that need no network."""
    generator = np.random.default_rng(lab.seed)
    return [*_occupancy(lab, generator), *_lanes(lab), *_blocks(lab)]


PAPER = Paper(
    name="flightllm", title="FlightLLM: Efficient Large Language Model Inference with a Complete Mapping Flow on FPGAs",
    citation="FPGA'24, arXiv 2401.03868", parts={"chain": Part(
        name="chain", steps=12, run=chain, summary="the sparse chain of DSP blocks, and packed products")})
