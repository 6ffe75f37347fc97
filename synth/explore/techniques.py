"""The techniques of post-training quantization by name, each a recipe of :mod:`sw.ptq`."""

from collections.abc import Sequence
from typing import Any

from synth.explore.space import find_name

TECHNIQUES: dict[str, str] = {
    "plain": "calibration alone",
    "equalized": "weights equalized across layers",
    "smoothquant": "activation ranges smoothed into the weights",
    "gptq": "weights rounded one by one, each making up for those before (GPTQ)",
    "gpfq": "weights rounded greedily along the path of the data (GPFQ)",
    "bias-corrected": "biases corrected by the mean error of each channel",
    "learned-rounding": "each weight rounded up or down as learned (AdaRound); slow",
    "paper": "equalized, smoothed, GPTQ, bias-corrected: the defaults of the minifloat paper's benchmark",
}
"""Name and what it does; batch norm is merged in all of them."""

ALL = "all"
"""What ``--technique`` says for every one of them but the slow ones."""

SLOW = ("learned-rounding",)


def chosen_techniques(names: Sequence[str]) -> tuple[str, ...]:
    """Return the techniques that were asked for, each once; ``plain`` and ``paper`` if none was.

    Raises
    ------
    UsageError
        If there is none of a name; the nearest is named.
    """
    found = [part for name in names for part in name.split(",")] or ["plain", "paper"]
    techniques: list[str] = []
    for name in found:
        if name.strip().lower() == ALL:
            techniques += [technique for technique in TECHNIQUES if technique not in SLOW]
        else:
            techniques.append(find_name("Technique", name, TECHNIQUES))
    return tuple(dict.fromkeys(techniques))


def recipe_of(technique: str) -> Any:
    """Return the :class:`sw.ptq.recipe.Recipe` of a technique."""
    from sw.ptq.equalize import Equalization
    from sw.ptq.gpfq import GPFQ
    from sw.ptq.gptq import GPTQ
    from sw.ptq.learned_rounding import LearnedRounding
    from sw.ptq.recipe import Recipe
    from sw.ptq.smoothquant import SmoothQuant

    recipes = {
        "plain": Recipe,
        "equalized": lambda: Recipe(equalize=Equalization()),
        "smoothquant": lambda: Recipe(smooth=SmoothQuant()),
        "gptq": lambda: Recipe(weights=GPTQ()),
        "gpfq": lambda: Recipe(weights=GPFQ()),
        "bias-corrected": lambda: Recipe(bias_correction=True),
        "learned-rounding": lambda: Recipe(learned_rounding=LearnedRounding()),
        "paper": Recipe.paper,
    }
    return recipes[technique]()
