"""What a trial may cost the worker that runs it: time, memory and lines of output, watched inside its process.

A limit that is reached raises `LimitExceeded` in the trial, which is then a failed one. Code that gives Python no turn
(a loop in C, a compiled function) is ended with its process; what the driver makes of that is in `batches`.
"""

import contextlib
import faulthandler
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NamedTuple

from alphapulse.errors import LimitExceeded
from alphapulse.sweep.workers.marks import leave

GRACE = 5.0
"""How long a trial may go on after a limit is reached before its process is ended [s]."""

LOOK_EVERY = 0.05
ARM_EVERY = 0.5
OUTPUT_BYTES = 100_000
CUT = b"\n[the output of this worker is cut here]\n"
STREAMS = (1, 2)
GIGABYTE = 1e9


class Limits(NamedTuple):
    """What a trial may cost.

    Attributes
    ----------
    seconds : float
        Of one trial [s].
    gigabytes : float, optional
        Memory of the whole worker process, without what it shares with others [GB]; None is no limit.
    mark : str
        Name under which the worker leaves a note of its start, see `marks`; empty leaves none.
    ends : bool
        Whether a limit that is reached ends the worker, where a failed trial would be followed by many of its kind.
    """

    seconds: float
    gigabytes: float | None = None
    mark: str = ""
    ends: bool = False


@dataclass
class _Watch:
    """The limits of the batch that this process runs; `reason` says which of them was reached."""

    limits: Limits
    armed_at: float = -math.inf
    reason: str = ""


_watch: _Watch | None = None
_watching = threading.Event()
_thread: threading.Thread | None = None


def is_watched() -> bool:
    """Whether this process runs a batch under limits, and so is no driver."""
    return _watch is not None


@contextlib.contextmanager
def watched(limits: Limits) -> Iterator[None]:
    """Hold what runs meanwhile to its limits; in another thread than the main one nothing is watched.

    Whoever runs trials calls `begin_trial` before each.
    """
    global _watch, _thread
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _thread is None:
        _thread = threading.Thread(target=_look_on, name="limits", daemon=True)
        _thread.start()
    if limits.mark:
        leave(limits.mark)
    before = signal.signal(signal.SIGALRM, _raise)
    _watch = _Watch(limits)
    _watching.set()
    try:
        yield
    finally:
        _watch = None
        _watching.clear()
        _disarm()
        signal.signal(signal.SIGALRM, before)


def begin_trial() -> None:
    """Start the clock of a trial; outside `watched` it does nothing."""
    watch, now = _watch, time.monotonic()
    # To arm costs as much as a fast trial; what is late by a part of a limit does no harm.
    if watch is None or now - watch.armed_at < min(ARM_EVERY, watch.limits.seconds / 10):
        return
    watch.armed_at, watch.reason = now, ""
    signal.setitimer(signal.ITIMER_REAL, watch.limits.seconds)
    faulthandler.dump_traceback_later(watch.limits.seconds + GRACE, exit=True, file=STREAMS[1])


def end_trials() -> None:
    """Stop the clock until the next trial begins."""
    if _watch is not None:
        _disarm()
        _watch.armed_at = -math.inf


def _disarm() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()


def late(seconds: float) -> str:
    """Return why a trial failed that took too long."""
    return f"no result after {seconds:,.4g} s, see `cluster.trial_timeout`"


def large(gigabytes: float) -> str:
    """Return why a trial failed that took too much memory."""
    return f"its worker took more than {gigabytes:,.4g} GB, see `cluster.trial_memory`"


def _raise(number: int, frame: FrameType | None) -> None:
    watch = _watch
    if watch is not None:
        if watch.limits.ends:
            os._exit(1)
        watch.armed_at = -math.inf
        raise LimitExceeded(watch.reason or late(watch.limits.seconds))


def _look_on() -> None:
    """Look at memory and output of this process for as long as it runs batches."""
    cut: set[int] = set()
    above_since: float | None = None
    while True:
        _watching.wait()
        time.sleep(LOOK_EVERY)
        for stream in STREAMS:
            if stream not in cut and _is_full(stream):
                cut.add(stream)
        watch = _watch
        if watch is None or watch.limits.gigabytes is None or own_memory() <= watch.limits.gigabytes * GIGABYTE:
            above_since = None
            continue
        now = time.monotonic()
        if above_since is None:
            above_since = now
            watch.reason = large(watch.limits.gigabytes)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        elif now - above_since > GRACE or own_memory() > 2 * watch.limits.gigabytes * GIGABYTE:
            if watch.limits.mark:
                leave(watch.limits.mark, f"LimitExceeded: {large(watch.limits.gigabytes)}")
            os._exit(1)


def own_memory() -> int:
    """Return the memory of this process that it shares with nobody [bytes]; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            resident, shared = file.read().split()[1:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _is_full(stream: int) -> bool:
    """Cut a file of output that is too long, and let nothing more into it; return whether that was so."""
    try:
        if os.fstat(stream).st_size <= OUTPUT_BYTES or os.isatty(stream):
            return False
        os.ftruncate(stream, OUTPUT_BYTES)
        os.lseek(stream, OUTPUT_BYTES, os.SEEK_SET)
        os.write(stream, CUT)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream)
        os.close(nowhere)
    except OSError:
        return False
    return True
