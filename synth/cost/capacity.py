"""What devices hold, and how their block RAMs can be cut, as data.

The counts are those that nextpnr 0.11 gives behind the slash of its "Device utilisation" for each device, in the units
in which :mod:`synth.targets` counts an operator. It treats an LFE5U-12F as the 25F whose die it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from synth.errors import UsageError
from synth.targets import TARGETS


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a device holds.

    Parameters
    ----------
    lut, ff : int
        Four-input LUTs and flip-flops of the fabric.
    dsp : int
        Multipliers of 18 × 18 bits (iCE40: 16 × 16).
    bram : int
        Block RAMs.
    """

    lut: int
    ff: int
    dsp: int
    bram: int


_ICE40_8K = Capacity(lut=7680, ff=7680, dsp=0, bram=32)
_ICE40_1K = Capacity(lut=1280, ff=1280, dsp=0, bram=16)
_ECP5_25 = Capacity(lut=24288, ff=24288, dsp=28, bram=56)
_ECP5_45 = Capacity(lut=43848, ff=43848, dsp=72, bram=108)
_ECP5_85 = Capacity(lut=83640, ff=83640, dsp=156, bram=208)

CAPACITIES: Mapping[str, Mapping[str, Capacity]] = {
    "ice40": {"hx1k": _ICE40_1K, "lp1k": _ICE40_1K, "hx4k": _ICE40_8K, "lp8k": _ICE40_8K, "hx8k": _ICE40_8K,
              "u4k": Capacity(lut=3520, ff=3520, dsp=4, bram=20),
              "up5k": Capacity(lut=5280, ff=5280, dsp=8, bram=30)},
    "ecp5": {"12k": _ECP5_25, "25k": _ECP5_25, "um-25k": _ECP5_25, "um5g-25k": _ECP5_25,
             "45k": _ECP5_45, "um-45k": _ECP5_45, "um5g-45k": _ECP5_45,
             "85k": _ECP5_85, "um-85k": _ECP5_85, "um5g-85k": _ECP5_85},
    "nexus": {"lifcl-17": Capacity(lut=13824, ff=13824, dsp=24, bram=24),
              "lifcl-40": Capacity(lut=32256, ff=32256, dsp=56, bram=84)},
    "gowin": {"gw1nr-9c": Capacity(lut=8640, ff=6480, dsp=20, bram=26),
              "gw2ar-18c": Capacity(lut=20736, ff=15552, dsp=48, bram=46)},
}
"""Capacities by target and device."""

_18K = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))

BLOCK_RAM_SHAPES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "ice40": ((2048, 2), (1024, 4), (512, 8), (256, 16)), "ecp5": _18K, "nexus": _18K, "gowin": _18K, "xc7": _18K,
    "xcup": _18K,
}
"""Words and bits of a word that one block RAM may have, by target, with one port to read and one to write.

Sources: Lattice FPGA-TN-02002 (iCE40), FPGA-TN-02204 (ECP5), FPGA-TN-02094 (Nexus); Gowin UG285; AMD UG473 (RAMB18).
"""


def block_rams(target: str, *, words: int, bits: int) -> int:
    """Return how many block RAMs a memory takes, in the one shape that needs the fewest.

    Parameters
    ----------
    target : str
    words : int
        0 for no memory.
    bits : int
        Of a word.

    Raises
    ------
    UsageError
        If the target is unknown.
    """
    if target not in BLOCK_RAM_SHAPES:
        raise UsageError(f"Target must be one of {', '.join(TARGETS)}, not {target!r}")
    if not words * bits:
        return 0
    return min(-(-words // depth) * -(-bits // width) for depth, width in BLOCK_RAM_SHAPES[target])
