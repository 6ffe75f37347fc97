import dataclasses

import pytest

from synth.native.mac_interface import MacInterface
from synth.native.operator import operator
from synth.netlist.program import PortRegisters
from tests.support.macs import MACS, mac, mac_program


@pytest.mark.parametrize("name", MACS)
def test_programs_of_every_kind_are_taken(name):
    interface = MacInterface.of(mac(name))
    interface.check_program(mac_program(name))
    assert interface.is_stream == mac(name).is_stream
    assert interface.result == mac(name).model.outputs["o"]


def test_fields_stand_side_by_side_in_their_order():
    interface = MacInterface.of(mac("mac-wraps"))
    assert list(interface.fields) == ["a", "b", "c", "first", "last"]
    assert [interface.place(name) for name in interface.fields] == [
        slice(0, 6), slice(6, 11), slice(11, 19), slice(19, 20), slice(20, 21)]


@pytest.mark.parametrize(("name", "zero", "start"), [
    ("mac-int8", 0, None), ("mac-float", 0, 0), ("fma-posit", 0, 0), ("emac-preload", 0, 0), ("emac-exact", 0, None)])
def test_sums_start_from_the_positive_zero(name, zero, start):
    interface = MacInterface.of(mac(name))
    assert (interface.zero, interface.start) == (zero, start)


def test_maximum_terms_are_those_of_the_register():
    assert MacInterface.of(mac("emac-e3m2")).maximum_terms == 40
    assert MacInterface.of(mac("mac-int8")).maximum_terms == 32
    assert MacInterface.of(mac("mac-wraps")).maximum_terms is None
    assert MacInterface.of(mac("fma-posit")).maximum_terms is None


@pytest.mark.parametrize(("options", "message"), [
    ({"op": "multiply", "fmt": "e4m3"}, "Operation must sum products of a pair a and b, as mac, emac, chunked_mac and "
                                        "fma do, not multiply with a, b"),
    ({"op": "convert", "fmt": "e4m3", "out_fmt": "e3m2"}, "Operation must sum products .*, not convert with a"),
    ({"op": "systolic", "fmt": "int4", "size": 2, "terms": 16, "out_fmt": "int8"},
     "Operation must take one pair a transfer, not 2 codes of a side by side"),
    ({"op": "emac", "fmt": "int4", "lanes": 3}, "Operation must take one pair a transfer, not 3 codes of a side by "
                                                "side"),
    ({"op": "chunked_mac", "fmt": "e3m2", "accumulator": "e4m5", "rounding": "stochastic"},
     "Operation must make its random bits itself for a matrix product, not take random, random_total with each pair"),
    ({"op": "fma", "fmt": "e3m2", "fmt_c": "e4m3", "out_fmt": "e3m2"},
     "Result must have the format of the summand c, float8_e4m3fn, which it is for the next pair, not float6_e3m2fn"),
    ({"op": "fma", "fmt": "e3m2", "pipeline": 2},
     "Pipeline must be 0 for a function whose result is the next summand, not 2"),
])
def test_operation_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        MacInterface.of(operator(**options))


def test_program_of_another_operation_wrong():
    interface = MacInterface.of(mac("mac-int8"))
    with pytest.raises(ValueError, match=r"Inputs of the program must be those of the operation, clk\[1\], "
                                         r"i__payload\[18\], i__valid\[1\], o__ready\[1\], rst\[1\], not clk\[1\], "
                                         r"i__payload\[14\]"):
        interface.check_program(mac_program("emac-e3m2"))
    program = mac_program("mac-int8")
    outputs = tuple(PortRegisters(port.name, port.registers[:5]) for port in program.outputs)
    with pytest.raises(ValueError, match=r"Outputs of the program must be .*o__payload\[16\].*, not .*o__payload\[5\]"):
        interface.check_program(dataclasses.replace(program, outputs=outputs))


def test_program_without_its_clock_wrong():
    with pytest.raises(ValueError, match="Clock of the program must be clk, not none"):
        MacInterface.of(mac("mac-int8")).check_program(dataclasses.replace(mac_program("mac-int8"), state=()))
    clocked = mac_program("mac-int8").state
    with pytest.raises(ValueError, match="Clock of the program must be none, not clk"):
        MacInterface.of(mac("fma-posit")).check_program(dataclasses.replace(mac_program("fma-posit"), state=clocked))


def test_place_of_an_unknown_field_wrong():
    with pytest.raises(KeyError, match="c"):
        MacInterface.of(mac("mac-int8")).place("c")
