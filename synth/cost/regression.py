"""Fitting costs: nonnegative coefficients that shrink to expected ones, and a smooth correction over circuits alike.

Plain numpy, so that a model is fitted and used without further packages. Both parts work on relative errors: a lookup
table too many is as bad in a circuit of ten as ten are in one of a hundred.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RIDGE = 0.2
"""Pull of the expected coefficients, in units of a term's own share of the costs."""

CORRECTION = 0.1
"""Standard deviation of the smooth correction, as a logarithm: one circuit in three is off by more than 10 %."""

NOISE = 0.04
"""Standard deviation of what no feature explains: the mapper's luck, which turns a change of one gate into 4 %."""

LENGTH = 2.0
"""Coordinates' scales between circuits at which what one says of the other falls to ``exp(-1/2)``."""


def nonnegative_least_squares(matrix: Array, target: Array) -> Array:
    """Return the nonnegative ``x`` that minimises ``|matrix @ x - target|``.

    Source: Lawson and Hanson 1974, "Solving Least Squares Problems", chapter 23.
    """
    columns = matrix.shape[1]
    # The normal equations: a few dozen terms, which the pull to expected coefficients keeps well apart.
    products, moments = matrix.T @ matrix, matrix.T @ target
    x, passive = np.zeros(columns), np.zeros(columns, dtype=bool)
    tolerance = 1e-10 * max(1.0, float(np.abs(moments).max(initial=0)))
    for _ in range(3 * columns):
        gradient = moments - products @ x
        gradient[passive] = -np.inf
        entering = int(np.argmax(gradient))
        if gradient[entering] <= tolerance:
            break
        passive[entering] = True
        while True:
            trial = np.zeros(columns)
            trial[passive] = np.linalg.lstsq(products[np.ix_(passive, passive)], moments[passive], rcond=None)[0]
            low = passive & (trial <= 0)
            if not low.any():
                x = trial
                break
            step = float((x[low] / (x[low] - trial[low])).min())
            x = x + step * (trial - x)
            passive &= x > 1e-12
            x[~passive] = 0
    return x


def fit_coefficients(matrix: Array, values: Array, expected: Array, *, offset: float) -> Array:
    """Return the nonnegative coefficients of terms that reproduce values with the least relative error.

    Parameters
    ----------
    matrix : array, (circuits, terms)
        What each circuit has of each term.
    values : array, (circuits,)
    expected : array, (terms,)
        Coefficients to shrink to; those of a term that no circuit has.
    offset : float
        Added to values where they count as relative.
    """
    relative = matrix / (values + offset)[:, None]
    pull = RIDGE * np.sqrt((relative ** 2).sum(axis=0))
    used = pull > 0
    coefficients = expected.copy()
    if used.any():
        system = np.vstack([relative[:, used], np.diag(pull[used])])
        wanted = np.concatenate([values / (values + offset), pull[used] * expected[used]])
        coefficients[used] = nonnegative_least_squares(system, wanted)
    return coefficients


@dataclass(frozen=True)
class Neighbourhood:
    """How much circuits that were measured say of others: a Gaussian process over coordinates.

    Parameters
    ----------
    places : array, (circuits, coordinates)
        Of the measured circuits, in units of the coordinates' scales.
    """

    places: Array

    def distances(self, place: Array) -> Array:
        """Return the distances of places, (n, coordinates), to every measured circuit: (n, circuits)."""
        found: Array = np.sqrt(((place[:, None, :] - self.places[None, :, :]) ** 2).sum(axis=2))
        return found

    def likeness(self, place: Array) -> Array:
        """Return the covariances of the corrections at places with those at the measured circuits."""
        found: Array = CORRECTION ** 2 * np.exp(-0.5 * (self.distances(place) / LENGTH) ** 2)
        return found

    @cached_property
    def _precision(self) -> Array:
        """Inverse of the measured circuits' own covariances, which the noise keeps well away from singular ones."""
        covariances: Array = self.likeness(self.places) + NOISE ** 2 * np.eye(len(self.places))
        return np.asarray(np.linalg.inv(covariances), dtype=np.float64)

    def weights(self, residuals: Array) -> Array:
        """Return what each measured circuit's residual contributes."""
        found: Array = self._precision @ residuals
        return found

    def spread(self, place: Array) -> Array:
        """Return the standard deviation of what is not known at places, as a logarithm."""
        likeness = self.likeness(place)
        explained = ((likeness @ self._precision) * likeness).sum(axis=1)
        found: Array = np.sqrt(CORRECTION ** 2 + NOISE ** 2 - explained)
        return found


def conformal_quantile(scores: Array, coverage: float) -> float:
    """Return the score that a new one stays below with a probability of at least ``coverage``.

    The order statistic of split conformal prediction: it holds for any distribution, if the new one is like the others.

    Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World", section 2.2.
    """
    ordered = np.sort(scores)
    rank = int(np.ceil((len(ordered) + 1) * coverage))
    return float(ordered[min(rank, len(ordered)) - 1])
