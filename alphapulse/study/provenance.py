"""What a trial's numbers depend on beside its configuration: code, packages, bars; and what of it has changed."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from alphapulse.compiling import source_hash
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.strategies.scores import ScoreFunction
from alphapulse.strategies.sources import imported_packages
from alphapulse.study.records import Study

# The arithmetic of trials, proposals and joins; a package that is not installed is left out.
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "optuna", "pandas", "ray", "cmaes", "alphapulse")


SOURCE = "source of "


def package_versions(definition: StrategyDefinition, scores: Sequence[ScoreFunction] = ()) -> dict[str, str]:
    """Return the versions of Python, of `PACKAGES`, and of what a strategy and objectives of the user's own import.

    A module of the user's own has no version: in its place stands the hash of its source.
    """
    own_code: tuple[StrategyDefinition | ScoreFunction, ...] = (definition, *scores)
    sources: dict[str, tuple[str, bytes]] = {}
    for own in own_code:
        module = own.target.rpartition(".")[0]
        sources |= {name: source for name, source in own.sources.items() if not f"{module}.".startswith(f"{name}.")}
    found = {"python": platform.python_version()}
    everything = [source for own in own_code for source in own.sources.values()]
    for name in (*PACKAGES, *sorted(imported_packages(everything) - {*PACKAGES, *sources})):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {SOURCE + name: hashlib.sha256(content).hexdigest()[:12] for name, (_, content) in sources.items()}


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return which versions differ; of a module of the user's own, those that both know."""
    changes = []
    for name in sorted(before.keys() | now.keys()):
        was, is_now = before.get(name, "none"), now.get(name, "none")
        is_new = "none" in (was, is_now) and name.startswith(SOURCE)
        if was != is_now and not is_new:
            changes.append(
                f"{name} {was} to {is_now}" if not name.startswith(SOURCE) else f"the {name} ({was} to {is_now})"
            )
    return changes


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
    return changes + _differences(study.packages, package_versions(definition, scores))
