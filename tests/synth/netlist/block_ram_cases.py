"""Block RAMs that have no simulation model in Yosys, one instance with its pins as ports, and what they must do.

The reference is plain Python on single bits, written from the vendors' guides that ``cells`` cites: bytes of eight or
nine bits, words of one bit to all bytes of a row, and what a port shows while another writes.
"""

import itertools
from dataclasses import dataclass, field

from synth.netlist import Family
from tests.synth.netlist.builders import design

OWN = ("hold", "new", "old")
NARROW = (1, 2, 4)
_SHIFT = {1: 0, 2: 1, 4: 2, 8: 3, 9: 3, 16: 4, 18: 4, 32: 5, 36: 5, 72: 6}


@dataclass
class Side:
    """One port. ``own``: what it shows of its own writes. ``seen``: whether others see the old word meanwhile."""

    width: int
    reads: bool = True
    writes: bool = True
    own: str = "old"
    seen: bool = False


@dataclass
class Block:
    """An instance: the netlist's parts, and the rules of its family.

    ``masks`` says where byte enables are: "address" (the lowest address pins) or "write" (the write enables).
    """

    cell: str
    family: Family
    byte: int
    sides: dict
    initial: list
    parameters: dict
    pins: dict
    constants: dict
    address_pins: int
    masks: str = "address"
    reset_gated: bool = False
    reset_asynchronous: bool = False
    reset_blocks_write: bool = False
    reset_values: dict = field(default_factory=dict)

    def netlist(self):
        """Return the JSON netlist; ``pins`` maps a port's name to its direction and the (pin, index) of its bits."""
        numbers = itertools.count(3)
        ports, connections = {"clk": ("input", [2])}, {}
        for name, (direction, places) in self.pins.items():
            bits = [next(numbers) for _ in places]
            if not name.startswith("unused"):
                ports[name] = (direction, bits)
            for bit, (pin, index) in zip(bits, places, strict=True):
                connections.setdefault(pin, {})[index] = bit
        connections = {pin: [bits[index] for index in range(len(bits))] for pin, bits in connections.items()}
        return design(ports, {"u": (self.cell, self.parameters, {**connections, **self.constants})})

    def bytes_of(self, width):
        return max(width // self.byte, 1)

    def encode(self, side, inputs, rng):
        """Return the codes of a side's ports; pins that a width leaves without a meaning are random."""
        port = self.sides[side]
        shift = _SHIFT[port.width]
        low = rng.getrandbits(shift)
        count = self.bytes_of(port.width)
        if self.masks == "address" and count > 1:
            low = inputs["mask"] | low >> count << count
        codes = {f"{side}_address": (inputs["word"] << shift | low) & (1 << self.address_pins) - 1,
                 f"{side}_enable": inputs["enable"]}
        if f"{side}_write" in self.pins:
            codes[f"{side}_write"] = inputs["mask"] if self.masks == "write" else inputs["write"]
        if f"{side}_data" in self.pins:
            codes[f"{side}_data"] = inputs["data"]
        if f"{side}_reset" in self.pins:
            codes[f"{side}_reset"] = inputs["reset"]
        return codes


class Reference:
    """One block in one lane."""

    def __init__(self, block):
        self._block = block
        self._bytes = list(block.initial)
        self.shown = dict.fromkeys(block.sides, 0)

    def places(self, width, word):
        """Return the byte and the bit in it of each bit of a word."""
        if width in NARROW:
            return [((word * width + k) // 8, (word * width + k) % 8) for k in range(width)]
        first = word * (width // self._block.byte)
        return [(first + k // self._block.byte, k % self._block.byte) for k in range(width)]

    def settle(self, inputs):
        """Let asynchronous resets act."""
        if self._block.reset_asynchronous:
            for side in self._block.sides:
                if inputs[side]["reset"]:
                    self.shown[side] = 0

    def clock(self, inputs):
        block, written = self._block, {}
        for side, port in block.sides.items():
            given, written[side] = inputs[side], {}
            blocked = block.reset_blocks_write and given["reset"] and not block.reset_asynchronous
            if port.writes and given["enable"] and given["write"] and not blocked:
                for k, place in enumerate(self.places(port.width, given["word"])):
                    if given["mask"] >> k // block.byte & 1:
                        written[side][place] = given["data"] >> k & 1
        following = {}
        for side, port in block.sides.items():
            if port.reads:
                following[side] = self._output(side, port, inputs[side], written)
        self.shown.update(following)
        for bits in written.values():
            for (byte, bit), value in bits.items():
                self._bytes[byte] = self._bytes[byte] & ~(1 << bit) | value << bit

    def _output(self, side, port, given, written):
        block = self._block
        if given["reset"] and (given["enable"] or not block.reset_gated or block.reset_asynchronous):
            return block.reset_values.get(side, 0)
        writing = given["write"] and not (block.reset_blocks_write and given["reset"])
        if not given["enable"] or (port.writes and port.own == "hold" and writing):
            return self.shown[side]
        value = 0
        for k, place in enumerate(self.places(port.width, given["word"])):
            bit = self._bytes[place[0]] >> place[1] & 1
            for other, bits in written.items():
                if other != side and place in bits and not block.sides[other].seen:
                    bit ^= 1                             # undefined: shown as the complement
            if port.own == "new":
                bit = written[side].get(place, bit)
            value |= bit << k
        return value


def _bus(pin, width):
    return [(pin, index) for index in range(width)]


def _scalars(pin, width):
    return [(f"{pin}{index}", 0) for index in range(width)]


def _parameter_words(prefix, bits, size):
    """Return parameters of ``size`` bits each that hold a string of bits, first bit first."""
    return {f"{prefix}{index:02X}": bits[start:start + size][::-1]
            for index, start in enumerate(range(0, len(bits), size))}


def _stream(initial, used, group):
    """Return the bits of bytes, lowest first, each in ``group`` bits of which the lower ``used`` hold it."""
    return "".join(format(byte, f"0{used}b")[::-1].ljust(group, "0") for byte in initial)


def _initial(rng, count, bits):
    return [rng.getrandbits(bits) for _ in range(count)]


def ecp5_blocks(rng):
    modes = {"hold": "NORMAL", "new": "WRITETHROUGH", "old": "READBEFOREWRITE"}
    for a, b, own in ((1, 1, "hold"), (9, 9, "new"), (18, 4, "old"), (2, 18, "new"), (36, 36, "old"), (36, 9, "old"),
                      (18, 36, "hold")):
        initial, reset = _initial(rng, 2048, 9), rng.choice(("SYNC", "ASYNC"))
        rows = "".join(_stream(initial[k:k + 2], 9, 9) + "00" for k in range(0, 2048, 2))
        sides = {"A": Side(a, reads=36 not in (a, b), own=own), "B": Side(b, writes=b != 36, own=own)}
        pins = {}
        for side, port in sides.items():
            wide = port.width == 36
            pins |= {f"{side}_address": ("input", _scalars(f"AD{side}", 14)), f"{side}_enable": ("input", [
                (f"CE{side}", 0)]), f"{side}_reset": ("input", [(f"RST{side}", 0)])}
            if port.writes:
                pins[f"{side}_write"] = "input", [(f"WE{side}", 0)]
                if not wide:
                    pins[f"{side}_data"] = "input", _scalars(f"DI{side}", port.width)
            if port.reads:
                pins[f"{side}_out"] = "output", (
                    _scalars("DOA", 18) + _scalars("DOB", 18) if wide else _scalars(f"DO{side}", port.width))
        if a == 36:
            pins["A_data"] = "input", _scalars("DIA", 18) + _scalars("DIB", 18)
            if b != 36:
                sides["B"].writes = False                # its data pins are taken
                del pins["B_write"], pins["B_data"]
        constants = {f"CS{side}{index}": "10"[index > 0] for side in "AB" for index in range(3)}
        yield Block("DP16KD", Family.ECP5, 9, sides, initial, {
            **_parameter_words("INITVAL_", rows, 320), "DATA_WIDTH_A": format(a, "032b"),
            "DATA_WIDTH_B": format(b, "032b"), "WRITEMODE_A": modes[own], "WRITEMODE_B": modes[own],
            "CSDECODE_A": "0b001", "CSDECODE_B": "0b001", "RESETMODE": reset, "GSR": "DISABLED"},
            pins, {**constants, "CLKA": [2], "CLKB": [2], "OCEA": ["1"], "OCEB": ["1"],
                   **({"WEB": ["0"]} if not sides["B"].writes else {})}, 14,
            reset_blocks_write=True, reset_asynchronous=reset == "ASYNC")


def nexus_blocks(rng):
    for cell, a, b in (("DP16K", 18, 2), ("DP16K", 9, 9), ("PDPSC16K", 36, 36), ("PDPSC16K", 18, 4),
                       ("PDP16K", 1, 36), ("PDP16K", 9, 18)):
        initial, reset = _initial(rng, 2048, 9), rng.choice(("SYNC", "ASYNC"))
        memory = _parameter_words("INITVAL_", _stream(initial, 9, 10), 320)
        memory = {name: f"0x{int(bits, 2):080x}" for name, bits in memory.items()}
        if cell == "DP16K":
            names, sides = {"A": "A", "B": "B"}, {"A": Side(a, own="hold"), "B": Side(b, own="hold")}
            modes = {f"{name}_{side}": value for side, width in (("A", a), ("B", b)) for name, value in (
                ("DATA_WIDTH", f"X{width}"), ("RESETMODE", reset), ("CSDECODE", "010 "))}
            clocks = {"CLKA": [2], "CLKB": [2]}
        else:
            names = {"A": "W", "B": "R"}
            sides = {"A": Side(a, reads=False, seen=cell == "PDPSC16K"), "B": Side(b, writes=False)}
            modes = {"DATA_WIDTH_W": f"X{a}", "DATA_WIDTH_R": f"X{b}", "RESETMODE": reset, "CSDECODE_W": "010 ",
                     "CSDECODE_R": "010 "}
            clocks = {"CLK": [2]} if cell == "PDPSC16K" else {"CLKW": [2], "CLKR": [2]}
        pins = {}
        for side, port in sides.items():
            name = names[side]
            pins |= {f"{side}_address": ("input", _bus(f"AD{name}", 14)),
                     f"{side}_enable": ("input", [(f"CE{name}", 0)])}
            if port.reads:
                pins |= {f"{side}_reset": ("input", [(f"RST{side}" if cell == "DP16K" else "RST", 0)]),
                         f"{side}_out": ("output", _bus(f"DO{side}" if cell == "DP16K" else "DO", port.width))}
            if port.writes:
                pins[f"{side}_data"] = "input", _bus(f"DI{side}" if cell == "DP16K" else "DI", port.width)
                if cell == "DP16K":
                    pins[f"{side}_write"] = "input", [(f"WE{side}", 0)]
        _widen(pins, {"DIA": 18, "DIB": 18, "DOA": 18, "DOB": 18, "DI": 36, "DO": 36})
        yield Block(cell, Family.NEXUS, 9, sides, initial, {**memory, **modes, "GSR": "DISABLED"}, pins,
                    {**clocks, **{f"CS{name}": ["0", "1", "0"] for name in names.values()}}, 14, reset_gated=True,
                    reset_asynchronous=reset == "ASYNC")


def gowin_blocks(rng):
    cases = (("SP", 8, 32, 0), ("SP", 8, 4, 2), ("SPX9", 9, 18, 1), ("SPX9", 9, 9, 0), ("SDPB", 8, 32, 8),
             ("SDPB", 8, 2, 16), ("SDPX9B", 9, 36, 36), ("SDPX9B", 9, 9, 18), ("DPB", 8, 16, 1), ("DPB", 8, 8, 8),
             ("DPX9B", 9, 18, 9), ("DPX9B", 9, 18, 18))
    for cell, byte, a, b in cases:
        initial, reset, row = _initial(rng, 2048, byte), rng.choice(("SYNC", "ASYNC")), 4 * byte
        parameters = {**_parameter_words("INIT_RAM_", _stream(initial, byte, byte), 32 * byte), "RESET_MODE": reset}
        if cell in ("SP", "SPX9"):
            sides = {"A": Side(a, own=OWN[b])}
            parameters |= {"BIT_WIDTH": format(a, "032b"), "WRITE_MODE": format(b, "02b"), "BLK_SEL": "110"}
            names, size = {"A": ""}, row
        else:
            simple = cell.startswith("SDP")
            modes = [rng.randrange(3), rng.randrange(3)]
            sides = {"A": Side(a, reads=not simple, own=OWN[modes[0]]),
                     "B": Side(b, writes=not simple, own=OWN[modes[1]])}
            parameters |= {"BIT_WIDTH_0": format(a, "032b"), "BIT_WIDTH_1": format(b, "032b"), "BLK_SEL_0": "110",
                           "BLK_SEL_1": "110"}
            if not simple:
                parameters |= {f"WRITE_MODE{index}": format(mode, "02b") for index, mode in enumerate(modes)}
            names, size = {"A": "A", "B": "B"}, row if simple else row // 2
        shared = cell.startswith("S")                    # one data input and one output
        pins = {}
        for side, port in sides.items():
            name = names[side]
            pins |= {f"{side}_address": ("input", _bus(f"AD{name}", 14)),
                     f"{side}_enable": ("input", [(f"CE{name}", 0)])}
            if port.reads:
                pins |= {f"{side}_out": ("output", _bus("DO" if shared else f"DO{name}", port.width)),
                         f"{side}_reset": ("input", [(f"RESET{name}", 0)])}
            if port.writes:
                pins[f"{side}_data"] = "input", _bus("DI" if shared else f"DI{name}", port.width)
                if not cell.startswith("SDP"):
                    pins[f"{side}_write"] = "input", [(f"WRE{name}", 0)]
        _widen(pins, dict.fromkeys(("DI", "DO", "DIA", "DIB", "DOA", "DOB"), size))
        constants = {f"{pin}{name}": value for name in names.values() for pin, value in (
            ("CLK", [2]), ("BLKSEL", ["0", "1", "1"]))}
        yield Block(cell, Family.GOWIN, byte, sides, initial, parameters, pins, constants, 14,
                    reset_asynchronous=reset == "ASYNC")


def xilinx_blocks(rng):
    modes = {"hold": "NO_CHANGE", "new": "WRITE_FIRST", "old": "READ_FIRST"}
    cases = (("RAMB18E1", 18, 18, "hold"), ("RAMB18E1", 36, 36, "old"), ("RAMB18E2", 9, 2, "new"),
             ("RAMB18E2", 36, 36, "hold"), ("RAMB36E1", 36, 9, "old"), ("RAMB36E1", 72, 72, "new"),
             ("RAMB36E1", 1, 4, "hold"), ("RAMB36E2", 36, 36, "new"), ("RAMB36E2", 72, 72, "old"),
             ("RAMB18E2", 18, 36, "old"))
    for cell, a, b, own in cases:
        half, ultrascale = (18 if "18" in cell else 36), cell.endswith("E2")
        simple = 2 * half in (a, b)
        initial = _initial(rng, 2048 * half // 18, 9)
        # In a simple dual port A reads and B writes.
        sides = {"A": Side(a, writes=not simple, own=own, seen=own == "old"),
                 "B": Side(b, reads=not simple, own=own, seen=own == "old")}
        parameters = {
            **_parameter_words("INIT_", "".join(format(x & 255, "08b")[::-1] for x in initial), 256),
            **_parameter_words("INITP_", "".join(str(x >> 8) for x in initial), 256),
            "DOA_REG": "0" * 32, "DOB_REG": "0" * 32, "WRITE_MODE_A": modes[own], "WRITE_MODE_B": modes[own]}
        for side, port in sides.items():
            parameters |= {f"READ_WIDTH_{side}": format(port.width if port.reads else 0, "032b"),
                           f"WRITE_WIDTH_{side}": format(port.width if port.writes else 0, "032b")}
        if not ultrascale and simple:
            parameters["RAM_MODE"] = "SDP"
        names = (("DIN{0}DIN", "DINP{0}DINP", "DOUT{0}DOUT", "DOUTP{0}DOUTP") if ultrascale
                 else ("DI{0}DI", "DIP{0}DIP", "DO{0}DO", "DOP{0}DOP"))
        clocks, enables = {"A": "CLKARDCLK", "B": "CLKBWRCLK"}, {"A": "ENARDEN", "B": "ENBWREN"}
        resets, addresses = {"A": "RSTRAMARSTRAM", "B": "RSTRAMB"}, {"A": "ADDRARDADDR", "B": "ADDRBWRADDR"}
        address_pins = 14 if half == 18 else 15 if ultrascale else 16

        def word(data, parity, side, width, half=half):
            """Return the pins of a word's bits: bytes of eight data pins and a parity pin."""
            letters = "AB" if width == 2 * half else side
            places = [place for letter in letters for byte in range(half // 9) for place in (
                *((data.format(letter), 8 * byte + k) for k in range(8)), (parity.format(letter), byte))]
            return places[:width]

        pins = {}
        for side, port in sides.items():
            pins |= {f"{side}_address": ("input", _bus(addresses[side], address_pins)),
                     f"{side}_enable": ("input", [(enables[side], 0)])}
            if port.reads:
                pins |= {f"{side}_out": ("output", word(names[2], names[3], side, port.width)),
                         f"{side}_reset": ("input", [(resets[side], 0)])}
            if port.writes:
                pins |= {f"{side}_data": ("input", word(names[0], names[1], side, port.width)),
                         f"{side}_write": ("input", _bus("WEA" if side == "A" else "WEBWE", max(port.width // 9, 1)))}
        sizes = {name.format(side): half // 9 * (1 if "P" in name else 8) for name in names for side in "AB"}
        _widen(pins, {**sizes, "WEA": half // 9, "WEBWE": 2 * half // 9})
        # Bits 5 and 0 of the word after a reset, in whichever word has them.
        parameters |= {"SRVAL_A": format(0x21, "036b"), "SRVAL_B": "0" * 36}
        value = 0x21 & (1 << a) - 1
        yield Block(cell, Family.XILINX, 9, sides, initial, parameters, pins, {
            name: [2] for name in clocks.values()}, address_pins, masks="write", reset_gated=True,
            reset_values={"A": value})


def _widen(pins, sizes):
    """Give buses that are used in part the rest of their bits: inputs are ports, outputs lead nowhere."""
    for name, (direction, places) in list(pins.items()):
        for pin in dict.fromkeys(pin for pin, _ in places):
            used = {index for _, (_, others) in pins.items() for other, index in others if other == pin}
            missing = sorted(set(range(sizes.get(pin, 0))) - used)
            if missing:
                kind = "spare" if direction == "input" else "unused"
                pins[f"{kind}_{name}_{pin}"] = direction, [(pin, index) for index in missing]


def all_blocks(rng):
    return [*ecp5_blocks(rng), *nexus_blocks(rng), *gowin_blocks(rng), *xilinx_blocks(rng)]
