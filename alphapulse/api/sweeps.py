"""A sweep from Python: the same study as the command's, in the same database."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console

from alphapulse.api.bars import universe_of, use_bars
from alphapulse.api.cells import target_of
from alphapulse.api.studies import Study
from alphapulse.commands.sweep import run_study
from alphapulse.config.assembly import assemble
from alphapulse.config.schema import TARGET, SweepConfig
from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import ConfigError
from alphapulse.progress import NotebookConsole
from alphapulse.search.dimensions import CategoricalDimension, Dimension, FloatDimension, IntDimension
from alphapulse.sweep.workers.cluster import Cluster

_session: Cluster | None = None


def run_sweep(
    strategy: Any,
    bars: Any = None,
    *,
    space: Mapping[str, Any],
    n_trials: int = 2000,
    symbol: str | None = None,
    timeframe: str | None = None,
    study: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    universe: str | Mapping[str, Any] | None = None,
    quiet: bool = False,
    **keys: Any,
) -> Study:
    """Search a strategy's parameters and weigh what is found: skill or luck.

    It is the same study as `python -m alphapulse.sweep` makes, in the same database; either continues it. Ray is
    started once a session and kept.

    Parameters
    ----------
    strategy : class, function or str
        A strategy, or its dotted path; one of a notebook's cell or a script does.
    bars : DataFrame, path or str, optional
        A frame with open, high, low, close (and volume) by time, a CSV file, or the symbol of stored bars; None is the
        sample. A frame or file is stored under `symbol`. A dict of frames by symbol, or a list of stored symbols, are
        many.
    space : mapping
        What each swept key may be: a pair is bounds (both whole: whole numbers), a list choices, a range steps. A plain
        name is one of the strategy's, {"engine.stop.multiplier": (1.0, 5.0)} one of the engine's.
    n_trials : int
        Trials of the study in total.
    symbol : str, optional
    timeframe : str, optional
        Length of a bar; None is what a file has, else a day.
    study : str, optional
        Its name; one that is stored is continued.
    parameters : mapping, optional
        Parameters of the strategy that are not swept and not at their defaults.
    universe : str or mapping, optional
        Of many symbols "each" tries the strategy on each alone and "account" holds all in one account, or keys such as
        {"kind": "each", "score": "median"}; by default the account of a class with `targets`, else each.
    quiet : bool
        Whether progress is silent.
    **keys
        Every other key of the command: seed=1, objective="calmar_ratio", search="random", data={...},
        engine={"commission": 0.0005}, validation={"holdout": 0.3},
        when={"engine.stop.multiplier": 'engine.stop.kind == "atr"'}.

    Returns
    -------
    Study

    Raises
    ------
    AlphaPulseError
        For whatever a user can cause.

    Examples
    --------
    >>> import alphapulse as ap
    >>> study = ap.run_sweep("sma_cross", space={"fast": (5, 50), "slow": (60, 300)}, n_trials=50, quiet=True)
    >>> study.n_trials
    50
    """
    database = open_database()
    target = target_of(strategy)
    if isinstance(keys.get("search"), str):
        keys["search"] = {"sampler": keys["search"]}
    if isinstance(keys.get("when"), Mapping):
        keys["when"] = {_dotted(name): text for name, text in keys["when"].items()}
    values: dict[str, Any] = {
        **keys,
        "study": study or _fresh_name(target),
        "n_trials": n_trials,
        "quiet": quiet,
        "universe": universe_of(bars, universe, target),
        "data": use_bars(database, bars, symbol, timeframe) | dict(keys.get("data", {})),
        "strategy": {TARGET: target, **dict(parameters or {})},
        "space": {d.key: d.to_grammar() for d in map(_dimension, space, space.values())},
    }
    config = assemble(SweepConfig, values)
    console = Console(stderr=True, highlight=False, markup=False)
    if console.is_jupyter:
        console = NotebookConsole()
    run_study(lambda: _workers(config), config, console, None)
    return Study(str(config.study))


def _fresh_name(target: str) -> str:
    now = datetime.now()
    return f"{target.rpartition('.')[2]}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _dimension(name: str, values: Any) -> Dimension:
    """Return what a swept key may be, from the way it is written in Python."""
    key = _dotted(name)
    if isinstance(values, range):
        if len(values) == 0:
            raise ConfigError(f"`{key}` must hold a value, but got {values!r}")
        low, high = sorted((values[0], values[-1]))
        return IntDimension(key, low, high, abs(values.step) if len(values) > 1 else None)
    if isinstance(values, tuple) and len(values) == 2 and all(_is_number(value) for value in values):
        low, high = values
        if not low <= high:
            raise ConfigError(f"`{key}` must have its lower bound first, but got {values!r}")
        whole = isinstance(low, int) and isinstance(high, int)
        return IntDimension(key, low, high) if whole else FloatDimension(key, float(low), float(high))
    if isinstance(values, list) and values:
        return CategoricalDimension(key, tuple(values))
    raise ConfigError(
        f"`{key}` must be a pair of bounds such as (10, 250), a list of choices such as ['a', 'b'], or a range such as "
        f"range(5, 55, 5), but got {values!r}"
    )


def _dotted(name: str) -> str:
    return name if name.startswith(("strategy.", "engine.")) else f"strategy.{name}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _workers(config: SweepConfig) -> Cluster:
    """Return the workers of this session, started at the first call and kept until Ray ends them with the process."""
    global _session
    if _session is None:
        _session = Cluster.of(config.cluster, config.study or "")
    # Whoever joins what runs already stops nothing at its end.
    _session.wait_until_started()
    return Cluster(
        head_timeout=config.cluster.head_timeout, resources=config.cluster.resources, study=config.study or ""
    )
