"""Ray: started while the driver loads its data, told of the market once, given batches of trials."""

import contextlib
import hashlib
import logging
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from alphapulse.config.settings import without_password
from alphapulse.errors import AlphaPulseError
from alphapulse.market.market import Market
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import BatchResult, evaluate_batch
from alphapulse.sweep.workers.head import Head
from alphapulse.typing import BoolArray1D, Float64Array2D

RETRIES = 3
COUNT_SECONDS = 2.0
SERVERS = ("raylet", "gcs_server")
TOKEN = Path("~/.ray/auth_token")


class ClusterError(AlphaPulseError):
    """Ray cannot be started or reached, or its workers keep dying."""


@dataclass(frozen=True)
class Shipment:
    """Where a worker finds a market and an experiment; `key` tells a changed pair from the one it holds."""

    key: str
    references: Sequence[Any]


_held: tuple[str, Market, Experiment] | None = None


def work_on(shipment: Shipment, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work` of market, experiment and arguments on a worker, which reads the first two once a process."""
    global _held
    import ray

    if _held is None or _held[0] != shipment.key:
        market, experiment = ray.get(list(shipment.references))
        _held = (shipment.key, market, experiment)
    return work(_held[1], _held[2], *arguments)


def evaluate_kept(
    market: Market, experiment: Experiment, parameters: Float64Array2D, keep: BoolArray1D, threshold: float
) -> BatchResult:
    """Evaluate a batch of a study; see `evaluate_batch`."""
    return evaluate_batch(market, experiment, parameters, keep=keep, threshold=threshold)


def warm_up() -> None:
    """Do nothing, in a worker process that has imported this module and with it all that a batch needs."""


class Cluster:
    """A Ray cluster, this machine's own or one at an address.

    Ray's processes die with the thread that started them, so that thread lives as long as the cluster.

    Parameters
    ----------
    address : str, optional
        The address of a running cluster; None starts one on this machine.
    num_cpus : int, optional
        Worker processes of a cluster on this machine; None makes one for each processor.
    dashboard : bool
        Whether a cluster on this machine serves Ray's dashboard.
    head_timeout : float
        How long the head of a cluster may give no answer [s].
    """

    def __init__(
        self,
        address: str | None = None,
        num_cpus: int | None = None,
        *,
        dashboard: bool = True,
        head_timeout: float = 15.0,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._owned = False
        self._servers: list[psutil.Process] = []
        self._shipment: Any = None
        self._remote: Any = None
        self.dashboard = ""
        self.n_cpus = 0
        self._counted_at = 0.0
        self._head_timeout = head_timeout
        self._head: Head | None = None
        self._closing: Future[None] | None = None
        self._started: Future[None] = self._thread.submit(self._start, address, num_cpus, dashboard)

    def _start(self, address: str | None, num_cpus: int | None, dashboard: bool) -> None:
        import ray

        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)
            local = {} if address else {"num_cpus": num_cpus, "include_dashboard": dashboard}
            with without_password():
                context = ray.init(
                    address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local
                )
            self._owned = True
            self.dashboard = context.dashboard_url or ""
            if address is None:
                children = psutil.Process().children(recursive=True)
                # Ray lets everybody read the token that lets one in.
                with contextlib.suppress(OSError):
                    TOKEN.expanduser().chmod(0o600)
                self._servers = [child for child in children if child.name() in SERVERS]
        is_client = address is not None and address.startswith("ray://")
        where = address if is_client else ray.get_runtime_context().gcs_address
        self._head = Head.at(str(where), self._head_timeout)
        self._count_cpus()
        warm = ray.remote(warm_up)
        for _ in range(self.n_cpus):
            warm.remote()

    def _count_cpus(self) -> None:
        """Count the CPUs of all nodes that are there by now; a head that is away would be waited for."""
        import ray

        self._counted_at = time.monotonic()
        if self._head is None or self._head.answers():
            self.n_cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def wait_until_started(self) -> None:
        """Wait for Ray.

        Raises
        ------
        ClusterError
            If it did not start or could not be reached.
        """
        try:
            self._started.result()
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise ClusterError(
                f"Ray did not start: {reason[0] if reason else type(error).__name__}; "
                "see `cluster.address` and `cluster.num_cpus`, or `ray status`."
            ) from error

    def put(self, market: Market, experiment: Experiment) -> Shipment:
        """Put a market and an experiment into the object store, for tasks to come."""
        import ray

        content = hashlib.sha256(pickle.dumps(experiment)).hexdigest()
        key = f"{market.fingerprint}:{market.first}:{len(market.bars)}:{content}"
        return Shipment(key, [ray.put(market), ray.put(experiment)])

    def start(self, shipment: Shipment, work: Callable[..., Any], *arguments: Any) -> Any:
        """Start `work(market, experiment, *arguments)` on a worker and return its reference.

        A dead worker's task is run again, with the same result; an exception of ours is not.
        """
        import ray

        if self._remote is None:
            self._remote = ray.remote(num_cpus=1, max_retries=RETRIES)(work_on)
        with self._losses():
            return self._remote.remote(shipment, work, *arguments)

    def ship(self, market: Market, experiment: Experiment) -> None:
        """Put the study's market and experiment into the object store, for all batches to come."""
        self._shipment = self.put(market, experiment)

    def submit(self, parameters: Float64Array2D, keep: BoolArray1D, threshold: float) -> Any:
        """Start the evaluation of a batch and return its reference."""
        return self.start(self._shipment, evaluate_kept, parameters, keep, threshold)

    def cancel(self, references: Sequence[Any]) -> None:
        """Let go of tasks whose results are not needed; those that run already run to their end."""
        import ray

        for reference in references:
            ray.cancel(reference)

    def wait(self, references: Sequence[Any], timeout: float) -> list[Any]:
        """Return the references that are done, waiting up to `timeout` [s] for the first."""
        import ray

        with self._losses():
            ready, _ = ray.wait(references, num_returns=1, timeout=timeout, fetch_local=True)
            if ready:
                if time.monotonic() - self._counted_at > COUNT_SECONDS:
                    self._count_cpus()
                more, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=True)
                return list(more)
        if not self._is_alive():
            raise self._loss("its servers are gone")
        return []

    def _is_alive(self) -> bool:
        """Whether there is a head, and a node left to run batches; Ray itself would wait for ever, or abort."""
        if self._servers:
            return all(server.is_running() and server.status() != psutil.STATUS_ZOMBIE for server in self._servers)
        return self._head is None or not self._head.is_lost()

    @contextlib.contextmanager
    def _losses(self) -> Iterator[None]:
        """Turn what Ray raises into one line: an exception in a task, or servers that are gone."""
        import ray

        try:
            yield
        except ray.exceptions.RayTaskError as error:
            raise ClusterError(f"A worker could not evaluate a batch: {_last_line(error)}.") from error
        except (ray.exceptions.RayError, OSError) as error:
            raise self._loss(f"a batch could not be finished ({type(error).__name__})") from error

    def _loss(self, reason: str) -> ClusterError:
        # Shutting down what has broken down ends this process before it can say so.
        self._owned = self._owned and self._is_alive()
        return ClusterError(
            f"Ray lost its workers: {reason}; what is committed is kept, run the same command with the same study "
            "to continue."
        )

    def result(self, reference: Any) -> Any:
        """Return the outcome of a task that is done.

        Raises
        ------
        ClusterError
            If its workers died, again and again, or Ray lost the node of the driver.
        """
        import ray

        with self._losses():
            return ray.get(reference)

    def close_early(self) -> None:
        """Begin to stop what was started here; `close` waits for it."""
        if self._closing is None:
            self._closing = self._thread.submit(self._stop)

    def close(self) -> None:
        """Stop what was started here."""
        self.close_early()
        self._thread.shutdown()

    def _stop(self) -> None:
        import ray

        if self._owned:
            ray.shutdown()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
