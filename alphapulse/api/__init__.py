"""What people call from Python: sweeps, backtests and stored studies."""

from alphapulse.api.backtests import Backtest, run_backtest
from alphapulse.api.studies import Study, list_studies, load_study
from alphapulse.api.sweeps import run_sweep

__all__ = ["Backtest", "Study", "list_studies", "load_study", "run_backtest", "run_sweep"]
