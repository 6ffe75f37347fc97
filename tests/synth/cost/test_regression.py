import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from synth.cost.regression import (
    CORRECTION,
    LENGTH,
    NOISE,
    Neighbourhood,
    conformal_quantile,
    fit_coefficients,
    nonnegative_least_squares,
)


@pytest.mark.parametrize("seed", range(20))
def test_nonnegative_least_squares_is_scipys(seed):
    generator = np.random.default_rng(seed)
    rows, columns = generator.integers(5, 60), generator.integers(1, 25)
    matrix, target = generator.normal(size=(rows, columns)), generator.normal(size=rows)
    if seed % 2:  # many coefficients at zero, some columns alike
        matrix = np.abs(matrix)
        matrix[:, -1] = matrix[:, 0]
    got, (want, residual) = nonnegative_least_squares(matrix, target), nnls(matrix, target)
    assert (got >= 0).all()
    assert np.linalg.norm(matrix @ got - target) == pytest.approx(residual, rel=1e-9, abs=1e-9)
    if not seed % 2 and rows > columns:
        np.testing.assert_allclose(got, want, atol=1e-9)


def test_nonnegative_least_squares_of_nothing():
    assert nonnegative_least_squares(np.zeros((3, 2)), np.zeros(3)).tolist() == [0, 0]
    assert nonnegative_least_squares(np.ones((2, 1)), -np.ones(2)).tolist() == [0]


def test_coefficients_are_found_where_circuits_are_many():
    generator = np.random.default_rng(1)
    matrix, true = generator.integers(0, 40, (200, 4)).astype(float), np.array([1.5, 0.0, 2.0, 0.7])
    found = fit_coefficients(matrix, matrix @ true, true, offset=1)
    np.testing.assert_allclose(found, true, rtol=0.02, atol=0.02)
    pulled = fit_coefficients(matrix, matrix @ true, true + 1, offset=1)
    assert (np.abs(pulled - true) < 0.5).all()


def test_coefficients_stay_as_expected_where_no_circuit_has_the_term():
    matrix = np.array([[1.0, 0.0], [2.0, 0.0], [5.0, 0.0]])
    found = fit_coefficients(matrix, 3 * matrix[:, 0], np.array([3.0, 0.8]), offset=1)
    assert found[1] == 0.8
    assert found[0] == pytest.approx(3, abs=1e-6)


def test_neighbourhood_is_scikit_learns_gaussian_process():
    generator = np.random.default_rng(2)
    places, asked = generator.normal(size=(30, 3)), generator.normal(size=(7, 3))
    residuals = generator.normal(size=30) / 20
    kernel = ConstantKernel(CORRECTION ** 2, "fixed") * RBF(LENGTH, "fixed")
    oracle = GaussianProcessRegressor(kernel, alpha=NOISE ** 2, optimizer=None).fit(places, residuals)
    want, deviation = oracle.predict(asked, return_std=True)
    ours = Neighbourhood(places)
    np.testing.assert_allclose(ours.likeness(asked) @ ours.weights(residuals), want, atol=1e-12)
    np.testing.assert_allclose(ours.spread(asked), np.sqrt(deviation ** 2 + NOISE ** 2), rtol=1e-9)


def test_nothing_is_known_far_away():
    ours = Neighbourhood(np.zeros((1, 2)))
    far, near = ours.spread(np.array([[100.0, 0.0], [0.0, 0.0]]))
    assert far == pytest.approx(np.hypot(CORRECTION, NOISE))
    assert near < 1.5 * NOISE
    assert ours.distances(np.array([[3.0, 4.0]])).tolist() == [[5.0]]


@pytest.mark.parametrize(("count", "coverage", "rank"), [(9, 0.9, 9), (99, 0.9, 90), (19, 0.5, 10), (3, 0.9, 3)])
def test_quantile_is_an_order_statistic(count, coverage, rank):
    scores = np.random.default_rng(3).permutation(np.arange(1.0, count + 1))
    assert conformal_quantile(scores, coverage) == rank


def test_quantile_covers_new_scores():
    generator = np.random.default_rng(4)
    inside = [generator.exponential() <= conformal_quantile(generator.exponential(size=60), 0.9) for _ in range(2000)]
    assert 0.88 < np.mean(inside) < 0.93
