"""The flags of every command, beside its `key=value` arguments, and the help that names them."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Literal, NoReturn

from alphapulse.config.conf import Conf, read_yaml
from alphapulse.config.found import FOUND
from alphapulse.errors import ConfigError

FLAGS_HELP = """\
  --cfg job|hydra|all  show every key with its value, the command's or Hydra's, and end; --package KEY, --resolve
  --config-dir DIR     your own conf/ (groups as data/, strategy/; experiments in DIR/sweeps/) on top of this one
  --config-name NAME   your own NAME.yaml of DIR in place of the command's primary configuration
  --version"""


@dataclass(frozen=True)
class Flags:
    """What a command line says beside its keys.

    Attributes
    ----------
    arguments : list of str
        What is left: keys with their values, and words.
    help, version : bool
    cfg : {"job", "hydra", "all"}, optional
        The part of the configuration to show in place of a run.
    package : str, optional
        The key below which `cfg` shows; None is all.
    resolve : bool
        Whether `cfg` shows values in place of interpolations.
    config_dir : str, optional
        A directory of the user's own.
    config_name : str, optional
        A primary configuration of the user's own.
    """

    arguments: list[str]
    help: bool
    version: bool
    cfg: Literal["job", "hydra", "all"] | None
    package: str | None
    resolve: bool
    config_dir: str | None
    config_name: str | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def parse_flags(given: Sequence[str]) -> Flags:
    """Return the flags among the arguments of a command.

    Raises
    ------
    ConfigError
        If one is unknown, lacks its value, or stands for what a command does not do.
    """
    parser = _Parser(add_help=False)
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--experimental-rerun")
    parsed = vars(parser.parse_intermixed_args(given))
    if parsed.pop("multirun"):
        raise ConfigError("`--multirun` must be left out; a sweep searches 'strategy.x=a,b' in one run")
    if parsed.pop("experimental_rerun") is not None:
        raise ConfigError("`--experimental-rerun` must be left out; `python -m alphapulse.replay` runs a trial again")
    flags = Flags(**parsed)
    if flags.cfg is None and not flags.help and (flags.resolve or flags.package is not None):
        raise ConfigError(f"`--{'resolve' if flags.resolve else 'package'}` must go with --cfg")
    return flags


def help_text(conf: Conf, config_name: str) -> str:
    """Return the help of a command: `hydra.help.template` of its primary configuration.

    Parameters
    ----------
    conf : Conf
        The user's primary configuration may have a template of its own.
    config_name : str
        The command's own.
    """
    template = _template(conf, conf.config_name) or _template(conf, config_name)
    groups = "".join(f"{group}: {', '.join(conf.options(group))}\n" for group in conf.groups())
    found = {f"{group.upper()}_OPTIONS": "|".join(conf.options(group)) for group in FOUND}
    return Template(template).safe_substitute(found, APP_CONFIG_GROUPS=groups, FLAGS_HELP=FLAGS_HELP)


def _template(conf: Conf, config_name: str) -> str:
    path = conf.find(f"{config_name}.yaml")
    content: Any = {} if path is None else read_yaml(path)
    for key in ("hydra", "help", "template"):
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) else ""
