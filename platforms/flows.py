"""From a placed design to a bitstream, per device family, as data. Synthesis is the recipe of ``synth.targets``."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What nextpnr and the packer of a family are told.

    Parameters
    ----------
    constraints : str
        Suffix of the constraint file that amaranth writes.
    constraints_option, placed_option : str
        nextpnr's options for that file and for its own output.
    placed : str
        Name of that output.
    packer : str
        Tool that makes the bitstream.
    pack_options : tuple of str
        What stands before the placed file and before the bitstream; empty where the packer takes them bare.
    suffix : str
        Of the bitstream.
    preamble : bytes
        What every bitstream of the family has near its beginning (the device's synchronization word).
    """

    constraints: str
    constraints_option: str
    placed_option: str
    placed: str
    packer: str
    pack_options: tuple[str, str]
    suffix: str
    preamble: bytes

    def pack_arguments(self, bitstream: str) -> list[str]:
        """Return the packer's arguments that name its files."""
        pairs = zip(self.pack_options, (self.placed, bitstream), strict=True)
        return [argument for pair in pairs for argument in pair if argument]


FLOWS: Mapping[str, Flow] = MappingProxyType({
    "ice40": Flow(constraints=".pcf", constraints_option="--pcf", placed_option="--asc", placed="placed.asc",
                  packer="yowasp-icepack", pack_options=("", ""), suffix=".bin",
                  preamble=bytes.fromhex("7eaa997e")),
    "ecp5": Flow(constraints=".lpf", constraints_option="--lpf", placed_option="--textcfg", placed="placed.config",
                 packer="yowasp-ecppack", pack_options=("--input", "--bit"), suffix=".bit",
                 preamble=bytes.fromhex("ffffbdb3")),
})
"""By target name."""
