"""Minifloat post-training quantization: accuracy on small networks against measured exact accumulators."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from sw.formats import parse
from synth.cost.checks import (
    TERMS,
    WITH_CONVERSION,
    WITHOUT_CONVERSION,
    accumulator,
    order_of_eight_bits,
    orders_within_widths,
    overheads,
)
from synth.cost.table import Table, load_table
from synth.explore.evaluator import Task, uniform
from synth.explore.front import Rated, Standing, standings
from synth.explore.selection import held_out_best
from synth.explore.space import Choice
from synth.explore.statistics import mean_interval, paired_difference
from synth.papers.laboratory import Laboratory
from synth.papers.minifloat_definition import BITS, MINIFLOATS, NOTES, definitions
from synth.papers.record import Demand, Paper, Part, Provenance, Row

INTEGERS = tuple(f"int{bits}" for bits in BITS)

NETWORKS = ("digits-cnn", "digits-residual", "digits-vit")
TECHNIQUES = ("plain", "gptq", "paper")
SEEDS = tuple(range(1, 11))

TARGETS = ("xcup", "ecp5")
"""The paper's circuits were placed on a Versal, which no open tool counts: the nearest, and one with a placer."""

_ABSTRACT = "arXiv 2311.12359, abstract"
_COMPANION = "Damsgaard et al. 2025, TCAD, abstract"


def _cost(lab: Laboratory) -> list[Row]:
    table, rows = load_table(), []
    for target in TARGETS:
        lab.step(f"{target}: exact accumulators of {TERMS:,} terms, from the table of measurements")
        for order in (*orders_within_widths(table, target), order_of_eight_bits(table, target)):
            if order.holds is None:
                continue  # nothing was compared: a row would hold without a measurement
            falls = sum(high <= low for low, high in zip(order.lut, order.lut[1:], strict=False))
            missing = f"; not measured: {', '.join(order.missing)}" if order.missing else ""
            rows.append(Row(
                quantity=f"{target}: steps that do not rise in " + " < ".join(order.formats), unit="steps", ours=falls,
                paper=0, provenance=Provenance.SECOND_HAND, source=f"{NOTES}: width grows with the exponent",
                demand=Demand.EQUAL, note=f"LUTs {', '.join(map(str, order.lut))}{missing}"))
        for converted, bounds in ((False, WITHOUT_CONVERSION), (True, WITH_CONVERSION)):
            low, high = (percent / 100 for percent in bounds)  # an overhead is a part, not a percentage
            found = overheads(table, target, converted=converted)
            if not found:
                continue
            how = "with" if converted else "without"
            row = partial(Row, unit="of an integer's LUTs", provenance=Provenance.PUBLISHED, source=_COMPANION)
            inside = sum(pair.holds for pair in found)
            least, most = (choose(found, key=lambda pair: pair.overhead) for choose in (min, max))
            rows += [row(quantity=f"{target}: least overhead {how} back-conversion ({least.format})",
                         ours=least.overhead, paper=low, demand=Demand.AT_LEAST,
                         note=f"{inside} of {len(found)} pairs lie within {low:+.0%} to {high:+.0%}"),
                     row(quantity=f"{target}: greatest overhead {how} back-conversion ({most.format})",
                         ours=most.overhead, paper=high, demand=Demand.AT_MOST)]
    return rows


Accuracies = dict[str, dict[str, tuple[float, ...]]]
"""By format and technique, one a seed."""


def _accuracies(lab: Laboratory, network: str) -> Accuracies:
    from synth.explore.evaluations import Evaluations
    from synth.explore.network_evaluator import NetworkEvaluator

    evaluations = Evaluations(NetworkEvaluator(model=network), folder=lab.store_folder, jobs=lab.jobs, warn=lab.warn)
    evaluations.prepare(SEEDS, lab.progress)
    tasks = {(name, technique, seed): Task(seed=seed, technique=technique,
                                           assignment=uniform(Choice(weight=name, activation=name)))
             for seed in SEEDS for technique in TECHNIQUES for name in (*INTEGERS, *MINIFLOATS)}
    outcomes = evaluations.run(list(tasks.values()), lab.progress)
    return {name: {technique: tuple(_known(outcomes[tasks[name, technique, seed]]) for seed in SEEDS)
                   for technique in TECHNIQUES} for name in (*INTEGERS, *MINIFLOATS)}


