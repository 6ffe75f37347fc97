"""What a quantizing layer puts into its state beside its tensors: a description of what it does, as a tensor."""

import json

import torch
from torch import Tensor

STATE_VERSION = 1


def encoded(description: dict[str, object]) -> Tensor:
    """Return a description as a uint8 tensor of UTF-8 JSON: every tool that stores states can store tensors."""
    return torch.tensor(list(json.dumps(description, sort_keys=True).encode()), dtype=torch.uint8)


def check_saved(own: dict[str, object], state: Tensor) -> None:
    """Compare a layer's description with the saved one.

    Raises
    ------
    ValueError
        If they differ, or ``state`` is no description.
    """
    try:
        saved = json.loads(bytes(state.tolist()).decode())
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"Quantizer state must be a uint8 tensor of JSON, not {state!r}") from error
    if saved != own:
        names = sorted(saved.keys() | own.keys()) if isinstance(saved, dict) else []
        changed = [f"{name}={saved.get(name)!r} (here {own.get(name)!r})" for name in names
                   if saved.get(name) != own.get(name)]
        raise ValueError("Quantizer must be built as the saved one was, with "
                         f"{', '.join(changed) or repr(saved)}, to load its state")
