"""The evaluator of real networks: trained on digits, pretrained, or the user's own."""

import copy
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sw.formats import parse_any
from synth.errors import StorageError, ToolMissing, UsageError
from synth.explore.evaluator import Prepared, Task
from synth.explore.library_digest import library_digest, library_versions
from synth.explore.space import Choice, find_name
from synth.explore.techniques import recipe_of

NETWORKS = ("digits-cnn", "digits-residual", "digits-vit")
"""Networks that are trained here; keep in step with ``sw.train.NAMES``, which takes torch to read."""

CALIBRATION_IMAGES = 256
"""Of a user's folder; the digits' split has as many."""

_KEPT = 4  # networks that stay in memory: processes take the seeds as they come


@dataclass(frozen=True, kw_only=True)
class NetworkEvaluator:
    """Trains or loads networks, quantizes them, and measures their accuracy; one thread in each process.

    Parameters
    ----------
    model : str
        One of :data:`NETWORKS`, or ``path.py:function`` of a function that returns a ``torch.nn.Module``.
    data : str or None
        Folder of images, one folder a class, for a model of the user's: scales are calibrated on images that the
        seed chooses, and accuracy is measured on all others.
    size : int, pixels
        To which such images are cut.
    """

    model: str
    data: str | None = None
    size: int = 224

    def identity(self) -> Mapping[str, Any]:
        """Return the digest of our code and the versions of the libraries."""
        return {"library": library_digest(), "libraries": library_versions()}

    def prepare(self, seed: int) -> Prepared:
        """Return the network of a seed.

        Raises
        ------
        UsageError
            If the user's model or data cannot be used.
        ToolMissing
            If scikit-learn or Pillow is not installed.
        """
        from sw.train import accuracy
        from synth.cost.shapes import layer_owner, layer_shapes

        with one_thread():
            loaded = _load(self, seed)
            example = loaded.calibration[0][:1]
            try:
                layers = layer_shapes(loaded.model, example)
                share = accuracy(loaded.model, loaded.test)
            except (RuntimeError, TypeError, ValueError) as error:  # of torch, in the user's model
                raise UsageError(f"Model must give finite logits for images of shape {tuple(example.shape)}, not fail: "
                                 f"{error}; --size cuts images to another size") from error
            return Prepared(digest=loaded.digest, accuracy=share, layers=tuple(layers),
                            owners=tuple(layer_owner(loaded.model, layer.name) for layer in layers))

    def accuracy(self, task: Task) -> float:
        """Return the accuracy of the network of ``task.seed``, quantized as the task says.

        Raises
        ------
        ValueError
            If the network cannot be quantized so.
        """
        import torch

        from sw.ptq.quantize import quantize_
        from sw.train import accuracy

        with one_thread():
            loaded = _load(self, task.seed)
            model = copy.deepcopy(loaded.model)
            configs = {layer: _config(choice) for layer, choice in task.assignment}
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(task.seed)  # techniques that draw samples draw the same ones every time
                quantize_(model, configs, batches=loaded.calibration, recipe=recipe_of(task.technique))
            return float(accuracy(model, loaded.test))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Loaded:
    """A float network in evaluation mode, its calibration batches, its test samples, and the digest of all."""

    model: Any
    calibration: Any
    test: Any
    digest: str


@lru_cache(_KEPT)
def _load(evaluator: NetworkEvaluator, seed: int) -> _Loaded:
    if evaluator.model in NETWORKS:
        return _digits(evaluator.model, seed)
    return _own(evaluator, seed)


def _digits(name: str, seed: int) -> _Loaded:
    from sw.train import digits, trained

    try:
        split = digits(seed)
        model = trained(name, seed=seed)
    except ImportError as error:
        raise ToolMissing("scikit-learn", "Tool scikit-learn is not installed; it brings the digits that the networks "
                                          "are trained on: pip install 'narrowgauge[train]'") from error
    calibration = split.calibration.inputs()
    state = _digest(model)
    for tensor in (*calibration, split.test.images, split.test.labels):
        state.update(tensor.numpy().tobytes())
    return _Loaded(model=model, calibration=calibration, test=split.test, digest=state.hexdigest())


