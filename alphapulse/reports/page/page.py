"""The report as one HTML file that needs nothing else: plotly.js inside, no request to anywhere, light and dark."""

import html
import importlib.resources
import json
import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from alphapulse.backtesting.metrics import TABLE
from alphapulse.config.grammar import write_space
from alphapulse.errors import AlphaPulseError
from alphapulse.plain import command_line, override_lines, plain
from alphapulse.reports.formatting import SHOWN_METRICS, format_metric, format_parameter
from alphapulse.reports.page.chart import PALETTES, Chart
from alphapulse.reports.page.costs import cost_chart
from alphapulse.reports.page.curves import curve_charts
from alphapulse.reports.page.halves import halves_chart
from alphapulse.reports.page.heat_maps import heat_map_charts
from alphapulse.reports.page.importance import importance_chart
from alphapulse.reports.page.months import month_chart
from alphapulse.reports.page.nulls import null_charts
from alphapulse.reports.page.price import price_chart
from alphapulse.reports.page.quality import BARS, FINDINGS, bar_rows, finding_rows, gap_rows
from alphapulse.reports.page.space import space_charts
from alphapulse.reports.page.subject import Subject
from alphapulse.reports.page.universe import universe_charts
from alphapulse.reports.page.walk_forward import walk_forward_chart
from alphapulse.sweep.opening import setting_of

REPORT = "report.html"
HERE = Path(__file__).parent
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
TESTS = "What each test says"
QUALITY = "Quality of the data"
NO_VERDICT = "There is no verdict yet: the study was interrupted, or has more trials than were weighed."


def write_report(subject: Subject, path: Path) -> None:
    """Write the report of a study to `path`."""
    path.write_text(render(subject), encoding="utf-8")


def render(subject: Subject) -> str:
    """Return the report of a study as HTML."""
    sections = {
        "Over time": curve_charts(subject),
        "Skill or luck": [*null_charts(subject), *walk_forward_chart(subject), *halves_chart(subject)],
        "Where the good settings are": [*importance_chart(subject), *heat_map_charts(subject)],
        "All settings": space_charts(subject),
        "Symbol by symbol": universe_charts(subject),
        subject.name.capitalize(): [*price_chart(subject), *month_chart(subject), *cost_chart(subject)],
    }
    sections = {title: charts for title, charts in sections.items() if charts}
    every = [chart for charts in sections.values() for chart in charts]
    body = [
        _head(subject),
        _banner(subject),
        _settings(subject),
        _navigation([*sections, *([TESTS] if _said(subject) else []), QUALITY, "Data and reproduction"]),
        *(_section(title, charts) for title, charts in sections.items()),
        _reasons(subject),
        _quality(subject),
        _reproduction(subject),
    ]
    specifications = [{"name": c.name, "traces": c.traces, "layout": c.layout, "height": c.height} for c in every]
    plotly = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")
    plotly = plotly.replace("</script", "<\\/script")
    data = json.dumps(plain(specifications), separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(subject.study.name)}: {_text(_word(subject))}</title>"
        f"<style>{(HERE / 'page.css').read_text('utf-8')}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n"
        f'<script id="palettes" type="application/json">{json.dumps(PALETTES)}</script>\n'
        f'<script id="charts" type="application/json">{data}</script>\n'
        f"<script>{plotly}</script>\n"
        f"<script>{(HERE / 'page.js').read_text('utf-8')}</script>\n</body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _word(subject: Subject) -> str:
    """Return the word over the page: the verdict's, or, where that is on another trial, which trial this is."""
    if not subject.is_judged:
        return subject.name.capitalize()
    return str(subject.verdict.get("word") or "no verdict yet")


def _head(subject: Subject) -> str:
    study = subject.study
    data = subject.verdict.get("data") or ", ".join(study.config.get("data", {}).get("symbols", ()))
    return (
        f"<h1>{_text(study.name)}</h1><p class='soft'>{_text(data)}. {study.n_done:,} trials by "
        f"{_text(study.config.get('sampler', 'search'))}, seed {study.seed}, objective "
        f"{_text(', '.join(study.objectives))}; {_text(study.config.get('strategy', {}).get('_target_', ''))}."
        f"{_stored(subject)}</p>"
    )


