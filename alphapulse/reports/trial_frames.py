"""The trials of a study as data frames: all in pieces, or the best of those that a condition holds for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alphapulse.backtesting.batch import RUINED
from alphapulse.backtesting.metrics import METRICS
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.conditions import filled_column
from alphapulse.search.dimensions import Dimension
from alphapulse.search.expressions import Expression, read_condition
from alphapulse.study.columns import TRIALS_A_PIECE, StudyColumns
from alphapulse.study.records import Study
from alphapulse.study.store import Store
from alphapulse.study.trials import Trials
from alphapulse.typing import Float64Array1D, Int64Array1D

N_NAMED = 12


@dataclass(frozen=True)
class TrialFrames:
    """The stored trials of one study as rows, number first.

    The columns are number, state (COMPLETE, FAIL), feasible (with conditions on results), value (or value_0, value_1,
    ... with several objectives), the swept keys by their dotted names, every metric, ruined, seconds and error. What
    is undefined is NaN, as is a key that is inactive, None among choices.

    Attributes
    ----------
    store : Store
    study : Study
    symbol : str, optional
        Of a universe: metrics, and the value of an objective that is a metric, are those on this symbol alone.
    """

    store: Store
    study: Study
    symbol: str | None = None

    def check_symbol(self) -> None:
        """Refuse a symbol on which the trials have no metrics.

        Raises
        ------
        ConfigError
            If it is none of the study's, or the study is of one symbol.
        """
        if self.symbol is None:
            return
        known = StudyColumns(self.store.database, self.study).symbols()
        if not known:
            raise ConfigError(
                f"`symbol` must be left out: the trials of study {self.study.name!r} have no metrics by symbol, which "
                "those of `universe=each` have."
            )
        if self.symbol not in known:
            hint = did_you_mean(self.symbol, known) or f"; they are {', '.join(known[:N_NAMED])}"
            raise ConfigError(f"`symbol` must be one of study {self.study.name!r}, but got {self.symbol!r}{hint}")

    @property
    def values(self) -> list[str]:
        """The columns of the objectives."""
        n = len(self.study.objectives)
        return ["value"] if n == 1 else [f"value_{place}" for place in range(n)]

    @property
    def aliases(self) -> dict[str, str]:
        """Short names of the swept keys, where one stands for one key alone and for no other column."""
        taken = {"number", "trial", "state", "feasible", "ruined", "seconds", "error", *self.values, *METRICS}
        short = [key.rpartition(".")[2] for key in self.study.space.keys]
        pairs = zip(short, self.study.space.keys, strict=True)
        return {"trial": "number"} | {name: key for name, key in pairs if name not in taken and short.count(name) == 1}

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        last = ("ruined", "seconds", "error")
        first = ("number", "state", *(["feasible"] if self.study.feasible else []))
        return (*first, *self.values, *self.study.space.keys, *METRICS, *last)

    def read_where(self, text: str | None) -> Expression | None:
        """Return a condition on the columns; swept keys may be named without what stands before their last dot.

        Raises
        ------
        ConfigError
            If it is none, or names no column.
        """
        return None if text is None else read_condition(text, "where", (*self.columns, *self.aliases))

    def pieces(self, where: Expression | None = None) -> Iterator[pd.DataFrame]:
        """Yield the trials in order of their numbers, in pieces; those alone for which `where` holds."""
        read = StudyColumns(self.store.database, self.study)
        n_done = self.store.n_done(self.study)
        # Where a part is stored, a piece of as many rows spans more numbers.
        step = max(TRIALS_A_PIECE, n_done // 4) if self.study.is_part else TRIALS_A_PIECE
        for start in range(0, n_done, step):
            numbers, trials = read.numbered_trials(start, min(start + step, n_done))
            if not len(numbers):
                continue
            frame = self._frame(numbers, trials)
            if self.symbol is not None:
                frame = self._on_symbol(read, frame)
            yield frame if where is None else frame[_holds(where, frame, self.aliases)]

    def best(self, n: int, where: Expression | None = None) -> pd.DataFrame:
        """Return the `n` best trials by the first objective, earlier ones first among equals; failed ones come last.

        Those that break a condition on results come after those that do not.
        """
        order = [*(["feasible"] if self.study.feasible else []), self.values[0], "number"]
        ascending = [False, self.study.directions[0] == "minimize", True][-len(order) :]
        found = self._empty()
        for piece in self.pieces(where):
            joined = piece if found.empty else pd.concat([found, piece], ignore_index=True)
            ordered = joined.sort_values(order, ascending=ascending, na_position="last")
            found = ordered.head(n)
        return found.reset_index(drop=True)

    def all(self, where: Expression | None = None) -> pd.DataFrame:
        """Return all trials, or those for which `where` holds, in one frame."""
        return pd.concat([self._empty(), *self.pieces(where)], ignore_index=True)

    def _on_symbol(self, read: StudyColumns, frame: pd.DataFrame) -> pd.DataFrame:
        """Return trials with the metrics of the symbol in place of the portfolio's; NaN where a trial failed."""
        assert self.symbol is not None
        numbers = frame["number"]
        found, metrics = read.metrics_on(self.symbol, int(numbers.iloc[0]), int(numbers.iloc[-1]) + 1)
        columns = dict(pd.DataFrame(metrics, index=found, columns=list(METRICS)).reindex(numbers).items())
        objectives = zip(self.values, self.study.objectives, strict=True)
        columns |= {value: columns[name] for value, name in objectives if name in METRICS}
        return frame.assign(**{str(name): column.to_numpy() for name, column in columns.items()})

    def _empty(self) -> pd.DataFrame:
        study = self.study
        nothing = Trials.blank(np.empty((0, len(study.space))), len(study.objectives), len(study.feasible))
        return self._frame(np.empty(0, dtype=np.int64), nothing)

    def _frame(self, numbers: Int64Array1D, trials: Trials) -> pd.DataFrame:
        n = len(trials.seconds)
        failed = np.isnan(trials.values).any(axis=1)
        errors = np.full(n, None, dtype=object)
        for place, reason in trials.errors.items():
            errors[place] = reason
        columns: dict[str, Any] = {
            "number": numbers,
            "state": np.where(failed, "FAIL", "COMPLETE").astype(object),
        }
        if self.study.feasible:
            columns["feasible"] = trials.is_candidate
        columns |= {name: trials.values[:, place] for place, name in enumerate(self.values)}
        columns |= {d.key: self._swept(d, trials.parameters[:, p]) for p, d in enumerate(self.study.space.dimensions)}
        columns |= {name: trials.metrics[:, place] for place, name in enumerate(METRICS)}
        columns |= {"ruined": trials.status == RUINED, "seconds": trials.seconds, "error": errors}
        return pd.DataFrame(columns)

    def _swept(self, dimension: Dimension, parameters: Float64Array1D) -> Any:
        """Return the column of a swept key (n,), of one type in every piece where it may be inactive: NaN or None."""
        if dimension.key not in self.study.config.get("when", {}):
            return dimension.column(parameters)
        if dimension.is_ordered:
            return parameters
        return pd.Series(list(filled_column(dimension, parameters, None)), dtype=object)


def _holds(where: Expression, frame: pd.DataFrame, aliases: Mapping[str, str]) -> np.ndarray:
    named = {name: frame[aliases.get(name, name)].to_numpy() for name in where.names}
    return np.broadcast_to(where.evaluate(named), len(frame)).astype(np.bool_)


def write_csv(pieces: Iterable[pd.DataFrame], file: Any) -> int:
    """Write trials to an open text file, every number with all its digits; return how many there were."""
    n = 0
    for place, piece in enumerate(pieces):
        piece.to_csv(file, index=False, header=place == 0, lineterminator="\n")
        n += len(piece)
    return n


def write_parquet(pieces: Iterable[pd.DataFrame], path: Any) -> int:
    """Write trials to a Parquet file; return how many there were."""
    import pyarrow
    import pyarrow.parquet

    n, writer = 0, None
    try:
        for piece in pieces:
            table = pyarrow.Table.from_pandas(_typed(piece), preserve_index=False)
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
            n += len(piece)
    finally:
        if writer is not None:
            writer.close()
    return n


def _typed(piece: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns of texts are such even where all of a piece is missing, mixed choices as texts."""
    objects = [name for name in piece.columns if piece[name].dtype == object]
    return piece.astype(dict.fromkeys(objects, "str"))
