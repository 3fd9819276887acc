"""A stand-in for Yahoo that the real client talks to, where its folder stands beside the project."""

import importlib.util
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.fixture(scope="session")
def yahoo_address() -> Iterator[str]:
    source = SHARED / "yahoo" / "fake_yahoo.py"
    if not source.exists():
        pytest.skip("the stand-in for Yahoo is not here")
    spec = importlib.util.spec_from_file_location("fake_yahoo", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = ThreadingHTTPServer(("127.0.0.1", 0), module.Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def yahoo(yahoo_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Send every request of yfinance to the stand-in."""
    from yfinance import cache, data

    cache.set_cache_location(str(tmp_path))
    plain = data.YfData._make_request

    def redirected(self, url, *args, **kwargs):
        parts = urlsplit(url)
        return plain(self, urlunsplit(("http", yahoo_address, parts.path, parts.query, "")), *args, **kwargs)

    monkeypatch.setattr(data.YfData, "_make_request", redirected)
    monkeypatch.setattr(data.YfData, "_get_cookie_and_crumb", lambda self, *args, **kwargs: (None, "basic"))
    return yahoo_address
