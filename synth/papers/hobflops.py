"""HOBFLOPS: floating-point netlists as bit-sliced code, checked, counted, timed, and in a network."""

from __future__ import annotations

from functools import partial

from sw.formats import parse
from synth.bench.native_part import Settings
from synth.bench.native_series import SERIES, operation, run
from synth.errors import ToolMissing
from synth.netlist.instruction_set import InstructionSet, choose_instruction_set
from synth.papers.hobflops_checks import equality, instructions
from synth.papers.hobflops_figures import network_rows
from synth.papers.hobflops_network import ARITHMETICS, SEEDS
from synth.papers.laboratory import Laboratory
from synth.papers.record import Demand, Paper, Part, Provenance, Row

LUT_SHARE = 0.6
"""Three-input look-ups to gates of AVX2, at most."""

NARROW, WIDE = "fp9_e5m3", "float16"
"""What HOBFLOPS9 and HOBFLOPS16 are, by our assignment."""

FLUSHED = "float16_e5m10:subnormals=flushed"
"""The latter without subnormals: cheaper, and the scalar MAC has them."""

_V2, _V3 = "arXiv 2007.06563v2, abstract", "arXiv 2007.06563v3, abstract"

_WITH_SUBNORMALS = ("ours has subnormals, infinities and NaN, as the scalar MAC has; it rounds once, the scalar MAC "
                    "the product too. What the published routines have of these is not known")


def _cells(lab: Laboratory) -> list[Row]:
    rows = []
    for name in (*SERIES, FLUSHED):
        step = operation("mac", parse(name))
        lookups, gates = (instructions(lab.native(step, isa), isa)
                          for isa in (InstructionSet.AVX512, InstructionSet.AVX2))
        rows.append(Row(quantity=f"{name}: look-ups to gates", unit="1", ours=lookups / gates, paper=LUT_SHARE,
                        provenance=Provenance.DERIVED, demand=Demand.AT_MOST,
                        source="pilot measurement of ours; no count is known",
                        note=f"a MAC takes {lookups:,} look-ups of three inputs with AVX-512, {gates:,} gates of two "
                             "inputs with AVX2"))
    return rows


def _speed(lab: Laboratory) -> list[Row]:
    try:
        isa = choose_instruction_set()
    except ImportError as error:
        raise ToolMissing("llvmlite", f"Tool llvmlite is not installed, without which there is no native code to time: "
                                      f"pip install 'narrowgauge[native]' ({error})") from error
    document = run(Settings(isa=isa, threads=1, seed=lab.seed, formats=(NARROW, WIDE, FLUSHED)), lab.step)
    narrow, wide, flushed = (row["mac"]["one_thread"] for row in document["rows"])
    rate = partial(Row, unit="million/s", demand=Demand.COMPARED, provenance=Provenance.PUBLISHED, source=_V2)
    scalar = wide["others"]["scalar"]
    # The figures are of AVX-512: on a processor without it they are only shown.
    least = Demand.AT_LEAST if isa is InstructionSet.AVX512 else Demand.COMPARED
    rows = [
        rate(quantity=f"MACs in {WIDE}, {isa.value}", ours=wide["planes"] / 1e6, paper=414.0,
             note=f"one thread, on bit planes in the first-level cache; from codes to codes, with the packing in it, "
                  f"{wide['codes'] / 1e6:,.0f}. Whether the published timing has the packing in it is not known"),
        Row(quantity=f"MACs in {NARROW} to those in {WIDE}", unit="1", ours=narrow["planes"] / wide["planes"],
            paper=2.0, provenance=Provenance.DERIVED, source="pilot measurement of ours, 3.1, with room",
            demand=least),
        Row(quantity=f"MACs in {NARROW} to those in {WIDE}, theirs with Neon", unit="1",
            ours=narrow["planes"] / wide["planes"], paper=6.0, provenance=Provenance.PUBLISHED, source=_V3,
            demand=Demand.COMPARED, note="HOBFLOPS9 to HOBFLOPS16 on a processor with few registers")]
    if scalar is None:
        lab.warn(f"no scalar MAC to compare with: {document['reasons'][WIDE]['scalar']}")
        return rows
    times = partial(Row, unit="1", paper=8.0, provenance=Provenance.PUBLISHED, source=_V3)
    return [
        *rows,
        rate(quantity="scalar MACs in binary16", ours=scalar / 1e6, paper=50.0,
             note="theirs is Berkeley's SoftFloat; ours, compiled by the system's C compiler, leaves out its flags"),
        times(quantity=f"MACs in {WIDE} to scalar ones", ours=wide["planes"] / scalar, demand=least,
              note=_WITH_SUBNORMALS),
        times(quantity=f"MACs in {WIDE} without subnormals to scalar ones with", ours=flushed["planes"] / scalar,
              demand=Demand.COMPARED)]


def _network(lab: Laboratory) -> list[Row]:
    return network_rows(lab, ARITHMETICS, seeds=SEEDS)


PAPER = Paper(
    name="hobflops", citation="Garland and Gregg 2021, arXiv 2007.06563v3",
    title="HOBFLOPS CNNs: Hardware Optimized Bitslice-Parallel Floating-Point Operations for Convolutional Neural "
          "Networks", parts={part.name: part for part in (
              Part(name="equality", summary="the code made of each format's MAC against its reference",
                   steps=len(SERIES), run=equality),
              Part(name="cells", summary="three-input look-ups for AVX-512 against two-input gates for AVX2",
                   steps=2 * len(SERIES) + 2, run=_cells),
              Part(name="speed", summary="a MAC on bit planes against a scalar one, in one run", steps=3, run=_speed),
              Part(name="network", summary="a small CNN on digits, all its sums of products through circuits",
                   steps=len(ARITHMETICS) * (2 + len(SEEDS)), run=_network))})
