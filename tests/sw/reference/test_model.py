"""Ports, and the checks of what comes in through them."""

import re

import numpy as np
import pytest

from sw.formats import parse
from sw.reference import Addition, Conversion, FusedMultiplyAdd, Multiplication
from sw.reference.model import Function, Port, Stream, check_inputs

E4M3 = parse("e4m3")


def test_a_port_of_a_format():
    port = Port.of(E4M3)
    assert (port.width, port.format, port.lanes, port.codes, port.bits) == (8, E4M3, None, 256, 8)
    lanes = Port.of(E4M3, 4)
    assert (lanes.width, lanes.codes, lanes.bits) == (8, 256, 32)
    assert Port(width=3, limit=5).codes == 5


def test_fitting_codes_pass():
    Port.of(E4M3).check("Codes", np.array([0, 255]))
    Port(width=100).check("Codes", np.array([0, (1 << 100) - 1], dtype=object))
    Port(width=3, lanes=2, limit=5).check("Codes", np.array([[0, 4]]))
    Port(width=3).check("Codes", np.array([], dtype=np.uint64))


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"width": 0}, ValueError, "Port width must be at least 1 bit, not 0"),
    ({"width": 1.5}, TypeError, "Port width must be an integer, not 1.5"),
    ({"lanes": 0}, ValueError, "Port lanes must be at least 1, not 0"),
    ({"lanes": True}, TypeError, "Port lanes must be an integer, not True"),
    ({"limit": 0}, ValueError, "Port limit must be between 1 and 256, not 0"),
    ({"limit": 257}, ValueError, "Port limit must be between 1 and 256, not 257"),
])
def test_wrong_ports_are_refused(fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Port(**{"width": 8, **fields})


@pytest.mark.parametrize(("port", "codes", "error", "message"), [
    (Port(width=8), np.array([1.0]), TypeError, "Codes must be an array of integers, not of float64"),
    (Port(width=8), np.array([0, 256]), ValueError, "Codes must be between 0 and 255, not 0 to 256"),
    (Port(width=8), np.array([-1, 3]), ValueError, "Codes must be between 0 and 255, not -1 to 3"),
    (Port(width=8, limit=10), np.array([10]), ValueError, "Codes must be between 0 and 9, not 10 to 10"),
    (Port(width=70), np.array([1 << 70], dtype=object), ValueError, f"not {1 << 70} to {1 << 70}"),
    (Port(width=8), np.array([[1]]), ValueError, "Codes must be of shape (1,), not (1, 1)"),
    (Port(width=8, lanes=2), np.array([[1, 2, 3]]), ValueError, "Codes must be of shape (1, 2), not (1, 3)"),
])
def test_codes_that_do_not_fit_are_refused(port, codes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        port.check("Codes", codes)


def test_inputs_are_one_array_for_every_port():
    ports = {"a": Port(width=8), "b": Port(width=2)}
    assert check_inputs(ports, {"b": np.array([3, 0, 1]), "a": np.array([1, 2, 3])}) == 3
    for inputs, message in (
            ({"a": np.array([1])}, "Inputs must be a, b, not a"), ({}, "Inputs must be a, b, not none"),
            ({"a": np.array([1]), "b": np.array([1]), "c": np.array([1])}, "Inputs must be a, b, not a, b, c"),
            ({"a": np.array([1]), "b": np.array([4])}, "Input b must be between 0 and 3, not 4 to 4"),
            ({"a": np.array([1]), "b": np.array([1, 2])},
             "Input b must have as many vectors as the others, 1, not 2")):
        with pytest.raises(ValueError, match=re.escape(message)):
            check_inputs(ports, inputs)


@pytest.mark.parametrize("model", [
    Addition(a=E4M3, b=E4M3, result=E4M3), Multiplication(a=E4M3, b=E4M3, result=E4M3),
    FusedMultiplyAdd(a=E4M3, b=E4M3, c=E4M3, result=E4M3), Conversion(a=E4M3, result=E4M3),
])
def test_functions_are_functions(model):
    assert isinstance(model, Function)
    assert not isinstance(model, Stream)
    assert model == type(model)(**dict.fromkeys((*model.inputs, "result"), E4M3))
    assert hash(model) == hash(type(model)(**dict.fromkeys((*model.inputs, "result"), E4M3)))
