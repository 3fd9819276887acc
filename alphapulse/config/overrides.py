"""A pass over a command's arguments before Hydra reads them: sweeps become the search space, mistakes one line.

Hydra would take `strategy.ma_window=int(interval(10,250))` for a multirun; here it is one dimension of one study.
The experiment of `sweeps/` is read in the same pass, and the command line wins over it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

from hydra.core.override_parser.types import Override, ValueType

from alphapulse.config.building import field_types, unknown_key
from alphapulse.config.conf import Conf, Experiment, read_yaml
from alphapulse.config.given import Given
from alphapulse.config.grammar import parse
from alphapulse.config.texts import take_conditions
from alphapulse.errors import ConfigError, did_you_mean
from alphapulse.search.space import SearchSpace

PASSWORD = "db.password"
OPEN = ("search.options.", "engine.by_symbol.", "cluster.resources.custom.", "cluster.resources.labels.")
LISTS = frozenset({"data.symbols", "data.others", "objective", "direction", "feasible", "validation.priors"})
_PATH = re.compile(r"^strategy=([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)$")
_KEY_VALUE = re.compile(r"[~+]{0,2}[A-Za-z_][\w./@:-]*=")


@dataclass(frozen=True)
class Application:
    """What a command's arguments may say.

    Attributes
    ----------
    config_class : type
        Dataclass of `config.schema`.
    config_name : str
        Primary configuration in conf/.
    words : tuple of str
        Keys that the arguments without a `key=` stand for, in order.
    """

    config_class: type
    config_name: str
    words: tuple[str, ...] = ()

    @property
    def sweeps(self) -> bool:
        """Whether there is a search space."""
        return SearchSpace in field_types(self.config_class).values()

    @property
    def has_strategy(self) -> bool:
        """Whether there is a strategy."""
        return "strategy" in field_types(self.config_class)


@dataclass(frozen=True)
class Arguments:
    """The arguments, sorted.

    Attributes
    ----------
    overrides : tuple of str
        What Hydra composes.
    space : mapping of str to str
        Swept keys and their texts.
    when : mapping of str to str
        Conditions under which swept keys count, by key.
    experiment : str, optional
        Name of the file of `sweeps/`.
    given : Given
        The keys that were typed.
    password : str, optional
        The database's password; it is not among `overrides`.
    """

    overrides: tuple[str, ...] = ()
    space: Mapping[str, str] = field(default_factory=dict)
    when: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    given: Given = field(default_factory=Given)
    password: str | None = field(default=None, repr=False)


def read_arguments(application: Application, conf: Conf, arguments: Sequence[str]) -> Arguments:
    """Return the arguments sorted into Hydra's overrides and the search space.

    Raises
    ------
    ConfigError
        If one is not in Hydra's grammar, its group option is unknown, or it sweeps what cannot be swept.
    """
    conditions: dict[str, str | None] = {}
    if application.sweeps:
        arguments, conditions = take_conditions(arguments)
    own = [parse(line) for line in name_words(application, arguments)]
    check_groups(application, conf, own)
    if not application.sweeps:
        for override in own:
            if override.is_sweep_override():
                key, text = override.key_or_group, override.get_value_string()
                hint = f"a list is {key}=[{text}]" if key in LISTS else "`python -m alphapulse.sweep` searches"
                raise ConfigError(f"`{key}` must have one value here, but got {text!r}; {hint}")
        name = _last(own, "sweeps") if "sweeps" in field_types(application.config_class) else None
        experiment = Experiment() if name in (None, "none") else conf.experiment(name)
        theirs = _read(experiment)
        check_groups(application, conf, theirs)
        given = {override.key_or_group for override in own}
        kept = [override for override in theirs if override.key_or_group not in given] + own
        return Arguments(
            _lines(kept, PASSWORD, "sweeps"),
            experiment=experiment.name,
            given=Given.of(conf, own, theirs),
            password=_last(own, PASSWORD),
        )
    for override in own:
        if override.is_sweep_override():
            check_swept(override)
    experiment = _choose_experiment(conf, own)
    theirs = _read(experiment)
    check_groups(application, conf, theirs)
    named = None if experiment.name is None or _last(own, "sweeps") is None else theirs
    merged = _merge(experiment, theirs, own, Given.of(conf, own, named).beside("when" if conditions else None))
    joined = {**experiment.when, **conditions}
    return replace(merged, when={key: text for key, text in joined.items() if text is not None})


def _read(experiment: Experiment) -> list[Override]:
    """Return the overrides of an experiment; none of them may sweep."""
    theirs = [parse(_PATH.sub(r"strategy._target_=\1", line)) for line in experiment.overrides]
    for override in theirs:
        if override.is_sweep_override():
            raise ConfigError(
                f"sweeps={experiment.name}: `{override.key_or_group}` must have one value among the overrides, "
                f"but got {override.get_value_string()!r}; put it under space"
            )
    return theirs


def _merge(experiment: Experiment, theirs: list[Override], own: list[Override], typed: Given) -> Arguments:
    space = dict(experiment.space)
    given = {override.key_or_group for override in own}
    kept = [override for override in theirs if override.key_or_group not in given]
    for override in own:
        if override.is_sweep_override():
            space[override.key_or_group] = override.get_value_string()
            continue
        space.pop(override.key_or_group, None)
        kept.append(override)
    # A directory sweeps/ of the user's own would make `sweeps` a group to Hydra.
    lines = _lines(kept, PASSWORD, "sweeps")
    return Arguments(lines, space, experiment=experiment.name, given=typed, password=_last(own, PASSWORD))


def _lines(overrides: list[Override], *without: str) -> tuple[str, ...]:
    return tuple(_line(override) for override in overrides if override.key_or_group not in without)


def _line(override: Override) -> str:
    """Return an override as Hydra takes it, which knows no keys of an open group until they are added."""
    line = str(override.input_line)
    return f"++{line.lstrip('+')}" if _is_open(override.key_or_group) and not override.is_delete() else line


def _is_open(key: str) -> bool:
    """Whether a key belongs to a group that takes any: what is in it, another program says."""
    return f"{key}.".startswith(OPEN)


def _choose_experiment(conf: Conf, own: list[Override]) -> Experiment:
    """Return the experiment that `sweeps=` names, or else the one called STRATEGY_daily."""
    named = _last(own, "sweeps")
    strategy = _last(own, "strategy")
    if named is not None:
        experiment = Experiment() if named in ("none", "null") else conf.experiment(named)
        fixed = _last([parse(line) for line in experiment.overrides], "strategy")
        if strategy is not None and fixed not in (None, strategy):
            raise ConfigError(
                f"`sweeps={named}` must go with strategy={fixed}, but got strategy={strategy}; "
                f"use {_suggest(conf, strategy)}"
            )
        return experiment
    if _last(own, "strategy._target_") is not None:
        return Experiment()
    fitting = f"{strategy or conf.choices.get('strategy', 'long_short')}_daily"
    return conf.experiment(fitting) if fitting in conf.experiments() else Experiment()


def _suggest(conf: Conf, strategy: str) -> str:
    fitting = [name for name in conf.experiments() if name.startswith(strategy)]
    return f"sweeps={fitting[0]}" if fitting else "sweeps=none with a space such as 'strategy.x=interval(1,2)'"


def _last(overrides: list[Override], key: str) -> str | None:
    values = [o.value() for o in overrides if o.key_or_group == key and not o.is_delete()]
    if not values:
        return None
    return "none" if values[-1] is None else str(values[-1])


def name_words(application: Application, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `key=` before each word that stands for a key, and `strategy=a.B` as the path it is."""
    words = list(application.words)
    named = []
    for argument in arguments:
        if words and not _KEY_VALUE.match(argument) and not argument.startswith("~"):
            quoted = argument.replace("\\", "\\\\").replace("'", "\\'")
            named.append(f"{words.pop(0)}='{quoted}'")
        else:
            named.append(_PATH.sub(r"strategy._target_=\1", argument))
    return named


