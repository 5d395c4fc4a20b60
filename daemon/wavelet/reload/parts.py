"""Which room takes which of the settings while it runs.

First all is prepared that can fail; what then puts it into force only sets attributes, in the loop's thread between two
steps of its tasks, so that no request sees half of it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

from wavelet.cluster.backend import ClusterBackend
from wavelet.config import Conda, ConfigError, Settings, parse_size
from wavelet.errors import CallerError
from wavelet.front.guard import Guard, own_names
from wavelet.front.registry.scope import RegistryService
from wavelet.front.tls import tls_context
from wavelet.image.platform import Platform
from wavelet.kinds.conda.channels import site as channel_site
from wavelet.kinds.conda.channels.channels import Channels
from wavelet.kinds.conda.channels.relay import Relay
from wavelet.kinds.conda.locks.shared_locks import Locks
from wavelet.kinds.conda.model.asked import CondaDefaults
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.conda.solve.solver import Solver
from wavelet.kinds.registry_image.tags import Pinner
from wavelet.logs import configure
from wavelet.requests.access import AccessRules
from wavelet.requests.request_cache import RequestCache
from wavelet.requests.served import ServedImages
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.resolve.makers import makers
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore
from wavelet.store.filesystem import MEMORY_FILESYSTEMS, filesystem_type
from wavelet.store.scrub import Scrub
from wavelet.upstream import proxies
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins
from wavelet.upstream.endpoints import check_mirrors
from wavelet.upstream.grants import Grants
from wavelet.upstream.trust import load_trust

Apply = Callable[[], None]
"""Puts into force what is prepared; cannot fail."""

Prepare = Callable[[Settings, Settings], Apply]
"""Takes the settings in force and new ones, and has all that can fail of these. Blocking; raises ConfigError."""


class Site:
    """The defaults of requests for packages; called, it returns those of now."""

    def __init__(self, settings: Conda) -> None:
        self.defaults = conda_defaults(settings)

    def __call__(self) -> CondaDefaults:
        """Return the defaults of now."""
        return self.defaults


def conda_defaults(settings: Conda) -> CondaDefaults:
    """Return the settings' defaults of requests for packages, as values.

    Raises:
        ConfigError: one is not a reference, a spec or a channel.
    """
    try:
        return CondaDefaults.of(
            settings.base_image,
            settings.base_packages,
            settings.channels,
            platform=Platform.of("linux", platform.machine()),
            layers=settings.layers,
        )
    except CallerError as error:
        raise ConfigError(error.message, field=error.field) from None


def check(settings: Settings) -> None:
    """Return if a daemon could take these settings, as far as that can be told without one. Blocking.

    Raises:
        ConfigError: a file that they name cannot be used, or a name is none.
    """
    check_mirrors(settings)
    proxies.check(os.environ)
    load_trust(settings)
    conda_defaults(settings.conda)
    channel_site.load(settings.conda, os.environ, (), alone=False)
    if settings.tls is not None:
        tls_context(settings.tls)


@dataclass(frozen=True, slots=True)
class Packages:
    """The rooms that know of conda packages."""

    channels: Channels
    relay: Relay
    solver: Solver
    locks: Locks
    conda: CondaPinner
    site: Site

    def prepare(self, _: Settings, new: Settings) -> Apply:
        """See `Prepare`."""
        settings = new.conda
        defaults = conda_defaults(settings)
        adopt_channels = self.channels.prepare(new)

        def apply() -> None:
            adopt_channels()
            self.relay.files.ttl = settings.repodata_ttl
            self.solver.limit = settings.solve_limit
            self.locks.renew_after = settings.renew_names
            self.conda.settings = settings
            self.site.defaults = defaults

        return apply


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The rooms that ask registries, and remember what they have said."""

    upstream: Upstream
    logins: Logins
    grants: Grants
    pinner: Pinner
    fetcher: BlobFetcher
    layers: RequestLayerVerifier

    def prepare(self, _: Settings, new: Settings) -> Apply:
        """See `Prepare`."""
        asking = new.upstream
        layer_limit = parse_size(asking.layer_limit, "upstream.layer_limit")
        inflated_limit = parse_size(asking.inflated_limit, "upstream.inflated_limit")
        adopt_upstream, apply_logins = self.upstream.prepare(new), self.logins.configure(new)

        def apply() -> None:
            adopt_upstream()
            apply_logins()
            self.grants.ttl, self.grants.grace = asking.access_ttl, asking.grace
            self.pinner.aliases, self.pinner.tag_ttl, self.pinner.grace = asking.aliases, asking.tag_ttl, asking.grace
            self.fetcher.layer_limit = layer_limit
            self.layers.inflated_limit = inflated_limit

        return apply


@dataclass(frozen=True, slots=True)
class House:
    """The rooms that answer, and the store."""

    store: ContentStore
    scrub: Scrub
    cluster: ClusterBackend
    resolver: Resolver
    served: ServedImages
    known: RequestCache
    scopes: RegistryService
    rules: AccessRules
    guard: Guard

    def prepare(self, old: Settings, new: Settings) -> Apply:
        """See `Prepare`."""
        made_by = makers(new)
        configure_cluster = self.cluster.configure(new)
        names = own_names(new)
        # A limit that follows the disk stays as it was found at the start.
        limit = self.store.limit
        if new.store.limit != old.store.limit:
            in_memory = filesystem_type(new.state_directory) in MEMORY_FILESYSTEMS
            limit = new.store_limit(self.store.size, in_memory=in_memory)

        def apply() -> None:
            self.store.limit = limit
            self.scrub.interval = new.store.scrub
            configure_cluster()
            self.resolver.makers = made_by
            self.served.retention = new.store.retention
            self.known.lifetime = new.records.lifetime
            self.known.patience.seconds = new.upstream.patience
            self.scopes.lease = new.store.lease
            self.rules.engine_uids = frozenset(new.engine_uids)
            self.rules.root_over_http = new.http_root == "engine"
            self.guard.names = names

        return apply


def prepare_log(old: Settings, new: Settings) -> Apply:
    """See `Prepare`."""

    def apply() -> None:
        if (old.log_format, old.log_level) != (new.log_format, new.log_level):
            configure(new.log_format, new.log_level)

    return apply
