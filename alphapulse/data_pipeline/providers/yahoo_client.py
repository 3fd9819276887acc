"""Asking Yahoo, through yfinance: at a pace, again where another try may go well, and every refusal by its name."""

import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import pandas as pd
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from alphapulse.data_pipeline.providers.base import UnreachableError
from alphapulse.errors import DataError

CHART = "/v8/finance/chart/"
NOT_FOUND, NOTHING, OUT_OF_REACH, TOO_MANY, FAULT = 404, 400, 422, 429, 500
# A network that is down says so at once, and seldom comes back within a minute.
NETWORK_ATTEMPTS = 5
# Requests that need not wait for each other.
BURST = 20
# Waits that are too short to be worth a line [s].
SILENT = 5.0


class NothingError(DataError):
    """Yahoo knows the symbol, and has no bar in the range."""


class OutOfReachError(DataError):
    """Yahoo does not keep bars of this length for so long."""


class RefusedError(UnreachableError):
    """Yahoo refuses requests for a while, since there were too many."""


class FaultError(UnreachableError):
    """Yahoo answers with an error of its own."""


class OfflineError(UnreachableError):
    """Nobody answers."""


class UnreadableError(DataError):
    """What Yahoo answers is not what it should be."""


class _StatusError(OSError):
    """A status that is no answer; the client of yfinance passes OSErrors on."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after = float(retry_after) if retry_after and retry_after.isdigit() else 0.0


class Pace:
    """Keeps requests of several threads within a rate, and all of them back while Yahoo refuses.

    Parameters
    ----------
    per_minute : float
        Requests a minute in the long run; the first `BURST` go at once.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock() - BURST * self._interval
        self._held_until = 0.0

    def delay(self) -> float:
        """Take the next place, and return how long to wait for it [s]."""
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now - BURST * self._interval) + self._interval
            return max(self._free_at, self._held_until) - now

    def hold(self, seconds: float) -> None:
        """Let nobody ask for a while."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)


class YahooClient:
    """Asks Yahoo for bars.

    Parameters
    ----------
    wait : float
        How long a request that Yahoo refuses or answers with a fault is made again [s]. The network is tried for some
        15 s of it.
    per_minute : float
        Requests a minute in the long run.
    attempts : int, optional
        Most tries of one request, whatever `wait` is.
    say : callable
        Takes a line for the user.
    """

    def __init__(
        self,
        *,
        wait: float = 300.0,
        per_minute: float = 120.0,
        attempts: int | None = None,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self._wait = wait
        self._pace = Pace(per_minute)
        self._attempts = attempts
        self._say = say
        self._abandoned = threading.Event()

    def abandon(self) -> None:
        """Let whoever waits in another thread give up now."""
        self._abandoned.set()

    def history(self, symbol: str, timeframe: str, period: dict[str, Any]) -> pd.DataFrame:
        """Return what `Ticker.history` gives, prices adjusted for splits alone, with dividends and splits.

        Raises
        ------
        DataError
            By what was the matter, see the classes above; the message is the reason alone.
        """
        retrying = Retrying(
            retry=retry_if_exception_type((UnreachableError, UnreadableError)),
            stop=self._gives_up,
            wait=self._next_wait,
            before_sleep=lambda state: self._tell(symbol, timeframe, state),
            sleep=self._sleep,
            reraise=True,
        )
        answer: pd.DataFrame = retrying(self._ask, symbol, timeframe, period)
        return answer

    def _sleep(self, seconds: float) -> None:
        self._abandoned.wait(seconds)

    def _ask(self, symbol: str, timeframe: str, period: dict[str, Any]) -> pd.DataFrame:
        delay = self._pace.delay()
        if delay > 0.0:
            self._sleep(delay)
        yfinance, session = _yfinance()
        from yfinance import exceptions

        session.seen.status = None
        try:
            answer: pd.DataFrame = yfinance.Ticker(symbol, session=session).history(
                interval=timeframe, auto_adjust=False, actions=True, **period
            )
        except (exceptions.YFTickerMissingError, exceptions.YFInvalidPeriodError) as error:
            reason = _one_line(getattr(error, "rationale", error))
            if session.seen.status == OUT_OF_REACH:
                raise OutOfReachError(reason) from error
            if session.seen.status == NOT_FOUND:
                raise DataError(reason) from error
            raise NothingError(reason) from error
        except exceptions.YFRateLimitError as error:
            raise RefusedError("too many requests") from error
        except _StatusError as error:
            if error.status == TOO_MANY:
                refused = RefusedError("too many requests")
                refused.__cause__ = error
                raise refused from error
            raise FaultError(f"its server answers with HTTP {error.status}") from error
        except OSError as error:
            # Network errors of both of yfinance's clients, curl_cffi and requests, are OSErrors.
            if getattr(getattr(error, "response", None), "status_code", None) == NOT_FOUND:
                raise DataError("unknown symbol") from error
            raise OfflineError(_one_line(error)) from error
        except exceptions.YFDataException as error:
            raise FaultError(_one_line(error)) from error
        except (exceptions.YFException, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnreadableError(f"{type(error).__name__}: {_one_line(error)}") from error
        return answer

    def _gives_up(self, state: RetryCallState) -> bool:
        error = state.outcome and state.outcome.exception()
        most = NETWORK_ATTEMPTS if isinstance(error, OfflineError | UnreadableError) else None
        for limit in (most, self._attempts):
            if limit is not None and state.attempt_number >= limit:
                return True
        waited = (state.seconds_since_start or 0.0) + state.upcoming_sleep
        return self._abandoned.is_set() or waited > self._wait

    def _next_wait(self, state: RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        if not isinstance(error, RefusedError):
            return float(wait_exponential_jitter(multiplier=1.0, max=30.0)(state))
        seconds = float(wait_exponential_jitter(multiplier=5.0, max=60.0, jitter=5.0)(state))
        seconds = max(seconds, getattr(error.__cause__, "retry_after", 0.0))
        self._pace.hold(seconds)
        return seconds

    def _tell(self, symbol: str, timeframe: str, state: RetryCallState) -> None:
        if state.upcoming_sleep >= SILENT and state.outcome is not None:
            self._say(
                f"Yahoo on {symbol!r} {timeframe}: {state.outcome.exception()}; next try in "
                f"{state.upcoming_sleep:.0f} s, for {self._wait:.0f} s at most."
            )


@cache
def _yfinance() -> tuple[Any, Any]:
    """Return yfinance, set up, and the session that its requests go through."""
    # It takes a second to import; only a download pays for it.
    import yfinance
    from yfinance import _http

    # What yfinance uses of pandas that is going away is not the user's to mend.
    warnings.filterwarnings("ignore", module=r"yfinance(\.|$)")
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    yfinance.config.debug.hide_exceptions = False

    class Session(type(_http.new_session())):  # type: ignore[misc]
        """Says what became of each request: yfinance keeps no status, and reads a page of HTML as broken JSON."""

        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            response = super().request(method, url, *args, **kwargs)
            if CHART in url:
                self.seen.status = response.status_code
                if response.status_code == TOO_MANY or response.status_code >= FAULT:
                    raise _StatusError(response.status_code, response.headers.get("Retry-After"))
            return response

    options = {"impersonate": "chrome"} if _http.HAS_CURL_CFFI else {}
    session = Session(**options)
    session.headers.update({} if options else dict(_http.new_session().headers))
    session.seen = threading.local()
    return yfinance, session


def _one_line(error: object) -> str:
    """Return the first sentence of a foreign message, without its advice."""
    return " ".join(str(error).split()).split(". See ")[0].rstrip(".")
