"""The same backtests as other tools run them, one function a tool, each returning trials per second.

The work is the long/short strategy on daily bars. Optuna and Ray Tune call our own single backtest, so that what
differs is their bookkeeping; vectorbt and backtesting.py do the whole backtest their own way.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import yaml

from alphapulse.backtesting.metrics import METRICS
from alphapulse.config.assembly import assemble
from alphapulse.config.found import resource_dir
from alphapulse.config.schema import DEFAULT_STRATEGY, SweepConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.base import Bars
from alphapulse.sweep.inputs import load_inputs
from alphapulse.sweep.worker import evaluate_batch

Settings = dict[str, Any]
Objective = Callable[[Settings], dict[str, float]]


@dataclass(frozen=True)
class Work:
    """What every tool is asked to do.

    Attributes
    ----------
    bars : Bars
    space : SearchSpace
        Of the default sweep.
    make_objective : callable
        Returns our own backtest of one trial.
    optuna_url : str
        Of Optuna's tables in our PostgreSQL.
    """

    bars: Bars
    space: SearchSpace
    make_objective: Callable[[], Objective]
    optuna_url: str

    def draw(self, rng: np.random.Generator) -> Settings:
        """Return a random setting by short name."""
        row = np.array([rng.uniform(*d.bounds) for d in self.space.dimensions])
        return {key.rpartition(".")[2]: value for key, value in self.space.values(row).items()}


def default_work() -> Work:
    """Return the default sweep's work, its bars loaded from the database."""
    experiment = yaml.safe_load((resource_dir("sweeps") / "long_short_daily.yaml").read_text())
    strategy = {"_target_": DEFAULT_STRATEGY, "volatility_source": "realized"}
    config = assemble(SweepConfig, {"study": "rival", "strategy": strategy, "space": experiment["space"]})
    database = open_database(config.db)
    inputs = load_inputs(config, database)
    plain = replace(inputs.experiment, bootstrap=None)

    def make_objective() -> Objective:
        def objective(settings: Settings) -> dict[str, float]:
            row = np.array([[float(settings[key.rpartition(".")[2]]) for key in config.space.keys]])
            metrics = evaluate_batch(inputs.market, plain, row).trials.metrics[0]
            return dict(zip(METRICS, metrics.tolist(), strict=True))

        return objective

    return Work(inputs.market.bars, config.space, make_objective, database.optuna_url)


def _targets(bars: Bars, settings: Settings) -> pd.Series:
    """Return the long/short target allocation (n_bars,) [1] in pandas, as a vectorbt user would write it."""
    close = pd.Series(bars.close, index=pd.to_datetime(bars.timestamp, utc=True))
    average = close.rolling(settings["ma_window"]).mean()
    change = close.diff()
    gain = change.clip(lower=0).ewm(alpha=1 / settings["rsi_window"], adjust=False).mean()
    loss = (-change.clip(upper=0)).ewm(alpha=1 / settings["rsi_window"], adjust=False).mean()
    rsi = 100 - 100 / (1 + gain / loss)
    volatility = np.log(close).diff().rolling(21).std() * np.sqrt(252) * 100
    trend = np.sign(close - average).fillna(0)
    reversion = (rsi < settings["rsi_oversold"]).astype(float) - (rsi > settings["rsi_overbought"]).astype(float)
    scale = pd.Series(1.0, index=close.index).mask(
        volatility > settings["volatility_threshold"], settings["high_volatility_scale"]
    )
    signal = (trend + settings["reversion_weight"] * reversion).clip(-1, 1) * scale
    return signal.where(signal.abs() > 0.1, 0.0)


