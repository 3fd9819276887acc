"""Stored studies from Python: what was found, its charts, its trials run again."""

import contextlib
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from alphapulse.api.backtests import Backtest
from alphapulse.api.figures import as_figure
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import ConfigError, StudyError, did_you_mean
from alphapulse.reports.page.curves import curve_charts
from alphapulse.reports.page.heat_maps import heat_map
from alphapulse.reports.page.page import write_report
from alphapulse.reports.page.subject import Subject
from alphapulse.reports.summary import TrialSummary
from alphapulse.reports.trial_frames import TrialFrames
from alphapulse.study import records
from alphapulse.study.optuna.mirror import mirror
from alphapulse.study.picking import pick_trial
from alphapulse.study.store import Store
from alphapulse.sweep.scale.again import pick_or_draw

if TYPE_CHECKING:
    import optuna
    from plotly.graph_objects import Figure


class Verdict(dict[str, Any]):
    """A verdict as it is stored, with its word and its sentence at hand."""

    @property
    def word(self) -> str:
        """SURVIVES, INCONCLUSIVE or LIKELY LUCK."""
        return str(self["word"])

    @property
    def sentence(self) -> str:
        """Why, for a reader without statistics."""
        return str(self["sentence"])

    @property
    def shortage(self) -> str | None:
        """What the bars are too few for, in a sentence; None where they are enough."""
        return self.get("shortage")

    def __repr__(self) -> str:
        return "\n".join([f"{self.word}: {self.sentence}", *([self.shortage] if self.shortage else [])])

    def _repr_html_(self) -> str:
        colour = {"SURVIVES": "#009e73", "LIKELY LUCK": "#d55e00"}.get(self.word, "#b38f00")
        return (
            f"<div style='border-left:6px solid {colour};padding:6px 12px'><b>{escape(self.word)}</b>"
            f"<br>{escape(self.sentence)}{'<br>' if self.shortage else ''}{escape(self.shortage or '')}</div>"
        )


