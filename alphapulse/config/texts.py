"""Names stay as they are typed, on the command line and in YAML: 1.10, 2e3, TRUE and NAN where a text goes.

So do expressions, whose comparisons, brackets and minus signs are no grammar of Hydra's.
"""

import functools
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from alphapulse.config import schema
from alphapulse.config.building import field_types
from alphapulse.errors import ConfigError
from alphapulse.plain import in_quotes

# A study may have any name; elsewhere null takes a value away.
NEVER_NULL = frozenset({"study"})
# Their values are expressions, or whatever else a user writes; where one of a command is no text, it is not meant.
RAW = frozenset({"constraints", "feasible", "objective", "choose", "where", "trial"})
# Of these, what is one text with its commas.
WHOLE = frozenset({"where", "trial"})
# What YAML and the grammar read as a text of these letters anyway.
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEYWORDS = frozenset({"true", "false", "null", "nan", "inf", "on", "off", "yes", "no", "y", "n"})
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
_QUOTED_OR_BARE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^,\[\]\s'"]+""")


@functools.cache
def text_keys() -> frozenset[str]:
    """Return the dotted keys of all commands whose value is a text or a list of texts."""
    every = (value for value in vars(schema).values() if isinstance(value, type) and is_dataclass(value))
    commands = [value for value in every if "db" in field_types(value)]
    return frozenset(key for command in commands for key in _text_keys(command))


def _text_keys(cls: type, prefix: str = "") -> Iterator[str]:
    for name, hint in field_types(cls).items():
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _text_keys(hint, f"{prefix}{name}.")
        elif _holds_text(hint):
            yield prefix + name


def _holds_text(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return all(_holds_text(member) for member in get_args(hint) if member is not NoneType)
    return hint is str or (origin is tuple and get_args(hint)[0] is str)


def quote_texts(line: str) -> str:
    """Return `key=value` with names within quotes where the grammar would not read them as they stand."""
    key, equals, text = line.partition("=")
    name = key.lstrip("+")
    if name in text_keys() & RAW and "${" not in text:
        return key + equals + _quote_raw(text.strip(), name)
    if name not in text_keys() or re.search(r"[(){}$]", text):
        return line
    if text.startswith("[") or "," in text:
        return key + equals + _QUOTED_OR_BARE.sub(lambda item: _quoted(item.group()), text)
    is_name = _QUOTED_OR_BARE.fullmatch(text) and (text != "null" or name in NEVER_NULL)
    return key + equals + _quoted(text) if is_name else line


def _quoted(item: str) -> str:
    return item if item[0] in "'\"" or _is_word(item) else in_quotes(item)


def _is_word(text: str) -> bool:
    """Return whether a text is one to YAML and the grammar without quotes."""
    return _WORD.fullmatch(text) is not None and text.lower() not in _KEYWORDS


def _quote_raw(text: str, name: str) -> str:
    """Return a text, or a list of texts, each within quotes, as it stands; one that is there already stays."""
    if text == "" or (text == "null" and name not in NEVER_NULL):
        return text
    is_list = text.startswith("[") and text.endswith("]")
    parts = [text] if name in WHOLE else split_items(text[1:-1] if is_list else text)
    words = (_unquoted(item) for item in parts)
    quoted = ",".join(word if _is_word(word) else in_quotes(word) for word in words)
    # Several without brackets are a mistake that the grammar names.
    return f"[{quoted}]" if is_list else quoted


def split_items(text: str) -> list[str]:
    """Return the parts between the commas that stand in no brackets and no quotes, without what surrounds them."""
    items, depth, quote, escaped = [""], 0, "", False
    for sign in text:
        if quote:
            quote = "" if sign == quote and not escaped else quote
            escaped = sign == "\\" and not escaped
        elif sign in "'\"":
            quote = sign
        elif sign == "," and depth == 0:
            items.append("")
            continue
        else:
            depth += (sign in "([{") - (sign in ")]}")
        items[-1] += sign
    return [item.strip() for item in items] if text.strip() else []


def take_conditions(arguments: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Return the arguments without those of `when`, and the conditions that those state, by key; None takes one away.

    Raises
    ------
    ConfigError
        If `when=` is followed by no mapping.
    """
    rest: list[str] = []
    conditions: dict[str, str | None] = {}
    for argument in arguments:
        name, _, text = argument.lstrip("+").partition("=")
        if name.startswith("when."):
            text = text.strip()
            conditions[name.removeprefix("when.")] = None if text == "null" else _unquoted(text)
        elif name == "when":
            conditions |= _read_mapping(text)
        else:
            rest.append(argument)
    return rest, conditions


def _read_mapping(text: str) -> dict[str, str | None]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(
            f"`when` must map keys to conditions, but got {text!r}; write such as "
            "'when.engine.stop.multiplier=engine.stop.kind == \"atr\"'"
        )
    return {str(key): None if value is None else str(value) for key, value in found.items()}


def _unquoted(item: str) -> str:
    """Return what stands within the quotes around a whole item, else the item."""
    if not _QUOTED.fullmatch(item):
        return item
    return re.sub(rf"(\\+)(?={item[0]}|\Z)", lambda marks: "\\" * (len(marks.group()) // 2), item[1:-1])


class OwnFiles(ConfigSource):
    """The YAML files of a directory of the user's own, as Hydra reads its files but for the names in them."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme that a search path begins with."""
        return "own"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the configuration in a file."""
        path = self._file(config_path)
        if not path.is_file():
            raise ConfigLoadError(f"Config not found : {path}")
        text = path.read_text(encoding="utf-8")
        header = ConfigSource._get_header_dict(text[:512])
        group = config_path.removesuffix(".yaml").rpartition("/")[0].replace("/", ".")
        package = header["package"] or "_group_"
        prefix = "" if package == "_global_" else package.replace("_group_", group)
        config = OmegaConf.load(io.StringIO(quote_yaml(text, prefix)))
        return ConfigResult(config=config, path=self.full_path(), provider=self.provider, header=header)

    def available(self) -> bool:
        """Return whether there is the directory."""
        return self.is_group("")

    def is_group(self, config_path: str) -> bool:
        """Return whether there is a directory of this path."""
        return (Path(self.path) / config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Return whether there is a file of this path."""
        return self._file(config_path).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> "list[str]":
        """Return the groups and configurations in a directory."""
        found: list[str] = []
        for path in (Path(self.path) / config_path).iterdir():
            self._list_add_result(found, str(Path(config_path) / path.name), path.name, results_filter)
        return sorted(set(found))

    def _file(self, config_path: str) -> Path:
        return Path(self.path) / self._normalize_file_name(config_path)


def quote_yaml(text: str, prefix: str = "") -> str:
    """Return a YAML document with names within quotes; the keys in it are those below `prefix`."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for scalar in sorted(_names(node, prefix), key=lambda found: -found.start_mark.index):
        start, end = scalar.start_mark.index, scalar.end_mark.index
        text = text[:start] + "'" + str(scalar.value).replace("'", "''") + "'" + text[end:]
    return text


def _names(node: yaml.Node | None, key: str) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _names(value, f"{key}.{name.value}".lstrip("."))
    elif key in text_keys():
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        scalars = [item for item in items if isinstance(item, yaml.ScalarNode)]
        kept = () if isinstance(node, yaml.SequenceNode) else ("", "~", "null", "???")
        for scalar in scalars:
            if scalar.style is None and "${" not in scalar.value and scalar.value not in kept:
                yield scalar
