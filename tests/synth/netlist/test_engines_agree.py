# amaranth: UnusedElaboratable=no
"""Numpy, native code in every instruction set of this machine, and torch: the same results in every bit."""

import random
import zlib

import numpy as np
import pytest

from synth.flow import elaborate
from synth.netlist import compile_netlist, read_netlist
from synth.operations import OPERATIONS, find_operation
from tests.support import ptx
from tests.support.engines import LARGE, assert_engines_agree, every_engine
from tests.support.library import SMALLEST, label, operation, operations
from tests.support.random_netlists import random_netlist
from tests.support.sampling import sampled
from tests.synth.netlist.oracle import needs_yosys, run_yosys

GATES = "synth -top top -flatten -noabc"
"""Yosys' own gates as they fall out of the design, memories as flip-flops: the quickest recipe that there is."""

MEMORIES = "synth_ecp5 -top top -nodsp -noccu2 -nowidelut -run begin:map_ffs\nclean"
"""The same, but for memories, which become an FPGA's."""

LOOKUPS = GATES + "\nopt_dff\nclean\nabc -lut 3"
"""Tables of three inputs. Yosys' own ``synth -lut 3`` stumbles over a line buffer's register that is constant but for
its initial value."""


def program_of(kind, fields, folder, recipe):
    """Return an operator as a program; what the design leaves open is 0."""
    (folder / "design.il").write_text(elaborate(operation(kind, fields).component()).rtlil)
    run_yosys(folder, f"read_rtlil design.il\n{recipe}\nsetundef -zero\nselect top\nwrite_json -selected top.json\n")
    return compile_netlist(read_netlist(folder / "top.json"))


def generator(text):
    return np.random.default_rng(zlib.crc32(text.encode()))


@pytest.fixture
def interpreter(monkeypatch):
    """Generated GPU kernels are run by the interpreter."""
    ptx.install(monkeypatch)


def test_the_walk_has_every_operation():
    assert set(SMALLEST) == set(OPERATIONS), "an operation without a request here is run by no engine but numpy's"


@needs_yosys
@sampled("name", SMALLEST, 4)
def test_engines_agree_on_every_operation(name, tmp_path, interpreter):
    program = program_of(find_operation(name), SMALLEST[name], tmp_path, MEMORIES if name == "line_buffer" else GATES)
    assert bool(program.memories) == (name == "line_buffer")
    engines = every_engine(program, fused=True, quick=True)
    assert_engines_agree(engines, generator(name), cycles=10 if len(program.instructions) > 2 * LARGE else 20)


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize("recipe", [GATES, MEMORIES, "synth_ice40 -top top", LOOKUPS])
@pytest.mark.parametrize("case", operations(), ids=label)
def test_engines_agree_on_the_whole_library(case, recipe, tmp_path, interpreter):
    kind, fields = case
    program = program_of(kind, fields, tmp_path, recipe)
    # Large ones would keep the interpreter for minutes.
    size = len(program.instructions)
    engines = every_engine(program, fused=size < 5 * LARGE, quick=size > 10 * LARGE)
    assert_engines_agree(engines, generator(label(case)), words=150, cycles=60)


@sampled("seed", range(8), 4)
@pytest.mark.parametrize("clocked", [False, True])
def test_engines_agree_on_random_netlists(seed, clocked, interpreter):
    assert_random_agrees(seed, clocked, gates=50)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 200))
@pytest.mark.parametrize("clocked", [False, True])
def test_engines_agree_on_many_random_netlists(seed, clocked, interpreter):
    assert_random_agrees(seed, clocked, gates=random.Random(seed).choice([5, 40, 300, 1000]))


def assert_random_agrees(seed, clocked, *, gates):
    rng = random.Random(f"{seed} {clocked}")
    netlist = random_netlist(rng, gates=gates, flip_flops=rng.choice([3, 20]) if clocked else 0,
                             memories=rng.choice([0, 1, 3]) if clocked else 0)
    engines = every_engine(compile_netlist(read_netlist(netlist)), fused=True)
    assert_engines_agree(engines, generator(f"{seed} {clocked}"), words=rng.choice([1, 3, 9, 20]))
