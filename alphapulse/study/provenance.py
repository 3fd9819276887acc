"""What a trial's numbers depend on beside its configuration: code, packages, bars; and what of it has changed."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from alphapulse.compiling import source_hash
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.strategies.scores import ScoreFunction
from alphapulse.study.records import Study

# The arithmetic of trials, proposals and joins; a package that is not installed is left out.
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "optuna", "pandas", "ray", "cmaes", "alphapulse")


def package_versions() -> dict[str, str]:
    """Return the version of Python and of each of `PACKAGES` that is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_version(definition: StrategyDefinition, scores: Sequence[ScoreFunction] = ()) -> str:
    """Return the hash of this package's source, of the strategy's, and of each objective of the user's own."""
    return ":".join([source_hash(), definition.source_hash, *(score.source_hash for score in scores)])


def changes_since(
    study: Study, definition: StrategyDefinition, fingerprint: str, scores: Sequence[ScoreFunction] = ()
) -> list[str]:
    """Return what is not as it was when the study began, one text each.

    Parameters
    ----------
    study : Study
    definition : StrategyDefinition
        The strategy as it is now.
    fingerprint : str
        Hash of the bars as they are now.
    scores : sequence of ScoreFunction
        The objectives of the user's own as they are now.
    """
    changes = []
    # One without a colon has no hash of a strategy.
    code, strategy, *own = study.code_version.split(":") if ":" in study.code_version else (study.code_version, "")
    code_now, strategy_now, *own_now = code_version(definition, scores).split(":")
    if code != code_now:
        changes.append(f"alphapulse's code ({code[:12]} to {code_now[:12]})")
    # A strategy of alphapulse has its hash, and is not named a second time.
    if strategy != strategy_now != code_now:
        changes.append(f"the source of {definition.target} ({strategy[:12]} to {strategy_now[:12]})")
    for score, before, now in zip(scores, own, own_now, strict=False):
        if before != now:
            changes.append(f"the source of {score.target} ({before[:12]} to {now[:12]})")
    if study.fingerprint != fingerprint:
        changes.append(f"the data ({study.fingerprint[:12]} to {fingerprint[:12]})")
    packages = package_versions()
    for name in sorted(study.packages.keys() | packages.keys()):
        before, now = study.packages.get(name, "none"), packages.get(name, "none")
        if before != now:
            changes.append(f"{name} {before} to {now}")
    return changes
