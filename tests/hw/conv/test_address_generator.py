# amaranth: UnusedElaboratable=no
"""Addresses of square samples, for every position, bank, offset and shape of a small buffer."""

import numpy as np
import pytest

from hw.conv.address_generator import DeformableAddressGenerator
from sw.formats import parse
from sw.reference.line_buffer import DeformableLineBuffer
from tests.support import gates
from tests.support.clocked_gates import ClockedGates
from tests.support.gates import _pack

INT8 = parse("int8")


def planes(values, bits):
    return [_pack(values, position) for position in range(bits)]


@pytest.mark.parametrize(("height", "width", "groups", "reach", "rows"), [
    (4, 5, 2, 2, 6), (3, 7, 1, 3, 8), (2, 3, 3, 1, 5), (1, 4, 1, 0, 2)])
def test_banks_addresses_and_borders(tmp_path, height, width, groups, reach, rows):
    model = DeformableLineBuffer(element=INT8, lanes=1, height=height, width=width, channel_groups=groups,
                                 max_offset=reach)
    depth = width * groups
    component = DeformableAddressGenerator(model, rows=rows, depth=depth)
    grid = np.array([case for case in np.ndindex(height, width, groups, height, width, groups, rows, reach + 1)
                     if case[0] >= case[3] and case[1] >= case[4] and case[2] >= case[5]])
    last_y, last_x, last_group, y, x, group, bank, d = grid.T
    address = x * (last_group + 1) + group
    fields = [(last_y + 1, height.bit_length()), (last_x + 1, width.bit_length()),
              (last_group + 1, groups.bit_length()), (np.ones_like(y), 1)]
    bits = {"shape": [plane for values, size in fields for plane in planes(values, size)],
            "enable": planes(np.ones_like(y), 1)}
    for name, values, limit in (("y", y, height), ("x", x, width), ("bank", bank, rows), ("address", address, depth),
                                ("offset", d, reach + 1)):
        bits[name] = planes(values, (limit - 1).bit_length())
    circuit = ClockedGates(gates.build([component], tmp_path)[0], len(grid))
    circuit.settle(bits)
    circuit.clock()
    circuit.settle(bits)

    def output(name, limit):
        size = (limit - 1).bit_length()
        return (circuit.bits(name).reshape(len(grid), -1, size) @ (1 << np.arange(size)))

    row_inside, column_inside = circuit.bits("row_inside"), circuit.bits("column_inside")
    for place, sign in enumerate((-1, 0, 1)):
        row, column = y + sign * d, x + sign * d
        np.testing.assert_array_equal(row_inside[:, place], (row >= 0) & (row <= last_y))
        np.testing.assert_array_equal(column_inside[:, place], (column >= 0) & (column <= last_x))
        np.testing.assert_array_equal(output("banks", rows)[:, place], (bank + sign * d) % rows)
        there = column_inside[:, place]
        np.testing.assert_array_equal(output("addresses", depth)[there, place],
                                      (column * (last_group + 1) + group)[there])


def test_nothing_changes_without_enable(tmp_path):
    model = DeformableLineBuffer(element=INT8, lanes=1, height=4, width=4, max_offset=1)
    component = DeformableAddressGenerator(model, rows=4, depth=4)
    circuit = ClockedGates(gates.build([component], tmp_path)[0], 1)
    circuit.settle({"bank": planes(np.array([3]), 2)})
    circuit.clock()
    circuit.settle({})
    assert not circuit.bits("banks").any()
    assert component.latency == 1
