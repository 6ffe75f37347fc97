# amaranth: UnusedElaboratable=no
"""Parameters loaded word by word and read row by row, in Amaranth's simulator."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from hw.conv.parameter_memory import ParameterMemory
from hw.conv.row_memory import RowMemory
from sw.formats import parse
from sw.reference.model import Port

WORD = Port.of(parse("int8"), 3)
SCALING = (("scale", Port.of(parse("uint16"), 2)), ("bias", Port.of(parse("int16"), 2)))
SHAPES = [(1, SCALING), (4, SCALING), (3, (("weights", Port.of(parse("int4"), 5)),)), (1, (("flag", Port(width=1)),))]


def packed(words):
    return [sum(int(code) << 8 * lane for lane, code in enumerate(word)) for word in words]


def simulate(component, bench):
    """Run a bench, which is given a function that loads words and one that makes a reset."""
    m = Module()
    m.domains.sync = sync = ClockDomain()
    m.submodules.component = component

    async def with_load(ctx):
        async def reset():
            ctx.set(sync.rst, 1)
            await ctx.tick()
            ctx.set(sync.rst, 0)
            await ctx.tick()

        async def load(words):
            for number, word in enumerate(words):
                ctx.set(component.word, word)
                ctx.set(component.write, 1)
                assert ctx.get(component.last) == (number == component.model.words - 1)
                await ctx.tick()
            ctx.set(component.write, 0)
            await ctx.tick()

        await bench(ctx, load, reset)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(with_load)
    simulator.run()


def random_rows(model, seed):
    rng = np.random.default_rng(seed)
    fields = {name: rng.integers(0, port.codes, (model.rows,) if port.lanes is None else (model.rows, port.lanes),
                                 dtype=np.uint64) for name, port in model.fields}
    rows = [{name: codes[index].tolist() for name, codes in fields.items()} for index in range(model.rows)]
    return packed(model.pack(fields)), rows


def shown(ctx, component):
    row = ctx.get(component.row)
    return {name: row[name] if port.lanes is None else list(row[name]) for name, port in component.model.fields}


@pytest.mark.parametrize(("rows", "fields"), SHAPES)
def test_rows_come_again_and_again_as_they_were_loaded(rows, fields):
    component = ParameterMemory(rows=rows, fields=fields, word=WORD)
    rng = np.random.default_rng(rows)

    async def bench(ctx, load, reset):
        await ctx.tick()
        assert not any(np.any(codes) for codes in shown(ctx, component).values()), "zero at power-up"
        for seed in range(3):
            words, want = random_rows(component.model, seed)
            await load(words)
            place = 0
            for _ in range(4 * rows + 3):
                assert shown(ctx, component) == want[place % rows]
                take = int(rng.random() < 0.7)
                ctx.set(component.take, take)
                place += take
                await ctx.tick()
            while place % rows:  # so that the next round begins at the first row
                ctx.set(component.take, 1)
                place += 1
                await ctx.tick()
            ctx.set(component.take, 0)

    simulate(component, bench)


def test_what_is_not_loaded_stays():
    component = ParameterMemory(rows=4, fields=SCALING, word=WORD)

    async def bench(ctx, load, reset):
        before, old = random_rows(component.model, 1)
        after, new = random_rows(component.model, 2)
        await load(before)
        await load(after[:component.model.row_words])  # the first row alone
        for want in (new[0], *old[1:], new[0]):
            assert shown(ctx, component) == want
            ctx.set(component.take, 1)
            await ctx.tick()

    simulate(component, bench)


def test_a_reset_begins_with_the_first_word_and_keeps_the_rows():
    component = ParameterMemory(rows=4, fields=SCALING, word=WORD)

    async def bench(ctx, load, reset):
        words, old = random_rows(component.model, 1)
        more, new = random_rows(component.model, 2)
        await load(words)
        await load(more[:component.model.row_words + 1])  # the first row, and a word of the second one
        for _ in range(3):
            ctx.set(component.take, 1)
            await ctx.tick()
        ctx.set(component.take, 0)
        await reset()
        assert shown(ctx, component) == new[0]
        await load(words[:component.model.row_words])
        assert shown(ctx, component) == old[0]

    simulate(component, bench)


def test_elaborating_twice_gives_the_same():
    component = ParameterMemory(rows=4, fields=SCALING, word=WORD)
    text = rtlil.convert(component, emit_src=False)
    assert text == rtlil.convert(component, emit_src=False)
    assert text.count("no_rw_check") == component.model.row_words


def test_a_memory_reads_nothing_while_it_is_written():
    component = RowMemory(depth=4, width=8)

    async def bench(ctx):
        ctx.set(component.write, 1)
        for address in range(4):
            ctx.set(component.write_address, address)
            ctx.set(component.write_word, 16 + address)
            await ctx.tick()
        ctx.set(component.write, 0)
        ctx.set(component.read, 1)
        for address in (2, 0, 3):
            ctx.set(component.read_address, address)
            await ctx.tick()
            assert ctx.get(component.word) == 16 + address
        for read, write in ((0, 0), (1, 1), (0, 1)):  # the word stays
            ctx.set(component.read, read)
            ctx.set(component.write, write)
            ctx.set(component.read_address, 1)
            ctx.set(component.write_address, 3)
            ctx.set(component.write_word, 99)
            await ctx.tick()
            assert ctx.get(component.word) == 19
        ctx.set(component.write, 0)
        ctx.set(component.read, 1)
        ctx.set(component.read_address, 3)
        await ctx.tick()
        assert ctx.get(component.word) == 99

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"rows": 0}, ValueError, "Row count must be between 1 and 65536, not 0"),
    ({"fields": ()}, ValueError, "Fields must be at least one, not none"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        ParameterMemory(**{"rows": 2, "fields": SCALING, "word": WORD, **parameters})
