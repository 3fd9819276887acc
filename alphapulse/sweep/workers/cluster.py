"""Ray: started while the driver loads its data, told of the market once, given batches of trials."""

import contextlib
import hashlib
import logging
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from alphapulse.config.machines.cluster import ClusterConfig, ResourcesConfig
from alphapulse.config.settings import read_settings, take_colours_from_ray, without_password
from alphapulse.market.market import Market
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import BatchResult, evaluate_batch
from alphapulse.sweep.workers.head import Head
from alphapulse.sweep.workers.last_word import LastWord
from alphapulse.sweep.workers.limits import Limits, watched
from alphapulse.sweep.workers.losses import ClusterError
from alphapulse.sweep.workers.marks import CANCELLED, tell
from alphapulse.sweep.workers.resources import count_slots, describe, task_options
from alphapulse.sweep.workers.tasks import Shipment, Tasks
from alphapulse.typing import BoolArray1D, Float64Array2D

COUNT_SECONDS = 2.0
SERVERS = ("raylet", "gcs_server")
TOKEN = Path("~/.ray/auth_token")
ENDED = (
    "error: this command was ended from outside, or by Ray as its node was lost; what is committed is kept, run the "
    "same command with the same study to continue."
)


def evaluate_kept(
    market: Market,
    experiment: Experiment,
    parameters: Float64Array2D,
    keep: BoolArray1D,
    threshold: float,
    limits: Limits,
) -> BatchResult:
    """Evaluate a batch of a study under limits; see `evaluate_batch`."""
    with watched(limits):
        return evaluate_batch(market, experiment, parameters, keep=keep, threshold=threshold)


def warm_up() -> None:
    """Do nothing, in a worker process that has imported this module and with it all that a batch needs."""


