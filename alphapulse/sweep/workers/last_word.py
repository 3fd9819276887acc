"""The last word of a process that is ended without being asked: a shell says it, which waits for it to go."""

import atexit
import contextlib
import subprocess

SHELL = "/bin/sh"
SCRIPT = """read answer || printf '%s\\n' "$1" >&2"""


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
