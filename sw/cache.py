"""Where this package keeps what it can make again (measurements, netlists, trained networks), and under which keys."""

import hashlib
import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder: ``NARROWGAUGE_CACHE``, or the user's cache folder of this system. It need not exist yet."""
    import platformdirs

    return Path(os.environ.get("NARROWGAUGE_CACHE") or platformdirs.user_cache_dir("narrowgauge", appauthor=False))


def digest_of(*parts: str | bytes) -> str:
    """Return the SHA-256 of several parts, each with its length, as hexadecimal digits."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()
