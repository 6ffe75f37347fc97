"""The best of several, without the advantage that a choice has from looking at what it is measured by."""

from collections.abc import Sequence


def held_out_best(candidates: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return for each seed the value of the candidate that is best on average over all the other seeds.

    The maximum over many noisy candidates grows with their number; this mean does not, so that families of different
    sizes can be compared. With one candidate, its own values.

    Parameters
    ----------
    candidates : sequence of sequence of float
        Values of each candidate, one a seed, higher being better; of candidates that tie, the first is taken.

    Raises
    ------
    ValueError
        If there is no candidate, or they have different numbers of seeds, or several candidates a single one.
    """
    counts = {len(values) for values in candidates}
    if len(counts) != 1:
        raise ValueError(f"Candidates must be at least one, with the same seeds, not with {sorted(counts)} of them")
    count = counts.pop()
    if len(candidates) == 1:
        return tuple(candidates[0])
    if count < 2:
        raise ValueError(f"Seeds must be at least 2 to choose by the others, not {count}")
    chosen = []
    for seed in range(count):
        best = max(candidates, key=lambda values: round(sum(values) - values[seed], 12))
        chosen.append(best[seed])
    return tuple(chosen)
