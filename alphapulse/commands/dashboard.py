"""optuna-dashboard on the database of the studies."""

import contextlib
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import ConfigError
from alphapulse.study.optuna.mirror import mirror_all

if TYPE_CHECKING:
    from alphapulse.config.schema import DashboardConfig


class _Server(ThreadingMixIn, WSGIServer):
    # A browser that keeps its connection must not keep the command from ending.
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the page asks for news every few seconds."""


def run_dashboard(config: "DashboardConfig") -> None:
    """Serve until Ctrl-C; the address is printed once it answers.

    Raises
    ------
    ConfigError
        If the address cannot be had.
    """
    database = open_database(config.db)
    mirror_all(database)
    from optuna.storages import RDBStorage
    from optuna_dashboard import wsgi

    application = wsgi(RDBStorage(database.optuna_url))
    try:
        server = make_server(config.host, config.port, application, _Server, _QuietHandler)
    except OSError as error:
        raise ConfigError(
            f"`host` and `port` must be free to serve on, but got {config.host}:{config.port} ({error.strerror}); "
            "choose another with port=N"
        ) from error
    with server, contextlib.suppress(KeyboardInterrupt):
        print(f"optuna-dashboard at http://{config.host}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        server.serve_forever()
