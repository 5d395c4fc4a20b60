"""The servicers of `DaemonService` and `LoginService`: state, settings and reload; logins kept for users."""

from __future__ import annotations

from wavelet.config import settings_yaml
from wavelet.errors import AccessRefused
from wavelet.front.grpc.answers import timestamp
from wavelet.front.grpc.peer import Context, Peers
from wavelet.front.grpc.services import Services
from wavelet.plan.tokens import Login
from wavelet.upstream.session_credentials import DEFAULT_LIFETIME, parse_registry
from wavelet.v1 import daemon_pb2 as pb
from wavelet.v1.daemon_pb2_grpc import DaemonServiceServicer, LoginServiceServicer


class Daemon(DaemonServiceServicer):
    """The daemon itself."""

    def __init__(self, services: Services, peers: Peers) -> None:
        self._services = services
        self._peers = peers

    async def Status(self, _request: pb.StatusRequest, context: Context) -> pb.StatusResponse:
        """Return what the daemon is and does."""
        peer, state = self._peers.of(context), self._services.state()
        return pb.StatusResponse(
            version=state["version"],
            pid=state["pid"],
            uid=state["uid"],
            started=timestamp(state["started"]),
            address=state["address"],
            authority=state["authority"],
            state=state["state"],
            jobs=state["jobs"],
            config_file=self._services.reloads.file,
            caller=peer.uid,
            admin=peer.admin,
            records=state["records"],
            store_size=state["store"]["size"],
            store_limit=state["store"]["limit"],
            rules=pb.RulesStatus(**state["rules"]),
            packs=pb.PacksStatus(**state["packs"]),
        )

    async def Settings(self, _request: pb.SettingsRequest, _context: Context) -> pb.SettingsResponse:
        """Return the settings in force."""
        return pb.SettingsResponse(yaml=settings_yaml(self._services.reloads.settings))

    async def Reload(self, _request: pb.ReloadRequest, _context: Context) -> pb.ReloadResponse:
        """Read the settings again."""
        return pb.ReloadResponse(changed=await self._services.reloads.reload())


class Logins(LoginServiceServicer):
    """Registry logins of the caller."""

    def __init__(self, services: Services, peers: Peers) -> None:
        self._services = services
        self._logins = services.logins
        self._peers = peers

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        """Keep a login."""
        uid = self._peers.of(context).user()
        registry = parse_registry(request.registry)
        lifetime = request.lifetime.ToNanoseconds() / 1e9 if request.HasField("lifetime") else DEFAULT_LIFETIME
        login = Login(request.username, request.secret)
        host = registry.partition("/")[0]
        if not request.unchecked and not await self._services.inspection.check_login(host, login):
            raise AccessRefused(f"{host} does not take this login; check the user name and the password")
        until = await self._logins.store(uid, registry, login, lifetime)
        shared = any(each.shared for each in await self._logins.stored(uid) if each.registry == registry)
        return pb.LoginResponse(expiration=timestamp(until), shared=shared)

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        """Take logins back."""
        uid = self._peers.of(context).user()
        registry = parse_registry(request.registry) if request.registry else ""
        return pb.LogoutResponse(count=await self._logins.revoke(uid, registry))

    async def ListLogins(self, _request: pb.ListLoginsRequest, context: Context) -> pb.ListLoginsResponse:
        """Tell which logins are kept."""
        held = await self._logins.stored(self._peers.of(context).user())
        logins = [
            pb.HeldLogin(registry=each.registry, username=each.username, expiration=timestamp(each.until))
            for each in held
        ]
        return pb.ListLoginsResponse(logins=logins)
