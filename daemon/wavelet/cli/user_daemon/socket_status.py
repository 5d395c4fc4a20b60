"""The status of the daemon at a named socket, in the form of `GET /statusz`."""

from __future__ import annotations

from collections.abc import Mapping

from wavelet.client import Client, WaveletRpcError
from wavelet.daemon_status import DaemonStatus
from wavelet.paths import find_socket


def status_at_socket(environment: Mapping[str, str], limit: float) -> DaemonStatus | None:
    """Return the state of the daemon at the socket that `WAVELET_SOCKET` names; None: nobody answers there.

    Args:
        environment: the variables of who asks.
        limit: seconds for the answer.
    """
    try:
        with Client(f"unix:{find_socket(environment)}", timeout=limit) as client:
            said = client.status()
    except WaveletRpcError:
        return None
    return {
        "version": said.version,
        "pid": said.pid,
        "uid": said.uid,
        "started": said.started.ToNanoseconds() / 1e9,
        "address": said.address,
        "authority": said.authority,
        "state": said.state,
        "records": said.records,
        "jobs": said.jobs,
        "store": {"size": said.store_size, "limit": said.store_limit},
        "rules": {
            "count": said.rules.count,
            "directory": said.rules.directory,
            "problems": list(said.rules.problems),
            "closed": said.rules.closed,
        },
        "packs": {"count": said.packs.count, "problems": list(said.packs.problems)},
    }
