"""What a verdict is made of: what a sweep knows at its end, and how it is to be weighed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alphapulse.typing import Float64Array1D
from alphapulse.validation.deflation import probabilistic_sharpe_ratio
from alphapulse.validation.ledger import Ledger
from alphapulse.validation.null_sweeps import NullSweeps
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
    """Where the words begin.

    Attributes
    ----------
    survive_p, survive_holdout_p, survive_psr : float
        SURVIVES needs the p-values of the null sweeps and of timing on the hold-out to be at most the first two, and
        the hold-out's PSR over cash to be at least the third, each after the ledger.
    luck_p, luck_holdout_p, luck_psr : float
        LIKELY LUCK is said where a p-value is above, or the PSR below, as measured.
    """

    survive_p: float = 0.05
    luck_p: float = 0.20
    survive_psr: float = 0.95
    luck_psr: float = 0.5
    survive_holdout_p: float = 0.05
    luck_holdout_p: float = 0.5


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
class MarketComparison:
    """Metrics of the chosen trial beside those of buying and holding what it trades, by name.

    Attributes
    ----------
    chosen, benchmark : mapping of str to float
        On the searched bars.
    chosen_holdout, benchmark_holdout : mapping of str to float, optional
        On the hold-out; None without one.
    """

    chosen: Mapping[str, float]
    benchmark: Mapping[str, float]
    chosen_holdout: Mapping[str, float] | None = None
    benchmark_holdout: Mapping[str, float] | None = None


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
    ledger : Ledger
        Trials of the study, failed ones too, what else was tried on its bars, and openings of its hold-out.
    null_sweeps : NullSweeps, optional
        The whole search on surrogate markets; None if it was not run.
    holdout_p : float
        Chance that the chosen setting does as well on the hold-out's moves in another order; NaN if not tested.
    n_holdout_surrogates : int
        Number of such orders behind `holdout_p`.
    holdout_failure : str
        Why the chosen setting has no result on the hold-out, or on other orders of its moves; empty where it has.
    adaptive : bool
        Whether the search chose its trials by looking at earlier ones.
    market : MarketComparison, optional
        What the market gave to everybody.
    weigh_command : str
        Command that goes on with the null sweeps, for the reader; empty if there is none.
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
    ledger: Ledger
    null_sweeps: NullSweeps | None = None
    holdout_p: float = math.nan
    n_holdout_surrogates: int = 0
    holdout_failure: str = ""
    adaptive: bool = False
    market: MarketComparison | None = None
    weigh_command: str = ""
    look_ahead_clean: bool | None = None
    blocks: BlockSource | None = None
    grid: ParameterGrid | None = None
    parameter_names: tuple[str, ...] = ()
    break_even: float | None = None
    periods_per_year: float = 252.0


@dataclass(frozen=True)
class Findings:
    """The figures that decide, as measured and after the ledger; NaN where there are none.

    Attributes
    ----------
    p, p_ledger : float
        Chance that a search of a market without timing does as well (null sweeps).
    holdout_p, holdout_p_ledger : float
        Chance that the chosen setting does as well on the held-out moves in another order.
    psr, psr_ledger : float
        Probability that the chosen setting's Sharpe ratio over cash is above 0, on the hold-out.
    look_ahead_clean : bool, optional
        Outcome of the look-ahead gate; None if it did not run.
    """

    p: float = math.nan
    p_ledger: float = math.nan
    holdout_p: float = math.nan
    holdout_p_ledger: float = math.nan
    psr: float = math.nan
    psr_ledger: float = math.nan
    look_ahead_clean: bool | None = None

    @classmethod
    def of(cls, inputs: VerdictInputs) -> "Findings":
        """Return what the inputs of a verdict say."""
        ledger, nulls = inputs.ledger, inputs.null_sweeps
        p = math.nan if nulls is None else nulls.p
        psr = math.nan if inputs.hold_out is None else inputs.hold_out.probability()
        return cls(
            p=p,
            p_ledger=ledger.adjust(p),
            holdout_p=inputs.holdout_p,
            holdout_p_ledger=ledger.adjust_holdout(inputs.holdout_p),
            psr=psr,
            psr_ledger=ledger.adjust_probability(psr),
            look_ahead_clean=inputs.look_ahead_clean,
        )
