"""The recipes of each family as data: the first is the default, those after it are what one might take instead.

They are the settings whose counts are published with a measurement: a change to a recipe's script changes the key of
every record in the store that it made. What each is worth over the library as a whole is in ``data/evidence.json``
(see :mod:`synth.recipes.evidence`).

Left out: hard multipliers, which ``--dsp`` decides; ``booth``, since the library builds its products itself and
leaves Yosys no ``*`` to map; ABC's ``&deepsyn``, whose result depends on the time it gets.
"""

from collections.abc import Mapping

from synth.recipes.recipe import Recipe, Step

_AREA = Step("begin", "scratchpad -copy abc9.script.default.area abc9.script")

_ROUND = ";&st;&dch,-f;&if,{W},-a;&mfs,-e;&save,-a;&st;&synch2,-K,6;&if,{W},-a;&mfs,-e;&save,-a"
_REPEAT = Step("begin", "scratchpad -set abc9.script +&scorr;&sweep;&dc2;&dch,-f,-r;&if,{W},-a;&mfs,-e;&save,-a"
               + 3 * _ROUND + ";&load")
"""Maps for area, takes the LUTs apart, maps them again with other choices of structure, and keeps the smallest."""


def _named(*recipes: Recipe) -> Mapping[str, Recipe]:
    return {recipe.name: recipe for recipe in recipes}


def _common(synth: str, luts: str, resume: str = "map_cells") -> tuple[Recipe, ...]:
    """Return what can be done with any family.

    Parameters
    ----------
    synth : str
        Its command with the flags of its default.
    luts : str
        What its step ``map_luts`` comes to with ABC's older mapper.
    resume : str
        The step behind that one.
    """
    return (
        Recipe(name="abc9-area", synth=synth, steps=(_AREA,),
               reason="ABC9's own script for area: LUTs rather than delay decide where both could"),
        Recipe(name="abc9-repeat", synth=synth, steps=(_REPEAT, Step("map_luts", "abc")),
               reason="ABC optimizes the gates; ABC9 maps them for area, takes the LUTs apart and maps again, six "
                      "times, and keeps the smallest"),
        Recipe(name="abc9-twice", synth=synth, steps=(Step("map_luts", "abc"),),
               reason="ABC optimizes the gates before ABC9 maps them, as -abc2 did up to Yosys 0.68"),
        Recipe(name="abc9-dff", synth=f"{synth} -dff",
               reason="ABC9 sees through the flip-flops: merges equal ones and those that never change"),
        Recipe(name="abc9-retime", synth=synth, steps=(Step("map_ffs", "abc -dff -D 1"),),
               reason="ABC moves flip-flops across gates for delay, as -retime did up to Yosys 0.68"),
        Recipe(name="abc", synth=synth, steps=(Step("map_luts", luts, resume),),
               reason="ABC's older mapper, which knows neither the delays of LUTs nor what lies behind carry cells"))


def _lattice(name: str, *, default: str, carry: Recipe, reason: str) -> Mapping[str, Recipe]:
    """Return the recipes of ECP5 and Nexus, which share their flow."""
    return _named(
        Recipe(name="abc9", synth=f"synth_{name} {default}", reason=reason),
        *_common(f"synth_{name} {default}",
                 "techmap -map +/lattice/latches_map.v; abc -lut 4 -dress; clean"),
        carry,
        Recipe(name="abc9-widelut", synth=f"synth_{name} {default.replace('-nowidelut ', '')}",
               reason="wide multiplexers (PFUMX, L6MUX21; WIDEFN9) join two LUT4 to one of five inputs: fewer levels"))


def _xilinx(family: str) -> Mapping[str, Recipe]:
    synth = f"synth_xilinx -family {family} -flatten -noiopad -noclkbuf"
    return _named(
        Recipe(name="abc9", synth=synth,
               reason="no I/O or clock buffers, since the operator is a part of a design; flattened: ABC sees it "
                      "whole"),
        *_common(synth, "opt_expr -mux_undef -noclkinv; abc -luts 2:2,3,6:5,10,20; clean; xilinx_srl -fixed -minlen 3; "
                        "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6; xilinx_dffopt; "
                        "opt_lut_ins -tech xilinx", "finalize"),
        Recipe(name="abc9-nocarry", synth=f"{synth} -nocarry",
               reason="sums in LUTs: ABC can simplify through short ones"),
        Recipe(name="abc9-nowidelut", synth=f"{synth} -nowidelut",
               reason="no LUTs of seven and eight inputs, which take two and four LUT6"),
        Recipe(name="abc9-widemux", synth=f"{synth} -widemux 5",
               reason="multiplexers of five inputs and more in MUXF7 and MUXF8, as Yosys recommends"))


RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "ice40": _named(
        Recipe(name="abc9", synth="synth_ice40", reason="Yosys' defaults"),
        *_common("synth_ice40", "techmap -map +/ice40/latches_map.v; abc -lut 4 -dress; ice40_wrapcarry -unwrap; "
                                "techmap -map +/ice40/ff_map.v; clean; opt_lut -tech ice40"),
        Recipe(name="abc9-nocarry", synth="synth_ice40 -nocarry",
               reason="sums in LUTs: ABC can simplify through short ones")),
    "ecp5": _lattice(
        "ecp5", default="-nowidelut -noiopad",
        carry=Recipe(name="abc9-nocarry", synth="synth_ecp5 -noccu2 -nowidelut -noiopad",
                     reason="sums in LUTs: a carry cell takes two, and ABC can simplify through short sums"),
        reason="wide multiplexers (PFUMX, L6MUX21) cost more LUT4 than they save: 164 against 149 for a hand-tuned "
               "e4m3 multiplier; no I/O buffers, since the operator is a part of a design"),
    "nexus": _lattice(
        "nexus", default="-noccu2 -nowidelut -noiopad",
        carry=Recipe(name="abc9-carry", synth="synth_nexus -nowidelut -noiopad",
                     reason="sums in carry cells, as on ECP5: for what is not placed by nextpnr, which refuses them"),
        reason="nextpnr refuses the carry-in that Yosys ties to ground (Yosys issue 4081), hence no carry cells; "
               "no wide multiplexers, as for ECP5"),
    "gowin": _named(
        Recipe(name="abc9", synth="synth_gowin -noiopads -nowidelut",
               reason="no wide multiplexers: 189 against 153 LUT4 for a hand-tuned e4m3 multiplier; no I/O buffers"),
        *(recipe for recipe in _common("synth_gowin -noiopads -nowidelut", "sort; abc -lut 4; clean")
          if recipe.name != "abc9-dff"),                 # its flow has no such flag
        Recipe(name="abc9-nocarry", synth="synth_gowin -noiopads -nowidelut -noalu",
               reason="sums in LUTs: ABC can simplify through short ones"),
        Recipe(name="abc9-widelut", synth="synth_gowin -noiopads",
               reason="wide multiplexers (MUX2_LUT5 to MUX2_LUT8) join LUT4s: fewer levels")),
    "xc7": _xilinx("xc7"),
    "xcup": _xilinx("xcup"),
}
"""Recipes by target and name."""