def vectorbt(bars: Bars, trials: Sequence[Settings], *, n_columns: int) -> float:
    """Time `vbt.Portfolio.from_orders` on `n_columns` trials at once."""
    import vectorbt as vbt

    index = pd.to_datetime(bars.timestamp, utc=True)
    opens = pd.Series(bars.open, index=index)

    def run(batch: Sequence[Settings]) -> None:
        targets = pd.concat([_targets(bars, s) for s in batch], axis=1, keys=range(len(batch)))
        portfolio = vbt.Portfolio.from_orders(
            pd.Series(bars.close, index=index),
            size=targets.shift(1),
            size_type="targetpercent",
            price=opens,
            fees=0.001,
            slippage=0.0005,
            freq="1D",
        )
        portfolio.sharpe_ratio()

    run(trials[:n_columns])
    start = time.perf_counter()
    for first in range(0, len(trials), n_columns):
        run(trials[first : first + n_columns])
    return len(trials) / (time.perf_counter() - start)


def backtesting_py(bars: Bars, trials: Sequence[Settings]) -> float:
    """Time `backtesting.Backtest.run`, which trades to the same targets at the next open."""
    from backtesting import Backtest, Strategy

    class ToTarget(Strategy):
        settings: Settings = trials[0]

        def init(self) -> None:
            self.targets = self.I(lambda: _targets(bars, self.settings).to_numpy())

        def next(self) -> None:
            target = self.targets[-1]
            held = sum(trade.size for trade in self.trades) * self.data.Close[-1] / self.equity
            if abs(target - held) > 0.05:
                self.position.close()
                if target:
                    (self.buy if target > 0 else self.sell)(size=min(abs(target), 0.99))

    frame = pd.DataFrame(
        {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close},
        index=pd.to_datetime(bars.timestamp),
    )
    backtest = Backtest(frame, ToTarget, cash=1e7, commission=0.0015, trade_on_close=False)
    start = time.perf_counter()
    for settings in trials:
        backtest.run(settings=settings)
    return len(trials) / (time.perf_counter() - start)


def _suggest(trial: Any, space: dict[str, Any]) -> Settings:
    import optuna

    return {
        key.rpartition(".")[2]: trial.suggest_int(key, d.low, d.high)
        if isinstance(d, optuna.distributions.IntDistribution)
        else trial.suggest_float(key, d.low, d.high)
        for key, d in space.items()
    }


def _optimize(
    url: str, name: str, space: dict[str, Any], make_objective: Callable[[], Objective], n_trials: int
) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective = make_objective()

    def run(trial: Any) -> float:
        metrics = objective(_suggest(trial, space))
        for metric, value in list(metrics.items())[:10]:
            trial.set_user_attr(metric, value)
        return metrics["sharpe_ratio"]

    study = optuna.load_study(study_name=name, storage=url, sampler=optuna.samplers.RandomSampler())
    study.optimize(run, n_trials=n_trials)


def optuna_rdb(url: str, space: dict[str, Any], make_objective: Callable[[], Objective], *, n_trials: int) -> float:
    """Time `study.optimize` in two processes over the same PostgreSQL, ten attributes a trial."""
    import optuna

    name = f"rival-{time.time_ns()}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name=name, storage=url, direction="maximize")
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_optimize, args=(url, name, space, make_objective, n_trials // 2)) for _ in range(2)
    ]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed = time.perf_counter() - start
    optuna.delete_study(study_name=name, storage=url)
    return n_trials / elapsed


def ray_tune(space: dict[str, Any], make_objective: Callable[[], Objective], *, n_trials: int, folder: str) -> float:
    """Time `ray.tune` with `OptunaSearch` on the running Ray cluster."""
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def trainable(settings: Settings) -> dict[str, float]:
        return make_objective()(settings)

    spaces = {
        key.rpartition(".")[2]: tune.randint(d.low, d.high + 1)
        if isinstance(d, optuna.distributions.IntDistribution)
        else tune.uniform(d.low, d.high)
        for key, d in space.items()
    }
    tuner = tune.Tuner(
        trainable,
        param_space=spaces,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric="sharpe_ratio", mode="max"),
            num_samples=n_trials,
            metric="sharpe_ratio",
            mode="max",
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=folder),
    )
    start = time.perf_counter()
    tuner.fit()
    return n_trials / (time.perf_counter() - start)
