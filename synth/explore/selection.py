"""The best of several, without the advantage that a choice has from looking at what it is measured by."""

from collections.abc import Mapping, Sequence


def held_out_choices(candidates: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Return for each seed the name of the candidate that is best on average over all the other seeds.

    The maximum over many noisy candidates grows with their number; what is chosen by other seeds does not, so that
    families of different sizes can be compared.

    Parameters
    ----------
    candidates : mapping of name to sequence of float
        Values, one a seed, higher being better; of candidates that tie, the first is taken, and with a single seed,
        which has no others, the first of all.

    Raises
    ------
    ValueError
        If there is no candidate, or they have different numbers of seeds.
    """
    counts = {len(values) for values in candidates.values()}
    if len(counts) != 1:
        raise ValueError(f"Candidates must be at least one, with the same seeds, not with {sorted(counts)} of them")

    def others(name: str, place: int) -> float:
        values = candidates[name]
        # Sums of the same numbers in another order differ in the last place, and a tie must be one.
        return round(sum(values[:place]) + sum(values[place + 1:]), 12)

    return tuple(max(candidates, key=lambda name: others(name, place)) for place in range(counts.pop()))


def held_out_best(candidates: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """Return for each seed the value of the candidate that :func:`held_out_choices` names.

    Raises
    ------
    ValueError
        As there.
    """
    return tuple(candidates[name][place] for place, name in enumerate(held_out_choices(candidates)))
