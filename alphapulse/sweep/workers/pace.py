"""How many trials make a batch: one at first, then as many as what was measured says."""

from dataclasses import dataclass, field

BATCH_SECONDS = 0.1
SECONDS_PER_CPU = 1 / 64
LONGEST_BATCH_SECONDS = 1.0
SHORTEST_BATCH_SECONDS = 0.005
GROWTH = 8
WEIGHT = 0.3
OVERHEAD = 0.1
FORGETTING = 0.9
SPREAD = 0.25
LEAST_SLOPE = 0.05
LONGEST_TRY = 8.0
MOST_SECONDS = 5.0


@dataclass
class Pace:
    """Batches of about `BATCH_SECONDS`, longer ones where many processors would keep the driver busy, or where what a
    batch takes whatever its size (each symbol of a universe made ready) would be more than `OVERHEAD` of it.

    Nothing is known before the first result of a worker that had run a batch before: the first one of each process
    bears what it takes to load and to compile. From then on a batch is at most `GROWTH` times the largest measured.
    """

    _seconds_per_trial: float = 0.0
    _largest: int = 0
    _of_any_size: float | None = None
    _slope: float = 0.0
    # Weight, n, n^2, seconds and n * seconds of batches of n trials, older ones counting less.
    _sums: list[float] = field(default_factory=lambda: [0.0] * 5)

    def measure(self, n_trials: int, seconds: float, *, is_first: bool) -> None:
        """Take in a batch of a worker process, its first one or a later one."""
        if is_first or n_trials == 0:
            return
        each = max(seconds / n_trials, 1e-7)
        self._seconds_per_trial += (WEIGHT if self._largest else 1.0) * (each - self._seconds_per_trial)
        self._largest = max(self._largest, n_trials)
        new = (1.0, n_trials, n_trials**2, seconds, n_trials * seconds)
        self._sums = [FORGETTING * old + one for old, one in zip(self._sums, new, strict=True)]
        weight, n, n_squared, total, crossed = self._sums
        spread = weight * n_squared - n * n
        if spread > (SPREAD * n) ** 2:
            self._slope = max((weight * crossed - n * total) / spread, 0.0)
            self._of_any_size = max((total - self._slope * n) / weight, 0.0)

    def size(self, n_rows: int, n_cpus: int) -> int:
        """Return the trials of a batch, fewer where a small generation of `n_rows` would leave processors idle."""
        seconds = max(BATCH_SECONDS, SECONDS_PER_CPU * n_cpus, (self._of_any_size or 0.0) / OVERHEAD)
        return self.within(n_rows / n_cpus, min(seconds, self.longest_seconds))

    @property
    def longest_seconds(self) -> float:
        """What a batch may take at most [s]."""
        return max(LONGEST_BATCH_SECONDS, min((self._of_any_size or 0.0) / OVERHEAD, MOST_SECONDS))

    def within(self, wanted: float, seconds: float) -> int:
        """Return how many of the wanted trials make a batch that takes `seconds` at most."""
        if not self._largest:
            return 1
        each = self._seconds_per_trial
        longest = seconds / each
        if self._of_any_size is not None:
            longest = max(longest, (seconds - self._of_any_size) / max(self._slope, LEAST_SLOPE * each))
        elif max(longest, 1.0) >= self._largest and 2 * self._largest * each <= LONGEST_TRY:
            # As long as all were of one size, it may be that it is not the trials that cost.
            longest = max(longest, 2 * self._largest)
        longest = min(longest, GROWTH * self._largest)
        shortest = SHORTEST_BATCH_SECONDS / self._seconds_per_trial
        return max(1, int(min(longest, max(shortest, wanted))))
