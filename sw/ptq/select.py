"""Which layers of a model are quantized, and how each of them."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from sw.ptq.attention import QuantizedMultiheadAttention
from sw.ptq.config import Config, Configs
from sw.ptq.layers import KINDS, QuantizedLayer

ALL_KINDS: dict[type[nn.Module], type[nn.Module]] = {**KINDS, nn.MultiheadAttention: QuantizedMultiheadAttention}
_NAMES = ", ".join(kind.__name__ for kind in ALL_KINDS)

Choice = tuple[nn.Module, type[nn.Module], Config]
"""A layer, the class that it gets, and its configuration."""


def select(model: nn.Module, configs: Configs, filter_fn: Callable[[nn.Module, str], bool] | None) -> dict[str, Choice]:
    """Return the layers that are to be quantized, by name, in the order of registration.

    Raises
    ------
    TypeError, ValueError
        As :func:`sw.ptq.prepare`.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"Model must be a torch.nn.Module, not {type(model).__name__!r}")
    if filter_fn is not None and not callable(filter_fn):
        raise TypeError(f"Layer filter must be callable with a module and its name, not {filter_fn!r}")
    _check_configs(configs)
    candidates = _candidates(model)
    if isinstance(configs, Mapping):
        _check_patterns(model, configs, candidates)
    chosen: dict[str, Choice] = {}
    seen: dict[int, tuple[str, Config]] = {}
    for name, layer in candidates.items():
        config = _config_of(name, configs)
        if config is None or (filter_fn is not None and not filter_fn(layer, name)):
            continue
        if id(layer) in seen:
            first, other = seen[id(layer)]
            if other != config:
                raise ValueError(f"Layer {first!r} must have one config, not another as {name!r}, which is the same "
                                 "module; give both names the same")
            continue
        seen[id(layer)] = name, config
        chosen[name] = layer, _kind_of(layer, name), config
    if not chosen:
        raise ValueError(f"Model must have layers to quantize ({_NAMES}), not none that config and filter_fn admit")
    _check_shared(model, chosen)
    return chosen


def _check_configs(configs: Configs) -> None:
    if isinstance(configs, Config):
        return
    if not isinstance(configs, Mapping):
        raise TypeError(f"Config must be a Config, or a mapping of layers' names to them, not {configs!r}")
    for pattern, config in configs.items():
        if not isinstance(pattern, str) or not isinstance(config, Config):
            raise TypeError(f"Config must map the name of a layer or a pattern to a Config, not {pattern!r} to "
                            f"{config!r}")


def _candidates(model: nn.Module) -> dict[str, nn.Module]:
    """Return all layers of the kinds that are quantized, subclasses included, under each of their names."""
    found: dict[str, nn.Module] = {}
    inside: list[str] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if any(name.startswith(prefix) for prefix in inside):
            continue  # an attention layer's own projections
        if isinstance(module, tuple(ALL_KINDS)):
            found[name] = module
            if isinstance(module, nn.MultiheadAttention):
                inside.append(f"{name}." if name else "")
    return found


def _config_of(name: str, configs: Configs) -> Config | None:
    if isinstance(configs, Config):
        return configs
    return next((config for pattern, config in configs.items() if _matches(name, pattern)), None)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _check_patterns(model: nn.Module, configs: Mapping[str, Config], candidates: dict[str, nn.Module]) -> None:
    modules = dict(model.named_modules(remove_duplicate=False))
    for pattern in configs:
        if any(_matches(name, pattern) for name in candidates):
            continue
        if pattern in modules:
            raise TypeError(f"Layer {pattern!r} must be one of {_NAMES} to be quantized, not "
                            f"{type(modules[pattern]).__name__}; take it out of the configs")
        close = get_close_matches(pattern, candidates, n=1, cutoff=0)
        mend = f"the nearest name is {close[0]!r}" if close else "the model has none"
        raise ValueError(f"Config pattern must match a layer, not none as {pattern!r} does; {mend}")


def _kind_of(layer: nn.Module, name: str) -> type[nn.Module]:
    """Return the quantized class of a layer, or refuse it."""
    where = f"Layer {name!r}"
    if isinstance(layer, (QuantizedLayer, QuantizedMultiheadAttention)):
        raise ValueError(f"{where} must be float to be prepared, not quantized already")
    if any(is_lazy(parameter) for parameter in layer.parameters(recurse=False)):
        raise ValueError(f"{where} must have its shape to be quantized, not be a {type(layer).__name__} that has seen "
                         "no input; run a batch through the model first")
    if is_parametrized(layer):
        raise ValueError(f"{where} must have plain parameters to be quantized, not parametrized ones; "
                         "see torch.nn.utils.parametrize.remove_parametrizations, or leave it out with filter_fn")
    computed = next((key for key in _weights_of(layer) if not _is_own(layer, key)), None)
    if computed is not None:
        raise ValueError(f"{where} must have weights of its own to be quantized, not a {computed!r} that a hook "
                         "computes for each call; see torch.nn.utils.prune.remove, remove_spectral_norm and "
                         "remove_weight_norm, or leave it out with filter_fn")
    kind = ALL_KINDS.get(type(layer))
    if kind is None:
        raise TypeError(f"{where} must be exactly one of {_NAMES} to be quantized, not their subclass "
                        f"{type(layer).__name__}, which may compute something else; leave it out with filter_fn")
    return kind


def _weights_of(layer: nn.Module) -> tuple[str, ...]:
    """Return the names of the weights of a layer."""
    if not isinstance(layer, nn.MultiheadAttention):
        return ("weight",)
    packed = ("in_proj_weight",) if layer._qkv_same_embed_dim else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    return (*packed, "out_proj.weight")


def _is_own(layer: nn.Module, key: str) -> bool:
    """Whether a weight is a parameter: what is written to anything else, the next call would compute anew."""
    owner, _, name = key.rpartition(".")
    return name in layer.get_submodule(owner)._parameters


def _check_shared(model: nn.Module, chosen: dict[str, Choice]) -> None:
    owners: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            owners[id(parameter)].append(f"{name}.{key}" if name else key)
    for name, (layer, _, _) in chosen.items():
        for key, parameter in layer.named_parameters():
            if "weight" in key and len(owners[id(parameter)]) > 1:
                raise ValueError(f"Layer {name!r} must have weights of its own to be quantized, not share them as "
                                 f"{' and '.join(owners[id(parameter)])}; leave it out with filter_fn, or give it "
                                 "a copy")
