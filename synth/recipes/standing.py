"""How the default recipes stand by the evidence: which recipe is worth the most, and what that is said by.

A recipe is worth its LUTs times its clock period, both over the default's. Where placements cannot be timed, its clock
is taken to be what it is on the families where they can: an assumption, which is said. The recipe that is worth the
most is the default, unless it takes too long: :data:`PATIENCE`.
"""

from hw.recorded import NOISE_PERCENT
from synth.recipes.evidence import geometric_mean, is_sound, recipes_digest
from synth.store import Json
from synth.targets import Target

PATIENCE = 2.0
"""How many times the default's synthesis time a recipe may take, over all operators, and still be the default."""


def clock_of(target: Target, name: str, evidence: Json) -> float | None:
    """Return a recipe's clock over the default's: a target's own, or the geometric mean over those where it is known.

    None if it was timed nowhere.
    """
    found = evidence["targets"]
    own: float | None = found[target.name]["recipes"][name]["clock"]
    if own is not None or _is_timed(target, evidence):
        return own
    return geometric_mean([clock for entry in found.values() if name in entry["recipes"]
                            if (clock := entry["recipes"][name]["clock"]) is not None])


def worth(target: Target, name: str, evidence: Json) -> float | None:
    """Return what a recipe's circuits cost over the default's: LUTs times clock period, or LUTs if it is timed nowhere.

    None if it breaks or cannot map an operator, if only the default has a clock, or if it takes more than
    :data:`PATIENCE`.
    """
    recipe, clock = evidence["targets"][target.name]["recipes"][name], clock_of(target, name, evidence)
    is_slow = recipe["seconds"] is not None and recipe["seconds"] > PATIENCE
    if not is_sound(recipe) or is_slow or (clock is None and _is_timed(target, evidence)):
        return None
    ratio: float = recipe["ratio"]
    return ratio if clock is None else ratio / clock


def _is_timed(target: Target, evidence: Json) -> bool:
    return evidence["targets"][target.name]["recipes"][target.recipe]["clock"] is not None


def winner(target: Target, evidence: Json) -> str:
    """Return the name of the recipe that is worth the most on a target, which is to be its default.

    Another one than the present default has to be worth more by what placements scatter, :data:`NOISE_PERCENT`.

    Parameters
    ----------
    target : Target
    evidence : Json
        That has the target.
    """
    names = evidence["targets"][target.name]["recipes"]
    costs = {name: cost for name in names if (cost := worth(target, name, evidence)) is not None}
    best = min(costs, key=lambda name: costs[name], default=target.recipe)
    return best if costs and costs[best] < 1 - NOISE_PERCENT / 100 else target.recipe


def standing(target: Target, evidence: Json) -> str:
    """Say in one line how a target's default recipe stands among the others over the library."""
    found = evidence["targets"].get(target.name)
    if found is None or found["recipes_sha256"] != recipes_digest(target):
        return f"{target.recipe}; its recipes have changed since they were compared: 'python -m synth tune --recipes'"
    recipes, best = found["recipes"], winner(target, evidence)
    count = recipes[target.recipe]["operators"]
    over = f"over {count} operator{'' if count == 1 else 's'} with Yosys {evidence['tools']['yosys']}"
    if best != target.recipe:
        return f"{target.recipe}; {best} takes {_said(target, best, evidence)} {over}"
    smallest = min((name for name in recipes if name == target.recipe or is_sound(recipes[name])),
                   key=lambda name: recipes[name]["ratio"])
    if smallest == target.recipe:
        return f"{target.recipe}, the one with the fewest LUTs {over}"
    return (f"{target.recipe}, the one with the least LUTs times clock period {over}; the smallest, {smallest}: "
            f"{_said(target, smallest, evidence)}")


def _said(target: Target, name: str, evidence: Json) -> str:
    """Say what a recipe is worth beside the default."""
    recipe, clock = evidence["targets"][target.name]["recipes"][name], clock_of(target, name, evidence)
    said = f"{recipe['ratio']:.3f} of its LUTs"
    if clock is not None:
        elsewhere = "" if _is_timed(target, evidence) else " (timed on other families)"
        said += f" at {clock:.3f} of its clock{elsewhere}"
    return said if recipe["seconds"] is None else f"{said}, {recipe['seconds']:.1f} times its synthesis time"