def _own(evaluator: NetworkEvaluator, seed: int) -> _Loaded:
    import torch

    from sw.train import image_folder

    assert evaluator.data is not None  # checked where arguments are read
    torch.manual_seed(seed)
    model = own_model(evaluator.model).eval()
    try:
        folder = image_folder(evaluator.data, size=evaluator.size)
    except ImportError as error:
        raise ToolMissing("Pillow", "Tool Pillow is not installed; it reads images: "
                                    "pip install 'narrowgauge[train]'") from error
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    if len(folder) < 2:
        raise UsageError(f"Image folder must hold at least 2 images, some to calibrate on and some to test on, not "
                         f"{len(folder)}: {evaluator.data!r}")
    order = torch.randperm(len(folder), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(CALIBRATION_IMAGES, len(folder) // 2)
    try:
        calibration = folder.load(sorted(order[:count]))
    except ValueError as error:
        raise UsageError(str(error)) from error
    state = _digest(model)
    # What forward computes shows in no parameter: the code is part of the network.
    state.update(Path(evaluator.model.rpartition(":")[0]).read_bytes())
    for file, label in folder.files:
        stat = file.stat()
        name = file.relative_to(folder.path).as_posix()
        state.update(f"{name}\0{label}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    state.update(f"{seed} {evaluator.size}".encode())
    return _Loaded(model=model, calibration=calibration.inputs(), test=_Rest(folder, sorted(order[count:])),
                   digest=state.hexdigest())


class _Rest:
    """The images of a folder that are not calibrated on, a batch at a time."""

    def __init__(self, folder: Any, indices: list[int]) -> None:
        self._folder, self._indices = folder, indices

    def __len__(self) -> int:
        return len(self._indices)

    def batches(self, batch_size: int = 256) -> Iterator[tuple[Any, Any]]:
        """Yield images and labels."""
        for first in range(0, len(self), batch_size):
            part = self._folder.load(self._indices[first:first + batch_size])
            yield part.images, part.labels


def own_model(place: str) -> Any:
    """Call the function that ``path.py:function`` names, and return its module.

    Raises
    ------
    StorageError
        If the file cannot be read.
    UsageError
        If there is no such function, it fails, or returns no ``torch.nn.Module``.
    """
    from torch import nn

    file, _, name = place.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise StorageError(f"Model file must be a file that can be read, not {file!r}")
    spec = importlib.util.spec_from_file_location(f"narrowgauge_model_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a class looks up its own module
    try:
        spec.loader.exec_module(module)
        function = getattr(module, name, None)
        if not callable(function):
            raise UsageError(f"Model must name a function of {file!r}, not {name!r}")
        model = function()
    except UsageError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise UsageError(f"Model must be made by {place!r} without an error, not with {type(error).__name__}: "
                         f"{error}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"Model must be a torch.nn.Module, not the {type(model).__name__} that {place!r} returns")
    return model


def check_model(model: str, data: str | None) -> str:
    """Return a model's name as :class:`NetworkEvaluator` takes it, whatever its case if it is one of ours.

    Refuse a model that is neither ours nor a place in a file, and data where there is no use for it.

    Raises
    ------
    UsageError
        With the nearest name.
    """
    if ".py:" in model:
        if data is None:
            raise UsageError(f"Data must be given for a model of your own, not left out: --data FOLDER with one "
                             f"folder of images a class, for {model!r}")
        return model
    if data is not None:
        raise UsageError(f"Data must be left out for {model!r}, which has its own, not {data!r}")
    return find_name("Model", model, (*NETWORKS, "path.py:function"))


def _config(choice: Choice) -> Any:
    from dataclasses import replace

    from sw.ptq.config import ActivationConfig, Config, WeightConfig

    config = Config(weight=WeightConfig(format=parse_any(choice.weight)),
                    activation=ActivationConfig(format=parse_any(choice.activation)))
    if not choice.power_of_two:
        return config
    assert config.weight is not None
    assert config.activation is not None
    return Config(weight=replace(config.weight, scale=replace(config.weight.scale, power_of_two=True)),
                  activation=replace(config.activation, scale=replace(config.activation.scale, power_of_two=True)))


def _digest(model: Any) -> Any:
    """Return a hash that has taken in a model's structure and parameters."""
    import torch

    state = hashlib.sha256(repr(model).encode())
    for key, tensor in model.state_dict().items():
        state.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        # As bytes: numpy has no bfloat16.
        state.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums of another number of threads round differently, and processes share the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
