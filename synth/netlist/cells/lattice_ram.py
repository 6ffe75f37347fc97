"""Memories of ECP5 and Nexus: 18 kbit block RAM and the 16x4 LUT RAM.

Source: ``lattice/brams_16kd.txt``, ``brams_map_16kd.v``, ``brams_nexus.txt``, ``brams_map_nexus.v``,
``common_sim.vh`` and ``cells_sim_nexus.v`` of Yosys; Lattice FPGA-TN-02204 (ECP5 memory usage guide) and FPGA-TN-02094
(Nexus memory user guide).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from synth.netlist.cells.memory import (
    BlockPort,
    DuringWrite,
    block_ram,
    byte_layout,
    initial_words,
    padded,
    write_all,
)
from synth.netlist.cells.model import CellModel, CellView
from synth.netlist.network import FALSE, TRUE, Contents, Signal

_ROW = 36
_WIDTHS = (1, 2, 4, 9, 18, 36)
_INITIAL = tuple(f"INITVAL_{index:02X}" for index in range(64))
_OWN = {"NORMAL": DuringWrite.HOLD, "WRITETHROUGH": DuringWrite.NEW, "READBEFOREWRITE": DuringWrite.OLD}


def _scalar_bus(view: CellView, name: str, width: int) -> list[Signal]:
    """Return a bus whose pins are ports of their own: ``ADA0``, ``ADA1``, …"""
    return [view.input(f"{name}{index}") for index in range(width)]


def _address(pins: Sequence[Signal], width: int) -> Sequence[Signal]:
    """Return the part of the 14 address pins, which count bits, that counts words of ``width`` bits."""
    return pins[_WIDTHS.index(width):]


def _byte_enables(pins: Sequence[Signal], width: int) -> list[Signal]:
    """Return the enable of each bit: words of more than a byte have their byte enables at the lowest address pins."""
    return [pins[bit // 9] if width > 9 else TRUE for bit in range(width)]


def _reset(view: CellView, port: str, parameter: str, global_reset: bool) -> tuple[Signal, bool]:
    """Return the reset of an output and whether it is asynchronous; the global reset always is."""
    reset = view.input(port, default=FALSE)
    asynchronous = view.choice(parameter, "SYNC", ("SYNC", "ASYNC")) == "ASYNC"
    if global_reset and view.global_reset != FALSE:
        if reset not in (FALSE, TRUE) and not asynchronous:
            raise view.error(f"Parameter GSR must be DISABLED where pin {port} resets synchronously", "ENABLED")
        return view.or_(reset, view.global_reset), True
    return reset, asynchronous


def _chip_selected(view: CellView, pins: Sequence[Signal], parameter: str, default: str) -> None:
    """Refuse a block that is not always selected."""
    code = view.choice(parameter, default, [f"{prefix}{value:03b}" for prefix in ("", "0b") for value in range(8)])
    if list(pins) != [TRUE if bit == "1" else FALSE for bit in reversed(code[-3:])]:
        raise view.error(f"Pins {parameter[-1]} of the chip select must be the constants of {parameter}", repr(code))


def _ecp5_port(view: CellView, side: str, width: int, data: Sequence[Signal], reads: bool, writes: bool) -> BlockPort:
    pins = _scalar_bus(view, f"AD{side}", 14)
    write = view.input(f"WE{side}", default=FALSE) if writes else FALSE
    reset, asynchronous = _reset(view, f"RST{side}", "RESETMODE",
                                 view.choice("GSR", "ENABLED", ("ENABLED", "DISABLED", "AUTO")) != "DISABLED")
    if not asynchronous:
        write = view.and_(write, view.not_(reset))       # a synchronous reset of the output blocks the write
    return BlockPort(
        clock=view.input(f"CLK{side}"), rising=view.choice(f"CLK{side}MUX", f"CLK{side}",
                                                           (f"CLK{side}", "INV")) != "INV",
        address=_address(pins, width), layout=byte_layout(width, _ROW, parity=True),
        enable=view.input(f"CE{side}", default=FALSE), reads=reads, writing=write,
        write=[view.and_(write, enable) for enable in _byte_enables(pins, width)], data=data,
        own=_OWN[view.choice(f"WRITEMODE_{side}", "NORMAL", _OWN)], reset=reset, reset_asynchronous=asynchronous)


def _expand_dp16kd(view: CellView) -> None:
    """Expand the true dual port; a width of 36 joins the data pins of both sides: A then writes, B then reads."""
    widths = {}
    for side in "AB":
        widths[side] = view.integer(f"DATA_WIDTH_{side}", 18, 32)
        if widths[side] not in _WIDTHS:
            raise view.error(f"Parameter DATA_WIDTH_{side} must be one of 1, 2, 4, 9, 18, 36", widths[side])
        view.choice(f"REGMODE_{side}", "NOREG", ("NOREG",))
        _chip_selected(view, _scalar_bus(view, f"CS{side}", 3), f"CSDECODE_{side}", "0b000")
    data = {side: _scalar_bus(view, f"DI{side}", 18) for side in "AB"}
    wide_a, wide_b = widths["A"] == _ROW, widths["B"] == _ROW
    if wide_b and view.input("WEB", default=FALSE) != FALSE:
        raise view.error("Pin WEB must be 0 where DATA_WIDTH_B is 36, a port that only reads", "connected")
    a = _ecp5_port(view, "A", widths["A"], [*data["A"], *data["B"]] if wide_a else data["A"][:widths["A"]],
                   reads=not wide_a and not wide_b, writes=True)
    b = _ecp5_port(view, "B", widths["B"], [FALSE] * _ROW if wide_b else data["B"][:widths["B"]],
                   reads=True, writes=not wide_b)
    out_a, out_b = block_ram(view, _block_contents(view, 20, 18), (a, b))
    if wide_b:
        out_a, out_b = out_b[:18], out_b[18:]
    for side, word in (("A", out_a), ("B", out_b)):
        for index in range(18):
            if index < len(word):
                view.output(f"DO{side}{index}", word[index])
            else:
                view.unsupported_output(f"DO{side}{index}")


def _block_contents(view: CellView, group: int, used: int) -> Contents:
    """Return the rows; of each ``group`` bits of the parameters, the lower ``used`` count."""
    return initial_words(view, _INITIAL, 320).reshape(-1, group)[:, :used].reshape(-1, _ROW)


_DP16KD_SETTINGS = tuple(f"{name}_{side}" for name in ("DATA_WIDTH", "REGMODE", "CSDECODE", "WRITEMODE")
                         for side in "AB")
_DP16KD = CellModel(
    {**{f"{name}{side}{index}": 1 for side in "AB"
        for name, width in (("AD", 14), ("DI", 18), ("DO", 18), ("CS", 3)) for index in range(width)},
     **{f"{name}{side}": 1 for side in "AB" for name in ("CLK", "WE", "CE", "OCE", "RST")}},
    _expand_dp16kd, (*_DP16KD_SETTINGS, "RESETMODE", "GSR", "CLKAMUX", "CLKBMUX", *_INITIAL),
    # The release of an asynchronous reset is a matter of timing; OCE is of the output register, which is refused.
    ignored=("ASYNC_RESET_RELEASE", "INIT_DATA"))


def _nexus_width(view: CellView, parameter: str, default: str, allowed: Collection[int]) -> int:
    return int(view.choice(parameter, default, [f"X{width}" for width in allowed])[1:])


def _refuse_output_registers(view: CellView, *parameters: str) -> None:
    for parameter in parameters:
        view.choice(parameter, "BYPASSED", ("BYPASSED",))


def _nexus_global_reset(view: CellView) -> bool:
    return view.choice("GSR", "ENABLED", ("ENABLED", "DISABLED")) == "ENABLED"


def _expand_dp16k(view: CellView) -> None:
    _refuse_output_registers(view, "OUTREG_A", "OUTREG_B")
    ports = []
    for side in "AB":
        width = _nexus_width(view, f"DATA_WIDTH_{side}", "X18", _WIDTHS[:-1])
        _chip_selected(view, view.bus(f"CS{side}", 3), f"CSDECODE_{side}", "000")
        pins, write = view.bus(f"AD{side}", 14), view.input(f"WE{side}")
        reset, asynchronous = _reset(view, f"RST{side}", f"RESETMODE_{side}", _nexus_global_reset(view))
        ports.append(BlockPort(
            clock=view.input(f"CLK{side}"), address=_address(pins, width), enable=view.input(f"CE{side}"),
            layout=byte_layout(width, _ROW, parity=True), writing=write, own=DuringWrite.HOLD,
            write=[view.and_(write, enable) for enable in _byte_enables(pins, width)],
            data=view.bus(f"DI{side}", width), reset=reset, reset_asynchronous=asynchronous, reset_gated=True))
    for side, word in zip("AB", block_ram(view, _block_contents(view, 10, 9), ports), strict=True):
        view.output(f"DO{side}", padded(view, word, 18))


def _pseudo_dual_port(write_clock: str, read_clock: str, others: DuringWrite) -> CellModel:
    """Return PDP16K (two clocks) or PDPSC16K (one): one port writes, the other reads."""
    def expand(view: CellView) -> None:
        _refuse_output_registers(view, "OUTREG")
        view.choice("ECC", "DISABLED", ("DISABLED",))
        widths = {side: _nexus_width(view, f"DATA_WIDTH_{side}", "X36", _WIDTHS) for side in "WR"}
        for side in "WR":
            _chip_selected(view, view.bus(f"CS{side}", 3), f"CSDECODE_{side}", "000")
        pins, width = view.bus("ADW", 14), widths["W"]
        write = BlockPort(
            clock=view.input(write_clock), address=_address(pins, width), enable=view.input("CEW"), reads=False,
            layout=byte_layout(width, _ROW, parity=True), write=_byte_enables(pins, width), data=view.bus("DI", width),
            others=others)
        reset, asynchronous = _reset(view, "RST", "RESETMODE", _nexus_global_reset(view))
        read = BlockPort(
            clock=view.input(read_clock), address=_address(view.bus("ADR", 14), widths["R"]), enable=view.input("CER"),
            layout=byte_layout(widths["R"], _ROW, parity=True), reset=reset, reset_asynchronous=asynchronous,
            reset_gated=True)
        _, word = block_ram(view, _block_contents(view, 10, 9), (write, read))
        view.output("DO", padded(view, word, _ROW))

    ports = {"ADW": 14, "ADR": 14, "DI": 36, "DO": 36, "CSW": 3, "CSR": 3,
             **dict.fromkeys((write_clock, read_clock, "CEW", "CER", "RST"), 1)}
    return CellModel(ports, expand, ("DATA_WIDTH_W", "DATA_WIDTH_R", "CSDECODE_W", "CSDECODE_R", "OUTREG", "ECC",
                                     "RESETMODE", "GSR", *_INITIAL), ignored=("ASYNC_RST_RELEASE",))


def _expand_lut_ram(view: CellView) -> None:
    enable = view.input("WRE")
    mode = view.choice("WREMUX", "WRE", ("WRE", "INV", "0", "1"))
    enable = {"0": FALSE, "1": TRUE}.get(mode, view.invert_if(mode == "INV", enable))
    write = write_all(view.input("WCK"), view.bus("WAD", 4), enable, view.bus("DI", 4),
                      rising=view.choice("WCKMUX", "WCK", ("WCK", "INV")) != "INV")
    [word] = view.memory(initial_words(view, ["INITVAL"], 64).reshape(16, 4), [write], [view.bus("RAD", 4)])
    view.output("DO", word)


_LUT_RAM_PORTS = {"DI": 4, "WAD": 4, "WRE": 1, "WCK": 1, "RAD": 4, "DO": 4}

ECP5_RAM_CELLS: Mapping[str, CellModel] = {
    "DP16KD": _DP16KD,
    "TRELLIS_DPR16X4": CellModel(_LUT_RAM_PORTS, _expand_lut_ram, ("INITVAL", "WCKMUX", "WREMUX")),
}
NEXUS_RAM_CELLS: Mapping[str, CellModel] = {
    "DP16K": CellModel(
        {f"{name}{side}": width for side in "AB" for name, width in (
            ("CLK", 1), ("WE", 1), ("CE", 1), ("RST", 1), ("CS", 3), ("DI", 18), ("DO", 18), ("AD", 14))},
        _expand_dp16k, (*(f"{name}_{side}" for side in "AB" for name in (
            "DATA_WIDTH", "OUTREG", "RESETMODE", "CSDECODE")), "GSR", *_INITIAL),
        ignored=("ASYNC_RST_RELEASE_A", "ASYNC_RST_RELEASE_B")),
    "PDP16K": _pseudo_dual_port("CLKW", "CLKR", DuringWrite.UNDEFINED),
    "PDPSC16K": _pseudo_dual_port("CLK", "CLK", DuringWrite.OLD),
    "DPR16X4": CellModel(_LUT_RAM_PORTS, _expand_lut_ram, ("INITVAL",)),
}
