"""A stand-in for Yahoo that the real client talks to."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from yahoo_server import YahooServer


@pytest.fixture(scope="session")
def yahoo_server() -> Iterator[YahooServer]:
    with YahooServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def yahoo(yahoo_server: YahooServer, monkeypatch: pytest.MonkeyPatch, tmp_path) -> YahooServer:
    """Send every request of yfinance to the stand-in, and forget what it was asked before."""
    from yfinance import cache, data

    cache.set_cache_location(str(tmp_path))
    data.YfData.cache_get.cache_clear()
    yahoo_server.requests.clear()
    plain = data.YfData._make_request

    def redirected(self, url, *args, **kwargs):
        parts = urlsplit(url)
        return plain(self, urlunsplit(("http", yahoo_server.address, parts.path, parts.query, "")), *args, **kwargs)

    monkeypatch.setattr(data.YfData, "_make_request", redirected)
    monkeypatch.setattr(data.YfData, "_get_cookie_and_crumb", lambda self, *args, **kwargs: (None, "basic"))
    return yahoo_server
