"""Any sampler of Optuna's, or of its kind, as one of ours; nothing else runs Optuna in a worker."""

from alphapulse.search.samplers.optuna.sampler import OptunaSampler

__all__ = ["OptunaSampler"]
