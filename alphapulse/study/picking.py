"""A trial of a study by what a user calls it: its number, best, chosen or robust."""

import re

from alphapulse.errors import StudyError
from alphapulse.study.records import Study, TrialRecord
from alphapulse.study.store import Store

NAMES = ("best", "chosen", "robust")
_NUMBER = re.compile(r"\d+|\d{1,3}(,\d{3})+")


def pick_trial(store: Store, study: Study, name: str) -> TrialRecord:
    """Return a trial of a study.

    Parameters
    ----------
    store : Store
    study : Study
    name : str
        A number ("1737", or "1,737" as summaries write it), or one of `NAMES`: the best by the first objective, the
        one that the verdict speaks of (the best where there is no verdict yet), or the one whose neighbours are best.

    Raises
    ------
    StudyError
        If there is no such trial.
    """
    if _NUMBER.fullmatch(name):
        return store.trial(study, int(name.replace(",", "")))
    if name not in NAMES:
        raise StudyError(f"`trial` must be a number or one of {', '.join(NAMES)}, but got {name!r}")
    verdict = study.verdict or {}
    if name == "robust":
        number = verdict.get("numbers", {}).get("robust_trial")
        if number is None or number < 0:
            raise StudyError(
                f"Study {study.name!r} has no robust trial: "
                + ("none has a neighbour" if verdict else "its verdict is missing; run `python -m alphapulse.weigh`")
            )
        return store.trial(study, number)
    if name == "chosen" and verdict.get("chosen") is not None:
        return store.trial(study, verdict["chosen"])
    best = store.best(study, 1)
    if not best:
        raise StudyError(f"Study {study.name!r} has no {name} trial: none has an objective.")
    return best[0]