class Study:
    """A stored study, as it is in the database now.

    Parameters
    ----------
    name : str
        The study's name; `load_study` gives one.
    """

    def __init__(self, name: str) -> None:
        self._store = Store(open_database())
        self._study = self._store.find_study(name)

    @property
    def name(self) -> str:
        """Name of the study, by which commands find it too."""
        return self._study.name

    @property
    def status(self) -> str:
        """RUNNING, COMPLETE or INTERRUPTED."""
        return self._study.status

    @property
    def n_trials(self) -> int:
        """Trials that are stored."""
        return self._study.n_done

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, nested as the keys of a command are."""
        return self._study.config

    @property
    def verdict(self) -> Verdict | None:
        """Skill or luck; None while the study is not complete."""
        return None if self._study.verdict is None else Verdict(self._study.verdict)

    @property
    def best(self) -> TrialSummary:
        """The best trial by the first objective."""
        return self.trial("best")

    @property
    def chosen(self) -> TrialSummary:
        """The trial that the verdict speaks of."""
        return self.trial("chosen")

    @property
    def robust(self) -> TrialSummary:
        """The trial whose neighbours are best."""
        return self.trial("robust")

    def trial(self, trial: int | str) -> TrialSummary:
        """Return a trial by its number, or best, chosen or robust."""
        return TrialSummary.of(self._study, self._pick(trial))

    def _pick(self, trial: int | str) -> records.TrialRecord:
        return pick_trial(self._store, self._study, str(trial))

    @cached_property
    def trials(self) -> pd.DataFrame:
        """All trials: number, state, value, swept keys, metrics, seconds and error."""
        return TrialFrames(self._store, self._study).all()

    def find_trials(self, where: str | None = None, top: int | None = None) -> pd.DataFrame:
        """Return the trials for which a condition holds, such as "n_trades > 30"; the `top` best ones, if given."""
        frames = TrialFrames(self._store, self._study)
        condition = frames.read_where(where)
        return frames.all(condition) if top is None else frames.best(top, condition)

    def backtest(self, trial: int | str = "chosen") -> Backtest:
        """Run a trial again over the searched bars.

        Parameters
        ----------
        trial : int or str
            Its number, or best, chosen or robust; one that is not stored is drawn again.
        """
        found, inputs = pick_or_draw(self._store, self._study, str(trial)), self._drawn.inputs
        if inputs is None:
            raise StudyError(f"Study {self.name!r} cannot be run again: {self._drawn.why_not}")
        name = f"trial {found['number']:,}"
        return Backtest.of(name, inputs.market, inputs.experiment, found["parameters"])

    @cached_property
    def _drawn(self) -> Subject:
        return Subject.of(self._store, self._study, self._study.verdict)

    def plot(self) -> "Figure":
        """Return the chosen trial's equity beside buy and hold, through the hold-out where that was opened."""
        charts = curve_charts(self._drawn)
        if not charts:
            raise StudyError(f"Study {self.name!r} cannot be drawn: {self._drawn.why_not or 'no trial has a value.'}")
        return as_figure(charts[0].traces, charts[0].layout, charts[0].height)

    def plot_heatmap(self, first: str, second: str) -> "Figure":
        """Return the median objective over two swept keys, the plateau of the chosen trial outlined.

        Parameters
        ----------
        first, second : str
            Swept keys, with or without what stands before their last dot.
        """
        chart = heat_map(self._drawn, self._place(first), self._place(second))
        return as_figure(chart.traces, {"title": {"text": chart.title}, **chart.layout}, chart.height)

    def _place(self, key: str) -> int:
        keys = self._study.space.keys
        found = [place for place, known in enumerate(keys) if key in (known, known.rpartition(".")[2])]
        if len(found) != 1:
            hint = did_you_mean(key, [known.rpartition(".")[2] for known in keys]) or f"; swept are {', '.join(keys)}"
            raise ConfigError(f"A swept key must be named, but got {key!r}{hint}")
        return found[0]

    def report(self, path: str | Path) -> Path:
        """Write the report, one HTML file that needs nothing else; return where it is."""
        write_report(self._drawn, Path(path))
        return Path(path)

    @property
    def optuna(self) -> "optuna.Study":
        """The study as Optuna's own, for its plots and its dashboard."""
        import optuna

        mirror(self._store.database, self._study.id)
        return optuna.load_study(study_name=self.name, storage=self._store.database.optuna_url)

    def __repr__(self) -> str:
        said = "" if self.verdict is None else f": {self.verdict!r}"
        return f"<Study {self.name}, {self.n_trials:,} trials, {self.status}{said}>"

    def _repr_html_(self) -> str:
        banner = "" if self.verdict is None else self.verdict._repr_html_()
        return f"<h4>{escape(self.name)}: {self.n_trials:,} trials, {escape(self.status)}</h4>{banner}"

    def _ipython_display_(self) -> None:
        """Show verdict and equity; plotly knows what the front end needs, and leaves its code out where that has it."""
        from IPython.display import display

        display({"text/html": self._repr_html_(), "text/plain": repr(self)}, raw=True)
        if Console().is_jupyter:
            # Elsewhere plotly opens a browser, for which nobody has asked.
            with contextlib.suppress(StudyError):
                display(self.plot())


def load_study(name: str) -> Study:
    """Return a stored study by its name.

    Raises
    ------
    StudyError
        If there is none.
    """
    return Study(name)


def list_studies() -> pd.DataFrame:
    """Return the stored studies, latest first: study, status, n_trials, verdict and updated."""
    rows = [
        {
            "study": study.name,
            "status": study.status,
            "n_trials": study.n_done,
            "verdict": (study.verdict or {}).get("word"),
            "updated": study.updated_at,
        }
        for study in Store(open_database()).studies()
    ]
    return pd.DataFrame(rows, columns=["study", "status", "n_trials", "verdict", "updated"])
