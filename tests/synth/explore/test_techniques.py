"""Techniques have names, and each name its recipe."""

import pytest

from synth.errors import UsageError
from synth.explore.techniques import SLOW, TECHNIQUES, chosen_techniques, recipe_of


def test_names_are_read_each_once():
    assert chosen_techniques([]) == ("plain", "paper")
    assert chosen_techniques(["GPTQ", "plain,gptq"]) == ("gptq", "plain")
    assert chosen_techniques(["all"]) == tuple(name for name in TECHNIQUES if name not in SLOW)
    assert chosen_techniques(["learned-rounding", "all"])[0] == "learned-rounding"


@pytest.mark.parametrize(("name", "near"), [("gtpq", "gptq"), ("smooth", "smoothquant"), ("bias", "bias-corrected")])
def test_an_unknown_technique_is_refused_with_the_nearest(name, near):
    with pytest.raises(UsageError, match=f"Technique must be one of plain, .*, not '{name}'; did you mean {near}?"):
        chosen_techniques([name])


def test_each_technique_has_a_recipe_of_its_own():
    pytest.importorskip("torch", reason="torch is not installed")
    recipes = [recipe_of(name) for name in TECHNIQUES]
    assert len({repr(recipe) for recipe in recipes}) == len(TECHNIQUES)
    assert all(recipe.merge_batch_norm for recipe in recipes)
    assert recipe_of("gptq").weights is not None
    assert recipe_of("gptq").equalize is None
    assert recipe_of("bias-corrected").bias_correction
