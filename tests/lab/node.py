"""A node without its doors, in the test's process: a real store, packages solved for and made by the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import msgspec

from lab.packs import KnownPacks
from wavelet.cluster.backend import ClusterBackend
from wavelet.cluster.records import Lifetimes
from wavelet.cluster.shared_directory.backend import DirectoryBackend
from wavelet.cluster.single_node.backend import NodeBackend
from wavelet.config import Settings
from wavelet.errors import WaveletError
from wavelet.hosted import tables
from wavelet.hosted.own_registry import OwnHostedRegistry, own_authorities
from wavelet.hosted.service import HostedServices, kept_in
from wavelet.image.image import Image
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment, PackageLayer
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.conda.service import PackageLocks
from wavelet.kinds.kind import Kinds, Work
from wavelet.kinds.registry_image.kind import Pinner
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.published.files import PublishedFiles
from wavelet.kinds.table import KINDS, KindServices, Table, build_kinds, forms_of
from wavelet.node_schema import NODE_SCHEMA
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY, Identity
from wavelet.push.layer_cache import LayerCache
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit
from wavelet.requests.binding import Bindings, Effect, Effects
from wavelet.requests.container_requests import ContainerRequests, Kept
from wavelet.requests.effective_plan import EffectivePlans
from wavelet.requests.history import History
from wavelet.requests.naming import Naming, RequestKeeper
from wavelet.requests.patience import Patience
from wavelet.requests.request import About, ContainerRequest, Options, Request
from wavelet.requests.request_cache import RequestCache, Status
from wavelet.requests.served import ServedImages
from wavelet.resolve.archives import Archives, receive
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.content_sources import ContentSources, OriginSource, StoreSource
from wavelet.resolve.events import Journals
from wavelet.resolve.first_made import ClusterSharing
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.resolve.memo import Memo
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.work import Inputs, OwnNames, RegistryManifests, Tools
from wavelet.resolve.workers import Workers
from wavelet.rules.model import RuleSet
from wavelet.rules.site_rules import SiteRules
from wavelet.store.content import ContentStore
from wavelet.store.database import Database
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins
from wavelet.upstream.grants import Grants

AMD64 = Platform.parse("linux/amd64")
KEY = b"k" * 32
ABOUT = About(api="v1alpha2", image="")


@dataclass
class Conda:
    """Stands in for the pinner of packages: a solve reports, waits until the test lets it go on, and has one answer."""

    packages: tuple[Package, ...]
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    cancelled: int = 0
    error: WaveletError | None = None
    locks: dict[CondaEnvironment, LockedEnvironment] = field(default_factory=dict)

    async def pin(
        self, leaf: CondaEnvironment, base: RegistryImage, libc: object, report: Callable[[str], None], *, refresh: bool
    ) -> LockedEnvironment:
        self.begun += 1
        report(f"solving {' '.join(leaf.specs)}")
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        report(f"solved: {len(self.packages)} packages")
        self.locks[leaf] = LockedEnvironment(self.packages, (), leaf.platform, base)
        return self.locks[leaf]

    def fresh(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        lock = self.locks.get(leaf)
        return None if lock is None else replace(lock, base=leaf.base)

    def latest(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        return self.locks.get(leaf)

    async def mark_built(self, lock: LockedEnvironment) -> None:
        pass

    async def was_built(self, lock: LockedEnvironment) -> bool:
        return False


class Makers:
    """How the kinds of a node make their nodes, by the type of node."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds

    def __getitem__(self, node: Any) -> Any:
        return self._kinds[node].make

    def __setitem__(self, node: Any, make: Any) -> None:
        self._kinds[node].make = make

    def update(self, makers: Mapping[Any, Any]) -> None:
        """Have nodes of several types made otherwise."""
        for node, make in makers.items():
            self[node] = make


