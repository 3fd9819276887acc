"""Where trials run (`cluster`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alphapulse.config.groups import at_least
from alphapulse.errors import ConfigError


@dataclass(frozen=True)
class ResourcesConfig:
    """What a task of trials asks for, and with it where it may run (`cluster.resources`); no trial's bits depend on it.

    Attributes
    ----------
    num_cpus, num_gpus : float
        Processors and GPUs, or a part of one.
    custom : mapping of str to float
        Resources that nodes were started with (`ray start --resources`).
    labels : mapping of str to str
        Labels that a node has to have (`ray start --labels`): a value, "!value", "in(one, other)" or "!in(one, other)".
    """

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.num_cpus < math.inf:
            raise ConfigError(f"`cluster.resources.num_cpus` must be above 0, but got {self.num_cpus!r}")
        at_least("cluster.resources.num_gpus", self.num_gpus, 0)
        for name, amount in self.custom.items():
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < math.inf:
                raise ConfigError(f"`cluster.resources.custom.{name}` must be a number above 0, but got {amount!r}")
            if name in ("CPU", "GPU", "memory"):
                raise ConfigError(f"`cluster.resources.custom.{name}` must be `cluster.resources.num_{name.lower()}s`")
        for name, value in self.labels.items():
            if not isinstance(value, str) or not value:
                raise ConfigError(
                    f"`cluster.resources.labels.{name}` must be a text, but got {value!r}; quote a number"
                )


@dataclass(frozen=True)
class ClusterConfig:
    """Where trials are evaluated (`cluster`).

    Attributes
    ----------
    address : str, optional
        The address of a running Ray cluster ("auto", "ray://host:10001"); None joins the one that RAY_ADDRESS names,
        or starts one on this machine where that is unset or "local", or `num_cpus` is given.
    num_cpus : int, optional
        CPUs of the local cluster; None is all of them.
    dashboard : bool
        Whether the local cluster serves Ray's dashboard.
    head_timeout : float
        How long the head of a cluster may give no answer before the sweep ends [s].
    trial_timeout : float, optional
        How long a trial may run before it is a failed one [s]; None is a minute, or 100 times the median of a trial
        where that is longer.
    trial_memory : float, optional
        How much memory a worker may take before the trial that it runs is a failed one [GB]; None is no limit.
    resources : ResourcesConfig
        What a task asks for.
    """

    address: str | None = None
    num_cpus: int | None = None
    dashboard: bool = True
    head_timeout: float = 15.0
    trial_timeout: float | None = None
    trial_memory: float | None = None
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)

    def __post_init__(self) -> None:
        at_least("cluster.num_cpus", self.num_cpus, 1)
        at_least("cluster.head_timeout", self.head_timeout, 0)
        for name, limit in (("trial_timeout", self.trial_timeout), ("trial_memory", self.trial_memory)):
            if limit is not None and not 0 < limit < math.inf:
                raise ConfigError(f"`cluster.{name}` must be above 0, or null, but got {limit!r}")
        if self.address is not None and self.num_cpus is not None:
            raise ConfigError(
                f"`cluster.num_cpus` must be null with `cluster.address`, but got {self.num_cpus} "
                f"and {self.address!r}; a running cluster has its own CPUs"
            )
