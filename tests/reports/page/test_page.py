"""The report of a study: what stands in it, and that a browser draws it without asking anybody for anything."""

import html
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from alphapulse.commands.report import run_report
from alphapulse.config.schema import ReportConfig
from alphapulse.reports.page.chart import Chart
from alphapulse.reports.page.heat_maps import Bins, _neighbours, _outline, _plateau
from alphapulse.reports.page.page import _filling, render
from alphapulse.reports.page.price import price_places
from alphapulse.reports.page.subject import Curve, Subject
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.study.store import Store

WIDTHS = (1400, 390)
MOST_BYTES = 10_000_000


@pytest.mark.postgres
def test_report_of_a_sweep_stands_alone(run, in_process, small_study, database, tmp_path, capsys):
    summary = run(small_study(null_sweeps=19, n_trials=60), in_process())
    path = tmp_path / "report.html"
    assert summary.places["report"] == str(path)
    page = path.read_text("utf-8")
    assert len(page) < MOST_BYTES
    assert summary.verdict["sentence"].split(".")[0][:40] in page
    charts = {chart["name"]: chart for chart in charts_of(page)}
    assert {"equity", "drawdown", "rolling", "trials", "importance", "heat-0-1", "parallel", "price", "months"} < {
        name.replace(name, "heat-0-1") if name.startswith("heat-") else name for name in charts
    }
    chosen, bought = charts["equity"]["traces"][:2]
    ends = [trace["y"][-1] for trace in (chosen, bought)]
    metrics = summary.chosen.metrics, summary.chosen.holdout, summary.benchmark, summary.benchmark_holdout
    grown = [(1 + a["total_return"]) * (1 + b["total_return"]) for a, b in (metrics[:2], metrics[2:])]
    assert ends == pytest.approx(grown, rel=1e-5)
    assert page.count("<summary>Numbers</summary>") == len(charts)
    assert f"trial={summary.chosen.number}" in page
    quality = page.partition('<h2 id="quality-of-the-data">')[2].partition("<h2")[0]
    assert re.search(r"<td>SAMPLE_SP500 1d</td><td>traded</td><td>\d{4}-\d\d-\d\d</td><td>2009-12-31</td>", quality)
    assert summary.warnings
    assert all(html.escape(line.partition(": ")[2]) in quality for line in summary.warnings)
    path.unlink()
    run_report(ReportConfig(study="small"), tmp_path)
    assert charts_of(path.read_text("utf-8")) == list(charts.values())
    browse(path, len(charts))


def charts_of(page):
    return json.loads(re.search(r'<script id="charts" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def browse(path, n_charts):
    """Open a report at both widths and expect it drawn, within the window, quiet and alone."""
    if shutil.which("chromium") is None:
        pytest.skip("all but the browser's part has passed; that needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for width in WIDTHS:
            page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
            asked, said = [], []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.goto(f"file://{path}")
            page.wait_for_selector("body[data-drawn=yes]", timeout=120_000)
            assert asked == [f"file://{path}"]
            assert said == []
            assert page.locator(".plot .main-svg").first.is_visible()
            assert page.locator(".js-plotly-plot").count() == n_charts
            assert page.evaluate("document.documentElement.scrollWidth") == width
        browser.close()


@pytest.mark.postgres
def test_report_without_bars_says_why(run, in_process, small_study, database):
    summary = run(small_study(n_trials=40), in_process())
    store = Store(database)
    subject = Subject(store, store.find_study("small"), summary.verdict, None, "the bars are gone <now>.")
    page = render(subject)
    assert "Nothing is drawn over time: the bars are gone &lt;now&gt;." in page
    assert {chart["name"] for chart in charts_of(page)}.isdisjoint({"equity", "price", "costs"})


def test_no_chart_is_alone_in_a_row_of_two():
    chart = Chart("a", "A", "", [], {}, [], [])
    wide = replace(chart, is_wide=True)
    for given, expected in (
        ([chart], [True]),
        ([chart, chart, chart], [False, False, True]),
        ([chart, wide, chart, chart], [True, True, False, False]),
        ([chart, chart, wide], [False, False, True]),
    ):
        assert [one.is_wide for one in _filling(given)] == expected


def test_bins_are_values_where_they_are_few():
    few = Bins.of(IntDimension("a.b", 1, 3), np.array([3.0, 1.0, 1.0]))
    assert (few.labels, few.place.tolist()) == (["1", "3"], [1, 0, 0])
    choices = Bins.of(CategoricalDimension("a.b", ("x", None)), np.array([1.0, 0.0]))
    assert choices.labels == ["x", "None"]
    many = Bins.of(FloatDimension("a.b", 0.01, 100.0, log=True), np.array([0.01, 0.9999, 100.0]))
    assert len(many.labels) == 20
    assert many.place.tolist() == [0, 9, 19]


def test_plateau_hangs_together_and_is_outlined():
    median = np.array([[1.0, 0.9, 0.1], [0.2, np.nan, 0.9], [0.85, 0.2, 0.95]])
    inside = _plateau(median, (0, 0), maximize=True)
    assert inside.tolist() == [[True, True, False], [False] * 3, [False] * 3]
    x, y = _outline(inside)
    assert len(x) == len(y) == 3 * 6
    assert _neighbours(np.array([[1.0, np.nan], [3.0, 5.0]]), np.ones((2, 2)))[0, 0] == pytest.approx(3.0)


def test_price_keeps_extremes_and_every_bar_around_trades():
    rng = np.random.default_rng(0)
    price = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=100_000)))
    trades = np.array([0, 50_000, 99_999])
    places = price_places(price * 0.99, price * 1.01, trades)
    assert len(places) <= 5_000
    assert {int(np.argmin(price)), int(np.argmax(price)), 0, 99_999} <= set(places.tolist())
    assert set(range(49_997, 50_004)) <= set(places.tolist())
    assert len(price_places(price[:500], price[:500], trades[:1])) == 500


def test_drawdown_counts_from_the_start():
    curve = Curve("c", np.arange(3), np.array([-0.1, 0.2, -0.5]))
    assert curve.drawdown == pytest.approx([-0.1, 0.0, -0.5])
