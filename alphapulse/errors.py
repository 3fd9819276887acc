"""The family of errors that a user can cause; commands print them as one line and exit with 1, or as they say."""

from collections.abc import Iterable
from difflib import get_close_matches


class AlphaPulseError(Exception):
    """Base of the family: the invariant that failed, the values got, and what to do next."""

    exit_code = 1


class ConfigError(AlphaPulseError):
    """A key, a value or a search space in the configuration is impossible."""


class DataError(AlphaPulseError):
    """Bars are missing, out of order or not what they claim to be."""


class IncompleteError(DataError):
    """Some series failed; the others are stored."""

    exit_code = 2


class DatabaseError(AlphaPulseError):
    """The database cannot be reached, entered or upgraded."""


class StrategyError(AlphaPulseError):
    """A strategy cannot be imported, built or run."""


class LookAheadError(AlphaPulseError):
    """A strategy's past changes when its future does."""


class StudyError(AlphaPulseError):
    """A study cannot be created, continued or found."""


class LimitExceeded(BaseException):
    """A trial costs more than it may. What catches every Exception lets it through, as it does KeyboardInterrupt."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name nearest to `name`, or an empty string."""
    candidates = list(known)
    nearest = get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not nearest and len(name) > 2:
        nearest = [candidate for candidate in candidates if candidate.startswith(name)]
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
