"""Whether a Ray cluster is still there: asked by a probe of our own, since Ray waits a minute and then aborts."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PROBE_SECONDS = 2.0


@dataclass
class Head:
    """The head of a cluster, where all nodes meet.

    Attributes
    ----------
    host : str
    port : int
        Of its control service, or of its client server where the cluster was joined by ray://.
    timeout : float
        How long it may be away, as when it is restarted [s].
    clock : callable
        Returns the time [s].
    """

    host: str
    port: int
    timeout: float
    clock: Callable[[], float] = time.monotonic
    _away_since: float | None = field(default=None, init=False)

    @classmethod
    def at(cls, address: str, timeout: float) -> "Head":
        """Return the head at HOST:PORT."""
        host, _, port = address.rpartition("/")[2].rpartition(":")
        return cls(host.strip("[]"), int(port), timeout)

    def answers(self) -> bool:
        """Whether it takes a connection."""
        try:
            socket.create_connection((self.host, self.port), timeout=PROBE_SECONDS).close()
        except OSError:
            return False
        return True

    def is_lost(self) -> bool:
        """Whether it has given no answer for as long as it may be away; to be asked again and again."""
        if self.answers():
            self._away_since = None
            return False
        now = self.clock()
        self._away_since = now if self._away_since is None else self._away_since
        return now - self._away_since >= self.timeout
