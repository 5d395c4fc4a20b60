"""The servicers of `ContainerService` and `TokenService`: containers asked for, looked at, watched, forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from wavelet.errors import WaveletError
from wavelet.front.grpc import answers, auth
from wavelet.front.grpc.calls import time_left
from wavelet.front.grpc.names import Names
from wavelet.front.grpc.peer import Context, Peer, Peers
from wavelet.front.grpc.services import Services
from wavelet.front.grpc.values import check_name_alone, submission, values_of
from wavelet.front.reading.container import about_of, named_in
from wavelet.front.reading.submission import Submission
from wavelet.front.reading.values import ContainerValues
from wavelet.front.registry.names import TokenName
from wavelet.front.registry.plans import Named, plan_of
from wavelet.packs.needs import packs_in
from wavelet.plan.node import title
from wavelet.plan.tokens import check_name
from wavelet.requests.progress import Pending, Ready
from wavelet.requests.request import PIN_WAIT, Options, Request
from wavelet.resolve.job import HELD
from wavelet.rules.model import Asking, Form
from wavelet.v1 import containers_pb2 as pb
from wavelet.v1.containers_pb2_grpc import ContainerServiceServicer, TokenServiceServicer

SMALL_REQUEST = 64 * 1024
"""Bytes of a request that is read in the loop; a larger one is hashed in a thread."""

LARGE_REQUESTS = 4
"""Large requests that are read at one time: each takes several times its size."""

LISTED = 50
"""Requests that are listed where the caller does not say how many."""

LISTED_LIMIT = 10_000


class Containers(ContainerServiceServicer):
    """Names containers, and tells how far they are."""

    def __init__(self, services: Services, names: Names, peers: Peers) -> None:
        self._services = services
        self._requests = services.requests
        self._names = names
        self._peers = peers
        self._large_requests = asyncio.Semaphore(LARGE_REQUESTS)

    async def Resolve(self, request: pb.ResolveRequest, context: Context) -> pb.ResolveResponse:
        """Name a container and start to make it."""
        peer = self._peers.of(context)
        wait = _wait(request, context)
        try:
            named, asked = await self._read(request)
            if named is not None and asked is None:
                return await self._known(request, named, peer, wait)
            assert asked is not None, "what is named has a plan, or was asked for already"
            check_name(self._names.authority, asked.plan)
            if request.HasField("auth"):
                await auth.keep(request.auth, asked.plan, peer, self._services.logins)
        except WaveletError as error:
            values = values_of(request)
            self._requests.decisions.refused(
                error, about_of(values, "grpc", request.name or named_in(values), ""), peer.identity
            )
            raise
        asking = asked.asking("grpc", peer.identity, _form(request, asked))
        return await self._submit(request, asked, peer, wait, None if named is None else named.text, asking)

    async def _read(self, request: pb.ResolveRequest) -> tuple[Named | None, Submission | None]:
        """Return the name that is asked for, if one is, and what is asked for, if that is no request already."""
        if request.WhichOneof("source") == "name":
            check_name_alone(request)
            named = self._names.read(request.name, "name")
            if isinstance(named.name, TokenName):
                return named, None
            plan = plan_of(named.name, named.reference, self._services.site())
            return named, Submission(
                plan, title(plan), {}, request.dry_run, labels=dict(request.labels), has_platform=False
            )
        if request.ByteSize() <= SMALL_REQUEST:
            return None, submission(request, self._services.site())
        async with self._large_requests:
            return None, await asyncio.to_thread(submission, request, self._services.site())

    async def _submit(
        self,
        request: pb.ResolveRequest,
        asked: Submission,
        peer: Peer,
        wait: float,
        name: str | None,
        asking: Asking | None,
    ) -> pb.ResolveResponse:
        shown = ContainerValues(fingerprint=request.fingerprint, timestamp=request.timestamp)
        about = about_of(shown, "grpc", asked.image, "", asked.notes)
        options = Options(dry_run=asked.dry_run, refresh=request.refresh, wait=wait, keep=False)
        status = await self._requests.submissions.submit(
            Request.of(
                asked.plan,
                peer.identity,
                about,
                inline=asked.inline,
                options=options,
                asking=asking,
                packs=asked.packs,
            )
        )
        found = status.request
        if isinstance(status.state, Ready):
            found = await self._requests.lookup.find(found.token, peer.identity)
        packs = packs_in(found.plan, self._services.packs)
        if asked.dry_run:
            return answers.resolved(found, None, self._names.authority, name, packs=packs)
        return answers.resolved(found, status.state, self._names.authority, name, steps=status.steps, packs=packs)

    async def _known(self, request: pb.ResolveRequest, named: Named, peer: Peer, wait: float) -> pb.ResolveResponse:
        """Answer for a name that has been a request already: it is asked for again."""
        assert isinstance(named.name, TokenName)
        token = named.name.token
        await self._names.check(named.name, named.reference, peer.identity)
        if request.refresh:
            plan, inline = await self._requests.details.asked(token, peer.identity)
            asked = Submission(plan, plan.label.text, inline, dry_run=False)
            # The rules have made this plan already: applied once more they would add to it once more.
            return await self._submit(request, asked, peer, wait, None, None)
        status = await self._requests.tracker.ask_again(token, peer.identity)
        if isinstance(status.state, Pending):
            status = await self._requests.tracker.settled(token, peer.identity, wait)
        found = await self._requests.lookup.find(token, peer.identity)
        packs = packs_in(found.plan, self._services.packs)
        return answers.resolved(found, status.state, self._names.authority, named.text, steps=status.steps, packs=packs)

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        """Tell how the work for a container goes."""
        peer = self._peers.of(context)
        async with contextlib.aclosing(self._requests.tracker.watch(request.token, peer.identity)) as events:
            async for event in events:
                yield answers.event_of(event)
        found = await self._requests.lookup.find(request.token, peer.identity)
        packs = packs_in(found.plan, self._services.packs)
        yield pb.WatchResponse(ready=answers.resolved(found, Ready(), self._names.authority, packs=packs))


class Tokens(TokenServiceServicer):
    """Tells of container requests, and forgets them."""

    def __init__(self, services: Services, names: Names, peers: Peers) -> None:
        self._requests = services.requests
        self._rules = services.rules
        self._packs = services.packs
        self._authority = names.authority
        self._peers = peers

    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.DescribeResponse:
        """Return what a token stands for."""
        identity = self._peers.of(context).identity
        status = await self._requests.tracker.status(request.token, identity)
        running = await self._requests.tracker.running(request.token, identity)
        found = await self._requests.lookup.find(request.token, identity)
        packs = packs_in(found.plan, self._packs)
        return answers.described(found, status, running, self._authority, packs)

    async def Evict(self, request: pb.EvictRequest, context: Context) -> pb.EvictResponse:
        """Forget a token."""
        await self._requests.evictions.evict(request.token, self._peers.of(context).identity, door="grpc")
        return pb.EvictResponse()

    async def Log(self, request: pb.LogRequest, context: Context) -> pb.LogResponse:
        """Return the log of what is, or was, made for a token."""
        return pb.LogResponse(text=await self._requests.details.log(request.token, self._peers.of(context).identity))

    async def ListRequests(self, request: pb.ListRequestsRequest, context: Context) -> pb.ListRequestsResponse:
        """Return what was asked of this daemon."""
        peer = self._peers.of(context)
        everybody = peer.admin or self._rules.may_see_all(peer.identity)
        limit = min(request.limit or LISTED, LISTED_LIMIT)
        found = self._requests.listing.of(peer.identity, everybody=everybody, limit=limit)
        return pb.ListRequestsResponse(requests=[answers.listed(each) for each in found])


def _form(request: pb.ResolveRequest, asked: Submission) -> Form:
    """Return in which form a request names its image: by a name of its own it goes on having that."""
    if request.WhichOneof("source") != "name":
        return "request"
    return "near-cache" if asked.plan.named is not None else "conda"


def _wait(request: pb.ResolveRequest, context: Context) -> float:
    wait = request.wait.ToNanoseconds() / 1e9 if request.HasField("wait") else PIN_WAIT
    left = time_left(context)
    return max(0.0, min(wait, HELD, HELD if left is None else left))
