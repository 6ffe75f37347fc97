"""Block RAMs without a simulation model in Yosys against bits in Python, and what they refuse."""

import copy
import random

import numpy as np
import pytest

from synth.netlist import Family, NetlistError, Simulation, compile_netlist, read_netlist
from tests.synth.netlist.block_ram_cases import Reference, all_blocks, ecp5_blocks, gowin_blocks, xilinx_blocks

LANES = 12
CYCLES = 30
BLOCKS = all_blocks(random.Random(36))


def identity(block):
    return "-".join([block.cell, *(f"{side}{port.width}{port.own}" for side, port in block.sides.items())])


def stimulus(rng, block, side, rows):
    port, count = block.sides[side], block.bytes_of(block.sides[side].width)
    words = len(block.initial) * 8 // port.width if port.width < 8 else len(block.initial) // count
    first = rng.choice(rows) * words // len(block.initial)
    mask = rng.getrandbits(count) if count > 1 or block.masks == "write" else 1
    has_pin = f"{side}_write" in block.pins
    write = int(mask != 0) if block.masks == "write" else int(rng.random() < 0.6) if has_pin else 1
    reset = int(f"{side}_reset" in block.pins and rng.random() < 0.1)
    return {"word": first, "enable": int(rng.random() < 0.8), "mask": mask, "write": write,
            "data": rng.getrandbits(port.width), "reset": reset}


@pytest.mark.parametrize("block", BLOCKS, ids=identity)
def test_block_ram_equals_bits(block):
    rng = random.Random(identity(block))
    program = compile_netlist(read_netlist(block.netlist()), block.family)
    simulation, offered = Simulation(program, LANES), {port.name for port in program.data_inputs}
    references = [Reference(block) for _ in range(LANES)]
    for cycle in range(CYCLES):
        rows = [rng.randrange(len(block.initial)) for _ in range(2)]
        given = [{side: stimulus(rng, block, side, rows) for side in block.sides} for _ in range(LANES)]
        codes = [{name: code for side in block.sides for name, code in block.encode(side, inputs[side], rng).items()}
                 for inputs in given]
        for name in codes[0]:
            if name in offered:
                values = [code[name] for code in codes]
                simulation.set(name, np.array(values, object if max(values) >> 63 else np.uint64))
        for side, port in block.sides.items():
            if port.reads:
                got = simulation.get(f"{side}_out")
                for lane, reference in enumerate(references):
                    reference.settle(given[lane])
                    assert int(got[lane]) == reference.shown[side], (
                        f"{identity(block)} cycle {cycle} lane {lane} {given[lane]} side {side}: "
                        f"got {int(got[lane]):#x}, want {reference.shown[side]:#x}")
        for lane, reference in enumerate(references):
            reference.clock(given[lane])
        simulation.step("clk")


REFUSALS = {
    "width": ("DP16KD", "DATA_WIDTH_A", format(7, "032b"), "DATA_WIDTH_A must be one of 1, 2, 4, 9, 18, 36, not 7"),
    "output register": ("DP16KD", "REGMODE_B", "OUTREG", "REGMODE_B must be one of NOREG, not 'OUTREG'"),
    "chip select": ("DP16KD", "CSDECODE_A", "0b000", "chip select must be the constants of CSDECODE_A, not '0b000'"),
    "pipeline": ("SP", "READ_MODE", "1", "READ_MODE must be 0: an output without a register, not 1"),
    "block select": ("SP", "BLK_SEL", "000", "Pins BLKSEL must be the constants of BLK_SEL, not 000"),
    "write mode": ("SP", "WRITE_MODE", "11", "WRITE_MODE must be 0 to 2, not 3"),
    "bit width": ("SP", "BIT_WIDTH", format(9, "032b"), "BIT_WIDTH must be one of 1, 2, 4, 8, 16, 32, not 9"),
    "register": ("RAMB18E1", "DOA_REG", "1", "DOA_REG must be 0: an output without a register, not 1"),
    "cascade": ("RAMB36E1", "RAM_EXTENSION_A", "LOWER", "RAM_EXTENSION_A must be one of NONE, not 'LOWER'"),
    "error correction": ("RAMB36E1", "EN_ECC_READ", "TRUE", "EN_ECC_READ must be one of FALSE, not 'TRUE'"),
    "read width": ("RAMB18E1", "READ_WIDTH_A", format(3, "032b"), "READ_WIDTH_A must be one of 0, 1, 2, 4, 9, 18, 36"),
    "two widths": ("RAMB18E1", "WRITE_WIDTH_A", format(9, "032b"), "WRITE_WIDTH_A must be 0 or READ_WIDTH_A, not 9"),
    "simple dual port": ("RAMB18E1", "RAM_MODE", "SDP", "must be those of a port that reads in a simple dual port"),
    "reset value": ("RAMB18E1", "SRVAL_A", format(1 << 18, "036b"), "SRVAL_A must have at most 18 bits"),
    "unknown": ("DP16KD", "SPEED", "1", "SPEED must be unset for the netlist engine"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_unsupported_configuration_is_refused(name):
    cell, parameter, value, message = REFUSALS[name]
    block = copy.deepcopy(next(block for block in BLOCKS if block.cell == cell))
    block.parameters[parameter] = value
    with pytest.raises(NetlistError, match=message):
        compile_netlist(read_netlist(block.netlist()), block.family)


def test_pins_that_must_be_constant_are_named():
    block = next(block for block in ecp5_blocks(random.Random(1)) if block.sides["B"].width == 36)
    block.constants["WEB"] = [2]
    with pytest.raises(NetlistError, match="Pin WEB must be 0 where DATA_WIDTH_B is 36"):
        compile_netlist(read_netlist(block.netlist()), Family.ECP5)
    block = next(block for block in gowin_blocks(random.Random(1)) if block.cell == "SP")
    block.constants["BLKSEL"] = ["0", "1", 2]
    with pytest.raises(NetlistError, match="Pins BLKSEL must be the constants of BLK_SEL"):
        compile_netlist(read_netlist(block.netlist()), Family.GOWIN)
    block = next(block for block in xilinx_blocks(random.Random(1)) if block.cell == "RAMB36E2")
    block.constants["SLEEP"] = ["1"]
    with pytest.raises(NetlistError, match="Pin SLEEP must be 0, not 1"):
        compile_netlist(read_netlist(block.netlist()), Family.XILINX)


def test_global_reset_clears_an_output():
    """The output register of a block with GSR enabled is cleared while the design's global reset is active."""
    block = next(block for block in ecp5_blocks(random.Random(1)) if block.sides["A"].width == 9)
    block.parameters |= {"GSR": "ENABLED", "RESETMODE": "ASYNC"}
    document = block.netlist()
    module = document["modules"]["top"]
    module["ports"]["gsr"] = {"direction": "input", "bits": [999]}
    module["cells"]["g"] = {"type": "GSR", "parameters": {}, "connections": {"GSR": [999]}}
    simulation = Simulation(compile_netlist(read_netlist(document), Family.ECP5))
    simulation.set("gsr", 1)
    simulation.set("A_enable", 1)
    simulation.set("A_address", 5 << 3)
    simulation.step("clk")
    assert simulation.get("A_out")[0] == block.initial[5]
    simulation.set("gsr", 0)
    assert simulation.get("A_out")[0] == 0
    block.parameters["RESETMODE"] = "SYNC"
    document["modules"]["top"]["cells"]["u"]["parameters"] = block.parameters
    with pytest.raises(NetlistError, match="GSR must be DISABLED where pin RSTA resets synchronously, not ENABLED"):
        compile_netlist(read_netlist(document), Family.ECP5)
