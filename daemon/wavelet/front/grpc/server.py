"""The server: its sockets opened, the services registered, and all of it stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from wavelet import plain_files
from wavelet.config import ConfigError, GrpcTls, Settings, join_address, split_address
from wavelet.front.connections import SILENT_LIMIT, Connections
from wavelet.front.grpc.cache_service import Caches
from wavelet.front.grpc.calls import Calls
from wavelet.front.grpc.conda_service import Conda
from wavelet.front.grpc.containers_service import Containers, Tokens
from wavelet.front.grpc.daemon_service import Daemon, Logins
from wavelet.front.grpc.forward import Forwarder
from wavelet.front.grpc.images_service import Images
from wavelet.front.grpc.names import Names
from wavelet.front.grpc.packs_service import PackServicer
from wavelet.front.grpc.peer import Door, Peers
from wavelet.front.grpc.rules_service import RulesOfSite
from wavelet.front.grpc.services import Services
from wavelet.front.grpc.sockets import (
    ADMIN_MODE,
    USER_MODE,
    Listener,
    closed_directory,
    inherited,
    is_too_long,
    make_directory,
    open_listener,
    paths_of,
)
from wavelet.front.listener import HEADER_LIMIT
from wavelet.front.registry.own_names import OwnHosts
from wavelet.front.stopping import wait_first
from wavelet.host.descriptors import GRPC_PART, connections_for
from wavelet.hosted.own_registry import called_by
from wavelet.v1 import cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2, packs_pb2, rules_pb2
from wavelet.v1.cache_pb2_grpc import add_CacheServiceServicer_to_server
from wavelet.v1.conda_pb2_grpc import add_CondaServiceServicer_to_server
from wavelet.v1.containers_pb2_grpc import add_ContainerServiceServicer_to_server, add_TokenServiceServicer_to_server
from wavelet.v1.daemon_pb2_grpc import add_DaemonServiceServicer_to_server, add_LoginServiceServicer_to_server
from wavelet.v1.images_pb2_grpc import add_ImageServiceServicer_to_server
from wavelet.v1.packs_pb2_grpc import add_PackServiceServicer_to_server
from wavelet.v1.rules_pb2_grpc import add_RulesServiceServicer_to_server

MESSAGE_LIMIT = 32 * 1024 * 1024
"""Bytes of a request; as many as the body of one on the other door may have."""

BREAK_OFF_LIMIT = 5.0
"""Seconds that breaking calls off may take after the grace period."""

KEEP_ALIVE = 600.0
"""Seconds for which a connection without a call is kept; clients connect again by themselves."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", HEADER_LIMIT),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.bdp_probe", 0),  # the pings by which it measures a network cost each call more than they tell
    ("grpc.server_handshake_timeout_ms", int(SILENT_LIMIT * 1000)),  # of TLS, and until the first frame
    ("grpc.max_connection_idle_ms", int(KEEP_ALIVE * 1000)),
)
_PRIVATE_DIRECTORY = "grpc"
_PRIVATE_SOCKET = "inner.sock"
Given = Mapping[Door, socket.socket | None]
"""Sockets that are open already, by their door."""

_DOCUMENTS = (cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2, packs_pb2, rules_pb2)

log = structlog.get_logger()

PEM_LIMIT = 1024 * 1024
"""Bytes of a file of certificates, or of a key."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The open door.

    Attributes:
        tls_address: host and port of the TLS listener, the real port where 0 was asked for; None if there is none.
    """

    tls_address: str | None
    _server: grpc.aio.Server
    _health: HealthServicer
    _forwarders: tuple[Forwarder, ...]
    _opened: contextlib.ExitStack

    async def close(self, grace: float, hurry: asyncio.Event | None = None) -> None:
        """Accept no more, wait at most `grace` seconds for running calls, and break off what is left.

        `hurry` says that the rest of the grace period is not to be waited for.
        """
        await self._health.enter_graceful_shutdown()
        for forwarder in self._forwarders:
            forwarder.stop_accepting()
        await wait_first(self._server.stop(grace), (hurry or asyncio.Event()).wait(), seconds=grace + BREAK_OFF_LIMIT)
        await self._server.stop(None)
        for forwarder in self._forwarders:
            await forwarder.close()
        self._opened.close()


async def serve(settings: Settings, services: Services, given: Given) -> Serving | None:
    """Open the door as the settings say; None where no socket can be. `given` are sockets of a service manager.

    Raises:
        ConfigError: a socket, an address or a certificate cannot be used.
    """
    with contextlib.ExitStack() as opened:
        listeners = await asyncio.to_thread(_open_sockets, settings, given, opened)
        if not listeners and settings.grpc.tls is None:
            return None
        states = HealthServicer()
        server = await _server(settings, services, states, paths_of(settings)[1])
        inner = await asyncio.to_thread(_inner_path, settings.state_directory, opened)
        server.add_insecure_port(f"unix:{inner}")
        tls_address = await _add_tls(server, settings.grpc.tls) if settings.grpc.tls else None
        await server.start()
        connections = Connections("gRPC", connections_for(GRPC_PART))
        opened.callback(connections.close)
        forwarders = tuple(Forwarder(listener, door, inner, connections) for door, listener in listeners)
        for forwarder in forwarders:
            forwarder.start()
        log.info("serving gRPC", sockets=[str(listener.path) for _, listener in listeners], tls=tls_address)
        return Serving(tls_address, server, states, forwarders, opened.pop_all())


