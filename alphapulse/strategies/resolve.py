"""From a dotted path to a strategy: any class with `target`, or any function, of the user's folder or installed."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alphapulse.errors import StrategyError, did_you_mean
from alphapulse.market.bars import COLUMNS, Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.market.targets import AccountTargets, TargetBlock
from alphapulse.strategies.base import ATR_WINDOW, Strategy, average_true_range, longest_window
from alphapulse.strategies.columns import Settings, TargetColumns
from alphapulse.strategies.importing import folder_of_same, import_object, packed
from alphapulse.strategies.parameters import Parameter, annotations, reject_unknown, signature_parameters
from alphapulse.strategies.portfolio import PortfolioBlock, PortfolioStrategy
from alphapulse.strategies.sources import PACKAGE
from alphapulse.typing import Float64Array1D

BUILT_IN = {
    "long_short": "alphapulse.strategies.long_short.LongShort",
    "sma_cross": "alphapulse.strategies.sma_cross.SmaCross",
    "breakout": "alphapulse.strategies.breakout.Breakout",
    "rotation": "alphapulse.strategies.rotation.Rotation",
    "pairs": "alphapulse.strategies.pairs.Pairs",
}
SCALARS = ("symbol", "symbols", "timeframe", "others", "parts", "periods_per_year")


@dataclass(frozen=True)
class AdaptedStrategy(Strategy):
    """A class without our base, or a function, as a `Strategy`."""

    decide: Callable[[Bars], Any]
    values: Mapping[str, Any]
    subject: Any = None

    def target(self, bars: Bars) -> Float64Array1D:
        """Return the target allocation (n_bars,) [1]."""
        target: Float64Array1D = self.decide(bars)
        return target

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return what the class says `target` is made of."""
        found: dict[str, Float64Array1D] = self.subject.indicators(bars) if hasattr(self.subject, "indicators") else {}
        return found

    def lookback(self) -> int:
        """Return what the class says, or the longest window among the parameters [bars]."""
        return (
            int(self.subject.lookback())
            if callable(getattr(self.subject, "lookback", None))
            else longest_window(self.values)
        )

    def atr(self, bars: Bars) -> Float64Array1D:
        """Return what the class says, or Wilder's over `atr_window`, or 14 bars (n_bars,) [quote]."""
        if callable(getattr(self.subject, "atr", None)):
            average: Float64Array1D = self.subject.atr(bars)
            return average
        return average_true_range(bars, self.values.get("atr_window", ATR_WINDOW))


