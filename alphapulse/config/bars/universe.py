"""Many symbols under one search: which, and what a setting is worth over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from alphapulse.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from alphapulse.backtesting.params import EngineParams

N_NAMED = 12
LISTS = (".txt", ".lst", ".list")


@dataclass(frozen=True)
class UniverseConfig:
    """Whether many symbols are traded, and how (`universe`).

    Attributes
    ----------
    kind : {"none", "each", "account"}
        "each" trades every symbol of `data.symbols`, each over its own bars; "account" all in one account, by a
        strategy that decides for all together; "none" the first alone.
    score : {"portfolio", "median", "worst", "mean", "share"}
        What the search is told: the objective of all symbols in equal parts, one over the objectives of the symbols,
        or the share of symbols that have one above 0.
    min_bars : int
        A symbol with fewer scored bars is left out [bars].
    """

    kind: Literal["none", "each", "account"] = "none"
    score: Literal["portfolio", "median", "worst", "mean", "share"] = "portfolio"
    min_bars: int = 252

    def __post_init__(self) -> None:
        if self.min_bars < 2:
            raise ConfigError(f"`universe.min_bars` must be >= 2, but got {self.min_bars!r}")
        if self.kind != "each" and self.score != "portfolio":
            raise ConfigError(f"`universe.score={self.score}` must go with universe=each")

    @property
    def is_each(self) -> bool:
        """Whether every symbol is traded, each alone."""
        return self.kind == "each"

    @property
    def is_account(self) -> bool:
        """Whether all symbols are traded in one account."""
        return self.kind == "account"

    @property
    def is_many(self) -> bool:
        """Whether more than the first symbol is traded."""
        return self.kind != "none"


def check_account(
    engine: "EngineParams", symbols: tuple[str, ...], universe: UniverseConfig, swept: Sequence[str] = ()
) -> None:
    """Raise ConfigError for fields of the engine that one account does not have, or that it alone has.

    Parameters
    ----------
    engine : EngineParams
    symbols : tuple of str
        Of `data.symbols`.
    universe : UniverseConfig
    swept : sequence of str
        Dotted keys that are searched.
    """
    if not universe.is_account:
        own = {"by_symbol": bool(engine.by_symbol), "max_net_leverage": engine.max_net_leverage is not None}
        for key, given in own.items():
            if given or f"engine.{key}" in swept:
                raise ConfigError(f"`engine.{key}` must go with universe=account, but got universe={universe.kind}")
        return
    if engine.sizing.kind != "target" or "engine.sizing.kind" in swept:
        raise ConfigError(
            f"`engine.sizing.kind` must be target with universe=account, but got {engine.sizing.kind}; let the "
            "strategy's targets say how large positions are"
        )
    for field, series in engine.series.items():
        raise ConfigError(f"`engine.{field}` must be no joined series with universe=account, but got {series!r}")
    for symbol in engine.by_symbol:
        if symbol not in symbols:
            hint = did_you_mean(symbol, symbols) or f"; there are {', '.join(symbols[:N_NAMED])}"
            raise ConfigError(f"`engine.by_symbol` must name symbols of data.symbols, but got {symbol!r}{hint}")


def listed(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Return the symbols, those of a file where that is what one name is: a line a symbol, `#` begins a remark.

    Raises
    ------
    ConfigError
        If the file cannot be read, or holds no symbol.
    """
    if len(symbols) != 1 or Path(symbols[0]).suffix.lower() not in LISTS:
        return symbols
    try:
        lines = Path(symbols[0]).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigError(f"`data.symbols` must name a file with a symbol a line, but {symbols[0]}: {why}") from error
    found = tuple(dict.fromkeys(name for line in lines if (name := line.partition("#")[0].strip())))
    if not found:
        raise ConfigError(f"`data.symbols` must name a file with a symbol a line, but {symbols[0]} has none")
    return found