def _open_sockets(settings: Settings, given: Given, opened: contextlib.ExitStack) -> tuple[tuple[Door, Listener], ...]:
    user, admin = paths_of(settings)
    if is_too_long(user) or is_too_long(admin):
        log.warning("no gRPC over unix sockets: their path is too long for one; set grpc.socket", path=str(user))
        return ()
    # What users share, a site has chosen or root has made; what nobody chose is for its user alone.
    private = not settings.grpc.socket and not settings.state and os.geteuid() != 0
    wanted: tuple[tuple[Door, Path, int, str, str], ...] = (
        ("user", user, USER_MODE, "", "grpc.socket"),
        ("admin", admin, ADMIN_MODE, settings.grpc.admin_group, "grpc.admin_socket"),
    )
    listeners = []
    for door, path, mode, group, key in wanted:
        if (open_already := given.get(door)) is not None:
            listener = inherited(open_already)
        else:
            make_directory(path.parent, private=private)
            listener = open_listener(path, mode, group, key)
        opened.callback(listener.close)
        listeners.append((door, listener))
        if door == "user" and os.geteuid() == 0 and (closed := closed_directory(listener.path)) is not None:
            log.warning(
                "users cannot reach the gRPC socket: a directory on the way is closed to them; set grpc.socket",
                path=str(path),
                directory=str(closed),
            )
    return tuple(listeners)


def _inner_path(state: Path, opened: contextlib.ExitStack) -> str:
    """Return where grpc listens for the forwarders: in a directory that nobody else can pass."""
    directory = state / _PRIVATE_DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    directory.chmod(0o700)
    path = directory / _PRIVATE_SOCKET
    # Whoever holds the state directory is the only one who listens there.
    path.unlink(missing_ok=True)
    opened.callback(path.unlink, missing_ok=True)
    if not is_too_long(path):
        return str(path)
    held = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, held)
    return f"/proc/self/fd/{held}/{_PRIVATE_SOCKET}"


async def _server(settings: Settings, services: Services, states: HealthServicer, admin: Path) -> grpc.aio.Server:
    peers = Peers(services.rules, settings.grpc.tls.uid if settings.grpc.tls else None)
    names = Names(
        services.requests,
        services.site,
        services.sifs,
        services.site_rules,
        settings.name_authority,
        OwnHosts(called_by(settings)),
        settings.reserved_names,
    )
    calls = Calls(peers, services.activity, services.audit, str(admin))
    server = grpc.aio.server(interceptors=(calls,), options=_OPTIONS)
    add_ContainerServiceServicer_to_server(Containers(services, names, peers), server)
    add_TokenServiceServicer_to_server(Tokens(services, names, peers), server)
    add_ImageServiceServicer_to_server(Images(services, names, peers), server)
    add_CondaServiceServicer_to_server(Conda(services, peers), server)
    add_CacheServiceServicer_to_server(Caches(services, names, peers), server)
    add_DaemonServiceServicer_to_server(Daemon(services, peers), server)
    add_LoginServiceServicer_to_server(Logins(services, peers), server)
    add_PackServiceServicer_to_server(PackServicer(services, names), server)
    add_RulesServiceServicer_to_server(RulesOfSite(services, names, peers), server)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)  # type: ignore[no-untyped-call]
    named = [service.full_name for each in _DOCUMENTS for service in each.DESCRIPTOR.services_by_name.values()]
    for service in named:
        await states.set(service, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*named, health.SERVICE_NAME, reflection.SERVICE_NAME), server)  # type: ignore[no-untyped-call]
    return server


async def _add_tls(server: grpc.aio.Server, tls: GrpcTls) -> str:
    host, port = split_address(tls.listen, "grpc.tls.listen")
    key, certificate, authority = await asyncio.to_thread(_read, tls)
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
    try:
        port = server.add_secure_port(join_address(host, port), credentials)
    except RuntimeError as error:
        message = f"grpc.tls: {tls.listen} cannot be used, or the certificate or its key cannot: {error}"
        raise ConfigError(message, field="grpc.tls") from None
    return join_address(host, port)


def _read(tls: GrpcTls) -> tuple[bytes, bytes, bytes]:
    found = []
    for key in ("key", "certificate", "client_ca"):
        path = Path(getattr(tls, key))
        try:
            found.append(plain_files.read(path, PEM_LIMIT, follow=True)[0])
        except OSError as error:
            message = f"grpc.tls.{key}: {path} cannot be read: {error.strerror}"
            raise ConfigError(message, field=f"grpc.tls.{key}") from None
    return found[0], found[1], found[2]
