"""Work as Ray runs it: sent to a worker with what it needs, waited for, and what became of it."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alphapulse.config.machines.cluster import ResourcesConfig
from alphapulse.errors import AlphaPulseError
from alphapulse.market.market import Market
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.workers import codes
from alphapulse.sweep.workers.limits import Limits
from alphapulse.sweep.workers.losses import ClusterError, NodeLostError, WorkerDiedError, lost_workers
from alphapulse.sweep.workers.marks import collect
from alphapulse.sweep.workers.resources import count_slots, task_options

RETRIES = 3

LOSSES = 20
"""Nodes that may be lost with the same work before the cluster is given up."""


@dataclass(frozen=True)
class Shipment:
    """Where a worker finds a market and an experiment; `key` tells a changed pair from the one it holds."""

    key: str
    references: Sequence[Any]


_held: tuple[Shipment, Market, Experiment] | None = None


def work_on(key: str, references: Sequence[Any], work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work` of market, experiment and arguments on a worker, which reads the first two once a process."""
    global _held
    import ray

    if _held is None or _held[0].key != key:
        market, experiment = ray.get(list(references))
        _held = (Shipment(key, references), market, experiment)
    return work(_held[1], _held[2], *arguments)


def held_shipment() -> Shipment:
    """Return where a task that runs here finds its market and its experiment, for tasks of its own."""
    assert _held is not None
    return _held[0]


@functools.cache
def code_of_driver() -> dict[str, str]:
    """Return what the code of every node has to be."""
    return codes.code_here()


class Tasks:
    """Tasks of a driver, or of a task that has others run for it.

    Parameters
    ----------
    resources : ResourcesConfig, optional
        What each task asks for; one processor by default.
    title : str
        What stands before the names of tasks.
    say : callable, optional
        Tells the user a line about the workers; by default on stderr.

    Attributes
    ----------
    left_out : dict of str to str
        Nodes that run other code than the driver, by id, and what differs.
    """

    def __init__(
        self,
        resources: ResourcesConfig | None = None,
        title: str = "",
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.resources = resources or ResourcesConfig()
        self.title = title
        self.say = say or _say
        self._remote: Any = None
        self._marks: dict[Any, str] = {}
        self.left_out: dict[str, str] = {}

    def is_alive(self) -> bool:
        """Whether there are workers left; where there are none, nothing is worth another try."""
        return True

    def start(
        self,
        shipment: Shipment,
        work: Callable[..., Any],
        *arguments: Any,
        n_retries: int = 0,
        resources: ResourcesConfig | None = None,
        name: str = "",
    ) -> Any:
        """Start `work(market, experiment, *arguments)` on a worker and return its reference.

        A task whose worker dies is run again up to `n_retries` times; an exception of ours is not. Limits stand last.
        """
        import ray

        if self._remote is None:
            ray.cloudpickle.register_pickle_by_value(codes)
            self._remote = ray.remote(codes.run_where_same)
        options = task_options(resources or self.resources, self.left_out) | {"max_retries": n_retries}
        options["name"] = f"{self.title} {name}".strip() or work.__name__
        payload = ray.cloudpickle.dumps((work_on, work, *arguments))
        with self.losses():
            remote = self._remote.options(**options)
            reference = remote.remote(code_of_driver(), shipment.key, list(shipment.references), payload)
        mark = arguments[-1].mark if arguments and isinstance(arguments[-1], Limits) else ""
        if mark:
            self._marks[reference] = mark
        return reference

    def wait(self, references: Sequence[Any], timeout: float) -> list[Any]:
        """Return the references that are done, waiting up to `timeout` [s] for the first."""
        import ray

        if not references:
            time.sleep(timeout)
            return []
        with self.losses():
            ready, _ = ray.wait(list(references), num_returns=1, timeout=timeout, fetch_local=True)
            if ready:
                more, _ = ray.wait(list(references), num_returns=len(references), timeout=0, fetch_local=True)
                return list(more)
        if not self.is_alive():
            raise lost_workers("its servers are gone")
        return []

    def result(self, reference: Any) -> Any:
        """Return the outcome of a task that is done.

        Raises
        ------
        BatchLostError
            If its worker died or its node was lost.
        ClusterError
            If it raised, or Ray lost the node of the driver.
        """
        import ray

        note = self._marks.pop(reference, "")
        try:
            with self.losses():
                outcome = ray.get(reference)
        except WorkerDiedError as error:
            error.mark = collect(note) if note else None
            raise
        if note:
            collect(note)
        if isinstance(outcome, dict) and codes.OTHER in outcome:
            self._leave_out(outcome)
        return outcome

    def _leave_out(self, outcome: dict[str, str]) -> None:
        """Send nothing more to a node that runs other code."""
        import ray

        differences = outcome[codes.OTHER]
        if codes.code_here() != code_of_driver():
            raise ClusterError(
                f"The source of alphapulse was changed while this command runs: a worker that has just started has "
                f"{differences}; what is committed is kept, run the same command with the same study to continue."
            )
        if outcome["node"] not in self.left_out:
            self.left_out[outcome["node"]] = differences
            self.say(f"Node {outcome['where']} ({outcome['node'][:8]}) is left out: {differences}.")
        if not any(
            node["Alive"] and node["NodeID"] not in self.left_out and count_slots(self.resources, node)
            for node in ray.nodes()
        ):
            raise ClusterError(
                f"No node runs the code of this command: {outcome['where']} has {differences}; install the same on all."
            )
        raise NodeLostError("its node runs other code")

    def gather(
        self,
        shipment: Shipment,
        work: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        n_retries: int = 0,
        watch: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Return the outcomes of some calls of `work`, in order; that of one whose worker died is a WorkerDiedError.

        `watch` is called now and then.
        """
        waiting = {self.start(shipment, work, *call, n_retries=n_retries): place for place, call in enumerate(calls)}
        outcomes: dict[int, Any] = {}
        n_lost = 0
        while waiting:
            watch()
            for reference in self.wait(list(waiting), timeout=0.5):
                place = waiting.pop(reference)
                try:
                    outcomes[place] = self.result(reference)
                except WorkerDiedError as error:
                    outcomes[place] = error
                except NodeLostError:
                    n_lost += 1
                    if n_lost > LOSSES:
                        raise
                    waiting[self.start(shipment, work, *calls[place], n_retries=n_retries)] = place
        return [outcomes[place] for place in range(len(calls))]

    @contextlib.contextmanager
    def losses(self) -> Iterator[None]:
        """Turn what Ray raises into one line: an exception in a task, or workers that are gone."""
        import ray

        try:
            yield
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, AlphaPulseError):
                raise error.cause from error
            raise ClusterError(f"A worker could not evaluate a batch: {_last_line(error)}.") from error
        except ray.exceptions.OutOfMemoryError as error:
            raise WorkerDiedError("its worker was ended since its node ran out of memory") from error
        except ray.exceptions.WorkerCrashedError as error:
            raise WorkerDiedError("its worker died") from error
        except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError) as error:
            if not self.is_alive():
                raise lost_workers("its servers are gone") from error
            raise NodeLostError("its node was lost") from error
        except (ray.exceptions.RayError, OSError) as error:
            raise lost_workers(f"a batch could not be finished ({type(error).__name__})") from error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
