"""Many cases of one test, of which the default run takes a sample and ``-m slow`` the others."""

import pytest
from _pytest.mark import ParameterSet


def sampled(names, cases, count, **options):
    """Return ``pytest.mark.parametrize`` with cases of which a sample runs by default and the others are slow.

    Parameters
    ----------
    names : str or sequence of str
    cases : iterable
        As ``parametrize`` takes them. Those that are slow already stay so.
    count : int
        How many of the others run by default, evenly spread over them.
    options
        Of ``parametrize``.
    """
    is_single = len(names.split(",") if isinstance(names, str) else names) == 1
    cases = [ParameterSet.extract_from(case, force_tuple=is_single) for case in cases]
    quick = [index for index, case in enumerate(cases) if all(mark.name != "slow" for mark in case.marks)]
    chosen = {quick[(2 * place + 1) * len(quick) // (2 * count)] for place in range(count)} if quick else set()
    return pytest.mark.parametrize(names, [
        case if index in chosen or index not in quick else pytest.param(*case.values, id=case.id,
                                                                        marks=[*case.marks, pytest.mark.slow])
        for index, case in enumerate(cases)], **options)