class Cluster(Tasks):
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
    resources : ResourcesConfig, optional
        What a task of trials asks for; one processor by default.
    study : str
        What the job and its tasks are called.
    say : callable, optional
        Tells the user a line about the workers; by default on stderr.
    """

    def __init__(
        self,
        address: str | None = None,
        num_cpus: int | None = None,
        *,
        dashboard: bool = True,
        head_timeout: float = 15.0,
        resources: ResourcesConfig | None = None,
        study: str = "",
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(resources, title=study, say=say)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._owned = False
        self._servers: list[psutil.Process] = []
        self._shipment: Any = None
        self._market: tuple[Market, Any] | None = None
        self.dashboard = ""
        self.n_cpus = 0
        self._counted_at = 0.0
        self._nodes: dict[str, str] = {}
        self._waits = False
        self._head_timeout = head_timeout
        self._head: Head | None = None
        self._closing: Future[None] | None = None
        self._last_word: LastWord | None = None
        self._address: str | None = address
        self._started: Future[None] = self._thread.submit(self._start, address, num_cpus, dashboard)

    @classmethod
    def of(cls, config: ClusterConfig, study: str = "", say: Callable[[str], None] | None = None) -> "Cluster":
        """Begin to start or to join what a configuration says."""
        return cls(
            config.address,
            config.num_cpus,
            dashboard=config.dashboard,
            head_timeout=config.head_timeout,
            resources=config.resources,
            study=study,
            say=say,
        )

    def _start(self, address: str | None, num_cpus: int | None, dashboard: bool) -> None:
        import ray

        if address is None and num_cpus is None:
            given = read_settings().ray_address
            self._address = address = None if given == "local" else given
        is_client = address is not None and address.startswith("ray://")
        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)
            if not sys.stderr.isatty():
                take_colours_from_ray()
            how: dict[str, Any] = {} if address else {"num_cpus": num_cpus, "include_dashboard": dashboard}
            if not is_client:
                how["job_config"] = ray.job_config.JobConfig(metadata={"study": self.title})
            self._last_word = LastWord(ENDED)
            with without_password():
                context = ray.init(
                    address=address or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **how,
                )
            self._owned = True
            self.dashboard = context.dashboard_url or ""
            if address is None:
                children = psutil.Process().children(recursive=True)
                # Ray lets everybody read the token that lets one in.
                with contextlib.suppress(OSError):
                    TOKEN.expanduser().chmod(0o600)
                self._servers = [child for child in children if child.name() in SERVERS]
        where = address if is_client else ray.get_runtime_context().gcs_address
        self._head = Head.at(str(where), self._head_timeout)
        self._count_cpus()
        warm = ray.remote(warm_up).options(**task_options(self.resources, {}))
        for _ in range(self.n_cpus):
            warm.remote()

    def _count_cpus(self) -> None:
        """Count the tasks that the nodes of now run at a time; a head that is away would be waited for."""
        import ray

        self._counted_at = time.monotonic()
        if self._head is None or self._head.answers():
            alive = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in self.left_out]
            n_slots = sum(count_slots(self.resources, node) for node in alive)
            # Where there is none, what waits to run is what an autoscaler adds nodes for.
            self.n_cpus = max(1, n_slots)
            n_cpus = sum(node["Resources"].get("CPU", 0.0) for node in alive)
            self._tell_changes({node["NodeID"]: node["NodeManagerAddress"] for node in alive}, n_cpus, n_slots)
            self._tell_if_none(n_slots)

    def _tell_changes(self, nodes: dict[str, str], n_cpus: float, n_slots: int) -> None:
        """Say which nodes have joined or were lost since the last time, and what processors there are by now."""
        if self._nodes:
            changed = [(node, "joined") for node in nodes.keys() - self._nodes.keys()]
            changed += [(node, "was lost") for node in self._nodes.keys() - nodes.keys() - self.left_out.keys()]
            for node, what in changed:
                where = nodes.get(node) or self._nodes[node]
                has = "1 CPU" if n_cpus == 1 else f"{n_cpus:g} CPUs"
                at_a_time = "" if n_slots == n_cpus else f", {n_slots} tasks at a time"
                self.say(f"Node {where} ({node[:8]}) {what}; {has}{at_a_time}.")
        self._nodes = nodes

    def _tell_if_none(self, n_slots: int) -> None:
        """Say once that no node suits; the only one of a cluster on this machine never will."""
        if n_slots == 0 and not self._waits:
            asked = describe(self.resources)
            if self._servers:
                raise ClusterError(
                    f"A task asks for {asked}, which this machine does not have; see `cluster.resources` and "
                    "`cluster.num_cpus`."
                )
            self.say(f"No node has what a task asks for ({asked}); waiting for one that joins.")
        self._waits = n_slots == 0

    def wait_until_started(self) -> None:
        """Wait for Ray.

        Raises
        ------
        ClusterError
            If it did not start or could not be reached.
        """
        try:
            self._started.result()
        except ClusterError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()
            advice = "see `cluster.num_cpus`"
            if self._address is not None:
                advice = "see `cluster.address` and `ray status`; one with a token is joined with RAY_AUTH_MODE=token"
            raise ClusterError(
                f"Ray did not start: {reason[0] if reason else type(error).__name__}; {advice}."
            ) from error

    def put(self, market: Market, experiment: Experiment) -> Shipment:
        """Put a market and an experiment into the object store, for tasks to come; a market that is there stays."""
        import ray

        if self._market is None or self._market[0] is not market:
            self._market = market, ray.put(market)
        content = hashlib.sha256(pickle.dumps(experiment)).hexdigest()
        key = f"{market.fingerprint}:{market.first}:{len(market.bars)}:{content}"
        return Shipment(key, [self._market[1], ray.put(experiment)])

    def ship(self, market: Market, experiment: Experiment) -> None:
        """Put the study's market and experiment into the object store, for all batches to come."""
        self._shipment = self.put(market, experiment)

    def submit(
        self, parameters: Float64Array2D, keep: BoolArray1D, threshold: float, limits: Limits, name: str = ""
    ) -> Any:
        """Start the evaluation of a batch and return its reference; it is not run again where its worker dies."""
        return self.begin(evaluate_kept, parameters, keep, threshold, limits, name=name)

    def begin(self, work: Callable[..., Any], *arguments: Any, name: str = "") -> Any:
        """Start other work on the study's market and experiment; it is not run again where its worker dies."""
        return self.start(self._shipment, work, *arguments, name=name)

    def cancel(self, name: str) -> None:
        """Let go of tasks that look for `name` among the notes as they begin; those that run already run to their end.

        `ray.cancel` is of no use: where it meets a task that ends just then, Ray aborts the driver.
        """
        tell(name, CANCELLED)

    def wait(self, references: Sequence[Any], timeout: float) -> list[Any]:
        """Return the references that are done, waiting up to `timeout` [s] for the first."""
        done = super().wait(references, timeout)
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            with self.losses():
                self._count_cpus()
        return done

    def is_alive(self) -> bool:
        """Whether there is a head, and a node left to run batches; Ray itself would wait for ever, or abort."""
        if self._servers:
            return all(server.is_running() and server.status() != psutil.STATUS_ZOMBIE for server in self._servers)
        return self._head is None or not self._head.is_lost()

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

        # Shutting down what has broken down ends this process before it can say so.
        if self._owned and self.is_alive():
            ray.shutdown()
        if self._last_word is not None:
            self._last_word.keep()
