"""The configuration of a study that is stored: as it is, and with what a command that continues it says."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alphapulse.config.assembly import assemble, disassemble
from alphapulse.config.given import Given
from alphapulse.config.schema import TARGET, SweepConfig
from alphapulse.search.space import SearchSpace
from alphapulse.study.records import Study
from alphapulse.sweep.starting import STORED

STRATEGY = f"strategy.{TARGET}"
# What a study's configuration holds beside that of its command: see `open_study`.
CHOSEN = ("sampler", STORED)


def stored_config(study: Study) -> SweepConfig:
    """Return the configuration of a stored study, whose strategy is looked up from the working directory."""
    values = {key: value for key, value in study.config.items() if key not in CHOSEN}
    # The order of the space is part of a study; a configuration sorts its keys.
    return replace(_assemble(values), study=study.name, space=study.space, n_trials=study.n_trials)


def continued_config(study: Study, config: SweepConfig, given: Given) -> SweepConfig:
    """Return the configuration that continues a stored study: its own, with the keys that the user typed.

    Whether the two go together is for `check_same_study` to say.

    Parameters
    ----------
    study : Study
    config : SweepConfig
        What the command line composed, every default in it.
    given : Given
        What of it the user typed.
    """
    stored = stored_config(study)
    typed = disassemble(config)
    if STRATEGY in given.keys and config.strategy[TARGET] != stored.strategy[TARGET]:
        # Parameters and space of another strategy fit nothing that is stored.
        changed = replace(stored, strategy=config.strategy, space=config.space)
    else:
        values = disassemble(stored)
        for key in given.keys - set(config.space.keys):
            _put(values, typed, key)
        changed = replace(_assemble(values), space=_space(stored.space, config.space, given))
    return replace(changed, output=config.output, quiet=config.quiet, cluster=config.cluster, db=config.db)


def _assemble(values: dict[str, Any]) -> SweepConfig:
    """Return the configuration of plain values; parameters of the strategy that they leave out stay left out."""
    config = assemble(SweepConfig, values, os.getcwd())
    return replace(config, strategy={name: config.strategy[name] for name in values["strategy"]})


def _put(values: dict[str, Any], typed: Mapping[str, Any], key: str) -> None:
    """Write the value of a dotted key of `typed` to `values`; what is no key of a study's configuration is left out."""
    *groups, name = key.split(".")
    for group in groups:
        if not isinstance(typed.get(group), Mapping):
            return
        typed, values = typed[group], values.setdefault(group, {})
    if name in typed and key != "space":
        values[name] = typed[name]


def _space(stored: SearchSpace, composed: SearchSpace, given: Given) -> SearchSpace:
    """Return the stored space with what was typed: other dimensions, new ones, and none where a value was."""
    typed = {d.key: d for d in composed.dimensions if given.whole_space or d.key in given.keys}
    kept = {} if given.whole_space else {d.key: d for d in stored.dimensions if d.key not in given.keys}
    found = kept | typed
    order = [key for key in stored.keys if key in found] + [key for key in composed.keys if key not in stored.keys]
    return SearchSpace(tuple(found[key] for key in order if key in found))
