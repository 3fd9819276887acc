"""What a command line says, as against what it leaves to defaults: the keys that were typed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override

from alphapulse.config.conf import Conf, read_yaml
from alphapulse.config.found import FOUND


@dataclass(frozen=True)
class Given:
    """The keys that a user typed.

    Attributes
    ----------
    keys : frozenset of str
        Dotted names; the name of a group stands for all its keys.
    whole_space : bool
        Whether an experiment was named, so that its space, with what was typed beside it, is all that is swept.
    """

    keys: frozenset[str] = frozenset()
    whole_space: bool = False

    @classmethod
    def of(cls, conf: Conf, own: Iterable[Override], experiments: Iterable[Override] | None) -> "Given":
        """Return the keys of overrides that were typed, and of those of an experiment that was named."""
        typed = [*own, *(experiments or ())]
        return cls(frozenset(key for override in typed for key in _keys(conf, override)), experiments is not None)

    def beside(self, key: str | None) -> "Given":
        """Return these keys and another one."""
        return self if key is None else Given(self.keys | {key}, self.whole_space)


def _keys(conf: Conf, override: Override) -> Iterator[str]:
    key = override.key_or_group
    if override.is_hydra_override():
        return
    value = None if override.is_sweep_override() else override.value()
    if key in conf.choices and not isinstance(value, Mapping):
        path = conf.find(f"{key}/{value}.yaml")
        content = FOUND.get(key, {}).get(str(value), {}) if path is None else read_yaml(path)
        # An option without keys of its own asks for all defaults of its group; engine/costs is a part of engine.
        yield from _flat(key.partition("/")[0], {n: inner for n, inner in content.items() if n != "defaults"} or None)
    else:
        yield from _flat(key, value)


def _flat(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    else:
        yield key
