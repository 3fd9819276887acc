"""What can become of a batch beside its result: its worker dies, its node is lost, or the whole cluster."""

from alphapulse.errors import AlphaPulseError
from alphapulse.sweep.workers.marks import Mark

FATAL = r"^(LimitExceeded: .*|its worker .* \([0-9]+ times\))$"
"""Reasons of failed trials that have ended their workers or exceeded a limit, as a regular expression."""

RAISED = r"^(?!The objective `)"
"""Reasons of all failed trials but those whose objective is undefined."""


class ClusterError(AlphaPulseError):
    """Ray cannot be started or reached, or its workers are gone."""


def lost_workers(reason: str) -> ClusterError:
    """Return the error that ends a sweep whose workers are gone."""
    return ClusterError(_text(reason))


def _text(reason: str) -> str:
    return (
        f"Ray lost its workers: {reason}; what is committed is kept, run the same command with the same study "
        "to continue."
    )


class BatchLostError(ClusterError):
    """A task has no result and is worth another try; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(_text(reason))
        self.reason = reason


class WorkerDiedError(BatchLostError):
    """The process that ran the task ended; perhaps the task itself has ended it.

    Attributes
    ----------
    mark : Mark, optional
        What it has left behind.
    """

    mark: Mark | None = None


class NodeLostError(BatchLostError):
    """The machine that ran the task, or kept its result, is gone."""
