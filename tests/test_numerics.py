"""The functions against 40 digits, at the edges, and the same bits alone and in a loop."""

import mpmath
import numpy as np
import pytest

from alphapulse import numerics

mpmath.mp.dps = 40
RNG = np.random.default_rng(7)
SMALL = 10 ** RNG.uniform(-22, 0, 200)


def cdf(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def log_cdf(x):
    return mpmath.log(cdf(x))


CASES = {
    "exp": (numerics.exp, mpmath.exp, RNG.uniform(-700, 700, 400), 2.3e-16),
    "log": (numerics.log, mpmath.log, np.r_[10 ** RNG.uniform(-300, 300, 300), RNG.uniform(0.5, 2, 300)], 2.3e-16),
    "log1p": (numerics.log1p, mpmath.log1p, np.r_[SMALL * 1000, -SMALL * 0.98], 6e-16),
    "normal_pdf": (numerics.normal_pdf, mpmath.npdf, RNG.uniform(-37, 37, 300), 1.2e-15),
    "normal_cdf": (numerics.normal_cdf, cdf, RNG.uniform(-37, 9, 300), 1e-14),
    "normal_quantile": (
        numerics.normal_quantile,
        lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1),
        RNG.uniform(1e-9, 1, 100),
        1e-15,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_function_matches_forty_digits(name):
    function, exact, points, tolerance = CASES[name]
    for x in points:
        expected = exact(mpmath.mpf(float(x)))
        assert abs((mpmath.mpf(function(float(x))) - expected) / expected) <= tolerance, x


def test_power_matches_exact_and_multiplies_for_whole_exponents():
    assert numerics.power(-2.0, 3.0) == -8.0
    assert numerics.power(1.5, 2.0) == 2.25
    assert numerics.power(2.0, -3.0) == 0.125
    assert numerics.power(0.0, 2.0) == 0.0
    assert numerics.power(5.0, 0.0) == 1.0
    assert np.isnan(numerics.power(-2.0, 0.5))
    for x, y in zip(10 ** RNG.uniform(-2, 2, 200), RNG.uniform(-3, 3, 200), strict=True):
        assert numerics.power(x, y) == pytest.approx(x**y, rel=1e-14)


def test_edges_are_limits_and_nan_stays_nan():
    inf, nan = np.inf, np.nan
    assert [numerics.exp(x) for x in (-inf, -746.0, 0.0, 710.0, inf)] == [0.0, 0.0, 1.0, inf, inf]
    assert [numerics.log(x) for x in (0.0, 1.0, inf)] == [-inf, 0.0, inf]
    assert numerics.log(5e-324) == pytest.approx(-744.4400719213812, rel=1e-15)
    assert [numerics.normal_cdf(x) for x in (-inf, 0.0, inf)] == [0.0, 0.5, 1.0]
    assert [numerics.normal_quantile(p) for p in (0.0, 0.5, 1.0)] == [-inf, 0.0, inf]
    undefined = [numerics.log(-1.0), numerics.normal_quantile(-0.1), numerics.normal_quantile(1.1)]
    one_argument = ("exp", "log", "log1p", "normal_cdf", "normal_quantile")
    undefined += [getattr(numerics, name)(nan) for name in one_argument]
    assert np.isnan(undefined).all()


def test_quantile_inverts_far_tail():
    for p in 10.0 ** -np.arange(1, 300, 17):
        assert float(log_cdf(mpmath.mpf(numerics.normal_quantile(p)))) == pytest.approx(np.log(p), rel=1e-13)


@pytest.mark.parametrize("name", ["exp", "log"])
def test_array_form_has_the_bits_of_the_scalar(name):
    x = RNG.uniform(1e-6, 1 - 1e-6, 1001)
    alone = np.array([getattr(numerics, name)(v) for v in x])
    for part in (x, x[1:], x[::2].copy()):
        together = getattr(numerics, f"{name}_array")(part)
        assert together.tobytes() == np.array([getattr(numerics, name)(v) for v in part]).tobytes()
    assert np.isfinite(alone).all()
