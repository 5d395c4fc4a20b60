"""The progress of a container: a line of it, or shown until it is ready."""

from __future__ import annotations

import grpc

from wavelet.cli.progress import Progress
from wavelet.client import Client, WaveletRpcError
from wavelet.quantities import size
from wavelet.v1 import containers_pb2 as pb

_PHASES = {
    pb.PHASE_PINNING: "looking up tags, checking access",
    pb.PHASE_SOLVING: "solving for packages",
    pb.PHASE_MAKING: "making layers",
    pb.PHASE_VERIFYING: "verifying layers",
}

_WORK = {
    pb.PHASE_PINNING: "looking up",
    pb.PHASE_SOLVING: "solving",
    pb.PHASE_MAKING: "making",
    pb.PHASE_VERIFYING: "verifying",
}


def work_line(work: pb.RunningWork) -> str:
    """Return what is being done for a container, as a line."""
    doing = "sending" if work.sent.total else _WORK.get(work.phase, "working")
    parts = [f"{doing}, for {work.seconds:.0f} s"]
    if work.packages.total:
        parts.append(f"{work.packages.done} of {work.packages.total} packages")
    if work.bytes.done:
        parts.append(f"{size(work.bytes.done)} taken in")
    if work.sent.total:
        parts.append(f"{size(work.sent.done)} of {size(work.sent.total)} sent")
    return "; ".join(parts)


def wait_until_ready(client: Client, token: str, shown: Progress) -> pb.ResolveResponse:
    """Return a container once it is ready.

    Raises:
        WaveletRpcError: it failed, or the client's time is over; then with what has gone wrong so far.
    """
    begun: set[int] = set()
    try:
        for event in client.watch(token):
            if event.HasField("ready"):
                return event.ready
            if event.HasField("phase"):
                if event.phase in begun:
                    _say_why_again(client, token, shown)
                    begun.clear()
                begun.add(event.phase)
            _show(event, shown)
    except WaveletRpcError as error:
        reason = _reason(client, token) if error.code is grpc.StatusCode.DEADLINE_EXCEEDED else ""
        if not reason:
            raise
        raise WaveletRpcError(error.code, f"the time is over, and so far: {reason}") from None
    raise WaveletRpcError(grpc.StatusCode.UNAVAILABLE, "the daemon has broken off; ask again")


def _show(event: pb.WatchResponse, shown: Progress) -> None:
    match event.WhichOneof("event"):
        case "phase":
            shown.say(_PHASES.get(event.phase, "working"))
        case "log_line":
            shown.say(event.log_line)
        case "packages":
            shown.update("packages", event.packages.done, event.packages.total, in_bytes=False)
        case "bytes":
            shown.update("taken in", event.bytes.done, event.bytes.total, in_bytes=True)
        case "sent":
            shown.update("sent", event.sent.done, event.sent.total, in_bytes=True)


def _say_why_again(client: Client, token: str, shown: Progress) -> None:
    """Say why a phase begins anew: what failed by somebody else's fault is tried again for a while."""
    if reason := _reason(client, token):
        shown.say(f"again, as {reason}")


def _reason(client: Client, token: str) -> str:
    return client.describe(token).container.reason
