"""The recipe runs the techniques it names, in the paper's order, and nothing else."""

import pytest
import torch
from torch import nn

from sw.formats import parse
from sw.ptq.config import ActivationConfig, Config, WeightConfig
from sw.ptq.equalize import Equalization
from sw.ptq.gpfq import GPFQ
from sw.ptq.gptq import GPTQ
from sw.ptq.learned_rounding import LearnedRounding
from sw.ptq.quantize import floating, quantize_
from sw.ptq.recipe import Recipe
from sw.ptq.smoothquant import SmoothQuant

CONFIG = Config(weight=WeightConfig(format=parse("int3")), activation=ActivationConfig(format=parse("int8")))


def data(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


BATCHES = [data(16, 2, 6, 6, seed=seed) for seed in range(2)]


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(),
                              nn.Flatten(), nn.Linear(32, 5))
        for _ in range(5):
            model(data(32, 2, 6, 6))
        return model.eval()


STEPS = {"merge_batch_norm.merge_batch_norm_": "merge", "equalize.equalize_": "equalize",
         "smoothquant.smooth_": "smooth", "gptq.gptq_": "gptq", "gpfq.gpfq_": "gpfq",
         "learned_rounding.learn_rounding_": "learn", "bias_correction.correct_bias_": "bias"}
SHORT = LearnedRounding(iterations=5)


@pytest.mark.parametrize(("recipe", "want"), [
    (Recipe.plain(), []),
    (Recipe(), ["merge"]),
    (Recipe.paper(), ["merge", "equalize", "smooth", "gptq", "bias"]),
    (Recipe(weights=GPFQ(), learned_rounding=SHORT, bias_correction=True), ["merge", "gpfq", "learn", "bias"]),
    (Recipe(merge_batch_norm=False, smooth=SmoothQuant(), weights=GPTQ()), ["smooth", "gptq"]),
])
def test_techniques_run_in_the_order_of_the_paper(recipe, want, monkeypatch):
    ran = []
    for path, step in STEPS.items():
        module, name = path.split(".")
        target = f"sw.ptq.{module}.{name}"
        original = getattr(__import__(f"sw.ptq.{module}", fromlist=[name]), name)

        def spy(*arguments, step=step, original=original, **keywords):
            ran.append(step)
            if step in ("gpfq", "learn", "bias"):  # they measure errors against the weights from before rounding
                kept = keywords["reference"].get_submodule("6")
                assert kept is not arguments[0].get_submodule("6")
                assert not torch.equal(kept.weight, kept.quantized_weight())
            return original(*arguments, **keywords)

        monkeypatch.setattr(target, spy)
    quantize_(network(), CONFIG, batches=BATCHES, recipe=recipe)
    assert ran == want


def output_error(recipe):
    model, test = network(), data(64, 2, 6, 6, seed=9)
    with torch.no_grad():
        want = model(test)
        quantize_(model, CONFIG, batches=BATCHES, recipe=recipe)
        return ((model(test) - want).square().mean() / want.square().mean()).item()


def test_the_papers_recipe_is_better_than_none():
    paper, plain = output_error(Recipe.paper()), output_error(Recipe.plain())
    assert paper < 0.9 * plain, (paper, plain)


def test_merging_and_equalizing_change_no_output():
    model, test = network(), data(8, 2, 6, 6, seed=9)
    with torch.no_grad():
        want = model(test)
        quantize_(model, CONFIG, batches=BATCHES, recipe=Recipe(equalize=Equalization(), smooth=SmoothQuant()))
        with floating(model):
            torch.testing.assert_close(model(test), want, rtol=1e-4, atol=1e-4)


def test_only_layers_that_are_quantized_are_smoothed():
    model = network()
    recipe = Recipe(smooth=SmoothQuant(folded=False))
    quantize_(model, CONFIG, lambda _, name: name == "6", batches=BATCHES, recipe=recipe)
    assert [key for key in model.state_dict() if "smoothing" in key] == ["6.smoothing"]


def test_a_model_without_normalizations_is_not_traced():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else self.layer(-x)

    model = quantize_(Branch(), CONFIG, batches=[data(4, 3)])
    assert model(data(4, 3)).shape == (4, 2)


@pytest.mark.parametrize("recipe", [
    Recipe(weights=GPTQ()), Recipe(weights=GPFQ()), Recipe(smooth=SmoothQuant()), Recipe(learned_rounding=SHORT),
    Recipe(bias_correction=True)])
def test_techniques_that_look_at_activations_need_batches(recipe):
    assert recipe.needs_batches
    config, model = Config(weight=WeightConfig(format=parse("int4"))), network()
    with pytest.raises(ValueError, match="Batches must be given for SmoothQuant, GPTQ, GPFQ, learned rounding and bias "
                                         "correction, not None"):
        quantize_(model, config, recipe=recipe)
    assert not any(type(module).__name__.startswith("Quantized") for module in model.modules())


@pytest.mark.parametrize(("arguments", "message"), [
    ({"merge_batch_norm": None}, "Batch-norm merging switch must be True or False, not None"),
    ({"bias_correction": 1}, "Bias-correction switch must be True or False, not 1"),
    ({"equalize": True}, "Recipe equalize must be an Equalization or None, not True"),
    ({"smooth": GPTQ()}, "Recipe smooth must be a SmoothQuant or None, not GPTQ"),
    ({"weights": "gptq"}, "Recipe weights must be a GPTQ, a GPFQ or None, not 'gptq'"),
    ({"learned_rounding": 3}, "Recipe learned_rounding must be a LearnedRounding or None, not 3"),
])
def test_wrong_recipes_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        Recipe(**arguments)


def test_recipes_need_no_batches_for_weights_to_the_nearest():
    assert not Recipe(equalize=Equalization()).needs_batches


def test_learned_rounding_starts_from_the_float_weights_whatever_came_before():
    results = []
    for weights in (None, GPTQ()):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model, x = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)), torch.randn(40, 8)
        quantize_(model, Config(weight=WeightConfig(format=parse("int4"))), batches=[x],
                  recipe=Recipe(weights=weights, learned_rounding=LearnedRounding(iterations=50)))
        results.append(model.state_dict())
    assert all(torch.equal(value, results[1][key]) for key, value in results[0].items())
