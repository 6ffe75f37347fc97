"""What networks do through circuits, as rows of the reproduction: accuracy, speed, size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from synth.explore.statistics import mean_interval, paired_difference
from synth.native.matrix import MatrixUnit
from synth.papers.hobflops_checks import instructions
from synth.papers.hobflops_network import LONGEST_SUM, NETWORK, Arithmetic, Outcome, evaluate
from synth.papers.laboratory import Laboratory
from synth.papers.record import Demand, Provenance, Row

TOLERANCE = 0.01
"""Of accuracies, where the accumulator is wide: a sum that is rounded once more may tip an image."""

TARGET = "ecp5"
"""Where the circuit's LUTs are counted."""

CHECK_TRANSFERS = 1 << 12

_ALONE = partial(Row, paper=None, provenance=Provenance.UNPUBLISHED, demand=Demand.COMPARED,
                 source="no figure in what is known of the paper")


def network_rows(lab: Laboratory, arithmetics: Sequence[Arithmetic], *, seeds: Sequence[int],
                 images: int | None = None) -> list[Row]:
    """Return what networks do through circuits, one circuit after the other, and what each costs.

    Parameters
    ----------
    lab : Laboratory
        Told of two steps for each arithmetic, and one for each seed of it.
    arithmetics : sequence of Arithmetic
    seeds : sequence of int
        Of the networks.
    images : int, optional
        The first so many test images of each; all if None.
    """
    rows, compared, wrong = list[Row](), 0, list[str]()
    for arithmetic in arithmetics:
        operation, isa = arithmetic.operation, lab.instruction_set()
        program = lab.native(operation, isa)
        unit = MatrixUnit(operation, program=program)
        outcome = evaluate(arithmetic, unit, seeds=seeds, images=images, step=lab.step)
        built = lab.build(TARGET, samples=CHECK_TRANSFERS, **arithmetic.request)
        compared += outcome.compared
        wrong += [f"{arithmetic.label}: {outcome.differing:,}"] * bool(outcome.differing)
        rows += [_accuracy(arithmetic, outcome), *_rates(arithmetic, outcome),
                 _ALONE(quantity=f"{arithmetic.label}: instructions of the MAC", unit=isa.value,
                        ours=instructions(program, isa), note=_in_sums(unit.instructions(LONGEST_SUM))),
                 _ALONE(quantity=f"{arithmetic.label}: LUTs of the MAC", unit=TARGET, ours=built["lut"])]
    return [*rows, Row(
        quantity=f"circuits that differ from the reference in one of {compared:,} sums", unit="circuits",
        ours=len(wrong), paper=0, provenance=Provenance.DERIVED, demand=Demand.EQUAL, note="; ".join(wrong),
        source="a circuit is a netlist of the same function")]


def _in_sums(instructions: float | None) -> str:
    """Say what is left of a circuit in a matrix product, where native code knows when a sum begins and ends."""
    return "" if instructions is None else f"{instructions:,.0f} for each product in sums of {LONGEST_SUM}"


def _accuracy(arithmetic: Arithmetic, outcome: Outcome) -> Row:
    """Return the accuracy through a circuit beside the one that fake quantization promises."""
    circuit, rounded, plain = (100 * mean_interval(shares).mean for shares in (
        outcome.accuracy, outcome.rounded_accuracy, outcome.float_accuracy))
    difference = paired_difference(outcome.accuracy, outcome.rounded_accuracy)
    spread = "" if difference.low is None or difference.high is None else (
        f" ({100 * difference.low:+.2f} to {100 * difference.high:+.2f} at 95 %)")
    row = partial(Row, quantity=f"{arithmetic.label}: accuracy", unit="%", ours=circuit, paper=rounded,
                  provenance=Provenance.DERIVED, source="fake quantization: the same operands, summed in float32",
                  note=f"{NETWORK}, in float {plain:.2f} %; {100 * difference.mean:+.2f} points by the accumulator"
                       f"{spread}; {outcome.images:,} test images, networks of seeds "
                       f"{', '.join(map(str, outcome.seeds))}")
    return row(demand=Demand.COMPARED) if arithmetic.narrow else row(demand=Demand.CLOSE, tolerance=TOLERANCE)


def _rates(arithmetic: Arithmetic, outcome: Outcome) -> list[Row]:
    """Return the images a second, and the products a second where the paper has a figure."""
    images = outcome.images_a_second
    products = images * outcome.products / 1e6
    rows = [_ALONE(quantity=f"{arithmetic.label}: images a second", unit="1/s", ours=images,
                   note=f"{products:,.3g} million products a second on all cores, with rounding and layout on one")]
    if arithmetic.published is not None:
        rows.append(Row(
            quantity=f"{arithmetic.label}: products in the network", unit="million/s", ours=products,
            paper=arithmetic.published, provenance=Provenance.PUBLISHED, demand=Demand.COMPARED,
            source="arXiv 2007.06563v2, abstract: HOBFLOPS16, AVX-512",
            note="that this format is HOBFLOPS16 is our assignment; theirs on other layers and another processor"))
    return rows
