"""Endpoints: where a registry is asked, at its own address or a mirror's, and through which proxy.

The rules for proxies are Go's (golang.org/x/net/http/httpproxy): `HTTP_PROXY` and `HTTPS_PROXY` by the URL's scheme,
`NO_PROXY` with names, their subdomains, addresses, CIDR blocks, ports and `*`; upper case goes before lower case; never
for loopback.
"""

from __future__ import annotations

import functools
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from wavelet.config import ConfigError, Registry, Settings
from wavelet.image.reference import DOCKER_HUB, normalise
from wavelet.upstream.addresses import Address, is_loopback, literal

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


def private_allowed(settings: Settings) -> bool:
    """Tell whether URLs in requests may lead to private addresses."""
    chosen = settings.upstream.private_networks
    return chosen == "always" or (chosen == "when-local" and settings.listens_on_loopback())


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


_SCHEMES = ("http", "https")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of `NO_PROXY`; `domain` begins with a dot, `host` is empty where only what is below it is meant."""

    network: _Network | None = None
    domain: str = ""
    host: str = ""
    port: int | None = None

    def covers(self, host: str, address: Address | None, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if address is not None:
            return self.network is not None and address.version == self.network.version and address in self.network
        return bool(self.domain) and (host == self.host or host.endswith(self.domain))


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies by scheme of what is asked for, and what is asked without one; `everywhere`: nothing is proxied."""

    by_scheme: Mapping[str, URL]
    exceptions: tuple[_Exception, ...] = ()
    everywhere: bool = False

    def proxy_for(self, url: URL) -> URL | None:
        """Return the proxy for `url`, None where it is asked directly."""
        proxy = self.by_scheme.get(url.scheme)
        host = (url.raw_host or "").lower().rstrip(".")
        if proxy is None or self.everywhere or is_loopback(host):
            return None
        address = _plain(literal(host))
        port = url.port or 0
        return None if any(each.covers(host, address, port) for each in self.exceptions) else proxy


def chosen() -> Proxies:
    """Return what this process's environment says now.

    Raises:
        ConfigError: it names a proxy that cannot be used; the variable is named, a login in it is not shown.
    """
    return _read(*(_either(os.environ, name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")))


def check(environment: Mapping[str, str]) -> str:
    """Return what of the environment's proxies counts for nothing, as a sentence; empty if all counts.

    Raises:
        ConfigError: see `chosen`.
    """
    http, https, excepted = (_either(environment, name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"))
    _read(http, https, excepted)
    if _either(environment, "ALL_PROXY")[1] and not (http[1] and https[1]):
        return "ALL_PROXY is not read, as by crane, skopeo and Docker; set HTTPS_PROXY and HTTP_PROXY"
    return ""


def _either(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable's name as it is set, and its value; an empty one is as good as none."""
    return next(((key, environment[key]) for key in (name, name.lower()) if environment.get(key)), (name, ""))


@functools.lru_cache(maxsize=8)
def _read(http: tuple[str, str], https: tuple[str, str], excepted: tuple[str, str]) -> Proxies:
    named = {scheme: _proxy(*said) for scheme, said in zip(_SCHEMES, (http, https), strict=True) if said[1]}
    entries = [entry for part in excepted[1].split(",") if (entry := part.strip().lower())]
    found = tuple(each for entry in entries if (each := _exception(entry)) is not None)
    return Proxies(named, found, everywhere="*" in entries)


def _proxy(variable: str, text: str) -> URL:
    """Read a proxy's address; `host:port` stands for `http://host:port`."""
    try:
        url = URL(text if "://" in text else f"http://{text}")
        usable, host, _ = url.scheme in _SCHEMES, url.host, url.port  # reading a port refuses one out of range
    except ValueError:
        usable, host = True, None
    if not usable:
        raise ConfigError(
            f"{variable}: a {url.scheme}:// proxy is not served; give an http:// or https:// one, or unset {variable}"
        )
    if not host:
        raise ConfigError(f"{variable}: is not the address of a proxy, e.g. http://proxy.example:3128")
    return url.origin().with_user(url.user).with_password(url.password)


def _exception(entry: str) -> _Exception | None:
    """Read one entry of `NO_PROXY`; None for one that means nothing."""
    if "/" in entry:
        network = _network(entry) if entry.rpartition("/")[2].isdecimal() else None
        return None if network is None else _Exception(network)
    bare = _network(entry)
    if bare is not None:
        return _Exception(bare)
    host, port = _split(entry)
    if not host or port == -1:
        return None
    network = _network(host)
    if network is not None:
        return _Exception(network, port=port)
    host = host[1:] if host.startswith("*.") else host
    domain = host if host.startswith(".") else f".{host}"
    try:
        domain = domain.encode("idna").decode() if not domain.isascii() else domain
    except UnicodeError:
        return None
    return _Exception(domain=domain, host="" if host.startswith(".") else domain[1:], port=port)


def _split(entry: str) -> tuple[str, int | None]:
    """Split a port off; -1 for one that is none."""
    host, colon, port = entry.rpartition(":")
    if not colon or entry.endswith("]"):
        return entry.strip("[]"), None
    if not port:
        return host.strip("[]"), None
    return host.strip("[]"), int(port) if port.isdecimal() and port.isascii() else -1


def _network(text: str) -> _Network | None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network((mapped, network.prefixlen - 96), strict=False)
    return network


def _plain(address: Address | None) -> Address | None:
    """Return an IPv4 address for one that is written as IPv6 (`::ffff:a.b.c.d`)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
