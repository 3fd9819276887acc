"""The trials of a study that are shown, and one of them by what a user calls it: number, best, chosen or robust."""

import re
from dataclasses import dataclass

import numpy as np

from alphapulse.backtesting.metrics import METRICS
from alphapulse.errors import StudyError
from alphapulse.study.choice import Choice
from alphapulse.study.columns import StudyColumns
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
        one that the verdict speaks of (would speak of, where there is none yet), or the one whose neighbours are best.

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
    picked = store.best(study, 1)[:1] if name == "best" else [rank_trials(store, study, 1, 1).chosen]
    if not picked or picked[0] is None:
        reason = "none is feasible" if study.feasible else "none has an objective"
        raise StudyError(f"Study {study.name!r} has no {name} trial: {reason}.")
    return picked[0]


@dataclass(frozen=True)
class Ranking:
    """The trials of a study that are shown.

    Attributes
    ----------
    best : list of TrialRecord
        In order of the first objective the best, or of a front some that spread over it, the chosen one among them.
        Where no trial is feasible, the nearest to it alone.
    chosen : TrialRecord or None
        The one that is weighed.
    front : list of int
        Numbers of all members of the front; with one objective the best.
    """

    best: list[TrialRecord]
    chosen: TrialRecord | None
    front: list[int]


def rank_trials(store: Store, study: Study, n: int, n_of_front: int) -> Ranking:
    """Return the `n` best trials of a study, or some `n_of_front` of its front, and which of them is chosen."""
    if len(study.directions) == 1:
        best = store.best(study, n)
        if best:
            return Ranking(best, best[0], [best[0]["number"]])
    else:
        choice = Choice(study.directions, study.choose)
        members = store.trials(study, _numbers_of_front(store, study, choice))
        if members:
            metrics = {name: np.array([trial["metrics"][name] for trial in members]) for name in METRICS}
            chosen = choice.among(np.array([trial["values"] for trial in members]), metrics)
            shown = _spread(members, chosen, n_of_front, study.directions[0])
            return Ranking(shown, members[chosen], [t["number"] for t in members])
    nearest = store.nearest(study) if study.feasible else None
    return Ranking([] if nearest is None else [nearest], None, [])


def _numbers_of_front(store: Store, study: Study, choice: Choice) -> list[int]:
    numbers, values = np.empty(0, dtype=np.int64), np.empty((0, len(study.directions)))
    for more_numbers, more_values in StudyColumns(store.database, study).candidates():
        numbers, values = np.append(numbers, more_numbers), np.concatenate([values, more_values])
        kept = choice.front(values)
        numbers, values = numbers[kept], values[kept]
    return [int(number) for number in numbers]


def _spread(members: list[TrialRecord], chosen: int, n: int, direction: str) -> list[TrialRecord]:
    """Return about `n` members, the best by the first objective first, evenly spread, the chosen one among them."""
    sign = -1.0 if direction == "maximize" else 1.0
    order = sorted(range(len(members)), key=lambda place: sign * members[place]["values"][0])
    taken = {int(place) for place in np.linspace(0, len(order) - 1, min(n, len(order))).round()}
    taken.add(order.index(chosen))
    return [members[order[place]] for place in sorted(taken)]
