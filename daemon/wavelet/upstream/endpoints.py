"""The addresses of a registry: its own and its mirrors', as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from yarl import URL

from wavelet.config import ConfigError, Registry, Settings
from wavelet.image.reference import DOCKER_HUB, normalise
from wavelet.upstream.addresses import is_loopback

_HUB_ADDRESS = "registry-1.docker.io"
_DEFAULT = Registry()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server that answers for a registry.

    Attributes:
        host: host and port as users and settings write it; for a mirror its own.
        base: scheme, host and port that are dialled.
        prefix: what a mirror puts before repository paths (`dockerhub/`), else empty.
        namespace: at a mirror, the host that it stands in for (distribution-spec, "Registry Proxying"), else empty.
    """

    host: str
    base: URL
    prefix: str = ""
    namespace: str = ""

    @property
    def is_mirror(self) -> bool:
        """Whether it is a mirror, which gets no credentials but its own."""
        return bool(self.namespace)

    def path(self, repository_path: str) -> str:
        """Return the repository's path at this server."""
        return self.prefix + repository_path

    def url(self, repository_path: str, rest: str, query: dict[str, str]) -> URL:
        """Return the address of `/v2/<repository>/<rest>`."""
        asked = query | ({"ns": self.namespace} if self.namespace else {})
        return self.base.with_path(f"/v2/{self.path(repository_path)}/{rest}").with_query(asked or None)


def settings_for(settings: Settings, host: str) -> Registry:
    """Return the settings of a registry; those of Docker Hub count under each of its names."""
    registries = settings.upstream.registries
    if host in registries:
        return registries[host]
    return next((registry for name, registry in registries.items() if normalise(name, "a/b")[0] == host), _DEFAULT)


def address_of(host: str, scheme: str) -> Endpoint:
    """Return the registry's own address. Docker Hub's registry lives under another name than its images."""
    return Endpoint(host, URL(f"{scheme}://{_HUB_ADDRESS if host == DOCKER_HUB else host}"))


def fixed_scheme(registry: Registry, host: str) -> str | None:
    """Return the scheme that settings or custom give; None for a loopback registry, which has to be tried."""
    if registry.plain_http:
        return "http"
    return None if is_loopback(host_name(host)) else "https"


def host_name(host: str) -> str:
    """Return `host` without its port, IPv6 addresses without brackets."""
    return URL(f"//{host}").host or host


def mirrors_of(settings: Settings, host: str) -> list[Endpoint]:
    """Return a registry's mirrors in their order."""
    return [_mirror(text, host) for text in settings_for(settings, host).mirrors]


def check_mirrors(settings: Settings) -> None:
    """Check every mirror's URL.

    Raises:
        ConfigError: not an http or https URL; the registry is named.
    """
    for host in settings.upstream.registries:
        mirrors_of(settings, host)


def _mirror(text: str, stands_for: str) -> Endpoint:
    key = f"upstream.registries.{stands_for}.mirrors"
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and url.user is None and not url.query
        authority = (url.host_port_subcomponent or "") if usable else ""
    except ValueError:
        authority = ""
    if not authority:
        raise ConfigError(f"{key}: {text!r} is not a mirror's URL, e.g. http://cache:5000", field=key)
    prefix = url.path.strip("/")
    return Endpoint(authority, url.origin(), f"{prefix}/" if prefix else "", stands_for)
