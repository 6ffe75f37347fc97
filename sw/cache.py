"""Where this package keeps what it can make again: measurements, netlists, trained networks."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder: ``NARROWGAUGE_CACHE``, or the user's cache folder of this system. It need not exist yet."""
    import platformdirs

    return Path(os.environ.get("NARROWGAUGE_CACHE") or platformdirs.user_cache_dir("narrowgauge", appauthor=False))
