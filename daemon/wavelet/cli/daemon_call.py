"""The call of a daemon over gRPC: the options that commands have for it, the call, and what an error becomes.

An error is one sentence on standard error that begins with who has to act, and an exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping

import grpc

from wavelet.cli.argument_types import duration
from wavelet.cli.output import FORMS, visible
from wavelet.client import Client, NoDaemon, WaveletRpcError
from wavelet.paths import SOCKET_VARIABLE, find_socket

DONE = 0
FAILED = 1
"""The daemon, or a registry or channel that it asks, does not do its part."""
NOBODY = 3
"""No daemon answers."""
REFUSED = 4
"""The request cannot be served as it stands."""

WHO = {"caller": "refused", "upstream": "upstream fails", "wavelet": "the daemon fails"}
"""Who has to act, in the first words of a sentence."""


def add_options(parser: argparse.ArgumentParser, *, admin: bool = False) -> None:
    """Declare the options that all commands have which call a daemon.

    Args:
        parser: the command's, or that of one of the commands below it.
        admin: the command calls the socket for administration, beside the one that is named.
    """
    parser.add_argument("--socket", metavar="PATH", help="the daemon's ($WAVELET_SOCKET, else yours, else the node's)")
    parser.add_argument(
        "--timeout", metavar="TIME", type=duration, help="give up after this time, e.g. 30s or 10m (no limit)"
    )
    parser.add_argument("-o", "--output", choices=FORMS, default="text", help="form of what is printed (text)")
    parser.set_defaults(admin=admin)


def call(options: argparse.Namespace, act: Callable[[Client], int], flags: Mapping[str, str] | None = None) -> int:
    """Act with a client and return the exit code. Leaving it in any way ends the calls that still run.

    Args:
        options: those of `add_options`.
        act: makes the calls and prints; returns an exit code.
        flags: the options that members of the request come from, by the members' names.
    """
    try:
        with Client(_target(options), admin=options.admin, timeout=options.timeout) as client:
            return act(client)
    except WaveletRpcError as error:
        sys.stderr.write(f"wavelet: {visible(sentence(error, flags or {}))}\n")
        return code_of(error)


def sentence(error: WaveletRpcError, flags: Mapping[str, str]) -> str:
    """Return what an error is for people: who has to act, what happened, what to do."""
    if isinstance(error, NoDaemon) or error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return error.message
    flag = flag_of(error.field, flags)
    who = WHO[error.fault] + (f" ({flag})" if flag else "")
    again = f"; ask again in {error.retry_after:.0f} s" if error.retry_after else ""
    return f"{who}: {error.message}{again}"


def flag_of(field: str, flags: Mapping[str, str]) -> str | None:
    """Return the option that a member comes from, `containerConfig.layers[0].gzipSize`, or that which it is in."""
    while field:
        if flag := flags.get(field.partition("[")[0]):
            return flag
        field = field.rpartition(".")[0]
    return None


def code_of(error: WaveletRpcError) -> int:
    """Return the exit code that an error means."""
    if error.fault == "caller" and error.code is not grpc.StatusCode.CANCELLED:
        return REFUSED
    return NOBODY if isinstance(error, NoDaemon) else FAILED


def _target(options: argparse.Namespace) -> str | None:
    if options.socket is None:
        return None
    path = os.path.abspath(options.socket.removeprefix("unix:"))  # noqa: PTH100
    return f"unix:{find_socket({SOCKET_VARIABLE: path}, admin=options.admin)}"
