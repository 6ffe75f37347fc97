"""What a build leaves behind: the full record of its measurements, the sources, netlists and logs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synth import flow
from synth.build import Builder, Outcome, Plan, checker_digest, summary
from synth.store import Json, Store

SCHEMA_VERSION = 4


def measurement(builder: Builder, plan: Plan) -> Json:
    """Return the full record that ``measurement.json`` holds."""
    return {
        "schema": SCHEMA_VERSION,
        "operation": plan.operation.name, "parameters": plan.operation.parameters(),
        "formats": {name: _format_fields(port.format) for name, port in plan.operation.ports.items()
                    if port.format is not None},
        "latency": builder.design.latency, "rtlil_sha256": builder.design.digest,
        "checker_sha256": checker_digest(),
        "targets": [{**_record(outcome, builder.designs[outcome.target.name]),
                     "structure": builder.structures[outcome.target.name]}
                    for outcome in builder.chosen],
    }


def _format_fields(fmt: Any) -> Json:
    fields = {name: getattr(value, "value", value) for name, value in asdict(fmt).items()}
    return {"name": fmt.name, "family": type(fmt).__name__,
            **{name: value if isinstance(value, (bool, int, str)) else str(value) for name, value in fields.items()}}


def _record(outcome: Outcome, design: flow.Design) -> Json:
    record = {**summary(outcome), "rtlil_sha256": design.digest}
    if outcome.mapped is not None and outcome.error is None:
        mapped = outcome.mapped
        tools = {"yosys": asdict(mapped.yosys)}
        if outcome.placed:
            tools["nextpnr"] = asdict(outcome.placed[0].nextpnr)
        record |= {
            "device": outcome.device[0] if outcome.placed and outcome.device else None,
            "recipe": mapped.script, "recipe_reason": outcome.recipe.reason, "tools": tools,
            "netlist_sha256": mapped.digest, "cells_by_type": dict(mapped.cells),
            "yosys_counts": flow.count_cells(outcome.target, mapped.cells),
            "placements": [{"seed": run.seed, "fmax_mhz": run.fmax_mhz, "lut": run.lut, "ff": run.ff,
                            "utilization": dict(run.utilization), "seconds": run.seconds}
                           for run in outcome.placed],
        }
    return record


def write_outputs(builder: Builder, plan: Plan, *, store: Store, work: Path) -> None:
    """Write Verilog, RTLIL, ``measurement.json`` and its schema beside the targets' folders; remove what is scratch.

    A target with forms of its own in the design has Verilog and RTLIL of its own, in its folder.
    """
    name = plan.operation.folder_name()
    _write_sources(builder.design, work, name, store=store, plan=plan)
    for outcome in builder.outcomes:
        folder = builder.folder(outcome)
        for path in folder.iterdir():
            if path.name != "mapped.json" and path.suffix != ".log":
                path.unlink()
        design = builder.designs[outcome.target.name]
        if design.rtlil != builder.design.rtlil and folder.parent == work:
            _write_sources(design, folder, name, store=store, plan=plan)
    schema = Path(__file__).with_name("measurement.schema.json").read_text()
    (work / "measurement.schema.json").write_text(schema)
    (work / "measurement.json").write_text(json.dumps(measurement(builder, plan), indent=2) + "\n")


def _write_sources(design: flow.Design, folder: Path, name: str, *, store: Store, plan: Plan) -> None:
    """Write a design as ``<name>.v`` and ``<name>.il``."""
    scratch = folder / "verilog"
    scratch.mkdir()
    text = flow.verilog(design, store=store, folder=scratch, timeout=plan.timeout)
    (folder / f"{name}.v").write_text(text.replace("module top(", f"module {_identifier(name)}(", 1))
    (folder / f"{name}.il").write_text(design.rtlil)
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()


def _identifier(name: str) -> str:
    """Return a Verilog identifier for a folder's name."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
