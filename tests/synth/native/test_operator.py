# amaranth: UnusedElaboratable=no
"""Operations from a few names."""

import pytest

from synth.errors import UsageError
from synth.native.operator import operator
from synth.operations import Request, find_operation


def test_it_is_what_the_command_line_makes():
    request = Request(op="chunked_mac", fmt="e4m3", accumulator="float16_e6m9", chunk=4)
    wanted = request.operation(find_operation("chunked_mac"))
    got = operator("chunked_mac", fmt="e4m3", accumulator="float16_e6m9", chunk=4)
    assert (got.model, got.folder_name()) == (wanted.model, wanted.folder_name())


def test_what_means_nothing_is_refused():
    with pytest.raises(UsageError, match="Operation must be one of multiply, .* not 'times'"):
        operator("times", fmt="e4m3")
    with pytest.raises(UsageError, match="Option --chunk must be left out for multiply"):
        operator("multiply", fmt="e4m3", chunk=3)
    with pytest.raises(TypeError, match="colour"):
        operator("multiply", fmt="e4m3", colour="red")
