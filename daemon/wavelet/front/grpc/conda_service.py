"""The servicer of `CondaService`: packages solved for, and written as lock files."""

from __future__ import annotations

from wavelet.errors import InvalidRequest
from wavelet.front.grpc import answers
from wavelet.front.grpc.peer import Context, Peers
from wavelet.front.grpc.services import Services
from wavelet.front.grpc.values import packages_plan
from wavelet.image.reference import Platform
from wavelet.kinds.conda.locks.write import LockForm, write_lock
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.v1 import conda_pb2 as pb
from wavelet.v1.conda_pb2_grpc import CondaServiceServicer

_FORMS: dict[int, LockForm] = {
    pb.LOCK_FORMAT_UNSPECIFIED: "explicit",
    pb.LOCK_FORMAT_EXPLICIT: "explicit",
    pb.LOCK_FORMAT_PIXI: "pixi",
    pb.LOCK_FORMAT_CONDA_LOCK: "conda-lock",
}


class Conda(CondaServiceServicer):
    """Solves for packages."""

    def __init__(self, services: Services, peers: Peers) -> None:
        self._services = services
        self._peers = peers

    async def Solve(self, request: pb.SolveRequest, context: Context) -> pb.SolveResponse:
        """Return the packages that a request comes to."""
        identity = self._peers.of(context).identity
        plan = packages_plan(request.packages, request.platform, self._services.site())
        return answers.solved(await self._lock(plan, identity, refresh=request.refresh))

    async def Lock(self, request: pb.LockRequest, context: Context) -> pb.LockResponse:
        """Return exact packages as a lock file."""
        identity = self._peers.of(context).identity
        form = _FORMS.get(request.format)
        if form is None:
            raise InvalidRequest(f"format: {request.format} is none that is known", field="format")
        match request.WhichOneof("of"):
            case "token":
                if request.refresh:
                    message = "refresh: counts for packages only; ask for the container again to refresh it"
                    raise InvalidRequest(message, field="refresh")
                platform = Platform.parse(request.platform, "platform") if request.platform else None
                text = await self._services.requests.details.lock(request.token, identity, form, platform)
            case "packages":
                plan = packages_plan(request.packages, request.platform, self._services.site())
                lock = await self._lock(plan, identity, refresh=request.refresh)
                with self._services.resolver.work_for(lock, identity) as work:
                    text = await write_lock(lock, form, work)
            case _:
                raise InvalidRequest("token: is missing; give a token, or packages", field="token")
        return pb.LockResponse(text=text)

    async def _lock(self, plan: Node, identity: Identity, *, refresh: bool) -> LockedEnvironment:
        """Return the lock of packages, on their pinned base, solving if need be; with `refresh`, in any case."""
        pinned = await self._services.resolver.pinned(plan, identity, refresh=refresh)
        (lock,) = self._services.locks.latest(pinned.plan)
        return lock
