"""Who calls over gRPC: users with any uid, users that the daemon's user namespace does not have, and the unreadable."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from doubles.grpc_door import open_door
from lab.certificates import Authority
from lab.daemon import Daemon
from wavelet.config import GrpcTls
from wavelet.errors import AccessRefused
from wavelet.front.grpc import forward
from wavelet.front.grpc.peer import Peers, address_of
from wavelet.requests.access import AccessRules

TLS_UID = 4242
LIMIT = 60.0
CALL = """
import json, sys
from wavelet.client import Client, WaveletRpcError
with Client(sys.argv[1]) as client:
    seen = client.status()
    said = {"caller": seen.caller if seen.HasField("caller") else None, "admin": seen.admin}
    try:
        client.login("registry.invalid", "ann", "secret", unchecked=True)
    except WaveletRpcError as error:
        said["login"] = error.message
    print(json.dumps(said))
"""


def as_uid(uid: int, *command: str) -> list[str]:
    """Return a command as it is started as `uid`, which may read all files: the tests' Python may be in a home."""
    becoming = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return ["setpriv", *becoming, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *command]


async def call(uid: int, target: str) -> Any:
    """Return what a user is told that calls."""
    process = await asyncio.create_subprocess_exec(
        *as_uid(uid, sys.executable, "-c", CALL, target), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 0, error.decode()
    return json.loads(out)


def tls_of(directory: Path) -> GrpcTls:
    authority = Authority(directory, "authority")
    issued = authority.issue("daemon")
    files = str(issued.certificate), str(issued.key), str(authority.certificate)
    return GrpcTls(listen="127.0.0.1:0", certificate=files[0], key=files[1], client_ca=files[2], uid=TLS_UID)


@pytest.mark.users
@pytest.mark.parametrize(("uid", "seen"), [(3_000_000_001, 3_000_000_001), (2**32 - 2, 2**32 - 2), (65534, None)])
async def test_a_caller_on_the_socket_is_never_the_tls_listeners_user(
    tmp_path: Path, uid: int, seen: int | None
) -> None:
    """Faults G2 and G3: the uid is unsigned, the overflow uid is nobody, and neither falls to another identity."""
    async with open_door(tmp_path, daemon_uid=0, tls=tls_of(tmp_path)) as door:
        told = await call(uid, door.user)
    assert (told["caller"], told["admin"]) == (seen, False)


@pytest.mark.users
async def test_users_that_the_daemons_user_namespace_does_not_have_are_nobody(tmp_path: Path) -> None:
    """Fault G3: they all have one number there, and would share their logins."""
    daemon = Daemon(tmp_path / "state", before=("unshare", "--user", "--map-root-user"))
    try:
        daemon.start()
        # `unshare` becomes the daemon, and the capability that lets others reach the socket is one of the outer users.
        told = [await call(uid, f"unix:{tmp_path}/state/wavelet.sock") for uid in (54321, 54322)]
    finally:
        daemon.stop()
    for each in told:
        assert each["caller"] is None
        assert "not for callers without a uid" in each["login"]
        assert "user namespace" in each["login"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "unix:",
        "unix:/run/x.sock",
        "unix-abstract:wavelet-1-user-uid-1-ab",
        "unix-abstract:wavelet-1-user-uid99999999999-ab",
        "unix-abstract:somebody-else",
        "vsock:2:1",
    ],
)
def test_a_caller_that_cannot_be_read_is_refused(address: str) -> None:
    """Fault G2: nowhere is there a fall-back to somebody."""
    context: Any = SimpleNamespace(peer=lambda: address)
    with pytest.raises(AccessRefused, match="the kernel does not say who calls"):
        Peers(AccessRules(0), TLS_UID).of(context)


@pytest.mark.parametrize(
    ("address", "uid"),
    [
        ("ipv4:127.0.0.1:5", TLS_UID),
        ("ipv6:%5B::1%5D:5", TLS_UID),
        ("unix-abstract:" + address_of("user", 0, "ab")[1:], 0),
        ("unix-abstract:" + address_of("admin", 2**32 - 2, "ab")[1:], 2**32 - 2),
        ("unix-abstract:" + address_of("user", None, "ab")[1:], None),
    ],
    ids=["IPv4", "IPv6", "root", "the-last-uid", "nobody"],  # the addresses have this process's id in them
)
def test_what_an_address_says(address: str, uid: int | None) -> None:
    context: Any = SimpleNamespace(peer=lambda: address)
    assert Peers(AccessRules(0), TLS_UID).of(context).identity.uid == uid


async def test_a_connection_of_nobody_knows_whom_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault G2: (uid_t) -1, which the kernel says where it has no credentials."""
    monkeypatch.setattr(forward, "peer_of", lambda _: (0, 2**32 - 1))
    async with open_door(tmp_path, daemon_uid=0) as door:
        reader, writer = await asyncio.open_unix_connection(door.settings.grpc.socket)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        await writer.wait_closed()
