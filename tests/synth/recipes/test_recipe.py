"""A recipe's script: the family's steps in their order, with what is put in between or in place of some."""

from synth.recipes.recipe import Recipe, Step, script

FRAME = ("read_rtlil design.il", "clean", "check -assert", "write_json mapped.json")


def lines(*steps, flag="-nodsp", own=()):
    """Return a script's lines between those that all have."""
    text = script(Recipe(name="one", synth="synth_one -x", reason="a test", steps=own), flag=flag, steps=steps)
    assert text.endswith("\n")
    found = text.splitlines()
    assert (found[0], *found[-3:]) == FRAME
    return found[1:-3]


def test_without_steps_the_family_s_command_is_all():
    assert lines() == ["synth_one -x -nodsp -top top"]
    assert lines(flag="") == ["synth_one -x -top top"]


def test_a_step_runs_before_the_one_it_names():
    assert lines(own=(Step("map_ffs", "abc"),)) == [
        "synth_one -x -nodsp -top top -run begin:map_ffs", "abc", "synth_one -x -nodsp -top top -run map_ffs:"]


def test_settings_are_made_before_anything_runs():
    assert lines(own=(Step("begin", "scratchpad -set a b"),)) == [
        "scratchpad -set a b", "synth_one -x -nodsp -top top -run begin:"]


def test_steps_follow_each_other_as_synthesis_does():
    found = lines(Step("map_luts", "names"), Step("coarse", "mend"),
                  own=(Step("map_luts", "luts", "map_cells"), Step("begin", "set")))
    assert found == ["set", "synth_one -x -nodsp -top top -run begin:coarse", "mend",
                     "synth_one -x -nodsp -top top -run coarse:map_luts", "names", "luts",
                     "synth_one -x -nodsp -top top -run map_cells:"]
