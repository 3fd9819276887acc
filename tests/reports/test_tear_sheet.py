import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from alphapulse.backtesting.metrics import METRICS, metrics_of_returns
from alphapulse.backtesting.models import BacktestResult
from alphapulse.errors import DataError
from alphapulse.reports.tear_sheet import _daily, analyze_results


def make(returns, index=None):
    returns = np.asarray(returns, dtype=float)
    index = pd.bdate_range("2010-01-04", periods=len(returns), tz="UTC") if index is None else index
    series = pd.Series(returns, index)
    metrics = dict.fromkeys(METRICS, np.nan) | metrics_of_returns(returns)
    return BacktestResult(
        100.0 * (1 + series).cumprod(), series, series * 0.0, pd.DataFrame(), pd.DataFrame(), metrics, False
    )


def noise(n=400, seed=0):
    return np.random.default_rng(seed).normal(0.0005, 0.01, n)


def test_sheet_and_metrics(tmp_path, capfd):
    result = make(noise())
    benchmark = pd.Series(noise(seed=1), result.returns.index)
    path = tmp_path / "deep" / "sheet.html"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        metrics = analyze_results(result, benchmark, output=path, title="A study of <script>")
    assert not caught
    assert capfd.readouterr() == ("", "")
    sheet = path.read_text()
    for word in ("A study of &lt;script&gt;", "Buy and hold", "Max Drawdown", "<svg"):
        assert word in sheet
    assert "favicon" not in sheet
    assert list(metrics) == list(METRICS)
    expected = metrics_of_returns(result.returns.to_numpy(), benchmark.to_numpy())
    assert metrics["beta"] == expected["beta"]
    assert metrics["sharpe_ratio"] == result.metrics["sharpe_ratio"]


def test_sheet_leaves_the_backend_and_the_figures_of_its_caller(tmp_path):
    before = matplotlib.get_backend()
    try:
        matplotlib.use("svg")
        figure = plt.figure()
        analyze_results(make(noise()), output=tmp_path / "sheet.html")
        assert matplotlib.get_backend() == "svg"
        assert plt.get_fignums() == [figure.number]
    finally:
        plt.close("all")
        matplotlib.use(before)


def test_metrics_without_a_file():
    result = make(noise())
    assert analyze_results(result)["sharpe_ratio"] == result.metrics["sharpe_ratio"]


def test_intraday_returns_are_compounded_to_days():
    days = pd.bdate_range("2020-01-01", periods=40)
    index = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days for hour in range(14, 21)], tz="UTC")
    returns = make(noise(len(index)), index).returns
    daily = _daily(returns)
    assert len(daily) == 40
    assert np.allclose(daily, (1 + returns.to_numpy()).reshape(40, 7).prod(axis=1) - 1)
    metrics = analyze_results(make(returns.to_numpy(), index), returns * 0.5)
    yearly = metrics_of_returns(returns.to_numpy(), 0.5 * returns.to_numpy(), periods_per_year=1764)
    assert metrics["alpha"] == yearly["alpha"]


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        (np.zeros(100), "All returns are equal"),
        (np.full(100, 0.001), "All returns are equal"),
        (noise(1), "fewer than two days"),
        (np.r_[np.full(3000, 0.02), 0.01], "beyond any drawing"),
    ],
)
def test_what_cannot_be_drawn_gets_a_page(tmp_path, returns, reason):
    path = tmp_path / "sheet.html"
    analyze_results(make(returns), output=path)
    assert reason in path.read_text()
    assert "sharpe_ratio" in path.read_text()


def test_ruin_is_drawn(tmp_path):
    path = tmp_path / "sheet.html"
    analyze_results(make(np.r_[noise(60), -1.0, np.zeros(60)]), output=path)
    assert "-100.0%" in path.read_text()


def test_large_gains_are_not_taken_for_prices():
    returns = make(np.r_[np.abs(noise(60)), 1.5]).returns
    assert _daily(returns).min() < 0.0
    assert np.allclose(_daily(returns), returns, atol=1e-3)


def test_refusals(tmp_path):
    result = make(noise())
    with pytest.raises(ValueError, match="`benchmark_returns` must share bars"):
        analyze_results(result, pd.Series([0.1], pd.DatetimeIndex(["1999-01-01"], tz="UTC")))
    for wrong in ([0.1, 0.2], result.returns.to_frame()):
        with pytest.raises(TypeError, match="`benchmark_returns` must be a Series, but got"):
            analyze_results(result, wrong)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        analyze_results(result, output=tmp_path / "file" / "sheet.html")