def _stored(subject: Subject) -> str:
    """Return which trials the charts show, where not all are stored."""
    sums = subject.store.sums(subject.study)
    if sums is None or sums.n_drawn == sums.n_trials:
        return ""
    return f" {sums.stored} The charts of all trials show the {sums.n_drawn:,} that were drawn."


def _banner(subject: Subject) -> str:
    word = _word(subject)
    style = word.split()[0] if subject.verdict and subject.is_judged else "NONE"
    sentence = subject.verdict.get("sentence") or NO_VERDICT
    if subject.verdict and not subject.is_judged:
        sentence = f"The verdict is on trial {subject.verdict['chosen']:,}, {subject.verdict['word']}: {sentence}"
    lines = "".join(f"<p>{_text(line)}</p>" for line in (sentence, subject.verdict.get("shortage")) if line)
    return f'<div class="banner {_text(style)}"><strong>{_text(word)}</strong>{lines}</div>'


def _settings(subject: Subject) -> str:
    """Return the chosen and the robust setting beside buy and hold."""
    chosen, verdict = subject.chosen, subject.verdict
    if chosen is None:
        return "<p>No trial has an objective.</p>"
    name = "chosen" if subject.is_judged else "shown"
    columns: dict[str, dict[str, float]] = {f"{name}, trial {chosen['number']:,}": chosen["metrics"]}
    if subject.robust is not None:
        columns[f"robust, trial {subject.robust['number']:,}"] = subject.robust["metrics"]
    columns["buy and hold"] = verdict.get("benchmark") or {}
    if subject.is_judged and verdict.get("chosen_holdout"):
        columns["chosen, held out"] = verdict["chosen_holdout"]
        columns["buy and hold, held out"] = verdict.get("benchmark_holdout") or {}
    names = [name for name in ("total_return", *SHOWN_METRICS) if name in TABLE]
    metrics = _table(
        ["", *columns],
        [[name.replace("_", " "), *(format_metric(name, c.get(name)) for c in columns.values())] for name in names],
    )
    keys = subject.study.space.keys
    trials = [chosen] + ([subject.robust] if subject.robust is not None else [])
    heads = ["setting", *list(columns)[: len(trials)]]
    settings = _table(
        heads, [[key, *(format_parameter(t["params"].get(key, math.nan)) for t in trials)] for key in keys]
    )
    note = "" if subject.inputs is not None else f"<p>Nothing is drawn over time: {_text(subject.why_not)}</p>"
    robust = (
        "<p class='soft'>The robust setting is the one whose neighbours are best; the hold-out was opened for the "
        "chosen one alone.</p>"
        if subject.robust is not None
        else ""
    )
    return (
        f'<div class="grid"><div class="card wide"><h3>What it made</h3>{metrics}{robust}</div>'
        f'<div class="card wide"><h3>Settings</h3>{settings}{note}</div></div>'
    )


def _navigation(titles: Iterable[str]) -> str:
    links = "".join(f'<a href="#{_anchor(title)}">{_text(title)}</a>' for title in titles)
    return f"<nav>{links}</nav>"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(title: str, charts: Sequence[Chart]) -> str:
    big = [chart for chart in charts if not chart.name.startswith("slice-")]
    slices = [chart for chart in charts if chart.name.startswith("slice-")]
    parts = [f'<h2 id="{_anchor(title)}">{_text(title)}</h2>']
    parts += [f'<div class="grid">{"".join(map(_card, _filling(big)))}</div>'] if big else []
    parts += [f'<div class="grid small" style="margin-top:16px">{"".join(map(_card, slices))}</div>'] if slices else []
    return "".join(parts)


def _filling(charts: Sequence[Chart]) -> list[Chart]:
    """Return charts of which none is alone in a row of two: such a one is as wide as both."""
    filling: list[Chart] = []
    n_beside = 0
    for chart, following in zip(charts, [*charts[1:], None], strict=True):
        is_last = following is None or following.is_wide
        is_alone = not chart.is_wide and n_beside % 2 == 0 and is_last
        filling.append(replace(chart, is_wide=True) if is_alone else chart)
        n_beside = 0 if chart.is_wide else n_beside + 1
    return filling


