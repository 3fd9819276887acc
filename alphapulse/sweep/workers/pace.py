"""How many trials make a batch: one at first, then as many as what was measured says."""

from dataclasses import dataclass

BATCH_SECONDS = 0.1
SECONDS_PER_CPU = 1 / 64
LONGEST_BATCH_SECONDS = 1.0
SHORTEST_BATCH_SECONDS = 0.005
GROWTH = 8
WEIGHT = 0.3


@dataclass
class Pace:
    """Batches of about `BATCH_SECONDS`, longer ones where many processors would keep the driver busy.

    Nothing is known before the first result of a worker that had run a batch before: the first one of each process
    bears what it takes to load and to compile. From then on a batch is at most `GROWTH` times the largest measured.
    """

    _seconds_per_trial: float = 0.0
    _largest: int = 0

    def measure(self, n_trials: int, seconds: float, *, is_first: bool) -> None:
        """Take in a batch of a worker process, its first one or a later one."""
        if is_first or n_trials == 0:
            return
        each = max(seconds / n_trials, 1e-7)
        self._seconds_per_trial += (WEIGHT if self._largest else 1.0) * (each - self._seconds_per_trial)
        self._largest = max(self._largest, n_trials)

    def size(self, n_rows: int, n_cpus: int) -> int:
        """Return the trials of a batch, fewer where a small generation of `n_rows` would leave processors idle."""
        seconds = min(max(BATCH_SECONDS, SECONDS_PER_CPU * n_cpus), LONGEST_BATCH_SECONDS)
        return self.within(n_rows / n_cpus, seconds)

    def within(self, wanted: float, seconds: float) -> int:
        """Return how many of the wanted trials make a batch that takes `seconds` at most."""
        if not self._largest:
            return 1
        longest = min(seconds / self._seconds_per_trial, GROWTH * self._largest)
        shortest = SHORTEST_BATCH_SECONDS / self._seconds_per_trial
        return max(1, int(min(longest, max(shortest, wanted))))