def check_groups(application: Application, conf: Conf, overrides: list[Override]) -> None:
    """Raise ConfigError for an option that its group does not have, or a search over groups."""
    searches_elsewhere = any(override.key_or_group == "hydra.searchpath" for override in overrides)
    seen: dict[str, str] = {}
    for override in overrides:
        group = override.key_or_group
        if group not in conf.choices or override.is_delete():
            continue
        if override.is_sweep_override():
            if application.sweeps:
                check_swept(override)
            continue
        option = override.value()
        if group in seen and override.package is None:
            raise ConfigError(f"`{group}` must be given once, but got {seen[group]} and {option}")
        seen[group] = str(option)
        if isinstance(option, str) and option not in conf.options(group) and not searches_elsewhere:
            known = conf.options(group)
            hint = did_you_mean(option, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"`{group}` must be one of its options, but got {option!r}{hint}")


def check_swept(override: Override) -> None:
    """Raise ConfigError unless the key is one of the strategy's or the engine's."""
    key, text = override.key_or_group, override.get_value_string()
    if override.package is not None or override.is_delete() or not key.startswith(("strategy.", "engine.")):
        hint = (
            f"a list is {key}=[{text}]"
            if key in LISTS and override.value_type is ValueType.SIMPLE_CHOICE_SWEEP  # a,b
            else "only strategy.* and engine.* are searched, run once for each"
        )
        raise ConfigError(f"`{key}` must have one value, but got {text!r}; {hint}")
    if key == "strategy._target_":
        raise ConfigError(f"`{key}` must have one value, but got {text!r}; run once for each strategy")


