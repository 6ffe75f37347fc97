# amaranth: UnusedElaboratable=no
# A design that is refused half-way was never meant to be used.
"""An operator on a board: elaborated, synthesized, placed, routed and packed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from platforms.boards import Board
from platforms.flows import FLOWS
from platforms.protocol import LinkProtocol
from platforms.top import BoardTop
from synth.console import Progress, SilentProgress
from synth.errors import ToolError
from synth.flow import run_nextpnr
from synth.targets import TARGETS
from synth.toolchain import run_tool, run_yosys

BUILD_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Utilization:
    """How many of a device's resources of one kind a design takes."""

    used: int
    available: int


@dataclass(frozen=True, kw_only=True)
class BoardResult:
    """What :func:`build_board` made.

    Parameters
    ----------
    board : Board
    bitstream, mapped, constraints, link : Path
        The bitstream; the netlist after technology mapping, pads included; the pins; the link's description, which
        :meth:`~platforms.protocol.LinkProtocol.from_json` reads.
    logs : tuple of Path
    protocol : LinkProtocol
    baud : int
    divisor : int
        Clock cycles per bit.
    utilization : mapping of resource to Utilization
        What nextpnr's report counts, unused resources left out.
    fmax_mhz, clock_mhz : float
        The clock the design could take, and the one the board has.
    seed : int
        Of the placement.
    seconds : float
        Time in the tools.
    """

    board: Board
    bitstream: Path
    mapped: Path
    constraints: Path
    link: Path
    logs: tuple[Path, ...]
    protocol: LinkProtocol
    baud: int
    divisor: int
    utilization: Mapping[str, Utilization]
    fmax_mhz: float
    clock_mhz: float
    seed: int
    seconds: float

    @property
    def meets_timing(self) -> bool:
        """Whether the design is as fast as the board's clock."""
        return self.fmax_mhz >= self.clock_mhz

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object, files by name."""
        return {
            "board": self.board.name, "bitstream": self.bitstream.name, "mapped": self.mapped.name,
            "link": {**self.protocol.to_json(), "baud": self.baud}, "fmax_mhz": self.fmax_mhz,
            "clock_mhz": self.clock_mhz, "meets_timing": self.meets_timing, "seed": self.seed,
            "seconds": self.seconds,
            "utilization": {name: {"used": use.used, "available": use.available}
                            for name, use in self.utilization.items()},
        }


def build_board(operator_factory: Callable[[], wiring.Component], board: Board, *, folder: Path, seed: int = 1,
                timeout: float | None = None, progress: Progress | None = None, baud: int | None = None,
                dsp: bool = False, recipe: str | None = None) -> BoardResult:
    """Build the bitstream of an operator behind the board's UART.

    A design slower than the board's clock is built all the same; the result says so in ``meets_timing``.

    Parameters
    ----------
    operator_factory : callable
        Returns a fresh operator, as :class:`~platforms.link.OperatorLink` takes it.
    board : Board
    folder : Path
        Receives every file; made if it does not exist.
    seed : int
        Of the placement.
    timeout : float, seconds, optional
        For each tool.
    progress : Progress, optional
        Told what begins; it counts :data:`BUILD_STEPS` steps.
    baud : int, optional
        By default the board's.
    dsp : bool
        Whether multiplications may take hard multipliers.
    recipe : str, optional
        Name of one of the board's family; its default one if left out.

    Raises
    ------
    DoesNotFit
        If the design is larger than the device.
    ToolError
        If a tool is missing, fails, or is stopped at its time limit.
    TypeError, ValueError
        As :class:`~platforms.top.BoardTop`.
    """
    progress = progress or SilentProgress()
    flow, target = FLOWS[board.target], TARGETS[board.target]
    folder.mkdir(parents=True, exist_ok=True)
    progress.start(f"{board.name}: elaborating")
    top = BoardTop(operator_factory(), board, baud=baud)
    platform = board.create_platform()
    platform.narrowgauge_family = board.target  # by which components find their recorded structures: see hw.recorded
    plan = platform.prepare(top, "top", emit_src=False)  # no paths of this machine
    constraints, mapped, bitstream = (folder / name for name in (
        "top" + flow.constraints, "mapped.json", "bitstream" + flow.suffix))
    (folder / "design.il").write_text(plan.files["top.il"])
    constraints.write_text(plan.files["top" + flow.constraints])
    link = folder / "link.json"
    actual_baud = board.baud if baud is None else baud
    link.write_text(json.dumps({**top.protocol.to_json(), "board": board.name, "baud": actual_baud}, indent=2) + "\n")

    progress.advance(f"{board.name}: synthesizing")
    synthesis = run_yosys(target.script(dsp=dsp, recipe=recipe), cwd=folder, stem="yosys", timeout=timeout)
    progress.advance(f"{board.name}: placing and routing")
    seconds = synthesis.seconds + _place(board, folder, seed=seed, timeout=timeout)
    progress.advance(f"{board.name}: packing the bitstream")
    pack = run_tool(flow.packer, [*board.pack_arguments, *flow.pack_arguments(bitstream.name)], cwd=folder,
                    log=folder / "pack.log", timeout=timeout)
    utilization, fmax_mhz = _read_report(folder / "report.json")
    progress.advance()
    return BoardResult(
        board=board, bitstream=bitstream, mapped=mapped, constraints=constraints, link=link,
        logs=(synthesis.log, folder / "nextpnr.log", pack.log), protocol=top.protocol, baud=actual_baud,
        divisor=top.divisor, utilization=utilization, fmax_mhz=fmax_mhz, clock_mhz=board.clock_hz / 1e6, seed=seed,
        seconds=seconds + pack.seconds)


def _place(board: Board, folder: Path, *, seed: int, timeout: float | None) -> float:
    """Run nextpnr in ``folder`` and return its seconds."""
    flow, place_and_route = FLOWS[board.target], TARGETS[board.target].place_and_route
    assert place_and_route is not None  # every family with a flow has one
    log = folder / "nextpnr.log"
    arguments = [*board.device_arguments, "--json", "mapped.json", flow.constraints_option, "top" + flow.constraints,
                 flow.placed_option, flow.placed, "--report", "report.json", "--seed", str(seed),
                 # A missed clock is reported with its figure, not as a failure without a bitstream.
                 "--timing-allow-fail"]
    return run_nextpnr(place_and_route.tool, arguments, cwd=folder, log=log, timeout=timeout,
                       device=f"the device of {board.name} ({board.title})",
                       mend="a narrower format or fewer pipeline stages take less")


def _read_report(report: Path) -> tuple[dict[str, Utilization], float]:
    """Return the used resources and the slowest clock's frequency in MHz from nextpnr's report."""
    document = json.loads(report.read_text())
    utilization = {name: Utilization(used=row["used"], available=row["available"])
                   for name, row in sorted(document["utilization"].items()) if row["used"]}
    clocks = document["fmax"]
    if not clocks:
        raise ToolError("nextpnr", "Report of nextpnr must have a clock, not none", report)
    return utilization, min(clock["achieved"] for clock in clocks.values())
