"""The way into every command: arguments, Hydra, a checked configuration, the body; and the way out.

Whatever a user can cause ends in one line on stderr and exit code 1, or 2 where some series of a download failed and
the others are stored. Ctrl-C ends with 130, SIGTERM with 143. What is left is a fault of this program and
keeps its traceback. What takes time to import is imported inside, where Ctrl-C ends well.
"""

import contextlib
import errno
import functools
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from alphapulse import __version__
from alphapulse.errors import AlphaPulseError, ConfigError

if TYPE_CHECKING:
    from alphapulse.config.conf import Conf
    from alphapulse.config.overrides import Application, Arguments

Config = TypeVar("Config")

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
SIGNALLED = 128
# Objects that are made before the collector looks for cycles: it finds none in what is imported, and a sixth of the
# time that imports take is its own.
OBJECTS_A_COLLECTION = 50_000
CLOSED_PIPE = 141


def command(
    config_name: str, config_class: str, *, words: tuple[str, ...] = (), with_given: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function of a checked configuration and the directory of the run the body of a command.

    Parameters
    ----------
    config_name : str
        Primary configuration in conf/.
    config_class : str
        Name of the dataclass of `config.schema` that the body receives.
    words : tuple of str
        Keys that arguments without a `key=` stand for, in order.
    with_given : bool
        Whether the body is told, by the keyword `given`, which keys were typed.

    Returns
    -------
    callable
        Takes arguments (default: the process's own) and raises SystemExit unless all went well.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(body)
        def main(arguments: Sequence[str] | None = None) -> None:
            if arguments is None:
                gc.set_threshold(OBJECTS_A_COLLECTION, *gc.get_threshold()[1:])
            given = sys.argv[1:] if arguments is None else arguments
            code = exit_code(lambda: _run(body, config_name, config_class, words, list(given), with_given))
            if code:
                raise SystemExit(code)

        return main

    return decorate


def exit_code(run: Callable[[], None]) -> int:
    """Run a command and return its exit code, with at most one line on stderr for what a user can cause."""
    try:
        run()
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        _complain("interrupted")
        return SIGNALLED + int(error.args[0] if error.args else signal.SIGINT)
    except BrokenPipeError:
        # The reader is gone; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except AlphaPulseError as error:
        _complain(f"error: {_one_line(error)}")
        return error.exit_code
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = error.filename or "a file of this run"
        _complain(f"error: {where} cannot be written: {error.strerror}; make room, or set hydra.run.dir to elsewhere.")
        return 1
    return 0


def _complain(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _run(
    body: Callable[..., None],
    config_name: str,
    config_class: str,
    words: tuple[str, ...],
    given: list[str],
    with_given: bool,
) -> None:
    from alphapulse.config.conf import Conf
    from alphapulse.config.flags import help_text, parse_flags

    flags = parse_flags(given)
    if flags.version:
        print(f"alphapulse {__version__}")
        return
    _check_working_directory()
    conf = Conf(flags.config_dir, flags.config_name or config_name)
    if flags.help:
        print(help_text(conf, config_name))
        return

    from alphapulse.config import schema
    from alphapulse.config.composition import composing, refuse_followers, run_directory, running, show, values_of
    from alphapulse.config.overrides import Application

    application = Application(getattr(schema, config_class), config_name, words)
    arguments = _prepare(application, conf, flags.arguments)
    if flags.cfg is not None:
        with composing(conf, arguments.overrides) as composed:
            show(composed, flags.cfg, flags.package, resolve=flags.resolve)
        return
    with (
        composing(conf, [*arguments.overrides, "hydra.mode=RUN"]) as composed,
        run_directory(composed) as directory,
    ):
        refuse_followers(composed, tuple(arguments.space))
        config: Any = _typed(application.config_class, values_of(composed), arguments.password)
        with running(composed, directory), _traced(getattr(config, "traceback", False)):
            if with_given:
                body(config, directory, given=arguments.given)
            else:
                body(config, directory)


@contextlib.contextmanager
def _traced(wanted: bool) -> Iterator[None]:
    """Print where an error was raised before it becomes one line, if that is wanted."""
    try:
        yield
    except AlphaPulseError:
        if wanted:
            traceback.print_exc()
        raise


def _check_working_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError("the working directory is gone; change to one that exists, such as `cd ~`") from error


def _prepare(application: "Application", conf: "Conf", given: Sequence[str]) -> "Arguments":
    """Return the arguments, checked, and store every key with its default, and options without a file, for Hydra.

    The database's password is not among the overrides: Hydra would write it to the run directory.
    """
    from hydra.core.config_store import ConfigStoreWithProvider

    from alphapulse.config.building import defaults
    from alphapulse.config.found import FOUND
    from alphapulse.config.overrides import check_keys, find_target, read_arguments
    from alphapulse.config.schema import TARGET

    arguments = read_arguments(application, conf, given)
    node = defaults(application.config_class)
    parameters = None
    if application.has_strategy:
        target = find_target(conf, arguments.overrides)
        if target is not None:
            from alphapulse.config.assembly import find_strategy

            definition = find_strategy(target, os.getcwd())
            parameters = {name: parameter.default for name, parameter in definition.parameters.items()}
            node["strategy"] = {TARGET: target, **parameters}
    check_keys(application, conf, arguments.overrides, parameters)
    if application.sweeps:
        node |= {"sweeps": arguments.experiment, "space": dict(sorted(arguments.space.items()))}
        node["when"] = dict(sorted(arguments.when.items()))
    with ConfigStoreWithProvider("alphapulse") as store:
        store.store("defaults", node)
        for group, options in FOUND.items():
            for name, keys in options.items():
                # Beside a file of the same name it would be a schema to Hydra, which warns of it.
                if conf.find(f"{group}/{name}.yaml") is None:
                    store.store(name, keys, group)
    return arguments


def _typed(config_class: type[Config], values: dict[str, Any], password: str | None) -> Config:
    from alphapulse.config.assembly import assemble
    from alphapulse.config.schema import SweepConfig

    if password is not None:
        values["db"] = {**values["db"], "password": password}
    config: Any = assemble(config_class, values, os.getcwd())
    named: Config = _name_study(config) if isinstance(config, SweepConfig) else config
    return named


def _name_study(config: Any) -> Any:
    import datetime
    import secrets
    from dataclasses import replace

    from alphapulse.config.assembly import require_space

    if config.study is not None:
        # A stored one has its space.
        return config
    require_space(config)
    name = config.sweeps or str(config.strategy["_target_"]).rpartition(".")[2]
    now = datetime.datetime.now()
    # Two sweeps of the same second are two studies.
    return replace(config, study=f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
