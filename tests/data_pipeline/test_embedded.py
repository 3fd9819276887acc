import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from alphapulse.data_pipeline import embedded
from alphapulse.data_pipeline.embedded import ensure_server, server_root, stop_server
from alphapulse.errors import DatabaseError

pytestmark = pytest.mark.postgres

START = "import sys; from pathlib import Path; from alphapulse.data_pipeline.embedded import ensure_server; "


@pytest.fixture(scope="module")
def server():
    """A data directory of a length that no unix socket has room for."""
    home = Path(tempfile.mkdtemp(prefix="alphapulse-test-"))
    home.chmod(0o755)
    long_home = home / ("d" * 90)
    yield long_home
    stop_server(long_home, mode="immediate")
    shutil.rmtree(home)
    shutil.rmtree(embedded._socket_folder(long_home), ignore_errors=True)


def postmaster(home: Path) -> psutil.Process:
    return psutil.Process(int((server_root(home) / "postgres/data/postmaster.pid").read_text().split()[0]))


def query(socket: Path, statement: str) -> list[tuple]:
    connection = psycopg.connect(
        host=str(socket), port=embedded.PORT, user=embedded.SUPERUSER, dbname="postgres", autocommit=True
    )
    with contextlib.closing(connection):
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_many_processes_start_one_server_that_outlives_them(server):
    command = [sys.executable, "-c", START + f"print(ensure_server(Path({str(server)!r})))"]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) for _ in range(3)]
    sockets = {starter.communicate(timeout=120)[0].strip() for starter in starters}
    assert len(sockets) == 1
    socket = Path(sockets.pop())
    assert socket.stat().st_mode & 0o777 == 0o700
    assert query(socket, "SHOW listen_addresses") == [("",)]
    process = postmaster(server)
    # Ctrl-C at a terminal reaches its foreground process group only.
    assert os.getpgid(process.pid) not in {os.getpgid(0), *(starter.pid for starter in starters)}
    assert process.uids().real != 0
    assert ensure_server(server) == socket
    assert postmaster(server) == process


def test_killed_server_recovers_with_its_data(server):
    socket = ensure_server(server)
    query(socket, "CREATE TABLE IF NOT EXISTS kept (x int)")
    for attempt in range(2):
        query(socket, f"INSERT INTO kept VALUES ({attempt})")
        postmaster(server).send_signal(signal.SIGKILL)
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(lambda _: ensure_server(server), range(3))) == {socket}
    assert query(socket, "SELECT x FROM kept ORDER BY x") == [(0,), (1,)]


def test_stale_files_of_another_process_do_not_stop_a_start(server):
    socket = ensure_server(server)
    stop_server(server)
    stop_server(server)
    data = server_root(server) / "postgres" / "data"
    owner = data.stat()
    for path in (data / "postmaster.pid", socket / f".s.PGSQL.{embedded.PORT}.lock"):
        # Of a process that lives, and is no server.
        path.write_text(f"{os.getpid()}\n{data}\n1700000000\n{embedded.PORT}\n{socket}\n\n")
        os.chown(path, owner.st_uid, owner.st_gid)
    assert ensure_server(server) == socket
    assert query(socket, "SELECT 1") == [(1,)]


def test_server_without_its_socket_is_started_again(server):
    socket = ensure_server(server)
    (socket / f".s.PGSQL.{embedded.PORT}").unlink()
    assert ensure_server(server) == socket
    assert query(socket, "SELECT 1") == [(1,)]


def test_half_made_data_directory_is_made_again():
    home = Path(tempfile.mkdtemp(prefix="alphapulse-test-"))
    home.chmod(0o755)
    try:
        folder = home / "postgres"
        (folder / "data-1").mkdir(parents=True)
        (folder / "data-1" / "PG_VERSION").write_text("18")
        socket = ensure_server(home)
        assert query(socket, "SHOW server_version_num")[0][0] >= "180000"
        assert [path.name for path in folder.glob("data*")] == ["data"]
    finally:
        stop_server(home, mode="immediate")
        shutil.rmtree(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another account")
def test_home_closed_to_others_gets_a_place_of_its_own(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    root = server_root(home)
    assert root != home
    assert root == server_root(home)
    assert root.parts[1] == "var"


def test_unusable_directory_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match=r"cannot use [^\n]*file[^\n]*ALPHAPULSE_HOME[^\n]*DB_HOST[^\n]*$"):
        ensure_server(tmp_path / "file" / "home")


def test_server_that_cannot_start_is_one_line(server, monkeypatch):
    stop_server(server, mode="immediate")
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "SERVER_OPTIONS", {"no_such_option": "1"})
        with pytest.raises(DatabaseError, match=r"did not start, pg_ctl said: [^\n]*alphapulse.conf[^\n]*$"):
            ensure_server(server)
    assert query(ensure_server(server), "SELECT 1") == [(1,)]
