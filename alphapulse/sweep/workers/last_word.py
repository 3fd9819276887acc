"""The last word of a process that ends without one, or does not end where it is asked to: another one says it."""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from alphapulse.strategies.resolve import StrategyDefinition

SHELL = "/bin/sh"
SCRIPT = """read answer || printf '%s\\n' "$1" >&2"""

KEEP = b"k"
PATIENCE = 3.0
"""How long Ctrl-C may be unheard before the process is ended [s]."""

WATCH = """
import os, select, sys
pid, patience, ended, stuck = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
said = os.read(0, 1)
if not said:
    print(ended, file=sys.stderr)
while said not in (b"", b"k"):
    if not select.select([0], [], [], patience)[0]:
        os.kill(pid, 9)
        print(stuck, file=sys.stderr)
        break
    said = os.read(0, 1)
"""


class LastWord:
    """From its making on, what is said on stderr if this process ends before `keep` is called.

    Ray's library ends the process of a driver at once, with nothing but its exit code, where it asks the object store
    of a node that is lost; a system that is out of memory does so too.

    Parameters
    ----------
    line : str
    """

    def __init__(self, line: str) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            # A session of its own: Ctrl-C at the command does not reach it.
            self._shell = subprocess.Popen(
                [SHELL, "-c", SCRIPT, SHELL, line],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            atexit.register(self.keep)

    def keep(self) -> None:
        """Say nothing: this process goes in its own way, and says itself what there is to say."""
        shell, self._shell = self._shell, None
        if shell is None:
            return
        atexit.unregister(self.keep)
        with contextlib.suppress(OSError):
            shell.communicate(b"\n")


@contextlib.contextmanager
def outlasting(definition: StrategyDefinition) -> Iterator[None]:
    """While a strategy of the user's runs in this process: say so where it ends it, and let Ctrl-C end it always.

    A compiled loop gives Python no turn to hear of Ctrl-C, and a strategy may catch what Ctrl-C raises. A process
    beside this one hears of it from the system, and ends this one where nothing comes of it.
    """
    if definition.is_built_in or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ended = f"error: {definition.name} ended this process: os._exit, a crash of compiled code or lack of memory."
    stuck = f"interrupted; {definition.name} heard nothing of it for {PATIENCE:g} s and was ended"
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", WATCH, str(os.getpid()), str(PATIENCE), ended, stuck],
        stdin=reader,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(reader)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        with contextlib.suppress(OSError):
            os.write(writer, KEEP)
        os.close(writer)
        watcher.wait()
