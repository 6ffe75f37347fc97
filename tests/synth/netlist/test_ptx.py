"""The text of GPU kernels: run by an interpreter, and assembled by NVIDIA's own assembler where torch brings it."""

import itertools
import random
import subprocess

import numpy as np
import pytest
import torch

from synth.netlist import compile_netlist, read_netlist
from synth.netlist.logic import Basis, Logic, Lookup, pieces_of
from synth.netlist.program import ONE, ZERO
from synth.netlist.ptx import THREADS, CodePorts, code_kernel, module, plane_kernel
from tests.support.ptx import load_kernels
from tests.support.random_netlists import random_netlist


def assembler():
    """Return NVIDIA's assembler, which comes with triton, or None."""
    triton = pytest.importorskip("triton", reason="triton, whose wheel has ptxas, is not installed")
    from pathlib import Path

    found = list(Path(triton.__file__).parent.glob("backends/nvidia/bin/ptxas*"))
    return found or pytest.skip("triton's wheel has no ptxas")


def some_logic(seed, gates):
    rng = random.Random(seed)
    program = compile_netlist(read_netlist(random_netlist(rng, gates=gates)))
    wanted = [register for port in program.outputs for register in port.registers]
    logic, = pieces_of(program, wanted, Basis.TERNARY)
    return program, logic


def run_planes(logic, planes):
    """Return the planes of what a logic wants from those of its sources."""
    registers = list(dict.fromkeys([ZERO, ONE, *logic.sources, *logic.wanted]))
    rows = {register: row for row, register in enumerate(registers)}
    table = torch.zeros((len(rows), planes.shape[1] // 2), dtype=torch.int64)
    words = table.numpy().view(np.uint32)
    words[ONE] = 0xFFFFFFFF
    words[2:2 + len(planes)] = planes
    kernel, = load_kernels(module([plane_kernel("planes", logic, rows)]), ["planes"], "cpu")
    kernel(-(-planes.shape[1] // THREADS), [table, planes.shape[1]])
    return words[[rows[register] for register in logic.wanted]]


def evaluated(logic, planes):
    """Return the same by the definition of a look-up, one operand's bit after the other."""
    values = {ZERO: np.zeros_like(planes[0]), ONE: ~np.zeros_like(planes[0]),
              **dict(zip(logic.sources, planes, strict=True))}
    for lookup in logic.lookups:
        result = np.zeros_like(planes[0])
        for bits in itertools.product((0, 1), repeat=len(lookup.operands)):
            if lookup.table >> sum(bit << place for place, bit in enumerate(bits)) & 1:
                term = ~np.zeros_like(planes[0])
                for bit, operand in zip(bits, lookup.operands, strict=True):
                    term &= values[operand] if bit else ~values[operand]
                result |= term
        values[lookup.target] = result
    return np.stack([values[register] for register in logic.wanted])


def test_every_look_up_of_up_to_three_operands():
    """All tables at once, on all combinations of the operands."""
    lookups = [Lookup(0b01, 5, (2,))]
    lookups += [Lookup(table, 10 + table, (2, 3)) for table in range(16)]
    lookups += [Lookup(table, 30 + table, (2, 3, 4)) for table in range(256)]
    logic = Logic((2, 3, 4), (ZERO, ONE, 2, *(lookup.target for lookup in lookups), 5), tuple(lookups))
    planes = np.tile(np.array([[0xAAAAAAAA], [0xCCCCCCCC], [0xF0F0F0F0]], np.uint32), (1, 2))
    assert (run_planes(logic, planes) == evaluated(logic, planes)).all()


@pytest.mark.parametrize("words", [2, THREADS, 2 * THREADS + 6])
def test_planes_of_random_logic(words):
    for seed in range(8):
        _, logic = some_logic(seed, 80)
        planes = np.random.default_rng(seed).integers(0, 1 << 32, (len(logic.sources), words), dtype=np.uint32)
        assert (run_planes(logic, planes) == evaluated(logic, planes)).all()


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_codes_keep_their_order(bits):
    """A kernel that hands on its codes: the transposition is its own inverse, for ports of every width."""
    inputs = [tuple(range(2, 2 + bits)), tuple(range(100, 100 + bits // 2 + 1))]
    ports = CodePorts.of(inputs, inputs[::-1])
    assert (ports.bits, ports.codes_per_block) == (bits, 32 * THREADS)
    registers = tuple(itertools.chain(*inputs))
    kernel, = load_kernels(module([code_kernel("codes", Logic(registers, registers, ()), ports)]), ["codes"], "cpu")
    dtype = {8: torch.uint8, 16: torch.int16, 32: torch.int32}[bits]
    codes = [torch.from_numpy(np.random.default_rng(seed).integers(-1 << 63, 1 << 63, 2 * ports.codes_per_block)).to(
        dtype) for seed in (1, 2)]
    narrow, whole = (torch.empty_like(codes[0]) for _ in range(2))
    kernel(2, [*codes, narrow, whole])
    assert torch.equal(whole, codes[0])
    assert torch.equal(narrow, codes[1] & (2 << bits // 2) - 1)


def test_ports_are_stored_as_narrowly_as_the_widest_allows():
    assert [CodePorts.of([(2,) * width], [(3,)]).bits for width in (0, 8, 9, 16, 17, 32)] == [8, 8, 16, 16, 32, 32]


def test_the_text_is_the_same_each_time():
    texts = set()
    for _ in range(2):
        program, logic = some_logic(3, 50)
        rows = {register: register for register in range(program.register_count)}
        texts.add(module([plane_kernel("planes", logic, rows)]))
    assert len(texts) == 1


@pytest.mark.parametrize("seed", range(3))
def test_ptxas_assembles_the_text(seed, tmp_path):
    """For the oldest GPU that each assembler knows of today's list, and for the newest."""
    program, logic = some_logic(seed, 60)
    registers = list(dict.fromkeys([ZERO, ONE, *logic.sources, *logic.wanted]))
    kernels = [plane_kernel("planes", logic, {register: row for row, register in enumerate(registers)})]
    if all(port.width <= 32 for port in (*program.inputs, *program.outputs)):
        kernels.append(code_kernel("codes", logic, CodePorts.of([port.registers for port in program.inputs],
                                                                [port.registers for port in program.outputs])))
    (tmp_path / "module.ptx").write_text(module(kernels))
    for tool, gpu in itertools.product(assembler(), ("sm_75", "sm_90")):
        done = subprocess.run([tool, f"-arch={gpu}", "module.ptx", "-o", "module.cubin"], cwd=tmp_path, timeout=120,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "module.cubin").stat().st_size
