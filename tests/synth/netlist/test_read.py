import json

import pytest

from synth.netlist import Direction, NetlistError, Parameter, compile_netlist, read_netlist
from tests.synth.netlist.builders import design, lut4

INVERTER = design({"a": ("input", [2]), "y": ("output", [3])}, {"u": lut4(0b01, [2], 3)}, net_names={2: "a", 3: "y"})


def test_reads_path_text_and_mapping(tmp_path):
    path = tmp_path / "inverter ü.json"
    path.write_text(json.dumps(INVERTER), encoding="utf-8")
    netlists = [read_netlist(source) for source in (path, str(path), json.dumps(INVERTER), INVERTER)]
    assert all(netlist == netlists[0] for netlist in netlists)
    [a, y] = netlists[0].ports
    assert (a.name, a.direction, a.bits) == ("a", Direction.INPUT, (2,))
    assert (y.name, y.direction, y.bits) == ("y", Direction.OUTPUT, (3,))
    assert netlists[0].cells[0].connections == {"I0": (2,), "O": (3,)}


@pytest.mark.parametrize(("written", "parameter"), [
    ("0101", Parameter(bits="0101")), ("0x", Parameter(bits="0x")), (5, Parameter(bits=format(5, "032b"))),
    (-1, Parameter(bits="1" * 32)), ("CE", Parameter(text="CE")),
    # write_json marks a string that reads as bits by one more blank.
    ("1 ", Parameter(text="1")), ("0x0000 ", Parameter(text="0x0000")), ("0x96AA", Parameter(text="0x96AA")),
    (" ", Parameter(text="")), ("CE ", Parameter(text="CE ")),
])
def test_parameter_is_bits_or_text(written, parameter):
    document = design({}, {"u": ("SB_LUT4", {"LUT_INIT": written}, {})})
    assert read_netlist(document).cells[0].parameters == {"LUT_INIT": parameter}


def test_net_names_prefer_the_designs_own():
    document = design({}, {})
    document["modules"]["top"]["netnames"] = {
        "$1": {"hide_name": 1, "bits": [2]}, "sum": {"hide_name": 0, "bits": [2, 3]},
        "long_name": {"hide_name": 0, "bits": [4, 3]}}
    netlist = read_netlist(document)
    assert [netlist.net_name(bit) for bit in (2, 3, 4, 5, "x")] == [
        "sum[0]", "sum[1]", "long_name[0]", "#5", "constant x"]


def test_top_is_the_marked_module_or_the_named_one():
    document = {"modules": {**design({}, {}, name="first")["modules"], **design({}, {}, name="second")["modules"]}}
    assert read_netlist(document, top="second").name == "second"
    document["modules"]["second"]["attributes"] = {}
    assert read_netlist(document).name == "first"


def test_library_modules_are_not_tops():
    document = design({}, {})
    document["modules"]["top"]["attributes"] = {}
    for attribute in ("blackbox", "whitebox"):
        document["modules"][attribute] = {"attributes": {attribute: "00000000000000000000000000000001"}}
    assert read_netlist(document).name == "top"


def test_top_wrong():
    document = {"modules": {**design({}, {}, name="first")["modules"], **design({}, {}, name="second")["modules"]}}
    with pytest.raises(NetlistError, match=r"exactly one top module, not \['first', 'second'\]; name it with `top`"):
        read_netlist(document)
    with pytest.raises(NetlistError, match=r"Top module must be one of \['first', 'second'\], not 'third'"):
        read_netlist(document, top="third")


@pytest.mark.parametrize(("text", "message"), [
    ("{nonsense", r"Netlist must be JSON, not 'text'"),
    ("{}", r"Netlist must have an object 'modules'"),
    ('{"modules": {"top": 3}}', r"Netlist must have an object 'modules'"),
    ('{"modules": {"top": {"cells": {"u": {"connections": {}}}}}}', r"Module 'top' must be written by .*write_json"),
])
def test_text_wrong(text, message):
    with pytest.raises(NetlistError, match=message):
        read_netlist(text)


def test_file_wrong(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[]")
    with pytest.raises(NetlistError, match="Netlist must be a JSON object, not list"):
        read_netlist(path)
    with pytest.raises(TypeError, match="Netlist source must be a path, JSON text or a mapping, not 3"):
        read_netlist(3)
    with pytest.raises(FileNotFoundError):
        read_netlist(tmp_path / "absent.json")


def test_direction_wrong():
    with pytest.raises(NetlistError, match="Direction of port 'a' must be input, output or inout, not 'sideways'"):
        read_netlist(design({"a": ("sideways", [2])}, {}))


def test_bit_wrong():
    with pytest.raises(NetlistError, match="Bits of port 'a' must be net numbers or one of 0, 1, x, z, not 'q'"):
        read_netlist(design({"a": ("input", ["q"])}, {}))
    with pytest.raises(NetlistError, match="Bits of port I0 of cell 'u' must be net numbers .* not True"):
        read_netlist(design({}, {"u": lut4(1, [True], 3)}))


def test_hierarchy_wrong():
    document = design({}, {"u": ("inner", {}, {})})
    document["modules"]["inner"] = {"attributes": {}}
    with pytest.raises(NetlistError, match="Design must be flattened, not hold cell 'u' of module 'inner'; run `flat"):
        read_netlist(document)


def test_scope_information_is_no_cell():
    document = design({"a": ("input", [2])}, {"scope": ("$scopeinfo", {"TYPE": "module"}, {})})
    assert read_netlist(document).cells == ()
    assert compile_netlist(read_netlist(document)).outputs == ()
