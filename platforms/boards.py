"""The boards, as data. A board is an amaranth-boards class plus what this project must know to build and program it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from synth.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A pin that the board wants held at a level, whatever the design.

    Parameters
    ----------
    resource : str
    number : int
    subsignal : str
        Empty if the resource is a single signal.
    high : bool
    reason : str
    """

    resource: str
    number: int
    subsignal: str
    high: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Programmer:
    """A program that writes a bitstream to a board, with its arguments.

    Parameters
    ----------
    name : str
        Command, a key of ``platforms.flash.INSTALL``.
    arguments : tuple of str
        What stands before the file's name.
    permanent : bool
        Whether the design survives a power cycle.
    """

    name: str
    arguments: tuple[str, ...]
    permanent: bool


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Parameters
    ----------
    name : str
        What a user types.
    title : str
        Name, maker and device.
    platform : str
        ``module:class`` of its amaranth platform, imported when needed.
    target : str
        Device family: which recipe, place and route tool and packer.
    device : str
        Key of the family's device in ``synth.targets`` and ``synth.cost.capacity``.
    device_arguments : tuple of str
        What tells nextpnr the device and package.
    clock_hz : int, Hz
        Frequency of the default clock.
    baud : int
        Baud rate of the link.
    programmers : tuple of Programmer
        In order of preference.
    pack_arguments : tuple of str
        Further arguments of the family's packer.
    held : tuple of Pin
    usb_serial : str
        Which of the board's serial ports is the link, and what a user must do for it.
    """

    name: str
    title: str
    platform: str
    target: str
    device: str
    device_arguments: tuple[str, ...]
    clock_hz: int
    baud: int
    programmers: tuple[Programmer, ...]
    pack_arguments: tuple[str, ...] = ()
    held: tuple[Pin, ...] = ()
    usb_serial: str

    def create_platform(self) -> Any:
        """Return a fresh amaranth platform; one serves one design."""
        module, _, name = self.platform.partition(":")
        return getattr(importlib.import_module(module), name)()


ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker 1.0 (1BitSquared), Lattice iCE40UP5K-SG48",
    platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
    target="ice40",
    device="up5k",
    device_arguments=("--up5k", "--package", "sg48"),
    clock_hz=12_000_000,
    baud=115_200,
    programmers=(
        Programmer(name="iceprog", arguments=(), permanent=True),
        # Its FTDI chip is wired to the flash in the common way, which openFPGALoader calls generic.
        Programmer(name="openFPGALoader", arguments=("-b", "ice40_generic", "-f"), permanent=True),
    ),
    usb_serial="the second of the two ports of its FT2232H (interface B)",
)

ULX3S_25F = Board(
    name="ulx3s-25f",
    title="ULX3S (Radiona), Lattice ECP5 LFE5U-25F-6BG381",
    platform="amaranth_boards.ulx3s:ULX3S_25F_Platform",
    target="ecp5",
    device="25k",
    device_arguments=("--25k", "--package", "CABGA381", "--speed", "6"),
    clock_hz=25_000_000,
    baud=115_200,
    programmers=(Programmer(name="openFPGALoader", arguments=("-b", "ulx3s"), permanent=False),),
    pack_arguments=("--compress",),
    held=(Pin(resource="esp32", number=0, subsignal="gpio0", high=True,
              reason="the factory firmware of the ESP32 takes the FPGA over when this pin is low for some seconds"),),
    usb_serial="the port of its FT231X (connector US1)",
)

BOARDS: Mapping[str, Board] = MappingProxyType({board.name: board for board in (ICEBREAKER, ULX3S_25F)})
"""Every board, by name."""


def find_board(name: str) -> Board:
    """Return the board with this name.

    Raises
    ------
    UsageError
        If there is none; the message names the nearest, or all.
    """
    board = BOARDS.get(name.strip().lower()) if isinstance(name, str) else None
    if board is None:
        near = get_close_matches(str(name).lower(), BOARDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"Board must be one of {', '.join(BOARDS)}, not {name!r}{hint}")
    return board
