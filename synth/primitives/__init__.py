"""The families' own forms of what a component may leave to its platform: DSP blocks and carry cells, instantiated.

Amaranth hands a component's ``elaborate`` a platform object. :func:`platform_of` returns the one of a device family:
no board, only its name and what the family's blocks can do. A component asks it for a form, as
:class:`hw.arith.multiply_add.MultiplyAdd` does, and elaborates its generic form where it gets none; by the name it
finds the structure that won there, see :mod:`hw.recorded`.

What the forms save, against what Yosys 0.70 infers from the generic one: DSP blocks / LUTs / flip-flops of a chain of
four slices, 8 by 8 bits into 20, and of an accumulator, 16 by 16 bits into 32, with a clock enable; and the chain's
MHz, placed with seed 1. A carry cell counts as the LUTs that it takes.

============  ================  ================  ===========  ===========  ==========================
family        chain             chain inferred    accumulator  acc.         chain, MHz
                                                               inferred
============  ================  ================  ===========  ===========  ==========================
iCE40         4 / 60 / 6        4 / 112 / 82      1 / 32 / 2   1 / 64 / 34  up5k: 91, inferred 60
ECP5          4 / 60 / 66       4 / 114 / 210     1 / 32 / 34  1 / 64 / 98  25k: 261, inferred 145
Nexus         4 / 60 / 54       4 / 192 / 82      1 / 0 / 0    1 / 127 / 34 LIFCL-40: 270, inferred 183
Gowin         4 / 62 / 66       4 / 113 / 210     1 / 1 / 0    1 / 64 / 98  not credible (see targets)
Xilinx 7      4 / 0 / 3         4 / 56 / 6        1 / 0 / 1    1 / 0 / 2    no open placer
UltraScale+   4 / 0 / 3         4 / 56 / 210      1 / 0 / 1    1 / 64 / 98  no open placer
============  ================  ================  ===========  ===========  ==========================

``platform.gated_sums`` adds what a bit may leave out, the gate included, in the carry cells of ECP5 and Gowin: a
lookup table a bit, of which Yosys would take two; see :func:`hw.arith.gated_rows.multiply_gated_rows`.

Without a clock enable, which whatever stands between two streams has, Yosys finds SB_MAC16's adder and registers by
itself: 5 / 89 / 25 of chain and accumulator together, against 5 / 92 / 8 here.

A block with an adder may be rarer than the multipliers alone: an LIFCL-40 has 56 multipliers and 28 adders for
MULTADDSUB18X18; a GW1N-9 has 40 MULT9X9 or 20 MULT18X18 or 10 MULTALU18X18.
"""

from collections.abc import Mapping

from synth.primitives.ecp5 import ECP5
from synth.primitives.family import FamilyPlatform, GatedSums, LookupPlatform, MultiplyAddSlice
from synth.primitives.gowin import GOWIN
from synth.primitives.ice40 import ICE40
from synth.primitives.nexus import NEXUS
from synth.primitives.xilinx import ULTRASCALE_PLUS, XILINX_7

__all__ = ["PLATFORMS", "FamilyPlatform", "GatedSums", "LookupPlatform", "MultiplyAddSlice", "platform_of"]

PLATFORMS: Mapping[str, FamilyPlatform] = {
    platform.family: platform for platform in (ICE40, ECP5, NEXUS, GOWIN, XILINX_7, ULTRASCALE_PLUS)}
"""The platform of each family that has one."""


def platform_of(target_name: str, *, dsp: bool = True) -> FamilyPlatform | LookupPlatform | None:
    """Return the platform with which a component is elaborated for a target, None for a name that is none.

    Parameters
    ----------
    target_name : str
    dsp : bool
        Whether hard multipliers may be used. Without them, the platform has the family's name, and its forms made of
        carry cells.
    """
    platform = PLATFORMS.get(target_name)
    return platform if dsp or platform is None else LookupPlatform(platform.family, platform.gated_sums)
