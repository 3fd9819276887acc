"""What was tried on the same bars, over all studies of a database, and how often a hold-out was opened."""

from alphapulse.data_pipeline.database import Database
from alphapulse.study.records import Study


def count_trials(database: Database, fingerprint: str) -> int:
    """Return the number of trials that all studies ran on the bars of this fingerprint."""
    query = "SELECT coalesce(sum(n_done), 0)::bigint AS n FROM sweep WHERE fingerprint = $1"
    return int(database.fetch(query, fingerprint)[0]["n"])


def record_opening(database: Database, study: Study, trial: int) -> int:
    """Note that `trial` was tried on the hold-out of the study's bars; return how often it has been opened by now.

    The same trial of the same study counts once.
    """
    database.fetch(
        "INSERT INTO holdout_opening (fingerprint, sweep_id, trial) SELECT $1, $2, $3 WHERE NOT EXISTS "
        "(SELECT 1 FROM holdout_opening WHERE fingerprint = $1 AND sweep_id = $2 AND trial = $3)",
        study.fingerprint,
        study.id,
        trial,
    )
    return count_openings(database, study.fingerprint)


def count_openings(database: Database, fingerprint: str) -> int:
    """Return how often the hold-out of the bars of this fingerprint has been opened."""
    query = "SELECT count(*) AS n FROM holdout_opening WHERE fingerprint = $1"
    return int(database.fetch(query, fingerprint)[0]["n"])