def find_target(conf: Conf, overrides: Sequence[str]) -> str | None:
    """Return the dotted path of the strategy that these overrides choose; None where only Hydra can tell."""
    parsed = [parse(line) for line in overrides]
    target = _last(parsed, "strategy._target_")
    if target is not None:
        return target
    option = _last(parsed, "strategy") or conf.choices.get("strategy")
    path = conf.find(f"strategy/{option}.yaml")
    content = {} if path is None else read_yaml(path)
    return str(content["_target_"]) if isinstance(content.get("_target_"), str) else None


def check_keys(
    application: Application, conf: Conf, overrides: Sequence[str], strategy: Mapping[str, Any] | None
) -> None:
    """Raise ConfigError for a key that the command does not have.

    Parameters
    ----------
    application : Application
    conf : Conf
    overrides : sequence of str
    strategy : mapping, optional
        Parameters of the strategy; None where they are not known yet.
    """
    groups = {name for name, hint in field_types(application.config_class).items() if is_dataclass(hint)}
    known = set(_dotted(application.config_class))
    if strategy is not None:
        known |= {f"strategy.{name}" for name in strategy} | {"strategy._target_"}
    for line in overrides:
        override = parse(line)
        key = override.key_or_group
        if key in groups - conf.choices.keys() and not isinstance(override.value(), dict):
            got = override.get_value_string()
            raise ConfigError(f"`{key}` must be a group of keys, but got {got!r}; write {key}.KEY=VALUE")
        if override.is_hydra_override() or key in conf.choices or key in known or override.package is not None:
            continue
        if any(f"{key}.".startswith(group) and group.rstrip(".") in known for group in OPEN):
            continue
        if strategy is None and key.startswith("strategy."):
            continue
        section, _, name = key.rpartition(".")
        if name == "pruner":
            from alphapulse.search.samplers.optuna.making import NO_PRUNERS

            raise ConfigError(f"`{key}` must be left out: {NO_PRUNERS}")
        near = [name for name in known if name.rpartition(".")[0] == section] if section in known else sorted(known)
        if did_you_mean(key, near) or not did_you_mean(key, known):
            raise unknown_key(key, near)
        raise unknown_key(key, sorted(known))


def _dotted(cls: type, prefix: str = "") -> list[str]:
    keys = []
    for name, hint in field_types(cls).items():
        if hint is SearchSpace:
            continue
        keys.append(prefix + name)
        if is_dataclass(hint) and isinstance(hint, type):
            keys += _dotted(hint, f"{prefix}{name}.")
    return keys
