"""Many symbols under one search: which, and what a setting is worth over all of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alphapulse.errors import ConfigError

LISTS = (".txt", ".lst", ".list")


@dataclass(frozen=True)
class UniverseConfig:
    """Whether every setting is tried on every symbol (`universe`).

    Attributes
    ----------
    kind : {"none", "each"}
        "each" trades every symbol of `data.symbols`, each over its own bars; "none" the first alone.
    score : {"portfolio", "median", "worst", "mean", "share"}
        What the search is told: the objective of all symbols in equal parts, one over the objectives of the symbols,
        or the share of symbols that have one above 0.
    min_bars : int
        A symbol with fewer scored bars is left out [bars].
    """

    kind: Literal["none", "each"] = "none"
    score: Literal["portfolio", "median", "worst", "mean", "share"] = "portfolio"
    min_bars: int = 252

    def __post_init__(self) -> None:
        if self.min_bars < 2:
            raise ConfigError(f"`universe.min_bars` must be >= 2, but got {self.min_bars!r}")
        if self.kind == "none" and self.score != "portfolio":
            raise ConfigError(f"`universe.score={self.score}` must go with universe=each")

    @property
    def is_each(self) -> bool:
        """Whether every symbol is traded."""
        return self.kind == "each"


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