def _card(chart: Chart) -> str:
    wide = " wide" if chart.is_wide else ""
    return (
        f'<div class="card{wide}" id="{_text(chart.name)}"><h3>{_text(chart.title)}</h3>'
        f'<p class="soft">{_text(chart.lead)}</p>'
        f'<div class="plot" id="plot-{_text(chart.name)}" style="min-height:{chart.height}px"></div>'
        f"<details><summary>Numbers</summary>{_table(chart.headings, chart.rows)}</details></div>"
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll {kind}">{table}</div>'


def _said(subject: Subject) -> Sequence[str]:
    """Return what each test says of the trial that is shown."""
    return (subject.verdict.get("reasons") or subject.verdict.get("lines") or []) if subject.is_judged else []


def _reasons(subject: Subject) -> str:
    reasons = _said(subject)
    if not reasons:
        return ""
    items = "".join(f"<li>{_text(reason.strip())}</li>" for reason in reasons)
    return f'<h2 id="{_anchor(TESTS)}">{TESTS}</h2><div class="card"><ul>{items}</ul></div>'


def _quality(subject: Subject) -> str:
    rows, findings, gaps = bar_rows(subject), finding_rows(subject), gap_rows(subject)
    parts = [_table(BARS, rows)] if rows else []
    parts.append(
        f"<h3>Findings</h3>{_table(FINDINGS, findings, 'facts')}" if findings else "<p>No fault was found.</p>"
    )
    if gaps:
        parts.append(
            "<details><summary>Gaps of the traded bars, the longest</summary>"
            f"{_table(('after', 'before', 'missing bars'), gaps)}</details>"
        )
    return f'<h2 id="{_anchor(QUALITY)}">{QUALITY}</h2><div class="card">{"".join(parts)}</div>'


def _reproduction(subject: Subject) -> str:
    study, title = subject.study, "Data and reproduction"
    bars = subject.verdict.get("bars") or {}
    facts = {
        "bars": f"{', '.join(bars.get('symbols', ()))} {bars.get('timeframe', '')}, {bars.get('start', '')[:10]} to "
        f"{bars.get('end', '')[:10]}, hold-out from {str(bars.get('holdout_start'))[:10]}" if bars else "",
        "fingerprint of the data": study.fingerprint,
        "seed": study.seed,
        "code": study.code_version,
        "definitions": study.definitions,
        "versions": ", ".join(f"{name} {version}" for name, version in study.packages.items()),
    }  # fmt: skip
    commands = [command_line("report", study=study.name)]
    if subject.chosen is not None:
        number = subject.chosen["number"]
        commands += [
            command_line("replay", study=study.name, trial=number),
            command_line("backtest", study=study.name, trial=number),
            *_whole_command(subject),
        ]
    config = yaml.safe_dump(plain(study.config | {"space": write_space(study.space)}), sort_keys=False, width=110)
    return (
        f'<h2 id="{_anchor(title)}">{title}</h2><div class="card">'
        + _table(["", ""], [[name, str(value)] for name, value in facts.items() if value != ""], "facts")
        + f"<h3>Again</h3><pre>{_text(chr(10).join(commands))}</pre>"
        + f"<details><summary>Configuration</summary><pre>{_text(config)}</pre></details></div>"
    )


def _whole_command(subject: Subject) -> list[str]:
    """Return the command that runs the chosen setting without the study, at full precision."""
    assert subject.chosen is not None
    try:
        setting = setting_of(subject.study, subject.chosen)
    except AlphaPulseError:
        return []
    kept = {name: setting[name] for name in ("data", "universe", "strategy", "engine")}
    kept["validation"] = {"holdout": setting["validation"]["holdout"]}
    return [" ".join(["python -m alphapulse.backtest", *(shlex.quote(line) for line in override_lines(kept))])]
