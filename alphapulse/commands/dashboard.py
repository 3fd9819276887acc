"""optuna-dashboard on the database of the studies."""

import contextlib
import secrets
from collections.abc import Iterable
from http.cookies import SimpleCookie
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from alphapulse.data_pipeline.opening import open_database
from alphapulse.errors import ConfigError
from alphapulse.study.optuna.mirror import mirror_all

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from alphapulse.config.schema import DashboardConfig

TOKEN = "token"
LOCAL = ("127.0.0.1", "localhost", "[::1]")
ANY = ("0.0.0.0", "::", "")


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

    token = secrets.token_urlsafe(16)
    application = guarded(wsgi(RDBStorage(database.optuna_url)), config.host, token)
    try:
        server = make_server(config.host, config.port, application, _Server, _QuietHandler)
    except OSError as error:
        raise ConfigError(
            f"`host` and `port` must be free to serve on, but got {config.host}:{config.port} ({error.strerror}); "
            "choose another with port=N"
        ) from error
    with server, contextlib.suppress(KeyboardInterrupt):
        address = f"http://{config.host}:{server.server_port}/?{TOKEN}={token}"
        print(f"optuna-dashboard at {address} (Ctrl-C ends it)", flush=True)
        server.serve_forever()


def guarded(application: "WSGIApplication", host: str, token: str) -> "WSGIApplication":
    """Return an application that answers only who has opened the address with the token, under the server's own name.

    Without it every user of the machine could delete studies, and every page open in a browser too (DNS rebinding,
    forged requests).

    Parameters
    ----------
    application : callable
        The WSGI application behind.
    host : str
        What the server listens on.
    token : str
        Stands in the printed address, and from the first answer on in a cookie.
    """

    def answer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        names = {host, *LOCAL} if host in (*LOCAL, *ANY) else {host}
        addresses = {f"{name}:{environ['SERVER_PORT']}" for name in names}
        named = environ.get("HTTP_HOST", "")
        origin = environ.get("HTTP_ORIGIN")
        if (named not in addresses and host not in ANY) or origin not in (None, f"http://{named}"):
            return _refuse(start, "403 Forbidden", "This address is none of optuna-dashboard's.")
        given = parse_qs(environ.get("QUERY_STRING", "")).get(TOKEN, [""])[0]
        if secrets.compare_digest(given.encode(), token.encode()):
            cookie = f"{TOKEN}={token}; Path=/; HttpOnly; SameSite=Strict"
            start("303 See Other", [("Location", environ.get("PATH_INFO") or "/"), ("Set-Cookie", cookie)])
            return []
        held = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(TOKEN)
        if held is None or not secrets.compare_digest(held.value.encode(), token.encode()):
            return _refuse(start, "401 Unauthorized", "Open the address that `python -m alphapulse.dashboard` printed.")
        return application(environ, start)

    return answer


def _refuse(start: "StartResponse", status: str, reason: str) -> list[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{reason}\n".encode()]
