"""Waiting for a database that is away for a while: which errors pass, how long for, and what is said meanwhile."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_delay, wait_exponential_jitter

from alphapulse.errors import DatabaseError

Result = TypeVar("Result")

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
REVIVED_AFTER = 15.0
SILENCE = 10.0
"""After so long without an answer it is said that there is none [s]."""

PASSING = (
    asyncpg.PostgresConnectionError,  # cut, refused
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.OperatorInterventionError,  # shut down, starting, terminated, statement_timeout
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # a deadlock
    asyncpg.InternalClientError,  # cut in the middle of a COPY
    OSError,  # the network; TimeoutError is one
)
"""What a database that is restarted, stopped, cut off, full or locked answers: another try may go well."""

LASTING = (asyncpg.DatabaseDroppedError,)


def passes(error: BaseException) -> bool:
    """Return whether another try may go well after `error`."""
    return isinstance(error, PASSING) and not isinstance(error, LASTING)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a database that is away.

    Attributes
    ----------
    seconds : float
        From the first failure on; 0 fails at once [s].
    name : str
        What is waited for.
    say : callable
        Takes a line for the user.
    revive : callable, optional
        Starts what is waited for, where that is ours to start; called in a thread of its own.
    """

    seconds: float = 0.0
    name: str = "database"
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    revive: Callable[[], None] | None = None

    async def until_done(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return what `attempt` returns, tried again, ever less often, while what it raises passes.

        It must change nothing where it has been done already.

        Raises
        ------
        Exception
            What it raised last, when time is up or no other try can go well.
        """
        began = None

        def note(state: RetryCallState) -> None:
            nonlocal began
            if began is None and state.outcome is not None:
                began = time.monotonic()
                reason = str(state.outcome.exception()).strip().split("\n")[0] or "no answer"
                self.say(f"The {self.name} is away ({reason}); waiting up to {self.seconds:,.0f} s, nothing is lost.")

        retrying = AsyncRetrying(
            retry=retry_if_exception(passes),
            stop=stop_after_delay(self.seconds),
            wait=wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
            before_sleep=note,
            reraise=True,
        )

        async def again() -> Result:
            # Whoever has stopped it may be about to start it.
            if self.revive is not None and began is not None and time.monotonic() - began > REVIVED_AFTER:
                with contextlib.suppress(DatabaseError):
                    await asyncio.to_thread(self.revive)
            return await self._unless_silent(attempt)

        result: Result = await retrying(again)
        if began is not None:
            self.say(f"The {self.name} is back after {time.monotonic() - began:,.0f} s.")
        return result

    async def _unless_silent(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return what `attempt` returns, and say so where it takes its time, behind a lock or a network that stalls."""
        if self.seconds == 0:
            return await attempt()
        task = asyncio.ensure_future(attempt())
        try:
            done, _ = await asyncio.wait({task}, timeout=SILENCE)
            if not done:
                self.say(
                    f"The {self.name} has given no answer for {SILENCE:g} s: it is busy, another session holds a lock, "
                    "or the network stalls; waiting on."
                )
            result = await task
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            self.say(f"The {self.name} has answered.")
        return result
