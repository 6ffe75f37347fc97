"""How the small networks are trained, and where the trained ones are kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from sw.cache import cache_folder, digest_of
from sw.formats.check import check_integer
from sw.nn import networks
from sw.ptq.checks import Progress
from sw.train.checkpoint import load_state, save_state
from sw.train.datasets import digits
from sw.train.samples import Samples


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """AdamW with one cycle of the learning rate, on images that are turned, moved and scaled a little.

    Parameters
    ----------
    network : callable
        Makes the untrained network.
    epochs : int
        How often each image is seen.
    learning_rate : float
        The cycle's greatest.
    batch_size : int
        Images a step.
    weight_decay : float
        AdamW's.
    rotation : float, radians
    shift : float, pixels
    scaling : float, share of the size
        Each image is changed by a uniformly distributed amount between plus and minus these.
    """

    network: Callable[[], nn.Module]
    epochs: int
    learning_rate: float
    batch_size: int
    weight_decay: float = 1e-2
    rotation: float = 0.15
    shift: float = 0.5
    scaling: float = 0.1


RECIPES = {
    "digits-cnn": TrainingRecipe(network=networks.digits_cnn, epochs=50, learning_rate=1e-2, batch_size=64),
    "digits-residual": TrainingRecipe(network=networks.digits_residual, epochs=40, learning_rate=2e-2, batch_size=128),
    "digits-vit": TrainingRecipe(network=networks.digits_vit, epochs=80, learning_rate=5e-3, batch_size=128,
                                 weight_decay=5e-2),
}

NAMES = tuple(RECIPES)
"""The networks that :func:`trained` knows."""


def untrained(name: str) -> nn.Module:
    """Return a network of :data:`NAMES` with random parameters from torch's generator.

    Raises
    ------
    TypeError, ValueError
        If there is no such network.
    """
    return _recipe(name).network()


def trained(name: str, *, seed: int = 0, folder: Path | None = None, progress: Progress | None = None) -> nn.Module:
    """Return a network trained on ``digits(seed).train``, from its checkpoint if there is one.

    The same seed gives the same parameters to the bit on the same machine and version of torch, whatever the number
    of threads; torch's own generator is left as it was. Training takes about ten seconds on one core. Measure its
    accuracy on ``digits(seed).test``, of the same seed.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.
    seed : int
        Decides the split of the data, the initial parameters and the order of the images; at least 0.
    folder : Path, optional
        Where checkpoints are kept; ``networks`` in the cache folder (``NARROWGAUGE_CACHE``) if None. A checkpoint is
        keyed by the network's and the training's code, the
        recipe, the images, the seed and torch's version, and written atomically; a damaged one
        is made again, with a warning.
    progress : callable, optional
        Called with the epochs done and all epochs; not at all if a checkpoint is there.

    Returns
    -------
    nn.Module
        In evaluation mode, with gradients on for its parameters.

    Raises
    ------
    TypeError, ValueError
        If there is no such network, or the seed is not an integer of at least 0.
    ImportError
        If scikit-learn is not installed.
    OSError
        If the folder cannot be written.
    """
    recipe = _recipe(name)
    check_integer("Seed", seed)
    if seed < 0:
        raise ValueError(f"Seed must be at least 0, not {seed!r}")
    samples = digits(seed).train
    path = (folder or cache_folder() / "networks") / f"{name}-{seed}-{_key(recipe, seed, samples)[:16]}.checkpoint"
    with _seeded(seed):
        model = recipe.network()
        if not load_state(model, path):
            _train(model, recipe, samples, progress)
            save_state(model, path)
    return model.eval()


def _recipe(name: str) -> TrainingRecipe:
    if not isinstance(name, str):
        raise TypeError(f"Network name must be a str, not {name!r}")
    if name not in RECIPES:
        raise ValueError(f"Network name must be one of {', '.join(NAMES)}, not {name!r}")
    return RECIPES[name]


def _key(recipe: TrainingRecipe, seed: int, samples: Samples) -> str:
    """Return a digest of everything that the trained parameters depend on."""
    numbers = {name: value for name, value in vars(recipe).items() if name != "network"}
    sources = [Path(file).read_bytes() for file in (networks.__file__, __file__)]
    return digest_of(recipe.network.__name__, repr(numbers), str(seed), torch.__version__, *sources,
                     samples.images.numpy().tobytes(), samples.labels.numpy().tobytes())


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator and use one thread, and put both back at the end.

    Sums of another number of threads round differently, which training amplifies into another network.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@torch.enable_grad()
def _train(model: nn.Module, recipe: TrainingRecipe, samples: Samples, progress: Progress | None) -> None:
    steps = len(samples) // recipe.batch_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps)
    model.train()
    for epoch in range(recipe.epochs):
        images = _deformed(samples.images, recipe)
        # The last images of an order that fill no batch are left out: another order leaves out others.
        for chosen in torch.randperm(len(samples)).split(recipe.batch_size)[:steps]:
            loss = cross_entropy(model(images[chosen]), samples.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress is not None:
            progress(epoch + 1, recipe.epochs)


def _deformed(images: Tensor, recipe: TrainingRecipe) -> Tensor:
    """Return each image turned, moved and scaled by amounts of its own; what comes in from outside is 0."""
    angle, scale, x, y = (2 * torch.rand(4, len(images)) - 1) * torch.tensor(
        [recipe.rotation, recipe.scaling, *(2 * recipe.shift / size for size in images.shape[2:])])[:, None]
    cosine, sine = (1 + scale) * angle.cos(), (1 + scale) * angle.sin()
    rows = torch.stack([cosine, -sine, x, sine, cosine, y], 1).reshape(-1, 2, 3)
    return grid_sample(images, affine_grid(rows, list(images.shape), align_corners=False), align_corners=False)
