"""What a verdict is made of: what a sweep knows at its end, and how it is to be weighed."""

import math
from dataclasses import dataclass, field

from alphapulse.typing import Float64Array1D
from alphapulse.validation.deflation import probabilistic_sharpe_ratio
from alphapulse.validation.plateau import ParameterGrid
from alphapulse.validation.spa import Bootstrap
from alphapulse.validation.verdict.sources import BlockSource, TrialSource


@dataclass(frozen=True)
class SharpeEstimate:
    """A Sharpe ratio and the moments that say how sure it is.

    Attributes
    ----------
    sharpe : float
        The ratio per bar, not annualised [1].
    n_returns : int
        Number of returns behind it [bars].
    skewness, kurtosis : float
        Moments of the returns [1]; kurtosis is 3 for a normal.
    """

    sharpe: float
    n_returns: int
    skewness: float
    kurtosis: float

    def probability(self, benchmark: float = 0.0) -> float:
        """Return the probability that the true ratio exceeds `benchmark`; NaN if undefined."""
        if self.n_returns < 2:
            return math.nan
        return probabilistic_sharpe_ratio(
            self.sharpe, benchmark, n_returns=self.n_returns, skewness=self.skewness, kurtosis=self.kurtosis
        )


@dataclass(frozen=True)
class VerdictThresholds:
    """Where the words begin: p-values of the reality check, and PSR of the hold-out.

    Attributes
    ----------
    survive_p, luck_p : float
        SURVIVES needs p at most the first; p above the second is LIKELY LUCK.
    survive_psr, luck_psr : float
        SURVIVES needs a PSR of at least the first; one below the second is LIKELY LUCK.
    """

    survive_p: float = 0.05
    luck_p: float = 0.20
    survive_psr: float = 0.95
    luck_psr: float = 0.5


@dataclass(frozen=True)
class VerdictOptions:
    """How the reasons are computed.

    Attributes
    ----------
    thresholds : VerdictThresholds
    priors : tuple of float
        Probabilities of an edge before the data, each in (0, 1).
    pbo_blocks : int
        It is even; fewer are used where there are fewer calendar blocks.
    train_blocks, test_blocks, purge, embargo : int
        Walk-forward windows [blocks].
    n_folds, n_test_folds : int
        Folds of combinatorial purged cross-validation, and how many of them a split tests.
    """

    thresholds: VerdictThresholds = field(default_factory=VerdictThresholds)
    priors: tuple[float, ...] = (0.01, 0.1, 0.5)
    pbo_blocks: int = 16
    train_blocks: int = 60
    test_blocks: int = 12
    purge: int = 1
    embargo: int = 0
    n_folds: int = 10
    n_test_folds: int = 2


@dataclass(frozen=True)
class VerdictInputs:
    """What a sweep knows about itself at its end.

    Attributes
    ----------
    chosen : int
        Number of the chosen trial.
    in_sample : SharpeEstimate
        The chosen trial's Sharpe ratio on the searched bars.
    hold_out : SharpeEstimate, optional
        The chosen trial's Sharpe ratio on the bars that the search never saw; None if there are none.
    trials : TrialSource
        Every trial run, failed ones too, such as `TrialArrays`; with parameters where there is a `grid`.
    bootstrap : Bootstrap
        The resampled blocks of the study.
    observed : float
        Largest statistic over all trials, as streamed.
    maxima : ndarray (n_bootstrap,)
        Largest of each draw over all trials, as streamed.
    look_ahead_clean : bool, optional
        Outcome of the gate; None if it did not run.
    n_trials : int, optional
        Trials of the study, failed ones too; by default those of `trials`.
    n_trials_on_data : int, optional
        Trials of all studies on this data fingerprint, this one included; by default `n_trials`.
    n_openings : int
        How often the hold-out of this data has been opened, this time included.
    blocks : BlockSource, optional
        Block moments, such as `BlockArrays`, of all trials or those that are kept; without them only the reality check
        and the DSR speak.
    grid : ParameterGrid, optional
        It lays out the parameters of `trials` for plateau, importance and drift; without it these are left out.
    parameter_names : tuple of str
    break_even : float, optional
        Commission at which the chosen trial's edge is gone [1]; None if not computed or never.
    periods_per_year : float
        It turns figures into annual ones where they are printed [1].
    """

    chosen: int
    in_sample: SharpeEstimate
    hold_out: SharpeEstimate | None
    trials: TrialSource
    bootstrap: Bootstrap
    observed: float
    maxima: Float64Array1D
    look_ahead_clean: bool | None = None
    n_trials: int | None = None
    n_trials_on_data: int | None = None
    n_openings: int = 0
    blocks: BlockSource | None = None
    grid: ParameterGrid | None = None
    parameter_names: tuple[str, ...] = ()
    break_even: float | None = None
    periods_per_year: float = 252.0
