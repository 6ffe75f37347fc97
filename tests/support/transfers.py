"""Sequences of transfers through the references of accumulators: many at once, and one by definition."""

import numpy as np


def random_transfers(model, count, rng, flag_rate=0.2):
    """Return transfers as arrays, (transfers, ...)."""
    transfers = {}
    for name, port in model.inputs.items():
        shape = (count,) if port.lanes is None else (count, port.lanes)
        transfers[name] = ((rng.random(shape) < flag_rate).astype(np.uint64) if name in ("first", "last")
                           else rng.integers(0, port.codes, shape).astype(np.uint64))
    return transfers


def vectorised(model, transfers, sequences):
    """Run the same transfers, shifted by one a sequence, and return each sequence's results."""
    run, count = model.start(sequences), len(transfers["first"])
    results = [[] for _ in range(sequences)]
    for step in range(count):
        index = (np.arange(sequences) + step) % count
        accepted = np.arange(sequences) % 3 != step % 7  # sequences that pause take nothing
        for produced, outputs in run.accept({name: codes[index] for name, codes in transfers.items()}, accepted):
            for sequence in np.flatnonzero(produced):
                results[sequence].append(int(outputs["o"][sequence]))
    return results


def scalar(model, transfers, sequence):
    """The definition, for the transfers that :func:`vectorised` gives to a sequence."""
    count = len(transfers["first"])
    taken = [(sequence + step) % count for step in range(count) if sequence % 3 != step % 7]
    return model.results([{name: codes[index].tolist() for name, codes in transfers.items()} for index in taken])
