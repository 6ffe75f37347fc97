"""A table of recorded structures in place of the package's."""

import json

from hw import recorded
from hw.recorded import SCHEMA, model_key


def use_records(monkeypatch, path, luts=None):
    """Let a file be the table, and write what it has: LUTs by structure, by family, by reference; None for no file."""
    if luts is not None:
        models = {model_key(model): {"luts": families} for model, families in luts}
        path.write_text(json.dumps({"schema": SCHEMA, "models": models}))
    monkeypatch.setattr(recorded, "RECORDS", path)
    recorded._records.cache_clear()
