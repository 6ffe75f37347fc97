"""One or more :class:`Case` for every memory cell that has a simulation model in Yosys: LUT RAMs and SB_RAM40_4K."""

import itertools

from tests.synth.netlist.oracle import Case


def _bits(width, value):
    return f"{width}'h{value:x}"


def ice40_ram_cases(rng):
    """Every mode and every variant of the clocks, in eight of the rows.

    Yosys' model shows the old word where a read meets a write; the device's is undefined, so the cases avoid that.
    """
    rows = rng.randrange(32)
    for read_mode, write_mode, edges in (
            (0, 0, ""), (1, 1, "NR"), (2, 2, "NW"), (3, 3, "NRNW"), (0, 3, ""), (1, 2, "")):
        clocks = "RCLKN" if "NR" in edges else "RCLK", "WCLKN" if "NW" in edges else "WCLK"
        initial = {f"INIT_{k:X}": _bits(256, rng.getrandbits(256)) for k in range(16)}
        yield Case(f"SB_RAM40_4K{edges}",
                   {"r": 3, "w": 3, "rmode": 3, "wmode": 3, "re": 1, "RCLKE": 1, "WCLKE": 1, "WE": 1, "MASK": 16,
                    "WDATA": 16}, {"RDATA": 16}, {"READ_MODE": read_mode, "WRITE_MODE": write_mode, **initial},
                   {"RADDR": f"{{rmode_i, 5'd{rows}, r_i}}", "WADDR": f"{{wmode_i, 5'd{rows}, w_i}}",
                    "RE": "re_i && r_i != w_i", clocks[1]: "clk"}, clock=clocks[0])


_LUT_RAM = {"DI": 4, "WAD": 4, "WRE": 1, "RAD": 4}


def ecp5_ram_cases(rng):
    for clock, enable in itertools.product(("WCK", "INV"), ("WRE", "INV", "0", "1")):
        yield Case("TRELLIS_DPR16X4", _LUT_RAM, {"DO": 4}, {
            "INITVAL": _bits(64, rng.getrandbits(64)), "WCKMUX": f'"{clock}"', "WREMUX": f'"{enable}"'}, clock="WCK")


def nexus_ram_cases(rng):
    # Yosys' model leaves the last of the 16 words out of the initial contents.
    yield Case("DPR16X4", _LUT_RAM, {"DO": 4}, {"INITVAL": f'"0x{rng.getrandbits(60):016x}"'}, clock="WCK")


def gowin_ram_cases(rng):
    for kind, width in itertools.product(("S", "SDP"), (1, 2, 4)):
        addresses = {"AD": 4} if kind == "S" else {"WAD": 4, "RAD": 4}
        yield Case(f"RAM16{kind}{width}", {**addresses, "DI": width, "WRE": 1}, {"DO": width},
                   {f"INIT_{index}": _bits(16, rng.getrandbits(16)) for index in range(width)}, clock="CLK")


def xilinx_ram_cases(rng):
    for bits, dual in itertools.product(range(4, 10), (False, True)):
        words = 1 << bits
        if dual and bits == 9:
            continue
        names = ("A", "DPRA") if dual else ("A",)
        scalar = bits < 7 if dual else bits < 8
        addresses = {f"{name}{index}": 1 for name in names for index in range(bits)} if scalar else dict.fromkeys(
            names, bits)
        yield Case(f"RAM{words}X1{'D' if dual else 'S'}", {**addresses, "D": 1, "WE": 1},
                   {"SPO": 1, "DPO": 1} if dual else {"O": 1},
                   {"INIT": _bits(words, rng.getrandbits(words)), "IS_WCLK_INVERTED": f"1'b{bits % 2}"}, clock="WCLK")
    for cell, letters, bits, width in (("RAM32M", "ABCD", 5, 2), ("RAM64M", "ABCD", 6, 1),
                                       ("RAM32M16", "ABCDEFGH", 5, 2), ("RAM64M8", "ABCDEFGH", 6, 1)):
        yield Case(cell, {**{f"ADDR{x}": bits for x in letters}, **{f"DI{x}": width for x in letters}, "WE": 1},
                   {f"DO{x}": width for x in letters},
                   {**{f"INIT_{x}": _bits(64, rng.getrandbits(64)) for x in letters},
                    "IS_WCLK_INVERTED": f"1'b{bits % 2}"}, clock="WCLK")
