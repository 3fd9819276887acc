"""The way into every command: arguments, Hydra, a checked configuration, the body; and the way out.

Whatever a user can cause ends in one line on stderr and exit code 1. Ctrl-C ends with 130. What is left is a
fault of this program and keeps its traceback. What takes time to import is imported inside, where Ctrl-C ends well.
"""

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from alphapulse import __version__
from alphapulse.errors import AlphaPulseError, ConfigError

Config = TypeVar("Config")

INTERRUPTED = 130
CLOSED_PIPE = 141


def command(
    config_name: str, config_class: str, *, words: tuple[str, ...] = ()
) -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """Make a function of a checked configuration the body of a command.

    Parameters
    ----------
    config_name : str
        Primary configuration in conf/.
    config_class : str
        Name of the dataclass of `config.schema` that the body receives.
    words : tuple of str
        Keys that arguments without a `key=` stand for, in order.

    Returns
    -------
    callable
        Takes arguments (default: the process's own) and raises SystemExit unless all went well.
    """

    def decorate(body: Callable[[Any], None]) -> Callable[..., None]:
        @functools.wraps(body)
        def main(arguments: Sequence[str] | None = None) -> None:
            given = sys.argv[1:] if arguments is None else arguments
            code = exit_code(lambda: _run(body, config_name, config_class, words, list(given)))
            if code:
                raise SystemExit(code)

        return main

    return decorate


def run_directory() -> Path:
    """Return the directory of this run, where its files go; the working directory outside of a command."""
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir) if HydraConfig.initialized() else Path.cwd()


def exit_code(run: Callable[[], None]) -> int:
    """Run a command and return its exit code, with at most one line on stderr for what a user can cause."""
    try:
        run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader is gone; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except AlphaPulseError as error:
        _complain(f"error: {_one_line(error)}")
        return 1
    return 0


def _complain(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _run(
    body: Callable[[Any], None], config_name: str, config_class: str, words: tuple[str, ...], given: list[str]
) -> None:
    from alphapulse.config import schema
    from alphapulse.config.overrides import Application

    if "--version" in given:
        print(f"alphapulse {__version__}")
        return
    _check_working_directory()
    application = Application(getattr(schema, config_class), config_name, words)
    parsed, parser = _parse_flags(given)
    password = _prepare(application, parsed)
    outcome: list[BaseException] = []

    def task(composed: Any) -> None:
        # Hydra would add lines of its own to an exception that passes through it.
        try:
            body(_typed(application.config_class, composed, password))
        except Exception as error:
            outcome.append(error)

    _run_hydra(parsed, parser, task, config_name)
    if outcome:
        raise outcome[0]


def _check_working_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError("the working directory is gone; change to one that exists, such as `cd ~`") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def _parse_flags(given: list[str]) -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.__class__ = _Parser
    parsed = parser.parse_intermixed_args(given)
    if parsed.multirun:
        raise ConfigError("`--multirun` must be left out; a sweep searches 'strategy.x=a,b' in one run")
    if parsed.experimental_rerun is not None:
        raise ConfigError("`--experimental-rerun` must be left out; `python -m alphapulse.replay` runs a trial again")
    return parsed, parser


def _prepare(application: Any, parsed: argparse.Namespace) -> str | None:
    """Replace the overrides by those for Hydra, and store every key with its default where conf/ finds it.

    Returns
    -------
    str, optional
        The database's password, where it was given. Hydra does not see it: it would write it to the run directory.
    """
    from hydra.core.config_store import ConfigStore

    from alphapulse.config.building import defaults
    from alphapulse.config.conf import Conf
    from alphapulse.config.overrides import Arguments, check_keys, find_target, read_arguments
    from alphapulse.config.schema import TARGET

    conf = Conf(parsed.config_dir, parsed.config_name or application.config_name)
    only_shown = parsed.help or parsed.shell_completion
    arguments = Arguments() if only_shown else read_arguments(application, conf, parsed.overrides)
    node = defaults(application.config_class)
    parameters = None
    if application.has_strategy and not only_shown:
        target = find_target(conf, arguments.overrides)
        if target is not None:
            from alphapulse.strategies.resolve import resolve

            definition = resolve(target, os.getcwd())
            parameters = {name: parameter.default for name, parameter in definition.parameters.items()}
            node["strategy"] = {TARGET: target, **parameters}
    check_keys(application, conf, arguments.overrides, parameters)
    if application.sweeps:
        node |= {"sweeps": arguments.experiment, "space": dict(sorted(arguments.space.items()))}
    ConfigStore.instance().store(name="defaults", node=node, provider="alphapulse")
    if not parsed.shell_completion:
        parsed.overrides = list(arguments.overrides)
    return arguments.password


def _typed(config_class: type[Config], composed: Any, password: str | None) -> Config:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from alphapulse.config.assembly import assemble
    from alphapulse.config.schema import SweepConfig

    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_one_line(error)) from error
    assert isinstance(values, dict)
    if password is not None:
        values["db"] = {**values["db"], "password": password}
    config: Any = assemble(config_class, {str(key): value for key, value in values.items()}, os.getcwd())
    named: Config = _name_study(config) if isinstance(config, SweepConfig) else config
    return named


def _name_study(config: Any) -> Any:
    import datetime
    import secrets
    from dataclasses import replace

    if not len(config.space):
        raise ConfigError(
            "the search space must hold a key, but nothing is swept; "
            "add such as 'strategy.NAME=int(interval(10,250))', or sweeps=NAME"
        )
    if config.study is not None:
        return config
    name = config.sweeps or str(config.strategy["_target_"]).rpartition(".")[2]
    now = datetime.datetime.now()
    # Two sweeps of the same second are two studies.
    return replace(config, study=f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")


@contextlib.contextmanager
def _raising() -> Iterator[None]:
    """Let exceptions through Hydra, which prints them and exits, and spare it composing twice to learn its mode."""
    from hydra._internal import utils
    from hydra._internal.hydra import Hydra

    report, get_mode = utils.run_and_report, Hydra.get_mode
    setattr(utils, "run_and_report", lambda function: function())  # noqa: B010
    setattr(Hydra, "get_mode", lambda self, config_name, overrides: None)  # noqa: B010
    try:
        yield
    finally:
        setattr(utils, "run_and_report", report)  # noqa: B010
        setattr(Hydra, "get_mode", get_mode)  # noqa: B010


def _run_hydra(
    parsed: argparse.Namespace, parser: argparse.ArgumentParser, task: Callable[[Any], None], config_name: str
) -> None:
    from hydra import version
    from hydra._internal.utils import _run_hydra as run_hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from alphapulse.config.resources import resource_dir

    version.setbase("1.3")
    try:
        with _raising():
            run_hydra(
                args=parsed,
                args_parser=parser,
                task_function=task,
                config_path=str(resource_dir("conf")),
                config_name=config_name,
            )
    except SystemExit as leaving:
        if leaving.code:
            raise
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
        reason = f"{_one_line(error)} {_one_line(cause)}" if cause is not None else _one_line(error)
        raise ConfigError(reason) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise ConfigError(f"the run directory cannot be made: {_one_line(error)}; set hydra.run.dir") from error
