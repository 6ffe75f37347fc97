"""A network's parameters in a file that is whole or not there, and that knows when it was damaged."""

import hashlib
import io
import warnings
from pathlib import Path

import torch
from torch import nn

from sw.files import write_whole

_MAGIC = b"narrowgauge checkpoint 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


def save_state(model: nn.Module, path: Path) -> None:
    """Write a model's ``state_dict``, behind its SHA-256, in one step: readers see the old file or the new one.

    Raises
    ------
    OSError
        If the folder cannot be made or written.
    """
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    body = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _MAGIC + hashlib.sha256(body).digest() + body)


def load_state(model: nn.Module, path: Path) -> bool:
    """Load what :func:`save_state` wrote into a model of the same shape; return whether that was done.

    It is not where there is no such file, and, with a warning, where it is damaged. Nothing in the file is executed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    digest, body = data[len(_MAGIC):len(_MAGIC) + _DIGEST_BYTES], data[len(_MAGIC) + _DIGEST_BYTES:]
    if not data.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        warnings.warn(f"Checkpoint must be as it was written, not damaged: {path}; the network is trained again",
                      stacklevel=3)
        return False
    model.load_state_dict(torch.load(io.BytesIO(body), weights_only=True))
    return True
