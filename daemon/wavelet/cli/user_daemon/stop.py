"""The end of this user's own daemon, whoever has started it. Standard library only."""

from __future__ import annotations

import os
import select
import signal

from wavelet.cli.user_daemon.daemon import DaemonLocation, daemon_status

STOP_LIMIT = 40.0
"""Seconds for the daemon to end: more than its grace period for transfers."""


def stop_daemon(location: DaemonLocation, pid: int) -> bool:
    """End the daemon if it is this process, and wait for it; tell whether it has ended.

    Raises:
        OSError: there is no such process, or it is not ours.
        NotStarted: the port is somebody else's.
    """
    process = os.pidfd_open(pid)
    try:
        # Asked only now: the number cannot become another process's any more.
        status = daemon_status(location)
        if status is None or status["pid"] != pid:
            return False
        signal.pidfd_send_signal(process, signal.SIGTERM)
        return bool(select.select([process], [], [], STOP_LIMIT)[0])
    finally:
        os.close(process)