class Node:
    """All services of a node, which may share a directory with another one.

    `conda`, `makers`, `rule_set` and `packs` are the test's to set.
    """

    def __init__(
        self,
        state: Path,
        stack: contextlib.AsyncExitStack,
        limit: int,
        shared: Path | None,
        tag_ttl: float,
        key: bytes = KEY,
    ) -> None:
        self._key = key
        self._stack = stack
        self._shared = shared
        self.state = state
        state.mkdir(exist_ok=True)
        upstream = {"tag_ttl": tag_ttl, "grace": 300, "aliases": (), "layer_limit": "1GB", "inflated_limit": "1GB"}
        document = {
            "state": str(state),
            "store": {"limit": limit, "retention": 3600},
            "records": {"lifetime": 3600},
            "upstream": upstream,
        }
        self.settings = msgspec.convert(document, Settings)
        self.database = Database(state / "node.db", NODE_SCHEMA, synchronous="NORMAL")
        stack.callback(self.database.close)
        self.pushed = Database(state / tables.FILE, tables.SCHEMA, synchronous="NORMAL")
        stack.callback(self.pushed.close)
        self.store = ContentStore(state, self.database, self.settings, kept_in(self.pushed))
        stack.push_async_callback(self.store.close)
        self.conda = Conda(())
        self.rule_set = RuleSet()
        self.packs = KnownPacks()

    async def build(self, effects: Sequence[Effect], table: Table) -> Node:
        forms = forms_of(table)
        stack, settings, database, store = self._stack, self.settings, self.database, self.store
        cluster: ClusterBackend = (
            NodeBackend(self.state / "records.db", self._key, forms, Lifetimes.of(settings))
            if self._shared is None
            else DirectoryBackend(self._shared, KEY, forms, Lifetimes.of(settings), share_logins=False)
        )
        stack.push_async_callback(cluster.close)
        records = self.records = cluster.records
        self.hosted = HostedServices.of(self.pushed, store, cluster.claims, settings)
        stack.push_async_callback(self.hosted.close)
        own = OwnHostedRegistry(self.hosted.images, own_authorities(settings))
        logins = Logins(settings)
        upstream = self.upstream = await stack.enter_async_context(Upstream(settings, logins, own))
        channels = await stack.enter_async_context(Channels(settings))
        grants = Grants(database, upstream, settings)
        stack.push_async_callback(grants.close)
        self.access = grants
        pinner = self.pinner = Pinner(database, grants, settings)
        fetcher = BlobFetcher(store, upstream, records, settings, gone=pinner.doubt)
        contents = ContentSources(store, (StoreSource(store), OriginSource(fetcher)))
        named = RequestLayerVerifier(store, fetcher, database, settings)
        stack.callback(named.close)
        memo, journals = Memo(database, forms), Journals(database)
        self.memo = memo
        self.workers = Workers(1)
        stack.push_async_callback(self.workers.close)
        archives = Archives(store, channels.open, database)
        tools = Tools(
            Inputs(contents, RegistryManifests(store, upstream, pinner.doubt), named, archives),
            store,
            ClusterSharing(cluster.claims, store),
            self.workers,
            OwnNames(records, "127.0.0.1:9090"),
            LayerCache(upstream, store, PushedBlobs(database), self._key),
        )
        conda = cast(Any, self.conda)
        published = PublishedFiles(database, settings, channels, receive)
        kinds = build_kinds(table, KindServices(settings, pinner, conda, channels.is_open, published, own))
        self.makers = Makers(kinds)
        self.resolver = Resolver(kinds, memo, journals, tools, logins, grants)
        stack.push_async_callback(self.resolver.close)
        self.served = ServedImages(database, memo, settings)
        self.history = History(database)
        rules = AccessRules(0)
        plans = EffectivePlans(SiteRules(lambda: self.rule_set, self.packs))
        self.bindings = Bindings(self.resolver, records, memo, self.served, Effects(effects), plans.admit)
        stack.push_async_callback(self.bindings.close)
        self.cache = RequestCache(records, self.history, database, Patience(), settings)
        self.naming = Naming(records, logins, named, KEY)
        self.keeper = RequestKeeper(self.naming, self.cache, named)
        kept = Kept(records, self.cache, self.history, self.served, journals, Audit(None))
        self.requests = ContainerRequests.build(
            self.resolver, kept, self.keeper, self.bindings, rules, PackageLocks(conda), plans
        )
        return self

    async def submit(self, plan: PlanNode, **more: Any) -> ContainerRequest:
        """Submit a plan as nobody in particular."""
        return (await self.ask(plan, **more)).request

    async def ask(
        self,
        plan: PlanNode,
        identity: Identity = NOBODY,
        *,
        inline: Mapping[Digest, bytes] | None = None,
        about: About = ABOUT,
        **options: Any,
    ) -> Status:
        """Submit a plan, with `Options`."""
        asked = Request.of(plan, identity, about, inline=inline, options=Options(**options))
        return await self.requests.submissions.submit(asked)

    @property
    def tidy(self) -> bool:
        """Whether nothing is reserved, held, leased or half written."""
        kept = self.store.retention
        left = list((self.state / "partial").iterdir())
        return not (self.store.reserved or kept._holds or kept._leases or left or self.resolver.running)

    async def until_tidy(self) -> None:
        """Wait until all that was given up has ended."""
        async with asyncio.timeout(5):
            while not self.tidy:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def open_node(
    state: Path,
    limit: int = 10**9,
    *,
    shared: Path | None = None,
    tag_ttl: float = 300,
    effects: Sequence[Effect] = (),
    kinds: Table = KINDS,
    key: bytes = KEY,
) -> AsyncIterator[Node]:
    """Build the services of a node, and close them at the end; `shared` is where its records are, if not in itself."""
    async with contextlib.AsyncExitStack() as stack:
        yield await Node(state, stack, limit, shared, tag_ttl, key).build(effects, kinds)


def registry_plan(host: str, repository: str, tag: str = "1") -> RegistryImage:
    """Return the plan of an image of a registry."""
    return RegistryImage(Reference.parse(f"{host}/{repository}:{tag}"), AMD64)


def package(name: str, size: int = 100) -> Package:
    """Return a package of a channel that is nowhere."""
    sha256 = Digest.of(name.encode()).hex
    return Package.of(f"https://packages.test/lab/linux-64/{name}-1.0-h0_0.conda", sha256, None, size)


class Making:
    """Makers of packages and their images that go on when the test says so."""

    def __init__(self) -> None:
        self.may_end: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

    def let(self, *names: str) -> None:
        """Let packages be ready."""
        for name in names:
            self.may_end.setdefault(name, asyncio.Event()).set()

    async def layer(self, plan: PackageLayer, work: Work) -> Image:
        name = plan.package.name
        self.begun.append(name)
        async with work.scratch(1000) as directory:
            (directory / "half").write_bytes(b"half")
            await self.may_end.setdefault(name, asyncio.Event()).wait()
        work.report(f"{name}: made")
        document = await work.keep(name.encode(), "text/plain")
        return Image.of(document.descriptor, [document])

    async def image(self, plan: LockedEnvironment, work: Work) -> Image:
        made = await asyncio.gather(*(work.realise(PackageLayer(each)) for each in plan.packages))
        own = await work.keep(b"".join(each.descriptor.digest.encode() for each in made), "text/plain")
        return Image.of(own.descriptor, [own, *(content for each in made for content in each.contents)])

    @property
    def makers(self) -> dict[Any, Callable[[Any, Any], Awaitable[Image]]]:
        return {PackageLayer: self.layer, LockedEnvironment: self.image}