@dataclass(frozen=True)
class StrategyDefinition:
    """A strategy before its parameters are chosen; pickled as its path, so that another process imports it itself.

    Attributes
    ----------
    target : str
        Dotted path.
    search_path : str
        Folder that it was imported from, absolute.
    parameters : dict of str to Parameter
    source_hash : str
        Of its source and of the modules beside it that it imports.
    sources : dict of str to (str, bytes)
        File and content of those modules by name; empty for a strategy of alphapulse.
    """

    target: str
    search_path: str
    parameters: dict[str, Parameter]
    source_hash: str
    subject: Any
    construct: Callable[[Mapping[str, Any]], Strategy]
    sources: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.target, self.search_path, self.source_hash, self.sources)

    @property
    def name(self) -> str:
        """Name of the class or function."""
        return self.target.rpartition(".")[2]

    @property
    def is_built_in(self) -> bool:
        """Whether it is a part of alphapulse."""
        return self.target.partition(".")[0] == PACKAGE

    @property
    def constraints(self) -> tuple[str, ...]:
        """What it says must hold between its parameters, as expressions over their names: its attribute `constraints`.

        Raises
        ------
        StrategyError
            If that is no list of texts.
        """
        declared = () if "constraints" in self.parameters else getattr(self.subject, "constraints", ())
        if not isinstance(declared, list | tuple) or not all(isinstance(text, str) for text in declared):
            raise StrategyError(f"`constraints` of {self.name} must be a list such as ['a < b'], but got {declared!r}.")
        return tuple(declared)

    def reads_volatility(self, values: Mapping[str, Any]) -> bool:
        """Return whether it may look at the volatility index; of a user's own strategy its source has to name it."""
        if self.is_built_in:
            parameter = self.parameters.get("volatility_source")
            return parameter is not None and values.get(parameter.name, parameter.default) == "index"
        return not self.sources or any(b"volatility" in content for _, content in self.sources.values())

    @property
    def is_compiled(self) -> bool:
        """Whether it is a numba function."""
        return hasattr(self.subject, "py_func")

    def convert(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for every parameter, defaults included.

        Raises
        ------
        StrategyError
            If a name is unknown or a value is not of its parameter's type.
        """
        reject_unknown(values, self.parameters, self.name)
        return {n: p.convert(values[n]) if n in values else p.default for n, p in self.parameters.items()}

    def build(self, values: Mapping[str, Any]) -> Strategy:
        """Return the strategy with these parameters.

        Raises
        ------
        StrategyError
            As `convert`, and if the strategy refuses its parameters.
        """
        converted = self.convert(values)
        try:
            return self.construct(converted)
        except Exception as error:
            raise StrategyError(f"{self.name} refuses its parameters: {' '.join(str(error).split())}") from error

    def lookback(self, values: Mapping[str, Any]) -> int:
        """Return the bars that the strategy needs before its first decision [bars]."""
        lookback = self.build(values).lookback()
        if not isinstance(lookback, (int, np.integer)) or lookback < 0:
            raise StrategyError(f"`lookback` of {self.name} must be a number of bars >= 0, but got {lookback!r}.")
        return int(lookback)

    def longest_lookback(self, values: Mapping[str, Any], swept: Mapping[str, Sequence[Any]]) -> int:
        """Return the bars that the trials of a search need before their first decision, by its corners [bars].

        It is the largest `lookback` where all swept numbers are at their highest, where the windows among them
        are, and where one parameter takes each of its values while the windows are as fixed or at their highest; and
        at least one bar more than the longest window. Trials of a strategy that needs more in between begin flat.
        What a swept number is where nobody sweeps it counts only if it lies in its range: no trial has it otherwise.

        Parameters
        ----------
        values : mapping of str to value
            Fixed parameters.
        swept : mapping of str to sequence
            Some values of each swept parameter, lowest and highest among them, or all choices.
        """
        highest = {name: max(c) for name, c in swept.items() if all(isinstance(v, (int, float)) for v in c)}
        windows = {name: value for name, value in highest.items() if longest_window({name: value})}
        own = {name: values.get(name, self.parameters[name].default) for name in highest}
        own = {name: value for name, value in own.items() if isinstance(value, (int, float))}
        values = {**values, **{name: min(max(value, min(swept[name])), highest[name]) for name, value in own.items()}}
        points = [{**values}, {**values, **highest}, {**values, **windows}]
        points += [{**values, name: choice} for name, choices in swept.items() for choice in choices]
        points += [{**values, **windows, name: choice} for name, choices in swept.items() for choice in choices]
        lengths = [longest_window({**values, **windows}) + 1]
        for point in points:
            # A corner of the space may be impossible (fast above slow); its trials fail and need no bars.
            try:
                lengths.append(self.lookback(point))
            except StrategyError:
                continue
        return max(lengths)

    def block(
        self, bars: Bars, values: Mapping[str, Any], n_trials: int, cache: IndicatorCache | None = None
    ) -> TargetBlock:
        """Return the targets of many trials for the engine.

        Parameters
        ----------
        bars : Bars
        values : mapping of str to scalar or (n_trials,) array or list
            Parameters by name; a scalar is shared by all trials, a missing one is the default.
        n_trials : int
        cache : IndicatorCache, optional
            Indicators that blocks of the same bars share.

        Raises
        ------
        StrategyError
            If a name is unknown or a shared value impossible. What is wrong with a single trial is in
            `TargetBlock.failures`.
        """
        return self.arrange(values, n_trials).block(bars, IndicatorCache() if cache is None else cache)

    def arrange(self, values: Mapping[str, Any], n_trials: int) -> "Arranged":
        """Return many trials before they meet any bars; arguments and errors as in `block`."""
        reject_unknown(values, self.parameters, self.name)
        failures: dict[int, str] = {}
        columns = {}
        for name, parameter in self.parameters.items():
            value = values.get(name, parameter.default)
            if name in values and _is_column(parameter, value, n_trials):
                columns[name] = parameter.convert_column(value, failures)
            else:
                columns[name] = _repeat(parameter.convert(value), n_trials)
        is_own_path = not failures and hasattr(self.subject, "block")
        return Arranged(self, columns, None if is_own_path else Settings.of(columns, n_trials, failures))

    def portfolio_block(
        self, bars: Bars, values: Mapping[str, Any], n_trials: int, cache: IndicatorCache | None = None
    ) -> AccountTargets:
        """Return the targets of many trials in one account, as `block` does those of one symbol."""
        arranged = self.arrange(values, n_trials)
        settings = arranged.settings or Settings.of(arranged.columns, n_trials, {})
        return PortfolioBlock((cache or IndicatorCache()).attach(bars), settings, self.construct)

    @property
    def is_of_many(self) -> bool:
        """Whether it is a class that decides for many symbols in one account; a function may or may not."""
        return inspect.isclass(self.subject) and callable(getattr(self.subject, "targets", None))

    def check_universe(self, *, is_account: bool) -> None:
        """Raise StrategyError where a class decides for one symbol and an account wants many, or the other way round.

        A function may do either.
        """
        if not inspect.isclass(self.subject):
            return
        many = self.is_of_many
        one = callable(getattr(self.subject, "target", None)) and not issubclass(self.subject, PortfolioStrategy)
        if is_account and not many:
            raise StrategyError(
                f"{self.name} decides for one symbol: an account of many asks for a method `targets(self, bars)`; "
                "universe=each tries it on every symbol alone."
            )
        if not is_account and not one:
            raise StrategyError(
                f"{self.name} decides for many symbols in one account; write universe=account data.symbols=[A,B]."
            )

    def reload(self) -> "StrategyDefinition":
        """Return the strategy from a new import of its module, which remembers nothing."""
        return _define(self.target, Path(self.search_path), fresh=True)


@dataclass(frozen=True)
class Arranged:
    """Many trials of a strategy: parameters as columns (n_trials,), and `settings` where it makes one target a time."""

    definition: StrategyDefinition
    columns: Mapping[str, np.ndarray]
    settings: Settings | None

    def block(self, bars: Bars, cache: IndicatorCache) -> TargetBlock:
        """Return the targets of the trials on `bars`; `cache` has the indicators that blocks of these bars share."""
        if self.settings is None:
            block: TargetBlock = self.definition.subject.block(bars, self.columns, cache)
            return block
        return TargetColumns(cache.attach(bars), self.settings, self.definition.construct)


def resolve(target: str, search_path: str | None = None) -> StrategyDefinition:
    """Import a strategy.

    Parameters
    ----------
    target : str
        Dotted path of a class or function ("my_module.MyStrategy"), or one of `BUILT_IN`.
    search_path : str, optional
        Folder to import from before the installed packages; by default the working directory.

    Raises
    ------
    StrategyError
        If it cannot be imported, is no strategy, or has a parameter without a default.
    """
    return _define(target, Path(search_path or ".").resolve(), fresh=False)


def adapt(made: Any, values: Mapping[str, Any] | None = None) -> Strategy:
    """Return an object with `target` as a `Strategy`; `values` are its parameters, by default its attributes."""
    if isinstance(made, Strategy):
        return made
    values = getattr(made, "__dict__", {}) if values is None else values
    decide = made.targets if callable(getattr(made, "targets", None)) else made.target
    return AdaptedStrategy(decide, dict(values), made)


def _rebuild(
    target: str, search_path: str, source_hash: str, sources: Mapping[str, tuple[str, bytes]]
) -> StrategyDefinition:
    """Return the strategy as it was where it came from: of that folder if it is the same here, else of its content."""
    definition = resolve(target, folder_of_same(target, search_path, source_hash, sources))
    if definition.source_hash != source_hash:
        raise StrategyError(
            f"The source of {target} in {search_path} is not what the sweep began with; start it again."
        )
    return definition


def _define(target: str, folder: Path, *, fresh: bool) -> StrategyDefinition:
    path = BUILT_IN.get(target, target)
    if not isinstance(path, str) or "." not in path or not all(part.isidentifier() for part in path.split(".")):
        known = f"; it is {', '.join(BUILT_IN)} or a path such as my_module.MyStrategy."
        raise StrategyError(f"Unknown strategy {target!r}{did_you_mean(str(target), BUILT_IN) or known}")
    subject, source_hash = import_object(path, folder, fresh=fresh)
    if inspect.isclass(subject):
        parameters, construct = _from_class(subject, path)
    elif callable(subject):
        parameters, construct = _from_function(subject, path)
    else:
        raise StrategyError(
            f"{path} is of type {type(subject).__name__}; a strategy is a class with `target` or a function."
        )
    return StrategyDefinition(path, str(folder), parameters, source_hash, subject, construct, packed(path, folder))


def _from_class(subject: type, path: str) -> tuple[dict[str, Parameter], Callable[[Mapping[str, Any]], Strategy]]:
    decides = any(callable(getattr(subject, name, None)) for name in ("target", "targets"))
    if not decides or inspect.isabstract(subject):
        raise StrategyError(f"{path} has no method `target(self, bars)`; a strategy needs one.")
    own = [n for n in inspect.get_annotations(subject) if hasattr(subject, n)]
    if own and not dataclasses.is_dataclass(subject) and "__init__" not in vars(subject):
        raise StrategyError(f"{path} has fields but is no dataclass; put `@dataclass(frozen=True)` above it.")
    parameters = signature_parameters(subject, path)

    def construct(values: Mapping[str, Any]) -> Strategy:
        return adapt(subject(**values), values)

    return parameters, construct


def _from_function(subject: Any, path: str) -> tuple[dict[str, Parameter], Callable[[Mapping[str, Any]], Strategy]]:
    plain = getattr(subject, "py_func", subject)
    hints = annotations(plain)
    arguments = inspect.signature(plain).parameters
    data = frozenset(
        n for n, a in arguments.items() if n in (*COLUMNS, "bars") or (n in SCALARS and a.default is a.empty)
    )
    bundle = next((n for n in arguments if n not in data and _is_dataclass(hints.get(n))), None)
    parameters = signature_parameters(plain, path, data | ({bundle} if bundle else set()))
    bundled = signature_parameters(hints[bundle], path) if bundle else {}
    positional = [n for n, a in arguments.items() if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)]
    keyword = [n for n, a in arguments.items() if a.kind is a.KEYWORD_ONLY]

    def construct(values: Mapping[str, Any]) -> Strategy:
        given: dict[str, Any] = {name: values[name] for name in parameters}
        if bundle:
            given[bundle] = hints[bundle](**{name: values[name] for name in bundled})

        def decide(bars: Bars) -> Any:
            called = given | {name: bars if name == "bars" else getattr(bars, name) for name in data}
            return subject(*(called[n] for n in positional), **{n: called[n] for n in keyword})

        return AdaptedStrategy(decide, dict(values), subject)

    return parameters | bundled, construct


def _is_dataclass(annotation: Any) -> bool:
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation) and annotation is not Bars


def _is_column(parameter: Parameter, value: Any, n_trials: int) -> bool:
    """Return whether there is a value for each trial; of a parameter that is a list itself, a list of lists."""
    if isinstance(value, np.ndarray) or not isinstance(value, list) or len(value) != n_trials:
        return isinstance(value, np.ndarray) and value.shape == (n_trials,)
    return not isinstance(parameter.default, list | tuple) or all(isinstance(item, list | tuple) for item in value)


def _repeat(value: Any, n_trials: int) -> np.ndarray:
    if isinstance(value, (bool, int, float)):
        return np.full(n_trials, value)
    column = np.empty(n_trials, dtype=object)
    for trial in range(n_trials):
        column[trial] = value
    return column
