"""What a node keeps, opened: in its state directory, and with the other nodes of its cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from wavelet.cluster.backend import ClusterBackend, open_backend
from wavelet.cluster.sif_directory.directory import SifDirectory
from wavelet.config import Settings
from wavelet.hosted import tables
from wavelet.hosted.service import HostedServices, kept_in
from wavelet.kinds.table import KINDS, Table, forms_of
from wavelet.node_schema import NODE_SCHEMA
from wavelet.plan.canonical import Forms
from wavelet.requests.audit import Audit
from wavelet.store.content import ContentStore
from wavelet.store.database import Database
from wavelet.store.opening import open_cache, open_kept


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node keeps, opened: in its state directory, and with the other nodes of its cluster.

    Attributes:
        kinds: the kinds of nodes that plans can have; `forms`: those in which plans are kept.
    """

    settings: Settings
    kinds: Table
    forms: Forms
    database: Database
    cluster: ClusterBackend
    sif: SifDirectory
    store: ContentStore
    hosted: HostedServices
    audit: Audit


async def open_state(settings: Settings, stack: AsyncExitStack, kinds: Table = KINDS) -> NodeState:
    """Open what is kept; `stack` closes it. `kinds` are those of nodes that plans can have.

    Raises:
        ConfigError: it cannot be opened, and why.
    """
    state, forms = settings.state_directory, forms_of(kinds)
    audit = await asyncio.to_thread(Audit.of, settings)
    stack.callback(audit.close)
    database = await asyncio.to_thread(open_cache, state / "node.db", NODE_SCHEMA)
    stack.callback(database.close)
    cluster = await asyncio.to_thread(open_backend, settings, forms)
    stack.push_async_callback(cluster.close)
    sif = await asyncio.to_thread(SifDirectory, settings)
    stack.callback(sif.close)
    pushed = await asyncio.to_thread(open_kept, state / tables.FILE, tables.SCHEMA, tables.CONTENT)
    stack.callback(pushed.close)
    store = ContentStore(state, database, settings, kept_in(pushed))
    stack.push_async_callback(store.close)
    hosted = HostedServices.of(pushed, store, cluster.claims, settings)
    stack.push_async_callback(hosted.close)
    return NodeState(settings, kinds, forms, database, cluster, sif, store, hosted, audit)