def _known(outcome: object) -> float:
    accuracy, error = outcome.accuracy, outcome.error  # type: ignore[attr-defined]
    if accuracy is None:
        raise ValueError(error)
    return float(accuracy)


def _front(lab: Laboratory) -> list[Row]:
    """Return whether minifloats win, and whether integers stay on the front."""
    table, rows, gains = load_table(), [], list[float]()
    for network in NETWORKS:
        found = _accuracies(lab, network)
        for bits in BITS:
            splits = [name for name in MINIFLOATS if parse(name).width == bits]
            if not splits:
                continue
            best = held_out_best({f"{name}, {technique}": found[name][technique]
                                  for name in splits for technique in TECHNIQUES})
            integer = held_out_best(found[f"int{bits}"])
            difference = paired_difference(best, integer)
            gains += [difference.mean] * (bits in (4, 5, 6))
            rows.append(Row(
                quantity=f"{network}, {bits} bits: best minifloat over integer", unit="points", paper=0.0,
                ours=100 * difference.mean, provenance=Provenance.SECOND_HAND, demand=Demand.COMPARED,
                source=f"{NOTES}: minifloats typically win from 4 bits", note=_spread(best, integer)))
        rows += [_on_front(table, found, network, target) for target in TARGETS]
    mean = 100 * float(np.mean(gains))
    return [Row(quantity="4 to 6 bits, three networks: best minifloat over integer", unit="points", ours=mean,
                paper=0.0, provenance=Provenance.SECOND_HAND, source=f"{NOTES}: minifloats typically win from 4 bits",
                demand=Demand.AT_LEAST, note="split and technique are chosen on nine seeds and measured on the tenth, "
                "so that the greater choice of minifloats gains nothing by chance"), *rows]


def _spread(best: Sequence[float], integer: Sequence[float]) -> str:
    difference = paired_difference(best, integer)
    low, high = (100 * (difference.mean if end is None else end) for end in (difference.low, difference.high))
    return (f"{100 * mean_interval(best).mean:.2f} % against {100 * mean_interval(integer).mean:.2f} %, difference "
            f"{low:+.2f} to {high:+.2f} points at 95 % over {len(best)} seeds")


def _on_front(table: Table, found: Accuracies, network: str, target: str) -> Row:
    measured = {name: row for name in found if (row := accumulator(table, name, target)) is not None}
    rated = [Rated(accuracies=held_out_best(found[name]), cost=row.lut, low=row.lut, high=row.lut)
             for name, row in measured.items()]
    front = [name for name, standing in zip(measured, standings(rated), strict=True) if standing is Standing.FRONT]
    integers = [name for name in front if name in INTEGERS]
    return Row(quantity=f"{network}, {target}: integers on the front of {len(front)}", unit="formats",
               ours=len(integers), paper=1, provenance=Provenance.PUBLISHED,
               source=f"{_ABSTRACT}: integers often keep Pareto optimality", demand=Demand.AT_LEAST,
               note=f"of {len(measured)} formats measured; the front: {', '.join(front)}")


PAPER = Paper(
    name="minifloat_ptq", title="Shedding the Bits: minifloats in post-training quantization on FPGAs",
    citation="arXiv 2311.12359, FPL 2024", parts={part.name: part for part in (
        Part(name="definitions", summary="quantizer and accumulator widths against their definitions",
             steps=len(MINIFLOATS), run=definitions),
        Part(name="cost", summary="exact accumulators' LUTs: orders and overheads", steps=len(TARGETS), run=_cost),
        Part(name="front", summary="accuracy of small networks against those LUTs; unlike the paper's, all layers have "
                                   "the same format",
             steps=len(NETWORKS) * len(SEEDS) * (1 + len(TECHNIQUES) * (len(INTEGERS) + len(MINIFLOATS))), run=_front),
    )})
