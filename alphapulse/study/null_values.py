"""The null sweeps of a study as they are done: the best value that the whole search found on each surrogate market."""

import math
from dataclasses import dataclass

from alphapulse.data_pipeline.database import Database
from alphapulse.study.records import Study

READ = """
SELECT surrogate, value FROM null_sweep WHERE sweep_id = $1 AND n_trials = $2 ORDER BY surrogate
"""

WRITE = """
INSERT INTO null_sweep (sweep_id, n_trials, surrogate, value, seconds) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class NullValues:
    """Null sweeps of a study with as many trials as it might have had.

    Attributes
    ----------
    database : Database
    study : Study
    n_trials : int
        Most trials of the study and of each null sweep.
    """

    database: Database
    study: Study
    n_trials: int

    def read(self) -> dict[int, float]:
        """Return the best value by surrogate; NaN for a search without a value."""
        rows = self.database.fetch(READ, self.study.id, self.n_trials)
        return {row["surrogate"]: math.nan if row["value"] is None else row["value"] for row in rows}

    def write(self, surrogate: int, value: float, seconds: float) -> None:
        """Keep the best value of one surrogate, and what it took [s]."""
        stored = None if math.isnan(value) else value
        self.database.fetch(WRITE, self.study.id, self.n_trials, surrogate, stored, seconds)

    def fix_count(self, n_wanted: int) -> None:
        """Keep how many null sweeps the study is to have at most."""
        self.database.fetch("UPDATE sweep SET n_null = $2 WHERE id = $1", self.study.id, n_wanted)
