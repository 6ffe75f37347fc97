import json
import math

import pytest

from synth.console import Console


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_has_not_are_null(capsys, value):
    Console(as_json=True).json({"rows": [{"a": value, "b": (1.5, value)}], "c": "inf"})

    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "rows": [{"a": None, "b": [1.5, None]}], "c": "inf"}
