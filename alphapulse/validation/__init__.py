"""Skill or luck: statistics of a search, on plain arrays from any backtester."""

from alphapulse.validation.blocks import block_moments
from alphapulse.validation.break_even import break_even_commission
from alphapulse.validation.deflation import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    false_discovery_bound,
    holm_adjust,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)
from alphapulse.validation.importance import Importance, parameter_importance
from alphapulse.validation.ledger import Ledger
from alphapulse.validation.null_sweeps import NullSweeps, null_sweeps, weigh_null_sweeps
from alphapulse.validation.pbo import (
    BacktestOverfitting,
    overfitting_from_moments,
    probability_of_backtest_overfitting,
)
from alphapulse.validation.plateau import (
    ParameterGrid,
    Plateau,
    neighbours,
    plateau,
    plateau_objective,
    worst_fold_sharpe,
)
from alphapulse.validation.purged import CombinatorialPurged, combinatorial_purged
from alphapulse.validation.spa import Bootstrap, RealityCheck, critical_value, make_bootstrap, p_value, reality_check
from alphapulse.validation.stepm import StepDown, step_down
from alphapulse.validation.verdict.decision import Verdict, decide, make_verdict
from alphapulse.validation.verdict.evidence import (
    Findings,
    MarketComparison,
    SharpeEstimate,
    VerdictInputs,
    VerdictOptions,
    VerdictThresholds,
)
from alphapulse.validation.verdict.sources import BlockArrays, BlockSource, TrialArrays, TrialSource
from alphapulse.validation.walk_forward import WalkForward, walk_forward, walk_forward_windows

__all__ = [
    "BacktestOverfitting",
    "BlockArrays",
    "BlockSource",
    "Bootstrap",
    "CombinatorialPurged",
    "Findings",
    "Importance",
    "Ledger",
    "MarketComparison",
    "NullSweeps",
    "ParameterGrid",
    "Plateau",
    "RealityCheck",
    "SharpeEstimate",
    "StepDown",
    "TrialArrays",
    "TrialSource",
    "Verdict",
    "VerdictInputs",
    "VerdictOptions",
    "VerdictThresholds",
    "WalkForward",
    "block_moments",
    "break_even_commission",
    "combinatorial_purged",
    "critical_value",
    "decide",
    "deflated_sharpe_ratio",
    "expected_maximum_sharpe",
    "false_discovery_bound",
    "holm_adjust",
    "make_bootstrap",
    "make_verdict",
    "minimum_track_record_length",
    "neighbours",
    "null_sweeps",
    "overfitting_from_moments",
    "p_value",
    "parameter_importance",
    "plateau",
    "plateau_objective",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "reality_check",
    "step_down",
    "walk_forward",
    "walk_forward_windows",
    "weigh_null_sweeps",
    "worst_fold_sharpe",
]
