"""The recipes of the families: named, reasoned, different, and the default the one that was measured with."""

import pytest

from synth.cost.table import load_table
from synth.errors import UsageError
from synth.targets import TARGETS

ALL = [(target, recipe) for target in TARGETS.values() for recipe in target.recipes.values()]


def test_recipes_are_known_by_their_names():
    for target in TARGETS.values():
        assert [recipe.name for recipe in target.recipes.values()] == list(target.recipes)
        assert target.recipe == next(iter(target.recipes))
        assert target.find_recipe(None) is target.recipes[target.recipe]
        assert target.find_recipe("abc") is target.recipes["abc"]


@pytest.mark.parametrize(("target", "recipe"), ALL, ids=lambda value: value.name)
def test_every_recipe_says_why_and_is_for_its_family(target, recipe):
    command = {"xc7": "synth_xilinx -family xc7 ", "xcup": "synth_xilinx -family xcup "}.get(
        target.name, f"synth_{target.name}")
    assert recipe.synth.startswith(command)
    assert len(recipe.reason) > 10
    assert f"\n{recipe.synth}" in target.script(dsp=False, recipe=recipe.name)


def test_recipes_of_a_family_differ():
    for target in TARGETS.values():
        for dsp in (False, True):
            scripts = [target.script(dsp=dsp, recipe=name) for name in target.recipes]
            assert len(set(scripts)) == len(scripts)


def test_what_ships_was_measured_with_the_default_recipes():
    for name, ways in load_table().tools.items():
        scripts = {TARGETS[name].script(dsp=dsp, hide_names=hidden) for dsp in (False, True)
                   for hidden in (False, True)}
        assert {way.recipe for way in ways} <= scripts, name


def test_a_recipe_of_another_family_is_refused():
    with pytest.raises(UsageError, match="^Recipe must be one of abc9, .*, abc9-widelut for gowin, not 'abc9-carry'$"):
        TARGETS["gowin"].find_recipe("abc9-carry")
    with pytest.raises(UsageError, match="^Recipe must be one of abc9, abc9-area, .* for ice40, not 'abc7'$"):
        TARGETS["ice40"].script(dsp=False, recipe="abc7")
