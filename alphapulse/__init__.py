"""Distributed parameter sweeps of trading strategies that tell skill from luck."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphapulse.api import Backtest, Study, list_studies, load_study, run_backtest, run_sweep

__version__ = "0.1.0"
__all__ = ["Backtest", "Study", "list_studies", "load_study", "run_backtest", "run_sweep"]


def __getattr__(name: str) -> Any:
    # A command that prints its help must not wait for what a notebook needs.
    if name in __all__:
        from alphapulse import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
